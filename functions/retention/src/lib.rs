//! Lets go of what the policy lets go.

use shared::{report::Report, request::Request, run::World};

/// The function's name.
pub const NAME: &str = "retention";

/// Looks, plans, acts and reports.
pub async fn run(world: &World<'_>, _request: &Request) -> Report {
    Report::new(NAME, world)
}
