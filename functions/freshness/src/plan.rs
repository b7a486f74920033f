//! How every asset stands against its objectives. Pure: no I/O and no clock.

pub(crate) mod archives;
mod databases;
mod keys;
mod places;
mod quota;
mod settings;
mod stored;
mod values;

pub use archives::ObservedArchive;
pub(crate) use keys::keys_to_describe;
pub use settings::UpdateBackupSettings;
pub use stored::{ChecksumStatus, ObjectAsset, ObjectRecoveryPoint, PointSchedule, object_assets};

use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::{OperationError, kms::KeyState, rds::SnapshotQuotas},
    catalog::{Inventory, Location, ObservationError},
    metrics::MetricValue,
    objective::AgeObjective,
    observe::{DatabaseSelection, select_databases},
    parts::{self, PolicySection},
    plan::{ActionPlan, Finding, FindingCode, Severity},
    policy::Policy,
    report::{AssetCoverage, AssetStatus},
};
use std::collections::BTreeMap;

/// Everything that was looked at.
#[derive(Clone, Debug, Default)]
pub struct FreshnessObservations {
    /// Databases and snapshots, at home and at destinations.
    pub rds: Inventory,
    /// By resource id, the earliest restorable time of each instance with automated backups, if RDS tells one; none when RDS
    /// was not asked.
    pub earliest: Option<BTreeMap<String, Option<Timestamp>>>,
    /// What lies as objects, an entry for each asset.
    pub object_assets: Vec<ObjectAsset>,
    /// WAL archives with their servers.
    pub archives: Vec<ObservedArchive>,
    /// Stores that could not be read.
    pub observation_errors: Vec<ObservationError>,
    /// By ARN, whether a KMS key can decrypt, or why that could not be asked.
    pub keys: BTreeMap<String, Result<KeyState, OperationError>>,
    /// The limits on manual snapshots at each place, or why they could not be asked.
    pub quotas: BTreeMap<Location, Result<SnapshotQuotas, OperationError>>,
}

/// How an asset stands, with what is published of it.
#[derive(Clone, Debug)]
pub(crate) struct FreshnessEvaluation {
    pub(crate) standing: AssetStatus,
    pub(crate) findings: Vec<Finding>,
    pub(crate) setting_updates: Vec<(UpdateBackupSettings, String)>,
    pub(crate) drift: usize,
    pub(crate) restorable_lag: Option<SignedDuration>,
    /// Whether a restore window is asked of it; a lag that is missing then is not a small one.
    pub(crate) window_wanted: bool,
    /// Good points that it has, where they were counted.
    pub(crate) points: Option<usize>,
    /// The newest point's size against the median of those before it, as a share of that: -0.5 is half of it.
    pub(crate) max_size_deviation: Option<f64>,
}

impl FreshnessEvaluation {
    fn new(group: &str, asset: &str) -> Self {
        Self {
            standing: AssetStatus::new(group, asset),
            findings: Vec::new(),
            setting_updates: Vec::new(),
            drift: 0,
            restorable_lag: None,
            window_wanted: false,
            points: None,
            max_size_deviation: None,
        }
    }

    fn push_finding(
        &mut self,
        severity: Severity,
        what: FindingCode,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = Finding::new(severity, &self.standing.asset, what, why, hint);
        self.findings.push(finding.in_group(&self.standing.group));
    }

    /// What its age is held against.
    fn set_objective(&mut self, objective: Option<AgeObjective>) {
        self.standing.max_age_seconds = objective.map(|o| o.max_age.as_secs());
        self.standing.max_age_derived = objective.is_some_and(|o| o.derived);
        self.standing.coverage =
            if objective.is_some() { AssetCoverage::Watched } else { AssetCoverage::NotWatched };
    }

    /// There is a point: where nothing says how old it may be, that is said.
    fn warn_if_not_watched(&mut self) {
        if self.standing.coverage == AssetCoverage::NotWatched {
            let why = "no objective is written and no schedule implies one, so nobody knows when its newest point is too old";
            let hint = "write objectives.max_age in its group";
            self.push_finding(Severity::Warning, FindingCode::NotWatched, why, hint);
        }
    }

    /// Whether something of these was found.
    fn has_finding(&self, what: &[FindingCode]) -> bool {
        self.findings.iter().any(|f| what.contains(&f.code))
    }

    /// A critical finding.
    fn push_critical(
        &mut self,
        what: FindingCode,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push_finding(Severity::Critical, what, why, hint);
    }
}

/// What a plan comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FreshnessPlan {
    /// What is fixed, where the policy says so, and every finding.
    pub plan: ActionPlan<UpdateBackupSettings>,
    /// How each asset stands.
    pub assets: Vec<AssetStatus>,
    /// Values to publish.
    pub values: Vec<MetricValue>,
}

/// Judges every asset at `now`.
pub fn plan(policy: &Policy, facts: &FreshnessObservations, now: Timestamp) -> FreshnessPlan {
    let gaps: Vec<_> = facts.rds.errors.iter().chain(&facts.observation_errors).collect();
    let mut judged = Vec::new();
    let mut out = FreshnessPlan::default();
    out.plan.findings.extend(gaps.iter().map(|g| Finding::from_observation_error(g)));
    let mut unprotected = None;
    let mut selected_findings = Vec::new();
    if let Some(home) = facts.rds.at_location(&Location::home_from_policy(policy)) {
        let selected = select_databases(policy, &home.databases);
        judged.extend(databases::evaluate_databases(policy, facts, &selected, now));
        unprotected = Some(find_unprotected(&mut out, &selected));
        out.plan.findings.extend(quota::evaluate_quotas(policy, facts, &selected, now));
        out.plan.findings.extend(keys::unknown_key_findings(facts));
        selected_findings = selected.findings;
    }
    let not_run = parts::unimplemented_parts(policy);
    selected_findings.extend(not_run.iter().map(parts::UnimplementedPart::to_finding));
    judged.extend(facts.object_assets.iter().map(|s| places::evaluate_object_asset(s, now)));
    judged.extend(facts.archives.iter().map(|a| archives::evaluate_archive(policy, a, now)));
    let disks = places::check_disks(policy, &facts.object_assets);
    selected_findings.extend(disks.findings.clone());
    values::collect_metrics(
        policy,
        &mut out,
        &judged,
        &selected_findings,
        unprotected,
        !gaps.is_empty(),
    );
    values::collect_extra_metrics(&mut out, &judged, &disks);
    out.plan.findings.extend(selected_findings);
    for mut one in judged {
        one.standing.max_severity =
            one.findings.iter().map(|f| f.severity).max().filter(|s| *s > Severity::Info);
        let telling = one.findings.iter().filter(|f| f.severity > Severity::Info);
        one.standing.messages = telling.map(|f| f.message.clone()).collect();
        for (hint, because) in one.setting_updates {
            out.plan.push_step(&one.standing.asset, hint, because);
        }
        out.plan.findings.extend(one.findings);
        out.assets.push(one.standing);
    }
    add_missing_assets(policy, &mut out, &not_run);
    out
}

/// The rows of what no database or store stands for: groups that match nothing, names that are not there, parts that
/// nothing runs, and whatever else the policy names and nobody could see.
fn add_missing_assets(
    policy: &Policy,
    out: &mut FreshnessPlan,
    not_run: &[parts::UnimplementedPart],
) {
    out.assets.extend(not_run.iter().map(parts::UnimplementedPart::to_asset_status));
    let lacking = |f: &&Finding| {
        matches!(f.code, FindingCode::DatabaseMissing | FindingCode::TooFewDatabases)
    };
    for finding in out.plan.findings.iter().filter(lacking) {
        let Some(group) = &finding.group else { continue };
        let there = |s: &&mut AssetStatus| s.group == *group && s.asset == finding.asset;
        if let Some(standing) = out.assets.iter_mut().find(there) {
            standing.add_finding(finding);
        } else {
            let mut standing = AssetStatus::new(group, &finding.asset);
            standing.add_finding(finding);
            out.assets.push(standing);
        }
    }
    // Buckets are seen by `replication`, secrets by `secrets`.
    let unseen = parts::add_missing_assets(policy, &mut out.assets, |s| {
        !matches!(s, PolicySection::Buckets | PolicySection::Secrets)
    });
    // What is behind a gap is told by the gap.
    if !out.plan.findings.iter().any(|f| f.code == FindingCode::ObservationFailed) {
        out.plan.findings.extend(unseen);
    }
}

fn find_unprotected(out: &mut FreshnessPlan, selected: &DatabaseSelection<'_>) -> usize {
    for database in &selected.unprotected {
        let why = "no group of the policy selects it, so nothing backs it up";
        let hint = "select it in a group, or name it under exclude";
        out.plan.findings.push(Finding::new(
            Severity::Critical,
            &database.id,
            FindingCode::Unprotected,
            why,
            hint,
        ));
    }
    selected.unprotected.len()
}

/// Clocks of AWS and of a host may differ by this much before a point counts as one from the future.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The age of data, never negative; none when it is from the future, which proves nothing.
fn data_age(at: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let age = now.duration_since(at);
    (age >= -MAX_CLOCK_SKEW).then(|| age.max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests;
