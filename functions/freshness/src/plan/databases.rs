//! RDS databases: the newest good point, its copies, the restore window and the backup settings.

use super::{FreshnessEvaluation, FreshnessObservations, data_age, keys, settings};
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{Location, PointsByDatabase, RdsDatabase, RecoveryPoint, RecoveryPointState},
    copies::{CopyCandidate, CopyComparison, CopyStatus},
    hints::{self, commands},
    keep::is_still_kept,
    objective::{self, AgeObjective, newest_overdue_slot},
    observe::DatabaseSelection,
    plan::{FindingCode, Severity},
    policy::{DatabaseGroup, Policy, SnapshotCopyRule, text::ReasonName},
    report::AssetCoverage,
    time::{CronSchedule, format_duration},
};
use std::collections::BTreeMap;

/// Whether a database is younger than this. RDS tells no time of creation while it makes one.
pub(super) fn is_younger_than(
    database: &RdsDatabase,
    than: SignedDuration,
    now: Timestamp,
) -> bool {
    database.created.map_or(database.status == "creating", |at| now.duration_since(at) < than)
}

const GIB: i64 = 1 << 30;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What every database is held against.
#[derive(Clone, Copy)]
struct DatabaseContext<'a> {
    policy: &'a Policy,
    facts: &'a FreshnessObservations,
    now: Timestamp,
}

/// How every selected database stands.
pub(super) fn evaluate_databases(
    policy: &Policy,
    facts: &FreshnessObservations,
    selected: &DatabaseSelection<'_>,
    now: Timestamp,
) -> Vec<FreshnessEvaluation> {
    let points: BTreeMap<&Location, _> =
        facts.rds.locations.iter().map(|(p, f)| (p, f.points_by_database())).collect();
    let home = Location::home_from_policy(policy);
    let ctx = DatabaseContext { policy, facts, now };
    let one = |(name, group, database): (&_, &DatabaseGroup, &RdsDatabase)| {
        let name: &shared::policy::text::Name = name;
        let mut judged = FreshnessEvaluation::new(name.as_str(), &database.id);
        let mine = points[&home].for_database(database);
        check_key_access(&mut judged, database);
        check_newest_point(&mut judged, &ctx, group, database, &mine);
        check_offsite_copies(&mut judged, &ctx, group, database, &mine, &points);
        settings::check_settings(&mut judged, facts, group, database, now);
        judged
    };
    selected.selected_databases().map(one).collect()
}

fn check_newest_point(
    judged: &mut FreshnessEvaluation,
    ctx: &DatabaseContext<'_>,
    group: &DatabaseGroup,
    database: &RdsDatabase,
    points: &[&RecoveryPoint],
) {
    let now = ctx.now;
    let objective = database_objective(ctx.policy, group, now);
    judged.set_objective(objective);
    let max_age = objective.map(|o| o.max_age);
    let good = || points.iter().filter(|p| p.is_complete() && !p.tags.transfer);
    let future = good().filter(|p| p.data_time.is_some_and(|t| data_age(t, now).is_none())).count();
    if future > 0 {
        let why = format!("{future} of its points have a time in the future, which proves nothing");
        judged.push_critical(
            FindingCode::ClockSkew,
            why,
            "compare the clocks of this host and of AWS",
        );
    }
    judged.points = Some(good().count());
    let locked = keys::check_keys(judged, ctx.facts, good().copied(), "points");
    let dated = good().filter(|p| keys::is_key_usable(ctx.facts, p));
    let dated = dated.filter_map(|p| Some((data_age(p.data_time?, now)?, *p)));
    let newest = dated.min_by_key(|(age, _)| *age);
    let growing = points
        .iter()
        .filter(|p| p.state == RecoveryPointState::InFlight && !p.tags.transfer)
        .count();
    let coming = if growing > 0 { format!("; {growing} on the way") } else { String::new() };
    let run = || hints::newer_point(group, &database.id);
    match (newest, max_age) {
        (None, _) if is_younger_than(database, max_age.unwrap_or_default(), now) => {
            judged.push_finding(
                Severity::Info,
                FindingCode::NoBackupYet,
                format!("it is new and has no recovery point yet{coming}"),
                "",
            );
        }
        (None, _) if locked => {} // Said above.
        (None, _) => {
            judged.standing.coverage = AssetCoverage::NeverTaken;
            judged.push_critical(
                FindingCode::NoBackup,
                format!("it has no good recovery point{coming}"),
                run(),
            );
        }
        (Some((old, point)), _) => {
            judged.warn_if_not_watched();
            judged.standing.newest_point = Some(point.id.clone());
            judged.standing.age_seconds = Some(old.as_secs());
            judged.standing.size_bytes = Some(i64::from(point.size_gib) * GIB);
            if let Some(objective) = objective.filter(|o| old > o.max_age) {
                let why = format!(
                    "its newest good point {} is {} old, {} over the {}{coming}",
                    point.id,
                    format_duration(old),
                    format_duration(old - objective.max_age),
                    describe_objective(objective)
                );
                judged.push_critical(FindingCode::BackupStale, why, run());
            }
        }
    }
    check_missed_schedules(judged, ctx, group, database, points);
    check_stuck_points(judged, ctx, points, "being taken");
    let newest_good = newest.and_then(|(_, p)| p.data_time);
    let newer = |p: &&&RecoveryPoint| p.intended_time() > newest_good && !p.tags.transfer;
    let failed =
        points.iter().filter(|p| matches!(p.state, RecoveryPointState::Failed(_))).filter(newer);
    for point in failed {
        let RecoveryPointState::Failed(word) = &point.state else { continue };
        let why = format!("its newest snapshot {} is {word}", point.id);
        judged.push_finding(
            Severity::Warning,
            FindingCode::SnapshotFailed,
            why,
            "see the database's events in RDS; the next run tries again",
        );
    }
}

/// The objective in words.
pub(super) fn describe_objective(objective: AgeObjective) -> String {
    let from = if objective.derived { " that follows from its schedule" } else { "" };
    format!("objective of {}{from}", format_duration(objective.max_age))
}

/// What the age of a database's newest point is held against: what is written, else what follows from the schedules of
/// its snapshots, else from RDS's own, which takes one a day in its window.
fn database_objective(
    policy: &Policy,
    group: &DatabaseGroup,
    now: Timestamp,
) -> Option<AgeObjective> {
    let whens = group.snapshots.values().filter_map(|s| s.schedule.as_ref());
    let written = group.objectives.max_age.as_ref();
    let own = AgeObjective::from_schedules(written, whens, &policy.time_zone, now);
    let automated = group.automated_backups.as_ref().map(|_| DAY);
    own.or_else(|| AgeObjective::for_copy(None, automated))
}

/// A schedule whose newest slot has no point of its own, though others may be young enough. From the second missed slot on
/// it is critical.
fn check_missed_schedules(
    judged: &mut FreshnessEvaluation,
    ctx: &DatabaseContext<'_>,
    group: &DatabaseGroup,
    database: &RdsDatabase,
    points: &[&RecoveryPoint],
) {
    if judged.has_finding(&[
        FindingCode::BackupStale,
        FindingCode::NoBackup,
        FindingCode::NoBackupYet,
        FindingCode::KmsKeyUnusable,
    ]) {
        return; // That says it already.
    }
    let zone = &ctx.policy.time_zone;
    for (reason, rule) in &group.snapshots {
        let Some(when) = &rule.schedule else { continue };
        let Some(due) = newest_overdue_slot(when, zone, ctx.now) else { continue };
        if database.created.is_some_and(|at| at > due) {
            continue;
        }
        // A monthly snapshot that is kept for 15 days may be deleted by now.
        if !is_still_kept(due, &rule.keep, ctx.now) {
            continue;
        }
        let owner = ctx.policy.owner();
        let of_reason =
            |p: &&&RecoveryPoint| p.has_reason(reason.as_str()) && p.is_owned_by(&owner);
        let of_reason = || points.iter().filter(of_reason);
        let taken = of_reason().filter(|p| p.is_complete()).filter_map(|p| p.data_time).max();
        let coming = of_reason()
            .any(|p| p.state == RecoveryPointState::InFlight && started_at(p) >= Some(due));
        if coming || taken.is_some_and(|at| at >= due) {
            continue;
        }
        let before = due.checked_sub(SignedDuration::from_secs(1)).ok();
        let before = before.and_then(|t| CronSchedule::new(when, zone).last_due(t));
        let once = before.is_some_and(|before| taken.is_some_and(|at| at >= before));
        let severity = if once { Severity::Warning } else { Severity::Critical };
        let newest =
            taken.map_or("there is none".to_owned(), |at| format!("its newest has data of {at}"));
        let why = format!("its {reason} snapshot of {due} was not taken: {newest}");
        let command = commands::snapshot(reason.as_str(), &database.id);
        judged.push_finding(severity, FindingCode::ScheduleMissed, why, commands::run(&command));
    }
}

/// What has been on its way for longer than this never comes.
const MAX_IN_FLIGHT_AGE: SignedDuration = SignedDuration::from_hours(24);

/// When a point was begun, as far as that is known.
fn started_at(point: &RecoveryPoint) -> Option<Timestamp> {
    let slot = || {
        let read = jiff::civil::DateTime::strptime("%Y%m%d%H%M", point.tags.slot.as_ref()?).ok()?;
        Some(read.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    point.started.or_else(slot)
}

/// Points that were begun and do not come to an end.
fn check_stuck_points(
    judged: &mut FreshnessEvaluation,
    ctx: &DatabaseContext<'_>,
    points: &[&RecoveryPoint],
    doing: &str,
) {
    for point in points.iter().filter(|p| p.state == RecoveryPointState::InFlight) {
        let Some(old) = started_at(point).map(|at| ctx.now.duration_since(at)) else { continue };
        if old > MAX_IN_FLIGHT_AGE {
            let why = format!("{} is {doing} since {}", point.id, format_duration(old));
            let hint =
                "see its events in RDS; delete it when it does not go on, and a new one is made";
            judged.push_critical(FindingCode::BackupStuck, why, hint);
        }
    }
}

/// States in which RDS can't read the database's storage, by its own words.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>
fn check_key_access(judged: &mut FreshnessEvaluation, database: &RdsDatabase) {
    if database.status.starts_with("inaccessible-encryption-credentials") {
        let why = format!("RDS can't use its KMS key: it is {}", database.status);
        let hint =
            "enable the key, and let RDS use it again, within 7 days: then start the database";
        judged.push_critical(FindingCode::KmsKeyUnusable, why, hint);
    }
}

fn check_offsite_copies(
    judged: &mut FreshnessEvaluation,
    ctx: &DatabaseContext<'_>,
    group: &DatabaseGroup,
    database: &RdsDatabase,
    home: &[&RecoveryPoint],
    points: &BTreeMap<&Location, PointsByDatabase<'_>>,
) {
    let (policy, now) = (ctx.policy, ctx.now);
    // Where one destination has none, the others' ages do not speak for it.
    let mut ages = Some(Vec::new());
    for rule in &group.copies {
        judged.standing.offsite_wanted = true;
        let Some(place) = Location::for_destination(policy, &rule.to) else { continue };
        // A place that can't be seen is a finding of its own; its copies' age is unknown, so it is not published.
        let Some(there) = points.get(&place).map(|p| p.for_database(database)) else {
            judged.push_critical(
                FindingCode::OffsiteCopyUnknown,
                format!("its copies at {place} can't be seen"),
                "see the gap of that place",
            );
            ages = None;
            continue;
        };
        let pair =
            CopyComparison { policy, group, rule, source_points: home, destination_points: &there };
        let good = there.iter().copied().filter(|p| p.is_complete() && p.tags.copy_of.is_some());
        let locked = keys::check_keys(judged, ctx.facts, good, &format!("copies at {}", rule.to));
        // A copy from the future proves nothing, and must not hide one that does; nor one that can't be decrypted.
        let dated: Vec<_> = (there.iter().copied())
            .filter(|p| p.data_time.is_some_and(|t| data_age(t, now).is_some()))
            .filter(|p| keys::is_key_usable(ctx.facts, p))
            .collect();
        let newest = CopyComparison { destination_points: &dated, ..pair }.newest_good_copy();
        let newest = newest.and_then(|p| data_age(p.data_time?, now));
        let objective =
            AgeObjective::for_copy(rule.max_age.as_ref(), copy_interval(policy, group, rule, now));
        let max = objective.map(|o| o.max_age);
        if newest.is_none() && is_on_demand(group, rule) && !has_source(rule, home) {
            continue;
        }
        let on_the_way = there.iter().filter(|p| p.state == RecoveryPointState::InFlight).count();
        let coming =
            if on_the_way > 0 { format!("; {on_the_way} on the way") } else { String::new() };
        ages = ages.zip(newest).map(|(ages, age)| [ages, vec![age]].concat());
        let sent = pair.candidates(now);
        match newest {
            None if locked => {}                                // Said above.
            None if home.iter().all(|p| !p.is_complete()) => {} // Nothing to copy yet: said above, once.
            None if is_younger_than(database, max.unwrap_or_default(), now) => {
                let why = format!("it is new and {} has no copy of it yet{coming}", rule.to);
                judged.push_finding(Severity::Info, FindingCode::NoBackupYet, why, "");
            }
            None => {
                let why = format!("{} has no good copy of it{coming}", rule.to);
                judged.push_critical(
                    FindingCode::OffsiteCopyMissing,
                    why,
                    commands::run(commands::RUN_OFFSITE),
                );
            }
            Some(old) => {
                if let Some(objective) = objective.filter(|o| old > o.max_age) {
                    let why = format!(
                        "its newest good copy at {} has data {} old, over the {}{coming}",
                        rule.to,
                        format_duration(old),
                        describe_objective(objective)
                    );
                    judged.push_critical(
                        FindingCode::OffsiteCopyStale,
                        why,
                        commands::run(commands::RUN_OFFSITE),
                    );
                } else if let (None, Some(late)) = (objective, overdue_copy(&sent, now)) {
                    let why = format!("{late} waits for its copy at {} for over a day", rule.to);
                    judged.push_critical(
                        FindingCode::OffsiteCopyStale,
                        why,
                        commands::run(commands::RUN_OFFSITE),
                    );
                }
            }
        }
        check_stuck_points(judged, ctx, &there, &format!("being copied to {}", rule.to));
        for sent in sent {
            if let CopyStatus::Wrong(copy, why) = &sent.status {
                let why = format!("the copy {} at {} does not count: {why}", copy.id, rule.to);
                judged.push_critical(
                    FindingCode::WrongCopy,
                    why,
                    "delete it when you know why; a new one is made after that",
                );
            }
        }
    }
    judged.standing.offsite_age_seconds =
        ages.and_then(|a| a.into_iter().max()).map(|a| a.as_secs());
}

/// Whether a rule copies only what is taken on demand, as before a deployment: until there is one, nothing has to be there.
fn is_on_demand(group: &DatabaseGroup, rule: &SnapshotCopyRule) -> bool {
    let unscheduled = |r| group.snapshots.get(r).is_some_and(|s| s.schedule.is_none());
    rule.of.iter().all(unscheduled)
}

/// Whether there is a good point at home that a rule copies.
fn has_source(rule: &SnapshotCopyRule, home: &[&RecoveryPoint]) -> bool {
    home.iter().any(|p| p.is_complete() && rule.of.iter().any(|r| p.has_reason(r.as_str())))
}

/// The shortest time between two points that a rule copies; RDS's own come once a day.
fn copy_interval(
    policy: &Policy,
    group: &DatabaseGroup,
    rule: &SnapshotCopyRule,
    now: Timestamp,
) -> Option<SignedDuration> {
    let of = |reason: &ReasonName| match group.snapshots.get(reason) {
        Some(snapshots) => {
            objective::schedule_interval(snapshots.schedule.as_ref()?, &policy.time_zone, now)
        }
        None => Some(DAY),
    };
    rule.of.iter().filter_map(of).min()
}

/// Where no schedule says how old a copy may be: a point that the rule wants there, and that has none for a day.
fn overdue_copy<'p>(sent: &[CopyCandidate<'p>], now: Timestamp) -> Option<&'p str> {
    let late = |s: &&CopyCandidate<'_>| {
        !s.keep_reasons.is_empty()
            && matches!(s.status, CopyStatus::Missing { .. })
            && s.source.data_time.is_some_and(|t| now.duration_since(t) > DAY)
    };
    sent.iter().find(late).map(|s| s.source.id.as_str())
}
