//! The day in one message, once a day, also when it is late.

use super::{
    Planning,
    routes::worst_first,
    tell::{add, incident},
};
use crate::{
    message::{Kind, MOST},
    state::{Day, State, Tracked},
};
use jiff::Timestamp;
use shared::{
    plan::Severity,
    policy::{ScheduleConfig, text::Name},
    time::{CronSchedule, format_duration},
};

/// Sends the digest when its time has come since the last one.
pub(super) fn digest(planning: &mut Planning<'_>, state: &mut State) {
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
    let mut open: Vec<Tracked> = state.incidents.values().filter(|t| t.open()).cloned().collect();
    open.sort_by(worst_first);
    let day = std::mem::take(&mut state.day);
    let severity = open.first().map_or(Severity::Info, |t| t.severity);
    let title = match open.len() {
        0 => "all is well".into(),
        1 => "1 problem is open".into(),
        n => format!("{n} problems are open"),
    };
    let mut message = planning.message(Kind::Digest, severity, &title);
    message.lines = lines(planning, state, &day, planning.now);
    message.incidents = open.iter().take(MOST).map(|t| incident(planning, state, t)).collect();
    message.more = open.len().saturating_sub(MOST);
    message.made = day.newest.into_iter().collect();
    let to = to(planning, &rule.to);
    for channel in &to {
        planning.say(state, channel, Planning::others(&to, channel), message.clone());
    }
}

/// The channels: those that the policy names, else those that hear of every group, else all.
pub(super) fn to(planning: &Planning<'_>, named: &[Name]) -> Vec<Name> {
    let mut to = Vec::new();
    add(&mut to, named.to_vec());
    if to.is_empty() {
        for route in planning.notify.routes.iter().filter(|r| r.of.is_empty()) {
            add(&mut to, route.to.clone());
        }
    }
    if to.is_empty() {
        to = planning.notify.channels.keys().cloned().collect();
    }
    to
}

fn lines(planning: &Planning<'_>, state: &State, day: &Day, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!(
        "since the last digest: {} problems opened, {} resolved, {} backups made ({:.1} GB where the size is known)",
        day.opened,
        day.resolved,
        day.made,
        gigabytes(day.bytes),
    )];
    let late = |n: &&crate::state::Newest| match (n.data, n.max_age_seconds) {
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
                format!("{function} was last heard of {} ago", format_duration(now.duration_since(s.heard)))
            }
            None => format!("{function} was never heard of"),
        };
        lines.push(said);
    }
    let beyond: usize = state.beyond.values().sum();
    if beyond > 0 {
        lines.push(format!("{beyond} more problems than can be followed one by one"));
    }
    if day.failed_tries > 0 {
        lines.push(format!("{} tries to deliver a message failed", day.failed_tries));
    }
    if day.lost > 0 {
        lines.push(format!("{} messages could not be delivered in a day:", day.lost));
        lines.extend(day.lost_titles.iter().cloned());
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}
