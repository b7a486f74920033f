//! What drills showed.

use super::find_drill;
use crate::{
    args::GlobalArgs,
    output::{self, CommandOutput, OutputWriter},
    session::{CommandContext, CommandEnv, load_policy, offline_clients},
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{PLACEHOLDER, format_age, format_finding, format_time},
};
use anyhow::Context;
use drill::{
    DrillOverview,
    evidence::{DrillEvidence, store::EvidenceTrust},
    markdown::{self, SlotEntry, SlotState, list_slots},
    plan::{ObservedAsset, ObservedDrill},
};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    plan::Finding,
    policy::text::SigningKey,
    signing::{MinisignVerifier, PublicKey, signature_name},
};
use std::path::Path;

/// A recovery time.
pub(super) fn format_rto(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| PLACEHOLDER.to_owned(), |s| format!("{s:.1} s"))
}

/// An age of data.
pub(super) fn format_rpo(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| PLACEHOLDER.to_owned(), format_age)
}

/// What could not be read, and what does not count.
pub(super) fn print_problems(findings: &[Finding]) {
    for finding in findings {
        output::print_stderr(&format!("holdfast: {}", format_finding(finding)));
    }
}

async fn read_overview<'s>(session: &'s CommandContext<'_>) -> DrillOverview<'s> {
    let (world, secrets) = (session.dry_run_context(), session.secret_resolver());
    let reading = Box::pin(drill::overview(&world, &secrets));
    let overview = session.progress.with_spinner("reading the evidence", reading).await;
    print_problems(&overview.findings);
    overview
}

fn exit_of(overview: &DrillOverview<'_>) -> CommandExit {
    if overview.findings.is_empty() { CommandExit::Success } else { CommandExit::Failed }
}

/// Every drill in a line for each asset.
pub(super) async fn list(session: &CommandContext<'_>) -> anyhow::Result<CommandExit> {
    let overview = read_overview(session).await;
    let now = session.env.now;
    let mut rows = Vec::new();
    for drill in &overview.drills {
        rows.extend(drill.assets.iter().map(|asset| DrillRow::new(drill, asset, now)));
        if drill.assets.is_empty() {
            rows.push(DrillRow::new(drill, &ObservedAsset::default(), now));
        }
    }
    for (name, rule) in session.policy.drills.iter().filter(|(_, r)| !r.kind.is_implemented()) {
        rows.push(DrillRow {
            drill: name.to_string(),
            kind: rule.kind.to_string(),
            asset: rule.of.as_ref().map(ToString::to_string).unwrap_or_default(),
            next: None,
            last: None,
            verdict: "not run yet: no function does this kind".into(),
            rto_seconds: None,
            rpo_seconds: None,
            proof_age_seconds: None,
            missed: 0,
        });
    }
    session.output.print_output(&DrillListOutput(rows))?;
    Ok(exit_of(&overview))
}

#[derive(Serialize)]
struct DrillRow {
    drill: String,
    kind: String,
    asset: String,
    next: Option<Timestamp>,
    last: Option<Timestamp>,
    verdict: String,
    rto_seconds: Option<f64>,
    rpo_seconds: Option<i64>,
    proof_age_seconds: Option<i64>,
    missed: usize,
}

impl DrillRow {
    fn new(drill: &ObservedDrill<'_>, asset: &ObservedAsset, now: Timestamp) -> Self {
        let newest = asset.newest_evidence();
        let missed = |e: &SlotEntry| e.state == SlotState::Missed;
        Self {
            drill: drill.drill.to_string(),
            kind: drill.rule.kind.to_string(),
            asset: format!("{}/{}", drill.group, asset.asset),
            next: drill.calendar.next_slots(now, 1).first().copied(),
            last: newest.map(|e| e.finished_at),
            verdict: newest.map_or_else(|| "never run".into(), |e| e.verdict.label().into()),
            rto_seconds: newest.and_then(|e| e.measured.rto_seconds),
            rpo_seconds: newest.and_then(|e| e.measured.rpo_seconds),
            proof_age_seconds: asset.proven_at.map(|at| now.duration_since(at).as_secs().max(0)),
            missed: list_slots(drill, asset, now).iter().filter(|e| missed(e)).count(),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct DrillListOutput(Vec<DrillRow>);

impl CommandOutput for DrillListOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.0.is_empty() {
            return "the policy has no drills: nothing proves that its backups can be restored"
                .into();
        }
        let head =
            ["drill", "kind", "asset", "next", "last", "verdict", "rto", "rpo", "proof", "missed"];
        let time = |at: Option<Timestamp>| at.map_or_else(|| PLACEHOLDER.to_owned(), format_time);
        let rows = self.0.iter().map(|row| {
            vec![
                row.drill.clone(),
                row.kind.clone(),
                row.asset.clone(),
                time(row.next),
                time(row.last),
                row.verdict.clone(),
                format_rto(row.rto_seconds),
                format_rpo(row.rpo_seconds),
                row.proof_age_seconds.map_or_else(|| "never".to_owned(), format_age),
                row.missed.to_string(),
            ]
        });
        look.render_table(&head, rows)
    }
}

/// The calendars and the newest evidence.
pub(super) async fn show(
    session: &CommandContext<'_>,
    name: Option<&str>,
    as_markdown: bool,
) -> anyhow::Result<CommandExit> {
    if let Some(name) = name {
        find_drill(session, name)?;
    }
    let mut overview = read_overview(session).await;
    overview.drills.retain(|d| name.is_none_or(|n| d.drill.as_str() == n));
    let now = session.env.now;
    let key = session.policy.signing.as_ref().and_then(|s| s.public_keys.first());
    let text = markdown::render(
        session.policy.company.as_str(),
        &overview.drills,
        key.map(SigningKey::as_str),
        now,
    );
    if as_markdown {
        output::print_stdout(&text)?;
        return Ok(exit_of(&overview));
    }
    let asset = |drill: &ObservedDrill<'_>, a: &ObservedAsset| ShownAsset {
        asset: format!("{}/{}", drill.group, a.asset),
        proof_age_seconds: a.proven_at.map(|at| now.duration_since(at).as_secs().max(0)),
        slots: list_slots(drill, a, now),
        newest: a.newest_evidence().cloned(),
    };
    let drills = overview.drills.iter().map(|d| ShownDrill {
        drill: d.drill.to_string(),
        next: d.calendar.next_slots(now, 3),
        assets: d.assets.iter().map(|a| asset(d, a)).collect(),
    });
    session.output.print_output(&DrillShowOutput { drills: drills.collect(), text })?;
    Ok(exit_of(&overview))
}

#[derive(Serialize)]
struct DrillShowOutput {
    drills: Vec<ShownDrill>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct ShownDrill {
    drill: String,
    next: Vec<Timestamp>,
    assets: Vec<ShownAsset>,
}

#[derive(Serialize)]
struct ShownAsset {
    asset: String,
    proof_age_seconds: Option<i64>,
    slots: Vec<SlotEntry>,
    newest: Option<DrillEvidence>,
}

impl CommandOutput for DrillShowOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        self.text.clone()
    }
}

/// Whether a file is evidence, by the policy's keys or by one key alone.
pub(super) async fn verify_evidence(
    global: &GlobalArgs,
    edge: &CommandEnv,
    file: &Path,
    public_key: Option<&str>,
) -> anyhow::Result<CommandExit> {
    let json = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let beside = signature_name(&file.to_string_lossy());
    let signature = std::fs::read(&beside).ok();
    let evidence = DrillEvidence::parse(&json).map_err(|why| {
        CommandError::with_exit(CommandExit::Failed, format!("{}: {why}", file.display()))
    })?;
    let (owner, verifier) = if let Some(key) = public_key {
        let key: PublicKey = key.parse().map_err(CommandError::usage)?;
        let owner = evidence.owner.clone();
        (owner.clone(), Some(MinisignVerifier::new(owner, vec![key])))
    } else {
        let policy = load_policy(&global.policy, &offline_clients()).await?;
        (policy.owner(), MinisignVerifier::from_policy(&policy))
    };
    let signed = verifier.is_some();
    let trust = EvidenceTrust { owner, verifier, now: edge.now };
    let checked = trust.evaluate(&evidence.key(), &json, signature.as_deref());
    let evidence = checked.map_err(|why| {
        CommandError::with_exit(CommandExit::Failed, format!("{}: {why}", file.display()))
    })?;
    let sha256 = evidence.sha256();
    OutputWriter::new(global.json).print_output(&EvidenceOutput { signed, sha256, evidence })?;
    Ok(CommandExit::Success)
}

#[derive(Serialize)]
struct EvidenceOutput {
    signed: bool,
    sha256: String,
    evidence: DrillEvidence,
}

impl CommandOutput for EvidenceOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let e = &self.evidence;
        let how = if self.signed {
            "signed and unchanged"
        } else {
            "consistent, and the policy signs nothing"
        };
        let injected =
            e.injected.map(|f| format!(", with the fault {f} injected")).unwrap_or_default();
        format!(
            "{how}: drill {} of {}/{} at {} is {}{injected}\nsha256 {}",
            e.drill,
            e.group,
            e.asset,
            format_time(e.slot),
            e.verdict.label(),
            self.sha256
        )
    }
}
