use super::*;
use crate::{CompressionMethod, EncryptionMethod};
use std::thread;

fn read_all(from: ChunkReceiver) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    PipeReader::new(from).read_to_end(&mut all).map(|_| all)
}

fn filled_channel(items: Vec<io::Result<Bytes>>) -> ChunkReceiver {
    let (to, from) = chunk_channel(items.len().max(1));
    for item in items {
        to.try_send(item).expect("room for all");
    }
    from
}

#[test]
fn a_stream_ends_only_by_its_end() {
    let piece = || Ok(Bytes::from_static(b"abc"));
    let whole = read_all(filled_channel(vec![piece(), piece(), Ok(Bytes::new())]));
    assert_eq!(whole.expect("an end was sent"), b"abcabc");
    let closed = read_all(filled_channel(vec![piece()])).expect_err("no end was sent");
    assert!(closed.to_string().contains("before its end"), "{closed}");
    let failed = read_all(filled_channel(vec![piece(), Err(io::Error::other("lost the server"))]));
    assert_eq!(failed.expect_err("a failure was sent").to_string(), "lost the server");
}

#[test]
fn reading_on_after_the_end_or_an_error_gives_the_same() {
    let mut ended =
        PipeReader::new(filled_channel(vec![Ok(Bytes::new()), Ok(Bytes::from_static(b"late"))]));
    let mut closed = PipeReader::new(filled_channel(vec![]));
    for _ in 0..3 {
        assert_eq!(ended.read(&mut [0; 9]).expect("the end"), 0);
        let e = closed.read(&mut [0; 9]).expect_err("closed");
        assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_writer_sends_full_pieces_and_an_end_and_none_when_it_is_dropped() {
    for (finished, lengths) in
        [(true, vec![CHUNK_BYTES, CHUNK_BYTES, 7, 0]), (false, vec![CHUNK_BYTES, CHUNK_BYTES])]
    {
        let (to, mut from) = chunk_channel(9);
        let mut writer = PipeWriter::new(to);
        for _ in 0..2 * CHUNK_BYTES + 7 {
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
    let (to, from) = chunk_channel(1);
    drop(from);
    let mut writer = PipeWriter::new(to);
    writer.write_all(b"x").expect("it waits for more");
    assert_eq!(writer.finish().expect_err("nobody listens").kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn the_async_side_keeps_the_rules() {
    let (to, mut from) = chunk_channel(9);
    send_chunk(&to, Bytes::new()).await.expect("dropped, not sent");
    send_chunk(&to, Bytes::from_static(b"abc")).await.expect("a receiver");
    send_end(&to).await.expect("a receiver");
    send_error(&to, io::Error::other("too late")).await;
    assert_eq!(recv_chunk(&mut from).await.expect("a piece").as_deref(), Some(&b"abc"[..]));
    assert_eq!(recv_chunk(&mut from).await.expect("the end"), None);
    assert_eq!(recv_chunk(&mut from).await.expect_err("a failure").to_string(), "too late");
    drop(to);
    assert_eq!(
        recv_chunk(&mut from).await.expect_err("closed").kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[test]
fn a_dump_goes_through_both_threads() {
    let passphrase = "hunter2".into();
    let recipe = EncodingOptions {
        compression: CompressionMethod::Zstd(3),
        encryption: EncryptionMethod::OpenSsl { passphrase, iterations: 1 },
    };
    let mut keys = DecryptionKeys::default();
    keys.add_passphrase("hunter2".into());
    let plain = Bytes::from("COPY t FROM stdin;\n".repeat(100_000));

    // What is sent, what the manifest says differently, and what the receiver gets.
    for (cut, other_manifest) in [(false, false), (true, false), (false, true)] {
        let (plain_to, plain_from) = chunk_channel(2);
        let (stored_to, stored_from) = chunk_channel(2);
        let (again_to, again_from) = chunk_channel(2);
        let (recipe, keys, layers, sent) =
            (recipe.clone(), keys.clone(), recipe.to_layers(), plain.clone());
        let feeder = thread::spawn(move || {
            let mut writer = PipeWriter::new(plain_to);
            writer.write_all(&sent).and_then(|()| if cut { Ok(()) } else { writer.finish() })
        });
        let encoder = thread::spawn(move || encode_stream(plain_from, &recipe, stored_to));
        let expected = other_manifest.then(|| {
            let nothing = crate::HashingReader::new(io::empty()).finish_digest().expect("memory");
            ArchiveDigests { plaintext: nothing, stored: nothing }
        });
        let decoder = thread::spawn(move || {
            let against = expected.as_ref().map_or(ExpectedDigests::Nothing, ExpectedDigests::Both);
            decode_stream(stored_from, &layers, &keys, against, again_to)
        });
        let read = read_all(again_from);
        feeder.join().expect("no panic").expect("a receiver");
        let stored = encoder.join().expect("no panic");
        let plain_again = decoder.join().expect("no panic");
        if cut {
            assert!(
                matches!(stored, Err(ArchiveError::Io(_)))
                    && matches!(plain_again, Err(ArchiveError::Io(_)))
            );
            assert!(read.is_err());
        } else if other_manifest {
            assert!(stored.is_ok() && matches!(plain_again, Err(ArchiveError::Damaged(_))));
            assert!(matches!(
                ArchiveError::from(read.expect_err("not whole")),
                ArchiveError::Damaged(_)
            ));
        } else {
            assert_eq!(stored.expect("encoded"), plain_again.expect("decoded"));
            assert_eq!(read.expect("whole"), plain);
        }
    }
}
