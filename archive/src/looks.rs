//! What bytes look like: magic numbers, text, or the noise that a wrong key gives.

use crate::{Compressed, guess::Content};

/// How much sense the bytes make that a key has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sense {
    /// None at all: a wrong key.
    None,
    /// They are not noise.
    Structured,
    /// They are text in some encoding.
    Text,
    /// They are text in UTF-8, which a few bytes of noise hardly ever are.
    Utf8,
    /// A magic number stands at their beginning.
    Proved,
}

/// Other formats' beginnings: not undone here, yet a proof that a key is right.
const FOREIGN: [&[u8]; 7] = [
    b"\xfd7zXZ\0",            // xz
    b"BZh",                   // bzip2
    b"\x04\x22\x4d\x18",      // lz4
    b"PK\x03\x04",            // zip
    b"REDIS",                 // Redis RDB
    b"SQLite format 3\0",     // SQLite
    b"age-encryption.org/v1", // age
];

/// The compression whose magic number stands at the beginning.
pub(crate) fn compression(head: &[u8]) -> Option<Compressed> {
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(Compressed::Zstd)
        }
        // Method 8 is the only one there is, and the upper three flags are zero (RFC 1952, 2.3).
        [0x1f, 0x8b, 8, flags, ..] if *flags < 0x20 => Some(Compressed::Gzip),
        _ => None,
    }
}

pub(crate) fn sense(head: &[u8]) -> Sense {
    let magic = head.starts_with(b"PGDMP")
        || compression(head).is_some()
        || FOREIGN.iter().any(|magic| head.starts_with(magic));
    match () {
        () if magic => Sense::Proved,
        () if noise(head) => Sense::None,
        () if text(head) && utf8(head) => Sense::Utf8,
        () if text(head) => Sense::Text,
        () => Sense::Structured,
    }
}

/// What a dump of PostgreSQL looks like.
pub(crate) fn content(head: &[u8]) -> Content {
    if head.starts_with(b"PGDMP") {
        return Content::Custom;
    }
    let statements =
        ["--", "SET ", "CREATE ", "BEGIN", "COPY ", "INSERT ", "DROP ", "ALTER ", "\\"];
    // A byte order mark, as some editors put it before UTF-8.
    let beginning = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let sql = statements
        .iter()
        .any(|s| beginning.get(..s.len()).is_some_and(|b| b.eq_ignore_ascii_case(s.as_bytes())));
    if sql && text(head) { Content::Plain } else { Content::Unknown }
}

/// Text of any encoding that extends ASCII: PostgreSQL has no NUL in text, and hardly any other control characters.
fn text(head: &[u8]) -> bool {
    let control = |b: &&u8| **b < 0x20 && !b"\t\n\x0b\x0c\r".contains(b);
    !head.contains(&0) && head.iter().filter(control).count() * 50 <= head.len()
}

/// UTF-8, but for a character cut off at the end.
fn utf8(head: &[u8]) -> bool {
    std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true)
}

/// Whether all byte values are equally frequent, as in what a wrong key gives and in no dump. Pearson's chi-squared with
/// 255 degrees of freedom: noise gives 255 with a deviation of 23, plain text ten times its length and more.
fn noise(head: &[u8]) -> bool {
    /// Below this the numbers are too small to tell, and the padding at the end must do.
    const ENOUGH: usize = 2048;
    if head.len() < ENOUGH {
        return false;
    }
    let mut counts = [0u64; 256];
    for byte in head {
        counts[usize::from(*byte)] += 1;
    }
    let length = head.len() as u64;
    let squares: u64 = counts.iter().map(|n| n * n).sum();
    // sum((n - e)^2 / e) with e = length / 256, without fractions
    let chi_squared = (256 * squares / length).saturating_sub(length);
    chi_squared < 255 + 12 * 23
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_dumps() {
        let mut noise = vec![0; 64 * 1024];
        getrandom::fill(&mut noise).expect("random numbers");
        noise[0] = b'x';
        assert_eq!(sense(&noise), Sense::None);
        assert_eq!(sense(&noise[..2048]), Sense::None);
        assert_eq!(sense("id,name\n1,Ågot\n".repeat(500).as_bytes()), Sense::Utf8);
        assert_eq!(sense(&b"id,name\n1,\xc5got\n".repeat(500)), Sense::Text);
        assert_eq!(sense(&"Å".as_bytes()[..1]), Sense::Utf8);
        assert_eq!(sense(&[b"toc.dat".as_slice(), &[0; 4096]].concat()), Sense::Structured);
        assert_eq!(sense(b"PGDMP\x01\x0e\0"), Sense::Proved);
        assert_eq!(sense(b"\x1f\x8b\x08\0"), Sense::Proved);
        assert_ne!(sense(b"\x1f\x8b\x07\0"), Sense::Proved);
    }

    #[test]
    fn contents_are_told_by_their_beginnings() {
        let table: [(&[u8], Content); 7] = [
            (b"\xef\xbb\xbf--\r\n-- PostgreSQL database dump\r\n", Content::Plain),
            (b"PGDMP\x01\x0e\0", Content::Custom),
            (b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n", Content::Plain),
            (b"\nset client_encoding = 'UTF8';", Content::Plain),
            (b"id,name\n1,x\n", Content::Unknown),
            (b"-- \0\0\0", Content::Unknown),
            (b"", Content::Unknown),
        ];
        for (head, content_of) in table {
            assert_eq!(content(head), content_of, "{head:?}");
        }
    }
}
