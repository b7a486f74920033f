//! `holdfast simulate`: what a policy comes to, before it happens.

use crate::{
    args::{GlobalArgs, simulate::SimulateArgs},
    output::{CommandOutput, OutputWriter},
    session::{CommandEnv, connect_aws, load_policy, offline_clients},
    stop::CommandExit,
    table::TerminalStyle,
    words::pluralize,
};
use jiff::SignedDuration;
use serde::Serialize;
use shared::{policy::Policy, time::format_duration};
use simulation::forecast::{Forecast, ForecastRequest, PlaceForecast, PointForecast, forecast};
use std::{collections::BTreeMap, sync::Arc};

/// Plays a policy's days, or those of two side by side.
pub(super) async fn run(
    global: &GlobalArgs,
    edge: &CommandEnv,
    args: &SimulateArgs,
) -> anyhow::Result<CommandExit> {
    let policy = load(&global.policy, edge).await?;
    let request = ForecastRequest {
        days: args.days,
        database_gib: args.database_size,
        dump_bytes: args.dump_size.byte_count(),
        databases: args.databases,
        ..ForecastRequest::year_from(edge.now)
    };
    let played = forecast(&policy, &request);
    let surprises = played.surprises();
    let against = match &args.against {
        Some(file) => {
            let other = load(&file.display().to_string(), edge).await?;
            Some(PolicyComparison::new(&played, &forecast(&other, &request)))
        }
        None => None,
    };
    let output = SimulationOutput { policy: global.policy.clone(), surprises, played, against };
    OutputWriter::new(global.json).print_output(&output)?;
    Ok(CommandExit::Success)
}

async fn load(at: &str, edge: &CommandEnv) -> anyhow::Result<Arc<Policy>> {
    let aws = if at.starts_with("s3://") {
        connect_aws(edge.attempts.unwrap_or(3)).await?
    } else {
        offline_clients()
    };
    load_policy(at, &aws).await
}

#[derive(Debug, Serialize)]
struct SimulationOutput {
    policy: String,
    /// What a reader of the policy would not expect.
    surprises: Vec<String>,
    #[serde(flatten)]
    played: Forecast,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<PolicyComparison>,
}

/// What another policy would change.
#[derive(Debug, Serialize)]
struct PolicyComparison {
    changes: Vec<PointChange>,
}

/// Points of a kind under both policies.
#[derive(Debug, Serialize)]
struct PointChange {
    group: String,
    asset: String,
    reason: String,
    place: String,
    /// At the end, under this policy.
    kept: usize,
    /// At the end, under the other one.
    kept_by_other: usize,
    /// How much younger the oldest of them is under the other policy, in seconds: what it would delete.
    lost_seconds: i64,
}

impl PolicyComparison {
    fn new(this: &Forecast, other: &Forecast) -> Self {
        let key = |p: &PointForecast| {
            (p.group.clone(), p.asset.clone(), p.reason.clone(), p.place.clone())
        };
        let counts = |f: &Forecast| {
            f.points
                .iter()
                .map(|p| (key(p), (p.at_end, p.oldest_seconds.unwrap_or(0))))
                .collect::<BTreeMap<_, _>>()
        };
        let (here, there) = (counts(this), counts(other));
        let all = here.keys().chain(there.keys().filter(|k| !here.contains_key(*k)));
        let changes = all.filter_map(|key| {
            let (kept, oldest) = here.get(key).copied().unwrap_or_default();
            let (kept_by_other, oldest_there) = there.get(key).copied().unwrap_or_default();
            let lost_seconds = (oldest - oldest_there).max(0);
            let (group, asset, reason, place) = key.clone();
            (kept != kept_by_other || lost_seconds > 0).then_some(PointChange {
                group,
                asset,
                reason,
                place,
                kept,
                kept_by_other,
                lost_seconds,
            })
        });
        Self { changes: changes.collect() }
    }
}

fn duration_text(seconds: i64) -> String {
    format_duration(SignedDuration::from_secs(seconds))
}

fn markdown_list(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("- {line}\n")).collect();
    lines.concat()
}

/// A table of Markdown.
fn markdown_table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&h| h.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    let rows: Vec<String> = rows
        .into_iter()
        .map(|row| line(&row.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>()))
        .collect();
    format!("{}{rule}{}", line(&head), rows.concat())
}

impl CommandOutput for SimulationOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let Forecast { start, days, runs, assumptions, points, ages, places, findings, messages } =
            &self.played;
        let mut parts = vec![format!(
            "# {} played ahead: {} from {}, {runs} runs\n",
            self.policy,
            pluralize(*days as usize, "day", "days"),
            start.strftime("%Y-%m-%d")
        )];
        parts.push("Nothing fails in it. What the policy does not say is made up:\n".into());
        parts.push(markdown_list(assumptions));
        parts.push("\n## What a reader would not expect\n\n".into());
        parts.push(match &self.surprises[..] {
            [] => "Nothing.
"
            .into(),
            all => markdown_list(all),
        });
        let rows = points.iter().map(|p| {
            let name = format!("{}/{}", p.group, p.asset);
            let oldest = p.oldest_seconds.map_or_else(|| "-".into(), duration_text);
            let counts = [p.made, p.deleted, p.most, p.at_end].map(|n| n.to_string());
            let mut row = vec![name, p.reason.clone(), p.place.clone()];
            row.extend(counts);
            row.push(oldest);
            row
        });
        let head = ["asset", "reason", "place", "made", "deleted", "most", "at the end", "oldest"];
        parts.push(format!("\n## Recovery points\n\n{}", markdown_table(&head, rows)));
        let rows = ages.iter().map(|a| {
            let when = a.worst_at.strftime("%Y-%m-%d %H:%M UTC").to_string();
            let name = format!("{}/{}", a.group, a.asset);
            vec![name, a.place.clone(), duration_text(a.worst_seconds), when]
        });
        let head = ["asset", "place", "lost at worst", "on"];
        parts.push(format!(
            "\n## How old the newest point becomes\n\n{}",
            markdown_table(&head, rows)
        ));
        parts.push(format!("\n## What lies where\n\n{}", render_places(places)));
        if !findings.is_empty() {
            let rows = findings.iter().map(|f| {
                let days = format!("{} ({} to {})", f.days, f.first, f.last);
                vec![f.severity.to_string(), f.asset.clone(), f.code.to_string(), days]
            });
            let head = ["severity", "asset", "finding", "days"];
            parts.push(format!("\n## What would be found\n\n{}", markdown_table(&head, rows)));
        }
        if !messages.is_empty() {
            let rows = messages
                .iter()
                .map(|m| vec![m.channel.clone(), m.severity.to_string(), m.count.to_string()]);
            let table = markdown_table(&["channel", "severity", "messages"], rows);
            parts.push(format!("\n## Messages\n\n{table}"));
        }
        if let Some(against) = &self.against {
            parts.push(format!("\n## Under the other policy\n\n{}", against.render()));
        }
        parts.concat()
    }
}

fn render_places(places: &[PlaceForecast]) -> String {
    let rows = places.iter().map(|p| {
        let quota = match (p.quota, p.quota_reached_on) {
            (Some(quota), Some(on)) => format!("{quota}, REACHED on {on}"),
            (Some(quota), None) => quota.to_string(),
            (None, _) => "-".into(),
        };
        let last = p.gib_by_month.last().map_or(0.0, |m| m.gib);
        let most = p.gib_by_month.iter().map(|m| m.gib).fold(0.0, f64::max);
        vec![p.place.clone(), p.most.to_string(), quota, format!("{most:.0}"), format!("{last:.0}")]
    });
    let head = ["place", "most points", "quota", "GiB at most", "GiB at the end"];
    markdown_table(&head, rows)
}

impl PolicyComparison {
    fn render(&self) -> String {
        if self.changes.is_empty() {
            return "Nothing changes.\n".into();
        }
        let rows = self.changes.iter().map(|c| {
            let lost = match c.lost_seconds {
                0 => "-".into(),
                seconds => duration_text(seconds),
            };
            let name = format!("{}/{}", c.group, c.asset);
            let counts = [c.kept, c.kept_by_other].map(|n| n.to_string());
            let [kept, other] = counts;
            vec![name, c.reason.clone(), c.place.clone(), kept, other, lost]
        });
        let head =
            ["asset", "reason", "place", "kept", "kept by the other", "reaches back less by"];
        markdown_table(&head, rows)
    }
}
