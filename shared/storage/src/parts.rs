//! Into which parts an upload is cut, and how much memory they take. Pure.
//!
//! An upload has 10,000 parts at most. Parts have one size up to the size that is expected, some S3-compatible stores
//! want it so; beyond it they double every so many parts, so that no dump is too large for the store whatever was
//! expected.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

use bytes::Bytes;

/// Most parts of an upload.
pub const MAX_PARTS: u32 = 10_000;
/// S3 takes no smaller part but the last.
const MIN_PART_BYTES: u64 = 5 << 20;
/// S3 takes no larger part.
const MAX_PART_BYTES: u64 = 5 << 30;
/// Small enough that five fit in the budget; below it a call costs much beside its data.
const DEFAULT_PART_BYTES: u64 = 8 << 20;
/// Parts planned for what is expected; the others are there for what is not.
const MAX_PLANNED_PARTS: u64 = 8_000;
/// Parts of one size before they double, at least.
const MIN_EQUAL_PARTS: u32 = 1_000;
/// Doublings until the last part.
const MAX_DOUBLINGS: u32 = 16;
/// Buffers at once, at most: the one that is filled and those on their way.
const MAX_BUFFERS: usize = 5;

/// Memory that the buffers of one upload take, in bytes, unless one part alone is larger.
pub const UPLOAD_BUFFER_BYTES: u64 = 40 << 20;

/// How an upload is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSizing {
    base: u64,
    equal_parts: u32,
    memory_limit: u64,
}

impl PartSizing {
    /// For an upload of about `expected` bytes (0 when nothing is known), with `budget` bytes of memory.
    pub fn new(expected: u64, budget: u64) -> Self {
        let usual = DEFAULT_PART_BYTES.min((budget / 2).max(MIN_PART_BYTES));
        let base = expected
            .div_ceil(MAX_PLANNED_PARTS)
            .next_multiple_of(1 << 20)
            .clamp(usual, MAX_PART_BYTES);
        let planned = u32::try_from(expected.div_ceil(base)).unwrap_or(MAX_PARTS);
        Self { base, equal_parts: planned.clamp(MIN_EQUAL_PARTS, MAX_PARTS), memory_limit: budget }
    }

    /// Size of the part `number`, from 1, in bytes.
    pub fn part_size(&self, number: u32) -> u64 {
        let after = number.saturating_sub(self.equal_parts);
        if after == 0 {
            return self.base;
        }
        let step = ((MAX_PARTS - self.equal_parts) / MAX_DOUBLINGS).max(1);
        let doubled = 1 + (after - 1) / step;
        self.base.saturating_mul(1 << doubled.min(40)).min(MAX_PART_BYTES)
    }

    /// Buffers of the part `number`'s size that there may be at once, the one that is being filled included. One means
    /// that a part is on its way before the next is begun.
    pub fn max_buffers(&self, number: u32) -> usize {
        let fit =
            usize::try_from(self.memory_limit / self.part_size(number)).unwrap_or(MAX_BUFFERS);
        fit.clamp(1, MAX_BUFFERS)
    }

    /// Memory that buffers take while the part `number` is filled, in bytes.
    pub fn max_memory(&self, number: u32) -> u64 {
        self.part_size(number) * self.max_buffers(number) as u64
    }
}

/// The part of an upload that is being filled.
#[derive(Debug)]
pub(crate) struct PartBuffer {
    parts: PartSizing,
    /// From 1.
    number: u32,
    buffer: Vec<u8>,
    expected: u64,
    bytes: u64,
}

impl PartBuffer {
    /// The first part of an upload of about `expected` bytes (0 when nothing is known), with `budget` bytes of memory.
    pub(crate) fn new(expected: u64, budget: u64) -> Self {
        let parts = PartSizing::new(expected, budget);
        Self { parts, number: 1, buffer: Vec::new(), expected, bytes: 0 }
    }

    /// Takes what there is room for from the begin of `bytes`. True when some is left over: the part is to be sent first.
    pub(crate) fn fill_from(&mut self, bytes: &mut Bytes) -> bool {
        let size = usize::try_from(self.parts.part_size(self.number)).unwrap_or(usize::MAX);
        let room = (size - self.buffer.len()).min(bytes.len());
        if self.buffer.capacity() == 0 && room > 0 {
            // Once, to its size: growing would copy, and hold both copies.
            let expected = usize::try_from(self.expected).unwrap_or(size).max(1 << 20);
            let first = if self.number == 1 { expected.min(size) } else { size };
            self.buffer.reserve_exact(first);
        }
        self.buffer.extend_from_slice(&bytes.split_to(room));
        self.bytes += room as u64;
        !bytes.is_empty()
    }

    /// The part and its number, from 1; the next one is begun.
    pub(crate) fn take_part(&mut self) -> (u32, Bytes) {
        let part = (self.number, Bytes::from(std::mem::take(&mut self.buffer)));
        self.number += 1;
        part
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes that came so far, of every part.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.bytes
    }

    /// Parts that may be in flight while this one is filled.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.parts.max_buffers(self.number) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn parts_are_small_while_they_can_be_and_the_buffers_few() {
        let say = |expected: u64| {
            let parts = PartSizing::new(expected, UPLOAD_BUFFER_BYTES);
            let (mut room, mut number) = (0, 0);
            while number == 0 || room < expected {
                number += 1;
                room += parts.part_size(number);
            }
            let last = parts.part_size(number);
            format!(
                "{} GiB: {number} parts of {} to {} MiB, {} buffers, {} MiB",
                expected >> 30,
                parts.part_size(1) >> 20,
                last >> 20,
                parts.max_buffers(1),
                parts.max_memory(1) >> 20
            )
        };
        let table = [0, 1 << 30, 60 << 30, 100 << 30, 300 << 30, TIB, 5 * TIB].map(say);
        insta::assert_snapshot!(table.join("\n"), @"
        0 GiB: 1 parts of 8 to 8 MiB, 5 buffers, 40 MiB
        1 GiB: 128 parts of 8 to 8 MiB, 5 buffers, 40 MiB
        60 GiB: 7680 parts of 8 to 8 MiB, 5 buffers, 40 MiB
        100 GiB: 7877 parts of 13 to 13 MiB, 3 buffers, 39 MiB
        300 GiB: 7877 parts of 39 to 39 MiB, 1 buffers, 39 MiB
        1024 GiB: 7944 parts of 132 to 132 MiB, 1 buffers, 132 MiB
        5120 GiB: 7993 parts of 656 to 656 MiB, 1 buffers, 656 MiB
        ");
    }

    #[test]
    fn what_is_filled_comes_out_in_parts_of_their_size_and_in_order() {
        let mut filling = PartBuffer::new(0, UPLOAD_BUFFER_BYTES);
        let size = usize::try_from(DEFAULT_PART_BYTES).expect("it fits");
        let mut all = (0..=250_u8).cycle().take(2 * size + 3).collect::<Bytes>();
        let (whole, mut parts) = (all.clone(), Vec::new());
        let mut head = all.split_to(5);
        assert!(!filling.fill_from(&mut head) && !filling.is_empty());
        while filling.fill_from(&mut all) {
            parts.push(filling.take_part());
        }
        assert_eq!(filling.total_bytes(), whole.len() as u64);
        parts.push(filling.take_part());
        assert!(filling.is_empty());
        let shown: Vec<_> = parts.iter().map(|(number, part)| (*number, part.len())).collect();
        assert_eq!(shown, [(1, size), (2, size), (3, 3)]);
        assert_eq!(parts.into_iter().flat_map(|(_, part)| part).collect::<Bytes>(), whole);
    }

    #[test]
    fn a_part_that_is_full_is_sent_only_when_more_comes() {
        let mut filling = PartBuffer::new(0, UPLOAD_BUFFER_BYTES);
        let size = usize::try_from(DEFAULT_PART_BYTES).expect("it fits");
        assert!(!filling.fill_from(&mut vec![0; size].into()));
        assert!(filling.fill_from(&mut vec![0; 1].into()));
    }

    proptest! {
        #[test]
        fn any_expectation_leaves_room_for_5_tib(expected in 0..=5 * TIB) {
            let parts = PartSizing::new(expected, UPLOAD_BUFFER_BYTES);
            let room: u64 = (1..=MAX_PARTS).map(|n| parts.part_size(n)).sum();
            prop_assert!(room >= 5 * TIB, "{room}");
        }

        #[test]
        fn what_was_expected_goes_into_equal_parts(expected in 0..=5 * TIB) {
            let parts = PartSizing::new(expected, UPLOAD_BUFFER_BYTES);
            let needed = expected.div_ceil(parts.part_size(1));
            prop_assert!(needed <= MAX_PLANNED_PARTS);
            let last = u32::try_from(needed.max(1)).expect("few");
            prop_assert_eq!(parts.part_size(last), parts.part_size(1));
        }

        #[test]
        fn every_part_is_one_that_s3_takes_and_memory_is_bounded(
            expected in 0..=5 * TIB, budget in 0..(1u64 << 31), number in 1..=MAX_PARTS
        ) {
            let parts = PartSizing::new(expected, budget);
            let size = parts.part_size(number);
            prop_assert!((MIN_PART_BYTES..=MAX_PART_BYTES).contains(&size));
            prop_assert!(parts.max_memory(number) <= budget.max(size));
            prop_assert!(parts.part_size(number.min(MAX_PARTS - 1) + 1) >= parts.part_size(number.min(MAX_PARTS - 1)));
        }
    }
}
