//! Replies of RESP2, read from a buffer. <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest reply that is read, in bytes: `CONFIG GET *` has some 10 KiB.
pub(crate) const MAX_REPLY_BYTES: usize = 16 << 20;
/// Arrays within arrays.
const MAX_DEPTH: usize = 8;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisValue {
    /// A status, or a string of bytes.
    Text(Bytes),
    /// A number.
    Number(i64),
    /// Nothing.
    Null,
    /// Several.
    List(Vec<RedisValue>),
    /// An error: its code and text.
    Error(String),
}

impl RedisValue {
    /// As text; none of a list, a number or nothing.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The items of a list; empty of all else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// A flat list of names and values as pairs, what is no text left out.
    pub fn text_pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.items()
            .chunks_exact(2)
            .filter_map(|pair| Some((pair[0].as_text()?, pair[1].as_text()?)))
    }

    /// Takes one whole reply from the front of the buffer; none while it is not whole.
    ///
    /// # Errors
    /// If what is there is no reply, or one that is too large.
    pub(crate) fn take_from(buffer: &mut BytesMut) -> Result<Option<Self>, &'static str> {
        let mut reader = Reader { bytes: buffer, at: 0 };
        match reader.value(0) {
            Ok(value) => {
                let used = reader.at;
                buffer.advance(used);
                Ok(Some(value))
            }
            Err(Stop::Short) if buffer.len() > MAX_REPLY_BYTES => Err("its reply is too large"),
            Err(Stop::Short) => Ok(None),
            Err(Stop::Bad(why)) => Err(why),
        }
    }
}

enum Stop {
    Short,
    Bad(&'static str),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<RedisValue, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Bad("its reply is nested too deep"));
        }
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or(Stop::Bad("its reply is empty"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        Ok(match kind {
            b'+' => RedisValue::Text(Bytes::copy_from_slice(rest)),
            b'-' => RedisValue::Error(text()),
            b':' => RedisValue::Number(number(rest)?),
            b'$' => match number(rest)? {
                -1 => RedisValue::Null,
                n => RedisValue::Text(self.exactly(length(n)?)?),
            },
            b'*' => match number(rest)? {
                -1 => RedisValue::Null,
                n => {
                    // Not reserved ahead: an item takes three bytes at least, and they must come first.
                    let items = (0..length(n)?).map(|_| self.value(depth + 1));
                    RedisValue::List(items.collect::<Result<_, _>>()?)
                }
            },
            _ => return Err(Stop::Bad("its reply is none of Redis")),
        })
    }

    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|w| w == b"\r\n").ok_or(Stop::Short)?;
        let line = rest[..end].to_vec();
        self.at += end + 2;
        Ok(line)
    }

    fn exactly(&mut self, n: usize) -> Result<Bytes, Stop> {
        let rest = &self.bytes[self.at..];
        if rest.len() < n + 2 {
            return Err(Stop::Short);
        }
        if &rest[n..n + 2] != b"\r\n" {
            return Err(Stop::Bad("its reply has a wrong length"));
        }
        self.at += n + 2;
        Ok(Bytes::copy_from_slice(&rest[..n]))
    }
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|t| t.parse().ok()).ok_or(Stop::Bad("its reply has no number where one must be"))
}

fn length(n: i64) -> Result<usize, Stop> {
    let n = usize::try_from(n).ok().filter(|n| *n <= MAX_REPLY_BYTES);
    n.ok_or(Stop::Bad("its reply is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(text: &[u8]) -> Result<Option<RedisValue>, &'static str> {
        RedisValue::take_from(&mut BytesMut::from(text))
    }

    #[test]
    fn a_reply_is_taken_when_it_is_whole_and_not_before() {
        let whole = b"*3\r\n$4\r\nsave\r\n$-1\r\n:7\r\n+OK\r\n";
        for cut in 0..22 {
            assert_eq!(take(&whole[..cut]), Ok(None), "{cut}");
        }
        let mut buffer = BytesMut::from(&whole[..]);
        let list = RedisValue::take_from(&mut buffer).expect("a reply").expect("whole");
        assert_eq!(list.items()[0].as_text().as_deref(), Some("save"));
        assert_eq!(list.items()[1..], [RedisValue::Null, RedisValue::Number(7)]);
        assert_eq!(&buffer[..], b"+OK\r\n");
        assert_eq!(take(b"-ERR no\r\n"), Ok(Some(RedisValue::Error("ERR no".into()))));
        for bad in [&b"!x\r\n"[..], b"$99999999999\r\n", b"$2\r\nabc\r\n", b":x\r\n"] {
            assert!(take(bad).is_err(), "{bad:?}");
        }
        assert!(take(&b"*1\r\n".repeat(50)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&bytes);
        }
    }
}
