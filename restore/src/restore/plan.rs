//! Whether a restore can be done, and what it will do.

use super::Options;
use crate::{
    Error, Kind, Opening,
    fetch::probe,
    verify::{READABLE, Went, beside_it},
};
use jiff::SignedDuration;
use postgres::{Server, Session, database};
use serde::Serialize;
use std::fmt;
use store::{Backup, Store, catalogue::Of};

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

/// Whether it can be done, and how.
pub(super) async fn checked(
    store: &Store,
    backup: &Backup,
    opening: &Opening,
    server: &Server,
    options: &Options,
) -> Result<Plan, Error> {
    let doing = || format!("restore {}", backup.arn);
    let refused = |why: String, mend: &str| Err(Error::new(Kind::Refused, doing(), why, mend));
    if let Of::Faulty { why, mend, .. } = &backup.kind {
        return refused(why.clone(), mend);
    }
    let beside = beside_it(store, backup).await;
    if let Some(bad) = beside.iter().find(|c| c.went == Went::Failed && c.name != READABLE) {
        let kind = bad.kind.unwrap_or(Kind::Damaged);
        let why = format!("{}: {}", bad.name, bad.detail);
        return Err(Error::new(
            kind,
            doing(),
            why,
            "restore another backup, or give the key it was made with",
        ));
    }
    let inside = probe(store, backup, opening).await?;
    if inside.stored.is_none() {
        return refused(
            "it is no archive and no SQL of pg_dump".into(),
            "load it by hand: its manifest's line `restore` says how",
        );
    }
    let session = database::maintenance(server).await?;
    postgres::tools::Tools::find(server, session.version_num)?;
    let replaces = database::exists(server, &options.target).await?;
    if replaces && !options.tables.is_empty() {
        return refused(
            format!(
                "chosen tables are restored into a new database only, and {} exists",
                options.target
            ),
            "name a new database, and copy the rows from there",
        );
    }
    if options.target.len() > 63 {
        return refused(
            format!("{} is too long for a name", options.target),
            "choose a shorter one",
        );
    }
    let fresh = database::temporary_name(&options.target, &options.run);
    if database::exists(server, &fresh).await? {
        return refused(format!("there is a database {fresh} already"), "run again, or drop it");
    }
    // A second restore in the same second has the next one in its name.
    let mut at = options.at;
    let aside = loop {
        let stamp = at.strftime("%Y%m%d%H%M%S").to_string();
        let aside = database::aside_name(&options.target, &stamp);
        if !database::exists(server, &aside).await? {
            break aside;
        }
        at += SignedDuration::from_secs(1);
    };
    Ok(Plan::new(backup, options, &session, replaces, fresh, aside))
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
