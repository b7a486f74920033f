//! `holdfast policy`: a file's faults, and what no function runs yet.

use crate::{
    args::{GlobalArgs, PolicyCommand},
    output::{CommandOutput, OutputWriter},
    session::{CommandEnv, connect_aws, offline_clients},
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{format_finding, format_time, pluralize},
};
use drill::calendar::DrillCalendar;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use shared::{
    aws::AwsClients,
    hints::commands::SIMULATE,
    plan::{Finding, Severity},
    policy::{DrillKind, DrillRule, Policy, PolicyError, PostgresGroup, text::Name},
    run::{Deadline, RunContext},
    source::{PolicyLoadError, PolicyLoader},
};
use simulation::forecast::{ForecastRequest, forecast};
use std::collections::BTreeMap;

/// Checks a policy, or prints the schema.
pub(super) async fn run(
    global: &GlobalArgs,
    edge: &CommandEnv,
    command: &PolicyCommand,
) -> anyhow::Result<CommandExit> {
    let output = OutputWriter::new(global.json);
    let PolicyCommand::Check { file, aws: preflight } = command else {
        output.print_output(&PolicySchemaOutput(shared::policy::json_schema()))?;
        return Ok(CommandExit::Success);
    };
    let at = file.as_ref().unwrap_or(&global.policy);
    let aws = if at.starts_with("s3://") || *preflight {
        connect_aws(edge.attempts.unwrap_or(3)).await?
    } else {
        offline_clients()
    };
    let checked = match PolicyLoader::new(at).load(&aws).await {
        Ok(policy) => {
            let ahead =
                if *preflight { Some(preflight_account(&aws, &policy, edge).await) } else { None };
            PolicyCheckOutput {
                preflight: ahead,
                ..PolicyCheckOutput::from_policy(at, &policy, edge.now)
            }
        }
        Err(PolicyLoadError::Faulty { faults, .. }) => PolicyCheckOutput::from_errors(at, faults.0),
        Err(e) => return Err(CommandError::from_policy_error(&e)),
    };
    output.print_output(&checked)?;
    let critical = checked.preflight.iter().flatten().any(|f| f.severity == Severity::Critical);
    Ok(match (checked.errors.is_empty(), critical) {
        (false, _) => CommandExit::UsageError,
        (true, true) => CommandExit::Failed,
        (true, false) => CommandExit::Success,
    })
}

/// What will be in the way on the policy's account.
async fn preflight_account(aws: &AwsClients, policy: &Policy, edge: &CommandEnv) -> Vec<Finding> {
    let world = RunContext {
        aws,
        policy,
        now: edge.now,
        deadline: Deadline::unlimited(),
        run_id: edge.run_id.clone(),
        dry_run: true,
        on_host: true,
        failure_topic: None,
        reports_topic: None,
        user: None,
    };
    Box::pin(freshness::preflight(&world)).await
}

/// The schema: JSON either way.
#[derive(Serialize)]
#[serde(transparent)]
struct PolicySchemaOutput(Value);

impl CommandOutput for PolicySchemaOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        format!("{:#}", self.0)
    }
}

/// What a check comes to.
#[derive(Debug, Serialize)]
struct PolicyCheckOutput {
    file: String,
    errors: Vec<PolicyError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<PolicySummary>,
    /// Where test restores of each group of `postgres` run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    test_restores: Vec<TestRestoreLocation>,
    /// When each drill is next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drills: Vec<NextDrills>,
    /// What is legal and hardly meant.
    warnings: Vec<PolicyError>,
    /// Parts that are checked and that no function runs.
    unsupported: Vec<UnsupportedPart>,
    /// What goes wrong in the next weeks though nothing fails, by a short simulation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    surprises: Vec<String>,
    /// What will be in the way on the policy's account, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    preflight: Option<Vec<Finding>>,
}

#[derive(Debug, Serialize)]
struct PolicySummary {
    company: String,
    /// Account and region of the assets; none for a policy of a host without AWS.
    account: Option<String>,
    region: Option<String>,
    /// What marks its backups as its own.
    owner: String,
    /// Sections with the names of their groups.
    groups: Vec<GroupSection>,
    destinations: Vec<String>,
    alarms: Vec<String>,
    /// What is named as not backed up, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_backed_up: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct GroupSection {
    section: &'static str,
    names: Vec<String>,
}

/// The next times of a drill.
#[derive(Debug, Serialize)]
struct NextDrills {
    drill: String,
    kind: DrillKind,
    next: Vec<Timestamp>,
}

/// So many next times of each drill are shown.
const SHOWN_SLOTS: usize = 3;

/// Where the test restores of a group run, known before one is needed.
#[derive(Debug, Serialize)]
struct TestRestoreLocation {
    group: String,
    location: String,
    /// Whether that can be: false where `verify --full` could only say that it could not verify.
    is_possible: bool,
}

impl TestRestoreLocation {
    fn for_group(policy: &Policy, group: &Name, rules: &PostgresGroup) -> Self {
        let scratch = policy.scratch_for(rules).unwrap_or_default();
        let (place, possible) = if scratch.production {
            ("on the server that is backed up, as the policy says".into(), true)
        } else if scratch.names_a_server() {
            let host = scratch.host.as_deref().unwrap_or("the host of its secret");
            (format!("on {host}, which the policy names for them"), true)
        } else {
            match postgres::tools::server_programs(0) {
                Ok(programs) => {
                    let (version, folder) =
                        (programs.version, programs.folder.display().to_string());
                    (
                        format!(
                            "on a server of their own on this host, PostgreSQL {version} of {folder}"
                        ),
                        true,
                    )
                }
                Err(e) => (format!("NOWHERE on this host: {}; {}", e.why, e.hint), false),
            }
        };
        Self { group: group.to_string(), location: place, is_possible: possible }
    }
}

#[derive(Debug, Serialize)]
struct UnsupportedPart {
    path: String,
    description: &'static str,
}

impl PolicyCheckOutput {
    fn from_errors(file: &str, faults: Vec<PolicyError>) -> Self {
        let (warnings, not_run_yet, test_restores) = (Vec::new(), Vec::new(), Vec::new());
        let file = file.to_owned();
        Self {
            file,
            errors: faults,
            summary: None,
            test_restores,
            drills: Vec::new(),
            warnings,
            unsupported: not_run_yet,
            surprises: Vec::new(),
            preflight: None,
        }
    }

    fn from_policy(file: &str, policy: &Policy, now: Timestamp) -> Self {
        let next = |(name, rule): (&Name, &DrillRule)| NextDrills {
            drill: name.to_string(),
            kind: rule.kind,
            next: DrillCalendar::new(rule, &policy.time_zone).next_slots(now, SHOWN_SLOTS),
        };
        let part = |(path, what)| UnsupportedPart { path, description: what };
        let parts = policy.unimplemented_parts().into_iter().map(part);
        let summary = PolicySummary {
            company: policy.company.to_string(),
            account: policy.home.as_ref().map(|h| h.account.to_string()),
            region: policy.home.as_ref().map(|h| h.region.to_string()),
            owner: policy.owner(),
            groups: group_sections(policy),
            destinations: policy.destinations.keys().map(ToString::to_string).collect(),
            alarms: policy.alarms.keys().cloned().collect(),
            not_backed_up: policy
                .not_backed_up
                .iter()
                .map(|(n, r)| (n.to_string(), r.clone()))
                .collect(),
        };
        let dumped = policy.postgres.iter().filter(|(_, rules)| !rules.dumps.is_empty());
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
            test_restores: dumped
                .map(|(name, rules)| TestRestoreLocation::for_group(policy, name, rules))
                .collect(),
            summary: Some(summary),
            drills: policy.drills.iter().map(next).collect(),
            warnings: policy.warnings(),
            unsupported: parts.collect(),
            surprises: forecast(policy, &ForecastRequest::short_from(now, policy)).surprises(),
            preflight: None,
        }
    }
}

fn group_section<T>(section: &'static str, groups: &BTreeMap<Name, T>) -> GroupSection {
    GroupSection { section, names: groups.keys().map(ToString::to_string).collect() }
}

/// The groups of assets, section by section.
fn group_sections(policy: &Policy) -> Vec<GroupSection> {
    let all = [
        group_section("databases", &policy.databases),
        group_section("buckets", &policy.buckets),
        group_section("postgres", &policy.postgres),
        group_section("redis", &policy.redis),
        group_section("kubernetes", &policy.kubernetes),
        group_section("files", &policy.files),
        group_section("secrets", &policy.secrets),
    ];
    all.into_iter().filter(|s| !s.names.is_empty()).collect()
}

impl CommandOutput for PolicyCheckOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let file = &self.file;
        let mut lines: Vec<String> = self.errors.iter().map(|f| format!("{file}:{f}")).collect();
        if let Some(s) = &self.summary {
            let names = |names: &[String]| {
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            };
            lines.extend(self.warnings.iter().map(|w| format!("{file}:{w} (warning)")));
            let place = match (&s.region, &s.account) {
                (Some(region), Some(account)) => format!("in {region} of account {account}"),
                _ => format!("on this host, as {}", s.owner),
            };
            lines.push(format!("{file} is right: {} {place}", s.company));
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
        if !self.test_restores.is_empty() {
            lines.push("\ntest restores (verify --full):".into());
            lines.extend(
                self.test_restores.iter().map(|t| format!("  {:<13} {}", t.group, t.location)),
            );
        }
        if !self.drills.is_empty() {
            lines.push("\ndrills, and when they are next (UTC):".into());
            let widest = self.drills.iter().map(|d| d.drill.len()).max().unwrap_or(0);
            lines.extend(self.drills.iter().map(|d| {
                let next: Vec<_> = d.next.iter().map(|at| format_time(*at)).collect();
                format!("  {:<widest$}  {:<13} {}", d.drill, d.kind.to_string(), next.join(", "))
            }));
        }
        if !self.unsupported.is_empty() {
            let parts = pluralize(self.unsupported.len(), "part", "parts");
            lines.push(format!(
                "\n{parts} of it no function runs yet; DO NOT COUNT ON what stands there:"
            ));
            let widest = self.unsupported.iter().map(|p| p.path.len()).max().unwrap_or(0);
            lines.extend(
                self.unsupported
                    .iter()
                    .map(|p| format!("  {:<widest$}  {}", p.path, p.description)),
            );
        }
        if !self.surprises.is_empty() {
            lines.push(format!("\nahead, though nothing fails (more by `{SIMULATE}`):"));
            lines.extend(self.surprises.iter().map(|s| format!("  {s}")));
        }
        if let Some(ahead) = &self.preflight {
            let none =
                "\nnothing on its account is in the way: quotas and keys are as it needs them";
            lines.push(if ahead.is_empty() { none.into() } else { "\non its account:".into() });
            lines.extend(ahead.iter().map(format_finding));
        }
        lines.join("\n")
    }
}
