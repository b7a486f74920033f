//! When something can change, so that runs in which nothing can are skipped.
//!
//! A plan is a function of the policy, of what exists, and of the time. So between two changes of what exists, its answer
//! can only change when a schedule comes due, a grace is over, or a point reaches an age that a rule or an objective
//! names. Every such moment is known when a point is made, to the second; a run at the first tick at or after it finds
//! what a run at every tick would have found. `tests/skipping.rs` shows it.

use crate::policies::SimulatedPolicy;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// The moments of one policy.
#[derive(Clone, Debug)]
pub struct Moments {
    schedules: BTreeSet<Timestamp>,
    ages: BTreeSet<SignedDuration>,
    points: BTreeSet<Timestamp>,
}

/// Moments of points are rounded up to this: no tick lies between two whole minutes.
const GRID_SECONDS: i64 = 60;

fn round_up(at: Timestamp) -> Timestamp {
    let seconds = at.as_second().div_euclid(GRID_SECONDS) * GRID_SECONDS + GRID_SECONDS;
    Timestamp::from_second(seconds).unwrap_or(at)
}

impl Moments {
    /// The moments of a policy's schedules from `from` to `to`.
    pub fn new(policy: &SimulatedPolicy, from: Timestamp, to: Timestamp) -> Self {
        Self {
            schedules: policy.schedule_moments(from, to),
            ages: policy.ages(),
            points: BTreeSet::new(),
        }
    }

    /// Something is as old as `at` from now on: a point's data, its beginning, a database.
    pub fn note(&mut self, at: Timestamp) {
        for age in &self.ages {
            if let Ok(moment) = at.checked_add(*age) {
                self.points.insert(round_up(moment));
            }
        }
    }

    /// The next moment after `now`.
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        let next = |of: &BTreeSet<Timestamp>| of.range((Excluded(now), Unbounded)).next().copied();
        let (schedule, point) = (next(&self.schedules), next(&self.points));
        match (schedule, point) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next moment after `now` at which a schedule is due.
    pub fn next_due_after(&self, now: Timestamp) -> Option<Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.schedules.range((Excluded(now), Unbounded)).next().copied()
    }
}
