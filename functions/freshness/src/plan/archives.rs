//! How a WAL archive stands: what can be restored by what lies there, and what its server has not archived. An idle server
//! archives nothing and is never a finding: only segments that wait are.

use super::{FreshnessEvaluation, data_age, databases::describe_objective};
use jiff::{SignedDuration, Timestamp};
use shared::{
    hints::commands,
    objective::AgeObjective,
    parts::wal_asset,
    plan::{FindingCode, Severity},
    policy::{
        Policy, WalConfig,
        text::{Name, Period},
    },
    report::AssetCoverage,
    time::format_duration,
};
use wal::{
    inventory::{ArchiveInventory, SystemInventory},
    retention::missing_wal,
    status::ArchiverStatus,
    windows::compute_windows,
};

/// Finished segments may wait so long where the policy does not say `max_lag`.
const DEFAULT_MAX_LAG: SignedDuration = SignedDuration::from_mins(15);

/// A group's archive, as it was seen.
#[derive(Clone, Debug)]
pub struct ObservedArchive {
    /// The group.
    pub group: Name,
    /// What was seen.
    pub facts: ArchiveFacts,
}

/// What was seen of an archive.
#[derive(Clone, Debug)]
pub enum ArchiveFacts {
    /// Only another host can look there.
    OnOtherHost,
    /// It could not be read: why, and what to do.
    Unobserved(String, String),
    /// What lies there, and what the server says or why it can't be asked.
    Observed(Box<(ArchiveInventory, Result<ArchiverStatus, String>)>),
}

/// How an archive stands at `now`.
pub(super) fn evaluate_archive(
    policy: &Policy,
    archive: &ObservedArchive,
    now: Timestamp,
) -> FreshnessEvaluation {
    let mut judged = FreshnessEvaluation::new(archive.group.as_str(), &wal_asset(&archive.group));
    let Some(config) = policy.postgres.get(&archive.group).and_then(|g| g.wal.as_ref()) else {
        return judged;
    };
    let (inventory, server) = match &archive.facts {
        ArchiveFacts::OnOtherHost => {
            let why = "its WAL archive is seen from its host alone";
            let hint = format!("{} there", commands::run(commands::MONITOR));
            judged.push_finding(Severity::Info, FindingCode::NotObservedHere, why, hint);
            return judged;
        }
        ArchiveFacts::Unobserved(why, hint) => {
            let why = format!("its WAL archive can't be read: {why}");
            judged.push_critical(FindingCode::BackupUnknown, why, hint.clone());
            return judged;
        }
        ArchiveFacts::Observed(seen) => (&seen.0, &seen.1),
    };
    judged.window_wanted = true;
    let when = config.base_backups.schedule.iter();
    let objective = AgeObjective::from_schedules(None, when, &policy.time_zone, now);
    judged.set_objective(objective);
    let known = server.as_ref().ok().filter(|s| s.system != 0).map(|s| s.system);
    let Some(system) = inventory.select_system(known) else {
        judged.standing.coverage = AssetCoverage::NeverTaken;
        let why = "nothing of this server is in its WAL archive";
        judged.push_critical(FindingCode::NoBackup, why, "see docs/pitr.md, \"Set it up\"");
        evaluate_server(&mut judged, config, server.as_ref(), None);
        return judged;
    };
    evaluate_base_backups(&mut judged, system, objective, now);
    evaluate_continuity(&mut judged, system);
    evaluate_server(&mut judged, config, server.as_ref(), Some(system));
    judged
}

fn evaluate_base_backups(
    judged: &mut FreshnessEvaluation,
    system: &SystemInventory,
    objective: Option<AgeObjective>,
    now: Timestamp,
) {
    let whole: Vec<_> =
        system.backups.iter().filter(|b| missing_wal(system, b).is_none()).collect();
    judged.points = Some(whole.len());
    let newest = whole.into_iter().rfind(|b| data_age(b.finished_at, now).is_some());
    let Some(newest) = newest else {
        judged.standing.coverage = AssetCoverage::NeverTaken;
        let why = "there is no base backup with all of its WAL, so no moment can be restored";
        judged.push_critical(FindingCode::NoBackup, why, commands::run(commands::BASEBACKUP));
        return;
    };
    let old = data_age(newest.finished_at, now).unwrap_or_default();
    let stored: u64 = newest.archives.iter().map(|a| a.digests.stored.bytes).sum();
    judged.standing.newest_point = Some(newest.label.clone());
    judged.standing.age_seconds = Some(old.as_secs());
    judged.standing.size_bytes = i64::try_from(stored).ok();
    match objective {
        None => {
            let why = "no schedule of base backups is written, so nobody knows when the newest one is too old";
            let hint = "write wal.base_backups.schedule";
            judged.push_finding(Severity::Warning, FindingCode::NotWatched, why, hint);
        }
        Some(objective) if old > objective.max_age => {
            let why = format!(
                "its newest base backup {} is {} old, over the {}",
                newest.label,
                format_duration(old),
                describe_objective(objective)
            );
            judged.push_critical(
                FindingCode::BackupStale,
                why,
                commands::run(commands::BASEBACKUP),
            );
        }
        Some(_) => {}
    }
}

/// Gaps and what can't be used. A gap that a newer base backup lies behind costs old moments, and no new ones.
fn evaluate_continuity(judged: &mut FreshnessEvaluation, system: &SystemInventory) {
    let windows = compute_windows(system);
    let end = system.segments.keys().next_back().zip(system.segment_size);
    let end = end.map(|((timeline, last), size)| (*timeline, size.segment_start(last + 1)));
    let reached = windows.windows.iter().any(|w| Some((w.timeline, w.until_lsn)) == end);
    let severity = if reached { Severity::Warning } else { Severity::Critical };
    for gap in &windows.gaps {
        let why = format!(
            "WAL is missing on the way to timeline {}: {} to {}",
            gap.timeline, gap.first, gap.last
        );
        let hint = format!(
            "{}: moments from then on can be restored",
            commands::run(commands::BASEBACKUP)
        );
        judged.push_finding(severity, FindingCode::WalGap, why, hint);
    }
    for fault in &windows.faults {
        let hint = "look into it; it is never deleted by itself";
        judged.push_finding(Severity::Warning, FindingCode::BackupInvalid, fault, hint);
    }
}

/// What the server says of its archiving.
fn evaluate_server(
    judged: &mut FreshnessEvaluation,
    config: &WalConfig,
    server: Result<&ArchiverStatus, &String>,
    system: Option<&SystemInventory>,
) {
    let not_archived = FindingCode::WalNotArchived;
    let server = match server {
        Ok(server) => server,
        Err(why) => {
            let why = format!("what its server has not archived is not known: {why}");
            let hint = "let this host connect to the server";
            judged.push_finding(Severity::Warning, FindingCode::NotObserved, why, hint);
            return;
        }
    };
    for slot in server.slots.iter().filter(|s| s.wal_status.as_deref() == Some("lost")) {
        let why = format!("the server has removed WAL that the slot {} needs", slot.name);
        let hint = "drop the slot, make it anew, and take a base backup";
        judged.push_critical(not_archived, why, hint);
    }
    if server.in_recovery {
        return;
    }
    let received = server.slots.iter().any(|s| s.active);
    if !server.archive_mode && !received {
        let why = "archive_mode is off and nobody receives by a slot: nothing is archived";
        judged.push_critical(not_archived, why, "see docs/pitr.md, \"Set it up\"");
        return;
    }
    let size = system.and_then(|s| Some((s, s.segment_size?)));
    if let Some(name) = size.and_then(|(system, size)| server.missing_from(system, size)) {
        let why = format!("the server calls {name} archived, and it is not in the archive");
        let hint = "correct archive_command as docs/pitr.md has it, then take a base backup";
        judged.push_critical(not_archived, why, hint);
    }
    judged.restorable_lag = server.backlog_age();
    let limit = config.max_lag.as_ref().map_or(DEFAULT_MAX_LAG, Period::duration);
    let hint = "see the server's log for why archive_command fails";
    let failed = server.last_failed.as_deref().unwrap_or("a file");
    match server.backlog_age() {
        Some(age) if age > limit => {
            let why = format!(
                "{} files wait to be archived, the oldest for {}, over the {}",
                server.ready_files.unwrap_or_default(),
                format_duration(age),
                format_duration(limit)
            );
            judged.push_critical(not_archived, why, hint);
        }
        None if server.failing => {
            let why = format!(
                "archiving of {failed} failed, and how long it has waited is not known: grant pg_monitor"
            );
            judged.push_critical(not_archived, why, hint);
        }
        Some(_) if server.failing => {
            let why = format!("archiving of {failed} failed and is tried again");
            judged.push_finding(Severity::Warning, not_archived, why, hint);
        }
        _ => {}
    }
    let every = config.every.as_ref().map(|p| p.duration().as_secs());
    if let Some(every) =
        every.filter(|e| server.archive_timeout == 0 || server.archive_timeout > *e)
    {
        let why = format!(
            "archive_timeout is {} s, and the policy's `every` is {every} s",
            server.archive_timeout
        );
        let hint = format!("ALTER SYSTEM SET archive_timeout = {every}; SELECT pg_reload_conf()");
        judged.push_finding(Severity::Warning, not_archived, why, hint);
    }
}
