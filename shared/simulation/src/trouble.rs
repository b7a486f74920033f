//! What goes wrong with the runs themselves, at this moment.

use crate::random::Random;
use jiff::SignedDuration;
use shared::{aws::OperationErrorKind as Refusal, catalog::Location};
use std::collections::BTreeSet;

/// A kind of call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// A snapshot or dump is taken.
    Create,
    /// A snapshot is shared.
    Share,
    /// A snapshot or dump is copied.
    Copy,
    /// A snapshot or dump is deleted.
    Delete,
}

/// What is wrong now. Without anything set, all goes well.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// Each run is killed before one of its first so many calls.
    pub killed: Option<usize>,
    /// Percent of calls that take effect and whose answer is lost.
    pub lost_answers: u8,
    /// Percent of calls that are throttled beyond all retries.
    pub throttled: u8,
    /// Calls that the role is denied.
    pub denied: BTreeSet<CallKind>,
    /// Locations that do not answer.
    pub unobserved: BTreeSet<Location>,
    /// Stores that do not answer.
    pub stores_unobserved: bool,
    /// Lists are so much older than the last write.
    pub stale: Option<SignedDuration>,
    /// The functions' clock is so far ahead of the true one, or behind it.
    pub clock: SignedDuration,
    /// RDS's events are lost, doubled and late.
    pub events: bool,
}

impl Trouble {
    /// Whether what a run sees is what there is.
    pub fn is_blind(&self) -> bool {
        !self.unobserved.is_empty() || self.stores_unobserved || self.stale.is_some()
    }
}

/// Why a call of a run has no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The run was killed; nothing more comes of it.
    Killed,
    /// The call was refused, or its answer was lost.
    Refused(Refusal),
}

/// Makes the calls of one run, with the trouble that there is.
#[derive(Debug)]
pub struct Caller<'t> {
    trouble: &'t Trouble,
    random: &'t mut Random,
    left: Option<usize>,
}

impl<'t> Caller<'t> {
    /// The calls of a run that begins.
    pub fn new(trouble: &'t Trouble, random: &'t mut Random) -> Self {
        let left = trouble.killed.map(|most| random.below(most + 1));
        Self { trouble, random, left }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When the run is killed, or the call is refused or its answer lost.
    pub fn call(
        &mut self,
        kind: CallKind,
        effect: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Stop> {
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Err(Stop::Killed);
            }
            *left -= 1;
        }
        if self.trouble.denied.contains(&kind) {
            return Err(Stop::Refused(Refusal::Denied));
        }
        if self.random.percent(self.trouble.throttled) {
            return Err(Stop::Refused(Refusal::Unreachable));
        }
        let answer = effect();
        if self.random.percent(self.trouble.lost_answers) {
            return Err(Stop::Refused(Refusal::Unreachable));
        }
        answer.map_err(Stop::Refused)
    }
}
