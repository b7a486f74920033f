//! A backup into its place: restored beside, checked there, swapped by rename.
//!
//! Until the swap the target is not touched; the swap is one transaction of the server; a failure after it swaps back.
//! Chosen tables are restored into a new database only: putting them among living tables, with their keys and what refers
//! to them, is a decision about rows that no tool can take. From the new database they are copied by hand.

mod plan;

pub use plan::RestorePlan;

use crate::{
    BackupKeys, RestoreError, RestoreErrorKind,
    fetch::HashCheck,
    trial::{
        DEFAULT_CHECK_TIMEOUT, RestoreChecks, ScratchDatabase, drop_orphaned_databases, run_checks,
    },
    verify::{
        CheckResult, CheckStatus, PhaseDuration, VerificationVerdict, evaluate_verdict,
        seconds_since,
    },
};
use jiff::Timestamp;
use plan::plan_restore;
use postgres::{
    ConnectionConfig, database,
    lock::try_advisory_lock,
    restore::{RestoreOptions, RestoreSummary, RestoreWarning, RestoreWarningKind},
};
use serde::Serialize;
use std::time::Instant;
use storage::{ArchiveRestoreStatus, BackupStore, StoredBackup, manifest::restore_command};

/// Days that a thawed backup can be read.
const ARCHIVE_RESTORE_DAYS: u32 = 3;

/// How to restore.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct BackupRestoreOptions {
    /// The database that there will be.
    pub target: String,
    /// Whether it may take the place of one that is there.
    pub replace: bool,
    /// Only these tables, into a target that does not exist.
    pub tables: Vec<String>,
    /// Connections.
    pub jobs: usize,
    /// Whether objects get their owners.
    pub owners: bool,
    /// Whether grants are restored.
    pub privileges: bool,
    /// Whether roles that are missing are created, without login.
    pub roles: bool,
    /// Whether what can't be restored may be missing: without it nothing with losses takes the place of a database, and
    /// nothing in which a check fails because of them stays.
    pub accept_losses: bool,
    /// Whether an existing target is dumped first.
    pub safety: bool,
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// Whether the old database is dropped after the swap; otherwise it stays beside.
    pub drop_old: bool,
    /// What must be true of the restored database before it takes its place.
    pub rules: RestoreChecks,
    /// Statements that take erased people's rows out again, run before it takes its place.
    pub erasure: Vec<String>,
    /// The run: part of the temporary database's name.
    pub run: String,
    /// The time of the run: part of the old database's name.
    pub at: Timestamp,
}

/// Where a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RestorePhase {
    /// Looking whether it can be done.
    Checking,
    /// Dumping the existing target.
    Safety,
    /// Reading the backup into a database beside the target.
    Restoring,
    /// Asking that database.
    Verifying,
    /// Taking out who was erased.
    Erasing,
    /// Renaming.
    Swapping,
    /// Undoing what was begun.
    Undoing,
}

/// How a restore ended.
#[derive(Clone, Debug)]
pub enum RestoreOutcome {
    /// A dry run: this would be done.
    Planned(RestorePlan),
    /// The backup is archived: this was asked of the store. Call again when it is there.
    AwaitingArchiveRestore(ArchiveRestoreStatus),
    /// It is in its place.
    Restored(Box<RestoreReport>),
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestoreReport {
    /// The backup's whole name.
    pub backup: String,
    /// The database that was restored.
    pub database: String,
    /// What the replaced database is called now, if it is there.
    pub previous_database: Option<String>,
    /// What was checked before it took its place.
    pub checks: Vec<CheckResult>,
    /// What could not be restored; not empty means "restored with losses".
    pub warnings: Vec<RestoreWarning>,
    /// What to know of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How long each phase took.
    pub durations: Vec<PhaseDuration>,
}

/// Restores a backup.
///
/// `safety` dumps the named database and says where to, before anything is done to it. `progress` is told of each phase.
///
/// # Errors
/// Whatever goes wrong, the target is what it was before: not touched, or swapped back. The error says so when even that
/// did not work.
pub async fn restore_backup(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    server: &ConnectionConfig,
    options: &BackupRestoreOptions,
    safety: impl AsyncFnOnce(&str) -> Result<(), RestoreError>,
    progress: impl Fn(RestorePhase),
) -> Result<RestoreOutcome, RestoreError> {
    progress(RestorePhase::Checking);
    if backup.archived {
        let thaw = store.request_archive_restore(&backup.key, ARCHIVE_RESTORE_DAYS).await?;
        if !matches!(thaw, ArchiveRestoreStatus::Restored | ArchiveRestoreStatus::NotArchived) {
            return Ok(RestoreOutcome::AwaitingArchiveRestore(thaw));
        }
    }
    let plan = plan_restore(store, backup, opening, server, options).await?;
    if options.dry_run {
        return Ok(RestoreOutcome::Planned(plan));
    }
    // Two restores of one target would swap each other's work away.
    let lease = database::connect_maintenance(server).await?;
    try_advisory_lock(&lease, &format!("restore of {}", options.target)).await?;
    drop_orphaned_databases(server, &database::temporary_database_name(&options.target, ""))
        .await?;

    let mut times = Vec::new();
    if plan.replaces && options.safety {
        progress(RestorePhase::Safety);
        measure_phase(&mut times, "safety backup", safety(&options.target)).await?;
    }
    progress(RestorePhase::Restoring);
    let mut losses = Vec::new();
    if options.roles
        && let Some(manifest) = backup.committed_manifest()
    {
        losses.extend(database::create_missing_roles(server, &manifest.roles).await?);
    }
    let room = ScratchDatabase::create(server, plan.scratch_database.clone(), backup).await?;
    let ready = restore_and_check(
        &room,
        store,
        backup,
        opening,
        server,
        options,
        &plan,
        &mut losses,
        &progress,
        &mut times,
    );
    let (checks, notes) = match Box::pin(ready).await {
        Ok(done) => done,
        Err(e) => {
            progress(RestorePhase::Undoing);
            return Err(with_rollback_note(e, room.drop_database().await, &options.target));
        }
    };
    progress(RestorePhase::Swapping);
    let swapped = measure_phase(&mut times, "swap", async {
        database::swap_databases(
            server,
            &plan.scratch_database,
            &options.target,
            &plan.previous_database,
        )
        .await
    });
    if let Err(e) = swapped.await {
        progress(RestorePhase::Undoing);
        return Err(with_rollback_note(e.into(), room.drop_database().await, &options.target));
    }
    let aside = finish_swap(server, options, &plan, &progress).await?;
    drop((room, lease));
    Ok(RestoreOutcome::Restored(Box::new(RestoreReport {
        backup: backup.uri.clone(),
        database: options.target.clone(),
        previous_database: aside,
        checks,
        warnings: losses,
        notes,
        durations: times,
    })))
}

/// Restores, checks and erases in the fresh database.
#[expect(clippy::too_many_arguments, reason = "the parts of one restore, used here only")]
async fn restore_and_check(
    room: &ScratchDatabase<'_>,
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    server: &ConnectionConfig,
    options: &BackupRestoreOptions,
    plan: &RestorePlan,
    losses: &mut Vec<RestoreWarning>,
    progress: &impl Fn(RestorePhase),
    times: &mut Vec<PhaseDuration>,
) -> Result<(Vec<CheckResult>, Vec<String>), RestoreError> {
    let how = RestoreOptions {
        jobs: options.jobs,
        tables: options.tables.clone(),
        owners: options.owners,
        privileges: options.privileges,
        ..RestoreOptions::default()
    };
    let load = Box::pin(room.load_backup(store, backup, opening, HashCheck::Stored, &how));
    let RestoreSummary { warnings: lost, tables, .. } =
        measure_phase(times, "fetch and restore", load).await?;
    losses.extend(lost);
    let subscriptions = database::disconnect_subscriptions(server, &room.name).await?;
    progress(RestorePhase::Verifying);
    let chosen = (!options.tables.is_empty()).then_some(&tables[..]);
    let (rules, jobs) = (&options.rules, options.jobs);
    let judging = run_checks(server, &room.name, backup, losses, &tables, chosen, rules, jobs);
    let checks = measure_phase(times, "verify", judging).await?;
    if evaluate_verdict(&checks, losses) == VerificationVerdict::Bad
        && (losses.is_empty() || !options.accept_losses)
    {
        let failed = checks.iter().find(|c| c.status == CheckStatus::Failed);
        let failed = failed.map(|c| format!("{}: {}", c.name, c.detail)).unwrap_or_default();
        return Err(incomplete_error(store, backup, losses, &failed));
    }
    if !options.erasure.is_empty() {
        progress(RestorePhase::Erasing);
        measure_phase(times, "erasure", run_erasure(server, &room.name, &options.erasure)).await?;
    }
    losses.extend(room.restore_warnings(options.owners));
    if plan.replaces {
        losses
            .extend(database::copy_database_properties(server, &options.target, &room.name).await?);
    } else if let Some(manifest) = backup.committed_manifest() {
        let facts = &manifest.server.database;
        losses.extend(database::apply_database_properties(server, &room.name, facts).await?);
    }
    if plan.replaces && !losses.is_empty() && !options.accept_losses {
        let why = format!(
            "it would not hold all that was dumped, and takes no place: {} losses",
            losses.len()
        );
        return Err(incomplete_error(store, backup, losses, &why));
    }
    let notes = subscriptions.into_iter().map(|name| {
        format!(
            "subscription {name} is disabled and has no slot, so that it does not read from its publisher beside the              first one; to use it: ALTER SUBSCRIPTION .. SET (slot_name = ..), then ENABLE"
        )
    });
    Ok((checks, notes.collect()))
}

/// The error of what was restored and is not all there.
fn incomplete_error(
    store: &BackupStore,
    backup: &StoredBackup,
    losses: &[RestoreWarning],
    why: &str,
) -> RestoreError {
    let first = losses.iter().find(|l| l.kind == RestoreWarningKind::Data).or(losses.first());
    let because = first.map(|l| format!(" ({}: {})", l.statement, l.message)).unwrap_or_default();
    let mut hint = "restore another backup, or fix what the message names".to_owned();
    if first.is_some() {
        hint.push_str(
            "; --accept-losses restores the rest all the same and says what is missing (exit code 6)",
        );
    }
    if let Some(manifest) = backup.committed_manifest() {
        // Made here and not taken from the record, which says what who wrote it wants.
        let line = restore_command(&storage::manifest::RestoreCommandInput {
            fetch: &store.download_command(&backup.key),
            layers: &manifest.layers,
            format: manifest.format,
            table: manifest.table.as_deref(),
        });
        hint.push_str(&format!("; by hand, into a database that you made: {line}"));
    }
    let doing = format!("check what was restored of {}", backup.uri);
    RestoreError::new(RestoreErrorKind::Check, doing, format!("{why}{because}"), hint)
}

async fn run_erasure(
    server: &ConnectionConfig,
    name: &str,
    statements: &[String],
) -> Result<(), RestoreError> {
    let session = server.connect(name).await?;
    let all = [&["BEGIN".to_owned()], statements, &["COMMIT".to_owned()]].concat();
    for (i, statement) in all.iter().enumerate() {
        session.batch_execute(statement).await.map_err(|e| {
            let said = postgres::PostgresError::from_pg(format!("run erasure statement {i}"), &e);
            RestoreError { hint: "fix `erasure` in the policy".into(), ..RestoreError::from(said) }
        })?;
    }
    Ok(())
}

/// Looks whether the restored database lets people in; swaps back when it does not. Then the old one goes, if asked.
async fn finish_swap(
    server: &ConnectionConfig,
    options: &BackupRestoreOptions,
    plan: &RestorePlan,
    progress: &impl Fn(RestorePhase),
) -> Result<Option<String>, RestoreError> {
    let lets_in = async {
        let session = server.connect(&options.target).await?;
        database::query_bool(&session, "SELECT true", DEFAULT_CHECK_TIMEOUT).await
    };
    if let Err(e) = lets_in.await {
        progress(RestorePhase::Undoing);
        let back = if plan.replaces {
            database::swap_databases(
                server,
                &plan.previous_database,
                &options.target,
                &plan.scratch_database,
            )
            .await
        } else {
            database::rename_database(server, &options.target, &plan.scratch_database).await
        };
        let dropped = match back {
            Ok(()) => database::drop_database(server, &plan.scratch_database).await,
            Err(e) => Err(e),
        };
        return Err(with_rollback_note(
            e.into(),
            dropped.map_err(RestoreError::from),
            &options.target,
        ));
    }
    if !plan.replaces {
        return Ok(None);
    }
    if options.drop_old {
        return match database::drop_database(server, &plan.previous_database).await {
            Ok(()) => Ok(None),
            // The restore is done; what could not be dropped is only in the way.
            Err(e) => {
                tracing::warn!(error = %e, "the replaced database stays as {}: {e}", plan.previous_database);
                Ok(Some(plan.previous_database.clone()))
            }
        };
    }
    Ok(Some(plan.previous_database.clone()))
}

/// An error, and whether all is as before.
fn with_rollback_note(
    e: RestoreError,
    undo: Result<(), RestoreError>,
    target: &str,
) -> RestoreError {
    let state = match undo {
        Ok(()) => format!("{target} is as it was"),
        Err(also) => format!("and it could not all be undone: {also}"),
    };
    let hint = if e.hint.is_empty() { state } else { format!("{} ({state})", e.hint) };
    RestoreError { hint, ..e }
}

async fn measure_phase<T, E>(
    times: &mut Vec<PhaseDuration>,
    phase: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let begun = Instant::now();
    let done = work.await?;
    times.push(PhaseDuration { phase: phase.into(), seconds: seconds_since(begun) });
    Ok(done)
}
