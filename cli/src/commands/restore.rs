//! `holdfast restore`: a dump into a new database, or in the place of an existing one.

mod rdb;

use crate::{
    args::RestoreArgs,
    backups::{LocatedBackup, find_backup},
    output::{self, CommandOutput},
    recorded,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    telling::RestoreNotifier,
    words::{escape_control_chars, format_size},
};
use dump::means;
use postgres::ConnectionConfig;
use restore::{
    BackupKeys, BackupRestoreOptions, RestoreChecks, RestoreErrorKind, RestoreOutcome,
    RestorePhase,
    restore::{RestorePlan, RestoreReport},
    verify::{CheckResult, CheckStatus},
};
use serde::Serialize;
use shared::{
    audit::AuditEntry,
    plan::Operation,
    policy::dumps::PRE_RESTORE_REASON,
    run::{Deadline, RunContext},
};
use std::{
    io::{self, BufRead, IsTerminal},
    time::Duration,
};
use storage::ArchiveRestoreStatus;

/// How often a thaw that is waited for is looked at.
const ARCHIVE_RESTORE_POLL_INTERVAL: Duration = Duration::from_mins(10);

/// Restores what was asked for.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &RestoreArgs,
) -> anyhow::Result<CommandExit> {
    let interrupt = &session.env.interrupt;
    let secrets = session.secret_resolver();
    let finding = Box::pin(find_backup(session, &secrets, &args.backup, args.from));
    let mut item = interrupt
        .run_until_interrupted(session.progress.with_spinner("looking for the dump", finding))
        .await?;
    let signs = session.policy.signing.is_some();
    item.backup =
        item.backup.admit_for_restore(signs, args.untrusted).map_err(|e| CommandError::dump(&e))?;
    let opening = BackupKeys::resolve_keys(&secrets, item.rules, &args.keys.files).await;
    let opening = opening.map_err(|e| CommandError::from_data_error(&e))?;
    if restore::rdb::is_rdb(&item.backup) {
        return Box::pin(rdb::run(session, args, &item, &opening)).await;
    }
    let world = RunContext { dry_run: args.dry_run, ..session.dry_run_context() };
    let server = means::connect_config(&world, &secrets, item.rules)
        .await
        .map_err(|e| CommandError::from_data_error(&e))?;
    let target = target_database(args, &item)?;
    if args.to.is_some()
        && postgres::database::database_exists(&server, &target)
            .await
            .map_err(|e| CommandError::from_restore_error(&e.into()))?
    {
        return Err(CommandError::usage(format!(
            "there is a database {target} already; write --replace {target} to put the dump in its place, or another name"
        )));
    }
    let options = restore_options(session, args, &item, target);
    if !args.dry_run && args.to.is_none() && !args.yes {
        confirm_replace(&item, &options)?;
    }
    let recovery = RestoreNotifier::for_backup(session, &item);
    if !args.dry_run {
        recovery.notify_started(&options.target).await;
    }
    loop {
        let outcome = tokio::select! {
            done = restore_once(session, &item, &opening, &server, &options, &recovery) => match done {
                Ok(outcome) => outcome,
                Err(e) => {
                    record_result(session, &item, &options, &recovery, Err(e.to_string())).await;
                    return Err(e);
                }
            },
            never = recovery.send_heartbeats(), if !args.dry_run => match never {},
            () = interrupt.received() => {
                record_result(session, &item, &options, &recovery, Err("it was interrupted".into())).await;
                return Err(CommandError::interrupted(format!(
                    "interrupted; {} is as it was, and the next restore of it drops what is left beside it",
                    options.target
                )));
            }
        };
        match outcome {
            RestoreOutcome::Planned(plan) => {
                session.output.print_output(&RestorePlanOutput(plan))?;
                return Ok(CommandExit::Success);
            }
            RestoreOutcome::Restored(report) => {
                let recorded =
                    record_result(session, &item, &options, &recovery, Ok(&report)).await;
                let exit = if report.warnings.is_empty() { recorded } else { CommandExit::Losses };
                session.output.print_output(&RestoreOutput(*report))?;
                return Ok(exit);
            }
            RestoreOutcome::AwaitingArchiveRestore(thaw) => {
                let said = archived_message(&item, thaw);
                if !args.wait {
                    recovery.notify_waiting(&said).await;
                    return Err(CommandError::timed_out(format!(
                        "{said}; ask again then, or write --wait"
                    )));
                }
                output::print_stderr(&format!("holdfast: {said}; waiting"));
                tokio::select! {
                    () = tokio::time::sleep(ARCHIVE_RESTORE_POLL_INTERVAL) => {}
                    () = interrupt.received() => {
                        return Err(CommandError::interrupted("interrupted; the store goes on with the thaw"));
                    }
                }
            }
        }
    }
}

/// Records how a restore ended; a dry run is no restore.
async fn record_result(
    session: &CommandContext<'_>,
    item: &LocatedBackup<'_>,
    options: &BackupRestoreOptions,
    recovery: &RestoreNotifier<'_>,
    ended: Result<&RestoreReport, String>,
) -> CommandExit {
    if options.dry_run {
        return CommandExit::Success;
    }
    recovery.notify_ended(ended.clone()).await;
    let entry = recorded::backup_entry(item, (Operation::Restore, "restore"), "");
    let entry = match ended {
        Err(why) => recorded::failed_entry(entry, format!("into {}: {why}", options.target)),
        Ok(report) => AuditEntry {
            detail: describe_result(report),
            seconds: Some(report.durations.iter().map(|t| t.seconds).sum()),
            evidence: Some(recorded::checks_evidence(&report.checks)),
            ..entry
        },
    };
    recorded::append_audit_entries(session, "restore", vec![entry], CommandExit::Success).await
}

/// Where a dump was restored to, and what was lost.
fn describe_result(report: &RestoreReport) -> String {
    let aside = report.previous_database.as_ref().map(|aside| format!(", the old one is {aside}"));
    let lost = (!report.warnings.is_empty()).then(|| format!(", {} losses", report.warnings.len()));
    let parts = [aside, lost].map(Option::unwrap_or_default).concat();
    format!("into {}{parts}", report.database)
}

async fn restore_once(
    session: &CommandContext<'_>,
    item: &LocatedBackup<'_>,
    opening: &BackupKeys,
    server: &ConnectionConfig,
    options: &BackupRestoreOptions,
    recovery: &RestoreNotifier<'_>,
) -> anyhow::Result<RestoreOutcome> {
    let world =
        RunContext { deadline: Deadline::unlimited(), dry_run: false, ..session.dry_run_context() };
    let safety = async |database: &str| {
        let taken =
            Box::pin(dump::dump_now(&world, item.group, database, PRE_RESTORE_REASON)).await?;
        let entry = recorded::backup_entry(
            &LocatedBackup {
                database: database.to_owned(),
                backup: taken.backup.clone(),
                ..item.clone()
            },
            (Operation::Backup, "dump before a restore"),
            "",
        );
        recorded::append_audit_entries(session, "restore", vec![entry], CommandExit::Success).await;
        verify_safety_dump(&taken, opening).await?;
        let name = taken.backup.key.rsplit('/').next().unwrap_or_default();
        output::print_stderr(&format!("holdfast: {database} is dumped as {name}"));
        Ok(())
    };
    let told = |phase: RestorePhase| {
        recovery.set_phase(phase_label(phase));
        session.progress.print_message(phase_label(phase));
    };
    let work = restore::restore_backup(
        &item.location.store,
        &item.backup,
        opening,
        server,
        options,
        safety,
        told,
    );
    let done = session
        .progress
        .with_spinner(&format!("restoring {}", options.target), Box::pin(work))
        .await;
    done.map_err(|e| CommandError::from_restore_error(&e))
}

/// The safety dump read back whole: until then nothing is touched. A host that only has public keys can't decrypt it, and
/// then its stored bytes are what can be proven.
async fn verify_safety_dump(
    taken: &dump::StoredDump,
    opening: &BackupKeys,
) -> Result<(), restore::RestoreError> {
    let verified = restore::verify_quick(&taken.store, &taken.backup, opening).await;
    let keyless = |c: &&CheckResult| c.kind != Some(RestoreErrorKind::Key);
    match verified.checks.iter().filter(|c| c.status == CheckStatus::Failed).find(keyless) {
        Some(bad) => {
            let (doing, why) = (
                format!("read back {}", taken.backup.uri),
                format!("{}: {}", bad.name, bad.detail),
            );
            let hint = "look at the store; nothing was touched";
            Err(restore::RestoreError::new(RestoreErrorKind::Store, doing, why, hint))
        }
        None => Ok(()),
    }
}

/// The database that there will be.
fn target_database(args: &RestoreArgs, item: &LocatedBackup<'_>) -> anyhow::Result<String> {
    let target = match (&args.to, args.replace.as_deref()) {
        (Some(to), _) => to.clone(),
        (None, Some("") | None) => item.database.clone(),
        (None, Some(named)) => named.to_owned(),
    };
    if target.is_empty() {
        return Err(CommandError::usage("the name of the database is empty"));
    }
    Ok(target)
}

fn restore_options(
    session: &CommandContext<'_>,
    args: &RestoreArgs,
    item: &LocatedBackup<'_>,
    target: String,
) -> BackupRestoreOptions {
    let rules = item.rules;
    let whole = args.tables.is_empty();
    BackupRestoreOptions {
        target,
        replace: args.to.is_none(),
        tables: args.tables.clone(),
        jobs: usize::from(args.jobs.max(1)),
        owners: !args.no_owner,
        privileges: !args.no_privileges,
        roles: !args.no_owner,
        accept_losses: args.accept_losses,
        safety: !args.no_safety_backup,
        dry_run: args.dry_run,
        drop_old: args.drop_old,
        // Of chosen tables, rules about the whole database can't be true.
        rules: if whole { RestoreChecks::from_policy(rules) } else { RestoreChecks::default() },
        erasure: if whole { rules.erasure.clone() } else { Vec::new() },
        run: session.env.run_id.clone(),
        at: session.env.now,
    }
}

/// Asks the person at the terminal. Nobody there means no.
fn confirm_replace(item: &LocatedBackup<'_>, options: &BackupRestoreOptions) -> anyhow::Result<()> {
    let target = &options.target;
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(format!(
            "this puts the dump in the place of the database {target}, and there is nobody to ask; write --yes if that \
             is meant"
        )));
    }
    let at = item.data_time().map_or_else(|| "an unknown time".into(), crate::words::format_time);
    let dumped = if options.safety { "It is dumped first. " } else { "NO DUMP OF IT IS TAKEN. " };
    output::print_stderr(&format!(
        "{} of {at} UTC will take the place of the database {target}.\n{dumped}Whoever is connected is disconnected in the \
         end.\nWrite the database's name to go on:",
        item.backup.key
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == target {
        return Ok(());
    }
    Err(CommandError::usage("that is not its name; nothing was changed"))
}

fn archived_message(item: &LocatedBackup<'_>, thaw: ArchiveRestoreStatus) -> String {
    let class = item.backup.class.as_deref().unwrap_or("an archive class");
    match thaw {
        ArchiveRestoreStatus::Requested { hours } => format!(
            "{} is in {class}; its thaw is asked for and takes up to {hours} hours",
            item.backup.key
        ),
        _ => format!("{} is in {class}, and its thaw goes on", item.backup.key),
    }
}

fn phase_label(phase: RestorePhase) -> &'static str {
    match phase {
        RestorePhase::Checking => "looking whether it can be done",
        RestorePhase::Safety => "dumping the existing database",
        RestorePhase::Restoring => "restoring",
        RestorePhase::Verifying => "verifying",
        RestorePhase::Erasing => "taking erased people's rows out",
        RestorePhase::Swapping => "changing names",
        RestorePhase::Undoing => "undoing",
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct RestorePlanOutput(RestorePlan);

impl CommandOutput for RestorePlanOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let bytes = i64::try_from(self.0.bytes).unwrap_or(i64::MAX);
        escape_control_chars(&format!(
            "{}\nto be read: {}; nothing was changed",
            self.0,
            format_size(bytes)
        ))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct RestoreOutput(RestoreReport);

impl CommandOutput for RestoreOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let r = &self.0;
        let mut lines = vec![format!("{} is restored from {}", r.database, r.backup)];
        lines.extend(r.checks.iter().map(|c| {
            let failed = if c.status == CheckStatus::Failed { "FAILED: " } else { "" };
            format!("  {failed}{}: {}", c.name, c.detail)
        }));
        lines.extend(r.durations.iter().map(|t| format!("  {}: {:.1} s", t.phase, t.seconds)));
        lines.extend(r.notes.iter().map(|note| format!("note: {note}")));
        if let Some(aside) = &r.previous_database {
            lines.push(format!(
                "the old database is {aside}; when you need it no more: DROP DATABASE \"{aside}\""
            ));
        }
        if !r.warnings.is_empty() {
            lines.push(format!(
                "LOST, {}:",
                crate::words::pluralize(r.warnings.len(), "thing", "things")
            ));
            lines.extend(
                r.warnings
                    .iter()
                    .map(|l| format!("  {:?}: {} ({})", l.kind, l.message, l.statement)),
            );
        }
        escape_control_chars(&lines.join("\n"))
    }
}
