use super::*;
use crate::{Compression, Encryption};
use std::thread;

fn read_all(from: Receiver) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    PipeReader::new(from).read_to_end(&mut all).map(|_| all)
}

fn sent(items: Vec<io::Result<Bytes>>) -> Receiver {
    let (to, from) = channel(items.len().max(1));
    for item in items {
        to.try_send(item).expect("room for all");
    }
    from
}

#[test]
fn a_stream_ends_only_by_its_end() {
    let piece = || Ok(Bytes::from_static(b"abc"));
    let whole = read_all(sent(vec![piece(), piece(), Ok(Bytes::new())]));
    assert_eq!(whole.expect("an end was sent"), b"abcabc");
    let closed = read_all(sent(vec![piece()])).expect_err("no end was sent");
    assert!(closed.to_string().contains("before its end"), "{closed}");
    let failed = read_all(sent(vec![piece(), Err(io::Error::other("lost the server"))]));
    assert_eq!(failed.expect_err("a failure was sent").to_string(), "lost the server");
}

#[test]
fn reading_on_after_the_end_or_an_error_gives_the_same() {
    let mut ended = PipeReader::new(sent(vec![Ok(Bytes::new()), Ok(Bytes::from_static(b"late"))]));
    let mut closed = PipeReader::new(sent(vec![]));
    for _ in 0..3 {
        assert_eq!(ended.read(&mut [0; 9]).expect("the end"), 0);
        let e = closed.read(&mut [0; 9]).expect_err("closed");
        assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_writer_sends_full_pieces_and_an_end_and_none_when_it_is_dropped() {
    for (finished, lengths) in [(true, vec![PIECE, PIECE, 7, 0]), (false, vec![PIECE, PIECE])] {
        let (to, mut from) = channel(9);
        let mut writer = PipeWriter::new(to);
        for _ in 0..2 * PIECE + 7 {
            writer.write_all(b"x").expect("a receiver");
        }
        if finished {
            writer.finish().expect("a receiver");
        } else {
            drop(writer);
        }
        let mut seen = Vec::new();
        while let Some(item) = from.blocking_recv() {
            seen.push(item.expect("no failure").len());
        }
        assert_eq!(seen, lengths);
    }
}

#[test]
fn a_writer_whose_receiver_has_gone_fails() {
    let (to, from) = channel(1);
    drop(from);
    let mut writer = PipeWriter::new(to);
    writer.write_all(b"x").expect("it waits for more");
    assert_eq!(writer.finish().expect_err("nobody listens").kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn the_async_side_keeps_the_rules() {
    let (to, mut from) = channel(9);
    send(&to, Bytes::new()).await.expect("dropped, not sent");
    send(&to, Bytes::from_static(b"abc")).await.expect("a receiver");
    end(&to).await.expect("a receiver");
    fail(&to, io::Error::other("too late")).await;
    assert_eq!(next(&mut from).await.expect("a piece").as_deref(), Some(&b"abc"[..]));
    assert_eq!(next(&mut from).await.expect("the end"), None);
    assert_eq!(next(&mut from).await.expect_err("a failure").to_string(), "too late");
    drop(to);
    assert_eq!(next(&mut from).await.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_dump_goes_through_both_threads() {
    let passphrase = "hunter2".into();
    let recipe = Recipe {
        compression: Compression::Zstd(3),
        encryption: Encryption::OpenSsl { passphrase, iterations: 1 },
    };
    let mut keys = Keys::default();
    keys.add_passphrase("hunter2".into());
    let plain = Bytes::from("COPY t FROM stdin;\n".repeat(100_000));

    // What is sent, what the manifest says differently, and what the receiver gets.
    for (cut, other_manifest) in [(false, false), (true, false), (false, true)] {
        let (plain_to, plain_from) = channel(2);
        let (stored_to, stored_from) = channel(2);
        let (again_to, again_from) = channel(2);
        let (recipe, keys, layers, sent) =
            (recipe.clone(), keys.clone(), recipe.layers(), plain.clone());
        let feeder = thread::spawn(move || {
            let mut writer = PipeWriter::new(plain_to);
            writer.write_all(&sent).and_then(|()| if cut { Ok(()) } else { writer.finish() })
        });
        let encoder = thread::spawn(move || encode(plain_from, &recipe, stored_to));
        let expected = other_manifest.then(|| {
            let nothing = crate::HashingReader::new(io::empty()).finish().expect("memory");
            Sums { plain: nothing, stored: nothing }
        });
        let decoder = thread::spawn(move || {
            let against = expected.as_ref().map_or(Against::Nothing, Against::Both);
            decode(stored_from, &layers, &keys, against, again_to)
        });
        let read = read_all(again_from);
        feeder.join().expect("no panic").expect("a receiver");
        let stored = encoder.join().expect("no panic");
        let plain_again = decoder.join().expect("no panic");
        if cut {
            assert!(
                matches!(stored, Err(Error::Io(_))) && matches!(plain_again, Err(Error::Io(_)))
            );
            assert!(read.is_err());
        } else if other_manifest {
            assert!(stored.is_ok() && matches!(plain_again, Err(Error::Damaged(_))));
            assert!(matches!(Error::from(read.expect_err("not whole")), Error::Damaged(_)));
        } else {
            assert_eq!(stored.expect("encoded"), plain_again.expect("decoded"));
            assert_eq!(read.expect("whole"), plain);
        }
    }
}
