//! A running `pg_dump`: its output, its words when it fails, and its end.

use crate::{Error, Kind};
use bytes::{Bytes, BytesMut};
use std::process::Stdio;
use tokio::{
    io::{AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
    task::JoinHandle,
};

/// Bytes of output that are passed on at once.
const PIECE: usize = 128 << 10;

/// Of a program's messages so much is kept, the last ones.
const WORDS: usize = 8 << 10;

/// Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Dumper {
    child: Child,
    words: JoinHandle<String>,
    pub(super) stdout: Option<ChildStdout>,
}

impl Dumper {
    pub(super) fn start(mut command: Command) -> Result<Self, Error> {
        let doing = format!("start {}", command.as_std().get_program().display());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Error::from_io(&doing, &e))?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        Ok(Self { child, words: tokio::spawn(tail(stderr)), stdout })
    }

    /// The next bytes of its output, as many as fit or as come before the end; none at the end.
    pub(super) async fn piece(&mut self) -> Result<Bytes, Error> {
        let Some(stdout) = &mut self.stdout else { return Ok(Bytes::new()) };
        let mut piece = BytesMut::with_capacity(PIECE);
        while piece.len() < PIECE {
            let read = stdout.read_buf(&mut piece).await;
            if read.map_err(|e| Error::from_io("read from pg_dump", &e))? == 0 {
                break;
            }
        }
        Ok(piece.freeze())
    }

    /// Kills it and waits until it is gone, and with it its locks.
    pub(super) async fn end(mut self) {
        drop(self.stdout.take());
        drop(self.child.kill().await);
        self.words.abort();
    }

    /// Waits for its end after its output ended.
    ///
    /// # Errors
    /// As it failed, in its own words.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        let status = self.child.wait().await.map_err(|e| Error::from_io("wait for pg_dump", &e))?;
        if status.success() {
            return Ok(());
        }
        let words = self.words.await.unwrap_or_default();
        Err(failure(&words, &status.to_string()))
    }
}

async fn tail(stderr: Option<ChildStderr>) -> String {
    let Some(stderr) = stderr else { return String::new() };
    let (mut stderr, mut kept, mut piece) = (BufReader::new(stderr), Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(&piece[..n]);
        if kept.len() > WORDS {
            kept.drain(..kept.len() - WORDS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What `pg_dump` said before it failed. Nothing is decided by it: see [`super::failure`].
fn failure(words: &str, status: &str) -> Error {
    let lines: Vec<&str> = (words.lines())
        .map(|l| l.trim_start_matches("pg_dump: ").trim_start_matches("error: ").trim())
        .filter(|l| !l.is_empty())
        .collect();
    let why = if lines.is_empty() {
        format!("it ended without a word, {status}")
    } else {
        lines.join(": ")
    };
    Error::new(Kind::Tool, "run pg_dump", why, "see the message of pg_dump")
}
