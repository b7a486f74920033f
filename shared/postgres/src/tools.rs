//! PostgreSQL's client programs: which of those on this machine fit a server.

use crate::{ConnectionConfig, PostgresError, PostgresErrorKind};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Client programs of one version, in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTools {
    /// Writes the definitions of a dump.
    pub pg_dump: PathBuf,
    /// Restores definitions.
    pub pg_restore: PathBuf,
    /// Runs SQL scripts.
    pub psql: PathBuf,
    /// Writes roles.
    pub pg_dumpall: PathBuf,
    /// As `pg_dump --version` has it: `15.18`.
    pub version: String,
}

impl ClientTools {
    /// The oldest programs that are not older than the server, so that an archive can be read by as many as possible.
    /// Looked for in the server's `tool_dirs`, in `/usr/lib/postgresql/*/bin`, in `/usr/pgsql-*/bin` and in `PATH`; of
    /// equal versions the first counts. Each `pg_dump` there is asked for its version, which takes milliseconds.
    ///
    /// # Errors
    /// [`PostgresErrorKind::Tool`] when there are none, or only older ones: `pg_dump` refuses a server that is newer than itself.
    pub fn find_for_server(
        server: &ConnectionConfig,
        server_version_num: u32,
    ) -> Result<Self, PostgresError> {
        let mut found = Vec::new();
        for folder in search_dirs(&server.tool_dirs) {
            if let Some(version) = pg_dump_version(&folder.join("pg_dump")) {
                let exact = major_version(&version) == Some(server_version_num / 10_000);
                found.push((version, folder));
                if exact {
                    break; // None can fit better, and each question starts a program.
                }
            }
        }
        let (version, folder) = pick_compatible(&found, server_version_num)?;
        let at = |name: &str| folder.join(name);
        Ok(Self {
            pg_dump: at("pg_dump"),
            pg_restore: at("pg_restore"),
            psql: at("psql"),
            pg_dumpall: at("pg_dumpall"),
            version,
        })
    }
}

/// A server's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPrograms {
    /// Where `initdb` and `postgres` are.
    pub folder: PathBuf,
    /// As `pg_dump --version` there has it.
    pub version: String,
}

/// The server's programs on this machine of the oldest version that is not older than `version_num`; for 0 the newest.
///
/// # Errors
/// [`PostgresErrorKind::Tool`] when there are none, or only older ones.
pub fn server_programs(version_num: u32) -> Result<ServerPrograms, PostgresError> {
    let mut found: Vec<(String, PathBuf)> = search_dirs(&[])
        .into_iter()
        .filter(|f| f.join("initdb").is_file() && f.join("postgres").is_file())
        .filter_map(|f| Some((pg_dump_version(&f.join("pg_dump"))?, f)))
        .collect();
    if version_num == 0 {
        found.sort_by_key(|(v, _)| std::cmp::Reverse(major_version(v)));
        found.truncate(1);
    }
    let chosen = pick_compatible(&found, version_num).map_err(|e| {
        let needed = version_num / 10_000;
        let why = match &found[..] {
            [] => "no PostgreSQL server is installed on this machine".to_owned(),
            some => {
                let have: Vec<_> = some.iter().map(|(v, _)| v.as_str()).collect();
                format!("the dump is of PostgreSQL {needed}, and here is only {}", have.join(", "))
            }
        };
        let package = if needed == 0 { "postgresql".into() } else { format!("postgresql-{needed}") };
        let hint = format!(
            "apt install {package}, or name another server under `scratch:` in the policy, or write `scratch: production`"
        );
        PostgresError { doing: "find a PostgreSQL server for a test restore".into(), why, hint, ..e }
    })?;
    Ok(ServerPrograms { version: chosen.0, folder: chosen.1 })
}

fn search_dirs(more: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = more.to_vec();
    folders
        .extend(subdirs_with_prefix(Path::new("/usr/lib/postgresql"), "").map(|v| v.join("bin")));
    folders.extend(subdirs_with_prefix(Path::new("/usr"), "pgsql-").map(|v| v.join("bin")));
    // Last: Debian's programs there are wrappers around those above.
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.retain(|f| f.join("pg_dump").is_file());
    folders
}

/// The folders in `folder` whose names begin with `name`.
fn subdirs_with_prefix(folder: &Path, name: &'static str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(move |e| OsStr::to_str(&e.file_name()).is_some_and(|n| n.starts_with(name)))
        .map(|e| e.path())
}

/// What `pg_dump --version` says; `None` when it can't be run or says something else.
fn pg_dump_version(pg_dump: &Path) -> Option<String> {
    let output = crate::child::isolated_command(pg_dump).arg("--version").output();
    parse_version(&String::from_utf8(output.ok()?.stdout).ok()?)
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` has 15.18, `18beta1` and `9.6.24` are versions too.
fn parse_version(said: &str) -> Option<String> {
    let version = said.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    major_version(version).map(|_| version.to_owned())
}

/// `15` of `15.18`, `18` of `18beta1`.
fn major_version(version: &str) -> Option<u32> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn pick_compatible(
    found: &[(String, PathBuf)],
    server_version_num: u32,
) -> Result<(String, PathBuf), PostgresError> {
    let needed = server_version_num / 10_000;
    let fits = found.iter().filter_map(|f| Some((major_version(&f.0)?, f)));
    // `min_by_key` takes the first of equals.
    if let Some((_, fit)) = fits.filter(|(m, _)| *m >= needed).min_by_key(|(m, _)| *m) {
        return Ok(fit.clone());
    }
    let why = if found.is_empty() {
        format!("no pg_dump is on this machine; the server is PostgreSQL {needed}")
    } else {
        let have: Vec<_> = found.iter().map(|(v, f)| format!("{v} in {}", f.display())).collect();
        format!("the server is PostgreSQL {needed}, and here is only pg_dump {}", have.join(", "))
    };
    let hint = format!(
        "install version {needed} or later: apt install postgresql-client-{needed} or dnf install \
         postgresql{needed} (https://www.postgresql.org/download/), or name its folder in tool_dirs"
    );
    Err(PostgresError::new(
        PostgresErrorKind::Tool,
        "find a pg_dump that fits the server",
        why,
        hint,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_say_of_themselves() {
        let said = [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some("15.18")),
            ("pg_dump (PostgreSQL) 18beta1\n", Some("18beta1")),
            ("pg_dump (PostgreSQL) 9.6.24", Some("9.6.24")),
            ("pg_dump (PostgreSQL) devel", None),
            ("command not found", None),
        ];
        for (line, version) in said {
            assert_eq!(parse_version(line).as_deref(), version, "{line}");
        }
    }

    #[test]
    fn the_oldest_program_that_is_not_older_than_the_server_is_chosen() {
        let all = || {
            ["17.2", "13.4", "15.1", "15.18", "16beta2"]
                .iter()
                .enumerate()
                .map(|(i, v)| ((*v).to_owned(), PathBuf::from(format!("/{i}"))))
                .collect::<Vec<_>>()
        };
        let table =
            [(110_022, "/1"), (130_000, "/1"), (150_004, "/2"), (160_000, "/4"), (170_001, "/0")];
        for (server, folder) in table {
            assert_eq!(pick_compatible(&all(), server).expect("one fits").1, PathBuf::from(folder));
        }
        let refused = pick_compatible(&all(), 180_000).expect_err("all are older").to_string();
        assert!(
            refused.contains("PostgreSQL 18") && refused.contains("postgresql-client-18"),
            "{refused}"
        );
        let none = pick_compatible(&[], 150_000).expect_err("there is none").to_string();
        assert!(none.contains("no pg_dump is on this machine"), "{none}");
    }
}
