//! `holdfast secrets check`: every secret, its versions by name and age, and what is wrong.

use super::{observe_groups, short_id};
use crate::{
    output::CommandOutput,
    session::CommandContext,
    stop::CommandExit,
    table::TerminalStyle,
    words::{PLACEHOLDER, format_age, format_finding},
};
use jiff::Timestamp;
use secrets::{ObservedGroup, VersionDates};
use serde::Serialize;
use shared::{
    aws::secrets::inventory::{CURRENT, PREVIOUS, SecretState},
    plan::{Finding, Severity},
};

/// Reads no value.
pub(super) async fn run(
    session: &CommandContext<'_>,
    group: Option<&str>,
) -> anyhow::Result<CommandExit> {
    let groups = Box::pin(observe_groups(session, group, VersionDates::All)).await?;
    let planned = secrets::plan(&groups, session.env.now);
    let mut findings = planned.plan.findings;
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.asset.cmp(&b.asset)));
    let row = |group: &ObservedGroup<'_>| {
        group.secrets.iter().map(|s| SecretRow::new(group, s, session.env.now)).collect::<Vec<_>>()
    };
    let output = CheckOutput { secrets: groups.iter().flat_map(row).collect(), findings };
    session.output.print_output(&output)?;
    let critical = output.findings.iter().any(|f| f.severity == Severity::Critical);
    Ok(if critical { CommandExit::Failed } else { CommandExit::Success })
}

#[derive(Serialize)]
struct CheckOutput {
    secrets: Vec<SecretRow>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct SecretRow {
    group: String,
    name: String,
    current: Option<VersionAge>,
    previous: Option<VersionAge>,
    rotated_seconds: Option<i64>,
    /// Whether every version with a value has an export; none where the policy exports nothing.
    exported: Option<bool>,
}

/// A version by name and age alone.
#[derive(Serialize)]
struct VersionAge {
    version: String,
    age_seconds: Option<i64>,
}

impl SecretRow {
    fn new(group: &ObservedGroup<'_>, secret: &SecretState, now: Timestamp) -> Self {
        let age = |at: Timestamp| now.duration_since(at).as_secs();
        let version = |label: &str| {
            let id = secret.version_with(label)?;
            let age_seconds = group.version_created(&secret.name, id).map(age);
            Some(VersionAge { version: id.to_owned(), age_seconds })
        };
        let exported = |e: &secrets::stored::ExportInventory| {
            secret.complete_versions().all(|(v, _)| e.has(&secret.name, v))
        };
        Self {
            group: group.name.to_string(),
            name: secret.name.clone(),
            current: version(CURRENT),
            previous: version(PREVIOUS),
            rotated_seconds: secret.rotated.map(age),
            exported: group.exports.as_ref().map(exported),
        }
    }
}

impl CommandOutput for CheckOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let version = |v: &Option<VersionAge>| match v {
            None => PLACEHOLDER.to_owned(),
            Some(v) => {
                let age = v.age_seconds.map_or_else(|| "age unknown".into(), format_age);
                format!("{} ({age})", short_id(&v.version))
            }
        };
        let rows = self.secrets.iter().map(|s| {
            let exported = match s.exported {
                None => PLACEHOLDER,
                Some(true) => "yes",
                Some(false) => "NO",
            };
            let rotated = s.rotated_seconds.map_or_else(|| PLACEHOLDER.into(), format_age);
            vec![
                s.name.clone(),
                s.group.clone(),
                version(&s.current),
                version(&s.previous),
                rotated,
                exported.into(),
            ]
        });
        let head = ["secret", "group", "current", "previous", "rotated", "exported"];
        let mut parts = vec![look.render_table(&head, rows)];
        parts.extend(self.findings.iter().map(format_finding));
        parts.join("\n")
    }
}
