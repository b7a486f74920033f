//! Recoveries: begun, under way, ended; and one whose report stays away.

use super::{
    NOTIFY, Planning,
    hear::{group_of, id},
    leave,
    routes::{of_news, takes},
    tell::add,
    touch,
};
use crate::{
    heard::{Problem, RecoveryNews, Stage},
    message::{Kind, Made, Message},
    state::{Recovering, State, clip},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::Severity,
    policy::{
        notify::{NotifyEventKind, RestoreNotifications, MinSeverity},
        text::{Name, Period},
    },
    time::format_duration,
};

/// Updates, when the policy does not say how often.
const EVERY: SignedDuration = SignedDuration::from_mins(15);
/// A recovery's report, when the policy does not say until when.
const REPORT: SignedDuration = SignedDuration::from_hours(24);
/// How long an ended recovery is known again.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// Recoveries that are followed at most.
const MOST: usize = 50;
/// Its report is missing.
const NO_REPORT: &str = "no-recovery-report";

/// Takes in how far a recovery is.
pub(super) fn hear(planning: &mut Planning<'_>, state: &mut State, news: &RecoveryNews) {
    let at = news.at.min(planning.now);
    if state.recoveries.get(&news.id).is_some_and(|r| r.ended.is_some()) {
        return;
    }
    let known = state.recoveries.contains_key(&news.id);
    if !known && state.recoveries.len() >= MOST {
        let oldest = state.recoveries.iter().min_by_key(|(_, r)| r.heard).map(|(i, _)| i.clone());
        oldest.and_then(|i| state.recoveries.remove(&i));
    }
    let recovering = state.recoveries.entry(news.id.clone()).or_insert_with(|| Recovering {
        asset: clip(&news.asset, 200),
        what: String::new(),
        since: at,
        phase: "starting".into(),
        heard: at,
        told: at,
        ended: None,
    });
    recovering.heard = recovering.heard.max(at);
    match &news.stage {
        Stage::Started(what) => {
            recovering.what = clip(what, 500);
            let recovering = recovering.clone();
            if !known {
                started(planning, state, &news.id, &recovering);
            }
        }
        Stage::At(phase) => recovering.phase = clip(phase, 200),
        Stage::Waits(why) => {
            recovering.ended = Some(at);
            let recovering = recovering.clone();
            leave(state, NOTIFY, &id(&missing(&recovering, planning.now)), planning.now);
            waits(planning, state, &news.id, &recovering, why);
        }
        Stage::Ended { well, lines, made } => {
            recovering.ended = Some(at);
            let recovering = recovering.clone();
            leave(state, NOTIFY, &id(&missing(&recovering, planning.now)), planning.now);
            ended(planning, state, &news.id, &recovering, *well, lines, made.clone());
        }
    }
}

fn message(
    planning: &Planning<'_>,
    id: &str,
    kind: Kind,
    severity: Severity,
    title: &str,
) -> Message {
    let thread = Some(format!("{}/recovery/{}", planning.policy.company, clip(id, 100)));
    Message { thread, ..planning.message(kind, severity, title) }
}

/// The channels of a recovery: those that the policy names, else all.
fn everyone(planning: &Planning<'_>, rule: &RestoreNotifications) -> Vec<Name> {
    if rule.to.is_empty() {
        planning.notify.channels.keys().cloned().collect()
    } else {
        rule.to.clone()
    }
}

fn started(planning: &mut Planning<'_>, state: &mut State, id: &str, r: &Recovering) {
    let Some(rule) = &planning.notify.recovery else { return };
    let title = format!("recovery of {} has started", r.asset);
    let mut message = message(planning, id, Kind::RecoveryStarted, Severity::Critical, &title);
    message.lines = vec![r.what.clone(), format!("an update follows every {}", format_duration(every(rule)))];
    say_all(planning, state, &everyone(planning, rule), &message);
}

fn waits(planning: &mut Planning<'_>, state: &mut State, id: &str, r: &Recovering, why: &str) {
    let Some(rule) = &planning.notify.recovery else { return };
    let title = format!("recovery of {} waits for an archive", r.asset);
    let mut message = message(planning, id, Kind::RecoveryUpdate, Severity::Warning, &title);
    message.lines = vec![clip(why, 500), "nothing failed: start it again when it is there".into()];
    say_all(planning, state, &everyone(planning, rule), &message);
}

fn every(rule: &RestoreNotifications) -> SignedDuration {
    rule.every.as_ref().map_or(EVERY, Period::duration)
}

fn ended(
    planning: &mut Planning<'_>,
    state: &mut State,
    id: &str,
    r: &Recovering,
    well: bool,
    lines: &[String],
    made: Option<Made>,
) {
    let took = format_duration(r.ended.unwrap_or(planning.now).duration_since(r.since));
    let (severity, title) = if well {
        (Severity::Info, format!("recovery of {} is complete after {took}", r.asset))
    } else {
        (Severity::Critical, format!("recovery of {} failed after {took}", r.asset))
    };
    let mut message = message(planning, id, Kind::RecoveryComplete, severity, &title);
    message.lines = lines.iter().take(100).map(|l| clip(l, 500)).collect();
    message.made = made.into_iter().collect();
    let group = group_of(planning, state, &r.asset);
    let mut to = Vec::new();
    if let Some(rule) = &planning.notify.recovery {
        // Who heard of its beginning hears that it failed.
        let named = if rule.complete_to.is_empty() || !well {
            everyone(planning, rule)
        } else {
            rule.complete_to.clone()
        };
        add(&mut to, named);
    }
    add(&mut to, of_news(planning, NotifyEventKind::Recovery, group.as_deref()));
    if !well {
        let routes = planning.notify.routes.iter().filter(|r| takes(r, NotifyEventKind::Failure));
        let routes = routes.filter(|r| super::routes::of(&r.of, group.as_deref()));
        let loud = |s: MinSeverity| super::routes::bad_enough(s, Severity::Critical);
        add(&mut to, routes.filter(|r| loud(r.severity)).flat_map(|r| r.to.clone()).collect());
    }
    say_all(planning, state, &to, &message);
}

fn say_all(planning: &mut Planning<'_>, state: &mut State, to: &[Name], message: &Message) {
    for channel in to {
        planning.say(state, channel, Planning::others(to, channel), message.clone());
    }
}

/// Updates that are due, and reports that are overdue.
pub(super) fn go_on(planning: &mut Planning<'_>, state: &mut State) {
    let now = planning.now;
    state.recoveries.retain(|_, r| r.ended.is_none_or(|e| now.duration_since(e) < REMEMBERED));
    let Some(rule) = planning.notify.recovery.clone() else {
        // Nobody asked to hear of it while it runs.
        state.recoveries.retain(|_, r| r.ended.is_some() || now.duration_since(r.heard) < REPORT);
        return;
    };
    let within = rule.report_within.as_ref().map_or(REPORT, Period::duration);
    let ids: Vec<String> = state
        .recoveries
        .iter()
        .filter(|(_, r)| r.ended.is_none())
        .map(|(i, _)| i.clone())
        .collect();
    for id in ids {
        let Some(r) = state.recoveries.get_mut(&id) else { continue };
        if now.duration_since(r.since) >= within {
            let problem = missing(r, now);
            state.recoveries.remove(&id);
            touch(planning, state, NOTIFY, &problem, now);
        } else if now.duration_since(r.told) >= every(&rule) {
            r.told = now;
            let r = r.clone();
            update(planning, state, &rule, &id, &r);
        }
    }
}

fn update(
    planning: &mut Planning<'_>,
    state: &mut State,
    rule: &RestoreNotifications,
    id: &str,
    r: &Recovering,
) {
    let title = format!("recovery of {} goes on: {}", r.asset, r.phase);
    let mut message = message(planning, id, Kind::RecoveryUpdate, Severity::Warning, &title);
    let quiet = planning.now.duration_since(r.heard);
    message.lines = vec![
        r.what.clone(),
        format!("it has run for {}", format_duration(planning.now.duration_since(r.since))),
    ];
    if quiet >= every(rule) {
        message.lines.push(format!(
            "nothing was heard of it for {}: look whether it still runs",
            format_duration(quiet)
        ));
    }
    say_all(planning, state, &everyone(planning, rule), &message);
}

fn missing(r: &Recovering, now: Timestamp) -> Problem {
    Problem {
        asset: r.asset.clone(),
        group: None,
        what: NO_REPORT.into(),
        severity: Severity::Critical,
        why: format!(
            "the recovery that began {} ago has not told how it ended; it was last heard of {} ago: {}",
            format_duration(now.duration_since(r.since)),
            format_duration(now.duration_since(r.heard)),
            r.phase
        ),
        mend: "look whether it still runs; else start the same restore again: what it left is cleaned up".into(),
    }
}
