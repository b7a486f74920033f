//! The RDB file as a server sends it to a replica: by the diskless replication stream, nothing on the server's disk.
//!
//! We say that we are a replica that takes the file and no more (`rdb-only`), read it, and go away without an ACK. A server
//! that sends the file without its disk ends it with a mark of 40 bytes (`$EOF:`), one that made a file first sends its
//! length. <https://redis.io/docs/latest/operate/oss_and_stack/management/replication/>

use crate::{RedisClient, RedisError, RedisErrorKind, ServerInfo, StreamFraming};
use bytes::{Buf as _, BytesMut};
use codec::pipe::{self, CHUNK_BYTES, ChunkSender};
use facts::RedisFamily;
use std::{io, time::Duration};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// How long the server may take before the first byte of the file. While it waits or forks it sends a line end a second.
const START_TIMEOUT: Duration = Duration::from_mins(10);
/// How long it may send nothing at all. Servers cut replicas that stall after 60 s by default.
const STALL_TIMEOUT: Duration = Duration::from_secs(45);
/// The longest line before the file, in bytes.
const MAX_LINE_BYTES: usize = 256;

/// An RDB file that is about to be sent.
#[derive(Debug)]
pub struct RdbStream {
    client: RedisClient,
    /// How its end is told.
    pub framing: StreamFraming,
}

/// Asks for the RDB file.
///
/// # Errors
/// If the server refuses or does not begin in time.
pub async fn start_rdb_stream(
    mut client: RedisClient,
    info: &ServerInfo,
) -> Result<RdbStream, RedisError> {
    let doing = format!("ask {} for its RDB file", client.address());
    // Without it the server would write a file to its own disk first.
    client.command(&["REPLCONF", "capa", "eof"]).await?;
    // Since 7.0; without it the server keeps a buffer of what is written meanwhile.
    optional(client.command(&["REPLCONF", "rdb-only", "1"]).await)?;
    if info.family() == RedisFamily::Valkey {
        // Else it writes an old version of the format, which can't hold all that it has.
        optional(client.command(&["REPLCONF", "version", info.version()]).await)?;
    }
    client.send(&doing, &["SYNC"]).await?;
    let header = async {
        loop {
            let line = read_line(&mut client, &doing).await?;
            match line.as_str() {
                // The server waits for other replicas, or saves.
                "" => {}
                error if error.starts_with('-') => {
                    return Err(RedisError::from_reply(&doing, &error[1..]));
                }
                header => {
                    return parse_header(header).ok_or_else(|| {
                        let why = "what it sends is no RDB file";
                        RedisError::new(RedisErrorKind::Refused, &doing, why, "")
                    });
                }
            }
        }
    };
    let framing = timeout(START_TIMEOUT, header).await.map_err(|_| {
        let why = format!("it did not begin within {} minutes", START_TIMEOUT.as_secs() / 60);
        RedisError::new(RedisErrorKind::Busy, &doing, why, "see what the server saves or syncs")
    })??;
    Ok(RdbStream { client, framing })
}

/// A reply that an older server refuses, and nothing is lost by that.
fn optional<T>(reply: Result<T, RedisError>) -> Result<(), RedisError> {
    match reply {
        Err(e) if e.kind != RedisErrorKind::Refused => Err(e),
        _ => Ok(()),
    }
}

/// `$EOF:<40 bytes>` or `$<length>`.
fn parse_header(line: &str) -> Option<StreamFraming> {
    let rest = line.strip_prefix('$')?;
    match rest.strip_prefix("EOF:") {
        Some(mark) => Some(StreamFraming::Mark(mark.as_bytes().try_into().ok()?)),
        None => rest.parse().ok().map(StreamFraming::Length),
    }
}

/// A line without its end, `\n` or `\r\n`.
async fn read_line(client: &mut RedisClient, doing: &str) -> Result<String, RedisError> {
    loop {
        if let Some(end) = client.buffer.iter().position(|b| *b == b'\n') {
            let line = client.buffer.split_to(end);
            client.buffer.advance(1);
            return Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
        }
        if client.buffer.len() > MAX_LINE_BYTES {
            return Err(RedisError::new(
                RedisErrorKind::Refused,
                doing,
                "what it sends is no RDB file",
                "",
            ));
        }
        timeout(STALL_TIMEOUT, client.fill(doing)).await.map_err(|_| stalled(doing))??;
    }
}

fn stalled(doing: &str) -> RedisError {
    let why = format!("the server sent nothing for {} s", STALL_TIMEOUT.as_secs());
    RedisError::new(RedisErrorKind::Connection, doing, why, "see the server's log and its load")
}

impl RdbStream {
    /// Sends the file's bytes, and the mark at its end, into a channel, until it is all there or nobody takes more. Who
    /// walks the file knows its end: this side never looks for it.
    ///
    /// # Errors
    /// If the connection is lost or stalls; the channel gets no end then.
    pub async fn forward(mut self, to: ChunkSender) -> Result<(), RedisError> {
        let doing = format!("read the RDB file of {}", self.client.address());
        let mut left = match self.framing {
            StreamFraming::Length(n) => n,
            _ => u64::MAX,
        };
        let mut piece = std::mem::take(&mut self.client.buffer);
        loop {
            if !piece.is_empty() {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                let bytes = piece.split_to(most).freeze();
                left -= bytes.len() as u64;
                if pipe::send_chunk(&to, bytes).await.is_err() {
                    // Whoever walks it has seen the end, or knows why not.
                    return Ok(());
                }
            }
            if left == 0 {
                let _ = pipe::send_end(&to).await;
                return Ok(());
            }
            if piece.capacity() - piece.len() < CHUNK_BYTES / 4 {
                piece = BytesMut::with_capacity(CHUNK_BYTES);
            }
            let read = tokio::select! {
                read = timeout(STALL_TIMEOUT, self.client.wire.read_buf(&mut piece)) => read,
                () = to.closed() => return Ok(()),
            };
            let failed = match read {
                Err(_) => stalled(&doing),
                Ok(Err(e)) => RedisError::from_io(&doing, &e),
                Ok(Ok(0)) => {
                    // After the file the server closes: whoever walks it asks for more only when it is not whole.
                    let why = "the server closed the connection in the middle; see its log";
                    pipe::send_error(&to, io::Error::new(io::ErrorKind::UnexpectedEof, why)).await;
                    return Ok(());
                }
                Ok(Ok(_)) => continue,
            };
            let why = io::Error::new(io::ErrorKind::UnexpectedEof, failed.to_string());
            pipe::send_error(&to, why).await;
            return Err(failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_length_or_a_mark() {
        let mark = [b'a'; 40];
        let text = format!("$EOF:{}", "a".repeat(40));
        assert_eq!(parse_header(&text), Some(StreamFraming::Mark(mark)));
        assert_eq!(parse_header("$222700000"), Some(StreamFraming::Length(222_700_000)));
        for bad in ["$EOF:short", "$", "$-1", "+OK", "", "$1x"] {
            assert_eq!(parse_header(bad), None, "{bad}");
        }
    }
}
