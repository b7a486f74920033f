//! Stock `pg_restore` for everything but rows: it knows owners, grants, table spaces and their order.

use super::{Into, loss::Loss};
use crate::{
    Error, Kind, Server,
    toc::{Entry, Section, Toc},
};
use std::{collections::HashSet, fmt::Write as _, io::Write as _, path::Path, process::Stdio};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{ChildStdin, Command},
};

/// The longest statement that is kept while messages are read, in bytes.
const LONGEST: usize = 4096;

/// The head of an archive in a file, for `pg_restore`; a list of what to restore beside it.
pub(crate) struct Stock<'a> {
    server: &'a Server,
    database: &'a str,
    pg_restore: &'a Path,
    how: &'a Into,
    head: NamedTempFile,
}

/// One of the runs that a restore is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// `--section=pre-data`
    Before,
    /// Entries of the data section that have no data block: values of sequences; since PostgreSQL 17 empty large objects.
    Values,
    /// One entry of post-data while rows are loaded.
    Early,
    /// `--section=post-data`, over several connections.
    After,
}

impl<'a> Stock<'a> {
    /// Writes the head into a temporary file; nothing but definitions is in it.
    pub(crate) fn new(
        server: &'a Server,
        database: &'a str,
        pg_restore: &'a Path,
        how: &'a Into,
        toc: &Toc,
    ) -> Result<Self, Error> {
        let head = file(&toc.raw)?;
        Ok(Self { server, database, pg_restore, how, head })
    }

    /// Runs one section; what it could not restore is the answer.
    pub(crate) async fn run(&self, run: Run, only: Option<&str>) -> Result<Vec<Loss>, Error> {
        let mut command = self.base();
        command.arg(match run {
            Run::Before => "--section=pre-data",
            Run::Values => "--section=data",
            Run::Early | Run::After => "--section=post-data",
        });
        if run == Run::Early {
            command.env("PGOPTIONS", format!("-c lock_timeout={}", super::early::LOCK_WAIT));
        }
        if run == Run::After {
            command.arg(format!("--jobs={}", self.how.jobs.max(1)));
        }
        let list = only.map(|text| file(text.as_bytes())).transpose()?;
        if let Some(list) = &list {
            command.arg("--use-list").arg(list.path());
        }
        command.arg(self.head.path());
        let mut child = spawn(&mut command)?;
        let said = messages(child.stderr.take()).await?;
        said.judge(wait(&mut child).await?)
    }

    /// Starts `pg_restore` on a whole archive that is written to it.
    pub(crate) fn whole(&self, only: Option<&NamedTempFile>) -> Result<Whole, Error> {
        let mut command = self.base();
        command.stdin(Stdio::piped());
        if let Some(list) = only {
            command.arg("--use-list").arg(list.path());
        }
        let mut child = spawn(&mut command)?;
        let stdin = child.stdin.take();
        Ok(Whole { child, stdin })
    }

    fn base(&self) -> Command {
        let mut command = self.server.command(self.pg_restore, self.database);
        command.arg("--dbname").arg(self.database).arg("--no-password");
        if !self.how.owners {
            command.arg("--no-owner");
        }
        if !self.how.privileges {
            command.arg("--no-privileges");
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

/// `pg_restore` at work on a whole archive.
pub(crate) struct Whole {
    child: tokio::process::Child,
    /// Where the archive goes.
    pub(crate) stdin: Option<ChildStdin>,
}

impl Whole {
    /// What it could not restore, once everything is written and `stdin` is taken and dropped.
    pub(crate) async fn end(&mut self) -> Result<Vec<Loss>, Error> {
        let said = messages(self.child.stderr.take()).await?;
        said.judge(wait(&mut self.child).await?)
    }
}

fn spawn(command: &mut Command) -> Result<tokio::process::Child, Error> {
    command.spawn().map_err(|e| Error::from_io("start pg_restore", &e))
}

async fn wait(child: &mut tokio::process::Child) -> Result<std::process::ExitStatus, Error> {
    child.wait().await.map_err(|e| Error::from_io("wait for pg_restore", &e))
}

/// A temporary file that only we can read.
pub(crate) fn file(bytes: &[u8]) -> Result<NamedTempFile, Error> {
    let write = || {
        let mut file = NamedTempFile::new()?;
        file.write_all(bytes)?;
        file.flush()?;
        std::io::Result::Ok(file)
    };
    write().map_err(|e| Error {
        kind: Kind::Disk,
        mend: "make room in the folder for temporary files (TMPDIR)".into(),
        ..Error::from_io("write the archive's table of contents to a temporary file", &e)
    })
}

/// The list file of `--use-list` with these entries in the archive's order.
pub(crate) fn list(toc: &Toc, wanted: impl Fn(i32) -> bool) -> String {
    let mut text = String::new();
    for entry in toc.entries.iter().filter(|e| wanted(e.dump_id)) {
        let _ = writeln!(text, "{};", entry.dump_id);
    }
    text
}

/// The list of the entries that make large objects, before their bytes come, and of what is said of those; `None` when
/// there are none. Until PostgreSQL 16 they are of the first section.
pub(crate) fn objects(toc: &Toc, chosen: Option<&HashSet<i32>>) -> Option<String> {
    without_data(toc, chosen, |e| {
        // Comments and grants are of no section: `pg_restore` takes them for that of the entry listed before them.
        let about = e.section == Section::None && e.tag.starts_with("LARGE OBJECT");
        about || (e.section == Section::Data && e.desc == "BLOB METADATA")
    })
    .filter(|_| toc.entries.iter().any(|e| e.desc == "BLOB METADATA"))
}

/// The list of the data section's other entries without data blocks; `None` when there are none.
pub(crate) fn values(toc: &Toc, chosen: Option<&HashSet<i32>>) -> Option<String> {
    without_data(toc, chosen, |e| e.section == Section::Data && e.desc != "BLOB METADATA")
}

fn without_data(
    toc: &Toc,
    chosen: Option<&HashSet<i32>>,
    is: impl Fn(&Entry) -> bool,
) -> Option<String> {
    let entries = toc
        .entries
        .iter()
        .filter(|e| !e.has_data && chosen.is_none_or(|c| c.contains(&e.dump_id)) && is(e));
    let ids: HashSet<i32> = entries.map(|e| e.dump_id).collect();
    (!ids.is_empty()).then(|| list(toc, |id| ids.contains(&id)))
}

/// What `pg_restore` said on its standard error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    losses: Vec<Loss>,
    /// The last error that is about no statement.
    fatal: Option<String>,
    /// Whether it said that it ignored errors and went to its end.
    finished: bool,
}

impl Said {
    fn judge(self, status: std::process::ExitStatus) -> Result<Vec<Loss>, Error> {
        let lost = self.losses.iter().find(|l| {
            [
                "server closed the connection",
                "terminating connection",
                "no connection to the server",
            ]
            .iter()
            .any(|w| l.message.contains(w))
        });
        if let Some(lost) = lost {
            return Err(Error::new(Kind::Lost, "restore", &lost.message, "see the server's log"));
        }
        if status.success() || (self.finished && self.fatal.is_none()) {
            return Ok(self.losses);
        }
        let why = self.fatal.unwrap_or_else(|| format!("pg_restore ended with {status}"));
        let kind = if why.contains("connection to server") { Kind::Connection } else { Kind::Tool };
        Err(Error::new(kind, "restore the archive's definitions", why, ""))
    }
}

async fn messages(from: Option<impl AsyncRead + Unpin>) -> Result<Said, Error> {
    let Some(from) = from else { return Ok(Said::default()) };
    let mut lines = BufReader::new(from);
    let mut reader = Reader::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let got = lines.read_until(b'\n', &mut line).await;
        let got = got.map_err(|e| Error::from_io("read the messages of pg_restore", &e))?;
        if got == 0 {
            return Ok(reader.end());
        }
        reader.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
    }
}

/// Takes the messages apart: an error, its further lines, and the statement after `Command was:`.
#[derive(Default)]
struct Reader {
    said: Said,
    error: Option<String>,
    statement: String,
    in_statement: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(own) = line.strip_prefix("pg_restore: ") {
            self.close();
            if own.starts_with("warning: errors ignored on restore") {
                self.said.finished = true;
            } else if let Some(error) = own.strip_prefix("error: ") {
                self.error = Some(error.to_string());
            }
            return;
        }
        if let Some(statement) = line.strip_prefix("Command was: ") {
            self.in_statement = true;
            self.statement = statement.to_string();
        } else if self.in_statement && self.statement.len() < LONGEST {
            self.statement.push(' ');
            self.statement.push_str(line);
        }
    }

    fn close(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        self.in_statement = false;
        let Some(error) = self.error.take() else { return };
        // `could not execute query: ERROR:  role "x" does not exist`; COPY failed for table "t": ERROR:  ..
        match error.split_once("ERROR:  ").or_else(|| error.split_once("FATAL:  ")) {
            Some((_, "unrecognized configuration parameter \"transaction_timeout\"")) => {
                // pg_restore 17 and later sets it on every server; older ones lose nothing without.
            }
            Some((before, message)) if before.contains("COPY failed") => {
                let table = before.trim_end_matches([' ', ':']);
                let mut loss = Loss::new(message, None, &format!("COPY ({table})"));
                loss.class = super::LossClass::Data;
                self.said.losses.push(loss);
            }
            Some((_, message)) => self.said.losses.push(Loss::new(message, None, &statement)),
            None if error.starts_with("could not execute query") => {
                self.said.losses.push(Loss::new(&error, None, &statement));
            }
            None => self.said.fatal = Some(error),
        }
    }

    fn end(mut self) -> Said {
        self.close();
        self.said
    }
}

#[cfg(test)]
mod tests {
    use super::{super::LossClass, *};

    #[test]
    fn messages_of_pg_restore_become_losses_with_their_statements() {
        let mut reader = Reader::default();
        for line in [
            "pg_restore: while PROCESSING TOC:",
            "pg_restore: from TOC entry 215; 1259 16387 TABLE t bob",
            "pg_restore: error: could not execute query: ERROR:  role \"bob\" does not exist",
            "Command was: ALTER TABLE public.t OWNER TO bob;",
            "",
            "",
            "pg_restore: from TOC entry 3; 3079 1 EXTENSION postgis -",
            "pg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available",
            "DETAIL:  Could not open extension control file.",
            "HINT:  It must be there.",
            "Command was: CREATE EXTENSION IF NOT EXISTS postgis",
            "    WITH SCHEMA public;",
            "",
            "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"",
            "Command was: SET transaction_timeout = 0;",
            "pg_restore: warning: errors ignored on restore: 3",
        ] {
            reader.line(line);
        }
        let said = reader.end();
        assert!(said.finished && said.fatal.is_none());
        let classes: Vec<_> = said.losses.iter().map(|l| l.class).collect();
        assert_eq!(classes, [LossClass::Role, LossClass::Extension]);
        assert_eq!(
            said.losses[1].statement,
            "CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;"
        );
    }

    #[test]
    fn an_error_of_no_statement_ends_the_restore() {
        let mut reader = Reader::default();
        reader.line("pg_restore: error: unsupported version (1.16) in file header");
        let said = reader.end();
        assert_eq!(said.fatal.as_deref(), Some("unsupported version (1.16) in file header"));
    }
}
