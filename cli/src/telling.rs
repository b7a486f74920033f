//! Telling people: what a command did is heard by notify in the same process, where a state is named to remember it in.

use crate::{backups::LocatedBackup, output, session::CommandContext};
use jiff::Timestamp;
use notify::{
    NotifyContext,
    heard::{NotificationEvent, RestoreEvent, RestoreStage, VerificationEvent},
    keep::StateStore,
    message::BackupInfo,
};
use restore::restore::RestoreReport as Restored;
use shared::{
    plan::{Finding, FindingCode, Severity},
    report::RunReport,
};
use std::{cell::Cell, convert::Infallible, time::Duration};

/// How often a recovery gives a sign of life; the policy says how often people hear of it.
const HEARTBEAT_INTERVAL: Duration = Duration::from_mins(1);

/// What is said where people should hear of something, and nobody can.
const NO_STATE_MESSAGE: &str = "the policy has notify, and notify remembers what it told in a place that nothing names: nobody is told";
const NO_STATE_HINT: &str =
    "name it with --state or HOLDFAST_STATE: s3://BUCKET/PREFIX or a directory";

/// That nobody is told: the policy has `notify`, and this host, the only one that could tell, has no place to remember it
/// in. With a home, the Lambda `notify` hears of the functions there.
pub(crate) fn missing_state_finding(session: &CommandContext<'_>) -> Option<Finding> {
    let silent = session.policy.notify.is_some() && session.notify_state.is_none();
    let alone = session.policy.home.is_none();
    (silent && alone).then(|| {
        Finding::new(
            Severity::Critical,
            "notify",
            FindingCode::NoNotifyState,
            NO_STATE_MESSAGE,
            NO_STATE_HINT,
        )
    })
}

/// Lets notify hear of something. What can't be told is said here, and changes nothing of how the command ends.
pub(crate) async fn notify_events(session: &CommandContext<'_>, heard: Vec<NotificationEvent>) {
    if session.policy.notify.is_none() {
        return;
    }
    let Some(at) = session.notify_state.as_deref() else {
        // Where reports go to a topic, notify hears of them there.
        if !session.has_reports_topic() {
            output::print_stderr(&format!("holdfast: {NO_STATE_MESSAGE}; {NO_STATE_HINT}"));
        }
        return;
    };
    let told = async {
        let keep = StateStore::new(at, &session.aws, &session.policy)?;
        let ground = NotifyContext {
            aws: &session.aws,
            policy: &session.policy,
            state_store: &keep,
            now: current_time(session),
        };
        Box::pin(notify::process_events(&ground, &heard)).await
    };
    match Box::pin(told).await {
        Ok(looked) => {
            for (channel, why) in looked.errors {
                output::print_stderr(&format!("holdfast: {channel} could not be told: {why}"));
            }
        }
        Err(e) => output::print_stderr(&format!(
            "holdfast: nobody could be told: {}",
            e.to_line_with_hint()
        )),
    }
}

/// Lets notify hear of runs. A dry run is no news.
pub(crate) async fn notify_runs(session: &CommandContext<'_>, reports: &[&RunReport]) {
    if reports.iter().all(|r| r.dry_run) {
        return;
    }
    notify_events(
        session,
        reports.iter().map(|r| NotificationEvent::Report(Box::new((*r).into()))).collect(),
    )
    .await;
}

/// Now, as far as the command has come.
fn current_time(session: &CommandContext<'_>) -> Timestamp {
    session.env.now.checked_add(session.started_at.elapsed()).unwrap_or(session.env.now)
}

/// A dump that was verified, or could not be; none of one that lies in an archive: waiting for it is no failure, and no proof.
pub(crate) fn verification_event(
    session: &CommandContext<'_>,
    item: &LocatedBackup<'_>,
    ended: Result<&restore::VerificationReport, String>,
) -> Option<NotificationEvent> {
    if ended.as_ref().is_ok_and(|v| v.verdict == restore::VerificationVerdict::Waiting) {
        return None;
    }
    let (fault, seconds, rows) = match ended {
        Err(why) => (Some(why), None, None),
        Ok(v) => {
            let fault = v.failure_reason();
            // The rows that were counted are those of the commit record, or a check has failed.
            let counted = item.committed_manifest().filter(|_| v.restored && v.is_good);
            let rows = counted.map(storage::BackupManifest::row_count);
            (fault, Some(v.durations.iter().map(|t| t.seconds).sum()), rows)
        }
    };
    let hint = shared::hints::commands::list(&format!("{}/{}", item.group, item.database));
    let made = BackupInfo { seconds, rows, ..backup_info(item) };
    let (id, at) = (session.env.run_id.clone(), current_time(session));
    Some(NotificationEvent::Verification(VerificationEvent { id, backup: made, fault, hint, at }))
}

fn backup_info(item: &LocatedBackup<'_>) -> BackupInfo {
    BackupInfo {
        asset: format!("{}/{}", item.group, item.database),
        name: item.backup.key.clone(),
        location: item.location.store.address(),
        bytes: Some(item.backup.size),
        seconds: None,
        rows: None,
    }
}

/// A recovery that people hear of while it runs.
pub(crate) struct RestoreNotifier<'r> {
    session: &'r CommandContext<'r>,
    backup: BackupInfo,
    phase: Cell<&'static str>,
}

impl<'r> RestoreNotifier<'r> {
    /// A recovery from a dump, which is not told yet.
    pub(crate) fn for_backup(session: &'r CommandContext<'r>, item: &LocatedBackup<'_>) -> Self {
        Self { session, backup: backup_info(item), phase: Cell::new("starting") }
    }

    /// It begins, into this database.
    pub(crate) async fn notify_started(&self, target: &str) {
        let at = self.session.env.now;
        let what = format!("{} in {} into {target}", self.backup.name, self.backup.location);
        self.notify_stage(RestoreStage::Started(what), at).await;
    }

    /// It is at a phase.
    pub(crate) fn set_phase(&self, phase: &'static str) {
        self.phase.set(phase);
    }

    /// Gives signs of life for as long as it is waited for.
    pub(crate) async fn send_heartbeats(&self) -> Infallible {
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            self.notify_stage(
                RestoreStage::Phase(self.phase.get().to_owned()),
                current_time(self.session),
            )
            .await;
        }
    }

    /// It can't go on before the store has brought the dump back from its archive; somebody begins it again then.
    pub(crate) async fn notify_waiting(&self, why: &str) {
        self.notify_stage(RestoreStage::Waiting(why.to_owned()), current_time(self.session)).await;
    }

    /// It ended.
    pub(crate) async fn notify_ended(&self, ended: Result<&Restored, String>) {
        let (well, lines, seconds) = match ended {
            Err(why) => (false, vec![why], None),
            Ok(report) => {
                let seconds = report.durations.iter().map(|t| t.seconds).sum();
                (report.warnings.is_empty(), report_lines(report), Some(seconds))
            }
        };
        let made = Some(BackupInfo { seconds, ..self.backup.clone() });
        self.notify_stage(
            RestoreStage::Ended { succeeded: well, lines, backup: made },
            current_time(self.session),
        )
        .await;
    }

    async fn notify_stage(&self, stage: RestoreStage, at: Timestamp) {
        let (id, asset) = (self.session.env.run_id.clone(), self.backup.asset.clone());
        notify_events(
            self.session,
            vec![NotificationEvent::Restore(RestoreEvent { id, asset, stage, at })],
        )
        .await;
    }
}

/// The report of a recovery, line by line.
fn report_lines(report: &Restored) -> Vec<String> {
    let mut lines = vec![format!("{} is restored from {}", report.database, report.backup)];
    lines.extend(report.checks.iter().map(|c| format!("{}: {}", c.name, c.detail)));
    lines.extend(report.durations.iter().map(|t| format!("{}: {:.1} s", t.phase, t.seconds)));
    if let Some(aside) = &report.previous_database {
        lines.push(format!("the old database is {aside}"));
    }
    lines.push(match report.warnings.len() {
        0 => "nothing was lost".into(),
        n => format!("{n} things were lost"),
    });
    lines.extend(report.warnings.iter().take(20).map(|l| l.message.clone()));
    lines
}
