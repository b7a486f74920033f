//! The storage report: sent once for each time that the policy's schedule names, also when the run that carries it is late.

use super::{Planning, digest};
use crate::{
    heard::Run,
    message::Kind,
    state::{State, clip},
};
use jiff::Timestamp;
use shared::{plan::Severity, policy::ScheduleConfig, time::CronSchedule};

/// The finding that carries it.
const REPORT: &str = "storage-report";

/// Sends the storage report that a run carries, if it is due and was not sent.
pub(super) fn hear(planning: &mut Planning<'_>, state: &mut State, run: &Run, at: Timestamp) {
    let Some(found) = run.findings.iter().find(|f| f.what == REPORT) else { return };
    let Some(cron) = planning.policy.costs.as_ref().and_then(|c| c.report.clone()) else { return };
    let schedule = CronSchedule::new(&ScheduleConfig { cron, time_zone: None }, &planning.policy.time_zone);
    let Some(due) = schedule.last_due(at) else { return };
    // A memory that begins anew may repeat one: twice is better than never.
    if state.storage_report.is_some_and(|last| last >= due && last <= planning.now) {
        return;
    }
    state.storage_report = Some(due);
    let title = format!("storage of {}", due.strftime("%Y-%m-%d"));
    let mut message = planning.message(Kind::StorageReport, Severity::Info, &title);
    message.lines = found.why.lines().map(|line| clip(line, 500)).collect();
    let named = planning.notify.digest.as_ref().map(|d| d.to.clone()).unwrap_or_default();
    let to = digest::to(planning, &named);
    for channel in &to {
        planning.say(state, channel, Planning::others(&to, channel), message.clone());
    }
}
