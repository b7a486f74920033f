//! Looking at RDS: the same eyes for every function.

use crate::catalog::RdsDatabase;
use crate::{
    catalog::{DatabaseKind, Inventory, Location, LocationInventory, ObservationError},
    plan::{Finding, FindingCode, Severity},
    policy::{DatabaseGroup, Policy, evaluate_selector, text::Name},
    run::RunContext,
};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservationScope {
    /// The assets' own place.
    Home,
    /// Home, and every destination that a group copies to.
    Everywhere,
}

/// Every place that the policy has snapshots at: home first. None for a policy without a home, which is of a host without
/// AWS.
pub fn snapshot_locations(policy: &Policy) -> Vec<Location> {
    if policy.home.is_none() {
        return Vec::new();
    }
    let mut places = vec![Location::home_from_policy(policy)];
    for copy in policy.databases.values().flat_map(|g| &g.copies) {
        places.extend(Location::for_destination(policy, &copy.to).filter(|p| !places.contains(p)));
    }
    places
}

/// Looks at the databases and points of the policy. A place that does not answer is a gap, and the others still count. Of a
/// policy without a home AWS is asked nothing: it has no databases there, which is known without asking.
pub async fn observe_inventory(world: &RunContext<'_>, how: ObservationScope) -> Inventory {
    let home = world.home_location();
    let mut all = snapshot_locations(world.policy);
    if all.is_empty() {
        return Inventory {
            locations: BTreeMap::from([(home, LocationInventory::default())]),
            ..Inventory::default()
        };
    }
    if how == ObservationScope::Home {
        all.truncate(1);
    }
    let looks = all.into_iter().map(|place| {
        let rds = world.aws.rds(&place);
        let at_home = place == home;
        async move {
            let look = async {
                if at_home {
                    rds.inventory().await
                } else {
                    rds.list_snapshots()
                        .await
                        .map(|points| LocationInventory { points, ..LocationInventory::default() })
                }
            };
            let fleet = world.with_observation_timeout(list_operation(&place), look).await;
            (place, fleet.map_err(|e| rds.to_observation_error(&e)))
        }
    });
    collect_inventories(looks).await
}

/// What is done at a place, for errors.
fn list_operation(place: &Location) -> String {
    format!("list databases and snapshots of {place}")
}

/// What each place answers, side by side: a fleet or a gap.
async fn collect_inventories(
    looks: impl Iterator<
        Item = impl Future<Output = (Location, Result<LocationInventory, ObservationError>)>,
    >,
) -> Inventory {
    let mut seen = Inventory::default();
    for (place, fleet) in join_all(looks).await {
        match fleet {
            Ok(fleet) => drop(seen.locations.insert(place, fleet)),
            Err(gap) => seen.errors.push(gap),
        }
    }
    seen
}

/// Looks at one database alone, wherever the policy has points of it: for an event that speaks of one snapshot, so that
/// a hundred events do not list the whole account a hundred times.
///
/// It is looked for by its resource id, so a database that was renamed is found with the points of all its names.
pub async fn observe_database(world: &RunContext<'_>, snapshot_arn: &str) -> Inventory {
    let mut seen = Inventory::default();
    let home = world.home_location();
    if world.policy.home.is_none() {
        return seen;
    }
    let rds = world.aws.rds(&home);
    let found = world.with_observation_timeout(format!("look at {snapshot_arn}"), async {
        // The snapshot is gone already, or another account's: nothing to do sooner than the next sweep.
        let Some(point) = rds.find_snapshot_by_arn(snapshot_arn).await? else { return Ok(None) };
        let fleet = rds.inventory_for_point(&point).await?;
        Ok(Some((point.kind, fleet)))
    });
    let (family, fleet) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return seen,
        Err(e) => {
            seen.errors.push(rds.to_observation_error(&e));
            return seen;
        }
    };
    let points = fleet.points.iter().map(|p| p.database.clone());
    let names: BTreeSet<String> =
        fleet.databases.iter().map(|d| d.id.clone()).chain(points).collect();
    let away = snapshot_locations(world.policy).into_iter().filter(|place| *place != home);
    let looks = away.map(|place| {
        let (rds, names) = (world.aws.rds(&place), &names);
        async move {
            let listed = world.with_observation_timeout(list_operation(&place), async {
                let mut points = Vec::new();
                for name in names {
                    points.extend(rds.snapshots_by_name(family, name).await?);
                }
                Ok(LocationInventory { points, ..LocationInventory::default() })
            });
            let fleet = listed.await;
            (place, fleet.map_err(|e| rds.to_observation_error(&e)))
        }
    });
    seen = collect_inventories(looks).await;
    seen.locations.insert(home, fleet);
    seen
}

/// The databases of each group of the policy, the findings about the selection itself, and what no group selects.
#[derive(Debug, Default)]
pub struct DatabaseSelection<'a> {
    /// By group, its databases.
    pub groups: BTreeMap<&'a Name, (&'a DatabaseGroup, Vec<&'a RdsDatabase>)>,
    /// Databases that no group selects and none excepts.
    pub unprotected: Vec<&'a RdsDatabase>,
    /// Names that are not there, groups that found too few, databases in two groups.
    pub findings: Vec<Finding>,
}

impl<'a> DatabaseSelection<'a> {
    /// Every selected database with its group.
    pub fn selected_databases(
        &self,
    ) -> impl Iterator<Item = (&'a Name, &'a DatabaseGroup, &'a RdsDatabase)> {
        self.groups.iter().flat_map(|(name, (group, databases))| {
            databases.iter().map(|d| (*name, *group, *d)).collect::<Vec<_>>()
        })
    }

    /// The group of this very database.
    pub fn group_of(&self, database: &RdsDatabase) -> Option<(&'a Name, &'a DatabaseGroup)> {
        let found = self.selected_databases().find(|(_, _, d)| d.identity() == database.identity());
        found.map(|(name, group, _)| (name, group))
    }

    /// The group of the first database of a name; an instance and a cluster may share one.
    pub fn find_by_id(
        &self,
        database: &str,
    ) -> Option<(&'a Name, &'a DatabaseGroup, &'a RdsDatabase)> {
        self.selected_databases().find(|(_, _, d)| d.id == database)
    }
}

/// Selects the databases of each group. A database that two groups select belongs to the first by name, and that is a
/// finding. Read replicas are in only when a group names them: their primary is what is backed up.
pub fn select_databases<'a>(
    policy: &'a Policy,
    databases: &'a [RdsDatabase],
) -> DatabaseSelection<'a> {
    let mut out = DatabaseSelection::default();
    // An instance and a cluster of one name are two databases.
    let mut taken: BTreeMap<(DatabaseKind, &str), &Name> = BTreeMap::new();
    for (name, group) in &policy.databases {
        let mut mine = Vec::new();
        for database in databases {
            let named = group.select.identifiers.contains(&database.id);
            if evaluate_selector(&group.select, &database.id, &database.tags).is_err()
                || (database.replica_of.is_some() && !named)
            {
                continue;
            }
            if let Some(first) = taken.get(&(database.family, database.id.as_str())) {
                out.findings.push(
                    Finding::new(
                        Severity::Warning,
                        &database.id,
                        FindingCode::AmbiguousGroup,
                        format!("the groups {first} and {name} both select it; {first} has it"),
                        format!("name it under exclude in {name}"),
                    )
                    .in_group(first),
                );
                continue;
            }
            taken.insert((database.family, &database.id), name);
            mine.push(database);
        }
        for id in
            group.select.identifiers.iter().filter(|id| !databases.iter().any(|d| d.id == **id))
        {
            let why = "the policy names it and RDS has no instance or cluster of that name";
            let hint = "check the name; if it was deleted on purpose, take it out of the policy";
            out.findings.push(
                Finding::new(Severity::Critical, id, FindingCode::DatabaseMissing, why, hint)
                    .in_group(name),
            );
        }
        let expected = group.expect.map_or(1, |n| n.get() as usize);
        if mine.len() < expected {
            let why = format!(
                "the group selects {} databases and the policy expects {expected}",
                mine.len()
            );
            let hint = "check the selection, or expect, in the policy";
            let finding = Finding::new(
                Severity::Critical,
                name.to_string(),
                FindingCode::TooFewDatabases,
                why,
                hint,
            );
            out.findings.push(finding.in_group(name));
        }
        out.groups.insert(name, (group, mine));
    }
    let excepted =
        |id: &str| policy.databases.values().any(|g| g.select.exclude.iter().any(|e| e == id));
    out.unprotected = databases
        .iter()
        .filter(|d| !taken.contains_key(&(d.family, d.id.as_str())) && !excepted(&d.id))
        .filter(|d| !is_replica_of_any(d, databases))
        .collect();
    out
}

/// Whether it is a read replica of a database that is here: that one is what is backed up. The primary in another region
/// or account, or outside of RDS, is nobody's here.
fn is_replica_of_any(replica: &RdsDatabase, databases: &[RdsDatabase]) -> bool {
    replica.replica_of.as_ref().is_some_and(|primary| databases.iter().any(|d| d.id == *primary))
}

/// Assets of a request that no group selects, each with what the policy has: asked for by name, an unknown asset is an
/// error before anything happens.
pub fn unknown_assets(asked: &[String], selection: &DatabaseSelection<'_>) -> Vec<Finding> {
    let known: Vec<&str> = selection.selected_databases().map(|(_, _, d)| d.id.as_str()).collect();
    asked
        .iter()
        .filter(|a| !known.contains(&a.as_str()))
        .map(|a| {
            let some = known.iter().take(20).copied().collect::<Vec<_>>().join(", ");
            let why = "no group of the policy selects a database of that name";
            Finding::new(
                Severity::Critical,
                a,
                FindingCode::UnknownAsset,
                why,
                format!("write one of: {some}"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::wire, run::Deadline};

    #[tokio::test]
    async fn a_policy_without_a_home_asks_aws_nothing() {
        let aws = wire::mock_aws(|request| panic!("{} is asked for", request.operation));
        let policy = Policy::parse("{holdfast: 1, company: acme, id: host-1}").expect("a policy");
        let world = RunContext {
            aws: &aws,
            policy: &policy,
            now: jiff::Timestamp::UNIX_EPOCH,
            deadline: Deadline::unlimited(),
            run_id: "r".into(),
            dry_run: true,
            on_host: true,
            failure_topic: None,
            reports_topic: None,
            user: None,
        };
        for how in [ObservationScope::Home, ObservationScope::Everywhere] {
            let seen = observe_inventory(&world, how).await;
            assert!(seen.errors.is_empty(), "{:?}", seen.errors);
            let fleet =
                seen.at_location(&world.home_location()).expect("home is known to be empty");
            assert!(fleet.databases.is_empty() && fleet.points.is_empty());
        }
        let arn = "arn:aws:rds:us-east-1:000000000000:snapshot:orders";
        assert!(observe_database(&world, arn).await.locations.is_empty());
    }
}
