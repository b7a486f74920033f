//! Figures and texts as people and programs read them.

use std::borrow::Cow;

/// Whether a character steers a terminal, or shows what stands beside it in another order, instead of being shown.
fn is_terminal_control(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Text from outside as it may reach a terminal: characters that would steer it stand as their escapes (`\u{1b}`). Line
/// ends and tabs stay.
pub fn escape_control_chars(text: &str) -> Cow<'_, str> {
    if !text.contains(is_terminal_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_terminal_control(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A word as any POSIX shell reads it back.
pub fn shell_quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Bytes as small hexadecimal digits, two each.
pub fn hex_encode(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.filter_map(|d| char::from_digit(d.into(), 16)).collect()
}

/// A size in bytes, in the largest unit that leaves a figure above one: `1.5 KiB`, `20 GiB`.
pub fn format_size(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mut figure = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if figure < 1024.0 {
            break;
        }
        figure /= 1024.0;
        unit = larger;
    }
    let text = if unit == "B" { format!("{figure:.0}") } else { format!("{figure:.1}") };
    format!("{} {unit}", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_shown_as_its_escape() {
        assert_eq!(escape_control_chars("a\u{1b}[2J\u{9b}2J\rb"), "a\\u{1b}[2J\\u{9b}2J\\u{d}b");
        assert_eq!(escape_control_chars("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        let plain = "Åsa, 日本語 🔴\tx\nnext line";
        assert!(matches!(escape_control_chars(plain), Cow::Borrowed(same) if same == plain));
    }

    #[test]
    fn sizes_are_written_in_their_largest_unit() {
        let table = [0, 1023, 1024, 1536, 20 << 30, 5 << 40].map(format_size);
        assert_eq!(table, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "20 GiB", "5 TiB"]);
    }
}
