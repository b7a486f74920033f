//! A seed's policies, databases, trouble and time: played, and when a rule is broken, shrunk to what breaks it.

mod draw;

use crate::{
    faults::{Fault, Happening},
    invariants::{Checks, Violation},
    policies::SimulatedPolicy,
    random::Random,
    simulation::Simulation,
    world::{DumpServer, SimulatedDatabase, World, server_name},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{DatabaseKind, Location, RdsDatabase},
    policy::Policy,
};
use std::{collections::BTreeMap, fmt};

pub use draw::draw_scenario;

/// Something that goes wrong or happens, as one piece that shrinking keeps or drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A fault, for a while.
    Fault(Timestamp, Timestamp, Fault),
    /// A moment.
    Moment(Timestamp, Happening),
}

/// What is played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// The policies, as YAML.
    pub policies: Vec<String>,
    /// Databases of each.
    pub databases: Vec<usize>,
    /// When it begins.
    pub start: Timestamp,
    /// When the trouble ends.
    pub calm_from: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// What goes wrong.
    pub pieces: Vec<Piece>,
    /// The pieces that are left, by number; all when there is none.
    pub kept: Option<Vec<usize>>,
}

/// What a scenario that broke no rule came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlayedStats {
    /// Years of one policies' databases together.
    pub fleet_years: f64,
    /// Databases at the beginning.
    pub databases: usize,
    /// Runs of functions.
    pub runs: u64,
    /// Rules that were asked.
    pub asked: u64,
    /// Snapshots, copies and dumps made, and points deleted.
    pub steps: u64,
}

/// A scenario that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Shrunk.
    pub scenario: Scenario,
    /// The first rule that was broken.
    pub violation: Violation,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { at, rule, what } = &self.violation;
        let kept = self.scenario.kept.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(",") };
        writeln!(f, "{rule} is broken at {at}: {what}")?;
        for n in self.scenario.kept.iter().flatten() {
            writeln!(f, "  {:?}", self.scenario.pieces[*n])?;
        }
        write!(
            f,
            "replay: HOLDFAST_SIMULATE_SEED={} HOLDFAST_SIMULATE_KEEP={kept} cargo test -p holdfast-simulation --test years replay -- --nocapture",
            self.scenario.seed
        )
    }
}

impl Scenario {
    /// The simulation, ready to be run.
    ///
    /// # Panics
    /// If a policy of its own has faults.
    pub fn build(&self) -> Simulation {
        let mut random = Random::from_seed(self.seed ^ 0x5eed);
        let policies: Vec<SimulatedPolicy> = (self.policies.iter())
            .map(|yaml| Policy::parse(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}")))
            .map(SimulatedPolicy::new)
            .collect();
        let mut world = World::new(self.start, random.fork(2));
        for (policy, count) in policies.iter().zip(&self.databases) {
            fill(&mut world, policy, *count, &mut random);
        }
        let mut simulation = Simulation::new(world, policies, self.end, random.fork(3));
        simulation.checks = Checks::enabled();
        let kept = |n: &usize| self.kept.as_ref().is_none_or(|kept| kept.contains(n));
        for (_, piece) in self.pieces.iter().enumerate().filter(|(n, _)| kept(n)) {
            match piece {
                Piece::Fault(from, to, fault) => {
                    simulation.schedule(*from, Happening::Begin(fault.clone()));
                    simulation.schedule(*to, Happening::End(fault.clone()));
                }
                Piece::Moment(at, happening) => simulation.schedule(*at, happening.clone()),
            }
        }
        for day in 1..self.end.duration_since(self.start).as_hours() / 24 {
            if day % 3 == 0 {
                simulation.schedule(
                    self.start + SignedDuration::from_hours(24 * day),
                    Happening::NewContents,
                );
            }
        }
        simulation.schedule(self.calm_from, Happening::LookAfter);
        simulation
    }

    /// Plays it.
    ///
    /// # Errors
    /// With the first rule that is broken.
    pub fn play(&self) -> Result<PlayedStats, Violation> {
        let mut simulation = self.build();
        simulation.keeps_history = true;
        simulation.run(&mut ());
        if let Some(violation) = simulation.checks.violations.first() {
            return Err(violation.clone());
        }
        let days = self.end.duration_since(self.start).as_hours() / 24;
        #[expect(clippy::cast_precision_loss, reason = "days")]
        let fleet_years = days as f64 / 365.0;
        Ok(PlayedStats {
            fleet_years,
            databases: self.databases.iter().sum(),
            runs: simulation.runs,
            asked: simulation.checks.asked,
            steps: simulation.history.len() as u64,
        })
    }

    /// Plays it, and shrinks it when it breaks a rule.
    ///
    /// # Errors
    /// With the fewest pieces that were found to break the same rule.
    pub fn play_and_shrink(&self) -> Result<PlayedStats, Box<Failure>> {
        self.play().map_err(|violation| {
            let (scenario, violation) = self.shrunk(violation);
            Box::new(Failure { scenario, violation })
        })
    }

    /// Drops pieces, half of them, then a quarter, then one at a time, as long as the same rule is broken.
    fn shrunk(&self, first: Violation) -> (Self, Violation) {
        let all: Vec<usize> = (0..self.pieces.len()).collect();
        let before = |n: &usize| match &self.pieces[*n] {
            Piece::Fault(at, ..) | Piece::Moment(at, _) => *at <= first.at,
        };
        let mut kept: Vec<usize> =
            self.kept.clone().unwrap_or(all).into_iter().filter(before).collect();
        let mut violation = first;
        let mut size = kept.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(from..(from + size).min(kept.len()));
                let candidate = Self { kept: Some(fewer.clone()), ..self.clone() };
                match candidate.play() {
                    Err(other) if other.rule == violation.rule => {
                        (kept, violation) = (fewer, other);
                    }
                    _ => from += size,
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        (Self { kept: Some(kept), ..self.clone() }, violation)
    }
}

/// Names that meet: an instance and a cluster of one name, and names that want one identifier with another's reason.
fn database_name(n: usize) -> (DatabaseKind, String) {
    match n {
        0 => (DatabaseKind::Instance, "acme-a".into()),
        1 => (DatabaseKind::Cluster, "acme-a".into()),
        2 => (DatabaseKind::Instance, "acme-a-eu".into()),
        _ if n % 5 == 4 => (DatabaseKind::Cluster, format!("acme-cluster{n}")),
        _ => (DatabaseKind::Instance, format!("acme-db{n}")),
    }
}

fn fill(world: &mut World, policy: &SimulatedPolicy, count: usize, random: &mut Random) {
    let home = policy.home();
    for location in &policy.locations {
        world.at_mut(location).quota = 2000;
    }
    world.aws_managed.insert("arn:aws-managed".into());
    let mut copied = policy.policy.databases.values().flat_map(|g| &g.copies).flat_map(|c| &c.of);
    let copies_automated = copied.any(|r| r.as_str() == shared::catalog::AUTOMATED_REASON);
    for n in 0..count {
        let (family, id) = database_name(n);
        let database = RdsDatabase {
            resource_id: format!("db-{n}-{}", home.region),
            id,
            family,
            engine: "postgres".into(),
            status: "available".into(),
            retention_days: if n % 4 == 3 && !copies_automated { 0 } else { 7 },
            window: "02:00-02:30".into(),
            latest_restorable: None,
            earliest_restorable: None,
            created: Some(world.now),
            multi_az: true,
            encrypted: n % 6 != 5,
            log_exports: Vec::new(),
            replica_of: None,
            tags: BTreeMap::new(),
        };
        let own = format!("arn:aws:kms:{}:{}:key/home", home.region, home.account);
        let key = if n % 3 == 2 { "arn:aws-managed" } else { own.as_str() };
        #[expect(clippy::cast_precision_loss, reason = "a size")]
        world.add_database(&home, database, key, random.between(5, 400) as f64);
    }
    for (name, group) in &policy.policy.postgres {
        let databases = group
            .databases
            .named()
            .iter()
            .map(|d| (d.clone(), SimulatedDatabase { dump_bytes: 1_000_000_000, content: 1 }));
        let server = DumpServer {
            system_identifier: format!("7{}", random.below(1_000_000)),
            is_up: true,
            databases: databases.collect(),
        };
        world.servers.insert(server_name(&policy.owner, name), server);
    }
}

/// The homes of simulated policies.
fn location(account: &str, region: &str) -> Location {
    Location {
        account: account.parse().expect("an account"),
        region: region.parse().expect("a region"),
        role: None,
    }
}
