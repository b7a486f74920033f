//! A running `pg_dump`: its output, its words when it fails, and its end.

use crate::{Error, Kind};
use std::process::Stdio;
use tokio::{
    io::{AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
    task::JoinHandle,
};

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

/// Sorts what `pg_dump` said before it failed.
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
    let has = |part: &str| words.contains(part);
    // pg_dump bounds its wait for locks by statement_timeout.
    let late = has("lock timeout") || has("statement timeout") || has("could not obtain lock");
    let (kind, mend) = if late {
        (Kind::Busy, "run again when whoever holds the lock is done, or wait longer for locks")
    } else if has("no matching") {
        (Kind::Refused, "check the names of the tables")
    } else if has("permission denied") {
        (Kind::Refused, "grant it to the role that dumps, e.g. by pg_read_all_data")
    } else if has("does not exist") || has("cache lookup failed") || has("could not open relation")
    {
        (Kind::Busy, "something was dropped meanwhile; run again")
    } else if has("terminating connection") || has("server closed the connection") || has("lost") {
        (Kind::Lost, "see the server's log")
    } else {
        (Kind::Tool, "see the message of pg_dump")
    };
    Error::new(kind, "run pg_dump", why, mend)
}
