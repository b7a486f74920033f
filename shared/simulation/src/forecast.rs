//! What a policy comes to when nothing goes wrong: its days played ahead, with the functions that ship.
//!
//! [`forecast`] makes up the fleet that the policy names ([`fleet`]), lets time go on, and takes note of what a reader of the
//! policy can't see: how old the newest point becomes before the next one is there, how many points are kept, on which day
//! a quota is full, what would be found on which days, and how many messages go out.

mod fleet;
mod record;

use crate::{policies::SimulatedPolicy, random::Random, simulation::Simulation};
use jiff::{SignedDuration, Timestamp, civil::Date};
use record::Recorder;
use serde::Serialize;
use shared::{
    plan::{FindingCode, Severity},
    policy::Policy,
};

pub use record::FIRST_DAYS;

/// What is asked.
#[derive(Clone, Debug)]
pub struct ForecastRequest {
    /// When it begins.
    pub start: Timestamp,
    /// Days that are played.
    pub days: u32,
    /// GiB of each database of RDS.
    pub database_gib: u32,
    /// Bytes of each dump, as it is stored.
    pub dump_bytes: u64,
    /// Databases of a group that says neither `identifiers` nor `expect`.
    pub databases: u32,
}

impl ForecastRequest {
    /// As many days as are played in well under a second: 45 of a few databases, and 15 of very many.
    pub fn short_from(start: Timestamp, policy: &Policy) -> Self {
        let databases = policy
            .databases
            .values()
            .map(|g| g.expect.map_or(g.select.identifiers.len(), |n| n.get() as usize).max(1));
        let days = 200 / databases.sum::<usize>().max(1);
        let days = u32::try_from(days).unwrap_or(45).clamp(15, 45);
        Self { days, ..Self::year_from(start) }
    }

    /// A year of databases of 100 GiB, with dumps of 1 GB.
    pub fn year_from(start: Timestamp) -> Self {
        Self { start, days: 365, database_gib: 100, dump_bytes: 1_000_000_000, databases: 1 }
    }
}

/// What a policy comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// When it begins.
    pub start: Timestamp,
    /// Days that were played.
    pub days: u32,
    /// Runs of functions that were played; those in which nothing can change are skipped.
    pub runs: u64,
    /// What was made up, because the policy does not say it.
    pub assumptions: Vec<String>,
    /// Recovery points by asset, reason and place.
    pub points: Vec<PointForecast>,
    /// How old the newest point becomes, by asset and place.
    pub ages: Vec<AgeForecast>,
    /// Places and what lies there.
    pub places: Vec<PlaceForecast>,
    /// What would be found.
    pub findings: Vec<FindingForecast>,
    /// Messages that would go out, by channel.
    pub messages: Vec<MessageForecast>,
}

/// Points of one asset and reason at one place.
#[derive(Clone, Debug, Serialize)]
pub struct PointForecast {
    /// The group.
    pub group: String,
    /// The asset.
    pub asset: String,
    /// Why they are taken.
    pub reason: String,
    /// Where they lie.
    pub place: String,
    /// How many came there.
    pub made: usize,
    /// How many were deleted there.
    pub deleted: usize,
    /// How many were there on the fullest day.
    pub most: usize,
    /// How many are there at the end.
    pub at_end: usize,
    /// Age of the oldest of them at the end, in seconds.
    pub oldest_seconds: Option<i64>,
}

/// How old the newest point of an asset becomes at a place.
#[derive(Clone, Debug, Serialize)]
pub struct AgeForecast {
    /// The group.
    pub group: String,
    /// The asset.
    pub asset: String,
    /// Where.
    pub place: String,
    /// The oldest that the newest point becomes, in seconds: what is lost at worst when this place is all that is left.
    pub worst_seconds: i64,
    /// When that is.
    pub worst_at: Timestamp,
}

/// What lies at a place.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceForecast {
    /// The place.
    pub place: String,
    /// Most points at once.
    pub most: usize,
    /// Manual snapshots that RDS allows there by default; none of a store.
    pub quota: Option<usize>,
    /// The day on which there are more.
    pub quota_reached_on: Option<Date>,
    /// GiB at the end of each month: of snapshots the allocated storage, which RDS bills at most.
    pub gib_by_month: Vec<MonthlySize>,
}

/// What lies at a place at the end of a month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MonthlySize {
    /// The month: `2026-12`.
    pub month: String,
    /// GiB.
    pub gib: f64,
}

/// A finding that would be made, with the days on which it is.
#[derive(Clone, Debug, Serialize)]
pub struct FindingForecast {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub code: FindingCode,
    /// The group, where it is of one.
    pub group: Option<String>,
    /// The asset.
    pub asset: String,
    /// Its first words.
    pub message: String,
    /// The first day.
    pub first: Date,
    /// The last day.
    pub last: Date,
    /// On how many days.
    pub days: usize,
}

/// Messages on a channel.
#[derive(Clone, Debug, Serialize)]
pub struct MessageForecast {
    /// The channel.
    pub channel: String,
    /// Of this severity.
    pub severity: Severity,
    /// How many.
    pub count: usize,
}

/// Plays a policy's days without any fault.
pub fn forecast(policy: &Policy, request: &ForecastRequest) -> Forecast {
    let simulated = SimulatedPolicy::new(policy.clone());
    let (world, assumptions) = fleet::build_world(&simulated, request);
    let end = request.start + SignedDuration::from_hours(24 * i64::from(request.days));
    let mut recorder = Recorder::new(&simulated, request);
    let mut simulation = Simulation::new(world, vec![simulated], end, Random::from_seed(1));
    simulation.run(&mut recorder);
    recorder.finish(&simulation, assumptions)
}

impl Forecast {
    /// What a reader of the policy would not expect: what goes on after the first days, and quotas that fill.
    pub fn surprises(&self) -> Vec<String> {
        let mut said = Vec::new();
        for place in &self.places {
            if let (Some(quota), Some(on)) = (place.quota, place.quota_reached_on) {
                let day = on.since(self.first_day()).map_or(0, |s| s.get_days()) + 1;
                said.push(format!(
                    "the quota of {quota} manual snapshots at {} is reached on day {day}: ask AWS for more, or keep fewer",
                    place.place
                ));
            }
        }
        // What no function runs, and what is not played here, is said by `policy check`.
        let silent = [FindingCode::NotImplemented, FindingCode::NotObserved];
        for finding in self.findings.iter().filter(|f| f.severity >= Severity::Critical) {
            let settled = self.first_day() + SignedDuration::from_hours(24 * FIRST_DAYS);
            if finding.last >= settled && !silent.contains(&finding.code) {
                let (code, asset) = (&finding.code, &finding.asset);
                said.push(format!(
                    "{asset} has {code} on {} of {} days though nothing fails: {}",
                    finding.days.min(self.days as usize),
                    self.days,
                    finding.message
                ));
            }
        }
        said
    }

    /// The day on which it begins, in UTC.
    pub fn first_day(&self) -> Date {
        record::day_of(self.start)
    }
}

#[cfg(test)]
mod tests;
