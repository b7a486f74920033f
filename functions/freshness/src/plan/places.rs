//! How an asset stands whose points lie as objects or files: age, size, checksum, second places, disks.

use super::{
    FreshnessEvaluation, data_age,
    databases::describe_objective,
    stored::{ChecksumStatus, ObjectAsset, ObjectRecoveryPoint, PointSchedule},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    hints::commands,
    keep::is_still_kept,
    objective::{AgeObjective, COPY_GRACE_PERIOD, newest_overdue_slot},
    plan::{Finding, FindingCode, Severity},
    policy::{AssetObjectives, Policy},
    report::AssetCoverage,
    time::{CronSchedule, format_duration},
};
use std::collections::BTreeMap;

/// How an asset stands at `now` by what lies in its places.
pub(super) fn evaluate_object_asset(stored: &ObjectAsset, now: Timestamp) -> FreshnessEvaluation {
    let mut judged = FreshnessEvaluation::new(&stored.group, &stored.asset);
    let AssetObjectives { min_size, max_size_deviation, .. } = &stored.objectives;
    let objective = stored.objective(now);
    let at = stored.display_location();
    if stored.on_other_host {
        let why = format!("what lies under {at} is seen from its host alone");
        judged.push_finding(
            Severity::Info,
            FindingCode::NotObservedHere,
            why,
            format!("{} there", commands::run(commands::MONITOR)),
        );
        return judged;
    }
    check_offsite_copies(&mut judged, stored, objective, now);
    if !stored.observed {
        let (why, hint) = unobserved_reason(stored);
        judged.push_critical(
            FindingCode::BackupUnknown,
            format!("what lies under {at} can't be seen{why}"),
            hint,
        );
        return judged;
    }
    judged.set_objective(objective);
    judged.points = Some(stored.count);
    for (key, why) in &stored.faulty {
        let why = format!("{key} counts as no backup: {why}");
        judged.push_finding(
            Severity::Warning,
            FindingCode::BackupInvalid,
            why,
            "look into it; it is never deleted by itself",
        );
    }
    let Some(newest) = stored.newest.iter().find(|p| data_age(p.at, now).is_some()) else {
        if stored.newest.is_empty() && stored.future == 0 {
            let nothing = match stored.count {
                0 if stored.committed => "no dump with a commit record",
                0 => "nothing",
                _ => "no dump of the whole database",
            };
            judged.standing.coverage = AssetCoverage::NeverTaken;
            // Where nothing is asked of it, nothing is missed, and nothing is protected.
            let asked = objective.is_some() || min_size.is_some() || max_size_deviation.is_some();
            let severity = if asked { Severity::Critical } else { Severity::Warning };
            let why = format!("there is {nothing} under {at}");
            judged.push_finding(
                severity,
                FindingCode::NoBackup,
                why,
                "see whether what writes there runs",
            );
        } else {
            let why =
                format!("what lies under {at} has a time in the future, which proves nothing");
            judged.push_critical(
                FindingCode::ClockSkew,
                why,
                "compare the clocks of this host and of what writes there",
            );
        }
        return judged;
    };
    judged.warn_if_not_watched();
    if let Some(key) = &stored.dated_ahead {
        let why = format!(
            "{} under {at} are dated in the future and count for nothing: {key}",
            stored.future
        );
        judged.push_finding(
            Severity::Warning,
            FindingCode::ClockSkew,
            why,
            "find out who put them there, or whose clock is ahead",
        );
    }
    let old = data_age(newest.at, now).unwrap_or_default();
    judged.standing.newest_point = Some(newest.key.clone());
    judged.standing.age_seconds = Some(old.as_secs());
    judged.standing.size_bytes = i64::try_from(newest.size).ok();
    if let Some(objective) = objective.filter(|o| old > o.max_age) {
        let why = format!(
            "its newest object {} is {} old, over the {}",
            newest.key,
            format_duration(old),
            describe_objective(objective)
        );
        judged.push_critical(
            FindingCode::BackupStale,
            why,
            format!("see whether what writes to {at} runs"),
        );
    }
    check_missed_schedules(&mut judged, stored, now);
    if let Some(least) = min_size.as_ref().filter(|least| newest.size < least.byte_count()) {
        let why = format!(
            "its newest object {} has {} bytes, under the least of {least}",
            newest.key, newest.size
        );
        judged.push_critical(
            FindingCode::SizeBelowMinimum,
            why,
            "look into it before older ones go: it may be empty",
        );
    }
    check_size(&mut judged, stored, newest);
    check_checksum(&mut judged, stored, newest);
    judged
}

/// A schedule whose newest slot has no dump of its own, though others may be young enough. From the second missed slot on
/// it is critical.
fn check_missed_schedules(judged: &mut FreshnessEvaluation, stored: &ObjectAsset, now: Timestamp) {
    for PointSchedule { reason, when, counts_for_objective: whole, keep } in &stored.schedules {
        let Some(reason) = reason.as_ref().filter(|_| stored.committed) else { continue };
        let Some(due) = newest_overdue_slot(when, &stored.zone, now) else { continue };
        if keep.as_ref().is_some_and(|k| !is_still_kept(due, k, now)) {
            continue;
        }
        let taken = stored.by_reason.get(reason).copied();
        if taken.is_some_and(|at| at >= due)
            || (*whole && judged.has_finding(&[FindingCode::BackupStale]))
        {
            continue;
        }
        let before = due.checked_sub(SignedDuration::from_secs(1)).ok();
        let before = before.and_then(|t| CronSchedule::new(when, &stored.zone).last_due(t));
        let once = before.is_some_and(|before| taken.is_some_and(|at| at >= before));
        let severity = if once { Severity::Warning } else { Severity::Critical };
        let newest =
            taken.map_or("there is none".to_owned(), |at| format!("its newest has data of {at}"));
        let why = format!("its {reason} dump of {due} was not taken: {newest}");
        let command = commands::dump(&format!("{}/{}", stored.group, stored.asset), reason);
        judged.push_finding(severity, FindingCode::ScheduleMissed, why, commands::run(&command));
    }
}

/// Why a place was not seen, and what to do.
fn unobserved_reason(place: &ObjectAsset) -> (String, String) {
    match &place.unobserved_reason {
        Some((why, hint)) => (format!(": {why}"), hint.clone()),
        None => (String::new(), "see the gap of that place".into()),
    }
}

/// Size against the median of those before it, of the same reason.
fn check_size(
    judged: &mut FreshnessEvaluation,
    stored: &ObjectAsset,
    newest: &ObjectRecoveryPoint,
) {
    let alike = |p: &&ObjectRecoveryPoint| p.key != newest.key && p.reason == newest.reason;
    let mut before: Vec<u64> = stored.newest.iter().filter(alike).map(|p| p.size).collect();
    before.sort_unstable();
    let Some(median) = before.get(before.len() / 2).filter(|m| **m > 0) else { return };
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let change = (newest.size as f64 - *median as f64) / *median as f64;
    judged.max_size_deviation = Some(change);
    if let Some(share) = &stored.objectives.max_size_deviation
        && change.abs() > share.fraction()
    {
        let why = format!(
            "its newest object {} has {} bytes, {:+.0}% against the median of the {} before it ({median})",
            newest.key,
            newest.size,
            change * 100.0,
            before.len()
        );
        judged.push_finding(
            Severity::Warning,
            FindingCode::SizeDeviation,
            why,
            "see what changed in the data",
        );
    }
}

/// The newest point against the checksum beside it, where somebody looked.
fn check_checksum(
    judged: &mut FreshnessEvaluation,
    stored: &ObjectAsset,
    newest: &ObjectRecoveryPoint,
) {
    match stored.checksum {
        Some(ChecksumStatus::Differs) => {
            let why = format!("its newest object {} is not what its checksum says", newest.key);
            let hint = "take a new one now, and find out what changed it: it was whole when it was written";
            judged.push_critical(FindingCode::ChecksumMismatch, why, hint);
        }
        Some(ChecksumStatus::Missing) => {
            let why = format!("no checksum lies beside its newest object {}", newest.key);
            let hint =
                "write one beside each (`sha256sum`), so that damage is seen before it is needed";
            judged.push_finding(Severity::Warning, FindingCode::ChecksumMissing, why, hint);
        }
        Some(ChecksumStatus::Matches) | None => {}
    }
}

/// The age of the newest point in each second place; of several, where it is oldest.
fn check_offsite_copies(
    judged: &mut FreshnessEvaluation,
    stored: &ObjectAsset,
    objective: Option<AgeObjective>,
    now: Timestamp,
) {
    // A copy comes after its source; a written objective is that of the copy too.
    let later = |o: AgeObjective| if o.derived { o.max_age + COPY_GRACE_PERIOD } else { o.max_age };
    let objective = objective.map(|o| AgeObjective { max_age: later(o), ..o });
    let mut ages = Some(Vec::new());
    for place in &stored.copies {
        judged.standing.offsite_wanted = true;
        let at = place.display_location();
        if place.on_other_host {
            ages = None;
            continue;
        }
        if !place.observed {
            let (why, hint) = unobserved_reason(place);
            judged.push_critical(
                FindingCode::OffsiteCopyUnknown,
                format!("its copies under {at} can't be seen{why}"),
                hint,
            );
            ages = None;
            continue;
        }
        let newest = place.newest.iter().find_map(|p| Some((data_age(p.at, now)?, p)));
        ages = ages.zip(newest).map(|(ages, (age, _))| [ages, vec![age]].concat());
        // What Holdfast does not dump, it does not copy.
        let run = || {
            if stored.committed {
                commands::run(&commands::dump_due(&stored.group))
            } else {
                format!("see whether what copies to {at} runs")
            }
        };
        match newest {
            None if stored.observed && stored.newest.is_empty() => {} // Nothing to copy yet: said of the first place.
            None => {
                judged.push_critical(
                    FindingCode::OffsiteCopyMissing,
                    format!("no copy of it lies under {at}"),
                    run(),
                );
            }
            Some((old, point)) => {
                if let Some(objective) = objective.filter(|o| old > o.max_age) {
                    let why = format!(
                        "its newest copy {} under {at} is {} old, over the {}",
                        point.key,
                        format_duration(old),
                        describe_objective(objective)
                    );
                    judged.push_critical(FindingCode::OffsiteCopyStale, why, run());
                }
            }
        }
    }
    judged.standing.offsite_age_seconds =
        ages.and_then(|a| a.into_iter().max()).map(|a| a.as_secs());
}

/// Disks with less free space than a group's dumps must leave, each once.
pub(super) fn check_disks(policy: &Policy, stored: &[ObjectAsset]) -> DiskUsage {
    let mut free: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for place in stored.iter().flat_map(|s| std::iter::once(s).chain(&s.copies)) {
        let directory = place.store.directory.clone();
        if let (Some(bytes), Some(directory)) = (place.free, directory) {
            free.insert((&place.group, directory), bytes);
        }
    }
    let mut disks = DiskUsage::default();
    for ((group, directory), bytes) in free {
        let least = disks.least.entry(group.to_owned()).or_insert(bytes);
        *least = bytes.min(*least);
        let rules = policy.stored_groups().find(|(name, _)| name.as_str() == group);
        let Some(wanted) = rules.and_then(|(_, g)| g.min_free_space.as_ref()) else { continue };
        if bytes < wanted.byte_count() {
            let why = format!(
                "{bytes} bytes are free on the disk of {directory}, under the {wanted} that a dump must leave"
            );
            let hint = "free some, or let older dumps go: the next dump is not taken otherwise";
            let finding = Finding::new(Severity::Critical, group, FindingCode::DiskLow, why, hint);
            disks.findings.push(finding.in_group(group));
        }
    }
    disks
}

/// What the disks of directories come to.
#[derive(Debug, Default)]
pub(super) struct DiskUsage {
    /// Disks that are too full.
    pub(super) findings: Vec<Finding>,
    /// The least free space of each group's disks, in bytes.
    pub(super) least: BTreeMap<String, u64>,
}
