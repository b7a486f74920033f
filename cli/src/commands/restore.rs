//! `holdfast restore`: a dump into a new database, or in the place of an existing one.

use crate::{
    args::RestoreArgs,
    backups::{Item, one},
    output::{self, Answer},
    recorded,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    telling::Recovery,
    words::{plain, format_size},
};
use dump::means;
use postgres::ConnectionConfig;
use restore::{
    RestoreErrorKind, BackupKeys, BackupRestoreOptions, RestoreOutcome, RestorePhase, RestoreChecks,
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
use store::Thaw;

/// How often a thaw that is waited for is looked at.
const THAW_POLL: Duration = Duration::from_mins(10);

/// Restores what was asked for.
pub(super) async fn run(session: &Session<'_>, args: &RestoreArgs) -> anyhow::Result<Exit> {
    let interrupt = &session.edge.interrupt;
    let secrets = session.secrets();
    let finding = Box::pin(one(session, &secrets, &args.backup, args.from));
    let mut item = interrupt.or(session.progress.during("looking for the dump", finding)).await?;
    let signs = session.policy.signing.is_some();
    item.backup = item.backup.admitted(signs, args.untrusted).map_err(|e| Stop::dump(&e))?;
    let opening = BackupKeys::resolve_keys(&secrets, item.rules, &args.keys.files).await;
    let opening = opening.map_err(|e| Stop::data(&e))?;
    let world = RunContext { dry_run: args.dry_run, ..session.look() };
    let server = means::server(&world, &secrets, item.rules).await.map_err(|e| Stop::data(&e))?;
    let target = target(args, &item)?;
    if args.to.is_some()
        && postgres::database::database_exists(&server, &target)
            .await
            .map_err(|e| Stop::restore(&e.into()))?
    {
        return Err(Stop::wrong(format!(
            "there is a database {target} already; write --replace {target} to put the dump in its place, or another name"
        )));
    }
    let options = options(session, args, &item, target);
    if !args.dry_run && args.to.is_none() && !args.yes {
        confirm(&item, &options)?;
    }
    let recovery = Recovery::of(session, &item);
    if !args.dry_run {
        recovery.started(&options.target).await;
    }
    loop {
        let outcome = tokio::select! {
            done = once(session, &item, &opening, &server, &options, &recovery) => match done {
                Ok(outcome) => outcome,
                Err(e) => {
                    record(session, &item, &options, &recovery, Err(e.to_string())).await;
                    return Err(e);
                }
            },
            never = recovery.signs_of_life(), if !args.dry_run => match never {},
            () = interrupt.came() => {
                record(session, &item, &options, &recovery, Err("it was interrupted".into())).await;
                return Err(Stop::interrupted(format!(
                    "interrupted; {} is as it was, and the next restore of it drops what is left beside it",
                    options.target
                )));
            }
        };
        match outcome {
            RestoreOutcome::Planned(plan) => {
                session.output.answer(&Planned(plan))?;
                return Ok(Exit::Well);
            }
            RestoreOutcome::Restored(report) => {
                let recorded = record(session, &item, &options, &recovery, Ok(&report)).await;
                let exit = if report.losses.is_empty() { recorded } else { Exit::Losses };
                session.output.answer(&Restored(*report))?;
                return Ok(exit);
            }
            RestoreOutcome::AwaitingArchiveRestore(thaw) => {
                let said = cold(&item, thaw);
                if !args.wait {
                    recovery.waits(&said).await;
                    return Err(Stop::late(format!("{said}; ask again then, or write --wait")));
                }
                output::tell(&format!("holdfast: {said}; waiting"));
                tokio::select! {
                    () = tokio::time::sleep(THAW_POLL) => {}
                    () = interrupt.came() => {
                        return Err(Stop::interrupted("interrupted; the store goes on with the thaw"));
                    }
                }
            }
        }
    }
}

/// Records how a restore ended; a dry run is no restore.
async fn record(
    session: &Session<'_>,
    item: &Item<'_>,
    options: &BackupRestoreOptions,
    recovery: &Recovery<'_>,
    ended: Result<&RestoreReport, String>,
) -> Exit {
    if options.dry_run {
        return Exit::Well;
    }
    recovery.ended(ended.clone()).await;
    let entry = recorded::of(item, (Operation::Restore, "restore"), "");
    let entry = match ended {
        Err(why) => recorded::failed(entry, format!("into {}: {why}", options.target)),
        Ok(report) => AuditEntry {
            detail: into(report),
            seconds: Some(report.took.iter().map(|t| t.seconds).sum()),
            evidence: Some(recorded::checks(&report.checks)),
            ..entry
        },
    };
    recorded::record(session, "restore", vec![entry], Exit::Well).await
}

/// Where a dump was restored to, and what was lost.
fn into(report: &RestoreReport) -> String {
    let aside = report.aside.as_ref().map(|aside| format!(", the old one is {aside}"));
    let lost = (!report.losses.is_empty()).then(|| format!(", {} losses", report.losses.len()));
    let parts = [aside, lost].map(Option::unwrap_or_default).concat();
    format!("into {}{parts}", report.database)
}

async fn once(
    session: &Session<'_>,
    item: &Item<'_>,
    opening: &BackupKeys,
    server: &ConnectionConfig,
    options: &BackupRestoreOptions,
    recovery: &Recovery<'_>,
) -> anyhow::Result<RestoreOutcome> {
    let world = RunContext { deadline: Deadline::unlimited(), dry_run: false, ..session.look() };
    let safety = async |database: &str| {
        let taken = Box::pin(dump::take_now(&world, item.group, database, PRE_RESTORE_REASON)).await?;
        let entry = recorded::of(
            &Item { database: database.to_owned(), backup: taken.backup.clone(), ..item.clone() },
            (Operation::Backup, "dump before a restore"),
            "",
        );
        recorded::record(session, "restore", vec![entry], Exit::Well).await;
        proven(&taken, opening).await?;
        let name = taken.backup.key.rsplit('/').next().unwrap_or_default();
        output::tell(&format!("holdfast: {database} is dumped as {name}"));
        Ok(())
    };
    let told = |phase: RestorePhase| {
        recovery.at(words(phase));
        session.progress.say(words(phase));
    };
    let work =
        restore::restore_backup(&item.open.store, &item.backup, opening, server, options, safety, told);
    let done =
        session.progress.during(&format!("restoring {}", options.target), Box::pin(work)).await;
    done.map_err(|e| Stop::restore(&e))
}

/// The safety dump read back whole: until then nothing is touched. A host that only has public keys can't decrypt it, and
/// then its stored bytes are what can be proven.
async fn proven(taken: &dump::Taken, opening: &BackupKeys) -> Result<(), restore::RestoreError> {
    let verified = restore::verify_quick(&taken.store, &taken.backup, opening).await;
    let keyless = |c: &&CheckResult| c.kind != Some(RestoreErrorKind::Key);
    match verified.checks.iter().filter(|c| c.went == CheckStatus::Failed).find(keyless) {
        Some(bad) => {
            let (doing, why) = (
                format!("read back {}", taken.backup.arn),
                format!("{}: {}", bad.name, bad.detail),
            );
            let mend = "look at the store; nothing was touched";
            Err(restore::RestoreError::new(RestoreErrorKind::Store, doing, why, mend))
        }
        None => Ok(()),
    }
}

/// The database that there will be.
fn target(args: &RestoreArgs, item: &Item<'_>) -> anyhow::Result<String> {
    let target = match (&args.to, args.replace.as_deref()) {
        (Some(to), _) => to.clone(),
        (None, Some("") | None) => item.database.clone(),
        (None, Some(named)) => named.to_owned(),
    };
    if target.is_empty() {
        return Err(Stop::wrong("the name of the database is empty"));
    }
    Ok(target)
}

fn options(session: &Session<'_>, args: &RestoreArgs, item: &Item<'_>, target: String) -> BackupRestoreOptions {
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
        run: session.edge.run.clone(),
        at: session.edge.now,
    }
}

/// Asks the person at the terminal. Nobody there means no.
fn confirm(item: &Item<'_>, options: &BackupRestoreOptions) -> anyhow::Result<()> {
    let target = &options.target;
    if !io::stdin().is_terminal() {
        return Err(Stop::wrong(format!(
            "this puts the dump in the place of the database {target}, and there is nobody to ask; write --yes if that \
             is meant"
        )));
    }
    let at = item.at().map_or_else(|| "an unknown time".into(), crate::words::time);
    let dumped = if options.safety { "It is dumped first. " } else { "NO DUMP OF IT IS TAKEN. " };
    output::tell(&format!(
        "{} of {at} UTC will take the place of the database {target}.\n{dumped}Whoever is connected is disconnected in the \
         end.\nWrite the database's name to go on:",
        item.backup.key
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == target {
        return Ok(());
    }
    Err(Stop::wrong("that is not its name; nothing was changed"))
}

fn cold(item: &Item<'_>, thaw: Thaw) -> String {
    let class = item.backup.class.as_deref().unwrap_or("an archive class");
    match thaw {
        Thaw::Asked { hours } => format!(
            "{} is in {class}; its thaw is asked for and takes up to {hours} hours",
            item.backup.key
        ),
        _ => format!("{} is in {class}, and its thaw goes on", item.backup.key),
    }
}

fn words(phase: RestorePhase) -> &'static str {
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
struct Planned(RestorePlan);

impl Answer for Planned {
    fn text(&self, _: Look) -> String {
        let bytes = i64::try_from(self.0.bytes).unwrap_or(i64::MAX);
        plain(&format!("{}\nto be read: {}; nothing was changed", self.0, format_size(bytes)))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Restored(RestoreReport);

impl Answer for Restored {
    fn text(&self, _: Look) -> String {
        let r = &self.0;
        let mut lines = vec![format!("{} is restored from {}", r.database, r.backup)];
        lines.extend(r.checks.iter().map(|c| {
            let failed = if c.went == CheckStatus::Failed { "FAILED: " } else { "" };
            format!("  {failed}{}: {}", c.name, c.detail)
        }));
        lines.extend(r.took.iter().map(|t| format!("  {}: {:.1} s", t.phase, t.seconds)));
        lines.extend(r.notes.iter().map(|note| format!("note: {note}")));
        if let Some(aside) = &r.aside {
            lines.push(format!(
                "the old database is {aside}; when you need it no more: DROP DATABASE \"{aside}\""
            ));
        }
        if !r.losses.is_empty() {
            lines
                .push(format!("LOST, {}:", crate::words::count(r.losses.len(), "thing", "things")));
            lines.extend(
                r.losses
                    .iter()
                    .map(|l| format!("  {:?}: {} ({})", l.class, l.message, l.statement)),
            );
        }
        plain(&lines.join("\n"))
    }
}
