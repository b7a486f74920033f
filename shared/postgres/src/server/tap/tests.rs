use super::*;
use proptest::prelude::*;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

fn protocol_message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("small");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// Sends `bytes` in pieces of `step` through a wire and returns what passed, what was tapped, and how many rows.
fn run_messages(bytes: Vec<u8>, step: usize) -> (Vec<u8>, Vec<u8>, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut near, far) = duplex(step);
        let tap = CopyInterceptor::default();
        tap.start_capture(3);
        let mut wire = InterceptingStream::new(far, tap.clone());
        let sending = async move {
            near.write_all(&bytes).await.expect("the other end is there");
            drop(near);
        };
        let mut passed = Vec::new();
        let mut tapped = Vec::new();
        let fetching = async {
            while let Some(block) = poll_fn(|cx| tap.poll_block(cx)).await {
                assert_eq!(block[..3], [0; 3]);
                assert!(block.len() <= 2 * BLOCK_BYTES);
                tapped.extend_from_slice(&block[3..]);
            }
        };
        let ((), read, ()) = tokio::join!(sending, wire.read_to_end(&mut passed), fetching);
        read.expect("well-formed messages");
        (passed, tapped, tap.row_count())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]
    #[test]
    fn rows_are_tapped_and_everything_else_passes_however_the_bytes_are_cut(
        rows in prop::collection::vec(prop_oneof![4 => 0_usize..300, 1 => 100_000_usize..400_000], 0..30),
        step in prop_oneof![1_usize..16, 4000_usize..9000, Just(300_000)],
    ) {
        // One byte at a time through megabytes would take minutes.
        let rows: Vec<usize> = if step < 16 { rows.iter().map(|r| r % 300).collect() } else { rows };
        let (mut sent, mut data) = (protocol_message(b'Z', b"I"), Vec::new());
        sent.extend(protocol_message(b'H', &[0, 0, 1, 0, 0]));
        for (i, n) in rows.iter().enumerate() {
            let row = vec![u8::try_from(i % 251).expect("below 251"); *n];
            sent.extend(protocol_message(b'd', &row));
            data.extend(row);
            if i % 7 == 3 {
                sent.extend(protocol_message(b'N', b"notice\0"));
            }
        }
        let notices = (0..rows.len()).filter(|i| i % 7 == 3).count();
        sent.extend(protocol_message(b'c', b""));
        sent.extend(protocol_message(b'C', b"COPY 1\0"));
        let (passed, tapped, counted) = run_messages(sent, step);
        let mut expected = protocol_message(b'Z', b"I");
        (0..notices).for_each(|_| expected.extend(protocol_message(b'N', b"notice\0")));
        expected.extend(protocol_message(b'C', b"COPY 1\0"));
        prop_assert_eq!(passed, expected);
        prop_assert!(tapped == data);
        prop_assert_eq!(counted, rows.len() as u64);
    }
}
