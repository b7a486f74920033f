//! `holdfast plan`: what the functions would do now.

use super::report;
use crate::{
    function::{self, Function, blind, blindness},
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
};
use serde::Serialize;
use shared::{report::RunReport, request::RunRequest};

/// Runs the functions as dry runs, one after the other: together they would ask AWS for the same pages at once.
pub(super) async fn run(session: &Session<'_>, functions: &[Function]) -> anyhow::Result<Exit> {
    let functions = if functions.is_empty() { &Function::ALL[..] } else { functions };
    let request = RunRequest { dry_run: true, ..RunRequest::full_run() };
    let world = session.look();
    let mut plans = Plans(Vec::new());
    for function in functions {
        let what = format!("planning {}", function.name());
        plans.0.push(session.progress.during(&what, function.run(&world, &request)).await);
    }
    let unseen: Vec<_> = plans.0.iter().filter_map(|r| blind(&session.policy, r)).collect();
    // A function that has nothing to do for this policy looks at nothing, and is no sign that AWS answers.
    let looked = plans.0.iter().any(|r| blind(&session.policy, r).is_none() && something(r));
    if let (Some(gap), false) = (unseen.first(), looked) {
        return Err(Stop::blind(blindness(gap)));
    }
    session.output.answer(&plans)?;
    // What is critical is so before it is due, too.
    Ok(if plans.0.iter().any(|r| r.failed) { Exit::Failed } else { Exit::Well })
}

fn something(report: &RunReport) -> bool {
    !report.outcomes.is_empty() || !function::unseen(report)
}

/// The functions' reports.
#[derive(Serialize)]
#[serde(transparent)]
struct Plans(Vec<RunReport>);

impl Answer for Plans {
    fn text(&self, look: Look) -> String {
        self.0.iter().map(|r| report::text(r, look)).collect::<Vec<_>>().join("\n\n")
    }
}
