//! RDS's own automated backups: their settings and the restore window that they give.

use super::{FreshnessEvaluation, FreshnessObservations, databases::is_younger_than};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::{
    aws::rds::BackupSettings,
    catalog::{DatabaseKind, RdsDatabase},
    plan::{FindingCode, Operates, Operation, Severity},
    policy::{AutomatedBackups, DatabaseGroup, DriftAction},
    time::format_duration,
};
use std::{fmt, num::NonZeroU8};

/// Sets a database's automated backups to the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdateBackupSettings {
    /// Instance or cluster.
    pub family: DatabaseKind,
    /// The database.
    pub database: String,
    /// What is changed.
    pub settings: BackupSettings,
}

impl Operates for UpdateBackupSettings {
    fn operation(&self) -> Operation {
        Operation::Other
    }
}

impl fmt::Display for UpdateBackupSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BackupSettings { retention_days, window, log_exports } = &self.settings;
        write!(f, "set the automated backups of {}:", self.database)?;
        retention_days.map_or(Ok(()), |d| write!(f, " retention {d} days"))?;
        window.as_ref().map_or(Ok(()), |w| write!(f, " window {w}"))?;
        if log_exports.is_empty() {
            Ok(())
        } else {
            write!(f, " log exports {}", log_exports.join(", "))
        }
    }
}

pub(super) fn check_settings(
    judged: &mut FreshnessEvaluation,
    facts: &FreshnessObservations,
    group: &DatabaseGroup,
    database: &RdsDatabase,
    now: Timestamp,
) {
    let Some(wanted) = &group.automated_backups else { return };
    check_drift(judged, wanted, database);
    check_restore_window(judged, facts, wanted, database, now);
}

fn retention_days(wanted: &AutomatedBackups) -> Option<u8> {
    let retention = wanted.retention.as_ref()?.duration();
    u8::try_from(retention.as_hours() / 24).ok()
}

fn check_drift(
    judged: &mut FreshnessEvaluation,
    wanted: &AutomatedBackups,
    database: &RdsDatabase,
) {
    let mut settings = BackupSettings::default();
    let id = &database.id;
    let what = match database.family {
        DatabaseKind::Instance => {
            format!("aws rds modify-db-instance --apply-immediately --db-instance-identifier {id}")
        }
        DatabaseKind::Cluster => {
            format!("aws rds modify-db-cluster --apply-immediately --db-cluster-identifier {id}")
        }
    };
    let is = database.retention_days;
    let hint = |days: &str| format!("run `{what} --backup-retention-period {days}`");
    match retention_days(wanted) {
        days if is == 0 => {
            // From 0 to anything else is an outage (WorkingWithAutomatedBackups): a person decides when.
            let (wants, days) = days
                .map_or(("them".into(), "DAYS".into()), |d| (format!("{d} days"), d.to_string()));
            let why =
                format!("its automated backups are switched off, and the policy wants {wants}");
            let hint =
                format!("{} in a quiet hour: switching backups on is a short outage", hint(&days));
            judged.drift += 1;
            judged.push_critical(FindingCode::SettingsDrift, why, hint);
        }
        Some(days) if is < i32::from(days) => {
            judged.drift += 1;
            let why = format!(
                "its automated backups are kept for {is} days, and the policy wants {days}"
            );
            judged.push_critical(FindingCode::SettingsDrift, why, hint(&days.to_string()));
            settings.retention_days = NonZeroU8::new(days);
        }
        Some(days) if is > i32::from(days) => {
            judged.drift += 1;
            let why = format!(
                "its automated backups are kept for {is} days, and the policy wants {days}"
            );
            // RDS deletes what a shorter retention no longer covers, at once: never without a person.
            let hint = format!(
                "{}, which deletes its older automated backups; or raise the policy's",
                hint(&days.to_string())
            );
            judged.push_finding(Severity::Warning, FindingCode::SettingsDrift, why, hint);
        }
        _ => {}
    }
    if let Some(window) = wanted.window.as_ref().filter(|w| w.as_str() != database.window) {
        judged.drift += 1;
        let why =
            format!("its backup window is {}, and the policy wants {window}", database.window);
        let hint = format!("run `{what} --preferred-backup-window {window}`");
        judged.push_finding(Severity::Warning, FindingCode::SettingsDrift, why, hint);
        settings.window = Some(window.to_string());
    }
    let missing: Vec<_> =
        wanted.log_exports.iter().filter(|l| !database.log_exports.contains(l)).cloned().collect();
    if !missing.is_empty() {
        judged.drift += 1;
        let why = format!("its logs are not exported: {}", missing.join(", "));
        let types = missing.join("\",\"");
        let hint = format!(
            "run `{what} --cloudwatch-logs-export-configuration '{{\"EnableLogTypes\":[\"{types}\"]}}'`"
        );
        judged.push_finding(Severity::Warning, FindingCode::SettingsDrift, why, hint);
        settings.log_exports = missing;
    }
    if let Some(wanted) = wanted.multi_az.filter(|w| *w != database.multi_az) {
        judged.drift += 1;
        let (why, severity) = if wanted {
            ("it has no standby in another availability zone", Severity::Critical)
        } else {
            (
                "it has a standby in another availability zone, and the policy wants none",
                Severity::Info,
            )
        };
        judged.push_finding(severity, FindingCode::SettingsDrift, why, "change it in a quiet hour");
    }
    // Across 0 nothing is ever fixed: that would be an outage.
    let changes = settings != BackupSettings::default() && database.retention_days != 0;
    if wanted.on_drift == DriftAction::Enforce && changes {
        let hint = UpdateBackupSettings { family: database.family, database: id.clone(), settings };
        judged.setting_updates.push((hint, "the policy says enforce".into()));
    }
}

/// The window is really there: it ends a few minutes ago and begins as long ago as the policy says (or when the database
/// was created). A latest restorable time that stands still is the earliest sign that backups have stopped.
fn check_restore_window(
    judged: &mut FreshnessEvaluation,
    facts: &FreshnessObservations,
    wanted: &AutomatedBackups,
    database: &RdsDatabase,
    now: Timestamp,
) {
    let settled = |since| !is_younger_than(database, since, now);
    judged.window_wanted = settled(SignedDuration::from_hours(2));
    if database.retention_days == 0 {
        return; // Said above.
    }
    match database.latest_restorable {
        None if settled(SignedDuration::from_hours(2)) => {
            judged.push_critical(
                FindingCode::NoRestoreWindow,
                "RDS names no latest restorable time",
                "see the database's events in RDS",
            );
        }
        None => {}
        Some(latest) => {
            let lag = now.duration_since(latest);
            judged.restorable_lag = Some(lag);
            if lag > wanted.max_lag.duration() {
                let why = format!(
                    "it can be restored up to {} ago only; the policy allows {}",
                    format_duration(lag),
                    format_duration(wanted.max_lag.duration())
                );
                judged.push_critical(
                    FindingCode::RestorableLag,
                    why,
                    "see the database's events in RDS: log backups have stopped",
                );
            }
        }
    }
    let Some(days) = retention_days(wanted) else { return };
    let listed = facts.earliest.as_ref().map(|e| e.get(&database.resource_id));
    let earliest = database.earliest_restorable.or_else(|| listed.flatten().copied().flatten());
    let full = SignedDuration::from_hours(24 * i64::from(days));
    // One backup a day: the window's begin jumps by a day.
    let day = SignedDuration::from_hours(25);
    match (earliest, listed) {
        (Some(earliest), _) if now.duration_since(earliest) + day < full && settled(full + day) => {
            let why = format!(
                "it can be restored from {} ago on, and the policy wants {}",
                format_duration(now.duration_since(earliest)),
                format_duration(full)
            );
            judged.push_finding(
                Severity::Warning,
                FindingCode::RestoreWindowShort,
                why,
                "it grows by a day each day if the retention is right",
            );
        }
        (None, Some(None)) if database.family == DatabaseKind::Instance && settled(day) => {
            let why =
                "RDS lists no automated backup of it, so it can't be restored to a point in time";
            judged.push_critical(
                FindingCode::NoRestoreWindow,
                why,
                "see the database's events in RDS",
            );
        }
        (None, Some(Some(None))) if settled(day) => {
            let why = "RDS tells no earliest restorable time of its automated backup";
            judged.push_finding(
                Severity::Info,
                FindingCode::NoRestoreWindow,
                why,
                "see the automated backup in RDS",
            );
        }
        _ => {}
    }
}
