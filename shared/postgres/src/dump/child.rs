//! A running `pg_dump`: its output, its words when it fails, and its end.

use crate::{PostgresError, PostgresErrorKind};
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
const CHUNK_BYTES: usize = 128 << 10;

/// Of a program's messages so much is kept, the last ones.
const MAX_STDERR_BYTES: usize = 8 << 10;

/// Signals that come from outside: SIGHUP, SIGINT, SIGKILL, SIGTERM, the same numbers everywhere. A program that lacks memory
/// may end itself by others.
const EXTERNAL_SIGNALS: [i32; 4] = [1, 2, 9, 15];

/// How a `pg_dump` failed.
#[derive(Debug)]
pub(super) struct PgDumpFailure {
    pub(super) error: PostgresError,
    /// Whether somebody ended it: then neither a lock nor its bound of memory is the cause.
    pub(super) killed: bool,
}

impl From<PostgresError> for PgDumpFailure {
    fn from(error: PostgresError) -> Self {
        Self { error, killed: false }
    }
}

/// Killed when it is dropped.
#[derive(Debug)]
pub(super) struct PgDumpProcess {
    child: Child,
    stderr: JoinHandle<String>,
    pub(super) stdout: Option<ChildStdout>,
}

impl PgDumpProcess {
    pub(super) fn spawn(mut command: Command) -> Result<Self, PostgresError> {
        let doing = format!("start {}", command.as_std().get_program().display());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| PostgresError::from_io(&doing, &e))?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        Ok(Self { child, stderr: tokio::spawn(read_stderr_tail(stderr)), stdout })
    }

    /// The next bytes of its output, as many as fit or as come before the end; none at the end.
    pub(super) async fn read_chunk(&mut self) -> Result<Bytes, PostgresError> {
        let Some(stdout) = &mut self.stdout else { return Ok(Bytes::new()) };
        let mut piece = BytesMut::with_capacity(CHUNK_BYTES);
        while piece.len() < CHUNK_BYTES {
            let read = stdout.read_buf(&mut piece).await;
            if read.map_err(|e| PostgresError::from_io("read from pg_dump", &e))? == 0 {
                break;
            }
        }
        Ok(piece.freeze())
    }

    /// Kills it and waits until it is gone, and with it its locks.
    pub(super) async fn kill_and_wait(mut self) {
        drop(self.stdout.take());
        drop(self.child.kill().await);
        self.stderr.abort();
    }

    /// Waits for its end after its output ended.
    ///
    /// # Errors
    /// As it failed, in its own words.
    pub(super) async fn wait_success(mut self) -> Result<(), PgDumpFailure> {
        let status =
            self.child.wait().await.map_err(|e| PostgresError::from_io("wait for pg_dump", &e))?;
        if status.success() {
            return Ok(());
        }
        let words = self.stderr.await.unwrap_or_default();
        Err(classify_failure(&words, status))
    }
}

async fn read_stderr_tail(stderr: Option<ChildStderr>) -> String {
    let Some(stderr) = stderr else { return String::new() };
    let (mut stderr, mut kept, mut piece) = (BufReader::new(stderr), Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(&piece[..n]);
        if kept.len() > MAX_STDERR_BYTES {
            kept.drain(..kept.len() - MAX_STDERR_BYTES);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What `pg_dump` said before it failed. Nothing is decided by it: see [`super::failure`].
fn classify_failure(words: &str, status: ExitStatus) -> PgDumpFailure {
    let lines: Vec<&str> = (words.lines())
        .map(|l| l.trim_start_matches("pg_dump: ").trim_start_matches("error: ").trim())
        .filter(|l| !l.is_empty())
        .collect();
    let why = if lines.is_empty() {
        format!("it ended without a word, {status}")
    } else {
        lines.join(": ")
    };
    let killed = status.signal().is_some_and(|signal| EXTERNAL_SIGNALS.contains(&signal));
    let hint = if killed {
        "see the system's log for what ended it: it kills what takes too much memory"
    } else {
        "see the message of pg_dump"
    };
    PgDumpFailure {
        error: PostgresError::new(PostgresErrorKind::Tool, "run pg_dump", why, hint),
        killed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_ended_from_outside_is_told_from_who_failed() {
        let (killed, term, abort, failed) = (9, 15, 6, 1 << 8);
        for (status, is_killed) in [(killed, true), (term, true), (abort, false), (failed, false)] {
            let found = classify_failure("", ExitStatus::from_raw(status));
            assert!(
                found.killed == is_killed && found.error.kind == PostgresErrorKind::Tool,
                "{found:?}"
            );
            assert_eq!(found.error.hint.contains("memory"), is_killed, "{found:?}");
        }
        let said =
            classify_failure("pg_dump: error: no such table\n", ExitStatus::from_raw(failed)).error;
        assert_eq!(said.why, "no such table");
    }
}
