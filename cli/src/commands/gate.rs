//! `holdfast gate`: snapshots before a deployment, and nothing passes before they are there.

mod restore;

use super::report::failure_lines;
use crate::{
    args::GateArgs,
    function::{
        FunctionName, aws_unreachable_message, exit_for_report, invalid_request_finding,
        run_deadline,
    },
    output::{CommandOutput, print_stderr},
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{escape_control_chars, pluralize, suggest_names},
};
use serde::Serialize;
use shared::{
    catalog::{Location, LocationInventory, RdsDatabase, RecoveryPointState},
    observe::{ObservationScope, observe_inventory, select_databases, unknown_assets},
    plan::{ActionPlan, Finding, FindingCode},
    report::{RunReport, StepResult},
    request::{RunRequest, SCHEDULE_REASON},
    run::Deadline,
};
use snapshot::SnapshotAction;
use std::time::Duration;

/// Takes the snapshots, or finds ones that are young enough, and waits for them.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &GateArgs,
) -> anyhow::Result<CommandExit> {
    let GateArgs { reason, assets, max_age, timeout, request } = args;
    let demand = request.as_ref().unwrap_or(&session.env.request_id);
    let request = RunRequest {
        reason: reason.clone(),
        assets: assets.clone(),
        wait: true,
        reuse_newer_than: max_age.clone(),
        request_id: Some(demand.clone()),
        ..RunRequest::default()
    };
    let interrupt = &session.env.interrupt;
    let (fleet, planned) =
        interrupt.run_until_interrupted(plan_request(session, &request, demand)).await?;
    print_stderr(&start_message(demand, &planned));

    let budget = run_deadline(timeout);
    let world = session.run_context(FunctionName::Snapshot, budget).await;
    let what = format!("waiting for {}", pluralize(planned.steps.len(), "snapshot", "snapshots"));
    let report = tokio::select! {
        report = session.progress.with_spinner(&what, FunctionName::Snapshot.run(&world, &request)) => report,
        () = interrupt.received() => {
            return Err(CommandError::interrupted(interrupt_message(session, demand, &planned).await));
        }
    };
    let exit = gate_exit(session, &report, budget);
    session.output.print_output(&GateOutput::new(session, &fleet, &planned, &report))?;
    if exit != CommandExit::Success {
        print_stderr(&failure_message(&report, exit, demand));
    }
    Ok(exit)
}

/// A gate that held nothing holds nobody back by mistake: it fails.
fn gate_exit(session: &CommandContext<'_>, report: &RunReport, budget: Deadline) -> CommandExit {
    match exit_for_report(&session.policy, report, budget) {
        CommandExit::Success if report.outcomes.is_empty() => CommandExit::Failed,
        exit => exit,
    }
}

/// Looks before anything is done: what is there, and what the request comes to.
///
/// # Errors
/// If home can't be seen, or the request names what the policy does not have.
pub(super) async fn plan_request(
    session: &CommandContext<'_>,
    request: &RunRequest,
    demand: &str,
) -> anyhow::Result<(LocationInventory, ActionPlan<SnapshotAction>)> {
    let policy = &session.policy;
    let world = session.dry_run_context();
    let looked = session
        .progress
        .with_spinner("looking at the databases", observe_inventory(&world, ObservationScope::Home))
        .await;
    if let Some(gap) = looked.errors.first() {
        return Err(CommandError::unreachable(aws_unreachable_message(
            &Finding::from_observation_error(gap),
        )));
    }
    let planned = snapshot::plan(policy, &looked, request, demand, session.env.now);
    let fleet = looked
        .locations
        .into_iter()
        .find(|(place, _)| *place == Location::home_from_policy(policy));
    let fleet = fleet.map(|(_, fleet)| fleet).unwrap_or_default();
    let selected = select_databases(policy, &fleet.databases);
    let mut wrong: Vec<Finding> =
        invalid_request_finding(&planned.findings).into_iter().cloned().collect();
    // A scheduled look passes over names that it does not know.
    if request.reason == SCHEDULE_REASON
        || wrong.iter().any(|f| f.code == FindingCode::UnknownAsset)
    {
        wrong = unknown_assets(&request.assets, &selected);
    }
    if wrong.is_empty() {
        return Ok((fleet, planned));
    }
    let known = || selected.selected_databases().map(|(_, _, d)| d.id.clone());
    let lines = wrong.iter().map(|f| match f.code {
        FindingCode::UnknownAsset => {
            let near = suggest_names(&f.asset, known()).join(", ");
            format!("{}: {}; the nearest names are {near}", f.asset, f.message)
        }
        _ => format!("{}: {}; {}", f.asset, f.message, f.hint),
    });
    Err(CommandError::usage(escape_control_chars(&lines.collect::<Vec<_>>().join("\n"))))
}

fn start_message(demand: &str, planned: &ActionPlan<SnapshotAction>) -> String {
    let of =
        |is: fn(&SnapshotAction) -> bool| planned.steps.iter().filter(|s| is(&s.action)).count();
    let parts = [
        (of(|a| matches!(a, SnapshotAction::Create { .. })), "to take"),
        (of(|a| matches!(a, SnapshotAction::Wait { .. })), "under way"),
        (of(|a| matches!(a, SnapshotAction::Reuse { .. })), "young enough"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|p| p.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    format!("gate: request {demand}: {parts}")
}

/// What to say to somebody who does not want to wait: what RDS is doing now, from RDS itself if it answers soon.
async fn interrupt_message(
    session: &CommandContext<'_>,
    demand: &str,
    planned: &ActionPlan<SnapshotAction>,
) -> String {
    let world = session.dry_run_context();
    let looked = tokio::time::timeout(
        Duration::from_secs(10),
        observe_inventory(&world, ObservationScope::Home),
    )
    .await;
    let fleet = looked.ok().and_then(|seen| seen.locations.into_values().next());
    let started: Vec<String> = match &fleet {
        Some(fleet) => {
            let ours = fleet.points.iter().filter(|p| p.tags.request.as_deref() == Some(demand));
            ours.map(|p| format!("  {} ({})", p.id, format_state(&p.state))).collect()
        }
        None => planned
            .steps
            .iter()
            .map(|s| format!("  {} (perhaps)", s.action.snapshot_id()))
            .collect(),
    };
    let again = format!("ask again with --request {} to go on", storage::shell_quote(demand));
    if started.is_empty() {
        return format!("interrupted; nothing was started; {again}");
    }
    format!(
        "interrupted; RDS goes on with\n{}\n{again}: nothing is taken twice",
        started.join("\n")
    )
}

pub(super) fn format_state(state: &RecoveryPointState) -> String {
    match state {
        RecoveryPointState::InFlight => "on its way".into(),
        RecoveryPointState::Good => "available".into(),
        RecoveryPointState::Failed(word) => format!("FAILED: {word}"),
    }
}

fn failure_message(report: &RunReport, exit: CommandExit, demand: &str) -> String {
    let mut lines = vec![match exit {
        CommandExit::TimedOut => {
            format!(
                "gate: not finished in time; ask again with --request {} to go on",
                storage::shell_quote(demand)
            )
        }
        _ => "gate: do not deploy".to_owned(),
    }];
    let why = failure_lines(report);
    if why.is_empty() {
        lines.push("  no database was snapshotted".into());
    }
    lines.extend(why.iter().map(|f| format!("  {}", f.replace('\n', "\n  "))));
    lines.join("\n")
}

/// One database at the gate.
#[derive(Debug, Serialize)]
struct GateRow {
    asset: String,
    /// Its snapshot; none when there is none that counts.
    snapshot: Option<String>,
    /// Whether it was there before.
    reused: bool,
    /// One line that restores it beside the original.
    restore: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct GateOutput(Vec<GateRow>);

impl GateOutput {
    fn new(
        session: &CommandContext<'_>,
        fleet: &LocationInventory,
        planned: &ActionPlan<SnapshotAction>,
        report: &RunReport,
    ) -> Self {
        let home = session.policy.home_or_placeholder();
        let region = home.region.as_str();
        let all = report.outcomes.iter().map(|o| {
            let (snapshot, error) = match &o.result {
                StepResult::Done(id) => (Some(id.clone()), None),
                StepResult::Failed(why) | StepResult::Deferred(why) => (None, Some(why.clone())),
                StepResult::Unfinished | StepResult::Planned => {
                    (None, Some("there was no time left".into()))
                }
            };
            let database =
                snapshot.as_ref().and_then(|id| snapshotted_database(fleet, planned, &o.asset, id));
            let restore = database.zip(snapshot.as_ref());
            GateRow {
                asset: o.asset.clone(),
                reused: snapshot.as_deref().is_some_and(|id| is_reused(planned, &o.asset, id)),
                restore: restore
                    .map(|(database, id)| restore::restore_command(database, id, region)),
                snapshot,
                error,
            }
        });
        Self(all.collect())
    }
}

/// Whether a snapshot answers the demand that was there before.
fn is_reused(planned: &ActionPlan<SnapshotAction>, asset: &str, snapshot: &str) -> bool {
    let reuses = |a: &SnapshotAction| matches!(a, SnapshotAction::Reuse { id } if id == snapshot);
    planned.steps.iter().any(|step| step.asset == asset && reuses(&step.action))
}

/// The database that a snapshot was taken of. An instance and a cluster may share a name, so then its family tells.
fn snapshotted_database<'f>(
    fleet: &'f LocationInventory,
    planned: &ActionPlan<SnapshotAction>,
    asset: &str,
    snapshot: &str,
) -> Option<&'f RdsDatabase> {
    let family = planned.steps.iter().find_map(|step| match &step.action {
        SnapshotAction::Create { family, id, .. } | SnapshotAction::Wait { family, id } => {
            (id == snapshot).then_some(*family)
        }
        SnapshotAction::Reuse { .. } => None,
    });
    let family = family.or_else(|| {
        let known = fleet.points.iter().find(|p| p.id == snapshot && p.database == asset);
        known.map(|p| p.kind)
    });
    let named: Vec<_> = fleet.databases.iter().filter(|d| d.id == asset).collect();
    match named.as_slice() {
        [one] => Some(one),
        several => several.iter().copied().find(|d| Some(d.family) == family),
    }
}

impl CommandOutput for GateOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let rows = self.0.iter().map(|p| {
            let how = match (&p.snapshot, p.reused) {
                (None, _) => "FAILED",
                (Some(_), true) => "reused",
                (Some(_), false) => "available",
            };
            let what = p.snapshot.clone().or_else(|| p.error.clone()).unwrap_or_default();
            vec![p.asset.clone(), how.to_owned(), what]
        });
        let mut parts = Vec::new();
        if !self.0.is_empty() {
            parts.push(look.render_table(&["asset", "state", "snapshot"], rows));
        }
        // Not in the table: a command that wraps can't be copied.
        let restores: Vec<_> = self.0.iter().filter_map(|p| p.restore.clone()).collect();
        if !restores.is_empty() {
            parts.push(format!("to restore beside the original:\n{}", restores.join("\n")));
        }
        parts.join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::catalog::DatabaseKind;

    #[test]
    fn what_passed_is_shown_with_the_way_back_and_what_did_not_with_why() {
        let passed = |asset: &str, reused| GateRow {
            asset: asset.into(),
            snapshot: Some(format!("{asset}-pre-deploy-202611201205")),
            reused,
            restore: Some(format!("aws rds restore {asset}")),
            error: None,
        };
        let failed = GateRow {
            asset: "users".into(),
            snapshot: None,
            reused: false,
            restore: None,
            error: Some("create snapshot: the database is stopped".into()),
        };
        let gate = GateOutput(vec![passed("auth", false), passed("orders", true), failed]);
        insta::assert_snapshot!(gate.render_text(TerminalStyle::default()), @"
        ASSET   STATE      SNAPSHOT
        auth    available  auth-pre-deploy-202611201205
        orders  reused     orders-pre-deploy-202611201205
        users   FAILED     create snapshot: the database is stopped

        to restore beside the original:
        aws rds restore auth
        aws rds restore orders
        ");
        insta::assert_snapshot!(serde_json::to_string_pretty(&gate.0[1..]).expect("json"), @r#"
        [
          {
            "asset": "orders",
            "snapshot": "orders-pre-deploy-202611201205",
            "reused": true,
            "restore": "aws rds restore orders"
          },
          {
            "asset": "users",
            "snapshot": null,
            "reused": false,
            "restore": null,
            "error": "create snapshot: the database is stopped"
          }
        ]
        "#);
    }

    #[test]
    fn the_way_back_is_that_of_the_very_database_where_an_instance_and_a_cluster_share_a_name() {
        let now = shared::model::parse_time("2026-11-20T12:00:00Z");
        let both = vec![shared::model::db_instance("a", now), shared::model::db_cluster("a", now)];
        let fleet = LocationInventory { databases: both, ..LocationInventory::default() };
        let take = |family: DatabaseKind, id: &str| SnapshotAction::Create {
            family,
            database: "a".into(),
            resource_id: String::new(),
            id: id.into(),
            tags: std::collections::BTreeMap::new(),
        };
        let mut planned = ActionPlan::default();
        planned.push_step("a", take(DatabaseKind::Instance, "s"), "");
        planned.push_step("a", take(DatabaseKind::Cluster, "s-1"), "");
        let of = |id: &str| snapshotted_database(&fleet, &planned, "a", id).map(|d| d.family);
        assert_eq!(of("s"), Some(DatabaseKind::Instance));
        assert_eq!(of("s-1"), Some(DatabaseKind::Cluster));
        assert_eq!(of("s-2"), None, "no line is better than another database's");
        planned.push_step("b", SnapshotAction::Reuse { id: "old".into() }, "");
        let reused = |asset: &str, id: &str| is_reused(&planned, asset, id);
        assert!(reused("b", "old") && !reused("a", "old") && !reused("a", "s"));
    }
}
