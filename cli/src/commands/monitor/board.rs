//! What is served: the last look, as Prometheus reads it. Pure: `now` comes in.

use super::super::status::StatusOutput;
use jiff::{SignedDuration, Timestamp};
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};
use shared::{
    metrics::{Metric, MetricValue},
    plan::Severity,
    report::AssetStatus,
};

/// A look may be late by this much besides its own time before what it saw is called old.
const MAX_SCAN_DELAY: SignedDuration = SignedDuration::from_mins(5);

/// What one look saw.
#[derive(Debug)]
pub(super) struct MonitorScan {
    /// When it began.
    pub(super) started_at: Timestamp,
    /// How long it took.
    pub(super) seconds: f64,
    /// How everything stood.
    pub(super) status: StatusOutput,
    /// What the functions would publish.
    pub(super) values: Vec<MetricValue>,
}

/// The last look, and whether the one after it failed.
#[derive(Debug)]
pub(super) struct MonitorState {
    company: String,
    every: SignedDuration,
    prefix: Option<String>,
    last_scan: Option<MonitorScan>,
    last_scan_failed: bool,
}

impl MonitorState {
    /// A board on which nothing stands yet.
    pub(super) fn new(company: String, every: SignedDuration, prefix: Option<String>) -> Self {
        Self { company, every, prefix, last_scan: None, last_scan_failed: false }
    }

    /// A look ended; none when it failed. Then what was seen before stays, and grows older.
    pub(super) fn record_scan(&mut self, seen: Option<MonitorScan>) {
        self.last_scan_failed = seen.is_none();
        self.last_scan = seen.or(self.last_scan.take());
    }

    /// Why nothing that stands here can be trusted; none when it can.
    pub(super) fn unhealthy_reason(&self, now: Timestamp) -> Option<&'static str> {
        match &self.last_scan {
            _ if self.last_scan_failed => Some("the last look failed"),
            None => Some("nothing was looked at yet"),
            Some(seen) if now.duration_since(seen.started_at) > self.every * 2 + MAX_SCAN_DELAY => {
                Some("the last look is too old")
            }
            Some(_) => None,
        }
    }

    /// Whether nothing is critical, as far as is known; what is not known is not well.
    pub(super) fn is_healthy(&self, now: Timestamp) -> bool {
        self.unhealthy_reason(now).is_none()
            && self.last_scan.as_ref().is_some_and(|s| !s.status.has_critical)
    }

    /// As Prometheus reads it.
    pub(super) fn to_prometheus(&self, now: Timestamp) -> String {
        let registry = Registry::new();
        let gauges = GaugeBuilder { registry: &registry, company: &self.company };
        let version = env!("CARGO_PKG_VERSION");
        gauges.policy_gauge(
            "build_info",
            "The version that runs",
            &[("version", version)],
            Some(1.0),
        );
        let well = bool_to_gauge(self.is_healthy(now));
        let help = "1 when the last look is recent and found nothing critical, else 0";
        gauges.policy_gauge("health", help, &[], Some(well));
        let looked = bool_to_gauge(self.last_scan.is_some() && !self.last_scan_failed);
        gauges.policy_gauge(
            "refresh_success",
            "1 when the last look came to its end, else 0",
            &[],
            Some(looked),
        );
        if let Some(seen) = &self.last_scan {
            add_scan_gauges(&gauges, seen, now);
        }
        if let Some(prefix) = &self.prefix {
            let four = PrefixedMetrics::from_scan(self.last_scan.as_ref(), now);
            four.register_all(&registry, prefix, well);
        }
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
    }
}

/// What a look saw, at `now`.
fn add_scan_gauges(gauges: &GaugeBuilder<'_>, seen: &MonitorScan, now: Timestamp) {
    let at = seen.started_at.as_duration().as_secs_f64();
    let help = "When the newest look that came to its end began";
    gauges.policy_gauge("last_refresh_timestamp_seconds", help, &[], Some(at));
    gauges.policy_gauge(
        "refresh_duration_seconds",
        "How long that look took",
        &[],
        Some(seen.seconds),
    );
    let passed = now.duration_since(seen.started_at).as_secs_f64().max(0.0);
    let assets = &seen.status.assets;
    gauges.asset_gauges(
        assets,
        "backup_age_seconds",
        "Age of the data in the newest good backup, now; absent without one",
        |s| s.age_seconds.map(|age| i64_to_gauge(age) + passed),
    );
    gauges.asset_gauges(assets, "backup_max_age_seconds", "The age that the policy allows", |s| {
        s.max_age_seconds.map(i64_to_gauge)
    });
    gauges.asset_gauges(assets, "backup_size_bytes", "Size of the newest good backup", |s| {
        s.size_bytes.map(i64_to_gauge)
    });
    gauges.asset_gauges(
        assets,
        "offsite_age_seconds",
        "Age of the data in the newest good offsite copy, now; of several places, where it is oldest",
        |s| s.offsite_age_seconds.map(|age| i64_to_gauge(age) + passed),
    );
    gauges.asset_gauges(
        assets,
        "proof_age_seconds",
        "How long ago a drill last proved a restore, now; absent while none did",
        |s| s.proof_age_seconds.map(|age| i64_to_gauge(age) + passed),
    );
    gauges.asset_gauges(
        assets,
        "asset_health",
        "1 when nothing about the asset was critical at the last look, else 0",
        |s| Some(bool_to_gauge(s.max_severity < Some(Severity::Critical))),
    );
    for (metric, name, help, scale) in METRIC_GAUGES {
        gauges.metric_gauges(&seen.values, *metric, name, help, *scale);
    }
    let severities = [Severity::Critical, Severity::Warning, Severity::Info];
    let words = ["critical", "warning", "info"];
    let count = severities.map(|s| seen.status.findings.iter().filter(|f| f.severity == s).count());
    let of = words.iter().zip(count).map(|(word, n)| (vec![*word], usize_to_gauge(n)));
    gauges.register_gauges(
        "findings",
        "Differences between the policy and what is there",
        &["severity"],
        of,
    );
}

/// Values of the functions that are served as they are: of each asset, group, or the policy, whichever is finest.
const METRIC_GAUGES: &[(Metric, &str, &str, f64)] = &[
    (Metric::Points, "backups", "Good backups that are there", 1.0),
    (
        Metric::SizeDeviation,
        "backup_size_deviation_ratio",
        "How much the newest backup's size differs, up or down, from the median of those before it",
        0.01,
    ),
    (
        Metric::DiskFree,
        "disk_free_bytes",
        "Free space on the disk of the group's directories, where it is least",
        1.0,
    ),
    (
        Metric::RestorableLag,
        "restorable_lag_seconds",
        "How far the latest restorable time is behind",
        1.0,
    ),
    (
        Metric::ReplicationLag,
        "replication_lag_seconds",
        "Age of the oldest object that is not yet in the replica",
        1.0,
    ),
    (
        Metric::ReplicationMissing,
        "replication_missing_objects",
        "Objects that are missing or differ in the replica",
        1.0,
    ),
    (Metric::ReplicaLag, "replica_lag_seconds", "How far a read replica is behind", 1.0),
    (
        Metric::SettingsDrift,
        "settings_drift",
        "Automated-backup settings that differ from the policy",
        1.0,
    ),
    (
        Metric::UnprotectedDatabases,
        "unprotected_databases",
        "Databases that no group of the policy selects",
        1.0,
    ),
];

/// Makes gauges, each with the policy's name.
struct GaugeBuilder<'r> {
    registry: &'r Registry,
    company: &'r str,
}

impl GaugeBuilder<'_> {
    /// A gauge of the whole policy.
    fn policy_gauge(&self, name: &str, help: &str, labels: &[(&str, &str)], value: Option<f64>) {
        let (names, values): (Vec<_>, Vec<_>) = labels.iter().copied().unzip();
        self.register_gauges(name, help, &names, value.map(|v| (values, v)));
    }

    /// A gauge of each asset that has a value.
    fn asset_gauges(
        &self,
        assets: &[AssetStatus],
        name: &str,
        help: &str,
        of: impl Fn(&AssetStatus) -> Option<f64>,
    ) {
        let rows =
            assets.iter().filter_map(|s| Some((vec![s.group.as_str(), s.asset.as_str()], of(s)?)));
        self.register_gauges(name, help, &["group", "asset"], rows);
    }

    /// A gauge of a metric's values.
    fn metric_gauges(
        &self,
        values: &[MetricValue],
        metric: Metric,
        name: &str,
        help: &str,
        scale: f64,
    ) {
        let names: &[&str] = match metric.dimensions() {
            "Group, Asset" => &["group", "asset"],
            "Group" => &["group"],
            _ => &[],
        };
        let rows = values.iter().filter(|v| v.metric == metric).filter_map(|v| {
            let labels = v.group.iter().chain(&v.asset).map(String::as_str).collect::<Vec<_>>();
            (labels.len() == names.len()).then_some((labels, v.value * scale))
        });
        self.register_gauges(name, help, names, rows);
    }

    fn register_gauges<'l>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        rows: impl IntoIterator<Item = (Vec<&'l str>, f64)>,
    ) {
        let labels: Vec<&str> = std::iter::once("policy").chain(labels.iter().copied()).collect();
        let opts = Opts::new(format!("holdfast_{name}"), help);
        // Names and labels are ours, and each stands once.
        let Ok(gauge) = GaugeVec::new(opts, &labels) else { return };
        for (values, value) in rows {
            let values: Vec<&str> = std::iter::once(self.company).chain(values).collect();
            gauge.with_label_values(&values).set(value);
        }
        let _ = self.registry.register(Box::new(gauge));
    }
}

/// The four metrics of a host with one database: of several assets, the one whose newest backup is oldest.
#[derive(Debug, Default)]
struct PrefixedMetrics {
    age_hours: Option<f64>,
    size_mb: Option<f64>,
    total: f64,
}

impl PrefixedMetrics {
    fn from_scan(seen: Option<&MonitorScan>, now: Timestamp) -> Self {
        let Some(seen) = seen else { return Self::default() };
        let passed = now.duration_since(seen.started_at).as_secs_f64().max(0.0);
        let asked = || seen.status.assets.iter().filter(|s| s.max_age_seconds.is_some());
        // One that has none must not leave the word to the others.
        let all = asked().all(|s| s.age_seconds.is_some());
        let oldest = asked().filter(|_| all).max_by_key(|s| s.age_seconds);
        let total = |v: &&MetricValue| v.metric == Metric::Points && v.group.is_none();
        Self {
            age_hours: oldest.and_then(|s| Some((i64_to_gauge(s.age_seconds?) + passed) / 3600.0)),
            size_mb: oldest.and_then(|s| Some(i64_to_gauge(s.size_bytes?) / f64::from(1 << 20))),
            total: seen.values.iter().find(total).map_or(0.0, |v| v.value),
        }
    }

    fn register_all(&self, registry: &Registry, prefix: &str, health: f64) {
        let rows = [
            ("age_hours", "Age of last backup, in hours; absent without one", self.age_hours),
            ("size_mb", "Size of last backup, in MiB; absent without one", self.size_mb),
            ("total", "Total number of backups", Some(self.total)),
            ("health", "Health status: 1 is healthy, 0 is unhealthy", Some(health)),
        ];
        for (name, help, value) in rows {
            let opts = Opts::new(format!("{prefix}_backup_{name}"), help);
            let (Ok(gauge), Some(value)) = (prometheus::Gauge::with_opts(opts), value) else {
                continue;
            };
            gauge.set(value);
            let _ = registry.register(Box::new(gauge));
        }
    }
}

fn bool_to_gauge(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "ages and sizes are far below 2^52")]
fn i64_to_gauge(n: i64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn usize_to_gauge(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
