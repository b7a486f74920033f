//! What was heard changes what is known to be wrong.

use super::{Planning, recovery, storage};
use crate::{
    heard::{Alarm, Came, Heard, NotCompleted, Problem, Run, Verified},
    message::Made,
    state::{MOST_ASSETS, MOST_INCIDENTS, Newest, Said, State, Tracked, clip},
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shared::{
    hints::{self, commands},
    plan::Severity,
    policy::notify::NotifyEventKind,
    words::hex_encode,
};
use std::collections::BTreeMap;

/// What notify itself finds.
pub(crate) const NOTIFY: &str = "notify";
/// A function that was started and never came to its end.
const NOT_COMPLETED: &str = "not-completed";
/// An alarm rings.
pub(super) const ALARM: &str = "alarm";
/// A backup that does not hold what it should.
pub(super) const NOT_VERIFIED: &str = "not-verified";
/// More is wrong than can be remembered one by one.
const TOO_MANY: &str = "too-many";

/// Takes in one thing that was heard.
pub(super) fn hear(planning: &mut Planning<'_>, state: &mut State, heard: &Heard) {
    match heard {
        Heard::Run(run) => hear_run(planning, state, run),
        Heard::Alarm(alarm) => hear_alarm(planning, state, alarm),
        Heard::NotCompleted(news) => hear_not_completed(planning, state, news),
        Heard::Recovery(news) => recovery::hear(planning, state, news),
        Heard::Verified(news) => hear_verified(planning, state, news),
    }
}

/// The end of a run: what it says was true then. A clock that runs ahead says now.
fn end(run: &Run, now: Timestamp) -> Timestamp {
    // A run takes days at most; anything else is a slip.
    let took = SignedDuration::try_from_secs_f64(run.seconds.clamp(0.0, 1e6)).unwrap_or_default();
    run.at.checked_add(took).map_or(now, |end| end.min(now))
}

fn hear_run(planning: &mut Planning<'_>, state: &mut State, run: &Run) {
    if run.dry_run || run.policy != planning.policy.company.as_str() {
        return;
    }
    let at = end(run, planning.now);
    let source = state.source(&run.function, at);
    if !source.note(format!("{} {}", run.run, run.at), at) {
        return;
    }
    for (made, group) in made(planning, state, run) {
        planning.made.push((made, group, NotifyEventKind::Success));
    }
    storage::hear(planning, state, run, at);
    completed(state, &run.function, at);
    stand(state, run, at);
    let source = state.source(&run.function, at);
    if source.whole.is_some_and(|whole| at <= whole) {
        return; // A later run has looked at everything since.
    }
    let all = run.whole && run.omitted.is_none_or(|l| l.findings == 0 && l.outcomes == 0);
    if all {
        source.whole = Some(at);
    }
    let problems = problems(planning, state, run);
    let mut beyond = run.omitted.map_or(0, |l| l.findings);
    let mut worst_beyond = Severity::Warning;
    for problem in problems.values() {
        if !touch(planning, state, &run.function, problem, at) {
            beyond += 1;
            worst_beyond = worst_beyond.max(problem.severity);
        }
    }
    if all {
        let gone = |id: &String, t: &Tracked| {
            t.what != NOT_COMPLETED
                && !problems.contains_key(id)
                && t.by.get(&run.function).is_some_and(|s| s.seen <= at)
        };
        let gone: Vec<_> =
            state.incidents.iter().filter(|(i, t)| gone(i, t)).map(|(i, _)| i.clone()).collect();
        for id in gone {
            leave(state, &run.function, &id, at);
        }
    }
    count_beyond(planning, state, &run.function, beyond, worst_beyond, all);
}

/// Says once that there is more than can be remembered, and takes it back when there is not.
fn count_beyond(
    planning: &Planning<'_>,
    state: &mut State,
    function: &str,
    beyond: usize,
    severity: Severity,
    all: bool,
) {
    match (beyond, all) {
        (0, true) => drop(state.beyond.remove(function)),
        (0, false) => {}
        (n, _) => drop(state.beyond.insert(function.to_owned(), n)),
    }
    let total: usize = state.beyond.values().sum();
    let problem = Problem {
        asset: NOTIFY.into(),
        group: None,
        what: TOO_MANY.into(),
        severity,
        why: format!(
            "{total} more problems than the {MOST_INCIDENTS} that are followed one by one"
        ),
        mend: commands::STATUS.into(),
    };
    if total == 0 {
        leave(state, NOTIFY, &id(&problem), planning.now);
    } else if beyond > 0 {
        touch(planning, state, NOTIFY, &problem, planning.now);
    }
}

/// What a report says is wrong, each thing once and at its worst.
fn problems(planning: &Planning<'_>, state: &State, run: &Run) -> BTreeMap<String, Problem> {
    let found = run.findings.iter().filter(|f| f.severity > Severity::Info).map(|f| Problem {
        asset: f.asset.clone(),
        group: f.group.clone().or_else(|| group_of(planning, state, &f.asset)),
        what: word(&f.what),
        severity: f.severity,
        why: f.why.clone(),
        mend: f.mend.clone(),
    });
    let failed = |c: &&Came| c.result == "failed";
    let failed = run.outcomes.iter().filter(failed).map(|c| Problem {
        asset: c.asset.clone(),
        group: group_of(planning, state, &c.asset),
        what: word(&format!("{}-failed", run.function)),
        severity: Severity::Critical,
        why: format!("{}: {}", c.action, c.detail.as_deref().unwrap_or("it failed")),
        mend: hints::function(&run.function),
    });
    let mut all: BTreeMap<String, Problem> = BTreeMap::new();
    for problem in found.chain(failed) {
        let known = all.entry(id(&problem)).or_insert_with(|| problem.clone());
        if known.severity < problem.severity {
            *known = problem;
        }
    }
    all
}

/// A fixed word has no spaces; whatever else comes is made one.
fn word(text: &str) -> String {
    clip(&text.replace(char::is_whitespace, "-"), 60)
}

/// The incident's name in the memory: a word without spaces, then the asset.
pub(super) fn id(problem: &Problem) -> String {
    let id = format!("{} {}", problem.what, problem.asset);
    if id.len() <= 300 { id } else { format!("{} {}", problem.what, short(&problem.asset)) }
}

/// A long name, shortened so that two stay two.
fn short(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    format!("{}-{}", name.chars().take(60).collect::<String>(), hex_encode(&hash[..8]))
}

/// The group of an asset: itself, before its slash, or as it was last judged.
pub(super) fn group_of(planning: &Planning<'_>, state: &State, asset: &str) -> Option<String> {
    let first = asset.split('/').next().unwrap_or(asset);
    let known = |name: &str| {
        let p = planning.policy;
        name.parse().is_ok_and(|n| {
            p.databases.contains_key(&n)
                || p.buckets.contains_key(&n)
                || p.postgres.contains_key(&n)
                || p.redis.contains_key(&n)
                || p.kubernetes.contains_key(&n)
                || p.secrets.contains_key(&n)
                || p.files.contains_key(&n)
        })
    };
    if known(first) {
        return Some(first.to_owned());
    }
    state.assets.get(asset).map(|n| n.group.clone())
}

fn made(planning: &Planning<'_>, state: &State, run: &Run) -> Vec<(Made, Option<String>)> {
    let done = run.outcomes.iter().filter(|c| c.result == "done");
    done.filter_map(|c| {
        let made = c.made.as_ref()?;
        let made = Made {
            asset: clip(&c.asset, 200),
            what: clip(&made.what, 300),
            place: clip(&made.place, 300),
            bytes: made.bytes,
            seconds: made.seconds,
            rows: None,
        };
        Some((made, group_of(planning, state, &c.asset)))
    })
    .collect()
}

/// Remembers the newest point of each asset.
fn stand(state: &mut State, run: &Run, at: Timestamp) {
    for s in run.assets.iter().filter(|s| s.watched()) {
        if state.assets.len() >= MOST_ASSETS && !state.assets.contains_key(&s.asset) {
            continue;
        }
        let age = s.age_seconds.map(SignedDuration::from_secs);
        let newest = Newest {
            group: s.group.clone(),
            newest: s.newest.clone(),
            data: age.and_then(|age| at.checked_sub(age).ok()),
            max_age_seconds: s.max_age_seconds,
        };
        state.assets.insert(s.asset.clone(), newest);
    }
    // Who judges everything names every asset: what it does not name is gone.
    if run.whole && !run.assets.is_empty() && run.omitted.is_none_or(|l| l.assets == 0) {
        state.assets.retain(|name, _| run.assets.iter().any(|s| s.asset == *name));
    }
}

/// Something is wrong. False when there is no room to follow it.
pub(crate) fn touch(
    planning: &Planning<'_>,
    state: &mut State,
    by: &str,
    problem: &Problem,
    at: Timestamp,
) -> bool {
    let id = id(problem);
    let said = Said { severity: problem.severity, seen: at };
    let hold = planning.hold;
    let over = |t: &Tracked| t.closed.is_some_and(|c| planning.now.duration_since(c) >= hold);
    if state.incidents.get(&id).is_some_and(over) {
        state.incidents.remove(&id);
    }
    if let Some(t) = state.incidents.get_mut(&id) {
        if t.gone.is_some() || t.closed.is_some() {
            // It is the same one again: it goes on.
            t.flaps += u32::from(t.closed.is_some());
            (t.gone, t.closed) = (None, None);
        }
        let seen = t.by.get(by).map_or(at, |s| s.seen.max(at));
        t.by.insert(by.to_owned(), Said { seen, ..said });
        let severity = t.by.values().map(|s| s.severity).max().unwrap_or(problem.severity);
        if severity > t.severity {
            // As bad as this it is new, and the steps begin anew.
            (t.risen, t.step) = (at, 0);
        }
        if problem.severity == severity {
            (t.why, t.mend) = (clip(&problem.why, 500), clip(&problem.mend, 300));
        }
        t.severity = severity;
        t.group = problem.group.clone().or(t.group.take());
        return true;
    }
    if state.incidents.len() >= MOST_INCIDENTS && problem.asset != NOTIFY {
        let closed = state.incidents.iter().find(|(_, t)| !t.open()).map(|(id, _)| id.clone());
        match closed {
            Some(closed) => drop(state.incidents.remove(&closed)),
            None => return false,
        }
    }
    state.day.opened += 1;
    let tracked = Tracked {
        key: key(planning, problem),
        asset: clip(&problem.asset, 200),
        group: problem.group.clone(),
        what: problem.what.clone(),
        by: BTreeMap::from([(by.to_owned(), said)]),
        severity: problem.severity,
        why: clip(&problem.why, 500),
        mend: clip(&problem.mend, 300),
        since: at,
        risen: at,
        gone: None,
        closed: None,
        flaps: 0,
        step: 0,
        covered: None,
        told: BTreeMap::new(),
        made: None,
    };
    state.incidents.insert(id, tracked);
    true
}

/// What vendors deduplicate by, within the 255 characters of PagerDuty.
fn key(planning: &Planning<'_>, problem: &Problem) -> String {
    let company = &planning.policy.company;
    let key = format!("{company}/{}/{}", problem.asset, problem.what);
    if key.len() <= 255 {
        key
    } else {
        format!("{company}/{}/{}", short(&problem.asset), problem.what)
    }
}

/// Somebody does not say any more that it is wrong.
pub(crate) fn leave(state: &mut State, by: &str, id: &str, at: Timestamp) {
    let Some(t) = state.incidents.get_mut(id) else { return };
    if t.by.remove(by).is_some() && t.by.is_empty() && t.closed.is_none() {
        t.gone = Some(at.max(t.since));
    }
    if let Some(worst) = t.by.values().map(|s| s.severity).max() {
        t.severity = worst;
    }
}

fn hear_alarm(planning: &mut Planning<'_>, state: &mut State, alarm: &Alarm) {
    let at = alarm.at.min(planning.now);
    let name = format!("alarm {}", alarm.name);
    let source = state.source(&name, at);
    if !source.note(format!("{} {}", alarm.at, alarm.state), at)
        || source.whole.is_some_and(|w| at < w)
    {
        return;
    }
    source.whole = Some(at);
    let rule = planning.policy.alarms.get(&alarm.name);
    let problem = Problem {
        asset: alarm.name.clone(),
        group: rule.and_then(|r| r.of.as_ref()).map(ToString::to_string),
        what: ALARM.into(),
        severity: if alarm.state == "ALARM" { Severity::Critical } else { Severity::Warning },
        why: match alarm.state.as_str() {
            "ALARM" => format!("the alarm rings: {}", alarm.reason),
            _ => format!("the alarm has no data: {}", alarm.reason),
        },
        mend: commands::ALARMS.into(),
    };
    if alarm.state == "OK" {
        leave(state, &name, &id(&problem), at);
    } else {
        touch(planning, state, &name, &problem, at);
    }
}

fn hear_not_completed(planning: &mut Planning<'_>, state: &mut State, news: &NotCompleted) {
    let at = news.at.min(planning.now);
    let known = state.sources.get(&news.function);
    let reported = known
        .is_some_and(|s| s.runs.iter().any(|r| r.split(' ').next() == Some(news.run.as_str())));
    // Its report told more; and who has completed a run since is well.
    if (news.reported && reported) || known.is_some_and(|s| !s.runs.is_empty() && s.heard > at) {
        return;
    }
    let problem = Problem {
        asset: format!("function/{}", news.function),
        group: None,
        what: NOT_COMPLETED.into(),
        severity: Severity::Critical,
        why: format!("a run of {} did not come to its end: {}", news.function, news.why),
        mend: hints::function(&news.function),
    };
    touch(planning, state, &news.function, &problem, at);
}

/// A function came to the end of a run.
fn completed(state: &mut State, function: &str, at: Timestamp) {
    let id = format!("{NOT_COMPLETED} function/{function}");
    let before = |t: &Tracked| t.by.get(function).is_some_and(|s| s.seen < at);
    if state.incidents.get(&id).is_some_and(before) {
        leave(state, function, &id, at);
    }
}

fn hear_verified(planning: &mut Planning<'_>, state: &mut State, news: &Verified) {
    let at = news.at.min(planning.now);
    let name = clip(&format!("verify {}", news.made.asset), 250);
    let source = state.source(&name, at);
    let new = source.note(format!("{} {}", news.id, news.made.what), at);
    if !new || source.whole.is_some_and(|w| at < w) {
        return;
    }
    source.whole = Some(at);
    let group = group_of(planning, state, &news.made.asset);
    let problem = Problem {
        asset: news.made.asset.clone(),
        group: group.clone(),
        what: NOT_VERIFIED.into(),
        severity: Severity::Critical,
        why: format!("{}: {}", news.made.what, news.fault.as_deref().unwrap_or_default()),
        mend: news.mend.clone(),
    };
    let id = id(&problem);
    if news.fault.is_some() {
        touch(planning, state, &name, &problem, at);
        if let Some(t) = state.incidents.get_mut(&id) {
            t.made = Some(news.made.clone());
        }
    } else {
        leave(state, &name, &id, at);
        planning.made.push((news.made.clone(), group, NotifyEventKind::Verification));
    }
}
