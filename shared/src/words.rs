//! Figures as people and programs read them.

/// Bytes as small hexadecimal digits, two each.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.filter_map(|d| char::from_digit(d.into(), 16)).collect()
}

/// A size in bytes, in the largest unit that leaves a figure above one: `1.5 KiB`, `20 GiB`.
pub fn size(bytes: i64) -> String {
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
    fn sizes_are_written_in_their_largest_unit() {
        let table = [0, 1023, 1024, 1536, 20 << 30, 5 << 40].map(size);
        assert_eq!(table, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "20 GiB", "5 TiB"]);
    }
}
