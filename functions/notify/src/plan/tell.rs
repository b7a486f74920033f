//! Changes become messages: opened or worse, still open, fixed; and what was made.

use super::{
    ByChannel, NotifyPlanner,
    hear::ALARM,
    routes::{
        by_severity_desc, channels_for_event, channels_for_incident, matches_group,
        meets_min_severity,
    },
};
use crate::{
    message::{BackupInfo, DataAtRisk, IncidentSummary, MAX_INCIDENTS, MessageKind},
    state::{NotifyState, TrackedIncident},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::Severity,
    policy::{
        Policy, StoreConfig,
        notify::{EscalationStep, MinSeverity, NotifyEventKind},
        text::Name,
    },
    time::format_duration,
};

/// How long an alarm that said the same as an incident may ring on after it: two of its periods, and CloudWatch's delay.
const INHIBITION_WINDOW: SignedDuration = SignedDuration::from_mins(45);
/// From this flap on, a problem must stay away before it counts as fixed.
const FLAP_THRESHOLD: u32 = 2;

/// What one channel is told now.
#[derive(Default)]
struct ChannelUpdates {
    opened: Vec<TrackedIncident>,
    undelivered: Vec<TrackedIncident>,
    still: Vec<TrackedIncident>,
    resolved: Vec<TrackedIncident>,
    others: Vec<Name>,
}

/// Makes messages of all that changed.
pub(super) fn plan_messages(planning: &mut NotifyPlanner<'_>, state: &mut NotifyState) {
    let mut news: ByChannel<ChannelUpdates> = ByChannel::new();
    resolve_incidents(planning, state, &mut news);
    suppress_duplicate_alarms(planning, state);
    for t in state.incidents.values_mut() {
        if t.resolved_at.is_some() || t.cleared_at.is_some() || is_suppressed(planning, t) {
            continue;
        }
        plan_opened(planning, t, &mut news);
        plan_escalation(planning, t, &mut news);
    }
    for (channel, news) in news {
        emit_channel_messages(planning, state, &channel, news);
    }
    plan_success_messages(planning, state);
}

/// What nobody says any more counts as fixed: at once, or after a while when it comes and goes.
fn resolve_incidents(
    planning: &NotifyPlanner<'_>,
    state: &mut NotifyState,
    news: &mut ByChannel<ChannelUpdates>,
) {
    let (now, hold) = (planning.now, planning.flap_window);
    for t in state.incidents.values_mut() {
        let Some(gone) = t.cleared_at.filter(|_| t.resolved_at.is_none()) else { continue };
        if t.flaps >= FLAP_THRESHOLD && now.duration_since(gone) < hold {
            continue;
        }
        t.resolved_at = Some(now);
        state.day.resolved += 1;
        for channel in std::mem::take(&mut t.notified).into_keys() {
            news.entry(channel).or_default().resolved.push(t.clone());
        }
    }
    state.incidents.retain(|_, t| t.resolved_at.is_none_or(|c| now.duration_since(c) < hold));
}

/// Notes of each alarm whether another incident says the same: of its group, and no less bad.
fn suppress_duplicate_alarms(planning: &NotifyPlanner<'_>, state: &mut NotifyState) {
    let said: Vec<(Option<String>, Severity)> = state
        .incidents
        .values()
        .filter(|t| t.code != ALARM && t.cleared_at.is_none() && t.resolved_at.is_none())
        .filter(|t| !t.notified.is_empty() || !channels_for_incident(planning, t).is_empty())
        .map(|t| (t.group.clone(), t.severity))
        .collect();
    // Of an alarm that is not the policy's, such as one on a function that is silent, nothing else says the same.
    let ours =
        |t: &&mut TrackedIncident| t.code == ALARM && planning.policy.alarms.contains_key(&t.asset);
    for t in state.incidents.values_mut().filter(ours).filter(|t| t.notified.is_empty()) {
        let same = |(group, severity): &(Option<String>, Severity)| {
            *severity >= t.severity && group.is_some() && (t.group.is_none() || t.group == *group)
        };
        if said.iter().any(same) {
            t.inhibited_at = Some(planning.now);
        }
    }
}

/// Whether an alarm is not told because another incident says the same, or did a moment ago.
fn is_suppressed(planning: &NotifyPlanner<'_>, t: &TrackedIncident) -> bool {
    let a_moment = |c: Timestamp| planning.now.duration_since(c) < INHIBITION_WINDOW;
    t.code == ALARM && t.notified.is_empty() && t.inhibited_at.is_some_and(a_moment)
}

fn plan_opened(
    planning: &NotifyPlanner<'_>,
    t: &mut TrackedIncident,
    news: &mut ByChannel<ChannelUpdates>,
) {
    let to = channels_for_incident(planning, t);
    for channel in &to {
        if t.notified.get(channel).is_some_and(|told| *told >= t.severity) {
            continue;
        }
        t.notified.insert(channel.clone(), t.severity);
        let news = news.entry(channel.clone()).or_default();
        let list =
            if t.asset.starts_with("notify/") { &mut news.undelivered } else { &mut news.opened };
        list.push(t.clone());
        extend_unique(&mut news.others, NotifyPlanner::fallback_channels(&to, channel));
    }
}

fn plan_escalation(
    planning: &NotifyPlanner<'_>,
    t: &mut TrackedIncident,
    news: &mut ByChannel<ChannelUpdates>,
) {
    let age = planning.now.duration_since(t.severity_since);
    let steps = &planning.notify.escalation;
    let reached = steps.iter().take_while(|s| s.after.duration() <= age).count();
    let before = t.step as usize;
    if reached <= before {
        return;
    }
    t.step = u32::try_from(reached).unwrap_or(u32::MAX);
    let fits = |s: &&EscalationStep| {
        meets_min_severity(s.severity.unwrap_or(MinSeverity::Critical), t.severity)
            && matches_group(&s.of, t.group.as_deref())
    };
    let mut to: Vec<Name> = Vec::new();
    extend_unique(
        &mut to,
        steps[before..reached].iter().filter(fits).flat_map(|s| s.to.clone()).collect(),
    );
    to.retain(|c| t.asset.strip_prefix("notify/") != Some(c.as_str()));
    for channel in &to {
        let news = news.entry(channel.clone()).or_default();
        if news.opened.iter().chain(&news.undelivered).any(|o| o.key == t.key) {
            continue;
        }
        t.notified.insert(channel.clone(), t.severity);
        news.still.push(t.clone());
        extend_unique(&mut news.others, NotifyPlanner::fallback_channels(&to, channel));
    }
}

/// Adds names that are not there yet.
pub(super) fn extend_unique(to: &mut Vec<Name>, more: Vec<Name>) {
    for name in more {
        if !to.contains(&name) {
            to.push(name);
        }
    }
}

/// The messages for one channel: what is fixed first, so that what is wrong is read last.
fn emit_channel_messages(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    channel: &Name,
    news: ChannelUpdates,
) {
    let ChannelUpdates { opened, undelivered, still, resolved, others } = news;
    // A service that counts incidents one by one must hear of each that ends.
    let pages = planning.notify.channels.get(channel).is_some_and(|c| c.pagerduty.is_some());
    let each = if pages { MAX_INCIDENTS } else { usize::MAX };
    let mut resolved = resolved;
    resolved.sort_by(by_severity_desc);
    let resolved = resolved
        .chunks(each.min(resolved.len().max(1)))
        .map(|c| (MessageKind::Resolved, c.to_vec()));
    let mut lists: Vec<(MessageKind, Vec<TrackedIncident>)> = resolved.collect();
    lists.extend([
        (MessageKind::StillOpen, still),
        (MessageKind::Undelivered, undelivered),
        (MessageKind::Opened, opened),
    ]);
    for (kind, mut list) in lists.into_iter().filter(|(_, l)| !l.is_empty()) {
        list.sort_by(by_severity_desc);
        let worst = list[0].severity;
        let mut message =
            planning.new_message(kind, worst, &message_title(kind, &list, planning.now));
        message.incidents =
            list.iter().take(MAX_INCIDENTS).map(|t| incident_summary(planning, state, t)).collect();
        message.omitted = list.len().saturating_sub(MAX_INCIDENTS);
        message.backups =
            list.iter().filter_map(|t| t.backup.clone()).take(MAX_INCIDENTS).collect();
        planning.emit(state, channel, others.clone(), message);
    }
}

/// One line: how bad, how many, what the worst is.
fn message_title(kind: MessageKind, list: &[TrackedIncident], now: Timestamp) -> String {
    let worst = &list[0];
    let first = format!("{}: {}", worst.asset, worst.code);
    let more = list.len() - 1;
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    let lasted =
        |t: &TrackedIncident| format_duration(t.cleared_at.unwrap_or(now).duration_since(t.since));
    match kind {
        MessageKind::Resolved => format!("resolved after {}: {first}{rest}", lasted(worst)),
        MessageKind::StillOpen => format!("still open after {}: {first}{rest}", lasted(worst)),
        MessageKind::Undelivered => {
            let channel = worst.asset.trim_start_matches("notify/");
            format!("the channel {channel} can't be reached{rest}")
        }
        _ => format!("{}: {first}{rest}", worst.severity),
    }
}

/// An incident as it is told.
pub(super) fn incident_summary(
    planning: &NotifyPlanner<'_>,
    state: &NotifyState,
    t: &TrackedIncident,
) -> IncidentSummary {
    IncidentSummary {
        key: t.key.clone(),
        asset: t.asset.clone(),
        group: t.group.clone(),
        code: t.code.clone(),
        severity: t.severity,
        message: t.message.clone(),
        hint: t.hint.clone(),
        since: t.since,
        until: t.cleared_at,
        at_risk: data_at_risk(planning, state, t),
        step: t.step,
    }
}

/// What could be lost: the age of the newest good point against what the policy allows, and where that point is.
fn data_at_risk(
    planning: &NotifyPlanner<'_>,
    state: &NotifyState,
    t: &TrackedIncident,
) -> Option<DataAtRisk> {
    let newest = state.assets.get(&t.asset)?;
    let age = newest.data.map(|data| planning.now.duration_since(data).as_secs());
    newest.newest.as_ref()?;
    Some(DataAtRisk {
        newest: newest.newest.clone(),
        age_seconds: age,
        max_age_seconds: newest.max_age_seconds,
        location: backup_location(planning.policy, &newest.group),
    })
}

/// Where the points of a group are.
fn backup_location(policy: &Policy, group: &str) -> Option<String> {
    let group: Name = group.parse().ok()?;
    let stored = |s: &StoreConfig| {
        let azure = || s.azure.as_ref().map(|a| format!("azure://{}/{}/", a.account, a.container));
        let base = s.directory.clone().map(|d| format!("{}/", d.trim_end_matches('/')));
        let base =
            base.or_else(|| s.bucket.as_ref().map(|b| format!("s3://{b}/"))).or_else(azure)?;
        Some(format!("{base}{}", s.prefix))
    };
    if policy.databases.contains_key(&group) {
        return Some(format!("RDS in {}", policy.home_or_placeholder().region));
    }
    let store = policy.postgres.get(&group).map(|g| &g.storage);
    let store = store.or_else(|| policy.redis.get(&group).map(|g| &g.storage));
    let store = store.or_else(|| policy.kubernetes.get(&group).map(|g| &g.storage));
    let store = store.or_else(|| policy.files.get(&group).map(|g| &g.storage));
    store.and_then(stored)
}

/// Tells of what was made and verified, where the policy asks for it.
fn plan_success_messages(planning: &mut NotifyPlanner<'_>, state: &mut NotifyState) {
    let made = std::mem::take(&mut planning.new_backups);
    let mut news: ByChannel<(Vec<BackupInfo>, Vec<Name>, bool)> = ByChannel::new();
    for (made, group, on) in made {
        if on == NotifyEventKind::Success {
            count_backup(state, &made);
        }
        let to = channels_for_event(planning, on, group.as_deref());
        for channel in &to {
            let (list, others, verified) = news.entry(channel.clone()).or_default();
            list.push(made.clone());
            *verified |= on == NotifyEventKind::Verification;
            extend_unique(others, NotifyPlanner::fallback_channels(&to, channel));
        }
    }
    for (channel, (made, others, verified)) in news {
        let what = if verified { "verified" } else { "made" };
        let first = &made[0];
        let title = match made.len() {
            1 => format!("{what} {} of {}", first.name, first.asset),
            n => {
                format!("{what} {n} backups: {} of {} and {} more", first.name, first.asset, n - 1)
            }
        };
        let mut message = planning.new_message(MessageKind::Success, Severity::Info, &title);
        message.omitted = made.len().saturating_sub(MAX_INCIDENTS);
        message.backups = made.into_iter().take(MAX_INCIDENTS).collect();
        planning.emit(state, &channel, others, message);
    }
}

fn count_backup(state: &mut NotifyState, made: &BackupInfo) {
    let day = &mut state.day;
    day.backups_made += 1;
    day.bytes = day.bytes.saturating_add(made.bytes.unwrap_or(0));
    day.newest.push_back(made.clone());
    while day.newest.len() > MAX_INCIDENTS {
        day.newest.pop_front();
    }
}
