//! `holdfast verify`: whether dumps can be read, or come back.

use crate::{
    args::VerifyArgs,
    backups::{Found, Item, find, find_meant, pick},
    output::{self, Answer},
    recorded,
    scratches::Scratches,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    telling,
    words::{NONE, plain, time},
};
use anyhow::Context;
use futures_util::{StreamExt, stream};
use restore::{
    RestoreErrorKind, BackupKeys, RestoreChecks, VerifyOptions, VerificationVerdict, VerificationReport, verify_full, verify_quick,
    verify::{CheckStatus, could_not_verify, render_markdown},
};
use serde::Serialize;
use shared::plan::Operation;
use shared::{audit::AuditEntry, hints::commands, secret::SecretResolver};
use std::collections::BTreeSet;

/// Earlier dumps whose sizes are compared.
const EARLIER: usize = 7;

/// Verifies what was asked for and shows it.
pub(super) async fn run(session: &Session<'_>, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let secrets = session.secrets();
    let interrupt = &session.edge.interrupt;
    let choosing = Box::pin(choose(session, &secrets, args));
    let items = interrupt.or(session.progress.during("looking at the stores", choosing)).await?;
    let scratches = Scratches::of(session, &secrets, &items, args.full).await;
    let what = if args.full { "restoring for proof" } else { "reading" };
    let work = async {
        let each = items.iter().map(|item| verify(session, &secrets, args, &scratches, item));
        stream::iter(each).buffered(usize::from(args.width.max(1))).collect::<Vec<_>>().await
    };
    let tried = tokio::select! {
        tried = session.progress.during(what, work) => tried,
        () = interrupt.came() => {
            scratches.stop().await;
            return Err(Stop::interrupted(
                format!(
                    "interrupted; the next `{}` drops a temporary database that is left",
                    commands::VERIFY_FULL
                ),
            ));
        }
    };
    scratches.stop().await;
    let (mut all, mut exit) = (Vec::new(), Exit::Well);
    let mut entries = Vec::new();
    let mut heard = Vec::new();
    for (Chosen { item, .. }, tried) in items.iter().zip(tried) {
        match tried {
            Ok(verified) => {
                // What waits for its thaw was not verified, which is neither a proof nor a failure.
                if verified.verdict != VerificationVerdict::Waiting {
                    entries.push(entry(item, &verified));
                }
                heard.extend(telling::verified(session, item, Ok(&verified)));
                all.push(verified);
            }
            Err(e) => {
                heard.extend(telling::verified(session, item, Err(e.to_string())));
                entries.push(recorded::failed(
                    recorded::of(item, action(args.full), ""),
                    e.to_string(),
                ));
                output::tell(&format!("holdfast: {e:#}"));
                exit = exit.max(Exit::of(&e));
            }
        }
    }
    if exit == Exit::Well && all.iter().any(|v| !v.good) {
        exit = worst(&all);
    }
    exit = recorded::record(session, "verify", entries, exit).await;
    Box::pin(telling::tell(session, heard)).await;
    if let Some(path) = &args.markdown {
        // People read it in a terminal too.
        let text = render_markdown(&all);
        std::fs::write(path, &*shared::words::escape_control_chars(&text))
            .with_context(|| format!("write {}", path.display()))?;
    }
    session.output.answer(&All(all))?;
    Ok(exit)
}

/// What verifying is called in the record of operations.
fn action(full: bool) -> (Operation, &'static str) {
    if full { (Operation::Restore, "verify full") } else { (Operation::Check, "verify") }
}

/// A verification as it is recorded, with its proof.
fn entry(item: &Item<'_>, verified: &VerificationReport) -> AuditEntry {
    let entry = AuditEntry {
        seconds: Some(verified.took.iter().map(|t| t.seconds).sum()),
        evidence: Some(recorded::checks(&verified.checks)),
        ..recorded::of(item, action(verified.full), recorded::verdict(&verified.checks))
    };
    match verified.failure_reason() {
        None => entry,
        Some(why) => recorded::failed(entry, why),
    }
}

/// A dump that is to be verified.
pub(crate) struct Chosen<'s> {
    pub(crate) item: Item<'s>,
    /// Stored sizes of those before it, of its database, place and reason, in bytes.
    earlier: Vec<u64>,
}

impl<'s> Chosen<'s> {
    fn of(item: Item<'s>, found: &Found<'s>) -> Self {
        let before = |other: &&Item<'_>| {
            other.database == item.database
                && other.group == item.group
                && other.place == item.place
                && other.good().map(|m| &m.reason) == item.good().map(|m| &m.reason)
                && other.at() < item.at()
        };
        let earlier = found.items.iter().filter(before).take(EARLIER).map(|i| i.backup.size);
        Self { earlier: earlier.collect(), item }
    }
}

/// Which dumps: files by name, or the newest or all of groups and databases.
async fn choose<'s>(
    session: &'s Session<'_>,
    secrets: &SecretResolver<'_>,
    args: &VerifyArgs,
) -> anyhow::Result<Vec<Chosen<'s>>> {
    let mut chosen = Vec::new();
    let named: Vec<Option<&str>> = match args.of.as_slice() {
        [] => vec![None],
        of => of.iter().map(|s| Some(s.as_str())).collect(),
    };
    for of in named {
        let (found, group) = match of {
            Some(of) => find_meant(session, secrets, of).await?,
            None => (find(session, secrets, None).await?, true),
        };
        if let Some(file) = of.filter(|_| !group) {
            chosen.push(Chosen::of(pick(&found, file, group, None)?, &found));
            continue;
        }
        if let Some(gap) = found.gaps.first() {
            return Err(Stop::edge(gap));
        }
        let mut newest = BTreeSet::new();
        for item in &found.items {
            // Of a database, the newest in its first place; with --all, every one in every place.
            let key = (item.group.to_string(), item.database.clone());
            // One of some tables alone proves nothing of the whole.
            let whole = item.good().is_some_and(|m| !m.is_narrowed() || m.table.is_some());
            if args.all || (item.place == 0 && whole && newest.insert(key)) {
                chosen.push(Chosen::of(item.clone(), &found));
            }
        }
    }
    if chosen.is_empty() {
        let list = commands::LIST;
        return Err(anyhow::anyhow!("there is no dump to verify; `{list}` shows what there is"));
    }
    Ok(chosen)
}

async fn verify(
    session: &Session<'_>,
    secrets: &SecretResolver<'_>,
    args: &VerifyArgs,
    scratches: &Scratches,
    Chosen { item, earlier }: &Chosen<'_>,
) -> anyhow::Result<VerificationReport> {
    let opening = BackupKeys::resolve_keys(secrets, item.rules, &args.keys.files).await;
    let opening = opening.map_err(|e| Stop::data(&e))?;
    let csv = item.good().is_some_and(|m| m.format == store::manifest::Format::Csv);
    // What nobody vouches for is read and never run, unless it is meant.
    let stranger = item.good().is_none() && session.policy.signing.is_some();
    if !args.full || csv || stranger {
        return Ok(verify_quick(&item.open.store, &item.backup, &opening).await);
    }
    let scratch = match scratches.get(item) {
        Ok(scratch) => scratch,
        Err(e) => return Ok(could_not_verify(&item.backup, &e)),
    };
    let size_change = item.rules.objectives.size_change.as_ref();
    let trial = VerifyOptions {
        scratch,
        run: &session.edge.run,
        jobs: 2,
        checks: &RestoreChecks::from_policy(item.rules),
        earlier,
        size_change: size_change.map(shared::policy::text::Percentage::fraction),
    };
    let tried = verify_full(&item.open.store, &item.backup, &opening, &trial).await;
    // Nothing is known of it then, which is told like a verdict and is never as good as one.
    Ok(tried.unwrap_or_else(|e| could_not_verify(&item.backup, &e)))
}

/// The exit code of several of which some are not good. One that waits for its thaw hides no other.
fn worst(all: &[VerificationReport]) -> Exit {
    let failed = all.iter().filter(|v| !v.good && v.verdict != VerificationVerdict::Waiting);
    failed.map(broke).max().unwrap_or(Exit::Late)
}

/// The exit code of a dump that is not good.
fn broke(v: &VerificationReport) -> Exit {
    if v.verdict == VerificationVerdict::WithLosses {
        return Exit::Losses; // as a restore of it would end
    }
    (v.checks.iter().filter_map(|c| c.kind))
        .map(|k| match k {
            RestoreErrorKind::Key => Exit::Key,
            RestoreErrorKind::Store => Exit::Blind,
            RestoreErrorKind::Connection | RestoreErrorKind::NoScratch => Exit::NoDatabase,
            RestoreErrorKind::Busy | RestoreErrorKind::Cold => Exit::Late,
            _ => Exit::Failed,
        })
        .max()
        .unwrap_or(Exit::Failed)
}

#[derive(Serialize)]
#[serde(transparent)]
struct All(Vec<VerificationReport>);

impl Answer for All {
    fn text(&self, look: Look) -> String {
        let head = ["backup", "data of", "verdict", "time", "what was seen"];
        let rows = self.0.iter().map(|v| {
            let mut seen: Vec<String> = v.failure_reason().map(|why| plain(&why)).into_iter().collect();
            if seen.is_empty() {
                let good = v.checks.iter().filter(|c| c.went == CheckStatus::Passed);
                seen.extend(good.map(|c| c.name.clone()));
                let untested = v.checks.iter().filter(|c| c.went == CheckStatus::Skipped);
                seen.extend(untested.map(|c| plain(&format!("{}: {}", c.name, c.detail))));
            }
            let seconds = v.took.iter().fold(0.0, |all, t| all + t.seconds);
            vec![
                v.backup.clone(),
                v.data_time.map_or_else(|| NONE.to_owned(), time),
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
        let good = self.0.iter().filter(|v| v.good).count();
        let how = if self.0.iter().any(|v| v.full) { "proven by a restore" } else { "readable" };
        format!("{}\n\n{good} of {} {how}", look.table(&head, rows), self.0.len())
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
            full: false,
            verdict,
            good: verdict == VerificationVerdict::Good,
            checks: Vec::new(),
            losses: Vec::new(),
            took: Vec::new(),
        }
    }

    #[test]
    fn a_dump_that_waits_for_its_thaw_ends_as_a_restore_of_it_would_and_hides_no_failure() {
        use VerificationVerdict::{Bad, Good, Waiting, WithLosses};
        let table = [
            (vec![Good, Waiting], Exit::Late),
            (vec![Waiting, Bad, Good], Exit::Failed),
            (vec![Bad, WithLosses, Waiting], Exit::Losses),
        ];
        for (verdicts, exit) in table {
            let all: Vec<_> = verdicts.iter().copied().map(verified).collect();
            assert_eq!(worst(&all), exit, "{verdicts:?}");
        }
    }
}
