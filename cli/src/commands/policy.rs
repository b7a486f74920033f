//! `holdfast policy`: a file's faults, and what no function runs yet.

use crate::{
    args::{Global, PolicyCommand},
    output::{Answer, Output},
    session::{Edge, connect, offline},
    stop::{Exit, Stop},
    table::Look,
    words::count,
};
use serde::Serialize;
use serde_json::Value;
use shared::{
    policy::{Fault, Policy, text::Name},
    source::{NoPolicy, Source},
};
use std::collections::BTreeMap;

/// Checks a policy, or prints the schema.
pub(super) async fn run(
    global: &Global,
    edge: &Edge,
    command: &PolicyCommand,
) -> anyhow::Result<Exit> {
    let output = Output::new(global.json);
    let PolicyCommand::Check { file } = command else {
        output.answer(&Schema(shared::policy::schema()))?;
        return Ok(Exit::Well);
    };
    let at = file.as_ref().unwrap_or(&global.policy);
    let aws = if at.starts_with("s3://") {
        connect(edge.attempts.unwrap_or(3)).await?
    } else {
        offline()
    };
    let checked = match Source::new(at).policy(&aws).await {
        Ok(policy) => Checked::right(at, &policy),
        Err(NoPolicy::Faulty { faults, .. }) => Checked::wrong(at, faults.0),
        Err(e) => return Err(Stop::no_policy(&e)),
    };
    output.answer(&checked)?;
    Ok(if checked.faults.is_empty() { Exit::Well } else { Exit::Wrong })
}

/// The schema: JSON either way.
#[derive(Serialize)]
#[serde(transparent)]
struct Schema(Value);

impl Answer for Schema {
    fn text(&self, _: Look) -> String {
        format!("{:#}", self.0)
    }
}

/// What a check comes to.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    faults: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    /// Parts that are checked and that no function runs.
    not_run_yet: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Summary {
    company: String,
    account: String,
    region: String,
    /// Sections with the names of their groups.
    groups: Vec<Section>,
    destinations: Vec<String>,
    alarms: Vec<String>,
    /// What is named as not backed up, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_backed_up: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Section {
    section: &'static str,
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Part {
    path: String,
    what: &'static str,
}

impl Checked {
    fn wrong(file: &str, faults: Vec<Fault>) -> Self {
        Self { file: file.to_owned(), faults, summary: None, not_run_yet: Vec::new() }
    }

    fn right(file: &str, policy: &Policy) -> Self {
        let parts = policy.not_run_yet().into_iter().map(|(path, what)| Part { path, what });
        let summary = Summary {
            company: policy.company.to_string(),
            account: policy.home().account.to_string(),
            region: policy.home().region.to_string(),
            groups: sections(policy),
            destinations: policy.destinations.keys().map(ToString::to_string).collect(),
            alarms: policy.alarms.keys().cloned().collect(),
            not_backed_up: policy
                .not_backed_up
                .iter()
                .map(|(n, r)| (n.to_string(), r.clone()))
                .collect(),
        };
        Self {
            file: file.to_owned(),
            faults: Vec::new(),
            summary: Some(summary),
            not_run_yet: parts.collect(),
        }
    }
}

fn section<T>(section: &'static str, groups: &BTreeMap<Name, T>) -> Section {
    Section { section, names: groups.keys().map(ToString::to_string).collect() }
}

/// The groups of assets, section by section.
fn sections(policy: &Policy) -> Vec<Section> {
    let all = [
        section("databases", &policy.databases),
        section("buckets", &policy.buckets),
        section("postgres", &policy.postgres),
        section("redis", &policy.redis),
        section("kubernetes", &policy.kubernetes),
        section("files", &policy.files),
        section("secrets", &policy.secrets),
    ];
    all.into_iter().filter(|s| !s.names.is_empty()).collect()
}

impl Answer for Checked {
    fn text(&self, _: Look) -> String {
        let file = &self.file;
        let mut lines: Vec<String> = self.faults.iter().map(|f| format!("{file}:{f}")).collect();
        if let Some(s) = &self.summary {
            let names = |names: &[String]| {
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            };
            lines.push(format!(
                "{file} is right: {} in {} of account {}",
                s.company, s.region, s.account
            ));
            let groups =
                s.groups.iter().map(|g| format!("  {:<13} {}", g.section, names(&g.names)));
            lines.extend(groups);
            lines.push(format!("  {:<13} {}", "destinations", names(&s.destinations)));
            lines.push(format!("  {:<13} {}", "alarms", names(&s.alarms)));
            let left_out = s.not_backed_up.iter();
            lines.extend(
                left_out.map(|(name, why)| format!("  {:<13} {name}: {why}", "not backed up")),
            );
        }
        if !self.not_run_yet.is_empty() {
            let parts = count(self.not_run_yet.len(), "part", "parts");
            lines.push(format!(
                "\n{parts} of it no function runs yet; DO NOT COUNT ON what stands there:"
            ));
            let widest = self.not_run_yet.iter().map(|p| p.path.len()).max().unwrap_or(0);
            lines.extend(
                self.not_run_yet.iter().map(|p| format!("  {:<widest$}  {}", p.path, p.what)),
            );
        }
        lines.join("\n")
    }
}
