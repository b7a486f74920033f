//! The policy's `redis`: Redis and Valkey servers, what they must be set to, and their RDB files.

use super::{
    dumps::{DumpCompression, DumpFormat, DumpRule, EncryptionConfig, PostgresGroup, SecretSource},
    grammar::{AssetObjectives, Policy, RetentionRule, ScheduleConfig, StoreConfig},
    server::ServerDatabases,
    text::{Name, Period, ReasonName},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    num::{NonZeroU8, NonZeroU32},
};

/// The reason that every RDB file of Holdfast's has.
pub const RDB_REASON: &str = "rdb";

/// A Redis or Valkey server: its settings, its replicas, and its RDB files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisGroup {
    /// Host and port (`redis.internal:6379`, `[::1]:6379`), or the path of a Unix socket. Without it Holdfast takes
    /// nothing: another tool writes the files in `storage`, and they are watched by name, age and size.
    #[serde(default)]
    pub address: Option<String>,
    /// ACL user; the default user when it is left out.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the password comes from.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// TLS, with the server's certificate and name checked.
    #[serde(default)]
    pub tls: bool,
    /// File with the certificates that the server's is checked against; the system's when it is left out.
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// Which node the RDB file is read from.
    #[serde(default)]
    pub source: RedisSource,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Priority in a recovery, 1 first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub priority: Option<u8>,
    /// What the business asks of it. `freshness` checks age and size of the newest RDB file in `storage`.
    #[serde(default)]
    pub objectives: AssetObjectives,
    /// Settings that `CONFIG GET` must show. `save` is compared as pairs in any order, sizes as bytes (`64mb`).
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Where RDB files lie.
    pub storage: StoreConfig,
    /// Second places that each RDB file is copied to.
    #[serde(default)]
    pub copies: Vec<StoreConfig>,
    /// When the RDB file is taken; without it only on demand.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// Compression around the RDB file: `zstd` or `none`.
    #[serde(default)]
    pub compress: DumpCompression,
    /// Level of zstd, 1 to 19; 3 when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<NonZeroU8>,
    /// Client-side encryption. An RDB file holds every value of the server.
    #[serde(default)]
    pub encrypt: Option<EncryptionConfig>,
    /// What is kept of them.
    pub keep: RetentionRule,
    /// Good RDB files that always stay, whatever the rule lets go.
    #[serde(default = "default_min_backups")]
    pub min_backups: NonZeroU32,
    /// RDB files that nobody may delete, beside those with a hold of their own.
    #[serde(default)]
    pub legal_holds: Vec<String>,
    /// Replicas may be this far behind.
    #[serde(default)]
    pub replica_max_lag: Option<Period>,
    /// Sentinels (host and port) that must all be reached and agree on the primary.
    #[serde(default)]
    pub sentinels: Vec<String>,
    /// The name under which they watch the primary.
    #[serde(default = "default_sentinel_name")]
    pub sentinel_name: String,
}

/// Which node of a replicated server the RDB file is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RedisSource {
    /// The healthiest replica that can be reached, else the node at `address`.
    #[default]
    PreferReplica,
    /// The node at `address`.
    Address,
}

fn default_min_backups() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn default_sentinel_name() -> String {
    "mymaster".into()
}

impl RedisGroup {
    /// The group as the stores see it: one database, dumped for one reason. None where Holdfast takes nothing.
    ///
    /// RDB files go through the same stores, records, signatures, retention and commands as dumps, so they are described
    /// to them in the same words.
    fn stored_group(&self, name: &Name) -> Option<PostgresGroup> {
        self.address.as_ref()?;
        let reason: ReasonName = RDB_REASON.parse().expect("a reason");
        let rule = DumpRule {
            schedule: self.schedule.clone(),
            keep: self.keep.clone(),
            format: DumpFormat::Rdb,
            compress: self.compress,
            level: self.level,
            encrypt: self.encrypt.clone(),
            jobs: None,
            tables: Vec::new(),
            queries: BTreeMap::new(),
            skip_unchanged: false,
        };
        Some(PostgresGroup {
            databases: ServerDatabases::Named(vec![name.to_string()]),
            exclude: Vec::new(),
            host: None,
            port: None,
            user: None,
            password: None,
            iam: false,
            tls: None,
            tls_ca: None,
            owner: self.owner.clone(),
            priority: self.priority,
            objectives: self.objectives.clone(),
            storage: self.storage.clone(),
            copies: self.copies.clone(),
            dumps: BTreeMap::from([(reason, rule)]),
            min_backups: self.min_backups,
            legal_holds: self.legal_holds.clone(),
            wal: None,
            scratch: None,
            critical_tables: Vec::new(),
            checks: BTreeMap::new(),
            replica_max_lag: None,
            erasure: Vec::new(),
            tiers: Vec::new(),
            min_free_space: None,
            regions: Vec::new(),
        })
    }
}

impl Policy {
    /// Describes the groups of RDB files to the stores; done once when a policy is parsed.
    pub(super) fn with_rdb_groups(mut self) -> Self {
        let groups = self.redis.iter();
        self.rdb_groups =
            groups.filter_map(|(n, g)| Some((n.clone(), g.stored_group(n)?))).collect();
        self
    }

    /// Every group whose points Holdfast stores with a record: dumps of PostgreSQL, and RDB files.
    pub fn stored_groups(&self) -> impl Iterator<Item = (&Name, &PostgresGroup)> {
        self.postgres.iter().chain(&self.rdb_groups)
    }

    /// One of [`Policy::stored_groups`].
    pub fn stored_group(&self, name: &Name) -> Option<&PostgresGroup> {
        self.postgres.get(name).or_else(|| self.rdb_groups.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(group: &str) -> Policy {
        let text = format!(
            "{{holdfast: 1, company: acme, id: host-1, redis: {{cache: {{storage: {{directory: /b}}, keep: {{newest: 3}}{group}}}}}}}"
        );
        Policy::parse(&text).unwrap_or_else(|faults| panic!("{faults}"))
    }

    #[test]
    fn a_group_with_an_address_is_stored_as_one_database_dumped_for_one_reason() {
        let policy = policy(", address: \"db:6379\", min_backups: 2, legal_holds: [x]");
        let groups: Vec<_> = policy.stored_groups().collect();
        let [(name, group)] = groups[..] else { panic!("{groups:?}") };
        assert_eq!((name.as_str(), group.databases.named()), ("cache", &["cache".to_owned()][..]));
        let dumps = group.all_dumps();
        assert_eq!(dumps.keys().map(ReasonName::as_str).collect::<Vec<_>>(), [RDB_REASON]);
        assert_eq!(group.min_backups.get(), 2);
        assert_eq!(group.legal_holds, ["x"]);
        let written = serde_json::to_value(&policy).expect("JSON");
        assert!(written.get("rdb_groups").is_none(), "it is derived");
    }

    #[test]
    fn a_group_without_an_address_is_watched_and_not_stored() {
        assert_eq!(policy("").stored_groups().count(), 0);
    }

    #[test]
    fn no_policy_of_postgres_can_ask_for_an_rdb_file() {
        let text = "{holdfast: 1, company: acme, id: h, postgres: {a: {databases: [x], storage: {directory: /b}, dumps: {d: {keep: {newest: 1}, format: rdb}}}}}";
        assert!(Policy::parse(text).is_err());
    }
}
