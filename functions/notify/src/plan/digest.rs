//! The day in one message, once a day, also when it is late.

use super::{
    NotifyPlanner,
    routes::by_severity_desc,
    tell::{extend_unique, incident_summary},
};
use crate::{
    message::{MAX_INCIDENTS, MessageKind},
    state::{DigestCounters, NotifyState, TrackedIncident},
};
use jiff::Timestamp;
use shared::{
    plan::Severity,
    policy::{ScheduleConfig, text::Name},
    time::{CronSchedule, format_duration},
};

/// Sends the digest when its time has come since the last one.
pub(super) fn plan_digest(planning: &mut NotifyPlanner<'_>, state: &mut NotifyState) {
    let Some(rule) = &planning.notify.digest else { return };
    let when = ScheduleConfig { cron: rule.cron.clone(), time_zone: rule.time_zone.clone() };
    let schedule = CronSchedule::new(&when, &planning.policy.time_zone);
    let Some(due) = schedule.last_due(planning.now) else { return };
    match state.digest {
        Some(last) if due > last => {}
        // The first look, or a clock that ran ahead: what was due before is nobody's digest.
        None => return state.digest = Some(due),
        Some(last) if last > planning.now => return state.digest = Some(due),
        Some(_) => return,
    }
    state.digest = Some(due);
    let mut open: Vec<TrackedIncident> =
        state.incidents.values().filter(|t| t.is_open()).cloned().collect();
    open.sort_by(by_severity_desc);
    let day = std::mem::take(&mut state.day);
    let severity = open.first().map_or(Severity::Info, |t| t.severity);
    let title = match open.len() {
        0 => "all is well".into(),
        1 => "1 problem is open".into(),
        n => format!("{n} problems are open"),
    };
    let mut message = planning.new_message(MessageKind::Digest, severity, &title);
    message.lines = digest_lines(planning, state, &day, planning.now);
    message.incidents =
        open.iter().take(MAX_INCIDENTS).map(|t| incident_summary(planning, state, t)).collect();
    message.omitted = open.len().saturating_sub(MAX_INCIDENTS);
    message.backups = day.newest.into_iter().collect();
    let to = digest_channels(planning, &rule.to);
    for channel in &to {
        planning.emit(
            state,
            channel,
            NotifyPlanner::fallback_channels(&to, channel),
            message.clone(),
        );
    }
}

/// The channels: those that the policy names, else those that hear of every group, else all.
pub(super) fn digest_channels(planning: &NotifyPlanner<'_>, named: &[Name]) -> Vec<Name> {
    let mut to = Vec::new();
    extend_unique(&mut to, named.to_vec());
    if to.is_empty() {
        for route in planning.notify.routes.iter().filter(|r| r.of.is_empty()) {
            extend_unique(&mut to, route.to.clone());
        }
    }
    if to.is_empty() {
        to = planning.notify.channels.keys().cloned().collect();
    }
    to
}

fn digest_lines(
    planning: &NotifyPlanner<'_>,
    state: &NotifyState,
    day: &DigestCounters,
    now: Timestamp,
) -> Vec<String> {
    let mut lines = vec![format!(
        "since the last digest: {} problems opened, {} resolved, {} backups made ({:.1} GB where the size is known)",
        day.opened,
        day.resolved,
        day.backups_made,
        to_gigabytes(day.bytes),
    )];
    let late = |n: &&crate::state::LatestAssetPoint| match (n.data, n.max_age_seconds) {
        (Some(data), Some(most)) => now.duration_since(data).as_secs() > most,
        (None, Some(_)) => true,
        _ => false,
    };
    if !state.assets.is_empty() {
        let late = state.assets.values().filter(late).count();
        lines.push(format!(
            "{} assets are watched, {late} without a recent enough backup",
            state.assets.len()
        ));
    }
    for (function, _) in planning.notify.expected_reports() {
        let said = match state.sources.get(function.as_str()) {
            Some(s) => {
                format!(
                    "{function} was last heard of {} ago",
                    format_duration(now.duration_since(s.last_heard_at))
                )
            }
            None => format!("{function} was never heard of"),
        };
        lines.push(said);
    }
    let beyond: usize = state.untracked.values().sum();
    if beyond > 0 {
        lines.push(format!("{beyond} more problems than can be followed one by one"));
    }
    if day.failed_attempts > 0 {
        lines.push(format!("{} tries to deliver a message failed", day.failed_attempts));
    }
    if day.dropped > 0 {
        lines.push(format!("{} messages could not be delivered in a day:", day.dropped));
        lines.extend(day.dropped_titles.iter().cloned());
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn to_gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}
