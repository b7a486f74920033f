//! Whether a backup is good: quickly by its hashes, or fully by restoring it.

mod reading;
mod report;

pub(crate) use reading::beside_it;
pub use report::markdown;

use crate::{
    Error, Kind, Opening, Scratch,
    fetch::{Hashes, Inside, drain, fetch},
    trial::{Room, Rules, judge, sweep},
};
use jiff::Timestamp;
use postgres::{
    database,
    dump::Role,
    restore::{Contents, Into, Loss, examine},
};
use reading::{file_hash, hashes};
use serde::{Deserialize, Serialize};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};
use store::{Backup, Store, manifest::Format};

/// What the name of a temporary database of `full` has between database and run.
const MARK: &str = "_holdfast_verify_";

/// Name of the check whether the file can be read.
pub(crate) const READABLE: &str = "readable";

/// Name of the check whether what is inside is a whole dump that may be restored.
pub(crate) const CONTENTS: &str = "contents";

/// How one check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Went {
    /// As it should.
    Passed,
    /// Not so: the backup is not good.
    Failed,
    /// It could not be asked, for a reason that is no fault.
    Skipped,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it went.
    pub went: Went,
    /// What was seen; may be empty.
    pub detail: String,
    /// What kind of part failed, where that is not the backup itself.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

impl Check {
    pub(crate) fn passed(name: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self::new(name, Went::Passed, detail)
    }

    pub(crate) fn failed(name: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self::new(name, Went::Failed, detail)
    }

    /// Failed by an error.
    pub(crate) fn broken(name: impl AsRef<str>, e: &Error) -> Self {
        Self { kind: Some(e.kind), ..Self::failed(name, e.to_string()) }
    }

    pub(crate) fn skipped(name: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self::new(name, Went::Skipped, detail)
    }

    fn new(name: impl AsRef<str>, went: Went, detail: impl AsRef<str>) -> Self {
        Self { name: name.as_ref().into(), went, detail: detail.as_ref().into(), kind: None }
    }
}

/// What is known of a backup after it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
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
pub(crate) fn verdict(checks: &[Check], losses: &[Loss]) -> Verdict {
    let failed: Vec<_> = checks.iter().filter(|c| c.went == Went::Failed).map(|c| c.kind).collect();
    let cold = failed.contains(&Some(Kind::Cold));
    // A store or a server that does not answer says nothing about the backup.
    let says_nothing = |kind: &Option<Kind>| {
        use Kind::{Busy, Cold, Connection, NoScratch, Store};
        matches!(kind, Some(Store | Connection | NoScratch | Busy | Cold))
    };
    if !failed.is_empty() {
        match failed.iter().all(says_nothing) {
            true if cold => Verdict::Waiting,
            true => Verdict::CouldNotVerify,
            false => Verdict::Bad,
        }
    } else if losses.is_empty() {
        Verdict::Good
    } else {
        Verdict::WithLosses
    }
}

/// How long a phase took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Took {
    /// Which: `fetch`, `fetch and restore` (the backup is streamed: both happen at once), `verify`, ..
    pub phase: String,
    /// Seconds by the wall clock.
    pub seconds: f64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// The backup's whole name.
    pub backup: String,
    /// Its database, as far as it is told.
    pub database: Option<String>,
    /// The time of its data, as far as it is told.
    pub data_time: Option<Timestamp>,
    /// Whether it was restored, or only read and hashed.
    pub full: bool,
    /// What that comes to.
    pub verdict: Verdict,
    /// Whether the verdict is [`Verdict::Good`].
    pub good: bool,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What could not be restored.
    pub losses: Vec<Loss>,
    /// How long it took; of a full one, the recovery time that was measured.
    pub took: Vec<Took>,
}

/// How a full verification restores.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// Where the temporary database is made.
    pub scratch: &'a Scratch,
    /// The run: part of the temporary database's name.
    pub run: &'a str,
    /// Connections.
    pub jobs: usize,
    /// What must be true there.
    pub rules: &'a Rules,
    /// Stored sizes of the backups before this one, of the same database and reason, in bytes.
    pub earlier: &'a [u64],
    /// By how much the size may differ from their median: 0.5 is by half.
    pub size_change: Option<f64>,
}

impl Verified {
    /// Why it is not good, in words; nothing of a good one.
    pub fn fault(&self) -> Option<String> {
        let failed = self.checks.iter().filter(|c| c.went == Went::Failed || c.kind.is_some());
        let mut all: Vec<_> = failed.map(|c| format!("{}: {}", c.name, c.detail)).collect();
        if let Some(first) = self.losses.first() {
            let many = self.losses.len();
            all.push(format!(
                "restores with {many} losses: {} ({})",
                first.statement, first.message
            ));
        }
        let why =
            if all.is_empty() { "it could not be verified".to_owned() } else { all.join("; ") };
        (self.verdict != Verdict::Good).then_some(why)
    }
}

/// Reads a backup to its end, checks every hash, and looks whether what is inside is a whole dump that may be restored. An
/// error is a failed check.
pub async fn quick(store: &Store, backup: &Backup, opening: &Opening) -> Verified {
    let begun = Instant::now();
    let mut checks = beside_it(store, backup).await;
    if !faulty(&checks) {
        checks.extend(contents(store, backup, opening).await.1);
    }
    let took = vec![took("fetch", begun)];
    verified(backup, false, checks, Vec::new(), took)
}

/// Reads everything of a backup and judges it without a server: what it says of itself, and the checks.
pub(crate) async fn contents(
    store: &Store,
    backup: &Backup,
    opening: &Opening,
) -> (Option<Contents>, Vec<Check>) {
    let csv = backup.committed().is_some_and(|m| m.format == Format::Csv);
    let consume = async |inside: Inside, from| {
        if let Some(stored) = inside.stored {
            return examine(stored, from).await.map(Some);
        }
        drain(from).await;
        Ok(None)
    };
    let fetched = match fetch(store, backup, opening, Hashes::Both, consume).await {
        Ok(fetched) => fetched,
        Err(e) => return (None, vec![Check::broken(READABLE, &e)]),
    };
    let mut checks = Vec::new();
    match (&fetched.value, &fetched.sums) {
        // Nobody read on: what is wrong is what was read.
        (Err(_), None) => {}
        _ => checks.extend(hashes(backup, fetched.sums.transpose())),
    }
    checks.extend(file_hash(store, backup, &checks).await);
    if faulty(&checks) {
        return (None, checks);
    }
    let whole = "from its head to the mark of its end, and nothing in it that must not run";
    match fetched.value {
        Ok(Some(contents)) => {
            checks.push(Check::passed(CONTENTS, whole));
            return (Some(contents), checks);
        }
        Ok(None) if csv => {}
        Ok(None) => {
            checks.push(Check::failed(CONTENTS, "it is no archive of pg_dump and no SQL of it"));
        }
        Err(e) => checks.push(Check::broken(CONTENTS, &e.into())),
    }
    (None, checks)
}

/// Restores a backup into a temporary database, which is dropped again, and asks it everything. Leftovers of dead runs
/// are dropped before. A file of another tool is read and judged as a whole before anything of it runs.
///
/// # Errors
/// If there is no place for it, the server can't be reached or refuses the database: that says nothing about the backup.
/// All else is a failed check.
pub async fn full(
    store: &Store,
    backup: &Backup,
    opening: &Opening,
    trial: &Trial<'_>,
) -> Result<Verified, Error> {
    let mut checks = beside_it(store, backup).await;
    checks.extend(size(backup, trial));
    let mut version = backup.committed().map_or(0, |m| m.server.version_num);
    if !faulty(&checks) && backup.committed().is_none() {
        let (contents, more) = contents(store, backup, opening).await;
        version = contents.map_or(0, |c| c.server_version);
        checks.extend(more);
    }
    if faulty(&checks) {
        return Ok(verified(backup, true, checks, Vec::new(), Vec::new()));
    }
    let server = trial.scratch.server(version).await?;
    if let Some(manifest) = backup.committed().filter(|_| trial.scratch.is_ours()) {
        // Policies and mappings name them. Names alone: nobody can log in as one, and none has a right.
        let named = |r: &store::manifest::Role| Role { name: r.name.clone(), ..Role::default() };
        let named: Vec<_> = manifest.roles.iter().map(named).collect();
        database::roles(&server, &named).await?;
    }
    sweep(&server, MARK).await?;
    database::sweep_roles(&server).await?;
    // Of each backup its own: a run may verify several of one database at once.
    let mut which = DefaultHasher::new();
    backup.arn.hash(&mut which);
    let of = format!("verify_{}-{:08x}", trial.run, which.finish() & 0xffff_ffff);
    let name = database::temporary_name(backup.database().unwrap_or("backup"), &of);
    let room = Room::for_test(&server, name, backup).await?;
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    let tried =
        Box::pin(try_in(&room, store, backup, opening, trial, &mut losses, &mut times)).await;
    let closed = room.close().await;
    match tried {
        Ok(more) => checks.extend(more),
        // A lost connection is the server's fault and not the backup's.
        Err(e) if e.kind == Kind::Connection => return Err(e),
        Err(e) => checks.push(Check::broken("restores", &e)),
    }
    closed?;
    Ok(verified(backup, true, checks, losses, times))
}

/// What is told of a backup that could not be tried.
pub fn could_not(backup: &Backup, why: &Error) -> Verified {
    let checks =
        vec![Check { kind: Some(why.kind), ..Check::skipped("restores", why.to_string()) }];
    Verified {
        verdict: Verdict::CouldNotVerify,
        good: false,
        ..verified(backup, true, checks, Vec::new(), Vec::new())
    }
}

async fn try_in(
    room: &Room<'_>,
    store: &Store,
    backup: &Backup,
    opening: &Opening,
    trial: &Trial<'_>,
    losses: &mut Vec<Loss>,
    times: &mut Vec<Took>,
) -> Result<Vec<Check>, Error> {
    let begun = Instant::now();
    // The roles of owners and grants are not on a scratch server.
    let how = Into { jobs: trial.jobs, owners: false, privileges: false, ..Into::default() };
    let restored = Box::pin(room.load(store, backup, opening, Hashes::Both, &how)).await?;
    times.push(took("fetch and restore", begun));
    let mut checks = vec![Check::passed("restores", "its hashes are right to the last byte")];
    if !restored.untested.is_empty() {
        let left = format!("left out of the test: {}", restored.untested.join(", "));
        checks.push(Check::skipped("what takes a superuser", left));
    }
    *losses = room.losses(false).chain(restored.losses).collect();
    let begun = Instant::now();
    let login = room.login();
    database::see_all_rows(&login, &room.name).await?;
    let asked =
        judge(&login, &room.name, backup, losses, &[], None, trial.rules, trial.jobs).await?;
    checks.extend(asked);
    times.push(took("verify", begun));
    Ok(checks)
}

fn took(phase: &str, since: Instant) -> Took {
    Took { phase: phase.into(), seconds: seconds(since) }
}

/// Seconds since then, to the millisecond: more is noise, and JSON would not give every digit back.
pub(crate) fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

fn faulty(checks: &[Check]) -> bool {
    checks.iter().any(|c| c.went == Went::Failed)
}

fn verified(
    backup: &Backup,
    full: bool,
    checks: Vec<Check>,
    losses: Vec<Loss>,
    took: Vec<Took>,
) -> Verified {
    Verified {
        backup: backup.arn.clone(),
        database: backup.database().map(str::to_owned),
        data_time: backup.data_time(),
        full,
        verdict: verdict(&checks, &losses),
        good: verdict(&checks, &losses) == Verdict::Good,
        checks,
        losses,
        took,
    }
}

/// The size against the median of those before.
fn size(backup: &Backup, trial: &Trial<'_>) -> Option<Check> {
    let most = trial.size_change?;
    let name = "size";
    let mut earlier = trial.earlier.to_vec();
    earlier.sort_unstable();
    let Some(median) = earlier.get(earlier.len() / 2).filter(|m| **m > 0) else {
        return Some(Check::skipped(name, "there is none before it"));
    };
    #[expect(clippy::cast_precision_loss, reason = "a share of a size")]
    let change = (backup.size as f64 - *median as f64).abs() / *median as f64;
    let detail = format!(
        "{} bytes, {:.0} % from the median {median} of {} before it",
        backup.size,
        change * 100.0,
        earlier.len()
    );
    Some(if change > most { Check::failed(name, detail) } else { Check::passed(name, detail) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Directory, catalogue::Of, model};

    #[test]
    fn waiting_is_no_failure_and_hides_none() {
        let broken = |kind| Check { kind: Some(kind), ..Check::failed(READABLE, "") };
        let table = [
            (vec![broken(Kind::Cold)], Verdict::Waiting),
            (vec![Check::passed("manifest", ""), broken(Kind::Cold)], Verdict::Waiting),
            (vec![broken(Kind::Store), broken(Kind::Cold)], Verdict::Waiting),
            (vec![broken(Kind::Store)], Verdict::CouldNotVerify),
            (vec![broken(Kind::Cold), broken(Kind::Damaged)], Verdict::Bad),
            (vec![broken(Kind::Cold), Check::failed("size", "")], Verdict::Bad),
            (vec![Check::passed("manifest", "")], Verdict::Good),
        ];
        for (checks, expected) in table {
            assert_eq!(verdict(&checks, &[]), expected, "{checks:?}");
        }
    }

    #[tokio::test]
    async fn the_kind_of_a_fault_decides_what_a_check_of_it_comes_to() {
        let root = tempfile::tempdir().expect("a folder");
        let store = Store::Directory(Directory::new(root.path(), ""));
        let backup = || model::backup("a.dump", "orders", "daily", Timestamp::UNIX_EPOCH);
        let (class, archived) = (Some("GLACIER".to_owned()), true);
        let cold = Backup { class, archived, ..backup() };
        assert_eq!(verdict(&beside_it(&store, &cold).await, &[]), Verdict::Waiting);
        for (kind, expected) in [
            (store::Kind::Damaged, Verdict::Bad),
            (store::Kind::Untrusted, Verdict::Bad),
            (store::Kind::Denied, Verdict::CouldNotVerify),
            (store::Kind::Cold, Verdict::Waiting),
        ] {
            let (why, mend) = ("no".to_owned(), "look".to_owned());
            let of = Of::Faulty { read: None, manifest: None, kind, why, mend };
            let checks = beside_it(&store, &Backup { kind: of, ..backup() }).await;
            assert_eq!(verdict(&checks, &[]), expected, "{kind:?}");
        }
    }
}
