//! Looking at everything, as `status` and `monitor` do: a dry run of the functions that judge.

use crate::{
    function::{Function, blind, blindness, unseen},
    places::Memory,
    stop::Stop,
};
use shared::{report::Report, request::Request, run::World};

/// What the functions that judge say of everything. With a memory, the newest files of directories are read.
pub(crate) async fn everything(world: &World<'_>, memory: Option<&Memory>) -> Vec<Report> {
    let request = Request { dry_run: true, ..Request::look() };
    let freshness = Function::Freshness.run_reading(world, &request, memory);
    // Of a host without AWS there is nothing more to ask.
    if world.policy.home.is_none() {
        return vec![freshness.await];
    }
    let replication = Function::Replication.run(world, &request);
    // Objects that wait too long for their copy are seen by the function that copies.
    let offsite = Function::Offsite.run(world, &request);
    let (freshness, replication, offsite) = tokio::join!(freshness, replication, offsite);
    vec![freshness, replication, offsite]
}

/// Nothing could be seen at all: then there is nothing to say of any asset.
///
/// # Errors
/// If that is so.
pub(crate) fn something(world: &World<'_>, reports: &[Report]) -> anyhow::Result<()> {
    match reports.iter().find_map(|r| blind(world.policy, r)) {
        Some(gap) if reports.iter().all(unseen) => Err(Stop::blind(blindness(gap))),
        _ => Ok(()),
    }
}
