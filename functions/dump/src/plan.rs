//! Which dumps are due and which copies are missing. Pure: no I/O and no clock.

mod action;
mod copies;

pub use action::{CopyDump, CopyUnchangedMarker, DumpAction, DumpDatabase};

use copies::plan_copies;
use jiff::Timestamp;
use shared::{
    aws::{OperationError, OperationErrorKind},
    plan::{ActionPlan, Finding, FindingCode, Severity},
    policy::{
        DumpFormat, DumpRule, Policy, PostgresGroup, StoreConfig,
        text::{ByteSize, Name, ReasonName},
    },
    request::{RunRequest, SCHEDULE_REASON},
    time::{CronSchedule, format_duration},
};
use std::collections::BTreeMap;
use storage::{StoredBackup, catalogue::BackupKind, place::key_template_for};

/// One database of a group: what the policy says and what was seen of it.
#[derive(Debug)]
pub struct ObservedDatabase<'p> {
    /// The group.
    pub group: &'p Name,
    /// What the policy says about it.
    pub rules: &'p PostgresGroup,
    /// Its dumps by reason.
    pub dumps: BTreeMap<ReasonName, DumpRule>,
    /// The database.
    pub database: String,
    /// Size of the database, or why it can't be dumped: the server is not reached, the client is too old, ...
    pub server: Result<u64, OperationError>,
    /// Why a reason's dumps can't be encrypted.
    pub key_errors: BTreeMap<ReasonName, OperationError>,
    /// Free bytes where the dumps lie, for a directory.
    pub free_bytes: Option<u64>,
    /// Backups in `storage`, then in each of `copies`; or why a place can't be seen.
    pub locations: Vec<Result<Vec<StoredBackup>, OperationError>>,
}

/// Plans the dumps that are due at `now` or that `request` asks for, and the copies that are missing.
///
/// Assets of a request are groups, or databases as `group/database`.
pub fn plan(
    policy: &Policy,
    looked: &[ObservedDatabase<'_>],
    request: &RunRequest,
    now: Timestamp,
) -> ActionPlan<DumpAction> {
    let mut plan = ActionPlan::default();
    if request.reason != SCHEDULE_REASON {
        plan_on_demand(&mut plan, looked, request, now);
        return plan;
    }
    for l in looked {
        push_observation_findings(&mut plan, l);
        let due = due_dumps(policy, l, now);
        if due.is_empty() {
            push_preflight_findings(&mut plan, l);
        }
        for (reason, dump, slot) in due {
            let because =
                format!("{reason} is due since {}", format_duration(now.duration_since(slot)));
            plan_dump(&mut plan, l, (reason, dump), Some(slot), now, &because);
        }
        plan_copies(&mut plan, l, now);
    }
    plan
}

fn database_finding(
    l: &ObservedDatabase<'_>,
    severity: Severity,
    what: FindingCode,
    why: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    Finding::new(severity, format!("{}/{}", l.group, l.database), what, why, hint).in_group(l.group)
}

/// Places that could not be seen, and files there whose commit record can't be read.
fn push_observation_findings(plan: &mut ActionPlan<DumpAction>, l: &ObservedDatabase<'_>) {
    for place in &l.locations {
        match place {
            Err(e) => plan.findings.push(database_finding(
                l,
                Severity::Critical,
                FindingCode::ObservationFailed,
                e.to_string(),
                e.hint().to_owned(),
            )),
            Ok(backups) => {
                for backup in backups {
                    if !backup.ignored.is_empty() {
                        let why = format!("beside {}: {}", backup.uri, backup.ignored.join("; "));
                        let hint = "find out who put it there; it does not count";
                        plan.findings.push(database_finding(
                            l,
                            Severity::Warning,
                            FindingCode::ObjectIgnored,
                            why,
                            hint,
                        ));
                    }
                    if let BackupKind::Faulty { why, hint, .. } = &backup.kind {
                        let why = format!("{} counts as no backup: {why}", backup.uri);
                        plan.findings.push(database_finding(
                            l,
                            Severity::Critical,
                            FindingCode::BackupInvalid,
                            why,
                            hint,
                        ));
                    }
                }
            }
        }
    }
}

/// Each reason of a database that is due and has no good dump of its slot.
fn due_dumps<'l>(
    policy: &Policy,
    l: &'l ObservedDatabase<'_>,
    now: Timestamp,
) -> Vec<(&'l ReasonName, &'l DumpRule, Timestamp)> {
    let scheduled = l.dumps.iter().filter(|(_, d)| d.format != DumpFormat::Base);
    scheduled
        .filter_map(|(reason, dump)| {
            let schedule = CronSchedule::new(dump.schedule.as_ref()?, &policy.time_zone);
            Some((reason, dump, schedule.last_due(now)?))
        })
        .filter(|(reason, dump, slot)| {
            output_files(dump).iter().any(|table| !is_slot_done(l, reason, *slot, table.as_deref()))
        })
        .collect()
}

fn is_slot_done(
    l: &ObservedDatabase<'_>,
    reason: &ReasonName,
    slot: Timestamp,
    table: Option<&str>,
) -> bool {
    let Some(Ok(backups)) = l.locations.first() else { return false };
    backups.iter().filter_map(|b| Some((b, b.committed_manifest()?))).any(|(b, m)| {
        m.reason == reason.as_str()
            && m.table.as_deref() == table
            && (m.slot == Some(slot) || b.unchanged.iter().any(|at| *at >= slot))
    })
}

/// The newest dump for this reason, if a new one that holds the same need not be stored: one that can be read at once,
/// and stays so until the tiers of the policy move it.
fn dedup_candidate(
    l: &ObservedDatabase<'_>,
    reason: &ReasonName,
    dump: &DumpRule,
    now: Timestamp,
) -> Option<String> {
    let there = l.locations.first()?.as_ref().ok().filter(|_| dump.skip_unchanged)?;
    let good = there.iter().filter_map(|b| Some((b, b.committed_manifest()?)));
    let (newest, manifest) = good
        .filter(|(_, m)| m.reason == reason.as_str() && m.table.is_none())
        .max_by_key(|(b, _)| b.data_time())?;
    let colder = l.rules.tiers.iter().filter_map(|t| Some(t.after.as_ref()?.duration())).min();
    let old = now.duration_since(newest.modified);
    let warm = !newest.archived && colder.is_none_or(|after| old < after);
    (warm && manifest.fingerprint.is_some()).then(|| newest.key.clone())
}

/// The files that one dump is made of: one, or one for each table and query of CSV.
fn output_files(dump: &DumpRule) -> Vec<Option<String>> {
    if dump.format != DumpFormat::Csv {
        return vec![None];
    }
    dump.tables
        .iter()
        .cloned()
        .chain(dump.queries.keys().map(ToString::to_string))
        .map(Some)
        .collect()
}

/// What will be in the way of the next dump is said before it is due.
fn push_preflight_findings(plan: &mut ActionPlan<DumpAction>, l: &ObservedDatabase<'_>) {
    if l.dumps.values().all(|d| d.schedule.is_none()) {
        return;
    }
    if let Err(e) = &l.server {
        let why = format!("the next dump would fail: {e}");
        let severity = if e.kind == OperationErrorKind::Database {
            Severity::Warning
        } else {
            Severity::Critical
        };
        plan.findings.push(database_finding(
            l,
            severity,
            FindingCode::PreflightFailed,
            why,
            e.hint().to_owned(),
        ));
    }
    for (reason, e) in &l.key_errors {
        let why = format!("the next dump for {reason} would fail: {e}");
        plan.findings.push(database_finding(
            l,
            Severity::Critical,
            FindingCode::NoKey,
            why,
            e.hint().to_owned(),
        ));
    }
}

/// One dump: a step for each of its files, unless something is in the way that is known already.
fn plan_dump(
    plan: &mut ActionPlan<DumpAction>,
    l: &ObservedDatabase<'_>,
    (reason, dump): (&ReasonName, &DumpRule),
    slot: Option<Timestamp>,
    now: Timestamp,
    because: &str,
) {
    let Some(Ok(there)) = l.locations.first() else {
        // The gap is a finding already; blind, nobody knows whether the dump is there.
        return;
    };
    if let (Some(free), Ok(size)) = (l.free_bytes, &l.server) {
        let kept_free = l.rules.min_free_space.as_ref().map_or(0, ByteSize::byte_count);
        let needed = estimated_bytes(there, reason, *size).saturating_add(kept_free);
        if free < needed {
            let why = format!("{free} bytes are free and {needed} are needed for {reason}");
            let hint = "free space on the disk, or put the directory on a larger one";
            plan.findings.push(database_finding(
                l,
                Severity::Critical,
                FindingCode::DiskFull,
                why,
                hint,
            ));
            return;
        }
    }
    for table in output_files(dump) {
        if slot.is_some_and(|slot| is_slot_done(l, reason, slot, table.as_deref())) {
            continue;
        }
        if let Err(e) =
            check_key_template(&l.rules.storage, l, (reason, dump), table.as_deref(), now)
        {
            plan.findings.push(bad_key_finding(l, &e));
            return;
        }
        let take = DumpDatabase {
            group: l.group.clone(),
            database: l.database.clone(),
            reason: reason.clone(),
            slot,
            table,
            dedup_candidate: dedup_candidate(l, reason, dump, now),
        };
        plan.push_step(format!("{}/{}", l.group, l.database), DumpAction::Create(take), because);
    }
}

/// Whether a dump can be named in a place. Which name it gets is seen when it is taken: it has the time of its data.
fn check_key_template(
    place: &StoreConfig,
    l: &ObservedDatabase<'_>,
    (reason, dump): (&ReasonName, &DumpRule),
    table: Option<&str>,
    at: Timestamp,
) -> Result<(), storage::StoreError> {
    let form = key_template_for(place, l.rules, dump)?;
    form.render_key(&l.database, reason.as_str(), table.unwrap_or_default(), at).map(drop)
}

fn bad_key_finding(l: &ObservedDatabase<'_>, e: &storage::StoreError) -> Finding {
    database_finding(
        l,
        Severity::Critical,
        FindingCode::InvalidKeyTemplate,
        e.to_string(),
        e.hint.clone(),
    )
}

/// Bytes that a dump may need: the database's own size at most, or twice what the last one for this reason took.
fn estimated_bytes(there: &[StoredBackup], reason: &ReasonName, database_bytes: u64) -> u64 {
    let last = there
        .iter()
        .filter_map(StoredBackup::committed_manifest)
        .filter(|m| m.reason == reason.as_str())
        .max_by_key(|m| m.data_time);
    last.map_or(database_bytes, |m| database_bytes.min(m.file.bytes.saturating_mul(2)))
}

fn plan_on_demand(
    plan: &mut ActionPlan<DumpAction>,
    looked: &[ObservedDatabase<'_>],
    request: &RunRequest,
    now: Timestamp,
) {
    let reason = request.reason.as_str();
    if !looked.iter().any(|l| find_reason(l, reason).is_some()) {
        let all = looked.iter().flat_map(|l| l.dumps.keys()).map(ToString::to_string);
        let why = format!("none of these groups takes dumps for \"{reason}\"");
        let hint = shared::hints::hint_for_reason(reason, all);
        plan.findings.push(Finding::new(
            Severity::Critical,
            "request",
            FindingCode::UnknownReason,
            why,
            hint,
        ));
        return;
    }
    for l in looked {
        push_observation_findings(plan, l);
        if let Some((reason, dump)) = find_reason(l, reason) {
            plan_dump(plan, l, (reason, dump), None, now, &format!("{reason} is asked for"));
        }
        plan_copies(plan, l, now);
    }
}

fn find_reason<'l>(
    l: &'l ObservedDatabase<'_>,
    reason: &str,
) -> Option<(&'l ReasonName, &'l DumpRule)> {
    l.dumps.iter().find(|(r, _)| r.as_str() == reason)
}

#[cfg(test)]
mod tests;
