//! The one error of this crate.

use std::fmt;

/// What failed: what was being done, why it did not work, what to do about it. Never a password or a value of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisError {
    /// What a caller decides by.
    pub kind: RedisErrorKind,
    /// Verb and object.
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// Sorts of failure, by what a caller does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisErrorKind {
    /// The server can't be reached, or the connection was lost or stalled.
    Connection,
    /// It lets this user not in, or not do this.
    Denied,
    /// It can't do it now: it loads its data, or its link to the primary is down.
    Busy,
    /// It does not do this at all, or the answer is none of the protocol.
    Refused,
    /// An RDB file is not what it should be.
    Damaged,
    /// An RDB file holds something that this Holdfast does not know.
    Unsupported,
}

impl RedisError {
    /// An error in its four parts.
    pub fn new(
        kind: RedisErrorKind,
        doing: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { kind, doing: doing.into(), why: why.into(), hint: hint.into() }
    }

    /// An error reply of a server: its first word decides, as the protocol says.
    /// <https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors>
    pub(crate) fn from_reply(doing: &str, reply: &str) -> Self {
        use RedisErrorKind as Kind;
        let code = reply.split(' ').next().unwrap_or_default();
        let (kind, hint) = match code {
            "NOAUTH" => (Kind::Denied, "write user and password into the policy"),
            "WRONGPASS" => (Kind::Denied, "check user and password of the policy"),
            "NOPERM" => {
                (Kind::Denied, "allow the user this command: see the ACL line in docs/redis.md")
            }
            "LOADING" => (Kind::Busy, "the server loads its data; try again when it has"),
            "MASTERDOWN" | "NOMASTERLINK" => {
                (Kind::Busy, "this replica has lost its primary: see its log and its link")
            }
            "BUSY" | "TRYAGAIN" => (Kind::Busy, "try again later"),
            _ => {
                (Kind::Refused, "see the server's log; managed services do not take every command")
            }
        };
        Self::new(kind, doing, printable(reply), hint)
    }

    pub(crate) fn from_io(doing: impl Into<String>, e: &std::io::Error) -> Self {
        Self::new(RedisErrorKind::Connection, doing, e.to_string(), "check address and firewall")
    }
}

/// A server's words, short and without what would steer a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.why)
    }
}

impl std::error::Error for RedisError {}
