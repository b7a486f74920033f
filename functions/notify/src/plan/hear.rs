//! What was heard changes what is known to be wrong.

use super::{NotifyPlanner, recovery, storage};
use crate::{
    heard::{
        AlarmEvent, DetectedProblem, InvocationFailure, NotificationEvent, ReportedOutcome,
        ReportedRun, VerificationEvent,
    },
    message::BackupInfo,
    state::{
        LatestAssetPoint, MAX_ASSETS, MAX_TRACKED_INCIDENTS, NotifyState, ReportedSeverity,
        TrackedIncident, truncate_chars,
    },
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shared::{
    hints::{self, commands},
    plan::{FindingCode, Severity},
    policy::notify::NotifyEventKind,
    words::hex_encode,
};
use std::collections::BTreeMap;

/// What notify itself finds.
pub(crate) const NOTIFY: &str = "notify";
/// A function that was started and never came to its end.
const NOT_COMPLETED: &str = FindingCode::RunNotCompleted.as_str();
/// An alarm rings.
pub(super) const ALARM: &str = FindingCode::Alarm.as_str();
/// A backup that does not hold what it should.
pub(super) const NOT_VERIFIED: &str = FindingCode::VerificationFailed.as_str();
/// More is wrong than can be remembered one by one.
const TOO_MANY: &str = FindingCode::TooMany.as_str();

/// Takes in one thing that was heard.
pub(super) fn ingest_event(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    heard: &NotificationEvent,
) {
    match heard {
        NotificationEvent::Report(run) => ingest_report(planning, state, run),
        NotificationEvent::Alarm(alarm) => ingest_alarm(planning, state, alarm),
        NotificationEvent::InvocationFailed(news) => {
            ingest_invocation_failure(planning, state, news);
        }
        NotificationEvent::Restore(news) => recovery::ingest_restore_event(planning, state, news),
        NotificationEvent::Verification(news) => ingest_verification(planning, state, news),
    }
}

/// The end of a run: what it says was true then. A clock that runs ahead says now.
fn run_end_time(run: &ReportedRun, now: Timestamp) -> Timestamp {
    // A run takes days at most; anything else is a slip.
    let took = SignedDuration::try_from_secs_f64(run.seconds.clamp(0.0, 1e6)).unwrap_or_default();
    run.started_at.checked_add(took).map_or(now, |end| end.min(now))
}

fn ingest_report(planning: &mut NotifyPlanner<'_>, state: &mut NotifyState, run: &ReportedRun) {
    if run.dry_run || run.policy != planning.policy.company.as_str() {
        return;
    }
    let at = run_end_time(run, planning.now);
    let source = state.reporter_mut(&run.function, at);
    if !source.record_run(format!("{} {}", run.run_id, run.started_at), at) {
        return;
    }
    for (made, group) in successful_backups(planning, state, run) {
        planning.new_backups.push((made, group, NotifyEventKind::Success));
    }
    storage::plan_storage_report(planning, state, run, at);
    record_completion(state, &run.function, at);
    update_assets(state, run, at);
    let source = state.reporter_mut(&run.function, at);
    if source.last_full_run_at.is_some_and(|whole| at <= whole) {
        return; // A later run has looked at everything since.
    }
    let all = run.complete && run.omitted.is_none_or(|l| l.findings == 0 && l.outcomes == 0);
    if all {
        source.last_full_run_at = Some(at);
    }
    let problems = detected_problems(planning, state, run);
    let mut beyond = run.omitted.map_or(0, |l| l.findings);
    let mut worst_beyond = Severity::Warning;
    for problem in problems.values() {
        if !open_or_update_incident(planning, state, &run.function, problem, at) {
            beyond += 1;
            worst_beyond = worst_beyond.max(problem.severity);
        }
    }
    if all {
        let gone = |id: &String, t: &TrackedIncident| {
            t.code != NOT_COMPLETED
                && !problems.contains_key(id)
                && t.reported_by.get(&run.function).is_some_and(|s| s.last_seen_at <= at)
        };
        let gone: Vec<_> =
            state.incidents.iter().filter(|(i, t)| gone(i, t)).map(|(i, _)| i.clone()).collect();
        for id in gone {
            clear_incident(state, &run.function, &id, at);
        }
    }
    track_overflow(planning, state, &run.function, beyond, worst_beyond, all);
}

/// Says once that there is more than can be remembered, and takes it back when there is not.
fn track_overflow(
    planning: &NotifyPlanner<'_>,
    state: &mut NotifyState,
    function: &str,
    beyond: usize,
    severity: Severity,
    all: bool,
) {
    match (beyond, all) {
        (0, true) => drop(state.untracked.remove(function)),
        (0, false) => {}
        (n, _) => drop(state.untracked.insert(function.to_owned(), n)),
    }
    let total: usize = state.untracked.values().sum();
    let problem = DetectedProblem {
        asset: NOTIFY.into(),
        group: None,
        code: TOO_MANY.into(),
        severity,
        message: format!(
            "{total} more problems than the {MAX_TRACKED_INCIDENTS} that are followed one by one"
        ),
        hint: commands::STATUS.into(),
    };
    if total == 0 {
        clear_incident(state, NOTIFY, &incident_id(&problem), planning.now);
    } else if beyond > 0 {
        open_or_update_incident(planning, state, NOTIFY, &problem, planning.now);
    }
}

/// What a report says is wrong, each thing once and at its worst.
fn detected_problems(
    planning: &NotifyPlanner<'_>,
    state: &NotifyState,
    run: &ReportedRun,
) -> BTreeMap<String, DetectedProblem> {
    let found =
        run.findings.iter().filter(|f| f.severity > Severity::Info).map(|f| DetectedProblem {
            asset: f.asset.clone(),
            group: f.group.clone().or_else(|| group_of(planning, state, &f.asset)),
            code: to_code(&f.code),
            severity: f.severity,
            message: f.message.clone(),
            hint: f.hint.clone(),
        });
    let failed = |c: &&ReportedOutcome| c.result == "failed";
    let failed = run.outcomes.iter().filter(failed).map(|c| DetectedProblem {
        asset: c.asset.clone(),
        group: group_of(planning, state, &c.asset),
        code: to_code(&format!("{}-failed", run.function)),
        severity: Severity::Critical,
        message: format!("{}: {}", c.action, c.detail.as_deref().unwrap_or("it failed")),
        hint: hints::function(&run.function),
    });
    let mut all: BTreeMap<String, DetectedProblem> = BTreeMap::new();
    for problem in found.chain(failed) {
        let known = all.entry(incident_id(&problem)).or_insert_with(|| problem.clone());
        if known.severity < problem.severity {
            *known = problem;
        }
    }
    all
}

/// A fixed word has no spaces; whatever else comes is made one.
fn to_code(text: &str) -> String {
    truncate_chars(&text.replace(char::is_whitespace, "-"), 60)
}

/// The incident's name in the memory: a word without spaces, then the asset.
pub(super) fn incident_id(problem: &DetectedProblem) -> String {
    let id = format!("{} {}", problem.code, problem.asset);
    if id.len() <= 300 {
        id
    } else {
        format!("{} {}", problem.code, shorten_with_hash(&problem.asset))
    }
}

/// A long name, shortened so that two stay two.
fn shorten_with_hash(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    format!("{}-{}", name.chars().take(60).collect::<String>(), hex_encode(&hash[..8]))
}

/// The group of an asset: itself, before its slash, or as it was last judged.
pub(super) fn group_of(
    planning: &NotifyPlanner<'_>,
    state: &NotifyState,
    asset: &str,
) -> Option<String> {
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

fn successful_backups(
    planning: &NotifyPlanner<'_>,
    state: &NotifyState,
    run: &ReportedRun,
) -> Vec<(BackupInfo, Option<String>)> {
    let done = run.outcomes.iter().filter(|c| c.result == "done");
    done.filter_map(|c| {
        let made = c.artifact.as_ref()?;
        let made = BackupInfo {
            asset: truncate_chars(&c.asset, 200),
            name: truncate_chars(&made.key, 300),
            location: truncate_chars(&made.location, 300),
            bytes: made.bytes,
            seconds: made.seconds,
            rows: None,
        };
        Some((made, group_of(planning, state, &c.asset)))
    })
    .collect()
}

/// Remembers the newest point of each asset.
fn update_assets(state: &mut NotifyState, run: &ReportedRun, at: Timestamp) {
    for s in run.assets.iter().filter(|s| s.is_watched()) {
        if state.assets.len() >= MAX_ASSETS && !state.assets.contains_key(&s.asset) {
            continue;
        }
        let age = s.age_seconds.map(SignedDuration::from_secs);
        let newest = LatestAssetPoint {
            group: s.group.clone(),
            newest: s.newest_point.clone(),
            data: age.and_then(|age| at.checked_sub(age).ok()),
            max_age_seconds: s.max_age_seconds,
        };
        state.assets.insert(s.asset.clone(), newest);
    }
    // Who judges everything names every asset: what it does not name is gone.
    if run.complete && !run.assets.is_empty() && run.omitted.is_none_or(|l| l.assets == 0) {
        state.assets.retain(|name, _| run.assets.iter().any(|s| s.asset == *name));
    }
}

/// Something is wrong. False when there is no room to follow it.
pub(crate) fn open_or_update_incident(
    planning: &NotifyPlanner<'_>,
    state: &mut NotifyState,
    by: &str,
    problem: &DetectedProblem,
    at: Timestamp,
) -> bool {
    let id = incident_id(problem);
    let said = ReportedSeverity { severity: problem.severity, last_seen_at: at };
    let hold = planning.flap_window;
    let over =
        |t: &TrackedIncident| t.resolved_at.is_some_and(|c| planning.now.duration_since(c) >= hold);
    if state.incidents.get(&id).is_some_and(over) {
        state.incidents.remove(&id);
    }
    if let Some(t) = state.incidents.get_mut(&id) {
        if t.cleared_at.is_some() || t.resolved_at.is_some() {
            // It is the same one again: it goes on.
            t.flaps += u32::from(t.resolved_at.is_some());
            (t.cleared_at, t.resolved_at) = (None, None);
        }
        let seen = t.reported_by.get(by).map_or(at, |s| s.last_seen_at.max(at));
        t.reported_by.insert(by.to_owned(), ReportedSeverity { last_seen_at: seen, ..said });
        let severity = t.reported_by.values().map(|s| s.severity).max().unwrap_or(problem.severity);
        if severity > t.severity {
            // As bad as this it is new, and the steps begin anew.
            (t.severity_since, t.step) = (at, 0);
        }
        if problem.severity == severity {
            (t.message, t.hint) =
                (truncate_chars(&problem.message, 500), truncate_chars(&problem.hint, 300));
        }
        t.severity = severity;
        t.group = problem.group.clone().or(t.group.take());
        return true;
    }
    if state.incidents.len() >= MAX_TRACKED_INCIDENTS && problem.asset != NOTIFY {
        let closed = state.incidents.iter().find(|(_, t)| !t.is_open()).map(|(id, _)| id.clone());
        match closed {
            Some(closed) => drop(state.incidents.remove(&closed)),
            None => return false,
        }
    }
    state.day.opened += 1;
    let tracked = TrackedIncident {
        key: dedup_key(planning, problem),
        asset: truncate_chars(&problem.asset, 200),
        group: problem.group.clone(),
        code: problem.code.clone(),
        reported_by: BTreeMap::from([(by.to_owned(), said)]),
        severity: problem.severity,
        message: truncate_chars(&problem.message, 500),
        hint: truncate_chars(&problem.hint, 300),
        since: at,
        severity_since: at,
        cleared_at: None,
        resolved_at: None,
        flaps: 0,
        step: 0,
        inhibited_at: None,
        notified: BTreeMap::new(),
        backup: None,
    };
    state.incidents.insert(id, tracked);
    true
}

/// What vendors deduplicate by, within the 255 characters of PagerDuty.
fn dedup_key(planning: &NotifyPlanner<'_>, problem: &DetectedProblem) -> String {
    let company = &planning.policy.company;
    let key = format!("{company}/{}/{}", problem.asset, problem.code);
    if key.len() <= 255 {
        key
    } else {
        format!("{company}/{}/{}", shorten_with_hash(&problem.asset), problem.code)
    }
}

/// Somebody does not say any more that it is wrong.
pub(crate) fn clear_incident(state: &mut NotifyState, by: &str, id: &str, at: Timestamp) {
    let Some(t) = state.incidents.get_mut(id) else { return };
    if t.reported_by.remove(by).is_some() && t.reported_by.is_empty() && t.resolved_at.is_none() {
        t.cleared_at = Some(at.max(t.since));
    }
    if let Some(worst) = t.reported_by.values().map(|s| s.severity).max() {
        t.severity = worst;
    }
}

fn ingest_alarm(planning: &mut NotifyPlanner<'_>, state: &mut NotifyState, alarm: &AlarmEvent) {
    let at = alarm.at.min(planning.now);
    let name = format!("alarm {}", alarm.name);
    let source = state.reporter_mut(&name, at);
    if !source.record_run(format!("{} {}", alarm.at, alarm.state), at)
        || source.last_full_run_at.is_some_and(|w| at < w)
    {
        return;
    }
    source.last_full_run_at = Some(at);
    let rule = planning.policy.alarms.get(&alarm.name);
    let problem = DetectedProblem {
        asset: alarm.name.clone(),
        group: rule.and_then(|r| r.of.as_ref()).map(ToString::to_string),
        code: ALARM.into(),
        severity: if alarm.state == "ALARM" { Severity::Critical } else { Severity::Warning },
        message: match alarm.state.as_str() {
            "ALARM" => format!("the alarm rings: {}", alarm.reason),
            _ => format!("the alarm has no data: {}", alarm.reason),
        },
        hint: commands::ALARMS.into(),
    };
    if alarm.state == "OK" {
        clear_incident(state, &name, &incident_id(&problem), at);
    } else {
        open_or_update_incident(planning, state, &name, &problem, at);
    }
}

fn ingest_invocation_failure(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    news: &InvocationFailure,
) {
    let at = news.at.min(planning.now);
    let known = state.sources.get(&news.function);
    let reported = known
        .is_some_and(|s| s.runs.iter().any(|r| r.split(' ').next() == Some(news.run.as_str())));
    // Its report told more; and who has completed a run since is well.
    if (news.reported && reported)
        || known.is_some_and(|s| !s.runs.is_empty() && s.last_heard_at > at)
    {
        return;
    }
    let problem = DetectedProblem {
        asset: format!("function/{}", news.function),
        group: None,
        code: NOT_COMPLETED.into(),
        severity: Severity::Critical,
        message: format!("a run of {} did not come to its end: {}", news.function, news.why),
        hint: hints::function(&news.function),
    };
    open_or_update_incident(planning, state, &news.function, &problem, at);
}

/// A function came to the end of a run.
fn record_completion(state: &mut NotifyState, function: &str, at: Timestamp) {
    let id = format!("{NOT_COMPLETED} function/{function}");
    let before =
        |t: &TrackedIncident| t.reported_by.get(function).is_some_and(|s| s.last_seen_at < at);
    if state.incidents.get(&id).is_some_and(before) {
        clear_incident(state, function, &id, at);
    }
}

fn ingest_verification(
    planning: &mut NotifyPlanner<'_>,
    state: &mut NotifyState,
    news: &VerificationEvent,
) {
    let at = news.at.min(planning.now);
    let name = truncate_chars(&format!("verify {}", news.backup.asset), 250);
    let source = state.reporter_mut(&name, at);
    let new = source.record_run(format!("{} {}", news.id, news.backup.name), at);
    if !new || source.last_full_run_at.is_some_and(|w| at < w) {
        return;
    }
    source.last_full_run_at = Some(at);
    let group = group_of(planning, state, &news.backup.asset);
    let problem = DetectedProblem {
        asset: news.backup.asset.clone(),
        group: group.clone(),
        code: NOT_VERIFIED.into(),
        severity: Severity::Critical,
        message: format!("{}: {}", news.backup.name, news.fault.as_deref().unwrap_or_default()),
        hint: news.hint.clone(),
    };
    let id = incident_id(&problem);
    if news.fault.is_some() {
        open_or_update_incident(planning, state, &name, &problem, at);
        if let Some(t) = state.incidents.get_mut(&id) {
            t.backup = Some(news.backup.clone());
        }
    } else {
        clear_incident(state, &name, &id, at);
        planning.new_backups.push((news.backup.clone(), group, NotifyEventKind::Verification));
    }
}
