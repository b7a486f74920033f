//! The engine: what exists, the policies, and time.
//!
//! Each function of each policy runs at its rate. Runs in which nothing can change are skipped (see [`crate::moments`]).

mod lanes;

use crate::{
    faults::Happening,
    functions::{FunctionKind, FunctionRun, Notifier, RunContext},
    invariants::Checks,
    moments::Moments,
    policies::SimulatedPolicy,
    random::Random,
    trouble::Trouble,
    world::{World, store_address},
};
use jiff::{SignedDuration, Timestamp};
use lanes::Lane;
use shared::request::RunRequest;
use std::collections::BTreeMap;

/// Something that was done, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When, by the true clock.
    pub at: Timestamp,
    /// By which policy.
    pub policy: usize,
    /// By which function.
    pub function: FunctionKind,
    /// What.
    pub done: crate::functions::Done,
}

/// Looks on while a simulation goes on.
pub trait Observer {
    /// A function has run.
    fn after_run(
        &mut self,
        simulation: &Simulation,
        policy: usize,
        function: FunctionKind,
        run: &FunctionRun,
    );
    /// A snapshot or copy is complete.
    fn after_completion(
        &mut self,
        simulation: &Simulation,
        location: &shared::catalog::Location,
        arn: &str,
    );
}

/// Nobody looks on.
impl Observer for () {
    fn after_run(&mut self, _: &Simulation, _: usize, _: FunctionKind, _: &FunctionRun) {}
    fn after_completion(&mut self, _: &Simulation, _: &shared::catalog::Location, _: &str) {}
}

/// One simulation.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// What exists.
    pub world: World,
    /// The policies.
    pub policies: Vec<SimulatedPolicy>,
    /// What goes wrong now.
    pub trouble: Trouble,
    /// What is held against the rules.
    pub checks: Checks,
    /// Of each policy, who is told what.
    pub notifiers: Vec<Notifier>,
    /// What was done, where it is kept.
    pub history: Vec<HistoryEntry>,
    /// Whether it is kept.
    pub keeps_history: bool,
    /// Whether runs in which nothing can change are skipped.
    pub skips: bool,
    /// Runs that were made.
    pub runs: u64,
    moments: Vec<Moments>,
    lanes: Vec<Lane>,
    /// What happens when.
    agenda: BTreeMap<(Timestamp, usize), Happening>,
    /// RDS's events that are on their way, with the policy and the database.
    events: BTreeMap<(Timestamp, usize), (usize, String)>,
    serial: usize,
    end: Timestamp,
    last_trouble: Timestamp,
    /// Faults that have begun and not ended.
    faults: usize,
    quotas_asked: Timestamp,
    random: Random,
}

/// After so long without any trouble, everything must be as the policies want it.
pub const CALM_AFTER: SignedDuration = SignedDuration::from_hours(24 * 5);
/// Quotas change slowly, and what they come to is a long forecast.
const QUOTAS_EVERY: SignedDuration = SignedDuration::from_hours(24 * 7);

impl Simulation {
    /// A simulation of `policies` in `world`, from its time to `end`.
    pub fn new(
        mut world: World,
        policies: Vec<SimulatedPolicy>,
        end: Timestamp,
        mut random: Random,
    ) -> Self {
        let now = world.now;
        let mut moments: Vec<Moments> =
            policies.iter().map(|p| Moments::new(p, now, end)).collect();
        for location in world.locations.values() {
            let times = location.points.iter().flat_map(|p| [p.data_time, p.started]);
            let times = times.chain(location.databases.iter().map(|d| d.created));
            for time in times.flatten() {
                for m in &mut moments {
                    m.note(time);
                }
            }
        }
        let _ = world.take_changes();
        let lanes = lanes::lanes_of(&policies, now);
        let notifiers = policies.iter().map(|_| Notifier::new(now)).collect();
        Self {
            world,
            policies,
            trouble: Trouble::default(),
            checks: Checks::default(),
            notifiers,
            history: Vec::new(),
            keeps_history: false,
            skips: true,
            runs: 0,
            moments,
            lanes,
            agenda: BTreeMap::new(),
            events: BTreeMap::new(),
            serial: 0,
            end,
            last_trouble: now,
            faults: 0,
            quotas_asked: now - QUOTAS_EVERY,
            random: random.fork(1),
        }
    }

    /// Puts something on the agenda.
    pub fn schedule(&mut self, at: Timestamp, happening: Happening) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), happening);
    }

    /// Lets time go on to its end, or to the first rule that is broken.
    pub fn run(&mut self, observer: &mut impl Observer) {
        while self.checks.violations.is_empty() && self.step(observer) {}
    }

    /// Lets time go on to the next moment at which something happens; false when the end is reached.
    pub fn step(&mut self, observer: &mut impl Observer) -> bool {
        let now = self.world.now;
        let lane = self.next_lane();
        let next = [
            self.world.next_end(),
            self.agenda.keys().next().map(|(t, _)| *t),
            self.events.keys().next().map(|(t, _)| *t),
            lane.map(|(t, _)| t),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(self.end).max(now);
        if next >= self.end {
            self.world.advance(self.end);
            return false;
        }
        self.world.advance(next);
        self.settle(observer);
        if let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= next) {
            let happening = entry.remove();
            self.happen(&happening, observer);
        } else if let Some(entry) = self.events.first_entry().filter(|e| e.key().0 <= next) {
            let (policy, resource_id) = entry.remove();
            self.run_event(policy, &resource_id, observer);
        } else if let Some((_, lane)) = lane.filter(|(t, _)| *t <= next) {
            self.run_lane(lane, observer);
        }
        self.settle(observer);
        true
    }

    /// Takes note of what has changed: who has to look again, and when.
    fn settle(&mut self, observer: &mut impl Observer) {
        for (location, arn) in self.world.take_completed() {
            self.note_completion(&location, &arn);
            observer.after_completion(self, &location, &arn);
        }
        let (locations, stores) = self.world.take_changes();
        for lane in &mut self.lanes {
            lane.is_due |= lane.is_woken_by(&self.policies[lane.policy], &locations, stores);
        }
    }

    fn note_completion(&mut self, location: &shared::catalog::Location, arn: &str) {
        let point = self.world.at(location).and_then(|f| f.points.iter().find(|p| p.arn == arn));
        let Some(point) = point else { return };
        let times = [point.data_time, point.started];
        let resource_id = point.resource_id.clone();
        for (n, policy) in self.policies.iter().enumerate() {
            if !policy.reaches(location) {
                continue;
            }
            times.iter().flatten().for_each(|t| self.moments[n].note(*t));
            if !self.trouble.events {
                continue;
            }
            // One is lost, one comes twice, one late.
            for _ in 0..self.random.below(3) {
                let late = if self.random.one_in(5) { 3 * 24 * 60 } else { 5 };
                let at = self.world.now + SignedDuration::from_mins(self.random.between(0, late));
                self.serial += 1;
                self.events.insert((at, self.serial), (n, resource_id.clone()));
            }
        }
    }

    fn happen(&mut self, happening: &Happening, observer: &mut impl Observer) {
        let now = self.world.now;
        let is_trouble = !matches!(happening, Happening::NewContents | Happening::Deploy(..));
        if is_trouble {
            self.last_trouble = now;
            self.moments.iter_mut().for_each(|m| m.note(now));
            self.lanes.iter_mut().for_each(|lane| lane.is_due = true);
        }
        match happening {
            Happening::Begin(fault) => {
                self.faults += 1;
                fault.begin(&mut self.trouble, &mut self.world);
            }
            Happening::End(fault) => {
                self.faults = self.faults.saturating_sub(1);
                fault.end(&mut self.trouble, &mut self.world);
            }
            Happening::Change(location, change) => drop(self.world.change(location, change)),
            Happening::Plant(policy) => self.plant(*policy),
            Happening::NewContents => self.world.change_contents(true),
            Happening::LookAfter => self.look_after(),
            Happening::Deploy(policy, reason, demand) => {
                let request = RunRequest { reason: reason.clone(), ..RunRequest::default() };
                let run = self.with_context(*policy, |run| run.run_snapshot(&request, demand));
                self.note_run(*policy, FunctionKind::Snapshot, &run, observer);
            }
        }
    }

    fn plant(&mut self, policy: usize) {
        let groups: Vec<_> = self.policies[policy].policy.postgres.values().cloned().collect();
        for group in groups {
            for database in group.databases.named() {
                let at = self.world.now + SignedDuration::from_hours(self.random.between(-50, 50));
                self.world.plant_dump(&store_address(&group.storage), database, at);
            }
        }
    }

    /// What a person does when the trouble is over; from then on everything takes its usual time.
    fn look_after(&mut self) {
        self.world.pace.steady = true;
        self.last_trouble = self.world.now;
        let now = self.world.now;
        let locations: Vec<_> = self.world.locations.keys().cloned().collect();
        for location in locations {
            self.world.change(&location, &crate::world::Change::ClearFailed);
            let fleet = self.world.at_mut(&location);
            // What wrong clocks left in the future, and what was switched off.
            fleet.points.retain(|p| p.data_time.is_none_or(|t| t <= now));
            fleet.databases.retain(|d| !d.id.starts_with("old-"));
            for database in &mut fleet.databases {
                if database.status == "stopped" {
                    database.status = "available".into();
                }
            }
        }
    }

    /// Runs something with all that a run stands on.
    pub(crate) fn with_context<R>(
        &mut self,
        policy: usize,
        run: impl FnOnce(&mut RunContext<'_>) -> R,
    ) -> R {
        let now = self.world.now;
        self.checks.is_calm = self.faults == 0
            && self.world.pace.steady
            && now.duration_since(self.last_trouble) > CALM_AFTER;
        let with_quotas = now.duration_since(self.quotas_asked) >= QUOTAS_EVERY;
        let mut context = RunContext {
            now: now + self.trouble.clock,
            world: &mut self.world,
            policy: &self.policies[policy],
            trouble: &self.trouble,
            random: &mut self.random,
            checks: &mut self.checks,
            with_quotas,
        };
        run(&mut context)
    }

    fn run_event(&mut self, policy: usize, resource_id: &str, observer: &mut impl Observer) {
        let run = self.with_context(policy, |run| run.run_offsite(Some(resource_id)));
        self.note_run(policy, FunctionKind::Offsite, &run, observer);
    }

    fn note_run(
        &mut self,
        policy: usize,
        function: FunctionKind,
        run: &FunctionRun,
        observer: &mut impl Observer,
    ) {
        self.runs += 1;
        let now = self.world.now;
        if !run.done.is_empty() {
            self.moments.iter_mut().for_each(|m| m.note(now));
        }
        if self.keeps_history {
            let entry = |done: &crate::functions::Done| HistoryEntry {
                at: now,
                policy,
                function,
                done: done.clone(),
            };
            self.history.extend(run.done.iter().map(entry));
        }
        if !self.notifiers.is_empty() {
            let time = now + self.trouble.clock;
            self.notifiers[policy].hear(&self.policies[policy], function, run, time);
        }
        observer.after_run(self, policy, function, run);
    }
}
