//! Changes to good inputs. Random bytes get no further than a magic number; good bytes with a fault in them do.

/// A generator of numbers that anybody can repeat: `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// A number that is small mostly, below two to the power of `bits`.
    fn small(&mut self, bits: usize) -> usize {
        let bits = self.below(bits);
        self.below(1 << bits)
    }

    /// One of some.
    pub fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// Bytes that sit at the limits of something.
const EDGES: [&[u8]; 14] = [
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
pub fn mutated(rng: &mut Rng, seeds: &[Vec<u8>], words: &[&str], most: usize) -> Vec<u8> {
    let mut bytes = rng.one(seeds).clone();
    // Few changes mostly: what is changed everywhere is refused at its first byte.
    let changes = 1 + rng.small(6);
    for _ in 0..changes {
        change(rng, &mut bytes, seeds, words);
        bytes.truncate(most);
    }
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let at = rng.below(bytes.len() + 1);
    let length = rng.small(13).min(bytes.len() - at);
    match rng.below(10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        1 if at < bytes.len() => bytes[at] = rng.number().to_le_bytes()[0],
        2 => drop(bytes.drain(at..at + length)),
        3 => bytes.truncate(at),
        // What comes many times finds what takes the square of its length.
        4 => {
            let piece = bytes[at..at + length.min(64)].to_vec();
            insert(bytes, at, &piece.repeat(1 << rng.below(13)));
        }
        5 => {
            let piece = bytes[at..at + length].to_vec();
            let to = rng.below(bytes.len() + 1);
            insert(bytes, to, &piece);
        }
        6 => {
            let other = rng.one(seeds);
            let from = rng.below(other.len() + 1);
            let piece = &other[from..(from + 1 + rng.below(256)).min(other.len())];
            insert(bytes, at, piece);
        }
        7 if !words.is_empty() => insert(bytes, at, rng.one(words).as_bytes()),
        8 => {
            let edge = *rng.one(&EDGES);
            let end = (at + edge.len()).min(bytes.len());
            bytes.splice(at..end, edge.iter().copied());
        }
        _ => {
            let noise: Vec<u8> =
                (0..=rng.below(16)).map(|_| rng.number().to_le_bytes()[0]).collect();
            insert(bytes, at, &noise);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
