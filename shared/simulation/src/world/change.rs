//! What people, other tools and misfortune do to what exists, beside Holdfast.

use super::{World, without_roles};
use jiff::SignedDuration;
use shared::{
    catalog::{HoldfastTags, Location, RdsDatabase, RecoveryPoint, RecoveryPointState},
    time::format_slot,
};

/// One change. `which` counts databases or points, from the first and around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A database gets another name.
    Rename(usize),
    /// A database is deleted and made again under its old name.
    Recreate(usize),
    /// A blue/green switch: a new database has the name, the old one another.
    BlueGreen(usize),
    /// A database is deleted.
    Delete(usize),
    /// A database is made.
    Create(usize),
    /// A database is stopped, or started again.
    StopOrStart(usize),
    /// A person takes a snapshot, whose name may be one that Holdfast wants.
    SnapshotByHand(usize),
    /// Another tool takes a snapshot with tags of its own.
    SnapshotByOther(usize),
    /// A person deletes a snapshot or copy of Holdfast's.
    DeleteByHand(usize),
    /// A person holds a snapshot by its tag, or releases it.
    HoldOrRelease(usize),
    /// A person takes the failed ones away.
    ClearFailed,
}

impl World {
    /// Makes a change at a location; what fits nothing there does nothing. Returns what happened, for the history.
    pub fn change(&mut self, at: &Location, change: &Change) -> Option<String> {
        let at = &without_roles(at);
        let said = match change {
            Change::Rename(n) => self.edit_database(at, *n, |d, serial| {
                d.id = format!("{}-r{serial}", d.id.split("-r").next().unwrap_or_default());
            }),
            Change::StopOrStart(n) => self.edit_database(at, *n, |d, _| {
                let stopped = d.status == "stopped";
                d.status = if stopped { "available".into() } else { "stopped".into() };
            }),
            Change::Recreate(n) => self.recreate(at, *n),
            Change::BlueGreen(n) => self.switch(at, *n),
            Change::Delete(n) => self.delete_database(at, *n),
            Change::Create(n) => self.create_like(at, *n),
            Change::SnapshotByHand(n) => self.snapshot_by(at, *n, "daily"),
            Change::SnapshotByOther(n) => self.snapshot_by(at, *n, "awsbackup:job"),
            Change::DeleteByHand(n) => self.delete_by_hand(at, *n),
            Change::HoldOrRelease(n) => self.hold_or_release(at, *n),
            Change::ClearFailed => self.clear_failed(at),
        };
        if said.is_some() {
            self.mark_changed(at);
        }
        said
    }

    fn database(&self, at: &Location, which: usize) -> Option<RdsDatabase> {
        let all = &self.at(at)?.databases;
        all.get(which % all.len().max(1)).cloned()
    }

    fn edit_database(
        &mut self,
        at: &Location,
        which: usize,
        edit: impl FnOnce(&mut RdsDatabase, u64),
    ) -> Option<String> {
        self.serial += 1;
        let serial = self.serial;
        let all = &mut self.at_mut(at).databases;
        let count = all.len().max(1);
        let database = all.get_mut(which % count)?;
        let before = format!("{} ({})", database.id, database.status);
        edit(database, serial);
        Some(format!("{before} is now {} ({})", database.id, database.status))
    }

    fn recreate(&mut self, at: &Location, which: usize) -> Option<String> {
        let old = self.database(at, which)?;
        self.delete_database(at, which)?;
        self.add_like(at, &old, &old.id);
        Some(format!("{} is deleted and made again", old.id))
    }

    fn switch(&mut self, at: &Location, which: usize) -> Option<String> {
        let blue = self.database(at, which)?;
        self.edit_database(at, which, |d, serial| d.id = format!("old-{serial}-{}", d.id))?;
        self.add_like(at, &blue, &blue.id);
        Some(format!("{} is switched", blue.id))
    }

    fn delete_database(&mut self, at: &Location, which: usize) -> Option<String> {
        let old = self.database(at, which)?;
        let fleet = self.at_mut(at);
        fleet.databases.retain(|d| d.resource_id != old.resource_id);
        // Automated snapshots go with their database.
        fleet.points.retain(|p| !(p.automated && p.resource_id == old.resource_id));
        Some(format!("{} is deleted", old.id))
    }

    fn create_like(&mut self, at: &Location, which: usize) -> Option<String> {
        let like = self.database(at, which)?;
        self.serial += 1;
        let id = format!("{}-n{}", like.id.split("-n").next().unwrap_or_default(), self.serial);
        self.add_like(at, &like, &id);
        Some(format!("{id} is made"))
    }

    fn add_like(&mut self, at: &Location, like: &RdsDatabase, id: &str) {
        self.serial += 1;
        let key = self.key_of.get(&like.resource_id).cloned().unwrap_or_default();
        let size = self.size_of.get(&like.resource_id).copied().unwrap_or(20.0);
        let made = RdsDatabase {
            id: id.to_owned(),
            resource_id: format!("db-made-{}", self.serial),
            created: Some(self.now),
            status: "available".into(),
            ..like.clone()
        };
        self.add_database(at, made, &key, size);
    }

    /// A snapshot without tags, under a name that Holdfast would give to the next one.
    fn snapshot_by(&mut self, at: &Location, which: usize, reason: &str) -> Option<String> {
        let database = self.database(at, which)?;
        let tomorrow = self.now + SignedDuration::from_hours(24);
        let id = format!("{}-{reason}-{}", database.id, format_slot(tomorrow));
        if self.at(at)?.points.iter().any(|p| p.id == id) {
            return None;
        }
        let point = RecoveryPoint {
            arn: format!("arn:aws:rds:{}:{}:snapshot:{id}", at.region, at.account),
            id: id.clone(),
            database: database.id.clone(),
            resource_id: database.resource_id.clone(),
            kind: database.family,
            automated: false,
            state: RecoveryPointState::Good,
            data_time: Some(self.now),
            started: Some(self.now),
            size_gib: 20,
            encrypted: database.encrypted,
            kms_key: self.key_of.get(&database.resource_id).cloned(),
            option_group: None,
            source_arn: None,
            tags: HoldfastTags::default(),
        };
        self.at_mut(at).points.push(point);
        Some(format!("{id} is taken by somebody else"))
    }

    fn delete_by_hand(&mut self, at: &Location, which: usize) -> Option<String> {
        let ours = |p: &&RecoveryPoint| p.tags.owner.is_some();
        let all = &self.at(at)?.points;
        let count = all.iter().filter(ours).count();
        let found = all.iter().filter(ours).nth(which % count.max(1))?;
        let (arn, id) = (found.arn.clone(), found.id.clone());
        self.delete_snapshot(at, &arn).ok()?;
        Some(format!("{id} is deleted by hand"))
    }

    fn hold_or_release(&mut self, at: &Location, which: usize) -> Option<String> {
        let all = &mut self.at_mut(at).points;
        let count = all.len().max(1);
        let point = all.get_mut(which % count)?;
        point.tags.legal_hold =
            if point.tags.legal_hold.is_none() { Some("a court".into()) } else { None };
        Some(format!("{} is held or released", point.id))
    }

    fn clear_failed(&mut self, at: &Location) -> Option<String> {
        let failed = |p: &RecoveryPoint| matches!(p.state, RecoveryPointState::Failed(_));
        let all = &mut self.at_mut(at).points;
        let before = all.len();
        all.retain(|p| !failed(p));
        let gone = before - all.len();
        (gone > 0).then(|| format!("{gone} failed ones are taken away by hand"))
    }
}
