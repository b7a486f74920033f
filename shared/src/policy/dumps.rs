//! PostgreSQL servers in the policy: their databases, their logical dumps, and where keys and passwords come from.

use super::{
    grammar::{AssetObjectives, RetentionRule, ScheduleConfig, StorageTier, StoreConfig},
    server::ServerDatabases,
    text::{ByteSize, GlobPattern, Name, Period, ReasonName, Region},
    wal::WalConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    num::{NonZeroU8, NonZeroU32},
};

/// A PostgreSQL server: logical dumps of its databases, and its WAL.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresGroup {
    /// Databases on the server: a list, or `all` for every one that takes connections and is no template.
    pub databases: ServerDatabases,
    /// Databases on the server that are not backed up on purpose, as globs. Any other that no group has is a finding.
    #[serde(default)]
    pub exclude: Vec<GlobPattern>,
    /// Host, or directory of a Unix socket, when it is not in the secret; without it that of the service that `PGSERVICE`
    /// names, else this host.
    #[serde(default)]
    pub host: Option<String>,
    /// Port, when it is not in the secret; 5432 by default.
    #[serde(default)]
    pub port: Option<u16>,
    /// User, when it is not in the secret.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the password comes from; without it from `.pgpass`. A secret of Secrets Manager that is JSON, as RDS writes
    /// it, gives host, port and user too.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// The password is an RDS IAM authentication token, made anew for each connection.
    #[serde(default)]
    pub iam: bool,
    /// Encryption of connections; without it `verify-full`, and `prefer` to a server on this host.
    #[serde(default)]
    pub tls: Option<PostgresSslMode>,
    /// File with the certificates that the server's is checked against (RDS: `global-bundle.pem`).
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Priority in a recovery, 1 first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub priority: Option<u8>,
    /// What the business asks of it. `freshness` checks age and size of the newest dump in `storage`.
    #[serde(default)]
    pub objectives: AssetObjectives,
    /// Where its dumps lie.
    pub storage: StoreConfig,
    /// Second places that each dump is copied to.
    #[serde(default)]
    pub copies: Vec<StoreConfig>,
    /// Dumps, by reason.
    #[serde(default)]
    pub dumps: BTreeMap<ReasonName, DumpRule>,
    /// Good dumps of each database that always stay, whatever the rules let go.
    #[serde(default = "default_min_backups")]
    pub min_backups: NonZeroU32,
    /// Files of dumps that nobody may delete, beside those with a hold of their own.
    #[serde(default)]
    pub legal_holds: Vec<String>,
    /// The write-ahead log.
    #[serde(default)]
    pub wal: Option<WalConfig>,
    /// Where test restores of its dumps run, instead of what the policy says for all.
    #[serde(default)]
    pub scratch: Option<ScratchConfig>,
    /// Tables that must have rows after a restore.
    #[serde(default)]
    pub critical_tables: Vec<String>,
    /// SQL that must return true after a restore.
    #[serde(default)]
    pub checks: BTreeMap<Name, String>,
    /// Streaming replicas may be this far behind.
    #[serde(default)]
    pub replica_max_lag: Option<Period>,
    /// Statements that take an erased person's rows out again after a restore.
    #[serde(default)]
    pub erasure: Vec<String>,
    /// Storage classes of the dumps by age.
    #[serde(default)]
    pub tiers: Vec<StorageTier>,
    /// Free space that a dump must leave on the directory's disk.
    #[serde(default)]
    pub min_free_space: Option<ByteSize>,
    /// Regions that its backups may lie in; every one when it is left out. A copy to another is refused when the policy is read.
    #[serde(default)]
    pub regions: Vec<Region>,
}

fn default_min_backups() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// The reason of the dump that is taken of a database before a restore replaces it.
pub const PRE_RESTORE_REASON: &str = "pre-restore";

impl DumpRule {
    /// Whether it holds a whole database.
    pub fn is_whole(&self) -> bool {
        self.tables.is_empty() && self.format != DumpFormat::Csv
    }
}

impl PostgresGroup {
    /// Whether any dump of the group holds a whole database. Dumps of some tables alone stand for it where none does.
    pub fn takes_whole_dumps(&self) -> bool {
        self.dumps.values().any(DumpRule::is_whole)
    }

    /// Every reason with its dump, the one before a restore included: where the policy does not speak of it, it is made
    /// like the first dump of the whole database and kept for 30 days.
    pub fn all_dumps(&self) -> BTreeMap<ReasonName, DumpRule> {
        let mut all = self.dumps.clone();
        let name: ReasonName = PRE_RESTORE_REASON.parse().expect("a reason");
        let rdb = all.values().any(|d| d.format == DumpFormat::Rdb);
        if !all.is_empty() && !rdb && !all.contains_key(&name) {
            let whole = |d: &&DumpRule| {
                matches!(d.format, DumpFormat::Custom | DumpFormat::Plain) && d.tables.is_empty()
            };
            let like = self.dumps.values().find(whole);
            let encrypted = self.dumps.values().find_map(|d| d.encrypt.clone());
            all.insert(
                name,
                DumpRule {
                    schedule: None,
                    keep: RetentionRule {
                        age: Some("30d".parse().expect("a period")),
                        ..RetentionRule::default()
                    },
                    format: like.map_or(DumpFormat::Custom, |d| d.format),
                    compress: like.map_or(DumpCompression::Zstd, |d| d.compress),
                    level: like.and_then(|d| d.level),
                    encrypt: like.map_or(encrypted, |d| d.encrypt.clone()),
                    jobs: like.and_then(|d| d.jobs),
                    tables: Vec::new(),
                    queries: BTreeMap::new(),
                    skip_unchanged: false,
                },
            );
        }
        all
    }
}

/// Where test restores run. A test runs what a dump holds, as a role without any right but to its own database; and never
/// on the server that is backed up, unless this says so.
///
/// One of: nothing or `directory` (a server of Holdfast's own, which is gone afterwards), a connection to another server,
/// or `production: true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScratchConfig {
    /// Folder for the data of a server of Holdfast's own, with room for the largest database; the folder of temporary
    /// files when it is left out.
    #[serde(default)]
    pub directory: Option<String>,
    /// Host of another server, or directory of a Unix socket, when it is not in the secret.
    #[serde(default)]
    pub host: Option<String>,
    /// Its port, when it is not in the secret; 5432 by default.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its user, when it is not in the secret: may make databases and roles.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the user's password comes from, as that of a group.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// Encryption of connections to it, as that of a group.
    #[serde(default)]
    pub tls: Option<PostgresSslMode>,
    /// File with the certificates that the server's is checked against.
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// Test restores run on the server that is backed up, beside its databases.
    #[serde(default)]
    pub production: bool,
}

impl ScratchConfig {
    /// Whether it names another server.
    pub fn names_a_server(&self) -> bool {
        self.host.is_some() || self.password.is_some()
    }
}

/// How a connection to PostgreSQL is encrypted; the words are libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresSslMode {
    /// Never.
    Disable,
    /// When the server can; the server's certificate is not checked.
    Prefer,
    /// Always; the server's certificate is not checked.
    Require,
    /// Always, and the server's certificate must be for this host and by a known authority.
    VerifyFull,
}

/// Where a secret value comes from; never the value itself. Exactly one of `secret`, `env`, `file`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-secret" = true))]
pub struct SecretSource {
    /// Secrets Manager: name or ARN.
    #[serde(default)]
    pub secret: Option<String>,
    /// An environment variable's name.
    #[serde(default)]
    pub env: Option<String>,
    /// A file that only its owner can read (mode 0600 or 0400).
    #[serde(default)]
    pub file: Option<String>,
    /// The file is mounted by a container platform, which gives it mode 0440 or 0444: others may read it too. Nobody but
    /// its owner may write it all the same.
    #[serde(default)]
    pub mounted: bool,
    /// The value's name inside, where the secret is JSON or the file has lines `NAME=value`.
    #[serde(default)]
    pub key: Option<String>,
}

/// How dumps for one reason are made and kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DumpRule {
    /// Taken at these times; without it only on demand.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// What is kept of them.
    pub keep: RetentionRule,
    /// Archive format.
    #[serde(default)]
    pub format: DumpFormat,
    /// Compression.
    #[serde(default)]
    pub compress: DumpCompression,
    /// Level of the compression: 1 to 19 for zstd (3 when it is left out), 1 to 9 for gzip (6).
    #[serde(default)]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<NonZeroU8>,
    /// Client-side encryption.
    #[serde(default)]
    pub encrypt: Option<EncryptionConfig>,
    /// Connections that read tables in parallel, on one snapshot; 2 when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 32))]
    pub jobs: Option<NonZeroU8>,
    /// Only these tables, as `pg_dump --table` takes them.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Queries by name, for format `csv`: one file each.
    #[serde(default)]
    pub queries: BTreeMap<Name, String>,
    /// Whether a dump that holds the same as the newest one is not stored again: that one is noted to be still true. For
    /// the formats `custom` and `plain`; read in full all the same, since only that shows that nothing changed.
    #[serde(default)]
    pub skip_unchanged: bool,
}

/// Archive format of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DumpFormat {
    /// `pg_dump -Fc`.
    #[default]
    Custom,
    /// `pg_dump -Fp`.
    Plain,
    /// CSV with a header, one file for each table or query.
    Csv,
    /// A physical base backup.
    Base,
    /// An RDB file of Redis; no policy writes it, the groups of `redis` mean it.
    #[serde(skip)]
    Rdb,
}

/// Compression of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DumpCompression {
    /// Zstandard, around the whole file.
    #[default]
    Zstd,
    /// gzip; in the format `custom` inside the archive, as `pg_dump -Fc` does it, so that `pg_restore` reads the file.
    Gzip,
    /// None.
    None,
}

/// Client-side encryption; exactly one of `age` and `openssl`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptionConfig {
    /// age recipients (X25519 public keys, `age1...`): whoever has one of their identities can read the dump. A host
    /// that has none can't read its own backups.
    #[serde(default)]
    pub age: Vec<String>,
    /// The age identity (`AGE-SECRET-KEY-1...`) for `verify` and `restore`, where there may be one.
    #[serde(default)]
    pub identity: Option<SecretSource>,
    /// Passphrase of a stream that `openssl enc -d -aes-256-cbc -pbkdf2` reads.
    #[serde(default)]
    pub openssl: Option<SecretSource>,
    /// Rounds of PBKDF2 with SHA-256; `openssl enc` alone takes 10,000.
    #[serde(default = "default_pbkdf2_iterations")]
    #[schemars(range(min = 10_000))]
    pub iterations: u32,
    /// Identities or passphrases that older dumps were made for.
    #[serde(default)]
    pub previous: Vec<SecretSource>,
    /// The key may be this old.
    #[serde(default)]
    pub rotate_every: Option<Period>,
}

/// OWASP's figure for PBKDF2-HMAC-SHA256 (2023).
fn default_pbkdf2_iterations() -> u32 {
    600_000
}
