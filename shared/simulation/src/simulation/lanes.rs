//! The functions of the policies, each with the time of its next run.

use super::{Observer, QUOTAS_EVERY, Simulation};
use crate::{functions::FunctionKind, policies::SimulatedPolicy};
use jiff::{SignedDuration, Timestamp};
use shared::catalog::Location;
use std::collections::BTreeSet;

/// One function of one policy.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) policy: usize,
    function: FunctionKind,
    /// Its next run, unless that is skipped.
    tick: Timestamp,
    /// Its last run.
    ran: Option<Timestamp>,
    /// Something has changed since, or was left undone.
    pub(super) is_due: bool,
}

/// The lanes of the policies: functions begin minutes after each other, as schedules do.
pub(super) fn lanes_of(policies: &[SimulatedPolicy], start: Timestamp) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for (policy, of) in policies.iter().enumerate() {
        for (n, function) in FunctionKind::ALL.into_iter().enumerate() {
            let needs = match function {
                FunctionKind::Dump => of.policy.postgres.values().any(|g| !g.dumps.is_empty()),
                FunctionKind::Snapshot | FunctionKind::Offsite => !of.policy.databases.is_empty(),
                FunctionKind::Retention | FunctionKind::Freshness => true,
            };
            if needs {
                let phase = i64::try_from(2 * n + policy).unwrap_or(0) % 15;
                let tick = start + SignedDuration::from_mins(phase);
                lanes.push(Lane { policy, function, tick, ran: None, is_due: true });
            }
        }
    }
    lanes
}

impl Lane {
    /// Whether a change at these locations, or of stores, is one that its plan reads.
    pub(super) fn is_woken_by(
        &self,
        policy: &SimulatedPolicy,
        locations: &BTreeSet<Location>,
        stores: bool,
    ) -> bool {
        let any = || locations.iter().any(|l| policy.reaches(l));
        match self.function {
            FunctionKind::Snapshot => locations.contains(&policy.home()),
            FunctionKind::Offsite => any(),
            FunctionKind::Dump => stores,
            FunctionKind::Retention | FunctionKind::Freshness => stores || any(),
        }
    }
}

impl Simulation {
    /// The next run of any lane, and which.
    pub(super) fn next_lane(&mut self) -> Option<(Timestamp, usize)> {
        // While what is seen is not what there is, or clocks differ, every tick may see something new.
        let all = !self.skips || self.trouble.stale.is_some() || !self.trouble.clock.is_zero();
        let mut next: Option<(Timestamp, usize)> = None;
        for (n, lane) in self.lanes.iter().enumerate() {
            let at = if all || lane.is_due {
                Some(tick_at_or_after(lane.tick, lane.function.rate(), self.world.now))
            } else {
                let since = lane.ran.unwrap_or(self.world.now);
                let moment = match lane.function {
                    // What a copy waits for is a change, never time.
                    FunctionKind::Offsite => None,
                    FunctionKind::Snapshot | FunctionKind::Dump => {
                        self.moments[lane.policy].next_due_after(since)
                    }
                    _ => self.moments[lane.policy].next_after(since),
                };
                moment.map(|m| tick_at_or_after(lane.tick, lane.function.rate(), m))
            };
            if let Some(at) = at
                && next.is_none_or(|(t, _)| at < t)
            {
                next = Some((at, n));
            }
        }
        next
    }

    pub(super) fn run_lane(&mut self, n: usize, observer: &mut impl Observer) {
        let now = self.world.now;
        let Lane { policy, function, tick, .. } = self.lanes[n];
        let rate = function.rate();
        self.lanes[n].tick = tick_at_or_after(tick, rate, now + SignedDuration::from_secs(1));
        self.lanes[n].is_due = false;
        let run = self.with_context(policy, |run| run.run(function));
        // What was not done is tried again by the next run.
        self.lanes[n].is_due |= run.killed || !run.not_done.is_empty();
        self.lanes[n].ran = Some(now);
        if function == FunctionKind::Freshness
            && now.duration_since(self.quotas_asked) >= QUOTAS_EVERY
            && policy + 1 == self.policies.len()
        {
            self.quotas_asked = now;
        }
        self.note_run(policy, function, &run, observer);
    }
}

fn tick_at_or_after(tick: Timestamp, rate: SignedDuration, moment: Timestamp) -> Timestamp {
    if moment <= tick {
        return tick;
    }
    let (behind, rate) = (moment.duration_since(tick).as_secs(), rate.as_secs());
    let ticks = (behind + rate - 1) / rate;
    tick + SignedDuration::from_secs(ticks * rate)
}
