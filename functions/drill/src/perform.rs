//! Carrying out one drill of one asset: from the choice of a recovery point to the evidence.

use crate::{
    choose::{PointSelection, choose_point},
    evidence::{
        ChecklistLine, ChecklistState, DrillEvidence, DrillExecutor, DrillFault, DrillMeasurements,
        DrillObjectives, DrillPhase, DrillTrigger, DrillVerdict, EVIDENCE_VERSION, EvidenceCheck,
        TestedPoint,
    },
    inject,
    observe::GroupInventory,
    plan::{DrillTask, ObservedDrill},
    scratch::{describe_target, open_scratch_target},
};
use jiff::Timestamp;
use restore::{
    BackupKeys, RestoreChecks, RestoreError, ScratchTarget, VerificationReport,
    VerificationVerdict, VerifyOptions,
    verify::{CheckStatus, check_size, could_not_verify},
    verify_full, verify_quick,
};
use sha2::{Digest, Sha256};
use shared::{
    aws::OperationError,
    policy::{DrillKind, DrillRule, PointChoice, text::Period},
    run::RunContext,
    secret::SecretResolver,
    words::hex_encode,
};
use std::time::Duration;
use storage::StoredBackup;
use tokio::time::Instant;

/// What every drill of a run has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrillContext<'a> {
    pub(crate) world: &'a RunContext<'a>,
    pub(crate) secrets: &'a SecretResolver<'a>,
    /// When the run began.
    pub(crate) began: Instant,
}

impl DrillContext<'_> {
    /// Now, as far as the run has come.
    pub(crate) fn current_time(&self) -> Timestamp {
        self.world.now.checked_add(self.began.elapsed()).unwrap_or(self.world.now)
    }
}

/// What sets a drill off, and what is broken on purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrillMode {
    pub(crate) trigger: DrillTrigger,
    pub(crate) fault: Option<DrillFault>,
}

/// What was tried, and where.
struct DrillAttempt {
    report: VerificationReport,
    restored_on: Option<String>,
}

/// Carries out a drill. Whatever goes wrong is in the evidence.
pub(crate) async fn carry_out(
    ctx: &DrillContext<'_>,
    drill: &ObservedDrill<'_>,
    group: &GroupInventory<'_>,
    task: &DrillTask,
    mode: DrillMode,
) -> DrillEvidence {
    let began = Instant::now();
    let started_at = ctx.current_time();
    let blank = blank_evidence(ctx, drill, task, mode, started_at);
    let candidates = drill.assets.iter().find(|a| a.asset == task.asset);
    let candidates = candidates.map_or(&[][..], |a| &a.candidates);
    let max_age = drill.rule.point_max_age.as_ref().map(Period::duration);
    let subject = format!("{}|{}|{}/{}", task.drill, task.slot, task.group, task.asset);
    let chosen = choose_point(candidates, drill.rule.point, max_age, &subject, started_at);
    let chosen = chosen.and_then(|(c, s)| Some((group.backup(&task.asset, &c.key)?, s)));
    let Some((backup, selection)) = chosen else {
        // An asset without a recovery point can't be recovered, which is as bad as it gets.
        let reason = "there is no recovery point of it that could be restored".to_owned();
        let finished_at = ctx.current_time();
        return DrillEvidence { verdict: DrillVerdict::Failed, reason, finished_at, ..blank };
    };
    let unencrypted = backup.committed_manifest().is_some_and(|m| m.layers.encryption.is_none());
    let point = Some(tested_point(backup, selection));
    let rto = objective(drill.rule.rto.as_ref(), group.rules.objectives.rto.as_ref());
    let impossible = match mode.fault {
        Some(DrillFault::WrongKey) if unencrypted => {
            Some("it is not encrypted, so no key is wrong")
        }
        Some(DrillFault::Slow) if rto.is_none() => Some("there is no rto that it could miss"),
        Some(DrillFault::Empty | DrillFault::FailedRestore) if task.kind == DrillKind::Quick => {
            Some("a quick drill restores nothing")
        }
        _ => None,
    };
    if let Some(why) = impossible {
        let (verdict, reason) = (DrillVerdict::CouldNotVerify, why.to_owned());
        let finished_at = ctx.current_time();
        return DrillEvidence { verdict, reason, point, finished_at, ..blank };
    }
    let attempt = Box::pin(attempt(ctx, drill, group, task, mode.fault, backup)).await;
    let finished_at = ctx.current_time();
    let measured = measure(&attempt.report, began.elapsed(), rto, mode.fault);
    let judged = Judgement { started_at, measured, rto, rule: drill.rule, group };
    judged.into_evidence(blank, point, attempt, finished_at)
}

/// Tries it; what can't be tried is a report too.
async fn attempt(
    ctx: &DrillContext<'_>,
    drill: &ObservedDrill<'_>,
    group: &GroupInventory<'_>,
    task: &DrillTask,
    fault: Option<DrillFault>,
    backup: &StoredBackup,
) -> DrillAttempt {
    let untried =
        |e: &RestoreError| DrillAttempt { report: could_not_verify(backup, e), restored_on: None };
    let keys = match fault {
        Some(DrillFault::WrongKey) => Ok(inject::wrong_keys(group.rules)),
        _ => BackupKeys::resolve_keys(ctx.secrets, group.rules, &[]).await,
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(e) => return untried(&e.into()),
    };
    let folder = tempfile::tempdir();
    let store = match (fault, &folder) {
        (Some(DrillFault::Truncate), Ok(folder)) => {
            inject::copy_truncated(&group.place.store, backup, folder.path()).await
        }
        (Some(DrillFault::Truncate), Err(e)) => {
            Err(OperationError::from_message("make a folder".to_owned(), e.to_string()))
        }
        _ => Ok(group.place.store.clone()),
    };
    let store = match store {
        Ok(store) => store,
        Err(e) => return untried(&e.into()),
    };
    let earlier = group.earlier_sizes(&task.asset, backup);
    let max_size_deviation = group.rules.objectives.max_size_deviation.as_ref();
    let max_size_deviation = max_size_deviation.map(shared::policy::text::Percentage::fraction);
    if task.kind == DrillKind::Quick {
        let mut report = verify_quick(&store, backup, &keys).await;
        if let Some(size) = check_size(backup, &earlier, max_size_deviation) {
            if size.status == CheckStatus::Failed {
                (report.verdict, report.is_good) = (VerificationVerdict::Bad, false);
            }
            report.checks.push(size);
        }
        return DrillAttempt { report, restored_on: None };
    }
    let scratch = drill.rule.scratch.clone().or_else(|| ctx.world.policy.scratch_for(group.rules));
    let scratch = scratch.unwrap_or_default();
    let target = match open_scratch_target(ctx.world, ctx.secrets, group.rules, &scratch).await {
        Ok(target) => target,
        Err(e) => return untried(&e),
    };
    let restored_on = Some(describe_target(&target));
    let checks = restore_checks(drill.rule, group);
    let options = VerifyOptions {
        scratch: &target,
        run: &ctx.world.run_id,
        jobs: 2,
        checks: &checks,
        earlier: &earlier,
        max_size_deviation,
        fault: inject::engine_fault(fault),
    };
    let tried = Box::pin(verify_full(&store, backup, &keys, &options)).await;
    stop(target).await;
    match tried {
        Ok(report) => DrillAttempt { report, restored_on },
        Err(e) => untried(&e),
    }
}

async fn stop(target: ScratchTarget) {
    target.stop_servers().await;
}

/// What must be true: the group's checks and the drill's own.
fn restore_checks(rule: &DrillRule, group: &GroupInventory<'_>) -> RestoreChecks {
    let mut checks = RestoreChecks::from_policy(group.rules);
    checks.checks.extend(rule.checks.iter().map(|(name, sql)| (name.to_string(), sql.clone())));
    checks.newest_row.clone_from(&rule.newest_row);
    if let Some(limit) = &rule.check_timeout {
        checks.timeout = Duration::try_from(limit.duration()).unwrap_or(checks.timeout);
    }
    checks
}

fn objective(own: Option<&Period>, group: Option<&Period>) -> Option<i64> {
    own.or(group).map(|p| p.duration().as_secs())
}

fn tested_point(backup: &StoredBackup, selection: PointSelection) -> TestedPoint {
    let manifest = backup.committed_manifest();
    TestedPoint {
        uri: backup.uri.clone(),
        sha256: manifest.map(|m| m.file.sha256.clone()).unwrap_or_default(),
        bytes: backup.size,
        data_time: backup.data_time().unwrap_or(Timestamp::UNIX_EPOCH),
        selection,
    }
}

/// The phases, and what is left of the total as one of its own.
fn measure(
    report: &VerificationReport,
    elapsed: Duration,
    rto: Option<i64>,
    fault: Option<DrillFault>,
) -> DrillMeasurements {
    let phase = |d: &restore::verify::PhaseDuration| DrillPhase {
        phase: d.phase.clone(),
        seconds: d.seconds,
    };
    let mut phases: Vec<_> = report.durations.iter().map(phase).collect();
    let known: f64 = phases.iter().map(|p| p.seconds).sum();
    let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let rest = round((elapsed.as_secs_f64() - known).max(0.001));
    phases.push(DrillPhase { phase: "prepare and clean up".into(), seconds: rest });
    if let (Some(DrillFault::Slow), Some(rto), Some(first)) = (fault, rto, phases.first_mut()) {
        #[expect(clippy::cast_precision_loss, reason = "seconds of an objective")]
        let late = rto as f64;
        first.seconds = round(first.seconds + late);
    }
    let total = round(phases.iter().map(|p| p.seconds).sum());
    let newest_row = report.newest_row;
    DrillMeasurements { rto_seconds: Some(total), rpo_seconds: None, newest_row, phases }
}

/// What a drill's evidence says before anything was done.
pub(crate) fn blank_evidence(
    ctx: &DrillContext<'_>,
    drill: &ObservedDrill<'_>,
    task: &DrillTask,
    mode: DrillMode,
    started_at: Timestamp,
) -> DrillEvidence {
    let asset = drill.assets.iter().find(|a| a.asset == task.asset);
    let previous = asset.and_then(|a| a.evidence.iter().rfind(|e| e.injected.is_none()));
    let rule = serde_json::to_vec(drill.rule).expect("a rule is plain data");
    let line =
        |text: &String| ChecklistLine { text: text.clone(), state: ChecklistState::NotProven };
    DrillEvidence {
        evidence: EVIDENCE_VERSION,
        owner: ctx.world.policy.owner(),
        drill: task.drill.to_string(),
        kind: task.kind,
        group: task.group.to_string(),
        asset: task.asset.clone(),
        slot: task.slot,
        trigger: mode.trigger,
        injected: mode.fault,
        verdict: DrillVerdict::CouldNotVerify,
        reason: String::new(),
        point: None,
        restored_on: None,
        started_at,
        finished_at: started_at,
        measured: DrillMeasurements::default(),
        objectives: DrillObjectives::default(),
        checks: Vec::new(),
        checklist: drill.rule.checklist.iter().map(line).collect(),
        not_tested: Vec::new(),
        by: DrillExecutor {
            run_id: ctx.world.run_id.clone(),
            user: ctx.world.user.clone(),
            holdfast: env!("CARGO_PKG_VERSION").into(),
            rule_sha256: hex_encode(&Sha256::digest(rule)),
        },
        previous_sha256: previous.map(DrillEvidence::sha256),
    }
}

/// What decides over the verdict.
struct Judgement<'j, 'p> {
    started_at: Timestamp,
    measured: DrillMeasurements,
    rto: Option<i64>,
    rule: &'j DrillRule,
    group: &'j GroupInventory<'p>,
}

impl Judgement<'_, '_> {
    fn into_evidence(
        mut self,
        blank: DrillEvidence,
        point: Option<TestedPoint>,
        attempt: DrillAttempt,
        finished_at: Timestamp,
    ) -> DrillEvidence {
        let DrillAttempt { report, restored_on } = attempt;
        let data_time = self.measured.newest_row.or(point.as_ref().map(|p| p.data_time));
        let lost = data_time.map(|at| self.started_at.duration_since(at).as_secs().max(0));
        // Only the newest says how much would be lost.
        self.measured.rpo_seconds = lost.filter(|_| self.rule.point == PointChoice::Newest);
        let tried = restored_on.is_some() || blank.kind == DrillKind::Quick;
        let objectives = self.objectives(tried);
        let (verdict, reason) = evaluate(&report, &objectives, &self.measured);
        let check = |c: &restore::verify::CheckResult| EvidenceCheck {
            name: c.name.clone(),
            status: match c.status {
                CheckStatus::Passed => "passed",
                CheckStatus::Failed => "failed",
                CheckStatus::Skipped => "skipped",
            }
            .to_owned(),
            detail: c.detail.clone(),
        };
        let checks: Vec<_> = report.checks.iter().map(check).collect();
        let mut not_tested = vec!["that the application works with it".to_owned()];
        if blank.kind == DrillKind::Quick {
            not_tested.push("that it can be restored: it was read and hashed alone".into());
        }
        not_tested.extend(
            checks
                .iter()
                .filter(|c| c.status == "skipped")
                .map(|c| format!("{}: {}", c.name, c.detail)),
        );
        let measured = self.measured;
        DrillEvidence {
            verdict,
            reason,
            point,
            restored_on,
            finished_at,
            measured,
            objectives,
            checks,
            not_tested,
            ..blank
        }
    }

    fn objectives(&self, tried: bool) -> DrillObjectives {
        let newest = self.rule.point == PointChoice::Newest;
        let group = self.group.rules.objectives.rpo.as_ref().filter(|_| newest);
        let rpo_seconds = objective(self.rule.rpo.as_ref(), group);
        #[expect(clippy::cast_precision_loss, reason = "seconds of an objective")]
        let met = |total: f64, most: i64| total <= most as f64;
        let (total, lost) = (self.measured.rto_seconds, self.measured.rpo_seconds);
        DrillObjectives {
            rto_seconds: self.rto,
            rto_met: total.zip(self.rto).filter(|_| tried).map(|(total, most)| met(total, most)),
            rpo_seconds,
            rpo_met: lost.zip(rpo_seconds).filter(|_| tried).map(|(lost, most)| lost <= most),
        }
    }
}

/// The verdict, and why it is not better.
fn evaluate(
    report: &VerificationReport,
    objectives: &DrillObjectives,
    measured: &DrillMeasurements,
) -> (DrillVerdict, String) {
    let why = || report.failure_reason().unwrap_or_else(|| "a check failed".into());
    match report.verdict {
        VerificationVerdict::WithLosses | VerificationVerdict::Bad => {
            return (DrillVerdict::Failed, why());
        }
        VerificationVerdict::Waiting | VerificationVerdict::CouldNotVerify => {
            return (DrillVerdict::CouldNotVerify, why());
        }
        VerificationVerdict::Good => {}
    }
    let mut missed = Vec::new();
    if objectives.rto_met == Some(false) {
        missed.push(format!(
            "it took {:.1} s, and the RTO is {} s",
            measured.rto_seconds.unwrap_or_default(),
            objectives.rto_seconds.unwrap_or_default()
        ));
    }
    if objectives.rpo_met == Some(false) {
        missed.push(format!(
            "its data was {} s old, and the RPO is {} s",
            measured.rpo_seconds.unwrap_or_default(),
            objectives.rpo_seconds.unwrap_or_default()
        ));
    }
    if !report.checks.iter().any(|c| c.status == CheckStatus::Passed) {
        missed.push("nothing of it was checked".into());
    }
    let verdict = if missed.is_empty() { DrillVerdict::Proven } else { DrillVerdict::Failed };
    (verdict, missed.join("; "))
}
