//! The functions, each behind an adapter of its own: what it observes comes from the world, the plan is the shipped one,
//! and its actions become calls that may be refused, lost or never made.

mod dump;
mod freshness;
mod notify;
mod offsite;
mod retention;
mod snapshot;

pub use notify::{Notifier, SentMessage};

use crate::{
    invariants::Checks,
    policies::SimulatedPolicy,
    random::Random,
    trouble::{Stop, Trouble},
    world::World,
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::OperationErrorKind as Refusal, plan::Finding, report::AssetStatus, request::RunRequest,
};

/// A function that is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    /// Takes snapshots.
    Snapshot,
    /// Copies them.
    Offsite,
    /// Takes dumps, and copies them.
    Dump,
    /// Deletes what no rule keeps.
    Retention,
    /// Evaluates every asset.
    Freshness,
}

impl FunctionKind {
    /// All of them, in the order in which they run when several are due at once.
    pub const ALL: [Self; 5] =
        [Self::Snapshot, Self::Offsite, Self::Dump, Self::Retention, Self::Freshness];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => ::snapshot::NAME,
            Self::Offsite => ::offsite::NAME,
            Self::Dump => "dump",
            Self::Retention => ::retention::NAME,
            Self::Freshness => ::freshness::NAME,
        }
    }

    /// How often it runs, by template.yaml.
    pub fn rate(self) -> SignedDuration {
        match self {
            Self::Retention => SignedDuration::from_hours(1),
            _ => SignedDuration::from_mins(15),
        }
    }
}

/// What kind of thing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneKind {
    /// A snapshot was begun.
    Snapshot,
    /// A copy was begun, or a dump was copied.
    Copy,
    /// A dump was taken, or noted to be unchanged.
    Dump,
    /// A point was deleted.
    Delete,
}

/// Something that a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What kind.
    pub kind: DoneKind,
    /// The asset.
    pub asset: String,
    /// The point.
    pub id: String,
    /// Where.
    pub at: String,
    /// Why, as the plan says it.
    pub reason: String,
}

/// A step that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDone {
    /// What it was.
    pub step: String,
    /// Why.
    pub refusal: Refusal,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct FunctionRun {
    /// Findings.
    pub findings: Vec<Finding>,
    /// How each asset stands, where the function evaluates that.
    pub assets: Vec<AssetStatus>,
    /// What it did.
    pub done: Vec<Done>,
    /// What was refused.
    pub not_done: Vec<NotDone>,
    /// Whether it was killed before its end: nobody hears of it then.
    pub killed: bool,
}

impl FunctionRun {
    /// Notes what became of a step; true when the run was killed.
    fn note(&mut self, answer: Result<(), Stop>, step: impl std::fmt::Display, done: Done) -> bool {
        match answer {
            Ok(()) => self.done.push(done),
            Err(Stop::Killed) => self.killed = true,
            Err(Stop::Refused(refusal)) => {
                self.not_done.push(NotDone { step: step.to_string(), refusal });
            }
        }
        self.killed
    }
}

/// What a run stands on.
#[derive(Debug)]
pub struct RunContext<'r> {
    /// What exists.
    pub world: &'r mut World,
    /// The policy that it runs for.
    pub policy: &'r SimulatedPolicy,
    /// What goes wrong.
    pub trouble: &'r Trouble,
    /// Chances.
    pub random: &'r mut Random,
    /// What is held against the rules.
    pub checks: &'r mut Checks,
    /// The time by the function's own clock.
    pub now: Timestamp,
    /// Whether quotas and keys are asked for too.
    pub with_quotas: bool,
}

impl RunContext<'_> {
    /// Runs a function on its schedule.
    pub fn run(&mut self, function: FunctionKind) -> FunctionRun {
        match function {
            FunctionKind::Snapshot => self.run_snapshot(&RunRequest::full_run(), "run"),
            FunctionKind::Offsite => self.run_offsite(None),
            FunctionKind::Dump => self.run_dump(),
            FunctionKind::Retention => self.run_retention(),
            FunctionKind::Freshness => self.run_freshness(),
        }
    }
}
