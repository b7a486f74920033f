//! What holds for all functions together, over any mix of runs, faults and clocks, against a model of RDS.
//!
//! Two policies of one company share all places: each home is the other's destination, and both copy into one vault.
//! Databases have one name in both, an instance and a cluster share one, and two assets want one identifier. A run may be
//! killed between any two of its calls, calls may be refused, snapshots and copies may fail, for weeks, places may not
//! answer, databases may be busy, renamed, switched or made again, clocks may jump. At each step: retention never takes
//! the last good points, never takes what is younger than its rule, not its own policy's, or of a kind that is not being
//! made; no identifier is given twice; and when the world calms down everything converges to what the policies ask.

use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::RngSeed};
use shared::{
    catalog::{
        DatabaseKind, Inventory, Location, ObservationError, RdsDatabase, RecoveryPoint,
        RecoveryPointState,
    },
    model::{
        apply_copy, apply_delete, apply_snapshot, automated_snapshot, complete_in_flight,
        db_cluster, db_instance, owned_snapshot, parse_policy, parse_time,
    },
    plan::Severity,
    policy::Policy,
    request::RunRequest,
    time::CronSchedule,
};
use std::collections::{BTreeMap, BTreeSet};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr", max_concurrent_copies: 4 }
  vault:
    account: "444455556666"
    region: eu-central-1
    role: arn:aws:iam::444455556666:role/vault
    kms_key: arn:aws:kms:eu-central-1:444455556666:key/vault
    reencrypt_kms_key: arn:aws:kms:eu-west-1:111122223333:key/transfer
databases:
  fleet:
    select: { include: ["acme-*"] }
    objectives: { max_age: 26h }
    min_backups: 2
    snapshots:
      daily: { schedule: { cron: "30 3 * * *", time_zone: Europe/Sofia }, keep: { daily: 3, weekly: 2 } }
      eu-daily: { schedule: { cron: "0 4 * * 0" }, keep: { for: 15d } }
      pre-deploy: { keep: { for: 4d } }
    copies:
      - { to: dr, of: [daily], keep: { newest: 2 }, max_age: 50h }
      - { to: dr, of: [daily, eu-daily], keep: { weekly: 2 } }
      - { to: vault, of: [daily, pre-deploy], keep: { daily: 2 }, max_age: 75h }
limits: { delete: { count: 50, share: 90% } }
"#;

/// The other policy: at home where the first one copies to.
fn other_policy() -> String {
    POLICY
        .replace("us-east-1", "eu-west-0")
        .replace("eu-west-1", "us-east-1")
        .replace("eu-west-0", "eu-west-1")
}

const MIN_POINTS: usize = 2;
const DATABASE_COUNT: u8 = 4;

/// One thing that happens, to one of the two policies. Each run may be cut short after some of its calls.
#[derive(Clone, Debug)]
enum ModelEvent {
    Snapshot {
        calls: usize,
    },
    Deploy {
        demand: u8,
        calls: usize,
    },
    Offsite {
        calls: usize,
        blind: Option<u8>,
    },
    Retention {
        calls: usize,
        blind: Option<u8>,
    },
    Settle {
        failing: u8,
    },
    /// Day after day all snapshots fail, and retention runs.
    Failing {
        days: u8,
    },
    Wait {
        hours: i64,
    },
    Busy {
        which: u8,
    },
    Renew {
        which: u8,
    },
    Rename {
        which: u8,
    },
    Switch {
        which: u8,
    },
}

fn any_event() -> impl Strategy<Value = (usize, ModelEvent)> {
    let calls = || prop_oneof![4 => Just(usize::MAX), 1 => 0usize..4];
    let blind = || prop::option::weighted(0.2, 0u8..3);
    let event = prop_oneof![
        4 => calls().prop_map(|calls| ModelEvent::Snapshot { calls }),
        2 => (0u8..4, calls()).prop_map(|(demand, calls)| ModelEvent::Deploy { demand, calls }),
        4 => (calls(), blind()).prop_map(|(calls, blind)| ModelEvent::Offsite { calls, blind }),
        4 => (calls(), blind()).prop_map(|(calls, blind)| ModelEvent::Retention { calls, blind }),
        6 => prop_oneof![3 => Just(0u8), 1 => 0u8..4].prop_map(|failing| ModelEvent::Settle { failing }),
        1 => (1u8..15).prop_map(|days| ModelEvent::Failing { days }),
        6 => prop_oneof![8 => 1i64..30, 1 => -300i64..0, 1 => 100i64..9000].prop_map(|hours| ModelEvent::Wait { hours }),
        1 => (0u8..DATABASE_COUNT).prop_map(|which| ModelEvent::Busy { which }),
        1 => (0u8..DATABASE_COUNT).prop_map(|which| ModelEvent::Renew { which }),
        1 => (0u8..DATABASE_COUNT).prop_map(|which| ModelEvent::Rename { which }),
        1 => (0u8..DATABASE_COUNT).prop_map(|which| ModelEvent::Switch { which }),
    ];
    (0usize..2, event)
}

struct RdsModel {
    policies: [Policy; 2],
    seen: Inventory,
    now: Timestamp,
    /// How often a database was made, renamed or switched.
    made: usize,
}

/// What went, and by which policy's retention.
type DeletedPoints = Vec<(usize, Location, RecoveryPoint)>;

impl RdsModel {
    fn new() -> Self {
        let policies = [parse_policy(POLICY), parse_policy(&other_policy())];
        let now = parse_time("2026-11-20T12:00:00Z");
        let mut seen = Inventory::default();
        for (n, policy) in policies.iter().enumerate() {
            // acme-a + eu-daily and acme-a-eu + daily want one identifier.
            let mut databases: Vec<RdsDatabase> =
                ["acme-a", "acme-b", "acme-a-eu"].map(|id| db_instance(id, now)).to_vec();
            databases.push(db_cluster("acme-a", now));
            let mut points = Vec::new();
            for (i, db) in databases.iter_mut().enumerate() {
                db.resource_id = format!("{}-{n}", db.resource_id);
                db.latest_restorable = None;
                let first = parse_time("2026-11-20T01:30:00Z");
                for day in 0..3 {
                    let time = first - SignedDuration::from_hours(24 * day);
                    points.push(owned_snapshot(policy, db, "daily", time));
                }
                // One is under AWS's own key, which can't leave the account as it is.
                if i == 2 {
                    points
                        .iter_mut()
                        .rev()
                        .take(3)
                        .for_each(|p| p.kms_key = Some("arn:aws-managed".into()));
                }
                let mut by_hand =
                    owned_snapshot(policy, db, "manual", parse_time("2025-01-01T00:00:00Z"));
                by_hand.tags = shared::catalog::HoldfastTags::default();
                points.extend([by_hand, automated_snapshot(policy, db, first)]);
            }
            for (place, fleet) in shared::model::home_inventory(policy, databases, points).locations
            {
                let known = seen.locations.entry(place).or_default();
                known.databases.extend(fleet.databases);
                known.points.extend(fleet.points);
            }
        }
        Self { policies, seen, now, made: 0 }
    }

    fn database_mut(&mut self, of: usize, which: u8) -> &mut RdsDatabase {
        let home = Location::home_from_policy(&self.policies[of]);
        &mut self.seen.locations.get_mut(&home).expect("home").databases[which as usize]
    }

    /// What is seen when a place does not answer.
    fn observe(&self, blind: Option<u8>) -> Inventory {
        let mut seen = self.seen.clone();
        if let Some(which) = blind
            && let Some(place) = seen.locations.keys().nth(which as usize).cloned()
        {
            seen.locations.remove(&place);
            seen.errors.push(ObservationError {
                location: place,
                message: "timed out".into(),
                hint: String::new(),
            });
        }
        seen
    }

    /// Whether something at a place has this identifier.
    fn has_identifier(&self, place: &Location, family: DatabaseKind, id: &str) -> bool {
        let points = self.seen.at_location(place).into_iter().flat_map(|f| &f.points);
        points.into_iter().any(|p| p.kind == family && p.id == id)
    }

    fn run_snapshot(&mut self, of: usize, request: &RunRequest, demand: &str, calls: usize) {
        let policy = self.policies[of].clone();
        let plan = snapshot::plan(&policy, &self.seen, request, demand, self.now);
        for step in plan.steps.into_iter().take(calls) {
            if let snapshot::SnapshotAction::Create { family, database, id, tags, .. } = step.action
            {
                assert!(
                    !self.has_identifier(&Location::home_from_policy(&policy), family, &id),
                    "{id} is given twice"
                );
                apply_snapshot(&mut self.seen, &policy, (family, &database), &id, &tags);
            }
        }
    }

    fn run_offsite(&mut self, of: usize, calls: usize, blind: Option<u8>) {
        let seen = self.observe(blind);
        let copies = offsite::plan(&self.policies[of], &seen, &self.key_ownership(of), self.now);
        for step in copies.plan.steps.into_iter().take(calls) {
            let offsite::SnapshotCopyAction::Copy { to, family, copy, .. } = step.action;
            assert!(!self.has_identifier(&to, family, &copy.id), "{} is given twice", copy.id);
            apply_copy(&mut self.seen, &to, &copy);
        }
    }

    /// What KMS says of the keys.
    fn key_ownership(&self, of: usize) -> offsite::AwsManagedKeys {
        let keys = offsite::keys_to_describe(&self.policies[of], &self.seen);
        keys.into_iter().map(|k| (k.clone(), k == "arn:aws-managed")).collect()
    }

    fn run_retention(&mut self, of: usize, calls: usize, blind: Option<u8>) -> DeletedPoints {
        let letting = retention::plan(&self.policies[of], &self.observe(blind), self.now);
        let steps = letting.plan.steps.into_iter().take(calls);
        steps.map(|step| (of, step.action.at, step.action.point.point().clone())).collect()
    }

    /// Good points that count, of each owner, place and lineage.
    fn count_good_points(&self) -> BTreeMap<(usize, Location, DatabaseKind, String), usize> {
        let mut good = BTreeMap::new();
        for (of, policy) in self.policies.iter().enumerate() {
            let owner = policy.owner();
            for (place, fleet) in &self.seen.locations {
                let ours = |p: &&RecoveryPoint| {
                    p.is_complete() && p.is_owned_by(&owner) && !p.tags.transfer && !p.automated
                };
                for p in fleet.points.iter().filter(ours) {
                    let lineage = (of, place.clone(), p.kind, p.resource_id.clone());
                    *good.entry(lineage).or_default() += 1;
                }
            }
        }
        good
    }

    /// Whether backups of a scheduled reason of a point's database are being made at home, or need not be: it is gone.
    fn is_being_made(&self, of: usize, gone: &RecoveryPoint, reason: &str) -> bool {
        let policy = &self.policies[of];
        let home = &self.seen.locations[&Location::home_from_policy(policy)];
        if !home.databases.iter().any(|d| d.identity() == gone.identity()) {
            return true;
        }
        let group = policy.databases.values().next().expect("a group");
        let rule = group.snapshots.iter().find(|(r, _)| r.as_str() == reason).map(|(_, rule)| rule);
        let Some(when) = rule.and_then(|rule| rule.schedule.as_ref()) else { return true };
        let due =
            CronSchedule::new(when, &policy.time_zone).last_due_past_grace(self.now).expect("due");
        home.points.iter().any(|p| {
            let since = |t| t <= self.now && t + SignedDuration::from_mins(30) >= due;
            p.identity() == gone.identity()
                && p.is_complete()
                && p.is_owned_by(&policy.owner())
                && p.has_reason(reason)
                && p.data_time.is_some_and(since)
        })
    }

    fn apply_deletes(&mut self, gone: &DeletedPoints) {
        for (_, place, point) in gone {
            apply_delete(&mut self.seen, place, &point.arn);
        }
    }

    /// What happens; what retention is about to delete is answered first.
    fn apply_event(&mut self, of: usize, event: &ModelEvent) -> DeletedPoints {
        match event {
            ModelEvent::Snapshot { calls } => {
                self.run_snapshot(of, &RunRequest::full_run(), "run", *calls);
            }
            ModelEvent::Deploy { demand, calls } => {
                let request = RunRequest { reason: "pre-deploy".into(), ..RunRequest::default() };
                self.run_snapshot(of, &request, &format!("deploy-{demand}"), *calls);
            }
            ModelEvent::Offsite { calls, blind } => self.run_offsite(of, *calls, *blind),
            ModelEvent::Retention { calls, blind } => {
                return self.run_retention(of, *calls, *blind);
            }
            ModelEvent::Settle { failing } => {
                let mut n = 0;
                complete_in_flight(&mut self.seen, self.now, |_| {
                    n += 1;
                    *failing == 0 || n % u32::from(*failing) != 0
                });
            }
            ModelEvent::Failing { .. } => unreachable!("many events"),
            ModelEvent::Wait { hours } => self.now += SignedDuration::from_hours(*hours),
            ModelEvent::Busy { which } => {
                let database = self.database_mut(of, *which);
                let busy = database.status == "available";
                database.status = if busy { "backing-up".into() } else { "available".into() };
            }
            ModelEvent::Renew { which } => {
                // Deleted and made again under its old name: another lineage.
                self.made += 1;
                let id = format!("db-renewed-{}", self.made);
                self.database_mut(of, *which).resource_id = id;
            }
            ModelEvent::Rename { which } => {
                self.made += 1;
                let id = format!("acme-renamed-{}", self.made);
                self.database_mut(of, *which).id = id;
            }
            ModelEvent::Switch { which } => {
                // Blue/green: the old one is renamed and in no group any more; a new one has its name.
                self.made += 1;
                let n = self.made;
                let blue = self.database_mut(of, *which);
                let green = RdsDatabase { resource_id: format!("db-green-{n}"), ..blue.clone() };
                let blue = RdsDatabase { id: format!("old-{n}"), ..std::mem::replace(blue, green) };
                let home = Location::home_from_policy(&self.policies[of]);
                self.seen.locations.get_mut(&home).expect("home").databases.push(blue);
            }
        }
        Vec::new()
    }
}

/// Weeks of failure are many single events.
fn expand_events(events: &[(usize, ModelEvent)]) -> Vec<(usize, ModelEvent)> {
    let one = |(of, event): &(usize, ModelEvent)| match event {
        ModelEvent::Failing { days } => (0..*days)
            .flat_map(|_| {
                [
                    ModelEvent::Wait { hours: 24 },
                    ModelEvent::Snapshot { calls: usize::MAX },
                    ModelEvent::Settle { failing: 1 },
                    ModelEvent::Retention { calls: usize::MAX, blind: None },
                ]
            })
            .map(|event| (*of, event))
            .collect(),
        event => vec![(*of, event.clone())],
    };
    events.iter().flat_map(one).collect()
}

/// The same histories each time, so that a failure means a change; `PROPTEST_CASES=1000 cargo test -p tests` looks for new
/// ones.
fn fixed_config() -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig { cases: 8, rng_seed: RngSeed::Fixed(20_261_120), ..config }
}

proptest! {
    #![proptest_config(fixed_config())]

    #[test]
    fn no_sequence_of_runs_faults_and_clocks_takes_the_last_good_points(
        events in prop::collection::vec(any_event(), 1..80)
    ) {
        let mut model = RdsModel::new();
        for (of, event) in expand_events(&events) {
            let before = model.count_good_points();
            let gone = model.apply_event(of, &event);
            for (of, place, p) in &gone {
                let owner = model.policies[*of].owner();
                prop_assert!(p.is_owned_by(&owner) && !p.automated, "{} is not of {owner}", p.id);
                if !p.is_complete() || p.tags.transfer {
                    continue;
                }
                for reason in p.reasons() {
                    prop_assert!(model.is_being_made(*of, p, reason), "{} goes at {place}, and no {reason} is made", p.id);
                }
                if p.reasons() == ["pre-deploy"] && p.tags.copy_of.is_none() {
                    let age = model.now.duration_since(p.data_time.expect("a time"));
                    prop_assert!(age >= SignedDuration::from_hours(96), "{} was {age:?} old", p.id);
                }
            }
            model.apply_deletes(&gone);
            let after = model.count_good_points();
            for (lineage, count) in &before {
                let left = after.get(lineage).copied().unwrap_or(0);
                prop_assert!(left >= (*count).min(MIN_POINTS), "{lineage:?} fell from {count} to {left} by {event:?}");
            }
        }
    }

    #[test]
    fn after_any_trouble_a_few_calm_rounds_bring_what_the_policies_ask(
        events in prop::collection::vec(any_event(), 0..40)
    ) {
        let mut model = RdsModel::new();
        // A clock that goes back can leave a snapshot under a slot that has not come yet; freshness calls that stale, and
        // the slot after it fixes it. So here clocks go forward only.
        for (of, event) in expand_events(&events).iter().filter(|(_, e)| !matches!(e, ModelEvent::Wait { hours } if *hours < 0)) {
            let gone = model.apply_event(*of, event);
            model.apply_deletes(&gone);
        }
        // The trouble ends: databases are available, what was switched off is deleted, what failed for good was cleaned up
        // by a person who looked.
        for fleet in model.seen.locations.values_mut() {
            fleet.databases.retain(|d| !d.id.starts_with("old-"));
            for database in &mut fleet.databases {
                database.status = "available".into();
            }
            fleet.points.retain(|p| !matches!(p.state, RecoveryPointState::Failed(_)));
            // So did what wrong clocks left behind in the future.
            let now = model.now;
            fleet.points.retain(|p| p.data_time.is_none_or(|t| t <= now));
        }
        for _ in 0..30 {
            for of in 0..2 {
                model.run_snapshot(of, &RunRequest::full_run(), "run", usize::MAX);
                complete_in_flight(&mut model.seen, model.now, |_| true);
                model.run_offsite(of, usize::MAX, None);
                complete_in_flight(&mut model.seen, model.now, |_| true);
                let gone = model.run_retention(of, usize::MAX, None);
                model.apply_deletes(&gone);
            }
        }
        for of in 0..2 {
            let policy = &model.policies[of];
            let left = offsite::plan(policy, &model.seen, &model.key_ownership(of), model.now);
            let steps: Vec<_> = left.plan.steps.iter().map(|s| format!("{}: {}", s.action, s.reason)).collect();
            prop_assert!(steps.is_empty() && left.waiting == 0, "copies are left to make: {steps:?}");
            let mut facts = freshness::FreshnessObservations { rds: model.seen.clone(), ..freshness::FreshnessObservations::default() };
            // At a destination there are only points to look at.
            let home = Location::home_from_policy(policy);
            facts.rds.locations.iter_mut().filter(|(p, _)| **p != home).for_each(|(_, f)| f.databases.clear());
            let verdict = freshness::plan(policy, &facts, model.now);
            let critical: Vec<_> = verdict.plan.findings.iter().filter(|f| f.severity == Severity::Critical).collect();
            prop_assert!(critical.is_empty(), "{critical:?}");
        }
        // Every identifier is one point's, and no point is anybody else's.
        for (place, fleet) in &model.seen.locations {
            let ids: BTreeSet<_> = fleet.points.iter().map(|p| (p.kind, &p.id)).collect();
            prop_assert_eq!(ids.len(), fleet.points.len(), "at {}", place);
        }
    }
}
