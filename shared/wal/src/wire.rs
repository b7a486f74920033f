//! A connection for the replication protocol, written by hand: what follows the end of a COPY, a result or an error, must be
//! seen, for it alone says whether a base backup is good.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use crate::{
    error::{WalError, WalErrorKind},
    name::{Lsn, TimelineId},
};
use bytes::{Bytes, BytesMut};
use postgres::{ConnectionConfig, server::DuplexStream};
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
};
use secrecy::ExposeSecret;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Protocol 3.0.
const PROTOCOL_VERSION: i32 = 196_608;
/// A server that sends nothing for so long is gone. It waits for a checkpoint and for nothing else.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(30);
/// Room for what is read at once.
const READ_BYTES: usize = 256 << 10;
/// The longest message that is believed to be one.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// A message of the server: its kind and its bytes.
#[derive(Debug)]
pub struct ServerMessage {
    /// Its kind, as the protocol has it.
    pub tag: u8,
    /// What follows its length.
    pub body: Bytes,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The cluster's system identifier.
    pub system: u64,
    /// The timeline that it is on.
    pub timeline: TimelineId,
    /// Up to here its WAL is on its disk.
    pub flushed: Lsn,
}

/// A row of text; a value that is null is none.
pub type TextRow = Vec<Option<String>>;

/// A row as it is sent; a value that is null is none.
pub type ByteRow = Vec<Option<Bytes>>;

/// A connection that was logged in for replication.
pub struct ReplicationConnection {
    stream: Box<dyn DuplexStream>,
    /// What was read and is no whole message yet.
    unread: BytesMut,
    address: String,
}

impl std::fmt::Debug for ReplicationConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicationConnection")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ReplicationConnection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If the server is not reached, or does not let us in.
    pub async fn connect(config: &ConnectionConfig) -> Result<Self, WalError> {
        let stream = config.open_stream().await?;
        let address = format!("{}:{}", config.host, config.port);
        let mut connection = Self { stream, unread: BytesMut::new(), address };
        let mut startup = PROTOCOL_VERSION.to_be_bytes().to_vec();
        let pairs = [
            ("user", config.user.as_str()),
            ("replication", "true"),
            ("application_name", &config.application),
        ];
        for text in pairs.iter().flat_map(|(name, value)| [*name, *value]) {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        startup.push(0);
        connection.send(None, &startup).await?;
        connection.log_in(config).await?;
        Ok(connection)
    }

    pub(crate) fn error(&self, why: impl Into<String>) -> WalError {
        let hint = "see the server's log; the next run starts afresh";
        WalError::new(WalErrorKind::Database, format!("replicate from {}", self.address), why, hint)
    }

    fn io_error(&self, e: &io::Error) -> WalError {
        self.error(e.to_string())
    }

    async fn send(&mut self, tag: Option<u8>, body: &[u8]) -> Result<(), WalError> {
        let mut message = Vec::with_capacity(body.len() + 5);
        message.extend(tag);
        let length =
            i32::try_from(body.len() + 4).map_err(|_| self.error("a message is too long"))?;
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        let sent = async {
            self.stream.write_all(&message).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|e| self.io_error(&e))
    }

    /// The next message that is neither a notice nor a setting. An error of the server is one here. Given up in the middle,
    /// nothing is lost: the next call goes on.
    ///
    /// # Errors
    /// If the connection is lost or silent, or the server says an error.
    pub async fn read_message(&mut self) -> Result<ServerMessage, WalError> {
        loop {
            let message = loop {
                if let Some(message) = self.take_message()? {
                    break message;
                }
                self.unread.reserve(READ_BYTES);
                let read = timeout(SILENCE_TIMEOUT, self.stream.read_buf(&mut self.unread)).await;
                let n = read
                    .map_err(|_| self.error("the server was silent for too long"))?
                    .map_err(|e| self.io_error(&e))?;
                if n == 0 {
                    return Err(self.error("the server closed the connection"));
                }
            };
            match message.tag {
                b'N' | b'S' | b'A' => {}
                b'E' => return Err(self.server_error(&message.body)),
                _ => return Ok(message),
            }
        }
    }

    /// A message that was read whole.
    fn take_message(&mut self) -> Result<Option<ServerMessage>, WalError> {
        let Some((head, _)) = self.unread.split_at_checked(5) else { return Ok(None) };
        let tag = head[0];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=MAX_MESSAGE_BYTES).contains(&length) {
            return Err(self.error("what it sends is not the replication protocol"));
        }
        if self.unread.len() <= length {
            return Ok(None);
        }
        let body = self.unread.split_to(length + 1).freeze().slice(5..);
        Ok(Some(ServerMessage { tag, body }))
    }

    /// Sends a piece of a COPY.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn send_copy_data(&mut self, body: &[u8]) -> Result<(), WalError> {
        self.send(Some(b'd'), body).await
    }

    /// Ends our side of a COPY.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn send_copy_done(&mut self) -> Result<(), WalError> {
        self.send(Some(b'c'), &[]).await
    }

    /// The server's own words. `XX001` is data corrupted.
    fn server_error(&self, body: &[u8]) -> WalError {
        let fields: Vec<(u8, String)> = body
            .split(|b| *b == 0)
            .filter_map(|f| Some((*f.first()?, String::from_utf8_lossy(&f[1..]).into_owned())))
            .collect();
        let field = |tag: u8| fields.iter().find(|(t, _)| *t == tag).map(|(_, text)| text.clone());
        let code = field(b'C').unwrap_or_default();
        let why = format!("{} (SQLSTATE {code})", field(b'M').unwrap_or_default());
        let kind = match code.as_str() {
            "XX001" => WalErrorKind::Damaged,
            "58P01" => WalErrorKind::Refused,
            _ => WalErrorKind::Database,
        };
        let hint = match code.as_str() {
            "XX001" => {
                "the server's log names the pages; restore them before they spread. Nothing was recorded as a backup"
            }
            "58P01" => {
                "the server no longer has that WAL: unless it is archived another way, there is a gap: take a base backup, and start this again"
            }
            "28000" | "28P01" => {
                "the role needs REPLICATION, and pg_hba.conf a line for the database replication"
            }
            _ => "",
        };
        WalError { kind, hint: hint.into(), ..self.error(why) }
    }

    async fn log_in(&mut self, config: &ConnectionConfig) -> Result<(), WalError> {
        let mut scram: Option<ScramSha256> = None;
        loop {
            let message = self.read_message().await?;
            if message.tag == b'Z' {
                return Ok(());
            }
            if message.tag != b'R' {
                continue; // the key by which a query could be cancelled
            }
            let Some((code, rest)) = message.body.split_at_checked(4) else {
                return Err(self.error("a message is cut"));
            };
            let password = || {
                config
                    .password
                    .as_ref()
                    .ok_or_else(|| self.error("it asks for a password, and none is known"))
            };
            match code {
                [0, 0, 0, 0] => {}
                [0, 0, 0, 5] => {
                    let salt = rest.try_into().map_err(|_| self.error("a message is cut"))?;
                    let mut hash = md5_hash(
                        config.user.as_bytes(),
                        password()?.expose_secret().as_bytes(),
                        salt,
                    );
                    hash.push('\0');
                    self.send(Some(b'p'), hash.as_bytes()).await?;
                }
                [0, 0, 0, 10] => {
                    if !rest.split(|b| *b == 0).any(|m| m == SCRAM_SHA_256.as_bytes()) {
                        return Err(self.error("it offers no authentication that is known here"));
                    }
                    let session = ScramSha256::new(
                        password()?.expose_secret().as_bytes(),
                        ChannelBinding::unsupported(),
                    );
                    let first = session.message();
                    let mut body = SCRAM_SHA_256.as_bytes().to_vec();
                    body.push(0);
                    body.extend_from_slice(
                        &u32::try_from(first.len()).unwrap_or_default().to_be_bytes(),
                    );
                    body.extend_from_slice(first);
                    self.send(Some(b'p'), &body).await?;
                    scram = Some(session);
                }
                [0, 0, 0, 11] => {
                    let session =
                        scram.as_mut().ok_or_else(|| self.error("it answers what nobody asked"))?;
                    session.update(rest).map_err(|e| self.io_error(&e))?;
                    let answer = session.message().to_vec();
                    self.send(Some(b'p'), &answer).await?;
                }
                [0, 0, 0, 12] => {
                    let session =
                        scram.as_mut().ok_or_else(|| self.error("it answers what nobody asked"))?;
                    session.finish(rest).map_err(|e| self.io_error(&e))?;
                }
                _ => return Err(self.error("it asks for an authentication that is not known here")),
            }
        }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn send_command(&mut self, command: &str) -> Result<(), WalError> {
        let mut body = command.as_bytes().to_vec();
        body.push(0);
        self.send(Some(b'Q'), &body).await
    }

    /// Reads one result set, up to its end.
    ///
    /// # Errors
    /// If something else comes.
    pub async fn read_rows(&mut self) -> Result<Vec<TextRow>, WalError> {
        let text = |v: Bytes| String::from_utf8_lossy(&v).into_owned();
        let rows = self.read_byte_rows().await?;
        Ok(rows.into_iter().map(|r| r.into_iter().map(|v| v.map(text)).collect()).collect())
    }

    /// Reads one result set as it is sent: a history file is in no encoding that is known.
    ///
    /// # Errors
    /// If something else comes.
    pub async fn read_byte_rows(&mut self) -> Result<Vec<ByteRow>, WalError> {
        let mut rows = Vec::new();
        loop {
            let message = self.read_message().await?;
            match message.tag {
                b'T' => {}
                b'D' => {
                    rows.push(parse_row(&message.body).ok_or_else(|| self.error("a row is cut"))?);
                }
                b'C' => return Ok(rows),
                _ => return Err(self.error("what it sends is no result")),
            }
        }
    }

    /// Sends a command and reads its one result to the end.
    ///
    /// # Errors
    /// If the server refuses or is lost.
    pub async fn query(&mut self, command: &str) -> Result<Vec<TextRow>, WalError> {
        self.send_command(command).await?;
        let rows = self.read_rows().await?;
        self.read_ready().await?;
        Ok(rows)
    }

    /// Asks the server who it is: `IDENTIFY_SYSTEM`.
    ///
    /// # Errors
    /// If it is lost, or its answer is not what is documented.
    pub async fn identify(&mut self) -> Result<ServerIdentity, WalError> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let identity = rows.first().and_then(|row| {
            let [Some(system), Some(timeline), Some(flushed), ..] = &row[..] else { return None };
            Some(ServerIdentity {
                system: system.parse().ok()?,
                timeline: timeline.parse().ok()?,
                flushed: flushed.parse().ok()?,
            })
        });
        identity.ok_or_else(|| self.error("what it says of itself is not what is documented"))
    }

    /// Reads up to where the server takes the next command.
    ///
    /// # Errors
    /// If it says an error before, or is lost.
    pub async fn read_ready(&mut self) -> Result<(), WalError> {
        while self.read_message().await?.tag != b'Z' {}
        Ok(())
    }
}

fn parse_row(body: &Bytes) -> Option<ByteRow> {
    let (count, mut rest) = body.split_at_checked(2)?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(count.try_into().ok()?) {
        let (length, after) = rest.split_at_checked(4)?;
        rest = after;
        let length = i32::from_be_bytes(length.try_into().ok()?);
        row.push(match usize::try_from(length) {
            Ok(n) => {
                let (value, after) = rest.split_at_checked(n)?;
                rest = after;
                Some(body.slice_ref(value))
            }
            Err(_) => None,
        });
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_row_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_row(&body.into());
        }
    }

    #[test]
    fn a_row_has_values_and_nulls() {
        let body = Bytes::from_static(&[0, 3, 0, 0, 0, 1, b'a', 255, 255, 255, 255, 0, 0, 0, 0]);
        assert_eq!(parse_row(&body), Some(vec![Some("a".into()), None, Some(Bytes::new())]));
        assert_eq!(parse_row(&body.slice(..6)), None);
    }
}
