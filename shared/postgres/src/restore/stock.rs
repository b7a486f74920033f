//! Stock `pg_restore` for archives whose data blocks are not read here: it knows every kind of them.
//!
//! What it could not restore is told by the entries that it names. Its own words are English (see [`ConnectionConfig::client_command`]);
//! those of the server may be of any language and may hold data, and are not kept.

use super::{
    RestoreOptions,
    loss::{RestoreWarning, RestoreWarningKind, StatementTopic},
};
use crate::{ConnectionConfig, PostgresError, PostgresErrorKind, toc::Toc};
use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, path::Path, process::Stdio};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::ChildStdin,
};

/// The longest line of it that is kept, in bytes.
const MAX_LINE_BYTES: usize = 1000;

/// `pg_restore` at work on a whole archive.
pub(crate) struct PgRestoreProcess {
    child: tokio::process::Child,
    /// Where the archive goes.
    pub(crate) stdin: Option<ChildStdin>,
}

impl PgRestoreProcess {
    /// Starts it on an archive that is written to it.
    pub(crate) fn spawn(
        server: &ConnectionConfig,
        database: &str,
        pg_restore: &Path,
        how: &RestoreOptions,
        only: Option<&NamedTempFile>,
    ) -> Result<Self, PostgresError> {
        let mut command = server.client_command(pg_restore, database);
        command.arg("--dbname").arg(database).arg("--no-password");
        if !how.owners {
            command.arg("--no-owner");
        }
        if !how.privileges {
            command.arg("--no-privileges");
        }
        if let Some(list) = only {
            command.arg("--use-list").arg(list.path());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = command.spawn();
        let mut child = spawned.map_err(|e| PostgresError::from_io("start pg_restore", &e))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin })
    }

    /// What it could not restore, once everything is written and `stdin` is taken and dropped.
    pub(crate) async fn wait_with_warnings(
        &mut self,
        toc: &Toc,
    ) -> Result<Vec<RestoreWarning>, PostgresError> {
        let said = parse_stderr(self.child.stderr.take()).await?;
        let status = self.child.wait().await;
        let status = status.map_err(|e| PostgresError::from_io("wait for pg_restore", &e))?;
        said.into_warnings(status, toc)
    }
}

/// A temporary file that only we can read.
pub(crate) fn temp_file_with(bytes: &[u8]) -> Result<NamedTempFile, PostgresError> {
    let write = || {
        let mut file = NamedTempFile::new()?;
        file.write_all(bytes)?;
        file.flush()?;
        std::io::Result::Ok(file)
    };
    write().map_err(|e| PostgresError {
        kind: PostgresErrorKind::Disk,
        hint: "make room in the folder for temporary files (TMPDIR)".into(),
        ..PostgresError::from_io("write the list of what is restored to a temporary file", &e)
    })
}

/// The list file of `--use-list` with these entries in the archive's order.
pub(crate) fn use_list_content(toc: &Toc, wanted: impl Fn(i32) -> bool) -> String {
    let mut text = String::new();
    for entry in toc.entries.iter().filter(|e| wanted(e.dump_id)) {
        let _ = writeln!(text, "{};", entry.dump_id);
    }
    text
}

/// What `pg_restore` said on its standard error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PgRestoreOutput {
    /// The entries that it could not restore, by their numbers.
    entries: BTreeSet<i32>,
    /// Its last error that is about no entry, in its own words.
    last: Option<String>,
    /// Whether it went to its end in spite of errors.
    finished: bool,
}

impl PgRestoreOutput {
    fn parse_line(&mut self, line: &str) {
        let Some(own) = line.strip_prefix("pg_restore: ") else { return };
        if own.starts_with("warning: errors ignored on restore") {
            self.finished = true;
        } else if let Some(entry) = own.strip_prefix("from TOC entry ") {
            let number: Option<i32> = entry.split(';').next().and_then(|n| n.parse().ok());
            self.entries.extend(number);
        } else if let Some(error) = own.strip_prefix("error: ") {
            self.last = Some(error.split(": ").next().unwrap_or_default().to_owned());
        }
    }

    fn into_warnings(
        self,
        status: std::process::ExitStatus,
        toc: &Toc,
    ) -> Result<Vec<RestoreWarning>, PostgresError> {
        if !status.success() && !self.finished {
            let why = self.last.unwrap_or_else(|| format!("pg_restore ended with {status}"));
            let hint = "see the server's log";
            return Err(PostgresError::new(
                PostgresErrorKind::Tool,
                "restore the archive by pg_restore",
                why,
                hint,
            ));
        }
        let loss = |id: &i32| {
            let entry = toc.entry_by_id(*id)?;
            let class = match StatementTopic::from_entry_kind(&entry.desc) {
                StatementTopic::Extension => RestoreWarningKind::Extension,
                StatementTopic::Role => RestoreWarningKind::Role,
                StatementTopic::Data => RestoreWarningKind::Data,
                StatementTopic::Tablespace => RestoreWarningKind::Tablespace,
                StatementTopic::Definition => RestoreWarningKind::Other,
            };
            let why = "pg_restore could not restore it; the server's log says why";
            Some(RestoreWarning::new(class, super::definitions::describe_entry(entry), why))
        };
        Ok(self.entries.iter().filter_map(loss).collect())
    }
}

async fn parse_stderr(
    from: Option<impl AsyncRead + Unpin>,
) -> Result<PgRestoreOutput, PostgresError> {
    let mut said = PgRestoreOutput::default();
    let Some(from) = from else { return Ok(said) };
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let got = lines.read_until(b'\n', &mut line).await;
        let got = got.map_err(|e| PostgresError::from_io("read the messages of pg_restore", &e))?;
        if got == 0 {
            return Ok(said);
        }
        line.truncate(MAX_LINE_BYTES);
        said.parse_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn heard(lines: &[&str]) -> PgRestoreOutput {
        let mut said = PgRestoreOutput::default();
        for line in lines {
            said.parse_line(line);
        }
        said
    }

    #[test]
    fn what_pg_restore_could_not_restore_is_told_by_its_entries_in_any_language_of_the_server() {
        let toc =
            super::super::sample::sample_toc(&[(3, "EXTENSION", &[]), (215, "TABLE DATA", &[])]);
        let said = heard(&[
            "pg_restore: while PROCESSING TOC:",
            "pg_restore: from TOC entry 3; 3079 1 EXTENSION postgis -",
            "pg_restore: error: could not execute query: FEHLER:  Erweiterung »postgis« ist nicht verfügbar",
            "Command was: CREATE EXTENSION IF NOT EXISTS postgis",
            "pg_restore: from TOC entry 215; 1259 16387 TABLE DATA t bob",
            "pg_restore: error: COPY failed for table \"t\": FEHLER:  ungültige Eingabe: \"Jane Roe\"",
            "KONTEXT:  COPY t, Zeile 1: \"Jane Roe\"",
            "pg_restore: warning: errors ignored on restore: 2",
        ]);
        let losses =
            said.into_warnings(std::process::ExitStatus::from_raw(256), &toc).expect("it went on");
        let classes: Vec<_> = losses.iter().map(|l| l.kind).collect();
        assert_eq!(classes, [RestoreWarningKind::Extension, RestoreWarningKind::Data]);
        assert!(!format!("{losses:?}").contains("Jane"), "{losses:?}");
    }

    #[test]
    fn a_pg_restore_that_did_not_go_to_its_end_ends_the_restore() {
        let toc = super::super::sample::sample_toc(&[]);
        let said = heard(&["pg_restore: error: unsupported version (1.16) in file header"]);
        let e = said
            .into_warnings(std::process::ExitStatus::from_raw(256), &toc)
            .expect_err("it failed");
        assert!(e.kind == PostgresErrorKind::Tool && e.why.contains("unsupported version"), "{e}");
    }
}
