//! How keys are written in headers and lists.

/// Percent-encodes a copy source: S3 takes everything but letters, digits, `-._~` and the slash as escapes. A plus left
/// as it is would be read as a space.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
pub(super) fn encode_copy_source(bucket: &str, key: &str) -> String {
    let mut out = String::with_capacity(bucket.len() + 1 + key.len());
    out.push_str(bucket);
    out.push('/');
    append_percent_encoded(key, b"-._~/", &mut out);
    out
}

/// Percent-encodes a tag's key or value for the `x-amz-tagging` header, where `/` and `=` separate nothing by chance.
pub(super) fn append_query_encoded(text: &str, out: &mut String) {
    append_percent_encoded(text, b"-._~", out);
}

fn append_percent_encoded(text: &str, plain: &[u8], out: &mut String) {
    use std::fmt::Write;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Reads a key of a list that was asked for with `encoding-type=url`: escapes, and a plus for a space. None when it is
/// no UTF-8 or an escape is cut short.
pub(super) fn decode_listed_key(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
}

/// An `ETag` as it stands in conditions: in quotes.
pub(super) fn quoted_etag(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// An `ETag` as it is compared: without quotes, which some S3-compatible stores leave out.
pub(super) fn unquoted_etag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_copy_source_escapes_what_s3_would_read_otherwise() {
        let table = ["a/b.dump", "a b", "a+b", "50%", "naïve/Ω", "q?x=1&y#z", "~-_."];
        let written: Vec<_> = table.iter().map(|k| encode_copy_source("bucket", k)).collect();
        insta::assert_snapshot!(written.join("\n"), @"
        bucket/a/b.dump
        bucket/a%20b
        bucket/a%2Bb
        bucket/50%25
        bucket/na%C3%AFve/%CE%A9
        bucket/q%3Fx%3D1%26y%23z
        bucket/~-_.
        ");
    }

    #[test]
    fn a_cut_escape_is_no_key() {
        for text in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode_listed_key(text), None, "{text}");
        }
        assert_eq!(decode_listed_key("a+b%2Bc").as_deref(), Some("a b+c"));
    }

    proptest! {
        #[test]
        fn every_key_survives_being_written_and_read(key in ".*") {
            let source = encode_copy_source("b", &key);
            prop_assert!(source.is_ascii());
            prop_assert_eq!(decode_listed_key(source.strip_prefix("b/").expect("the bucket")), Some(key));
        }
    }
}
