//! What exists, in memory: databases and snapshots of RDS in several accounts and regions, KMS keys, stores of dumps, and
//! one true clock.
//!
//! The facts are the types that the functions observe, so a plan reads them as they lie here. What a call does is in
//! `rds` and `stores`; what people and other tools do in `change`; what time alone brings in [`World::advance`].

mod change;
mod rds;
mod stores;

pub use change::Change;
pub use rds::SnapshotOrder;
pub(crate) use stores::{DumpOrder, server_name};
pub use stores::{DumpServer, DumpStore, SimulatedDatabase, store_address};

use crate::random::Random;
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::kms::KeyState,
    catalog::{
        DatabaseKind, Inventory, Location, LocationInventory, ObservationError, RdsDatabase,
        RecoveryPoint,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Manual snapshots that an account may have in a region, by default.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html>
pub const DEFAULT_SNAPSHOT_QUOTA: usize = 100;

/// RDS in one account and region.
#[derive(Clone, Debug)]
pub struct RdsLocation {
    /// Databases.
    pub databases: Vec<RdsDatabase>,
    /// Snapshots of any kind and owner.
    pub points: Vec<RecoveryPoint>,
    /// Manual snapshots of each kind that are allowed.
    pub quota: usize,
}

impl Default for RdsLocation {
    fn default() -> Self {
        Self { databases: Vec::new(), points: Vec::new(), quota: DEFAULT_SNAPSHOT_QUOTA }
    }
}

impl RdsLocation {
    /// Manual snapshots of a kind, whoever made them.
    pub fn manual_count(&self, kind: DatabaseKind) -> usize {
        self.points.iter().filter(|p| p.kind == kind && !p.automated).count()
    }
}

/// What is on its way and comes to its end at a known time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PendingEnd {
    /// A snapshot or a copy is complete, or has failed.
    Point { at: Location, arn: String, good: bool },
    /// RDS takes its own daily snapshot of a database.
    Automated { at: Location, resource_id: String },
    /// A database is available again.
    Available { at: Location, resource_id: String },
}

/// How long things take, and how often they fail.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Everything takes the same time, and nothing fails.
    pub steady: bool,
    /// Percent of snapshots that fail.
    pub failing_snapshots: u8,
    /// Percent of copies that fail.
    pub failing_copies: u8,
}

/// Everything there is.
#[derive(Clone, Debug)]
pub struct World {
    /// The true time.
    pub now: Timestamp,
    /// RDS by account and region.
    pub locations: BTreeMap<Location, RdsLocation>,
    /// The state of each KMS key that is not usable; all others are.
    pub keys: BTreeMap<String, KeyState>,
    /// Keys of AWS's own (`aws/rds`).
    pub aws_managed: BTreeSet<String>,
    /// The key of each database, by resource id.
    pub key_of: BTreeMap<String, String>,
    /// GiB of each database, by resource id.
    pub size_of: BTreeMap<String, f64>,
    /// Stores of dumps, by address.
    pub stores: BTreeMap<String, DumpStore>,
    /// PostgreSQL servers, by owner and group.
    pub servers: BTreeMap<String, DumpServer>,
    /// How long things take.
    pub pace: Pace,
    /// Locations in which something has changed since somebody asked.
    changed: BTreeSet<Location>,
    stores_changed: bool,
    /// Points that came to a good end since somebody asked.
    completed: Vec<(Location, String)>,
    ends: BTreeMap<(Timestamp, u64), PendingEnd>,
    serial: u64,
    random: Random,
}

/// What a run is shown.
#[derive(Clone, Debug)]
pub struct View<'v> {
    /// The locations of the policy, home first, with its roles.
    pub locations: &'v [Location],
    /// Those that do not answer.
    pub unobserved: &'v BTreeSet<Location>,
    /// Lists are older than the last writes: what was begun after this time is not in them.
    pub listed_at: Option<Timestamp>,
}

/// A location without the roles that reach it: the same for every policy.
pub fn without_roles(location: &Location) -> Location {
    Location { role: None, ..location.clone() }
}

impl World {
    /// An empty world at a time.
    pub fn new(now: Timestamp, random: Random) -> Self {
        Self {
            now,
            locations: BTreeMap::new(),
            keys: BTreeMap::new(),
            aws_managed: BTreeSet::new(),
            key_of: BTreeMap::new(),
            size_of: BTreeMap::new(),
            stores: BTreeMap::new(),
            servers: BTreeMap::new(),
            pace: Pace { steady: false, failing_snapshots: 0, failing_copies: 0 },
            changed: BTreeSet::new(),
            stores_changed: false,
            completed: Vec::new(),
            ends: BTreeMap::new(),
            serial: 0,
            random,
        }
    }

    /// RDS at a location, as it is.
    pub fn at(&self, location: &Location) -> Option<&RdsLocation> {
        self.locations.get(&without_roles(location))
    }

    /// RDS at a location, which is there from now on.
    pub(crate) fn at_mut(&mut self, location: &Location) -> &mut RdsLocation {
        self.locations.entry(without_roles(location)).or_default()
    }

    /// Locations that changed since this was last asked, and whether stores did.
    pub(crate) fn take_changes(&mut self) -> (BTreeSet<Location>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.stores_changed))
    }

    /// Snapshots and copies that became good since this was last asked.
    pub(crate) fn take_completed(&mut self) -> Vec<(Location, String)> {
        std::mem::take(&mut self.completed)
    }

    fn mark_changed(&mut self, location: &Location) {
        if !self.changed.contains(location) {
            self.changed.insert(without_roles(location));
        }
    }

    fn end_at(&mut self, time: Timestamp, end: PendingEnd) {
        self.serial += 1;
        self.ends.insert((time, self.serial), end);
    }

    /// When something that is on its way ends next.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.keys().next().map(|(time, _)| *time)
    }

    /// Lets time go on to `to`; what ends until then ends in its order.
    pub fn advance(&mut self, to: Timestamp) {
        while let Some(entry) = self.ends.first_entry() {
            let (time, _) = *entry.key();
            if time > to {
                break;
            }
            let end = entry.remove();
            self.now = self.now.max(time);
            match end {
                PendingEnd::Point { at, arn, good } => self.complete_point(&at, &arn, good),
                PendingEnd::Automated { at, resource_id } => {
                    self.take_automated(&at, &resource_id);
                }
                PendingEnd::Available { at, resource_id } => {
                    self.set_status(&at, &resource_id, "available");
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// Shows a run what there is at the policy's locations: the points are lent, not copied.
    pub fn with_inventory<R>(
        &mut self,
        view: &View<'_>,
        plan: impl FnOnce(&mut Inventory) -> R,
    ) -> R {
        let mut inventory = Inventory::default();
        let mut hidden: Vec<(Location, Vec<RecoveryPoint>)> = Vec::new();
        for (n, location) in view.locations.iter().enumerate() {
            let bare = without_roles(location);
            if view.unobserved.contains(&bare) {
                inventory.errors.push(ObservationError {
                    location: location.clone(),
                    message: "timed out".into(),
                    hint: "look at the network".into(),
                });
                continue;
            }
            let fleet = self.locations.entry(bare.clone()).or_default();
            let mut points = std::mem::take(&mut fleet.points);
            if let Some(listed) = view.listed_at {
                let late = |p: &mut RecoveryPoint| p.started.is_some_and(|t| t > listed);
                hidden.push((bare, points.extract_if(.., late).collect()));
            }
            let databases = if n == 0 { std::mem::take(&mut fleet.databases) } else { Vec::new() };
            inventory.locations.insert(location.clone(), LocationInventory { databases, points });
        }
        let answer = plan(&mut inventory);
        let home = view.locations.first();
        for (location, lent) in inventory.locations {
            let is_home = Some(&location) == home;
            let fleet = self.locations.entry(without_roles(&location)).or_default();
            fleet.points.extend(lent.points);
            if is_home {
                fleet.databases = lent.databases;
            }
        }
        for (location, points) in hidden {
            self.locations.entry(location).or_default().points.extend(points);
        }
        answer
    }

    /// A whole number of minutes that something takes.
    fn minutes(&mut self, usual: (i64, i64)) -> SignedDuration {
        let minutes = if self.pace.steady {
            usual.0
        } else if self.random.one_in(60) {
            self.random.between(60, 600)
        } else {
            self.random.between(usual.0, usual.1)
        };
        SignedDuration::from_mins(minutes)
    }
}
