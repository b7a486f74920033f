//! Telling people: what a command did is heard by notify in the same process, where a state is named to remember it in.

use crate::{backups::Item, output, session::Session};
use jiff::Timestamp;
use notify::{
    Ground,
    heard::{Heard, RecoveryNews, Stage, Verified},
    keep::Keep,
    message::Made,
};
use restore::restore::RestoreReport as Restored;
use shared::{
    plan::{Finding, Severity},
    report::RunReport,
};
use std::{cell::Cell, convert::Infallible, time::Duration};

/// How often a recovery gives a sign of life; the policy says how often people hear of it.
const SIGN_OF_LIFE: Duration = Duration::from_mins(1);

/// What is said where people should hear of something, and nobody can.
const NO_STATE: &str = "the policy has notify, and notify remembers what it told in a place that nothing names: nobody is told";
const NAME_STATE: &str =
    "name it with --state or HOLDFAST_STATE: s3://BUCKET/PREFIX or a directory";

/// That nobody is told: the policy has `notify`, and this host, the only one that could tell, has no place to remember it
/// in. With a home, the Lambda `notify` hears of the functions there.
pub(crate) fn untold(session: &Session<'_>) -> Option<Finding> {
    let silent = session.policy.notify.is_some() && session.state.is_none();
    let alone = session.policy.home.is_none();
    (silent && alone)
        .then(|| Finding::new(Severity::Critical, "notify", "no-state", NO_STATE, NAME_STATE))
}

/// Lets notify hear of something. What can't be told is said here, and changes nothing of how the command ends.
pub(crate) async fn tell(session: &Session<'_>, heard: Vec<Heard>) {
    if session.policy.notify.is_none() {
        return;
    }
    let Some(at) = session.state.as_deref() else {
        // Where reports go to a topic, notify hears of them there.
        if !session.reported() {
            output::tell(&format!("holdfast: {NO_STATE}; {NAME_STATE}"));
        }
        return;
    };
    let told = async {
        let keep = Keep::new(at, &session.aws, &session.policy)?;
        let ground =
            Ground { aws: &session.aws, policy: &session.policy, keep: &keep, now: now(session) };
        Box::pin(notify::look(&ground, &heard)).await
    };
    match Box::pin(told).await {
        Ok(looked) => {
            for (channel, why) in looked.refused {
                output::tell(&format!("holdfast: {channel} could not be told: {why}"));
            }
        }
        Err(e) => output::tell(&format!("holdfast: nobody could be told: {}", e.to_line_with_hint())),
    }
}

/// Lets notify hear of runs. A dry run is no news.
pub(crate) async fn tell_runs(session: &Session<'_>, reports: &[&RunReport]) {
    if reports.iter().all(|r| r.dry_run) {
        return;
    }
    tell(session, reports.iter().map(|r| Heard::Run(Box::new((*r).into()))).collect()).await;
}

/// Now, as far as the command has come.
fn now(session: &Session<'_>) -> Timestamp {
    session.edge.now.checked_add(session.began.elapsed()).unwrap_or(session.edge.now)
}

/// A dump that was verified, or could not be; none of one that lies in an archive: waiting for it is no failure, and no proof.
pub(crate) fn verified(
    session: &Session<'_>,
    item: &Item<'_>,
    ended: Result<&restore::VerificationReport, String>,
) -> Option<Heard> {
    if ended.as_ref().is_ok_and(|v| v.verdict == restore::VerificationVerdict::Waiting) {
        return None;
    }
    let (fault, seconds, rows) = match ended {
        Err(why) => (Some(why), None, None),
        Ok(v) => {
            let fault = v.failure_reason();
            // The rows that were counted are those of the commit record, or a check has failed.
            let counted = item.good().filter(|_| v.full && v.good);
            let rows = counted.map(|m| m.tables.iter().map(|t| t.rows).sum());
            (fault, Some(v.took.iter().map(|t| t.seconds).sum()), rows)
        }
    };
    let mend = shared::hints::commands::list(&format!("{}/{}", item.group, item.database));
    let made = Made { seconds, rows, ..made(item) };
    let (id, at) = (session.edge.run.clone(), now(session));
    Some(Heard::Verified(Verified { id, made, fault, mend, at }))
}

fn made(item: &Item<'_>) -> Made {
    Made {
        asset: format!("{}/{}", item.group, item.database),
        what: item.backup.key.clone(),
        place: item.open.store.address(),
        bytes: Some(item.backup.size),
        seconds: None,
        rows: None,
    }
}

/// A recovery that people hear of while it runs.
pub(crate) struct Recovery<'r> {
    session: &'r Session<'r>,
    made: Made,
    phase: Cell<&'static str>,
}

impl<'r> Recovery<'r> {
    /// A recovery from a dump, which is not told yet.
    pub(crate) fn of(session: &'r Session<'r>, item: &Item<'_>) -> Self {
        Self { session, made: made(item), phase: Cell::new("starting") }
    }

    /// It begins, into this database.
    pub(crate) async fn started(&self, target: &str) {
        let at = self.session.edge.now;
        let what = format!("{} in {} into {target}", self.made.what, self.made.place);
        self.tell(Stage::Started(what), at).await;
    }

    /// It is at a phase.
    pub(crate) fn at(&self, phase: &'static str) {
        self.phase.set(phase);
    }

    /// Gives signs of life for as long as it is waited for.
    pub(crate) async fn signs_of_life(&self) -> Infallible {
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            self.tell(Stage::At(self.phase.get().to_owned()), now(self.session)).await;
        }
    }

    /// It can't go on before the store has brought the dump back from its archive; somebody begins it again then.
    pub(crate) async fn waits(&self, why: &str) {
        self.tell(Stage::Waits(why.to_owned()), now(self.session)).await;
    }

    /// It ended.
    pub(crate) async fn ended(&self, ended: Result<&Restored, String>) {
        let (well, lines, seconds) = match ended {
            Err(why) => (false, vec![why], None),
            Ok(report) => {
                let seconds = report.took.iter().map(|t| t.seconds).sum();
                (report.losses.is_empty(), lines(report), Some(seconds))
            }
        };
        let made = Some(Made { seconds, ..self.made.clone() });
        self.tell(Stage::Ended { well, lines, made }, now(self.session)).await;
    }

    async fn tell(&self, stage: Stage, at: Timestamp) {
        let (id, asset) = (self.session.edge.run.clone(), self.made.asset.clone());
        tell(self.session, vec![Heard::Recovery(RecoveryNews { id, asset, stage, at })]).await;
    }
}

/// The report of a recovery, line by line.
fn lines(report: &Restored) -> Vec<String> {
    let mut lines = vec![format!("{} is restored from {}", report.database, report.backup)];
    lines.extend(report.checks.iter().map(|c| format!("{}: {}", c.name, c.detail)));
    lines.extend(report.took.iter().map(|t| format!("{}: {:.1} s", t.phase, t.seconds)));
    if let Some(aside) = &report.aside {
        lines.push(format!("the old database is {aside}"));
    }
    lines.push(match report.losses.len() {
        0 => "nothing was lost".into(),
        n => format!("{n} things were lost"),
    });
    lines.extend(report.losses.iter().take(20).map(|l| l.message.clone()));
    lines
}
