//! `holdfast report`: the status page, written where the policy or the command line says.

use crate::{
    args::ReportArgs,
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{escape_control_chars, format_finding},
};
use report::{PageLocation, model::StatusPageData};
use serde::Serialize;
use shared::plan::{FindingCode, Severity};

/// Looks at everything and writes the page. Nothing else is changed or published.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &ReportArgs,
) -> anyhow::Result<CommandExit> {
    let world = session.dry_run_context();
    let target = match &args.to {
        Some(folder) => Some(PageLocation::in_folder(folder)),
        None => PageLocation::from_policy(&world),
    };
    if target.is_none() && !args.dry_run && !session.output.is_json() {
        return Err(CommandError::usage(
            "the policy has no status_page: write one, or say where with --to DIR",
        ));
    }
    let looks = report::observe(&world);
    let facts = session.progress.with_spinner("looking at everything", Box::pin(looks)).await;
    let told = report::build_page(&session.policy, &facts, world.now);
    let mut written = None;
    if let Some(target) = target.filter(|_| !args.dry_run) {
        report::write_page(&world, &target, &told.page)
            .await
            .map_err(|e| CommandError::from_operation_error(&e))?;
        written = Some(target.address());
    }
    session.output.print_output(&StatusPageOutput { page: &told.page, written })?;
    Ok(CommandExit::Success)
}

/// The page; in JSON it is what `report.json` holds.
#[derive(Serialize)]
#[serde(transparent)]
struct StatusPageOutput<'p> {
    page: &'p StatusPageData,
    #[serde(skip)]
    written: Option<String>,
}

impl CommandOutput for StatusPageOutput<'_> {
    fn render_text(&self, _: TerminalStyle) -> String {
        let own = |what| {
            use FindingCode::{OverBudget, QuotaExceeded, StorageReport, SuccessRate};
            matches!(what, QuotaExceeded | OverBudget | SuccessRate | StorageReport)
        };
        let mut lines = vec![escape_control_chars(&self.page.summary.headline)];
        let told =
            self.page.findings.iter().filter(|f| own(f.code) || f.severity == Severity::Critical);
        lines.extend(told.map(format_finding));
        lines.push(match &self.written {
            Some(address) => format!("written to {address}"),
            None => "dry run: nothing was written".to_owned(),
        });
        lines.join("\n")
    }
}
