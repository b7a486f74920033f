//! What differs from the policy, and which versions are to be exported. Pure: no I/O and no clock.

use crate::stored::ExportInventory;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::{
    aws::{
        OperationError,
        kms::KeyState,
        secrets::inventory::{CURRENT, PENDING, PREVIOUS, SecretState},
    },
    metrics::{Metric, MetricValue},
    plan::{ActionPlan, Finding, FindingCode, Operates, Operation, Severity},
    policy::{
        SecretGroup,
        text::{Name, Period},
    },
    report::{AssetCoverage, AssetStatus},
    time::format_duration,
};
use std::{collections::BTreeMap, fmt};

/// A rotation takes minutes; one that is not done after a day does not go on.
const STUCK_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// The sweep runs daily: a version that it has not exported an hour after that is late.
const EXPORT_GRACE: SignedDuration = SignedDuration::from_hours(25);

/// What was observed of a group.
#[derive(Clone, Debug)]
pub struct ObservedGroup<'p> {
    /// Its name.
    pub name: &'p Name,
    /// What the policy says of it.
    pub rules: &'p SecretGroup,
    /// Its secrets, by name.
    pub secrets: Vec<SecretState>,
    /// Creation of each version of a secret, where it was asked for.
    pub version_dates: BTreeMap<String, BTreeMap<String, Timestamp>>,
    /// The secrets of each other region that could be listed, by region and name.
    pub replicas: BTreeMap<String, BTreeMap<String, SecretState>>,
    /// The state of each KMS key.
    pub keys: BTreeMap<String, KeyState>,
    /// Its exports; none where there is no store for them, or it could not be read.
    pub exports: Option<ExportInventory>,
    /// What could not be read: the place, and why.
    pub errors: Vec<(String, OperationError)>,
    /// Whether its secrets could not be listed at all.
    pub unlisted: bool,
    /// Whether only some of its secrets were asked for.
    pub partial: bool,
}

impl<'p> ObservedGroup<'p> {
    /// A group of which nothing is known yet.
    pub fn new(name: &'p Name, rules: &'p SecretGroup) -> Self {
        Self {
            name,
            rules,
            secrets: Vec::new(),
            version_dates: BTreeMap::new(),
            replicas: BTreeMap::new(),
            keys: BTreeMap::new(),
            exports: None,
            errors: Vec::new(),
            unlisted: false,
            partial: false,
        }
    }

    /// When a version was created: from Secrets Manager, else from its export.
    pub fn version_created(&self, secret: &str, version: &str) -> Option<Timestamp> {
        let asked = self.version_dates.get(secret).and_then(|d| d.get(version)).copied();
        let exported = || {
            let all = &self.exports.as_ref()?.exports;
            all.iter().find(|e| e.name == secret && e.version == version)?.created
        };
        asked.or_else(exported)
    }
}

/// One version that is exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportVersion {
    /// The group.
    pub group: String,
    /// The secret, as it was listed.
    #[serde(skip)]
    pub secret: SecretState,
    /// Its version.
    pub version: String,
}

impl fmt::Display for ExportVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "export version {} of {}", self.version, self.secret.name)
    }
}

impl Operates for ExportVersion {
    fn operation(&self) -> Operation {
        Operation::Backup
    }
}

/// What follows from what was observed.
#[derive(Clone, Debug, Default)]
pub struct SecretsPlan {
    /// Exports and findings.
    pub plan: ActionPlan<ExportVersion>,
    /// A row for each group.
    pub assets: Vec<AssetStatus>,
    /// Metrics of each group that was observed as a whole.
    pub values: Vec<MetricValue>,
}

/// Whether the listing alone leaves open how old a secret's value is, or a version of it.
pub(crate) fn needs_version_dates(
    group: &ObservedGroup<'_>,
    secret: &SecretState,
    now: Timestamp,
) -> bool {
    let pending =
        secret.version_with(PENDING).is_some_and(|v| secret.version_with(CURRENT) != Some(v));
    let unexported = group
        .exports
        .as_ref()
        .is_some_and(|e| secret.complete_versions().any(|(v, _)| !e.has(&secret.name, v)));
    pending || unexported || matches!(rotation(group, secret, now), Rotation::Unknown)
}

/// How a secret stands to `rotate_every`.
#[derive(Debug, PartialEq, Eq)]
enum Rotation {
    /// Nothing is asked, or its value is new enough.
    Fine,
    /// Its value is older; for so long at least.
    Old(SignedDuration),
    /// The date of its version in use decides.
    Unknown,
}

/// The age of the value in use is that of its version. A successful rotation, or the secret's creation, within the limit
/// proves it without asking; so does that nothing of the secret changed within it. A change alone proves nothing: a tag is one.
fn rotation(group: &ObservedGroup<'_>, secret: &SecretState, now: Timestamp) -> Rotation {
    let Some(limit) = group.rules.rotate_every.as_ref().map(Period::duration) else {
        return Rotation::Fine;
    };
    let age = |at: Timestamp| now.duration_since(at);
    let recent = |at: Option<Timestamp>| at.is_some_and(|at| age(at) <= limit);
    if recent(secret.rotated) || recent(secret.created) {
        return Rotation::Fine;
    }
    let current = secret.version_with(CURRENT);
    match current.and_then(|v| group.version_created(&secret.name, v)) {
        Some(at) if age(at) <= limit => Rotation::Fine,
        Some(at) => Rotation::Old(age(at)),
        None => match secret.changed {
            Some(at) if age(at) > limit => Rotation::Old(age(at)),
            _ => Rotation::Unknown,
        },
    }
}

/// Findings, exports, rows and metrics.
pub fn plan(groups: &[ObservedGroup<'_>], now: Timestamp) -> SecretsPlan {
    let mut out = SecretsPlan::default();
    for group in groups {
        let mut findings = group_findings(group);
        let mut failing = 0;
        for secret in &group.secrets {
            let of_secret = secret_findings(group, secret, now);
            failing += usize::from(of_secret.iter().any(|f| f.severity == Severity::Critical));
            findings.extend(of_secret);
            plan_exports(group, secret, &mut out.plan);
        }
        let mut row = AssetStatus::new(group.name.as_str(), group.name.as_str());
        if !group.unlisted {
            row.coverage = AssetCoverage::Watched;
        }
        for finding in &findings {
            row.add_finding(finding);
        }
        if !group.partial {
            out.assets.push(row);
            if !group.unlisted {
                let value = |metric, n: usize| {
                    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
                    MetricValue::for_group(metric, group.name, n as f64)
                };
                out.values.push(value(Metric::SecretsChecked, group.secrets.len()));
                out.values.push(value(Metric::SecretsFailing, failing));
            }
        }
        out.plan.findings.extend(findings);
    }
    out
}

fn plan_exports(
    group: &ObservedGroup<'_>,
    secret: &SecretState,
    plan: &mut ActionPlan<ExportVersion>,
) {
    // A secret that is scheduled for deletion cannot be read.
    let (Some(exports), None) = (&group.exports, secret.deleted) else { return };
    for (version, labels) in secret.complete_versions() {
        if exports.has(&secret.name, version) {
            continue;
        }
        let action = ExportVersion {
            group: group.name.to_string(),
            secret: secret.clone(),
            version: version.clone(),
        };
        let why = format!("it is {} and has no export", labels.join(", "));
        plan.push_step(format!("{}/{}", group.name, secret.name), action, why);
    }
}

/// What is wrong with the group as a whole.
fn group_findings(group: &ObservedGroup<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (place, e) in &group.errors {
        let (why, hint) = (e.to_string(), e.hint().to_owned());
        let one =
            Finding::new(Severity::Critical, place, FindingCode::ObservationFailed, why, hint);
        found.push(one.in_group(group.name));
    }
    if group.secrets.is_empty() && !group.unlisted && !group.partial {
        let why = format!("no secret's name begins with \"{}\"", group.rules.prefix);
        let hint = "check the prefix: upper and lower case count, and the region is that of home";
        let one = Finding::new(
            Severity::Critical,
            group.name.as_str(),
            FindingCode::NoObjects,
            why,
            hint,
        );
        found.push(one.in_group(group.name));
    }
    for (key, why) in group.exports.iter().flat_map(|e| &e.ignored) {
        let why = format!("the record of {key} does not count: {why}");
        let hint = "find out who put it there; a version without another export is exported again";
        let one = Finding::new(
            Severity::Warning,
            group.name.as_str(),
            FindingCode::ObjectIgnored,
            why,
            hint,
        );
        found.push(one.in_group(group.name));
    }
    found
}

/// What is wrong with one secret.
fn secret_findings(
    group: &ObservedGroup<'_>,
    secret: &SecretState,
    now: Timestamp,
) -> Vec<Finding> {
    let name = &secret.name;
    let mut found = Vec::new();
    let mut add = |severity, code, why: String, hint: &str| {
        let asset = format!("{}/{name}", group.name);
        found.push(Finding::new(severity, asset, code, why, hint).in_group(group.name));
    };
    if let Some(at) = secret.deleted {
        let why = format!("{name} is scheduled for deletion since {at} and cannot be read");
        let hint =
            "cancel it with `aws secretsmanager restore-secret --secret-id NAME`, or let it go";
        add(Severity::Critical, FindingCode::SecretDeletionPlanned, why, hint);
        return found;
    }
    if group.rules.previous_version && secret.version_with(PREVIOUS).is_none() {
        let why = format!("{name} has no previous version, so it cannot be rolled back");
        let hint = "it gets one with its next rotation";
        add(Severity::Warning, FindingCode::SecretNoPrevious, why, hint);
    }
    match rotation(group, secret, now) {
        Rotation::Old(age) => {
            let most =
                group.rules.rotate_every.as_ref().map_or_else(String::new, ToString::to_string);
            let why = format!(
                "{name} was not rotated for {}, and {most} are allowed",
                format_duration(age)
            );
            add(Severity::Warning, FindingCode::SecretRotationOld, why, "rotate it");
        }
        Rotation::Unknown => {
            let why = format!("when {name} was rotated last could not be read");
            let hint = "allow secretsmanager:ListSecretVersionIds on it";
            add(Severity::Warning, FindingCode::SecretRotationOld, why, hint);
        }
        Rotation::Fine => {}
    }
    if let Some(why) = stuck_rotation(group, secret, now) {
        let hint = "see the log of the rotation function, then rotate it again";
        add(Severity::Warning, FindingCode::SecretRotationStuck, why, hint);
    }
    if let Some(state) = secret.kms_key.as_ref().and_then(|k| group.keys.get(k))
        && *state != KeyState::Usable
    {
        let key = secret.kms_key.as_deref().unwrap_or_default();
        let why = format!("{name} is under the key {key}, which {}", describe_key(state));
        let hint =
            "enable the key or cancel its deletion: without it no value under it can be read";
        add(Severity::Critical, FindingCode::KmsKeyUnusable, why, hint);
    }
    for (region, there) in &group.replicas {
        let hint = "see `aws secretsmanager describe-secret`: ReplicationStatus";
        match there.get(name) {
            None => {
                let why = format!("{name} is not in {region}");
                add(Severity::Critical, FindingCode::SecretReplica, why, hint);
            }
            Some(replica) if replica.version_with(CURRENT) != secret.version_with(CURRENT) => {
                let why = format!("{name} has another current version in {region}");
                add(Severity::Critical, FindingCode::SecretReplica, why, hint);
            }
            Some(_) => {}
        }
    }
    if let Some(exports) = &group.exports {
        for (version, labels) in secret.complete_versions().filter(|(v, _)| !exports.has(name, v)) {
            let created = group.version_created(name, version);
            if created.is_some_and(|at| now.duration_since(at) <= EXPORT_GRACE) {
                continue;
            }
            let why = format!("version {version} of {name} ({}) has no export", labels.join(", "));
            let hint = "see the last report of the function `secrets`";
            add(Severity::Critical, FindingCode::SecretNotExported, why, hint);
        }
    }
    found
}

fn stuck_rotation(
    group: &ObservedGroup<'_>,
    secret: &SecretState,
    now: Timestamp,
) -> Option<String> {
    let name = &secret.name;
    let pending = secret.version_with(PENDING).filter(|v| secret.version_with(CURRENT) != Some(v));
    if let Some(at) = pending.and_then(|v| group.version_created(name, v))
        && now.duration_since(at) > STUCK_AFTER
    {
        let age = format_duration(now.duration_since(at));
        return Some(format!("a rotation of {name} was begun {age} ago and is not finished"));
    }
    let due = secret.next_rotation.filter(|_| secret.rotates)?;
    let late = now.duration_since(due);
    (late > STUCK_AFTER)
        .then(|| format!("the rotation of {name} was due {} ago", format_duration(late)))
}

fn describe_key(state: &KeyState) -> String {
    match state {
        KeyState::Usable => "can be used".into(),
        KeyState::Disabled => "is disabled".into(),
        KeyState::PendingDeletion(Some(at)) => format!("is deleted at {at}"),
        KeyState::PendingDeletion(None) => "is to be deleted".into(),
        KeyState::Missing => "is not there".into(),
        KeyState::Unusable(word) => format!("is {word}"),
    }
}

#[cfg(test)]
mod tests;
