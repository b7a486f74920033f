//! The storage report: sent once for each time that the policy's schedule names, also when the run that carries it is late.

use super::{NotifyPlanner, digest};
use crate::{
    heard::ReportedRun,
    message::MessageKind,
    state::{NotifyState, truncate_chars},
};
use jiff::Timestamp;
use shared::{
    plan::{FindingCode, Severity},
    policy::ScheduleConfig,
    time::CronSchedule,
};

/// The finding that carries it.
const STORAGE_REPORT: &str = FindingCode::StorageReport.as_str();

/// Sends the storage report that a run carries, if it is due and was not sent.
pub(super) fn plan_storage_report(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    run: &ReportedRun,
    at: Timestamp,
) {
    let Some(found) = run.findings.iter().find(|f| f.code == STORAGE_REPORT) else { return };
    let Some(cron) = planning.policy.costs.as_ref().and_then(|c| c.report.clone()) else { return };
    let schedule =
        CronSchedule::new(&ScheduleConfig { cron, time_zone: None }, &planning.policy.time_zone);
    let Some(due) = schedule.last_due(at) else { return };
    // A memory that begins anew may repeat one: twice is better than never.
    if state.storage_report.is_some_and(|last| last >= due && last <= planning.now) {
        return;
    }
    state.storage_report = Some(due);
    let title = format!("storage of {}", due.strftime("%Y-%m-%d"));
    let mut message = planning.new_message(MessageKind::StorageReport, Severity::Info, &title);
    message.lines = found.message.lines().map(|line| truncate_chars(line, 500)).collect();
    let named = planning.notify.digest.as_ref().map(|d| d.to.clone()).unwrap_or_default();
    let to = digest::digest_channels(planning, &named);
    for channel in &to {
        planning.emit(
            state,
            channel,
            NotifyPlanner::fallback_channels(&to, channel),
            message.clone(),
        );
    }
}
