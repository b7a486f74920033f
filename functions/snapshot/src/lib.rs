//! Takes snapshots of RDS databases: on schedule, and before a deployment.

use shared::{report::Report, request::Request, run::World};

/// The function's name.
pub const NAME: &str = "snapshot";

/// Looks, plans, acts and reports.
pub async fn run(world: &World<'_>, _request: &Request) -> Report {
    Report::new(NAME, world)
}
