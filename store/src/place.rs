//! A place of a group: its store, and what the policy says of it.

use crate::{Backup, Error, KeyForm, Store, catalogue, form::form};
use jiff::Timestamp;
use shared::{
    aws::EdgeError,
    catalog::Place,
    policy::{Keep, Policy, Postgres, StorageClass, Tier},
    run::World,
    secret::Secrets,
};
use std::collections::BTreeMap;

/// An open store.
#[derive(Clone, Debug)]
pub struct Open<'p> {
    /// The store.
    pub store: Store,
    /// What the policy says of it.
    pub policy: &'p shared::policy::Store,
}

/// `stored` of a group, then each of `also_stored`.
pub fn places(rules: &Postgres) -> impl Iterator<Item = &shared::policy::Store> {
    std::iter::once(&rules.stored).chain(&rules.also_stored)
}

/// Opens every place of a group. One that can't be opened stops no other.
pub async fn open<'p>(
    world: &World<'_>,
    secrets: &Secrets<'_>,
    rules: &'p Postgres,
) -> Vec<Result<Open<'p>, EdgeError>> {
    let home = Place::home(world.policy);
    let mut all = Vec::new();
    for policy in places(rules) {
        let store = crate::open(world.aws, &home, policy, secrets).await;
        all.push(store.map(|store| Open { store, policy }).map_err(EdgeError::from));
    }
    all
}

impl Open<'_> {
    /// The form of the keys of every reason.
    ///
    /// # Errors
    /// If the policy's key is none that can be made and read back.
    pub fn forms(&self, rules: &Postgres) -> Result<Vec<KeyForm>, Error> {
        let mut forms: Vec<KeyForm> = Vec::new();
        for dump in rules.all_dumps().values() {
            let form = form(self.policy, dump)?;
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        Ok(forms)
    }

    /// The backups of these databases here.
    ///
    /// # Errors
    /// If the store can't be listed to its end.
    pub async fn backups(
        &self,
        policy: &Policy,
        rules: &Postgres,
        databases: &[String],
    ) -> Result<Vec<Backup>, EdgeError> {
        let forms = self.forms(rules).map_err(EdgeError::from)?;
        let found = catalogue(&self.store, &forms, databases, policy.company.as_str()).await;
        found.map_err(EdgeError::from)
    }

    /// The backups of every database of a group here, each database's by itself; the store is listed once.
    ///
    /// # Errors
    /// As for [`Open::backups`].
    pub async fn by_database(
        &self,
        policy: &Policy,
        rules: &Postgres,
    ) -> Result<BTreeMap<String, Vec<Backup>>, EdgeError> {
        let mut by: BTreeMap<String, Vec<Backup>> =
            rules.databases.iter().map(|d| (d.clone(), Vec::new())).collect();
        for backup in self.backups(policy, rules, &rules.databases).await? {
            // A file of another tool in a group of one database needs no name in its key.
            let only = rules.databases.first().filter(|_| rules.databases.len() == 1);
            let of = backup.database().map(str::to_owned).or(only.cloned());
            if let Some(list) = of.and_then(|of| by.get_mut(&of)) {
                list.push(backup);
            }
        }
        Ok(by)
    }

    /// The storage class that the policy's tiers begin with.
    pub fn first_class(&self, tiers: &[Tier]) -> Option<StorageClass> {
        self.policy.bucket.as_ref()?;
        tiers.iter().find(|t| t.after.is_none()).map(|t| t.class)
    }
}

/// Until when a dump of `now` is surely kept by a rule: for its age, or for as many periods as its finest line counts.
/// A coarser line may keep it longer; a lock can be made longer later, and never shorter.
pub fn lock_until(keep: &Keep, now: Timestamp) -> Option<Timestamp> {
    use jiff::SignedDuration;
    let hours = |each: i64, n: Option<std::num::NonZeroU32>| {
        n.map(|n| SignedDuration::from_hours(each * i64::from(n.get() - 1)))
    };
    let lines = [hours(1, keep.hourly), hours(24, keep.daily), hours(24 * 7, keep.weekly)];
    let finest = lines.into_iter().flatten().next();
    let age = keep.age.as_ref().map(shared::policy::text::Period::duration);
    let span = age.into_iter().chain(finest).max()?;
    now.checked_add(span).ok()
}
