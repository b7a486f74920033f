//! A running `pg_dump`: its output, its words when it fails, and its end.

use crate::{Error, Kind};
use bytes::{Bytes, BytesMut};
use std::{
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
    task::JoinHandle,
};

/// Bytes of output that are passed on at once.
const PIECE: usize = 128 << 10;

/// Of a program's messages so much is kept, the last ones.
const WORDS: usize = 8 << 10;

/// Signals that come from outside: SIGHUP, SIGINT, SIGKILL, SIGTERM, the same numbers everywhere. A program that lacks memory
/// may end itself by others.
const FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];

/// How a `pg_dump` failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// Whether somebody ended it: then neither a lock nor its bound of memory is the cause.
    pub(super) killed: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, killed: false }
    }
}

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
    pub(super) async fn finish(mut self) -> Result<(), Failed> {
        let status = self.child.wait().await.map_err(|e| Error::from_io("wait for pg_dump", &e))?;
        if status.success() {
            return Ok(());
        }
        let words = self.words.await.unwrap_or_default();
        Err(failure(&words, status))
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
fn failure(words: &str, status: ExitStatus) -> Failed {
    let lines: Vec<&str> = (words.lines())
        .map(|l| l.trim_start_matches("pg_dump: ").trim_start_matches("error: ").trim())
        .filter(|l| !l.is_empty())
        .collect();
    let why = if lines.is_empty() {
        format!("it ended without a word, {status}")
    } else {
        lines.join(": ")
    };
    let killed = status.signal().is_some_and(|signal| FROM_OUTSIDE.contains(&signal));
    let mend = if killed {
        "see the system's log for what ended it: it kills what takes too much memory"
    } else {
        "see the message of pg_dump"
    };
    Failed { error: Error::new(Kind::Tool, "run pg_dump", why, mend), killed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_ended_from_outside_is_told_from_who_failed() {
        let (killed, term, abort, failed) = (9, 15, 6, 1 << 8);
        for (status, is_killed) in [(killed, true), (term, true), (abort, false), (failed, false)] {
            let found = failure("", ExitStatus::from_raw(status));
            assert!(found.killed == is_killed && found.error.kind == Kind::Tool, "{found:?}");
            assert_eq!(found.error.mend.contains("memory"), is_killed, "{found:?}");
        }
        let said = failure("pg_dump: error: no such table\n", ExitStatus::from_raw(failed)).error;
        assert_eq!(said.why, "no such table");
    }
}
