//! `holdfast verify`: whether dumps can be read, or come back.

use crate::{
    args::VerifyArgs,
    backups::{BackupSearch, LocatedBackup, find_backups, find_meant, select_backup},
    output::{self, CommandOutput},
    recorded,
    scratches::ScratchServers,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    telling,
    words::{PLACEHOLDER, escape_control_chars, format_time},
};
use anyhow::Context;
use futures_util::{StreamExt, stream};
use restore::{
    BackupKeys, RestoreChecks, RestoreErrorKind, VerificationReport, VerificationVerdict,
    VerifyOptions,
    rdb::{RdbScratch, verify_rdb_full},
    verify::{CheckStatus, could_not_verify, render_markdown},
    verify_full, verify_quick,
};
use serde::Serialize;
use shared::plan::Operation;
use shared::{audit::AuditEntry, hints::commands, secret::SecretResolver};
use std::collections::BTreeSet;

/// Earlier dumps whose sizes are compared.
const MAX_EARLIER_SIZES: usize = 7;

/// Verifies what was asked for and shows it.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &VerifyArgs,
) -> anyhow::Result<CommandExit> {
    let secrets = session.secret_resolver();
    let interrupt = &session.env.interrupt;
    let choosing = Box::pin(select_targets(session, &secrets, args));
    let items = interrupt
        .run_until_interrupted(session.progress.with_spinner("looking at the stores", choosing))
        .await?;
    let scratches = ScratchServers::for_targets(session, &secrets, &items, args.full).await;
    let what = if args.full { "restoring for proof" } else { "reading" };
    let work = async {
        let each =
            items.iter().map(|item| verify_target(session, &secrets, args, &scratches, item));
        stream::iter(each).buffered(usize::from(args.jobs.max(1))).collect::<Vec<_>>().await
    };
    let tried = tokio::select! {
        tried = session.progress.with_spinner(what, work) => tried,
        () = interrupt.received() => {
            scratches.stop_all().await;
            return Err(CommandError::interrupted(
                format!(
                    "interrupted; the next `{}` drops a temporary database that is left",
                    commands::VERIFY_FULL
                ),
            ));
        }
    };
    scratches.stop_all().await;
    let (mut all, mut exit) = (Vec::new(), CommandExit::Success);
    let mut entries = Vec::new();
    let mut heard = Vec::new();
    for (VerifyTarget { item, .. }, tried) in items.iter().zip(tried) {
        match tried {
            Ok(verified) => {
                // What waits for its thaw was not verified, which is neither a proof nor a failure.
                if verified.verdict != VerificationVerdict::Waiting {
                    entries.push(audit_entry(item, &verified));
                }
                heard.extend(telling::verification_event(session, item, Ok(&verified)));
                all.push(verified);
            }
            Err(e) => {
                heard.extend(telling::verification_event(session, item, Err(e.to_string())));
                entries.push(recorded::failed_entry(
                    recorded::backup_entry(item, audit_action(args.full), ""),
                    e.to_string(),
                ));
                output::print_stderr(&format!("holdfast: {e:#}"));
                exit = exit.max(CommandExit::from_error(&e));
            }
        }
    }
    if exit == CommandExit::Success && all.iter().any(|v| !v.is_good) {
        exit = worst(&all);
    }
    exit = recorded::append_audit_entries(session, "verify", entries, exit).await;
    Box::pin(telling::notify_events(session, heard)).await;
    if let Some(path) = &args.markdown {
        // People read it in a terminal too.
        let text = render_markdown(&all);
        std::fs::write(path, &*shared::words::escape_control_chars(&text))
            .with_context(|| format!("write {}", path.display()))?;
    }
    session.output.print_output(&VerifyOutput(all))?;
    Ok(exit)
}

/// What verifying is called in the record of operations.
fn audit_action(full: bool) -> (Operation, &'static str) {
    if full { (Operation::Restore, "verify full") } else { (Operation::Check, "verify") }
}

/// A verification as it is recorded, with its proof.
fn audit_entry(item: &LocatedBackup<'_>, verified: &VerificationReport) -> AuditEntry {
    let entry = AuditEntry {
        seconds: Some(verified.durations.iter().map(|t| t.seconds).sum()),
        evidence: Some(recorded::checks_evidence(&verified.checks)),
        ..recorded::backup_entry(
            item,
            audit_action(verified.restored),
            recorded::summarize_checks(&verified.checks),
        )
    };
    match verified.failure_reason() {
        None => entry,
        Some(why) => recorded::failed_entry(entry, why),
    }
}

/// A dump that is to be verified.
pub(crate) struct VerifyTarget<'s> {
    pub(crate) item: LocatedBackup<'s>,
    /// Stored sizes of those before it, of its database, place and reason, in bytes.
    earlier: Vec<u64>,
}

impl<'s> VerifyTarget<'s> {
    fn from_search(item: LocatedBackup<'s>, found: &BackupSearch<'s>) -> Self {
        let before = |other: &&LocatedBackup<'_>| {
            other.database == item.database
                && other.group == item.group
                && other.location_index == item.location_index
                && other.committed_manifest().map(|m| &m.reason)
                    == item.committed_manifest().map(|m| &m.reason)
                && other.data_time() < item.data_time()
        };
        let earlier =
            found.backups.iter().filter(before).take(MAX_EARLIER_SIZES).map(|i| i.backup.size);
        Self { earlier: earlier.collect(), item }
    }
}

/// Which dumps: files by name, or the newest or all of groups and databases.
async fn select_targets<'s>(
    session: &'s CommandContext<'_>,
    secrets: &SecretResolver<'_>,
    args: &VerifyArgs,
) -> anyhow::Result<Vec<VerifyTarget<'s>>> {
    let mut chosen = Vec::new();
    let named: Vec<Option<&str>> = match args.targets.as_slice() {
        [] => vec![None],
        of => of.iter().map(|s| Some(s.as_str())).collect(),
    };
    for of in named {
        let (found, group) = match of {
            Some(of) => find_meant(session, secrets, of).await?,
            None => (find_backups(session, secrets, None).await?, true),
        };
        if let Some(file) = of.filter(|_| !group) {
            chosen
                .push(VerifyTarget::from_search(select_backup(&found, file, group, None)?, &found));
            continue;
        }
        if let Some(gap) = found.observation_errors.first() {
            return Err(CommandError::from_operation_error(gap));
        }
        let mut newest = BTreeSet::new();
        for item in &found.backups {
            // Of a database, the newest in its first place; with --all, every one in every place.
            let key = (item.group.to_string(), item.database.clone());
            // One of some tables alone proves nothing of the whole.
            let whole =
                item.committed_manifest().is_some_and(|m| !m.is_narrowed() || m.table.is_some());
            if args.all || (item.location_index == 0 && whole && newest.insert(key)) {
                chosen.push(VerifyTarget::from_search(item.clone(), &found));
            }
        }
    }
    if chosen.is_empty() {
        let list = commands::LIST;
        return Err(anyhow::anyhow!("there is no dump to verify; `{list}` shows what there is"));
    }
    Ok(chosen)
}

async fn verify_target(
    session: &CommandContext<'_>,
    secrets: &SecretResolver<'_>,
    args: &VerifyArgs,
    scratches: &ScratchServers,
    VerifyTarget { item, earlier }: &VerifyTarget<'_>,
) -> anyhow::Result<VerificationReport> {
    let opening = BackupKeys::resolve_keys(secrets, item.rules, &args.keys.files).await;
    let opening = opening.map_err(|e| CommandError::from_data_error(&e))?;
    let csv = item
        .committed_manifest()
        .is_some_and(|m| m.format == storage::manifest::ManifestFormat::Csv);
    // What nobody vouches for is read and never run, unless it is meant.
    let stranger = item.committed_manifest().is_none() && session.policy.signing.is_some();
    if !args.full || csv || stranger {
        return Ok(verify_quick(&item.location.store, &item.backup, &opening).await);
    }
    if restore::rdb::is_rdb(&item.backup) {
        let folder = session.policy.scratch_for(item.rules).and_then(|s| s.directory);
        let folder = folder.map_or_else(std::env::temp_dir, Into::into);
        let scratch = RdbScratch { folder, path: std::env::var_os("PATH") };
        let store = &item.location.store;
        return Ok(verify_rdb_full(store, &item.backup, &opening, &scratch).await);
    }
    let scratch = match scratches.for_backup(item) {
        Ok(scratch) => scratch,
        Err(e) => return Ok(could_not_verify(&item.backup, &e)),
    };
    let max_size_deviation = item.rules.objectives.max_size_deviation.as_ref();
    let trial = VerifyOptions {
        scratch,
        run: &session.env.run_id,
        jobs: 2,
        checks: &RestoreChecks::from_policy(item.rules),
        earlier,
        max_size_deviation: max_size_deviation.map(shared::policy::text::Percentage::fraction),
        fault: None,
    };
    let tried = verify_full(&item.location.store, &item.backup, &opening, &trial).await;
    // Nothing is known of it then, which is told like a verdict and is never as good as one.
    Ok(tried.unwrap_or_else(|e| could_not_verify(&item.backup, &e)))
}

/// The exit code of several of which some are not good. One that waits for its thaw hides no other.
fn worst(all: &[VerificationReport]) -> CommandExit {
    let failed = all.iter().filter(|v| !v.is_good && v.verdict != VerificationVerdict::Waiting);
    failed.map(failure_exit).max().unwrap_or(CommandExit::TimedOut)
}

/// The exit code of a dump that is not good.
fn failure_exit(v: &VerificationReport) -> CommandExit {
    if v.verdict == VerificationVerdict::WithLosses {
        return CommandExit::Losses; // as a restore of it would end
    }
    (v.checks.iter().filter_map(|c| c.kind))
        .map(|k| match k {
            RestoreErrorKind::Key => CommandExit::Key,
            RestoreErrorKind::Store => CommandExit::Unreachable,
            RestoreErrorKind::Connection | RestoreErrorKind::NoScratch => CommandExit::NoDatabase,
            RestoreErrorKind::Busy | RestoreErrorKind::Cold => CommandExit::TimedOut,
            _ => CommandExit::Failed,
        })
        .max()
        .unwrap_or(CommandExit::Failed)
}

#[derive(Serialize)]
#[serde(transparent)]
struct VerifyOutput(Vec<VerificationReport>);

impl CommandOutput for VerifyOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let head = ["backup", "data of", "verdict", "time", "what was seen"];
        let rows = self.0.iter().map(|v| {
            let mut seen: Vec<String> =
                v.failure_reason().map(|why| escape_control_chars(&why)).into_iter().collect();
            if seen.is_empty() {
                let good = v.checks.iter().filter(|c| c.status == CheckStatus::Passed);
                seen.extend(good.map(|c| c.name.clone()));
                let untested = v.checks.iter().filter(|c| c.status == CheckStatus::Skipped);
                seen.extend(
                    untested.map(|c| escape_control_chars(&format!("{}: {}", c.name, c.detail))),
                );
            }
            let seconds = v.durations.iter().fold(0.0, |all, t| all + t.seconds);
            vec![
                v.backup.clone(),
                v.data_time.map_or_else(|| PLACEHOLDER.to_owned(), format_time),
                match v.verdict {
                    VerificationVerdict::Good => "ok",
                    VerificationVerdict::WithLosses => "WITH LOSSES",
                    VerificationVerdict::Bad => "FAILED",
                    VerificationVerdict::Waiting => "waits for its thaw",
                    VerificationVerdict::CouldNotVerify => "COULD NOT VERIFY",
                }
                .to_owned(),
                format!("{seconds:.1} s"),
                seen.join(", "),
            ]
        });
        let good = self.0.iter().filter(|v| v.is_good).count();
        let how =
            if self.0.iter().any(|v| v.restored) { "proven by a restore" } else { "readable" };
        format!("{}\n\n{good} of {} {how}", look.render_table(&head, rows), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(verdict: VerificationVerdict) -> VerificationReport {
        VerificationReport {
            backup: "a".into(),
            database: None,
            data_time: None,
            restored: false,
            verdict,
            is_good: verdict == VerificationVerdict::Good,
            checks: Vec::new(),
            warnings: Vec::new(),
            durations: Vec::new(),
            newest_row: None,
        }
    }

    #[test]
    fn a_dump_that_waits_for_its_thaw_ends_as_a_restore_of_it_would_and_hides_no_failure() {
        use VerificationVerdict::{Bad, Good, Waiting, WithLosses};
        let table = [
            (vec![Good, Waiting], CommandExit::TimedOut),
            (vec![Waiting, Bad, Good], CommandExit::Failed),
            (vec![Bad, WithLosses, Waiting], CommandExit::Losses),
        ];
        for (verdicts, exit) in table {
            let all: Vec<_> = verdicts.iter().copied().map(verified).collect();
            assert_eq!(worst(&all), exit, "{verdicts:?}");
        }
    }
}
