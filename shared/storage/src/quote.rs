//! Words of a shell.

pub use shared::words::shell_quote;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_words_stay_as_they_are() {
        let words = ["s3://b/orders_1.dump", "a b", "it's", "", "$HOME", "~", "a=b", "*"];
        let quoted = words.map(shell_quote);
        assert_eq!(
            quoted,
            ["s3://b/orders_1.dump", "'a b'", "'it'\\''s'", "''", "'$HOME'", "'~'", "a=b", "'*'"]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_shell_reads_the_very_word(word in "[^\0]*") {
            let script = format!("printf %s {}", shell_quote(&word));
            let out = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
            prop_assert_eq!(String::from_utf8_lossy(&out.stdout), word);
        }
    }
}
