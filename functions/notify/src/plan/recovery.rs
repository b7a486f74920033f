//! Recoveries: begun, under way, ended; and one whose report stays away.

use super::{
    NOTIFY, NotifyPlanner, clear_incident,
    hear::{group_of, incident_id},
    open_or_update_incident,
    routes::{accepts_event, channels_for_event},
    tell::extend_unique,
};
use crate::{
    heard::{DetectedProblem, RestoreEvent, RestoreStage},
    message::{BackupInfo, ChannelMessage, MessageKind},
    state::{ActiveRestore, NotifyState, truncate_chars},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::{FindingCode, Severity},
    policy::{
        notify::{MinSeverity, NotifyEventKind, RestoreNotifications},
        text::{Name, Period},
    },
    time::format_duration,
};

/// Updates, when the policy does not say how often.
const DEFAULT_UPDATE_INTERVAL: SignedDuration = SignedDuration::from_mins(15);
/// A recovery's report, when the policy does not say until when.
const DEFAULT_REPORT_DEADLINE: SignedDuration = SignedDuration::from_hours(24);
/// How long an ended recovery is known again.
const ENDED_RETENTION: SignedDuration = SignedDuration::from_hours(24);
/// Recoveries that are followed at most.
const MAX_ACTIVE_RESTORES: usize = 50;
/// Its report is missing.
const NO_REPORT: &str = FindingCode::NoRecoveryReport.as_str();

/// Takes in how far a recovery is.
pub(super) fn ingest_restore_event(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    news: &RestoreEvent,
) {
    let at = news.at.min(planning.now);
    if state.recoveries.get(&news.id).is_some_and(|r| r.ended.is_some()) {
        return;
    }
    let known = state.recoveries.contains_key(&news.id);
    if !known && state.recoveries.len() >= MAX_ACTIVE_RESTORES {
        let oldest =
            state.recoveries.iter().min_by_key(|(_, r)| r.last_heard_at).map(|(i, _)| i.clone());
        oldest.and_then(|i| state.recoveries.remove(&i));
    }
    let recovering = state.recoveries.entry(news.id.clone()).or_insert_with(|| ActiveRestore {
        asset: truncate_chars(&news.asset, 200),
        description: String::new(),
        since: at,
        phase: "starting".into(),
        last_heard_at: at,
        last_update_at: at,
        ended: None,
    });
    recovering.last_heard_at = recovering.last_heard_at.max(at);
    match &news.stage {
        RestoreStage::Started(what) => {
            recovering.description = truncate_chars(what, 500);
            let recovering = recovering.clone();
            if !known {
                plan_restore_started(planning, state, &news.id, &recovering);
            }
        }
        RestoreStage::Phase(phase) => recovering.phase = truncate_chars(phase, 200),
        RestoreStage::Waiting(why) => {
            recovering.ended = Some(at);
            let recovering = recovering.clone();
            clear_incident(
                state,
                NOTIFY,
                &incident_id(&overdue_problem(&recovering, planning.now)),
                planning.now,
            );
            plan_restore_waiting(planning, state, &news.id, &recovering, why);
        }
        RestoreStage::Ended { succeeded: well, lines, backup: made } => {
            recovering.ended = Some(at);
            let recovering = recovering.clone();
            clear_incident(
                state,
                NOTIFY,
                &incident_id(&overdue_problem(&recovering, planning.now)),
                planning.now,
            );
            plan_restore_ended(planning, state, &news.id, &recovering, *well, lines, made.clone());
        }
    }
}

fn restore_message(
    planning: &NotifyPlanner<'_>,
    id: &str,
    kind: MessageKind,
    severity: Severity,
    title: &str,
) -> ChannelMessage {
    let thread = Some(format!("{}/recovery/{}", planning.policy.company, truncate_chars(id, 100)));
    ChannelMessage { thread, ..planning.new_message(kind, severity, title) }
}

/// The channels of a recovery: those that the policy names, else all.
fn restore_channels(planning: &NotifyPlanner<'_>, rule: &RestoreNotifications) -> Vec<Name> {
    if rule.to.is_empty() {
        planning.notify.channels.keys().cloned().collect()
    } else {
        rule.to.clone()
    }
}

fn plan_restore_started(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    id: &str,
    r: &ActiveRestore,
) {
    let Some(rule) = &planning.notify.recovery else { return };
    let title = format!("recovery of {} has started", r.asset);
    let mut message =
        restore_message(planning, id, MessageKind::RecoveryStarted, Severity::Critical, &title);
    message.lines = vec![
        r.description.clone(),
        format!("an update follows every {}", format_duration(update_interval(rule))),
    ];
    emit_to_all(planning, state, &restore_channels(planning, rule), &message);
}

fn plan_restore_waiting(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    id: &str,
    r: &ActiveRestore,
    why: &str,
) {
    let Some(rule) = &planning.notify.recovery else { return };
    let title = format!("recovery of {} waits for an archive", r.asset);
    let mut message =
        restore_message(planning, id, MessageKind::RecoveryUpdate, Severity::Warning, &title);
    message.lines =
        vec![truncate_chars(why, 500), "nothing failed: start it again when it is there".into()];
    emit_to_all(planning, state, &restore_channels(planning, rule), &message);
}

fn update_interval(rule: &RestoreNotifications) -> SignedDuration {
    rule.every.as_ref().map_or(DEFAULT_UPDATE_INTERVAL, Period::duration)
}

fn plan_restore_ended(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    id: &str,
    r: &ActiveRestore,
    well: bool,
    lines: &[String],
    made: Option<BackupInfo>,
) {
    let took = format_duration(r.ended.unwrap_or(planning.now).duration_since(r.since));
    let (severity, title) = if well {
        (Severity::Info, format!("recovery of {} is complete after {took}", r.asset))
    } else {
        (Severity::Critical, format!("recovery of {} failed after {took}", r.asset))
    };
    let mut message =
        restore_message(planning, id, MessageKind::RecoveryComplete, severity, &title);
    message.lines = lines.iter().take(100).map(|l| truncate_chars(l, 500)).collect();
    message.backups = made.into_iter().collect();
    let group = group_of(planning, state, &r.asset);
    let mut to = Vec::new();
    if let Some(rule) = &planning.notify.recovery {
        // Who heard of its beginning hears that it failed.
        let named = if rule.complete_to.is_empty() || !well {
            restore_channels(planning, rule)
        } else {
            rule.complete_to.clone()
        };
        extend_unique(&mut to, named);
    }
    extend_unique(
        &mut to,
        channels_for_event(planning, NotifyEventKind::Recovery, group.as_deref()),
    );
    if !well {
        let routes =
            planning.notify.routes.iter().filter(|r| accepts_event(r, NotifyEventKind::Failure));
        let routes = routes.filter(|r| super::routes::matches_group(&r.of, group.as_deref()));
        let loud = |s: MinSeverity| super::routes::meets_min_severity(s, Severity::Critical);
        extend_unique(
            &mut to,
            routes.filter(|r| loud(r.severity)).flat_map(|r| r.to.clone()).collect(),
        );
    }
    emit_to_all(planning, state, &to, &message);
}

fn emit_to_all(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    to: &[Name],
    message: &ChannelMessage,
) {
    for channel in to {
        planning.emit(
            state,
            channel,
            NotifyPlanner::fallback_channels(to, channel),
            message.clone(),
        );
    }
}

/// Updates that are due, and reports that are overdue.
pub(super) fn update_active_restores(planning: &mut NotifyPlanner<'_>, state: &mut NotifyState) {
    let now = planning.now;
    state.recoveries.retain(|_, r| r.ended.is_none_or(|e| now.duration_since(e) < ENDED_RETENTION));
    let Some(rule) = planning.notify.recovery.clone() else {
        // Nobody asked to hear of it while it runs.
        state.recoveries.retain(|_, r| {
            r.ended.is_some() || now.duration_since(r.last_heard_at) < DEFAULT_REPORT_DEADLINE
        });
        return;
    };
    let within = rule.report_deadline.as_ref().map_or(DEFAULT_REPORT_DEADLINE, Period::duration);
    let ids: Vec<String> = state
        .recoveries
        .iter()
        .filter(|(_, r)| r.ended.is_none())
        .map(|(i, _)| i.clone())
        .collect();
    for id in ids {
        let Some(r) = state.recoveries.get_mut(&id) else { continue };
        if now.duration_since(r.since) >= within {
            let problem = overdue_problem(r, now);
            state.recoveries.remove(&id);
            open_or_update_incident(planning, state, NOTIFY, &problem, now);
        } else if now.duration_since(r.last_update_at) >= update_interval(&rule) {
            r.last_update_at = now;
            let r = r.clone();
            plan_restore_update(planning, state, &rule, &id, &r);
        }
    }
}

fn plan_restore_update(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    rule: &RestoreNotifications,
    id: &str,
    r: &ActiveRestore,
) {
    let title = format!("recovery of {} goes on: {}", r.asset, r.phase);
    let mut message =
        restore_message(planning, id, MessageKind::RecoveryUpdate, Severity::Warning, &title);
    let quiet = planning.now.duration_since(r.last_heard_at);
    message.lines = vec![
        r.description.clone(),
        format!("it has run for {}", format_duration(planning.now.duration_since(r.since))),
    ];
    if quiet >= update_interval(rule) {
        message.lines.push(format!(
            "nothing was heard of it for {}: look whether it still runs",
            format_duration(quiet)
        ));
    }
    emit_to_all(planning, state, &restore_channels(planning, rule), &message);
}

fn overdue_problem(r: &ActiveRestore, now: Timestamp) -> DetectedProblem {
    DetectedProblem {
        asset: r.asset.clone(),
        group: None,
        code: NO_REPORT.into(),
        severity: Severity::Critical,
        message: format!(
            "the recovery that began {} ago has not told how it ended; it was last heard of {} ago: {}",
            format_duration(now.duration_since(r.since)),
            format_duration(now.duration_since(r.last_heard_at)),
            r.phase
        ),
        hint: "look whether it still runs; else start the same restore again: what it left is cleaned up".into(),
    }
}
