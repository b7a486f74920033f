use super::*;
use bytes::Bytes;
use codec::pipe;
use proptest::prelude::*;

/// A file: magic, records, end and checksum.
fn file(magic: &str, records: &[u8]) -> Vec<u8> {
    let mut bytes = magic.as_bytes().to_vec();
    bytes.extend(records);
    bytes.push(EOF);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(text.len()).expect("short")];
    out.extend(text.as_bytes());
    out
}

fn aux(name: &str, value: &str) -> Vec<u8> {
    [vec![AUX], string(name), string(value)].concat()
}

/// Walks bytes that come in pieces of this size; what was passed on, if it ended well.
fn walk(
    bytes: &[u8],
    piece: usize,
    framing: StreamFraming,
) -> (Result<RdbContents, RedisError>, Option<Vec<u8>>) {
    let pieces = bytes.len() / piece.max(1) + 3;
    let (in_to, in_from) = pipe::chunk_channel(pieces);
    let (out_to, mut out_from) = pipe::chunk_channel(pieces);
    for part in bytes.chunks(piece.max(1)) {
        in_to.try_send(Ok(Bytes::copy_from_slice(part))).expect("room");
    }
    in_to.try_send(Ok(Bytes::new())).expect("room");
    drop(in_to);
    let walked = walk_rdb(in_from, framing, Some(out_to), 1_000_000);
    let mut passed = Vec::new();
    while let Ok(Ok(part)) = out_from.try_recv() {
        if part.is_empty() {
            return (walked, Some(passed));
        }
        passed.extend(&part);
    }
    (walked, None)
}

fn sample() -> Vec<u8> {
    let key = |kind: u8, name: &str, value: Vec<u8>| [vec![kind], string(name), value].concat();
    let expired = [vec![EXPIRE_MS], 5_i64.to_le_bytes().to_vec()].concat();
    let later = [vec![EXPIRE_MS], 2_000_000_i64.to_le_bytes().to_vec()].concat();
    let records = [
        aux("redis-ver", "7.0.15"),
        [vec![AUX], string("ctime"), vec![0xC2], 1_700_000_000_i32.to_le_bytes().to_vec()].concat(),
        aux("repl-id", "abc"),
        vec![FUNCTION2],
        string("#!lua name=x"),
        vec![SELECT_DB, 0, RESIZE_DB, 3, 2],
        key(0, "a", string("1")),
        expired,
        key(0, "b", vec![0xC1, 1, 2]),
        later,
        key(0, "c", vec![0xC3, 2, 20, 9, 9]),
        vec![SELECT_DB, 9],
        key(5, "z", [vec![1], string("m"), vec![0; 8]].concat()),
        key(3, "y", [vec![2], string("m"), vec![2, b'1', b'2'], string("n"), vec![255]].concat()),
        vec![IDLE, 3, FREQUENCY, 7],
        key(4, "h", [vec![1], string("f"), string("v")].concat()),
        key(
            7,
            "m",
            [vec![0x81], vec![0; 8], vec![2, 5, 1, 5, 3, 0, 0, 0, 0, 5, 1, b'x', 0]].concat(),
        ),
    ];
    file("REDIS0010", &records.concat())
}

#[test]
fn a_file_is_counted_whatever_the_pieces_and_passed_on_as_it_is() {
    let bytes = sample();
    for piece in [1, 2, 3, 7, 64, 4096] {
        let (walked, passed) = walk(&bytes, piece, StreamFraming::File);
        let walked = walked.unwrap_or_else(|e| panic!("{piece}: {e}"));
        assert_eq!(passed.as_deref(), Some(&bytes[..]), "{piece}");
        let counts: Vec<_> =
            walked.databases.iter().map(|d| (d.index, d.keys, d.expiring, d.expired)).collect();
        assert_eq!(counts, [(0, 3, 2, 1), (9, 4, 0, 0)]);
        assert_eq!((walked.functions, walked.key_count(), walked.has_checksum), (1, 7, true));
        assert_eq!(
            (walked.created_at, walked.server_version.as_str()),
            (Some(1_700_000_000), "7.0.15")
        );
        assert_eq!(walked.modules, ["AAAAAAAAA"]);
    }
}

#[test]
fn the_end_of_a_stream_must_be_what_was_announced() {
    let bytes = sample();
    let mark = *b"0123456789012345678901234567890123456789";
    let marked = [bytes.clone(), mark.to_vec()].concat();
    let (walked, passed) = walk(&marked, 5, StreamFraming::Mark(mark));
    assert!(walked.is_ok() && passed.as_deref() == Some(&bytes[..]), "the mark is no part of it");
    let other = *b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let (walked, passed) = walk(&marked, 5, StreamFraming::Mark(other));
    assert!(walked.is_err() && passed.is_none());
    assert!(walk(&bytes, 5, StreamFraming::Length(bytes.len() as u64)).0.is_ok());
    assert!(walk(&bytes, 5, StreamFraming::Length(bytes.len() as u64 + 1)).1.is_none());
    let (walked, passed) = walk(&marked, 5, StreamFraming::File);
    assert!(walked.is_err() && passed.is_none(), "something follows");
}

#[test]
fn a_cut_or_flipped_file_never_ends_well() {
    let bytes = sample();
    for cut in 0..bytes.len() {
        let (walked, passed) = walk(&bytes[..cut], 16, StreamFraming::File);
        assert!(walked.is_err() && passed.is_none(), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let (walked, passed) = walk(&flipped, 16, StreamFraming::File);
            assert!(walked.is_err() && passed.is_none(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_file_without_a_checksum_says_so_and_an_unknown_type_is_no_damage() {
    let mut bytes = sample();
    let end = bytes.len();
    bytes[end - 8..].fill(0);
    assert_eq!(walk(&bytes, 16, StreamFraming::File).0.map(|c| c.has_checksum), Ok(false));
    let unknown = file("REDIS0099", &[vec![99], string("k")].concat());
    let failed = walk(&unknown, 16, StreamFraming::File).0.expect_err("unknown");
    assert_eq!(failed.kind, RedisErrorKind::Unsupported);
    let valkey = [vec![22], string("k"), vec![1], string("f"), string("v"), vec![0; 8]].concat();
    assert!(walk(&file("VALKEY080", &valkey), 16, StreamFraming::File).0.is_ok());
    assert!(walk(&file("REDIS0012", &valkey), 16, StreamFraming::File).0.is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(records in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let _ = walk(&file("REDIS0011", &records), piece, StreamFraming::File);
    }
}
