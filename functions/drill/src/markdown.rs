//! Drills for people: what an auditor reads, with all that it takes to repeat it.

use crate::{
    evidence::{DrillEvidence, DrillTrigger, DrillVerdict},
    plan::{ObservedAsset, ObservedDrill},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use shared::{signing::signature_name, time::format_duration};
use std::fmt::Write as _;

/// Slots that are shown.
const MAX_SHOWN_SLOTS: usize = 24;

/// What became of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// It was proven.
    Kept,
    /// It failed.
    Failed,
    /// It could not be carried out.
    CouldNotVerify,
    /// It did not begin in time.
    Missed,
    /// It may still begin.
    Open,
}

/// A slot of one asset, or a drill of it by hand.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotEntry {
    /// When it was due; of one by hand, when it began.
    pub slot: Timestamp,
    /// What became of it.
    pub state: SlotState,
    /// Whether somebody asked for it.
    pub by_hand: bool,
    /// The recovery time that was measured, in seconds.
    pub rto_seconds: Option<f64>,
    /// The age of its data, in seconds.
    pub rpo_seconds: Option<i64>,
    /// Key of the evidence below the store's prefix.
    pub evidence: Option<String>,
}

impl SlotState {
    fn of(evidence: &DrillEvidence) -> Self {
        match (evidence.trigger, evidence.verdict) {
            (DrillTrigger::Missed, _) => Self::Missed,
            (_, DrillVerdict::Proven) => Self::Kept,
            (_, DrillVerdict::Failed) => Self::Failed,
            (_, DrillVerdict::CouldNotVerify) => Self::CouldNotVerify,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Failed => "**FAILED**",
            Self::CouldNotVerify => "**could not verify**",
            Self::Missed => "**MISSED**",
            Self::Open => "open",
        }
    }
}

/// The slots of an asset since its first evidence, oldest first, with drills by hand in between. Slots without evidence are
/// shown as missed where every asset has its turn in every slot.
pub fn list_slots(
    drill: &ObservedDrill<'_>,
    asset: &ObservedAsset,
    now: Timestamp,
) -> Vec<SlotEntry> {
    let real: Vec<_> = asset.evidence.iter().filter(|e| e.injected.is_none()).collect();
    let entry = |e: &&DrillEvidence| SlotEntry {
        slot: e.slot,
        state: SlotState::of(e),
        by_hand: e.trigger == DrillTrigger::Manual,
        rto_seconds: e.measured.rto_seconds,
        rpo_seconds: e.measured.rpo_seconds,
        evidence: Some(e.key()),
    };
    let mut all: Vec<SlotEntry> = real.iter().map(entry).collect();
    if let Some(first) = real.first().filter(|_| drill.rule.rotate.is_none()) {
        let slots = drill.calendar.slots_between(first.slot, now, MAX_SHOWN_SLOTS);
        for slot in slots.into_iter().filter(|slot| asset.evidence_of_slot(*slot).is_none()) {
            let open = drill.calendar.is_open(slot, now);
            let state = if open { SlotState::Open } else { SlotState::Missed };
            all.push(SlotEntry {
                slot,
                state,
                by_hand: false,
                rto_seconds: None,
                rpo_seconds: None,
                evidence: None,
            });
        }
    }
    all.sort_by_key(|e| e.slot);
    all.split_off(all.len().saturating_sub(MAX_SHOWN_SLOTS))
}

/// A report of drills: for each its calendar, its figures, and its newest evidence. `public_key` is the one that signs.
pub fn render(
    company: &str,
    drills: &[ObservedDrill<'_>],
    public_key: Option<&str>,
    now: Timestamp,
) -> String {
    let mut text = format!("# Restore drills of {company}\n\nAs of {}.\n", format_time(now));
    for drill in drills {
        render_drill(&mut text, drill, now);
    }
    text.push_str("\n## How to check this\n\n");
    match public_key {
        Some(key) => {
            let _ = writeln!(
                text,
                "Each evidence is a file beside the backups, written once, with its signature beside it. Without Holdfast:\n\n\
                 ```\nminisign -V -P {key} -m EVIDENCE.json\n```\n\nThe signature's trusted comment names owner and key of the file."
            );
        }
        None => text.push_str(
            "The policy signs nothing, so whoever can write into the store can write evidence. Add `signing` to the policy.\n",
        ),
    }
    text
}

fn render_drill(text: &mut String, drill: &ObservedDrill<'_>, now: Timestamp) {
    let rule = drill.rule;
    let _ = writeln!(text, "\n## {}\n", drill.drill);
    let next = drill.calendar.next_slots(now, 3);
    let next: Vec<_> = next.into_iter().map(format_time).collect();
    let mut facts = vec![
        ("kind", rule.kind.to_string()),
        ("group", drill.group.to_string()),
        ("schedule", format!("`{}`", rule.schedule.cron)),
        ("recovery point", rule.point.to_string()),
        ("next", next.join(", ")),
    ];
    if let Some(rto) = &rule.rto {
        facts.push(("RTO", rto.to_string()));
    }
    if let Some(rpo) = &rule.rpo {
        facts.push(("RPO", rpo.to_string()));
    }
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in facts {
        let _ = writeln!(text, "| {name} | {} |", escape_cell(&value));
    }
    for asset in &drill.assets {
        render_asset(text, drill, asset, now);
    }
}

fn render_asset(
    text: &mut String,
    drill: &ObservedDrill<'_>,
    asset: &ObservedAsset,
    now: Timestamp,
) {
    let _ = writeln!(text, "\n### {}/{}\n", drill.group, escape_cell(&asset.asset));
    let proven = asset.proven_at.map_or("no restore of it was ever proven".into(), |at| {
        let age = format_duration(now.duration_since(at));
        format!("a restore of it was last proven {age} ago, at {}", format_time(at))
    });
    let slots = list_slots(drill, asset, now);
    let count = |state| slots.iter().filter(|s| s.state == state).count();
    let _ = writeln!(
        text,
        "Age of proof: {proven}. Of what is shown: {} kept, {} failed, {} could not be verified, {} missed.",
        count(SlotState::Kept),
        count(SlotState::Failed),
        count(SlotState::CouldNotVerify),
        count(SlotState::Missed),
    );
    if !slots.is_empty() {
        text.push_str("\n| slot | result | RTO | RPO | evidence |\n|---|---|---|---|---|\n");
    }
    for entry in slots.iter().rev() {
        let hand = if entry.by_hand { ", by hand" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {}{hand} | {} | {} | {} |",
            format_time(entry.slot),
            entry.state.label(),
            entry.rto_seconds.map_or("-".into(), |s| format!("{s:.1} s")),
            entry.rpo_seconds.map_or("-".into(), format_age),
            entry.evidence.as_deref().map_or("-".into(), |key| format!("`{}`", escape_cell(key))),
        );
    }
    if let Some(newest) = asset.newest_evidence() {
        text.push('\n');
        render_evidence(text, newest);
    }
}

/// One evidence, with all that it says.
pub fn render_evidence(text: &mut String, e: &DrillEvidence) {
    let _ = writeln!(
        text,
        "#### {} of {}: {}\n",
        escape_cell(&e.drill),
        format_time(e.slot),
        e.verdict.label()
    );
    let mut facts = vec![("asset", format!("{}/{}", e.group, e.asset))];
    if let Some(fault) = e.injected {
        facts.push(("injected fault", format!("{fault}: this says nothing about the asset")));
    }
    if !e.reason.is_empty() {
        facts.push(("reason", e.reason.clone()));
    }
    if let Some(p) = &e.point {
        let seed = p.selection.seed.as_ref().map(|s| format!(", seed `{s}`")).unwrap_or_default();
        facts.push(("recovery point", format!("`{}`, {} bytes", p.uri, p.bytes)));
        facts.push(("its SHA-256", p.sha256.clone()));
        facts.push(("data of", format_time(p.data_time)));
        let (choice, of) = (p.selection.choice, p.selection.candidates);
        facts.push(("chosen", format!("{choice} of {of}{seed}")));
    }
    facts.extend(e.restored_on.iter().map(|on| ("restored on", on.clone())));
    facts.push((
        "from, to",
        format!("{} to {}", format_time(e.started_at), format_time(e.finished_at)),
    ));
    let o = &e.objectives;
    let kept = |met: Option<bool>| match met {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "not measured",
    };
    if let Some(rto) = e.measured.rto_seconds {
        let allowed = o.rto_seconds.map_or("no objective".into(), |most| {
            format!("objective {}, {}", format_age(most), kept(o.rto_met))
        });
        facts.push(("RTO measured", format!("{rto:.1} s ({allowed})")));
    }
    if let Some(rpo) = e.measured.rpo_seconds {
        let allowed = o.rpo_seconds.map_or("no objective".into(), |most| {
            format!("objective {}, {}", format_age(most), kept(o.rpo_met))
        });
        facts.push(("RPO measured", format!("{} ({allowed})", format_age(rpo))));
    }
    let phases: Vec<_> =
        e.measured.phases.iter().map(|p| format!("{} {:.1} s", p.phase, p.seconds)).collect();
    facts.push(("phases", phases.join(", ")));
    let user = e.by.user.as_deref().unwrap_or("nobody in person");
    facts.push((
        "carried out by",
        format!("{user}, run {}, Holdfast {}", e.by.run_id, e.by.holdfast),
    ));
    facts.push(("rule's SHA-256", e.by.rule_sha256.clone()));
    facts.push(("evidence", format!("`{}`, SHA-256 {}", e.key(), e.sha256())));
    facts.push(("signature", format!("`{}`", signature_name(&e.key()))));
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in facts.iter().filter(|f| !f.1.is_empty()) {
        let _ = writeln!(text, "| {name} | {} |", escape_cell(value));
    }
    if !e.checks.is_empty() {
        text.push_str("\n| check | result | seen |\n|---|---|---|\n");
    }
    for check in &e.checks {
        let status = if check.status == "failed" { "**failed**" } else { &check.status };
        let _ = writeln!(
            text,
            "| {} | {status} | {} |",
            escape_cell(&check.name),
            escape_cell(&check.detail)
        );
    }
    if !e.checklist.is_empty() {
        text.push_str("\nThe operators' checklist. No line is ticked by a drill; a person signs for each:\n\n");
        for line in &e.checklist {
            let _ = writeln!(text, "- [ ] {}", escape_cell(&line.text));
        }
    }
    if !e.not_tested.is_empty() {
        let all: Vec<_> = e.not_tested.iter().map(|t| escape_cell(t)).collect();
        let _ = writeln!(text, "\nNot tested: {}.", all.join("; "));
    }
}

fn format_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn format_age(seconds: i64) -> String {
    format_duration(SignedDuration::from_secs(seconds))
}

/// Text that can't leave its cell, nor be read as HTML.
fn escape_cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}
