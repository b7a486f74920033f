//! Tags as RDS takes them. A value of one has letters, digits, spaces and `_ . : / = + - @`, and 256 characters at most.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Tagging.html>

use aws_sdk_rds::types::Tag;
use std::{borrow::Cow, collections::BTreeMap};

/// Characters of a value at most.
pub(crate) const MAX_TAG_VALUE_CHARS: usize = 256;
/// Tags with this beginning are Holdfast's own.
const TAG_PREFIX: &str = "holdfast:";

/// Whether a byte stands in a value as it is. `=` is taken by RDS and begins an escape here.
fn is_plain_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b" _.:/+-@".contains(&b)
}

/// A text as a value: what RDS does not take, and `=`, stands as `=` and two hexadecimal digits for each byte of its UTF-8:
/// `PR =2312 =28hotfix=29`. Two texts stay two, and [`decoded`] gives the text back.
pub(crate) fn encode_tag_value(text: &str) -> Cow<'_, str> {
    let inner = text.trim_matches(' ').len() == text.len();
    if inner && text.bytes().all(is_plain_byte) {
        return Cow::Borrowed(text);
    }
    let last = text.len().saturating_sub(1);
    let mut out = String::new();
    for (i, b) in text.bytes().enumerate() {
        // A space at an end would be lost on the way.
        if is_plain_byte(b) && (b != b' ' || (i > 0 && i < last)) {
            out.push(char::from(b));
        } else {
            out += &format!("={b:02X}");
        }
    }
    Cow::Owned(out)
}

/// The text behind a value; one that is no such form is the text itself.
pub(crate) fn decode_tag_value(value: &str) -> Cow<'_, str> {
    let Some((first, rest)) = value.split_once('=') else { return Cow::Borrowed(value) };
    let mut bytes = first.as_bytes().to_vec();
    for part in rest.split('=') {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else { return Cow::Borrowed(value) };
        bytes.push(byte);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(value), Cow::Owned)
}

/// Tags for a call. An asset's own are what RDS gave us, so it takes them back as they are.
pub(super) fn to_sdk(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let value = |k: &str, v: &str| {
        if k.starts_with(TAG_PREFIX) { encode_tag_value(v).into_owned() } else { v.to_owned() }
    };
    tags.iter().map(|(k, v)| Tag::builder().key(k).value(value(k, v)).build()).collect()
}

/// Tags of an answer.
pub(super) fn tag_pairs(list: &[Tag]) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    list.iter().filter_map(|t| {
        let (key, value) = (t.key()?, t.value().unwrap_or_default());
        Some((
            key,
            if key.starts_with(TAG_PREFIX) {
                decode_tag_value(value)
            } else {
                Cow::Borrowed(value)
            },
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_rds_takes_stands_as_it_is_and_the_rest_can_be_read_back() {
        for (text, value) in [
            ("acme@111122223333/eu-west-1", "acme@111122223333/eu-west-1"),
            ("2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z"),
            ("PR #12 (hotfix)", "PR =2312 =28hotfix=29"),
            ("a=b", "a=3Db"),
            (" x ", "=20x=20"),
            ("é", "=C3=A9"),
        ] {
            assert_eq!((&*encode_tag_value(text), &*decode_tag_value(value)), (value, text));
        }
        for not_ours in ["a=b", "=", "=ZZ", "=FF", "x=é"] {
            assert_eq!(decode_tag_value(not_ours), not_ours);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_back_and_its_value_is_one_that_rds_takes(text in any::<String>()) {
            let value = encode_tag_value(&text);
            let takes = |c: char| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c);
            prop_assert!(value.chars().all(takes), "{}", value);
            prop_assert_eq!(value.trim(), &*value);
            prop_assert_eq!(&*decode_tag_value(&value), text.as_str());
        }
    }
}
