//! Writes the status page: what stands how, since when, at what cost, and what to do next.
//!
//! Looks as `holdfast status` looks, and at every place where points lie; makes one page of it that stands on its own, and
//! the same as `report.json`. Nothing is judged anew that another function judges.
//!
//! - `observe`: everything as it is; [`facts`]: in the form that the page needs
//! - [`page()`]: what that means, pure; [`model`]: the page as data
//! - [`prices`]: what storing a byte costs
//! - `html`, `plot`: the page for people; [`write()`]: to a bucket or a folder

pub mod facts;
mod html;
pub mod model;
mod observe;
pub mod page;
mod plot;
pub mod prices;
mod write;

pub use html::render_html;
pub use observe::observe;
pub use page::{PageOutput, build_page};
pub use write::{PageLocation, write_page};

use shared::{
    plan::{Finding, FindingCode, Severity},
    report::RunReport,
    request::RunRequest,
    run::RunContext,
};

/// The function's name.
pub const NAME: &str = "report";

/// Looks, makes the page, writes it where the policy says, and reports.
pub async fn run(world: &RunContext<'_>, _request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let told = build_page(world.policy, &observe(world).await, world.now);
    report.findings = told.findings;
    report.values = told.values;
    let Some(target) = PageLocation::from_policy(world) else { return report };
    if world.dry_run {
        return report;
    }
    if let Err(e) = write_page(world, &target, &told.page).await {
        let hint = e.hint();
        report.push_finding(Finding::new(
            Severity::Critical,
            "page",
            FindingCode::PageWriteFailed,
            e.to_string(),
            hint,
        ));
    }
    report
}
