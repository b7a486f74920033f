//! `holdfast report`: the status page, written where the policy or the command line says.

use crate::{
    args::ReportArgs,
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    words::{finding, plain},
};
use report::{Target, model::Page};
use serde::Serialize;
use shared::plan::Severity;

/// Looks at everything and writes the page. Nothing else is changed or published.
pub(super) async fn run(session: &Session<'_>, args: &ReportArgs) -> anyhow::Result<Exit> {
    let world = session.look();
    let target = match &args.to {
        Some(folder) => Some(Target::folder(folder)),
        None => Target::of(&world),
    };
    if target.is_none() && !args.dry_run && !session.output.json() {
        return Err(Stop::wrong(
            "the policy has no status_page: write one, or say where with --to DIR",
        ));
    }
    let looks = report::observe(&world);
    let facts = session.progress.during("looking at everything", Box::pin(looks)).await;
    let told = report::page(&session.policy, &facts, world.now);
    let mut written = None;
    if let Some(target) = target.filter(|_| !args.dry_run) {
        report::write(&world, &target, &told.page).await.map_err(|e| Stop::edge(&e))?;
        written = Some(target.address());
    }
    session.output.answer(&Written { page: &told.page, written })?;
    Ok(Exit::Well)
}

/// The page; in JSON it is what `report.json` holds.
#[derive(Serialize)]
#[serde(transparent)]
struct Written<'p> {
    page: &'p Page,
    #[serde(skip)]
    written: Option<String>,
}

impl Answer for Written<'_> {
    fn text(&self, _: Look) -> String {
        let own =
            |what| matches!(what, "quota" | "over-budget" | "success-rate" | "storage-report");
        let mut lines = vec![plain(&self.page.summary.sentence)];
        let told =
            self.page.findings.iter().filter(|f| own(f.what) || f.severity == Severity::Critical);
        lines.extend(told.map(finding));
        lines.push(match &self.written {
            Some(address) => format!("written to {address}"),
            None => "dry run: nothing was written".to_owned(),
        });
        lines.join("\n")
    }
}
