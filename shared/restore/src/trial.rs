//! A backup in a database of its own, and what is asked of it there.

use crate::{
    BackupKeys, RestoreError, RestoreErrorKind,
    fetch::{HashCheck, PayloadInfo, fetch_backup},
    verify::CheckResult,
};
use jiff::Timestamp;
use postgres::{
    ConnectionConfig, PgConnection, TableCounts,
    database::{self, TestRole},
    lock::try_advisory_lock,
    restore::{RestoreOptions, RestoreSummary, RestoreWarning, RestoreWarningKind, restore_stream},
};
use shared::policy::PostgresGroup;
use std::{collections::BTreeMap, time::Duration};
use storage::{BackupStore, StoredBackup, manifest::ManifestFormat};

/// Tables that are named in one line of a report.
const MAX_NAMED_TABLES: usize = 10;

/// A question may take this long where nothing says otherwise: some count large tables.
pub(crate) const DEFAULT_CHECK_TIMEOUT: Duration = Duration::from_mins(10);

/// What must be true of a restored database, beside the manifest's counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreChecks {
    /// Tables that must have rows, as SQL names them.
    pub critical_tables: Vec<String>,
    /// SELECTs of one boolean that must be true, by name.
    pub checks: BTreeMap<String, String>,
    /// A SELECT of one time: that of the newest row.
    pub newest_row: Option<String>,
    /// Each of them may take this long.
    pub timeout: Duration,
}

impl Default for RestoreChecks {
    fn default() -> Self {
        Self {
            critical_tables: Vec::new(),
            checks: BTreeMap::new(),
            newest_row: None,
            timeout: DEFAULT_CHECK_TIMEOUT,
        }
    }
}

impl RestoreChecks {
    /// The rules of a group's policy.
    pub fn from_policy(policy: &PostgresGroup) -> Self {
        let checks = policy.checks.iter().map(|(name, sql)| (name.to_string(), sql.clone()));
        let critical_tables = policy.critical_tables.clone();
        Self { critical_tables, checks: checks.collect(), ..Self::default() }
    }
}

/// A temporary database and the lease that shows that its run lives.
pub(crate) struct ScratchDatabase<'a> {
    server: &'a ConnectionConfig,
    /// Its name.
    pub(crate) name: String,
    /// What the server could not give it.
    warnings: Vec<RestoreWarning>,
    lock_session: PgConnection,
    /// Of a test: the role that owns it and restores into it.
    role: Option<TestRole>,
}

impl<'a> ScratchDatabase<'a> {
    /// Creates it, like the database that was dumped.
    pub(crate) async fn create(
        server: &'a ConnectionConfig,
        name: String,
        backup: &StoredBackup,
    ) -> Result<Self, RestoreError> {
        let lease = database::connect_maintenance(server).await?;
        try_advisory_lock(&lease, &name).await?;
        // A record that does not say what the database was like: it is then the server's usual one.
        let like =
            backup.committed_manifest().map(|m| &m.server).filter(|s| !s.encoding.is_empty());
        let losses = database::create_database(server, &name, like).await?;
        Ok(Self { server, name, warnings: losses, lock_session: lease, role: None })
    }

    /// Creates it for a test, with a role of its own that has no rights but there: whatever the file does, it does as
    /// that role.
    ///
    /// # Errors
    /// As [`RestoreErrorKind::NoScratch`] where the login may not make one.
    pub(crate) async fn create_for_test(
        server: &'a ConnectionConfig,
        name: String,
        backup: &StoredBackup,
    ) -> Result<Self, RestoreError> {
        let mut room = Self::create(server, name, backup).await?;
        match TestRole::create_for_database(server, &room.name).await {
            Ok(role) => {
                room.role = Some(role);
                Ok(room)
            }
            Err(e) => {
                room.drop_database().await?;
                let refused = e.kind == postgres::PostgresErrorKind::Refused;
                let e = RestoreError::from(e);
                Err(if refused {
                    RestoreError { kind: RestoreErrorKind::NoScratch, ..e }
                } else {
                    e
                })
            }
        }
    }

    /// The server's administrator.
    pub(crate) fn server(&self) -> &ConnectionConfig {
        self.server
    }

    /// How what is in it is reached: of a test as its role.
    pub(crate) fn login_config(&self) -> ConnectionConfig {
        self.role
            .as_ref()
            .map_or_else(|| self.server.clone(), |role| role.login_config(self.server))
    }

    /// What the server could not give it, where an owner was asked for or not.
    pub(crate) fn restore_warnings(&self, owners: bool) -> impl Iterator<Item = RestoreWarning> {
        self.warnings.iter().filter(move |l| owners || l.kind != RestoreWarningKind::Role).cloned()
    }

    /// Sends the backup into it.
    pub(crate) async fn load_backup(
        &self,
        store: &BackupStore,
        backup: &StoredBackup,
        opening: &BackupKeys,
        hashes: HashCheck,
        how: &RestoreOptions,
    ) -> Result<RestoreSummary, RestoreError> {
        let test = self.role.is_some().then(|| self.server.clone());
        let how = RestoreOptions { test_admin: test, ..how.clone() };
        let login = self.login_config();
        let consume = async |inside: PayloadInfo, from| match inside.format {
            Some(stored) => restore_stream(&login, &self.name, stored, from, &how)
                .await
                .map_err(RestoreError::from),
            None => Err(RestoreError::new(
                RestoreErrorKind::Refused,
                format!("restore {}", backup.uri),
                "it is no archive and no SQL of pg_dump",
                "load it by hand: its manifest's line `restore` says how",
            )),
        };
        let fetched = Box::pin(fetch_backup(store, backup, opening, hashes, consume)).await?;
        // A stream that failed fails the restore too, in words that say less.
        match (fetched.value, fetched.digests) {
            (_, Some(Err(e))) | (Err(e), _) => Err(e),
            (Ok(restored), _) => Ok(restored),
        }
    }

    /// Drops it, and its role. To be called on every way out; a killed run's is found by [`sweep`].
    pub(crate) async fn drop_database(self) -> Result<(), RestoreError> {
        database::drop_database(self.server, &self.name).await?;
        if self.role.is_some() {
            database::drop_orphaned_roles(self.server).await?;
        }
        drop(self.lock_session);
        Ok(())
    }
}

/// Drops the temporary databases of runs that are dead: their names are ours, and nobody has their lease. `marked` is
/// what the names have in them. What was dropped is the answer.
pub(crate) async fn drop_orphaned_databases(
    server: &ConnectionConfig,
    marked: &str,
) -> Result<Vec<String>, RestoreError> {
    let mut dropped = Vec::new();
    for name in database::database_names(server).await? {
        if !name.contains(marked) || !database::is_holdfast_database(&name) {
            continue;
        }
        let session = database::connect_maintenance(server).await?;
        match try_advisory_lock(&session, &name).await {
            Ok(_) => {
                database::drop_database(server, &name).await?;
                dropped.push(name);
            }
            Err(e) if e.kind == postgres::PostgresErrorKind::Busy => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(dropped)
}

/// Asks a restored database everything: whether a row was lost on the way, the rows of each table, the critical tables,
/// the policy's SQL. What the server said that it `loaded` is not counted again where it is what the manifest says.
#[expect(clippy::too_many_arguments, reason = "the parts of one restore, used here only")]
pub(crate) async fn run_checks(
    server: &ConnectionConfig,
    name: &str,
    backup: &StoredBackup,
    losses: &[RestoreWarning],
    loaded: &[TableCounts],
    chosen: Option<&[TableCounts]>,
    rules: &RestoreChecks,
    jobs: usize,
) -> Result<Vec<CheckResult>, RestoreError> {
    let mut checks = Vec::new();
    let data: Vec<&RestoreWarning> =
        losses.iter().filter(|l| l.kind == RestoreWarningKind::Data).collect();
    if let Some(first) = data.first() {
        let mut detail = format!("{} losses: {} ({})", data.len(), first.message, first.statement);
        // Rows are lost most often because of what could not be made before them: that is what there is to fix.
        if let Some(cause) = losses.iter().find(|l| l.kind != RestoreWarningKind::Data) {
            detail.push_str(&format!("; before that: {} ({})", cause.message, cause.statement));
        }
        checks.push(CheckResult::failed("no data lost", detail));
    }
    checks.push(check_row_counts(server, name, backup, loaded, chosen, jobs).await?);
    if chosen.is_none() {
        checks.extend(check_large_objects(server, name, backup).await?);
    }
    let session = server.connect(name).await?;
    for table in &rules.critical_tables {
        let sql = format!("SELECT EXISTS (SELECT FROM {table})");
        let title = format!("{table} has rows");
        checks.push(run_check(&session, title, &sql, rules.timeout, "it is empty").await?);
    }
    for (title, sql) in &rules.checks {
        let told = "it is not true";
        checks.push(run_check(&session, title.clone(), sql, rules.timeout, told).await?);
    }
    Ok(checks)
}

async fn run_check(
    session: &PgConnection,
    title: String,
    sql: &str,
    timeout: Duration,
    not: &str,
) -> Result<CheckResult, RestoreError> {
    match database::query_bool(session, sql, timeout).await {
        Ok(true) => Ok(CheckResult::passed(title, "")),
        Ok(false) => Ok(CheckResult::failed(title, not)),
        Err(e)
            if matches!(
                e.kind,
                postgres::PostgresErrorKind::Lost | postgres::PostgresErrorKind::Connection
            ) =>
        {
            Err(e.into())
        }
        Err(e) => Ok(CheckResult::failed(title, e.why)),
    }
}

/// The time of the newest row, as the rules ask for it.
pub(crate) async fn find_newest_row(
    server: &ConnectionConfig,
    name: &str,
    rules: &RestoreChecks,
) -> Result<Option<(CheckResult, Option<Timestamp>)>, RestoreError> {
    let Some(sql) = &rules.newest_row else { return Ok(None) };
    let title = "newest row";
    let session = server.connect(name).await?;
    match database::query_time(&session, sql, rules.timeout).await {
        Ok(Some(at)) => Ok(Some((CheckResult::passed(title, at.to_string()), Some(at)))),
        Ok(None) => Ok(Some((CheckResult::failed(title, "there is none"), None))),
        Err(e)
            if matches!(
                e.kind,
                postgres::PostgresErrorKind::Lost | postgres::PostgresErrorKind::Connection
            ) =>
        {
            Err(e.into())
        }
        Err(e) => Ok(Some((CheckResult::failed(title, e.why), None))),
    }
}

/// Counts the large objects and holds that against the manifest; nothing to say of a CSV file, which has none.
async fn check_large_objects(
    server: &ConnectionConfig,
    name: &str,
    backup: &StoredBackup,
) -> Result<Option<CheckResult>, RestoreError> {
    let Some(manifest) = backup
        .committed_manifest()
        .filter(|m| !matches!(m.format, ManifestFormat::Csv | ManifestFormat::Rdb))
    else {
        return Ok(None);
    };
    let (title, want) = ("large objects", manifest.large_objects);
    let have = database::count_large_objects(server, name).await?;
    if have == 0 && want == 0 {
        return Ok(None);
    }
    Ok(Some(if have == want {
        CheckResult::passed(title, format!("{want}, as the manifest says"))
    } else {
        CheckResult::failed(title, format!("{have} instead of {want}"))
    }))
}

/// Counts what is there and holds it against the manifest.
async fn check_row_counts(
    server: &ConnectionConfig,
    name: &str,
    backup: &StoredBackup,
    loaded: &[TableCounts],
    chosen: Option<&[TableCounts]>,
    jobs: usize,
) -> Result<CheckResult, RestoreError> {
    let title = "rows of each table";
    let Some(manifest) = backup.committed_manifest() else {
        return Ok(CheckResult::skipped(title, "it has no manifest to count against"));
    };
    let wanted: Vec<_> = (manifest.tables.iter())
        .filter(|t| chosen.is_none_or(|c| c.iter().any(|have| have.name == t.name)))
        .collect();
    let sums = loaded.iter().fold(BTreeMap::new(), |mut sums, table| {
        *sums.entry(&table.name).or_insert(0) += table.rows;
        sums
    });
    let doubtful: Vec<_> =
        wanted.iter().filter(|t| sums.get(&t.name) != Some(&t.rows)).copied().collect();
    let mut wrong = Vec::new();
    let names: Vec<String> = doubtful.iter().map(|t| t.name.clone()).collect();
    match database::count_rows(server, name, &names, jobs).await {
        Ok(counts) => {
            let differ = doubtful.iter().zip(&counts).filter(|(want, have)| want.rows != have.rows);
            wrong.extend(differ.map(|(want, have)| {
                format!("{}: {} instead of {}", want.name, have.rows, want.rows)
            }));
        }
        Err(e) if e.kind != postgres::PostgresErrorKind::Refused => return Err(e.into()),
        // One that is not there hides the others: each by itself.
        Err(_) => {
            for want in &doubtful {
                let one = std::slice::from_ref(&want.name);
                match database::count_rows(server, name, one, 1).await {
                    Ok(have) if have[0].rows == want.rows => {}
                    Ok(have) => wrong
                        .push(format!("{}: {} instead of {}", want.name, have[0].rows, want.rows)),
                    Err(e) if e.kind == postgres::PostgresErrorKind::Refused => {
                        wrong.push(format!("{}: {}", want.name, e.why));
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        }
    }
    let total: u64 = wanted.iter().map(|t| t.rows).sum();
    if wrong.is_empty() {
        let detail = format!("{total} rows in {} tables, as the manifest says", wanted.len());
        return Ok(CheckResult::passed(title, detail));
    }
    let more = wrong.len().saturating_sub(MAX_NAMED_TABLES);
    let mut detail = wrong.into_iter().take(MAX_NAMED_TABLES).collect::<Vec<_>>().join("; ");
    if more > 0 {
        detail.push_str(&format!("; and {more} more"));
    }
    Ok(CheckResult::failed(title, detail))
}
