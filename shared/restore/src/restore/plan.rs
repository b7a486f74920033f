//! Whether a restore can be done, and what it will do.

use super::BackupRestoreOptions;
use crate::{
    BackupKeys, RestoreError, RestoreErrorKind,
    fetch::{HashCheck, fetch_backup, probe_payload},
    verify::{CheckStatus, READABLE_CHECK, check_contents, check_sidecars},
};
use jiff::SignedDuration;
use postgres::{
    ConnectionConfig, PgConnection, database,
    restore::{DumpContents, PgDumpFormat, examine_head},
    tools::ClientTools,
};
use serde::Serialize;
use std::{collections::BTreeSet, fmt};
use storage::{BackupManifest, BackupStore, StoredBackup, catalogue::BackupKind};

/// What a restore will do. Everything that can be known before was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestorePlan {
    /// The backup's whole name.
    pub backup: String,
    /// The database that there will be.
    pub target: String,
    /// Whether there is one of that name.
    pub replaces: bool,
    /// The database that is restored into first.
    pub scratch_database: String,
    /// What the replaced one will be called.
    pub previous_database: String,
    /// Whether the replaced one is dumped first.
    pub dump_first: bool,
    /// Whether the replaced one is dropped in the end.
    pub drop_previous: bool,
    /// Bytes to be read from the store.
    pub bytes: u64,
    /// What to know before.
    pub notes: Vec<String>,
}

/// Whether it can be done, and how.
pub(super) async fn plan_restore(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    server: &ConnectionConfig,
    options: &BackupRestoreOptions,
) -> Result<RestorePlan, RestoreError> {
    let doing = || format!("restore {}", backup.uri);
    let refused = |why: String, hint: &str| {
        Err(RestoreError::new(RestoreErrorKind::Refused, doing(), why, hint))
    };
    if let BackupKind::Faulty { kind, why, hint, .. } = &backup.kind {
        return Err(RestoreError::new((*kind).into(), doing(), why.clone(), hint));
    }
    let beside = check_sidecars(store, backup).await;
    if let Some(bad) =
        beside.iter().find(|c| c.status == CheckStatus::Failed && c.name != READABLE_CHECK)
    {
        let kind = bad.kind.unwrap_or(RestoreErrorKind::Damaged);
        let why = format!("{}: {}", bad.name, bad.detail);
        return Err(RestoreError::new(
            kind,
            doing(),
            why,
            "restore another backup, or give the key it was made with",
        ));
    }
    let session = database::connect_maintenance(server).await?;
    let contents = read_contents(store, backup, opening).await?;
    ClientTools::find_for_server(server, session.version_num.max(contents.reader_version))?;
    if backup.committed_manifest().is_some_and(BackupManifest::is_narrowed) && options.replace {
        return refused(
            format!(
                "it holds a part of {} alone, and would take the place of all of it",
                options.target
            ),
            "restore it --to a new database and copy the rows from there, or choose a dump of the whole database",
        );
    }
    if let Some(why) = database::protection_reason(&session, &options.target).await? {
        return refused(format!("{}: {why}", options.target), "name another database");
    }
    let replaces = database::database_exists(server, &options.target).await?;
    if replaces && !options.replace {
        return refused(
            format!("there is a database {} already", options.target),
            "write --replace to put the dump in its place, or another name",
        );
    }
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
    let fresh = database::temporary_database_name(&options.target, &options.run);
    if database::database_exists(server, &fresh).await? {
        return refused(format!("there is a database {fresh} already"), "run again, or drop it");
    }
    // A second restore in the same second has the next one in its name.
    let mut at = options.at;
    let aside = loop {
        let stamp = at.strftime("%Y%m%d%H%M%S").to_string();
        let aside = database::previous_database_name(&options.target, &stamp);
        if !database::database_exists(server, &aside).await? {
            break aside;
        }
        at += SignedDuration::from_secs(1);
    };
    let mut plan = RestorePlan::new(backup, options, &session, replaces, fresh, aside);
    plan.notes.extend(missing_requirement_notes(backup, options, &contents, &session).await?);
    Ok(plan)
}

/// What the backup says of itself. A file of another tool is read and judged as a whole: nothing of it has run yet.
async fn read_contents(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
) -> Result<DumpContents, RestoreError> {
    let doing = || format!("restore {}", backup.uri);
    if backup.committed_manifest().is_none() {
        let (contents, checks) = check_contents(store, backup, opening).await;
        let failed = checks.into_iter().find(|c| c.status == CheckStatus::Failed);
        return match (contents, failed) {
            (Some(contents), None) => Ok(contents),
            (_, failed) => {
                let (kind, why) =
                    failed.map_or((None, "it could not be read".into()), |c| (c.kind, c.detail));
                let hint = "restore another backup, or look at the file: nothing of it was run";
                Err(RestoreError::new(
                    kind.unwrap_or(RestoreErrorKind::Refused),
                    doing(),
                    why,
                    hint,
                ))
            }
        };
    }
    let inside = probe_payload(store, backup, opening).await?;
    match inside.format {
        None => Err(RestoreError::new(
            RestoreErrorKind::Refused,
            doing(),
            "it is no archive and no SQL of pg_dump",
            "load it by hand: its manifest's line `restore` says how",
        )),
        Some(PgDumpFormat::Plain) => Ok(DumpContents::default()),
        Some(PgDumpFormat::Custom) => {
            let consume = async |_, from| examine_head(from).await;
            let fetched = fetch_backup(store, backup, opening, HashCheck::Stored, consume).await?;
            match (fetched.value, fetched.digests) {
                (Ok(contents), _) => Ok(contents),
                (_, Some(Err(e))) => Err(e),
                (Err(e), _) => Err(e.into()),
            }
        }
    }
}

/// What the server lacks that the backup needs.
async fn missing_requirement_notes(
    backup: &StoredBackup,
    options: &BackupRestoreOptions,
    contents: &DumpContents,
    session: &PgConnection,
) -> Result<Vec<String>, RestoreError> {
    let mut notes = Vec::new();
    let mut extensions = contents.extensions.clone();
    let mut roles = if options.owners { contents.owners.clone() } else { BTreeSet::new() };
    let mut locales = BTreeSet::new();
    if let Some(manifest) = backup.committed_manifest() {
        extensions.extend(manifest.extensions.iter().map(|e| e.name.clone()));
        locales.extend([manifest.server.collate.clone(), manifest.server.ctype.clone()]);
        if options.owners && !manifest.server.owner.is_empty() {
            roles.insert(manifest.server.owner.clone());
        }
    }
    let lacking =
        database::find_missing_requirements(session, &extensions, &roles, &locales).await?;
    let listed = |names: &[String]| names.join(", ");
    if !lacking.extensions.is_empty() {
        let names = listed(&lacking.extensions);
        notes.push(format!(
            "LOSSES: the server does not have the extension {names}: install it before"
        ));
    }
    if !lacking.locales.is_empty() {
        let names = listed(&lacking.locales);
        notes.push(format!(
            "the server does not have the collation {names}: texts will sort by its own"
        ));
    }
    let known = |name: &String| {
        options.roles
            && backup.committed_manifest().is_some_and(|m| m.roles.iter().any(|r| r.name == *name))
    };
    let (made, missing): (Vec<_>, Vec<_>) = lacking.roles.into_iter().partition(known);
    if !made.is_empty() {
        notes.push(format!(
            "roles that are not there are created, without login: {}",
            listed(&made)
        ));
    }
    if !missing.is_empty() {
        let names = listed(&missing);
        notes.push(format!("LOSSES: the server does not have the role {names}: create it before, or write --no-owner"));
    }
    for name in &contents.subscriptions {
        notes.push(format!("subscription {name} is restored disabled and without its slot"));
    }
    Ok(notes)
}

impl RestorePlan {
    pub(super) fn new(
        backup: &StoredBackup,
        options: &BackupRestoreOptions,
        session: &PgConnection,
        replaces: bool,
        fresh: String,
        aside: String,
    ) -> Self {
        let mut notes = Vec::new();
        match backup.committed_manifest() {
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
            backup: backup.uri.clone(),
            target: options.target.clone(),
            replaces,
            scratch_database: fresh,
            previous_database: aside,
            dump_first: replaces && options.safety,
            drop_previous: options.drop_old,
            bytes: backup.size,
            notes,
        }
    }
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            backup, target, scratch_database: fresh, previous_database: aside, bytes, ..
        } = self;
        let mut steps = Vec::new();
        if self.dump_first {
            steps.push(format!("dump {target} as it is now"));
        }
        steps.push(format!("restore {backup} ({bytes} bytes) into the new database {fresh}"));
        steps.push("count its rows and run the checks there".to_owned());
        if self.replaces {
            steps.push(format!("rename {target} to {aside} and {fresh} to {target}, both at once"));
            steps.push(if self.drop_previous {
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
