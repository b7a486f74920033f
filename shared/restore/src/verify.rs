//! Whether a backup is good: quickly by its hashes, or fully by restoring it.

mod reading;
mod report;

pub(crate) use reading::check_sidecars;
pub use report::render_markdown;

use crate::{
    BackupKeys, RestoreError, RestoreErrorKind, ScratchTarget,
    fault::InjectedFault,
    fetch::{HashCheck, PayloadInfo, drain_stream, fetch_backup},
    rdb::{is_rdb, verify_rdb_quick},
    trial::{RestoreChecks, ScratchDatabase, drop_orphaned_databases, find_newest_row, run_checks},
};
use jiff::Timestamp;
use postgres::{
    database,
    dump::ServerRole,
    restore::{DumpContents, RestoreOptions, RestoreWarning, examine_dump},
};
use reading::check_file_hash;
pub(crate) use reading::check_hashes;
use serde::{Deserialize, Serialize};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};
use storage::{BackupStore, StoredBackup, manifest::ManifestFormat};

/// What the name of a temporary database of `full` has between database and run.
const VERIFY_MARKER: &str = "_holdfast_verify_";

/// Name of the check whether the file can be read.
pub(crate) const READABLE_CHECK: &str = "readable";

/// Name of the check whether what is inside is a whole dump that may be restored.
pub(crate) const CONTENTS_CHECK: &str = "contents";

/// How one check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should.
    Passed,
    /// Not so: the backup is not good.
    Failed,
    /// It could not be asked, for a reason that is no fault.
    Skipped,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// What.
    pub name: String,
    /// How it went.
    pub status: CheckStatus,
    /// What was seen; may be empty.
    pub detail: String,
    /// What kind of part failed, where that is not the backup itself.
    #[serde(skip)]
    pub kind: Option<RestoreErrorKind>,
}

impl CheckResult {
    pub(crate) fn passed(name: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self::new(name, CheckStatus::Passed, detail)
    }

    pub(crate) fn failed(name: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self::new(name, CheckStatus::Failed, detail)
    }

    /// Failed by an error.
    pub(crate) fn from_error(name: impl AsRef<str>, e: &RestoreError) -> Self {
        Self { kind: Some(e.kind), ..Self::failed(name, e.to_string()) }
    }

    pub(crate) fn skipped(name: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self::new(name, CheckStatus::Skipped, detail)
    }

    fn new(name: impl AsRef<str>, went: CheckStatus, detail: impl AsRef<str>) -> Self {
        Self {
            name: name.as_ref().into(),
            status: went,
            detail: detail.as_ref().into(),
            kind: None,
        }
    }
}

/// What is known of a backup after it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationVerdict {
    /// Every check passed and nothing was lost.
    Good,
    /// It comes back, but not all of it: a restore of it would end with losses too.
    WithLosses,
    /// A check failed.
    Bad,
    /// It lies in an archive class and must be thawed first: nothing is known yet, and nothing failed.
    Waiting,
    /// It could not be tried, so nothing is known: never as good as good.
    CouldNotVerify,
}

/// The one judgement of what was restored, of a test and of a restore alike.
pub(crate) fn evaluate_verdict(
    checks: &[CheckResult],
    losses: &[RestoreWarning],
) -> VerificationVerdict {
    let failed: Vec<_> =
        checks.iter().filter(|c| c.status == CheckStatus::Failed).map(|c| c.kind).collect();
    let cold = failed.contains(&Some(RestoreErrorKind::Cold));
    // A store or a server that does not answer says nothing about the backup.
    let says_nothing = |kind: &Option<RestoreErrorKind>| {
        use RestoreErrorKind::{Busy, Cold, Connection, NoScratch, Store};
        matches!(kind, Some(Store | Connection | NoScratch | Busy | Cold))
    };
    if !failed.is_empty() {
        match failed.iter().all(says_nothing) {
            true if cold => VerificationVerdict::Waiting,
            true => VerificationVerdict::CouldNotVerify,
            false => VerificationVerdict::Bad,
        }
    } else if losses.is_empty() {
        VerificationVerdict::Good
    } else {
        VerificationVerdict::WithLosses
    }
}

/// How long a phase took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseDuration {
    /// Which: `fetch`, `fetch and restore` (the backup is streamed: both happen at once), `verify`, ..
    pub phase: String,
    /// Seconds by the wall clock.
    pub seconds: f64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerificationReport {
    /// The backup's whole name.
    pub backup: String,
    /// Its database, as far as it is told.
    pub database: Option<String>,
    /// The time of its data, as far as it is told.
    pub data_time: Option<Timestamp>,
    /// Whether it was restored, or only read and hashed.
    pub restored: bool,
    /// What that comes to.
    pub verdict: VerificationVerdict,
    /// Whether the verdict is [`VerificationVerdict::Good`].
    pub is_good: bool,
    /// What was checked.
    pub checks: Vec<CheckResult>,
    /// What could not be restored.
    pub warnings: Vec<RestoreWarning>,
    /// How long it took; of a full one, the recovery time that was measured.
    pub durations: Vec<PhaseDuration>,
    /// The time of the newest row, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_row: Option<Timestamp>,
}

/// How a full verification restores.
#[derive(Clone, Debug)]
pub struct VerifyOptions<'a> {
    /// Where the temporary database is made.
    pub scratch: &'a ScratchTarget,
    /// The run: part of the temporary database's name.
    pub run: &'a str,
    /// Connections.
    pub jobs: usize,
    /// What must be true there.
    pub checks: &'a RestoreChecks,
    /// Stored sizes of the backups before this one, of the same database and reason, in bytes.
    pub earlier: &'a [u64],
    /// By how much the size may differ from their median: 0.5 is by half.
    pub max_size_deviation: Option<f64>,
    /// A fault that is made on purpose, to see that it is found.
    pub fault: Option<InjectedFault>,
}

impl VerificationReport {
    /// Why it is not good, in words; nothing of a good one.
    pub fn failure_reason(&self) -> Option<String> {
        let failed =
            self.checks.iter().filter(|c| c.status == CheckStatus::Failed || c.kind.is_some());
        let mut all: Vec<_> = failed.map(|c| format!("{}: {}", c.name, c.detail)).collect();
        if let Some(first) = self.warnings.first() {
            let many = self.warnings.len();
            all.push(format!(
                "restores with {many} losses: {} ({})",
                first.statement, first.message
            ));
        }
        let why =
            if all.is_empty() { "it could not be verified".to_owned() } else { all.join("; ") };
        (self.verdict != VerificationVerdict::Good).then_some(why)
    }
}

/// Reads a backup to its end, checks every hash, and looks whether what is inside is a whole dump that may be restored. An
/// error is a failed check.
pub async fn verify_quick(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
) -> VerificationReport {
    if is_rdb(backup) {
        return verify_rdb_quick(store, backup, opening).await;
    }
    let begun = Instant::now();
    let mut checks = check_sidecars(store, backup).await;
    if !any_failed(&checks) {
        checks.extend(check_contents(store, backup, opening).await.1);
    }
    let took = vec![phase_duration("fetch", begun)];
    build_report(backup, false, checks, Vec::new(), took)
}

/// Reads everything of a backup and judges it without a server: what it says of itself, and the checks.
pub(crate) async fn check_contents(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
) -> (Option<DumpContents>, Vec<CheckResult>) {
    let csv = backup.committed_manifest().is_some_and(|m| m.format == ManifestFormat::Csv);
    let consume = async |inside: PayloadInfo, from| {
        if let Some(stored) = inside.format {
            return examine_dump(stored, from).await.map(Some);
        }
        drain_stream(from).await;
        Ok(None)
    };
    let fetched = match fetch_backup(store, backup, opening, HashCheck::Both, consume).await {
        Ok(fetched) => fetched,
        Err(e) => return (None, vec![CheckResult::from_error(READABLE_CHECK, &e)]),
    };
    let mut checks = Vec::new();
    match (&fetched.value, &fetched.digests) {
        // Nobody read on: what is wrong is what was read.
        (Err(_), None) => {}
        _ => checks.extend(check_hashes(backup, fetched.digests.transpose())),
    }
    checks.extend(check_file_hash(store, backup, &checks).await);
    if any_failed(&checks) {
        return (None, checks);
    }
    let whole = "from its head to the mark of its end, and nothing in it that must not run";
    match fetched.value {
        Ok(Some(contents)) => {
            checks.push(CheckResult::passed(CONTENTS_CHECK, whole));
            return (Some(contents), checks);
        }
        Ok(None) if csv => {}
        Ok(None) => {
            checks.push(CheckResult::failed(
                CONTENTS_CHECK,
                "it is no archive of pg_dump and no SQL of it",
            ));
        }
        Err(e) => checks.push(CheckResult::from_error(CONTENTS_CHECK, &e.into())),
    }
    (None, checks)
}

/// Restores a backup into a temporary database, which is dropped again, and asks it everything. Leftovers of dead runs
/// are dropped before. A file of another tool is read and judged as a whole before anything of it runs.
///
/// # Errors
/// If there is no place for it, the server can't be reached or refuses the database: that says nothing about the backup.
/// All else is a failed check.
pub async fn verify_full(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    trial: &VerifyOptions<'_>,
) -> Result<VerificationReport, RestoreError> {
    let mut checks = check_sidecars(store, backup).await;
    checks.extend(check_size(backup, trial.earlier, trial.max_size_deviation));
    let mut version = backup.committed_manifest().map_or(0, |m| m.server.version_num);
    if !any_failed(&checks) && backup.committed_manifest().is_none() {
        let (contents, more) = check_contents(store, backup, opening).await;
        version = contents.map_or(0, |c| c.server_version);
        checks.extend(more);
    }
    if any_failed(&checks) {
        return Ok(build_report(backup, true, checks, Vec::new(), Vec::new()));
    }
    let server = trial.scratch.server_for_version(version).await?;
    if let Some(manifest) = backup.committed_manifest().filter(|_| trial.scratch.is_local()) {
        // Policies and mappings name them. Names alone: nobody can log in as one, and none has a right.
        let named = |r: &storage::manifest::ServerRole| ServerRole {
            name: r.name.clone(),
            ..ServerRole::default()
        };
        let named: Vec<_> = manifest.roles.iter().map(named).collect();
        database::create_missing_roles(&server, &named).await?;
    }
    drop_orphaned_databases(&server, VERIFY_MARKER).await?;
    database::drop_orphaned_roles(&server).await?;
    // Of each backup its own: a run may verify several of one database at once.
    let mut which = DefaultHasher::new();
    backup.uri.hash(&mut which);
    let of = format!("verify_{}-{:08x}", trial.run, which.finish() & 0xffff_ffff);
    let name = database::temporary_database_name(backup.database().unwrap_or("backup"), &of);
    let room = ScratchDatabase::create_for_test(&server, name, backup).await?;
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    let tried =
        Box::pin(verify_in_scratch(&room, store, backup, opening, trial, &mut losses, &mut times))
            .await;
    let closed = room.drop_database().await;
    let mut newest_row = None;
    match tried {
        Ok((more, newest)) => {
            checks.extend(more);
            newest_row = newest;
        }
        // A lost connection is the server's fault and not the backup's.
        Err(e) if e.kind == RestoreErrorKind::Connection => return Err(e),
        Err(e) => checks.push(CheckResult::from_error("restores", &e)),
    }
    closed?;
    Ok(VerificationReport { newest_row, ..build_report(backup, true, checks, losses, times) })
}

/// What is told of a backup that could not be tried.
pub fn could_not_verify(backup: &StoredBackup, why: &RestoreError) -> VerificationReport {
    let checks = vec![CheckResult {
        kind: Some(why.kind),
        ..CheckResult::skipped("restores", why.to_string())
    }];
    VerificationReport {
        verdict: VerificationVerdict::CouldNotVerify,
        is_good: false,
        ..build_report(backup, true, checks, Vec::new(), Vec::new())
    }
}

async fn verify_in_scratch(
    room: &ScratchDatabase<'_>,
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    trial: &VerifyOptions<'_>,
    losses: &mut Vec<RestoreWarning>,
    times: &mut Vec<PhaseDuration>,
) -> Result<(Vec<CheckResult>, Option<Timestamp>), RestoreError> {
    if trial.fault == Some(InjectedFault::FailedRestore) {
        room.revoke_rights().await?;
    }
    let begun = Instant::now();
    // The roles of owners and grants are not on a scratch server.
    let how = RestoreOptions {
        jobs: trial.jobs,
        owners: false,
        privileges: false,
        ..RestoreOptions::default()
    };
    let restored =
        Box::pin(room.load_backup(store, backup, opening, HashCheck::Both, &how)).await?;
    times.push(phase_duration("fetch and restore", begun));
    let mut checks = vec![CheckResult::passed("restores", "its hashes are right to the last byte")];
    if !restored.skipped_objects.is_empty() {
        let left = format!("left out of the test: {}", restored.skipped_objects.join(", "));
        checks.push(CheckResult::skipped("what takes a superuser", left));
    }
    *losses = room.restore_warnings(false).chain(restored.warnings).collect();
    if trial.fault == Some(InjectedFault::Empty) {
        room.empty_tables().await?;
    }
    let begun = Instant::now();
    let login = room.login_config();
    database::disable_forced_row_security(&login, &room.name).await?;
    let asked =
        run_checks(&login, &room.name, backup, losses, &[], None, trial.checks, trial.jobs).await?;
    checks.extend(asked);
    let newest = find_newest_row(&login, &room.name, trial.checks).await?;
    let (check, newest) = newest.map_or((None, None), |(check, at)| (Some(check), at));
    checks.extend(check);
    times.push(phase_duration("verify", begun));
    Ok((checks, newest))
}

pub(crate) fn phase_duration(phase: &str, since: Instant) -> PhaseDuration {
    PhaseDuration { phase: phase.into(), seconds: seconds_since(since) }
}

/// Seconds since then, to the millisecond: more is noise, and JSON would not give every digit back.
pub(crate) fn seconds_since(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

pub(crate) fn any_failed(checks: &[CheckResult]) -> bool {
    checks.iter().any(|c| c.status == CheckStatus::Failed)
}

pub(crate) fn build_report(
    backup: &StoredBackup,
    full: bool,
    checks: Vec<CheckResult>,
    losses: Vec<RestoreWarning>,
    took: Vec<PhaseDuration>,
) -> VerificationReport {
    VerificationReport {
        backup: backup.uri.clone(),
        database: backup.database().map(str::to_owned),
        data_time: backup.data_time(),
        restored: full,
        verdict: evaluate_verdict(&checks, &losses),
        is_good: evaluate_verdict(&checks, &losses) == VerificationVerdict::Good,
        checks,
        warnings: losses,
        durations: took,
        newest_row: None,
    }
}

/// The size against the median of those before, where there is a limit: 0.5 is by half.
pub fn check_size(
    backup: &StoredBackup,
    earlier: &[u64],
    max_deviation: Option<f64>,
) -> Option<CheckResult> {
    let most = max_deviation?;
    let name = "size";
    let mut earlier = earlier.to_vec();
    earlier.sort_unstable();
    let Some(median) = earlier.get(earlier.len() / 2).filter(|m| **m > 0) else {
        return Some(CheckResult::skipped(name, "there is none before it"));
    };
    #[expect(clippy::cast_precision_loss, reason = "a share of a size")]
    let change = (backup.size as f64 - *median as f64).abs() / *median as f64;
    let detail = format!(
        "{} bytes, {:.0} % from the median {median} of {} before it",
        backup.size,
        change * 100.0,
        earlier.len()
    );
    Some(if change > most {
        CheckResult::failed(name, detail)
    } else {
        CheckResult::passed(name, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::{DirectoryBackend, catalogue::BackupKind, model};

    #[test]
    fn waiting_is_no_failure_and_hides_none() {
        let broken =
            |kind| CheckResult { kind: Some(kind), ..CheckResult::failed(READABLE_CHECK, "") };
        let table = [
            (vec![broken(RestoreErrorKind::Cold)], VerificationVerdict::Waiting),
            (
                vec![CheckResult::passed("manifest", ""), broken(RestoreErrorKind::Cold)],
                VerificationVerdict::Waiting,
            ),
            (
                vec![broken(RestoreErrorKind::Store), broken(RestoreErrorKind::Cold)],
                VerificationVerdict::Waiting,
            ),
            (vec![broken(RestoreErrorKind::Store)], VerificationVerdict::CouldNotVerify),
            (
                vec![broken(RestoreErrorKind::Cold), broken(RestoreErrorKind::Damaged)],
                VerificationVerdict::Bad,
            ),
            (
                vec![broken(RestoreErrorKind::Cold), CheckResult::failed("size", "")],
                VerificationVerdict::Bad,
            ),
            (vec![CheckResult::passed("manifest", "")], VerificationVerdict::Good),
        ];
        for (checks, expected) in table {
            assert_eq!(evaluate_verdict(&checks, &[]), expected, "{checks:?}");
        }
    }

    #[tokio::test]
    async fn the_kind_of_a_fault_decides_what_a_check_of_it_comes_to() {
        let root = tempfile::tempdir().expect("a folder");
        let store = BackupStore::Directory(DirectoryBackend::new(root.path(), ""));
        let backup = || model::committed_backup("a.dump", "orders", "daily", Timestamp::UNIX_EPOCH);
        let (class, archived) = (Some("GLACIER".to_owned()), true);
        let cold = StoredBackup { class, archived, ..backup() };
        assert_eq!(
            evaluate_verdict(&check_sidecars(&store, &cold).await, &[]),
            VerificationVerdict::Waiting
        );
        for (kind, expected) in [
            (storage::StoreErrorKind::Damaged, VerificationVerdict::Bad),
            (storage::StoreErrorKind::Untrusted, VerificationVerdict::Bad),
            (storage::StoreErrorKind::Denied, VerificationVerdict::CouldNotVerify),
            (storage::StoreErrorKind::Archived, VerificationVerdict::Waiting),
        ] {
            let (why, hint) = ("no".to_owned(), "look".to_owned());
            let of = BackupKind::Faulty { parsed_key: None, manifest: None, kind, why, hint };
            let checks = check_sidecars(&store, &StoredBackup { kind: of, ..backup() }).await;
            assert_eq!(evaluate_verdict(&checks, &[]), expected, "{kind:?}");
        }
    }
}
