//! What bytes look like: magic numbers, text, or the noise that a wrong key gives.

use crate::{CompressionFormat, guess::PayloadFormat};

/// How much sense the bytes make that a key has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plausibility {
    /// None at all: a wrong key.
    None,
    /// They are not noise.
    Structured,
    /// They are text in some encoding.
    Text,
    /// They are text in UTF-8, which a few bytes of noise hardly ever are.
    Utf8,
    /// A magic number stands at their beginning.
    HasMagicNumber,
}

/// Other formats' beginnings: not undone here, yet a proof that a key is right.
const OTHER_MAGIC_NUMBERS: [&[u8]; 7] = [
    b"\xfd7zXZ\0",            // xz
    b"BZh",                   // bzip2
    b"\x04\x22\x4d\x18",      // lz4
    b"PK\x03\x04",            // zip
    b"REDIS",                 // Redis RDB
    b"SQLite format 3\0",     // SQLite
    b"age-encryption.org/v1", // age
];

/// The compression whose magic number stands at the beginning.
pub(crate) fn detect_compression(head: &[u8]) -> Option<CompressionFormat> {
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(CompressionFormat::Zstd)
        }
        // Method 8 is the only one there is, and the upper three flags are zero (RFC 1952, 2.3).
        [0x1f, 0x8b, 8, flags, ..] if *flags < 0x20 => Some(CompressionFormat::Gzip),
        _ => None,
    }
}

pub(crate) fn score_plausibility(head: &[u8]) -> Plausibility {
    let magic = head.starts_with(b"PGDMP")
        || detect_compression(head).is_some()
        || OTHER_MAGIC_NUMBERS.iter().any(|magic| head.starts_with(magic));
    match () {
        () if magic => Plausibility::HasMagicNumber,
        () if looks_random(head) => Plausibility::None,
        () if is_text(head) && is_utf8_prefix(head) => Plausibility::Utf8,
        () if is_text(head) => Plausibility::Text,
        () => Plausibility::Structured,
    }
}

/// What a dump of PostgreSQL looks like.
pub(crate) fn detect_format(head: &[u8]) -> PayloadFormat {
    if head.starts_with(b"PGDMP") {
        return PayloadFormat::Custom;
    }
    let statements =
        ["--", "SET ", "CREATE ", "BEGIN", "COPY ", "INSERT ", "DROP ", "ALTER ", "\\"];
    // A byte order mark, as some editors put it before UTF-8.
    let beginning = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let sql = statements
        .iter()
        .any(|s| beginning.get(..s.len()).is_some_and(|b| b.eq_ignore_ascii_case(s.as_bytes())));
    if sql && is_text(head) { PayloadFormat::Plain } else { PayloadFormat::Unknown }
}

/// Text of any encoding that extends ASCII: PostgreSQL has no NUL in text, and hardly any other control characters.
fn is_text(head: &[u8]) -> bool {
    let control = |b: &&u8| **b < 0x20 && !b"\t\n\x0b\x0c\r".contains(b);
    !head.contains(&0) && head.iter().filter(control).count() * 50 <= head.len()
}

/// UTF-8, but for a character cut off at the end.
fn is_utf8_prefix(head: &[u8]) -> bool {
    std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true)
}

/// Whether all byte values are equally frequent, as in what a wrong key gives and in no dump. Pearson's chi-squared with
/// 255 degrees of freedom: noise gives 255 with a deviation of 23, plain text ten times its length and more.
fn looks_random(head: &[u8]) -> bool {
    /// Below this the numbers are too small to tell, and the padding at the end must do.
    const MIN_SAMPLE_BYTES: usize = 2048;
    if head.len() < MIN_SAMPLE_BYTES {
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
        assert_eq!(score_plausibility(&noise), Plausibility::None);
        assert_eq!(score_plausibility(&noise[..2048]), Plausibility::None);
        assert_eq!(
            score_plausibility("id,name\n1,Ågot\n".repeat(500).as_bytes()),
            Plausibility::Utf8
        );
        assert_eq!(score_plausibility(&b"id,name\n1,\xc5got\n".repeat(500)), Plausibility::Text);
        assert_eq!(score_plausibility(&"Å".as_bytes()[..1]), Plausibility::Utf8);
        assert_eq!(
            score_plausibility(&[b"toc.dat".as_slice(), &[0; 4096]].concat()),
            Plausibility::Structured
        );
        assert_eq!(score_plausibility(b"PGDMP\x01\x0e\0"), Plausibility::HasMagicNumber);
        assert_eq!(score_plausibility(b"\x1f\x8b\x08\0"), Plausibility::HasMagicNumber);
        assert_ne!(score_plausibility(b"\x1f\x8b\x07\0"), Plausibility::HasMagicNumber);
    }

    #[test]
    fn contents_are_told_by_their_beginnings() {
        let table: [(&[u8], PayloadFormat); 7] = [
            (b"\xef\xbb\xbf--\r\n-- PostgreSQL database dump\r\n", PayloadFormat::Plain),
            (b"PGDMP\x01\x0e\0", PayloadFormat::Custom),
            (b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n", PayloadFormat::Plain),
            (b"\nset client_encoding = 'UTF8';", PayloadFormat::Plain),
            (b"id,name\n1,x\n", PayloadFormat::Unknown),
            (b"-- \0\0\0", PayloadFormat::Unknown),
            (b"", PayloadFormat::Unknown),
        ];
        for (head, content_of) in table {
            assert_eq!(detect_format(head), content_of, "{head:?}");
        }
    }
}
