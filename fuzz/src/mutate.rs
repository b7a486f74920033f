//! Changes to good inputs. Random bytes get no further than a magic number; good bytes with a fault in them do.

/// A generator of numbers that anybody can repeat: `SplitMix64`.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn next_below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// A number that is small mostly, below two to the power of `bits`.
    fn next_small(&mut self, bits: usize) -> usize {
        let bits = self.next_below(bits);
        self.next_below(1 << bits)
    }

    /// One of some.
    pub fn choose<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.next_below(of.len())]
    }
}

/// Bytes that sit at the limits of something.
const BOUNDARY_BYTES: [&[u8]; 14] = [
    &[0],
    &[0xff],
    &[0x7f],
    &[0x80],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    b"-1",
    b"99999999999999999999",
    b"\n",
    b"\r\n",
    b"\"",
    b"\xc3\xa9",
    "\u{feff}".as_bytes(),
];

/// An input made of the good ones: one of them with some changes. `words` are what the format is written in.
pub fn mutate_seed(
    rng: &mut SplitMix64,
    seeds: &[Vec<u8>],
    words: &[&str],
    most: usize,
) -> Vec<u8> {
    let mut bytes = rng.choose(seeds).clone();
    // Few changes mostly: what is changed everywhere is refused at its first byte.
    let changes = 1 + rng.next_small(6);
    for _ in 0..changes {
        apply_change(rng, &mut bytes, seeds, words);
        bytes.truncate(most);
    }
    bytes
}

fn apply_change(rng: &mut SplitMix64, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let at = rng.next_below(bytes.len() + 1);
    let length = rng.next_small(13).min(bytes.len() - at);
    match rng.next_below(10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.next_below(8),
        1 if at < bytes.len() => bytes[at] = rng.next_u64().to_le_bytes()[0],
        2 => drop(bytes.drain(at..at + length)),
        3 => bytes.truncate(at),
        // What comes many times finds what takes the square of its length.
        4 => {
            let piece = bytes[at..at + length.min(64)].to_vec();
            insert_bytes(bytes, at, &piece.repeat(1 << rng.next_below(13)));
        }
        5 => {
            let piece = bytes[at..at + length].to_vec();
            let to = rng.next_below(bytes.len() + 1);
            insert_bytes(bytes, to, &piece);
        }
        6 => {
            let other = rng.choose(seeds);
            let from = rng.next_below(other.len() + 1);
            let piece = &other[from..(from + 1 + rng.next_below(256)).min(other.len())];
            insert_bytes(bytes, at, piece);
        }
        7 if !words.is_empty() => insert_bytes(bytes, at, rng.choose(words).as_bytes()),
        8 => {
            let edge = *rng.choose(&BOUNDARY_BYTES);
            let end = (at + edge.len()).min(bytes.len());
            bytes.splice(at..end, edge.iter().copied());
        }
        _ => {
            let noise: Vec<u8> =
                (0..=rng.next_below(16)).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
            insert_bytes(bytes, at, &noise);
        }
    }
}

fn insert_bytes(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
