//! What a restore will do, for a dry run.

use super::Options;
use postgres::Session;
use serde::Serialize;
use std::fmt;
use store::Backup;

/// What a restore will do. Everything that can be known before was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The backup's whole name.
    pub backup: String,
    /// The database that there will be.
    pub target: String,
    /// Whether there is one of that name.
    pub replaces: bool,
    /// The database that is restored into first.
    pub fresh: String,
    /// What the replaced one will be called.
    pub aside: String,
    /// Whether the replaced one is dumped first.
    pub safety: bool,
    /// Whether the replaced one is dropped in the end.
    pub drop_old: bool,
    /// Bytes to be read from the store.
    pub bytes: u64,
    /// What to know before.
    pub notes: Vec<String>,
}

impl Plan {
    pub(super) fn new(
        backup: &Backup,
        options: &Options,
        session: &Session,
        replaces: bool,
        fresh: String,
        aside: String,
    ) -> Self {
        let mut notes = Vec::new();
        match backup.committed() {
            None => notes.push("it has no manifest: neither hashes nor rows can be checked".into()),
            Some(manifest) => {
                let (of, here) =
                    (manifest.server.version_num / 10_000, session.version_num / 10_000);
                if of > here {
                    notes.push(format!(
                        "it is of PostgreSQL {of} and the server is {here}: newer into older may lose things"
                    ));
                }
                let needed = manifest.server.database_bytes;
                if needed > 0 {
                    let twice = if replaces { ", beside the one that is there" } else { "" };
                    notes.push(format!(
                        "the server's disk must have about {needed} bytes free{twice}"
                    ));
                }
            }
        }
        if replaces {
            notes.push("whoever is connected is disconnected at the swap".into());
        }
        if !options.erasure.is_empty() {
            notes.push(format!(
                "{} erasure statements are run before the swap",
                options.erasure.len()
            ));
        }
        Self {
            backup: backup.arn.clone(),
            target: options.target.clone(),
            replaces,
            fresh,
            aside,
            safety: replaces && options.safety,
            drop_old: options.drop_old,
            bytes: backup.size,
            notes,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backup, target, fresh, aside, bytes, .. } = self;
        let mut steps = Vec::new();
        if self.safety {
            steps.push(format!("dump {target} as it is now"));
        }
        steps.push(format!("restore {backup} ({bytes} bytes) into the new database {fresh}"));
        steps.push("count its rows and run the checks there".to_owned());
        if self.replaces {
            steps.push(format!("rename {target} to {aside} and {fresh} to {target}, both at once"));
            steps.push(if self.drop_old {
                format!("drop {aside}")
            } else {
                format!("{aside} stays: drop it when it is no longer needed")
            });
        } else {
            steps.push(format!("rename {fresh} to {target}"));
        }
        for (i, step) in steps.iter().enumerate() {
            writeln!(f, "{}. {step}", i + 1)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
