//! Hexadecimal digits, for digests.

pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// `N` bytes from exactly `2 N` digits, of either case (`sha256sum` writes small ones, other tools do not).
pub(crate) fn decode<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let digits = text.as_bytes();
    let nibble = |d: u8| char::from(d).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return Err(format!("{} characters instead of {} hexadecimal digits", digits.len(), 2 * N));
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = match (nibble(pair[0]), nibble(pair[1])) {
            (Some(high), Some(low)) => high << 4 | low,
            _ => return Err("a character that is no hexadecimal digit".into()),
        };
    }
    Ok(bytes)
}
