//! Everything that a policy names: each asset, and each part that no function runs. `status`, the page and the metrics
//! are derived from it, so that nothing can be green by being left out.

use crate::{
    hints::commands as hints,
    plan::{Finding, FindingCode, Severity},
    policy::{BucketGroup, DumpFormat, Policy, PostgresGroup},
    report::{AssetCoverage, AssetStatus},
};
use std::fmt;

/// A section of the policy that has groups of assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySection {
    /// RDS databases.
    Databases,
    /// S3 buckets.
    Buckets,
    /// PostgreSQL servers.
    Postgres,
    /// Redis servers.
    Redis,
    /// Kubernetes namespaces.
    Kubernetes,
    /// Secrets of Secrets Manager.
    Secrets,
    /// Files.
    Files,
}

/// An asset that the policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAsset {
    /// Where.
    pub section: PolicySection,
    /// Its group.
    pub group: String,
    /// The asset; none where only AWS or the server knows which the group has: then it has one at least.
    pub asset: Option<String>,
}

/// Every asset that the policy names.
pub fn named_assets(policy: &Policy) -> Vec<NamedAsset> {
    let mut all = Vec::new();
    let mut add = |section, group: &dyn fmt::Display, asset: Option<String>| {
        all.push(NamedAsset { section, group: group.to_string(), asset });
    };
    for (name, group) in &policy.databases {
        add(PolicySection::Databases, name, None);
        for id in group.select.identifiers.iter().filter(|id| !group.select.exclude.contains(id)) {
            add(PolicySection::Databases, name, Some(id.clone()));
        }
    }
    for (name, bucket) in &policy.buckets {
        add(PolicySection::Buckets, name, Some(bucket.bucket.to_string()));
    }
    for (name, group) in &policy.postgres {
        if group.databases.is_all() {
            add(PolicySection::Postgres, name, None);
        } else {
            for asset in postgres_assets(group) {
                let asset = asset.map_or_else(|| name.to_string(), str::to_owned);
                add(PolicySection::Postgres, name, Some(asset));
            }
        }
        if group.wal.is_some() {
            add(PolicySection::Postgres, name, Some(wal_asset(name)));
        }
    }
    for name in policy.redis.keys() {
        add(PolicySection::Redis, name, Some(name.to_string()));
    }
    for name in policy.kubernetes.keys() {
        add(PolicySection::Kubernetes, name, Some(name.to_string()));
    }
    for name in policy.secrets.keys() {
        add(PolicySection::Secrets, name, Some(name.to_string()));
    }
    for name in policy.files.keys() {
        add(PolicySection::Files, name, Some(name.to_string()));
    }
    all
}

/// The asset that the WAL archive of a group is: its place in the policy, which no database is named like.
pub fn wal_asset(group: impl fmt::Display) -> String {
    format!("postgres.{group}.wal")
}

/// The assets of a group of dumps: each database where records or keys tell them apart, else the group, which is none.
/// Which databases a group of all has, only its records or its server say: here it is the group.
pub fn postgres_assets(group: &PostgresGroup) -> Vec<Option<&str>> {
    let in_key = group.storage.key.as_deref().is_some_and(|k| k.contains("{database}"));
    if group.databases.is_all() || (group.dumps.is_empty() && !in_key) {
        return vec![None];
    }
    group.databases.named().iter().map(|d| Some(d.as_str())).collect()
}

/// A part of the policy that no function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnimplementedPart {
    /// The group, or the drill.
    pub group: String,
    /// Its place in the policy: `postgres.main.wal`.
    pub path: String,
    /// What is not done.
    pub why: &'static str,
    /// Critical where recovery points would be made or copied, a warning where something would be checked.
    pub severity: Severity,
}

/// Every part of the policy that no function runs.
pub fn unimplemented_parts(policy: &Policy) -> Vec<UnimplementedPart> {
    let mut all = Vec::new();
    let mut add = |severity, group: &dyn fmt::Display, path: String, why| {
        all.push(UnimplementedPart { group: group.to_string(), path, why, severity });
    };
    for (name, bucket) in &policy.buckets {
        for (path, why) in outside_s3(policy, bucket) {
            add(Severity::Critical, name, format!("buckets.{name}.{path}"), why);
        }
    }
    for (name, group) in &policy.postgres {
        for (reason, _) in group.dumps.iter().filter(|(_, d)| d.format == DumpFormat::Base) {
            let path = format!("postgres.{name}.dumps.{reason}");
            add(
                Severity::Critical,
                name,
                path,
                "base backups are taken where `wal.base_backups` says, and not as dumps",
            );
        }
        if group.replica_max_lag.is_some() {
            let path = format!("postgres.{name}.replica_max_lag");
            add(Severity::Warning, name, path, "streaming replicas are not watched yet");
        }
    }
    for (name, _) in policy.secrets.iter().filter(|(_, g)| g.keep.is_some()) {
        let why = "exports of secrets are kept for longer than this: nothing deletes them yet";
        add(Severity::Warning, name, format!("secrets.{name}.keep"), why);
    }
    for (name, _) in policy.drills.iter().filter(|(_, d)| !d.kind.is_implemented()) {
        let why = "no function runs drills of this kind yet";
        add(Severity::Warning, name, format!("drills.{name}"), why);
    }
    all
}

/// What of a bucket goes to a destination that is no bucket of S3.
fn outside_s3(policy: &Policy, bucket: &BucketGroup) -> Vec<(String, &'static str)> {
    let outside = |to| policy.destinations.get(to).is_some_and(|d| d.bucket.is_none());
    let copies = bucket.copies.iter().enumerate().filter(|(_, c)| outside(&c.to));
    let mut all: Vec<_> = copies
        .map(|(i, _)| (format!("copies[{i}]"), "nothing copies a bucket's objects to Azure yet"))
        .collect();
    if bucket.replication.as_ref().is_some_and(|r| outside(&r.to)) {
        all.push(("replication".into(), "S3 does not replicate to Azure"));
    }
    all
}

impl UnimplementedPart {
    /// As a finding.
    pub fn to_finding(&self) -> Finding {
        let hint =
            "take it out of the policy, or make these backups by other means and say so there";
        Finding::new(self.severity, &self.path, FindingCode::NotImplemented, self.why, hint)
            .in_group(&self.group)
    }

    /// As a row.
    pub fn to_asset_status(&self) -> AssetStatus {
        let mut standing = AssetStatus::new(&self.group, &self.path);
        standing.coverage = AssetCoverage::NotRun;
        standing.add_finding(&self.to_finding());
        standing
    }
}

/// Adds a row for every asset of these sections that nobody has a row of, and returns what is wrong with that.
pub fn add_missing_assets(
    policy: &Policy,
    assets: &mut Vec<AssetStatus>,
    sections: impl Fn(PolicySection) -> bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    // A group comes before its assets, so that one row of an asset is a row of its group too: last things first.
    for NamedAsset { section, group, asset } in named_assets(policy).into_iter().rev() {
        let there = |s: &AssetStatus| {
            s.group == group
                && asset.as_ref().map_or(s.asset != wal_asset(&group), |a| *a == s.asset)
        };
        if !sections(section) || assets.iter().any(there) {
            continue;
        }
        let asset = asset.unwrap_or_else(|| group.clone());
        let why = "nothing could be observed of it";
        let hint = format!(
            "see what could not be observed; {} where it can be reached",
            hints::run(hints::STATUS)
        );
        let finding = Finding::new(Severity::Critical, &asset, FindingCode::NotObserved, why, hint);
        let finding = finding.in_group(&group);
        let mut standing = AssetStatus::new(&group, &asset);
        standing.add_finding(&finding);
        assets.push(standing);
        found.push(finding);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOME: &str =
        "holdfast: 1\ncompany: acme\nhome: { account: \"111122223333\", region: eu-west-1 }\n";

    fn policy(yaml: &str) -> Policy {
        Policy::parse(&format!("{HOME}{yaml}")).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn all() -> Policy {
        policy(
            r#"destinations:
  azure: { azure: { account: a, container: c } }
databases:
  fleet: { select: { include: ["acme-*"] } }
  named: { select: { identifiers: [orders, users] } }
buckets:
  media: { bucket: acme-media, copies: [{ to: azure, max_age: 24h }] }
postgres:
  main: { databases: [a, b], storage: { bucket: acme-d }, dumps: { daily: { keep: { for: 7d } } }, wal: { storage: { bucket: acme-w }, keep: 7d } }
  theirs: { databases: [x], storage: { bucket: acme-e } }
  whole: { databases: all, storage: { bucket: acme-w2 }, dumps: { daily: { keep: { for: 7d } } } }
redis: { cache: { address: "r:6379", storage: { bucket: acme-r }, keep: { for: 7d }, settings: { save: "900 1" } } }
kubernetes: { prod: { namespace: prod, storage: { bucket: acme-k }, keep: { for: 7d } } }
files: { conf: { from: { directory: /etc }, storage: { bucket: acme-f }, keep: { for: 7d } } }
secrets: { app: { prefix: app/ } }
drills: { monthly: { kind: full, schedule: { cron: "0 5 1 * *" } } }
"#,
        )
    }

    #[test]
    fn every_part_that_nothing_runs_is_a_row_with_how_bad_that_is() {
        let rows: Vec<_> =
            unimplemented_parts(&all()).iter().map(|p| p.to_finding().to_string()).collect();
        let rows = rows.join("\n").replace(
            "; take it out of the policy, or make these backups by other means and say so there",
            "",
        );
        insta::assert_snapshot!(rows, @"
        critical buckets.media.copies[0] not-implemented: nothing copies a bucket's objects to Azure yet
        warning drills.monthly not-implemented: no function runs drills of this kind yet
        ");
        assert!(unimplemented_parts(&all()).iter().all(|p| !p.to_asset_status().is_ok()));
    }

    #[test]
    fn an_empty_look_is_a_row_for_every_asset_and_none_is_ok() {
        let mut rows = Vec::new();
        let found = add_missing_assets(&all(), &mut rows, |_| true);
        let names: Vec<_> = rows.iter().map(|s| format!("{}/{}", s.group, s.asset)).collect();
        insta::assert_snapshot!(names.join(" "), @"conf/conf app/app prod/prod cache/cache whole/whole theirs/theirs main/postgres.main.wal main/b main/a media/acme-media named/users named/orders fleet/fleet");
        assert_eq!((found.len(), rows.iter().any(AssetStatus::is_ok)), (rows.len(), false));
        assert_eq!(add_missing_assets(&all(), &mut rows, |_| true), [], "and no second one");
    }

    proptest! {
        /// Whatever rows there are already, every asset that the policy names has one, and no added one is ok.
        #[test]
        fn every_asset_has_a_row(there in proptest::collection::vec(any::<bool>(), 12)) {
            let policy = all();
            let mut rows: Vec<AssetStatus> = named_assets(&policy).iter().zip(&there).filter(|(_, t)| **t).map(|(n, _)| {
                let asset = n.asset.clone().unwrap_or_else(|| "acme-1".into());
                let mut standing = AssetStatus::new(&n.group, asset);
                standing.coverage = AssetCoverage::Watched;
                standing
            }).collect();
            let before = rows.len();
            add_missing_assets(&policy, &mut rows, |_| true);
            for n in named_assets(&policy) {
                let has = |s: &AssetStatus| s.group == n.group && n.asset.as_ref().is_none_or(|a| *a == s.asset);
                prop_assert!(rows.iter().any(has), "{n:?}");
            }
            prop_assert!(rows[before..].iter().all(|s| s.status_label() == "CRITICAL"));
        }
    }
}
