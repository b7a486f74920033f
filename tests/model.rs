//! What holds for all functions together, over any mix of runs, faults and clocks, against a model of RDS.
//!
//! A run may be killed between any two of its calls, calls may be refused, snapshots and copies may fail, places may not
//! answer, databases may be busy, clocks may jump: retention never takes the last good points, never takes what is
//! younger than its rule or not ours, and when the world calms down everything converges to what the policy asks.

use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::RngSeed};
use shared::{
    catalog::{Gap, Place, Point, Seen, State},
    model::{at, automated, copied, database, deleted, point, policy, settled, taken},
    plan::Severity,
    policy::Policy,
    request::Request,
};
use std::collections::BTreeSet;

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr", in_flight: 2 }
  vault:
    account: "444455556666"
    region: eu-central-1
    role: arn:aws:iam::444455556666:role/vault
    kms_key: arn:aws:kms:eu-central-1:444455556666:key/vault
    transfer_key: arn:aws:kms:eu-west-1:111122223333:key/transfer
databases:
  fleet:
    select: { like: ["acme-*"] }
    objectives: { max_age: 26h }
    keep_at_least: 2
    snapshots:
      daily: { when: { cron: "0 2 * * *" }, keep: { daily: 3, weekly: 2 } }
      pre-deploy: { keep: { for: 4d } }
    copies:
      - { to: dr, of: [daily], keep: { newest: 2 }, max_age: 50h }
      - { to: vault, of: [daily, pre-deploy], keep: { daily: 2 }, max_age: 75h }
limits: { delete: { count: 50, share: 90% } }
"#;

const FLOOR: usize = 2;

/// One thing that happens. Each run may be cut short after some of its calls.
#[derive(Clone, Debug)]
enum Event {
    Snapshot { calls: usize },
    Deploy { demand: u8, calls: usize },
    Offsite { calls: usize, blind: Option<u8> },
    Retention { calls: usize, blind: Option<u8> },
    Settle { failing: u8 },
    Wait { hours: i64 },
    Busy { which: u8 },
    Renew { which: u8 },
}

fn any_event() -> impl Strategy<Value = Event> {
    let calls = || prop_oneof![4 => Just(usize::MAX), 1 => 0usize..4];
    let blind = || prop::option::weighted(0.2, 0u8..3);
    prop_oneof![
        4 => calls().prop_map(|calls| Event::Snapshot { calls }),
        2 => (0u8..4, calls()).prop_map(|(demand, calls)| Event::Deploy { demand, calls }),
        4 => (calls(), blind()).prop_map(|(calls, blind)| Event::Offsite { calls, blind }),
        4 => (calls(), blind()).prop_map(|(calls, blind)| Event::Retention { calls, blind }),
        6 => prop_oneof![3 => Just(0u8), 1 => 0u8..4].prop_map(|failing| Event::Settle { failing }),
        6 => prop_oneof![8 => 1i64..30, 1 => -300i64..0, 1 => 100i64..9000].prop_map(|hours| Event::Wait { hours }),
        1 => (0u8..3).prop_map(|which| Event::Busy { which }),
        1 => (0u8..3).prop_map(|which| Event::Renew { which }),
    ]
}

struct Model {
    policy: Policy,
    seen: Seen,
    now: Timestamp,
    /// How often a database was made again under its old name.
    renewed: usize,
}

impl Model {
    fn new() -> Self {
        let policy = policy(POLICY);
        let now = at("2026-11-20T12:00:00Z");
        let databases: Vec<_> = ["acme-a", "acme-b", "acme-c"].map(|id| database(id, now)).to_vec();
        let mut points = Vec::new();
        for (i, db) in databases.iter().enumerate() {
            let first = at("2026-11-20T02:00:00Z");
            for day in 0..3 {
                let time = first - SignedDuration::from_hours(24 * day);
                points.push(point(&policy, db, "daily", time));
            }
            // One is under AWS's own key, which can't leave the account as it is.
            if i == 2 {
                points
                    .iter_mut()
                    .rev()
                    .take(3)
                    .for_each(|p| p.kms_key = Some("arn:aws-managed".into()));
            }
            let mut by_hand = point(&policy, db, "manual", at("2025-01-01T00:00:00Z"));
            by_hand.marks = shared::catalog::Marks::default();
            points.extend([by_hand, automated(&policy, db, first)]);
        }
        let seen = shared::model::seen(&policy, databases, points);
        Self { policy, seen, now, renewed: 0 }
    }

    /// What is seen when a place does not answer.
    fn look(&self, blind: Option<u8>) -> Seen {
        let mut seen = self.seen.clone();
        if let Some(which) = blind
            && let Some(place) = seen.places.keys().nth(which as usize).cloned()
        {
            seen.places.remove(&place);
            seen.gaps.push(Gap { place, why: "timed out".into(), mend: String::new() });
        }
        seen
    }

    fn snapshot(&mut self, request: &Request, demand: &str, calls: usize) {
        let plan = snapshot::plan(&self.policy, &self.seen, request, demand, self.now);
        for step in plan.steps.into_iter().take(calls) {
            if let snapshot::Action::Take { database, id, tags, .. } = step.action {
                taken(&mut self.seen, &self.policy, &database, &id, &tags);
            }
        }
    }

    fn offsite(&mut self, calls: usize, blind: Option<u8>) {
        let seen = self.look(blind);
        let copies = offsite::plan(&self.policy, &seen, &self.keys(), self.now);
        for step in copies.plan.steps.into_iter().take(calls) {
            let offsite::Action::Copy { to, copy, .. } = step.action;
            copied(&mut self.seen, &to, &copy);
        }
    }

    /// What KMS says of the keys.
    fn keys(&self) -> offsite::AwsManaged {
        let keys = offsite::keys_to_ask(&self.policy, &self.seen);
        keys.into_iter().map(|k| (k.clone(), k == "arn:aws-managed")).collect()
    }

    fn retention(&mut self, calls: usize, blind: Option<u8>) -> Vec<Point> {
        let letting = retention::plan(&self.policy, &self.look(blind), self.now);
        let gone = letting.plan.steps.into_iter().take(calls).map(|step| {
            let point = step.action.point.point().clone();
            deleted(&mut self.seen, &step.action.at, &point.arn);
            point
        });
        gone.collect()
    }

    /// Good points that count, of each place and lineage.
    fn good(&self) -> Vec<((Place, String, String), usize)> {
        let mut lineages = BTreeSet::new();
        for (place, fleet) in &self.seen.places {
            lineages.extend(
                fleet
                    .points
                    .iter()
                    .map(|p| (place.clone(), p.database.clone(), p.resource_id.clone())),
            );
        }
        let counts = |l: &(Place, String, String)| {
            let same = |p: &&Point| p.database == l.1 && p.resource_id == l.2;
            let ours =
                |p: &&Point| p.good() && p.made_for("acme") && !p.marks.transfer && !p.automated;
            self.seen.places[&l.0].points.iter().filter(same).filter(ours).count()
        };
        lineages.into_iter().map(|l| (l.clone(), counts(&l))).collect()
    }

    fn happen(&mut self, event: &Event) -> Vec<Point> {
        match event {
            Event::Snapshot { calls } => self.snapshot(&Request::look(), "run", *calls),
            Event::Deploy { demand, calls } => {
                let request = Request { reason: "pre-deploy".into(), ..Request::default() };
                self.snapshot(&request, &format!("deploy-{demand}"), *calls);
            }
            Event::Offsite { calls, blind } => self.offsite(*calls, *blind),
            Event::Retention { calls, blind } => return self.retention(*calls, *blind),
            Event::Settle { failing } => {
                let mut n = 0;
                settled(&mut self.seen, self.now, |_| {
                    n += 1;
                    *failing == 0 || n % u32::from(*failing) != 0
                });
            }
            Event::Wait { hours } => self.now += SignedDuration::from_hours(*hours),
            Event::Busy { which } => {
                let home = Place::home(&self.policy);
                let database =
                    &mut self.seen.places.get_mut(&home).expect("home").databases[*which as usize];
                let busy = database.status == "available";
                database.status = if busy { "backing-up".into() } else { "available".into() };
            }
            Event::Renew { which } => {
                // Deleted and made again under its old name: another lineage.
                self.renewed += 1;
                let home = Place::home(&self.policy);
                let database =
                    &mut self.seen.places.get_mut(&home).expect("home").databases[*which as usize];
                database.resource_id = format!("db-renewed-{}", self.renewed);
            }
        }
        Vec::new()
    }
}

/// The same histories each time, so that a failure means a change; `PROPTEST_CASES=1000 cargo test -p tests` looks for new
/// ones.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(20_261_120), ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_sequence_of_runs_faults_and_clocks_takes_the_last_good_points(
        events in prop::collection::vec(any_event(), 1..80)
    ) {
        let mut model = Model::new();
        for event in &events {
            let before = model.good();
            let gone = model.happen(event);
            for (lineage, count) in &before {
                let after = model.good().iter().find(|(l, _)| l == lineage).map_or(0, |(_, n)| *n);
                prop_assert!(after >= (*count).min(FLOOR), "{lineage:?} fell from {count} to {after} by {event:?}");
            }
            for p in gone {
                prop_assert!(p.made_for("acme") && !p.automated, "{} is not ours", p.id);
                if p.good() && !p.marks.transfer && p.reason() == "pre-deploy" && p.marks.copy_of.is_none() {
                    let age = model.now.duration_since(p.data_time.expect("a time"));
                    prop_assert!(age >= SignedDuration::from_hours(96), "{} was {age:?} old", p.id);
                }
            }
        }
    }

    #[test]
    fn after_any_trouble_a_few_calm_rounds_bring_what_the_policy_asks(
        events in prop::collection::vec(any_event(), 0..40)
    ) {
        let mut model = Model::new();
        // A clock that goes back can leave a snapshot under a slot that has not come yet; freshness calls that stale, and
        // the slot after it mends it. So here clocks go forward only.
        for event in events.iter().filter(|e| !matches!(e, Event::Wait { hours } if *hours < 0)) {
            model.happen(event);
        }
        // The trouble ends: databases are available, what failed for good was cleaned up by a person who looked.
        let home = Place::home(&model.policy);
        for database in &mut model.seen.places.get_mut(&home).expect("home").databases {
            database.status = "available".into();
            database.latest_restorable = None;
        }
        for fleet in model.seen.places.values_mut() {
            fleet.points.retain(|p| !matches!(p.state, State::Failed(_)));
            // So did what wrong clocks left behind in the future.
            let now = model.now;
            fleet.points.retain(|p| p.data_time.is_none_or(|t| t <= now));
        }
        for _ in 0..30 {
            model.snapshot(&Request::look(), "run", usize::MAX);
            settled(&mut model.seen, model.now, |_| true);
            model.offsite(usize::MAX, None);
            settled(&mut model.seen, model.now, |_| true);
            model.retention(usize::MAX, None);
        }
        let left = offsite::plan(&model.policy, &model.seen, &model.keys(), model.now);
        let steps: Vec<_> = left.plan.steps.iter().map(|s| format!("{}: {}", s.action, s.because)).collect();
        prop_assert!(steps.is_empty() && left.waiting == 0, "copies are left to make: {steps:?}");
        let facts = freshness::Facts { rds: model.seen.clone(), ..freshness::Facts::default() };
        let verdict = freshness::plan(&model.policy, &facts, model.now);
        let critical: Vec<_> = verdict.plan.findings.iter().filter(|f| f.severity == Severity::Critical).collect();
        prop_assert!(critical.is_empty(), "{critical:?}");
    }
}
