//! Checks that S3 replication and read replicas keep up.

use shared::{report::Report, request::Request, run::World};

/// The function's name.
pub const NAME: &str = "replication";

/// Looks, plans, acts and reports.
pub async fn run(world: &World<'_>, _request: &Request) -> Report {
    Report::new(NAME, world)
}
