//! Whether a setting is what it should be, whatever way the two are written.

/// Whether the value that CONFIG GET shows is the one that is expected: `save` as pairs in any order, sizes as bytes,
/// `yes` and `no` in any case.
pub fn is_same_setting(name: &str, expected: &str, actual: &str) -> bool {
    if name.eq_ignore_ascii_case("save") {
        return save_points(expected) == save_points(actual);
    }
    let words = |text: &str| text.split_whitespace().map(canonical_word).collect::<Vec<_>>();
    words(expected) == words(actual)
}

/// Save points as sorted pairs of seconds and changes; what is no pair stays as it is.
fn save_points(text: &str) -> Vec<Vec<String>> {
    let words: Vec<String> = text.trim_matches('"').split_whitespace().map(str::to_owned).collect();
    let mut pairs: Vec<Vec<String>> = words.chunks(2).map(<[String]>::to_vec).collect();
    pairs.sort();
    pairs
}

/// A word as the server keeps it: a size as bytes, all else in small letters.
/// Units as in redis.conf: `1k` is 1000 bytes, `1kb` is 1024.
fn canonical_word(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    let units = [
        ("kb", 1 << 10),
        ("mb", 1 << 20),
        ("gb", 1_u64 << 30),
        ("k", 1000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
    ];
    let size = units.iter().find_map(|(unit, bytes)| {
        word.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*bytes)
    });
    match size {
        Some(bytes) => bytes.to_string(),
        // The old word, which servers keep in names and values.
        None => word.replace("slave", "replica"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_write_a_setting_are_one_setting() {
        for (name, expected, actual, same) in [
            ("save", "3600 1 300 100 60 10000", "60 10000 3600 1 300 100", true),
            ("save", "3600 1", "3600 1 300 100", false),
            ("save", "", "", true),
            ("save", "\"\"", "", true),
            ("save", "1 3600", "3600 1", false),
            ("appendonly", "YES", "yes", true),
            ("appendonly", "yes", "no", false),
            ("maxmemory", "64mb", "67108864", true),
            ("maxmemory", "64m", "67108864", false),
            ("maxmemory", "64m", "64000000", true),
            (
                "client-output-buffer-limit",
                "replica 256mb 64mb 60",
                "slave 268435456 67108864 60",
                true,
            ),
            ("appendfsync", "everysec", "always", false),
        ] {
            assert_eq!(is_same_setting(name, expected, actual), same, "{name} {expected} {actual}");
        }
    }
}
