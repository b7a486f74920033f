//! Whether a backup is good: quickly by its hashes, or fully by restoring it.

mod reading;
mod report;

pub(crate) use reading::{NOTES, beside_it};
pub use report::markdown;

use crate::{
    Error, Kind, Opening,
    fetch::{Hashes, drain, fetch},
    trial::{Room, Rules, judge, sweep},
};
use jiff::Timestamp;
use postgres::{
    Server, database,
    restore::{Into, Loss},
};
use reading::{file_hash, hashes};
use serde::{Deserialize, Serialize};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};
use store::{Backup, Store};

/// What the name of a temporary database of `full` has between database and run.
const MARK: &str = "_holdfast_verify_";

/// Name of the check whether the file can be read.
pub(crate) const READABLE: &str = "readable";

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
    /// Whether no check failed.
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
    /// The server that the temporary database is made on.
    pub server: &'a Server,
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
    /// Whether owners and grants are restored too: false where the server does not have the roles.
    pub owners: bool,
}

/// Reads a backup to its end and checks every hash. An error is a failed check.
pub async fn quick(store: &Store, backup: &Backup, opening: &Opening) -> Verified {
    let begun = Instant::now();
    let mut checks = beside_it(store, backup, opening).await;
    if !faulty(&checks) {
        let read =
            fetch(store, backup, opening, Hashes::Both, async |_, from| drain(from).await).await;
        match read {
            Err(e) => checks.push(Check::broken(READABLE, &e)),
            Ok(fetched) => {
                checks.extend(hashes(backup, fetched.sums.transpose()));
                checks.extend(file_hash(store, backup, &checks).await);
            }
        }
    }
    let took = vec![took("fetch", begun)];
    verified(backup, false, checks, Vec::new(), took)
}

/// Restores a backup into a temporary database, which is dropped again, and asks it everything. Leftovers of dead runs
/// are dropped before.
///
/// # Errors
/// If the server can't be reached or refuses the database: that says nothing about the backup. All else is a failed check.
pub async fn full(
    store: &Store,
    backup: &Backup,
    opening: &Opening,
    trial: &Trial<'_>,
) -> Result<Verified, Error> {
    sweep(trial.server, MARK).await?;
    let mut checks = beside_it(store, backup, opening).await;
    checks.extend(size(backup, trial));
    if faulty(&checks) {
        return Ok(verified(backup, true, checks, Vec::new(), Vec::new()));
    }
    // Of each backup its own: a run may verify several of one database at once.
    let mut which = DefaultHasher::new();
    backup.arn.hash(&mut which);
    let of = format!("verify_{}-{:08x}", trial.run, which.finish() & 0xffff_ffff);
    let name = database::temporary_name(backup.database().unwrap_or("backup"), &of);
    let room = Room::open(trial.server, name, backup).await?;
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
    let how = Into {
        jobs: trial.jobs,
        tables: Vec::new(),
        owners: trial.owners,
        privileges: trial.owners,
    };
    let restored = room.load(store, backup, opening, Hashes::Both, &how).await?;
    times.push(took("fetch and restore", begun));
    let mut checks = vec![Check::passed("restores", "its hashes are right to the last byte")];
    let data = restored.losses.iter().filter(|l| l.class == postgres::restore::LossClass::Data);
    let data: Vec<&str> = data.map(|l| l.message.as_str()).collect();
    if let Some(first) = data.first() {
        checks.push(Check::failed("no data lost", format!("{} losses: {first}", data.len())));
    }
    *losses = room.losses(trial.owners).chain(restored.losses).collect();
    let begun = Instant::now();
    checks
        .extend(judge(trial.server, &room.name, backup, &[], None, trial.rules, trial.jobs).await?);
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
        good: !faulty(&checks),
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
