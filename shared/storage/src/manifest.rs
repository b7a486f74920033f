//! The manifest: what a backup is, as JSON beside it. It is written last and turns an object into a backup; with it,
//! anyone can restore without Holdfast.

use crate::{StoreError, StoreErrorKind};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod line;

pub use codec::{CompressionFormat, EncodingLayers, EncryptionFormat, KdfDigest, KeyDerivation};
pub use facts::{
    DatabaseGrant, DatabaseLocaleProvider, DatabaseProperties, DatabaseSetting, InstalledExtension,
    RdbContents, RdbDatabase, RedisFamily, ServerProperties, ServerRole,
};
pub use line::{RestoreCommandInput, restore_command};

/// The version of the manifest that this Holdfast writes, and the newest that it reads.
pub const MANIFEST_VERSION: u32 = 1;

/// What every version of the manifest says: its own.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    holdfast: Option<u64>,
}

/// A backup's commit record. Fields that a reader does not know are no fault: newer writers may add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Manifest of a backup made by Holdfast")]
pub struct BackupManifest {
    /// Version of this format; a reader that knows only older ones must not guess.
    #[schemars(range(min = 1, max = 1))]
    pub holdfast: u32,
    /// The owner that it was made for: company and home, or company and the policy's id. No other counts or deletes it.
    pub owner: String,
    /// The file's key below the store's prefix: laid beside another file, the record is none.
    pub key: String,
    /// The policy's group.
    pub group: String,
    /// The database.
    pub database: String,
    /// Why it was made.
    pub reason: String,
    /// The table or query, of a file that has one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The run that made it.
    pub run: String,
    /// The time it was due at; none of a dump on demand.
    #[serde(default)]
    #[schemars(with = "Option<Rfc3339Time>")]
    pub slot: Option<Timestamp>,
    /// The time of the data: when the snapshot was taken that it was read from.
    #[schemars(with = "Rfc3339Time")]
    pub data_time: Timestamp,
    /// When its last byte was stored.
    #[schemars(with = "Rfc3339Time")]
    pub finished_at: Timestamp,
    /// The file as it is stored.
    pub file: StoredFile,
    /// The archive inside, before compression and encryption.
    pub plain: PlaintextInfo,
    /// Format of the archive inside.
    pub format: ManifestFormat,
    /// What a reader must undo, from the outside in.
    #[serde(default)]
    pub layers: EncodingLayers,
    /// age recipients that it is encrypted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Name of the key or passphrase that it is encrypted with; never the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The server that it was read from.
    pub server: ServerProperties,
    /// The client that wrote the archive.
    pub client: String,
    /// Extensions of the database.
    #[serde(default)]
    pub extensions: Vec<InstalledExtension>,
    /// Roles of the server, without passwords: facts, and no SQL.
    #[serde(default)]
    pub roles: Vec<ServerRole>,
    /// The tables that the policy narrows it to; empty of a dump of the whole database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<String>,
    /// Tables and their rows at the snapshot.
    #[serde(default)]
    pub tables: Vec<ManifestTable>,
    /// Large objects.
    #[serde(default)]
    pub large_objects: u64,
    /// What an RDB file holds; of those alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RdbContents>,
    /// SHA-256 of what the dump holds, 64 hex digits, without when and how it was made: the same for two dumps of a
    /// database in which nothing changed in between. Where the policy asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Nobody can delete it before, as far as the store was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Rfc3339Time>")]
    pub locked_until: Option<Timestamp>,
    /// A line of shell that restores it with stock tools.
    pub restore: String,
}

/// RFC 3339, UTC.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "it is only a schema")]
struct Rfc3339Time(#[schemars(extend("format" = "date-time"))] String);

/// A file as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredFile {
    /// Its name: the last part of its key.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, 64 hex digits; the same as in `<name>.sha256`.
    pub sha256: String,
    /// The store's own checksum, as it was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// Size and hash of what is inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaintextInfo {
    /// Its size.
    pub bytes: u64,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
}

/// Format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestFormat {
    /// `pg_dump -Fc`.
    Custom,
    /// `pg_dump -Fp`.
    Plain,
    /// CSV with a header.
    Csv,
    /// An RDB file of Redis or Valkey.
    Rdb,
}

/// A table's rows at the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestTable {
    /// Its name with its schema, in quotes where SQL needs them.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of its data in the archive.
    pub bytes: u64,
}

/// A note beside a backup: when its database was dumped again, it was still the same, so nothing more was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnchangedMarker {
    /// Version of this format.
    pub holdfast: u32,
    /// SHA-256 of the backup's file.
    pub sha256: String,
    /// The time at which the database was the same.
    #[schemars(with = "Rfc3339Time")]
    pub data_time: Timestamp,
    /// The time that dump was due at; none of one on demand.
    #[serde(default)]
    #[schemars(with = "Option<Rfc3339Time>")]
    pub slot: Option<Timestamp>,
    /// The run that found it so.
    pub run: String,
}

impl UnchangedMarker {
    /// The JSON that is stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a note is plain data")
    }
}

/// A hold: nobody may delete the backup, whatever the rules say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LegalHold {
    /// Why.
    pub why: String,
    /// Since when.
    #[schemars(with = "Rfc3339Time")]
    pub since: Timestamp,
    /// Who asked for it.
    pub by: String,
}

impl BackupManifest {
    /// Whether it holds a part of its database alone: another kind of point, which replaces no database and is no newest
    /// dump of one.
    pub fn is_narrowed(&self) -> bool {
        self.table.is_some() || !self.selection.is_empty()
    }

    /// Rows of its tables, or keys of an RDB file.
    pub fn row_count(&self) -> u64 {
        match &self.redis {
            Some(contents) => contents.key_count(),
            None => self.tables.iter().map(|t| t.rows).sum(),
        }
    }

    /// The JSON that is stored.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        json.push(b'\n');
        json
    }

    /// Reads a manifest; `key` is the backup's, for errors.
    ///
    /// # Errors
    /// If it is no manifest, or of a version that this Holdfast does not know.
    pub fn parse_manifest(key: &str, json: &[u8]) -> Result<Self, StoreError> {
        let damaged = |why: String| {
            let hint = "look at it: without its manifest the file counts as no backup";
            StoreError::new(
                StoreErrorKind::Damaged,
                format!("read the manifest of {key}"),
                why,
                hint,
            )
        };
        // The version first: all else may mean something else in another one.
        let version = match serde_json::from_slice::<Version>(json) {
            Ok(version) => version.holdfast,
            Err(e) if e.is_data() => None,
            Err(e) => return Err(damaged(e.to_string())),
        };
        match version {
            Some(v) if v == u64::from(MANIFEST_VERSION) => {}
            Some(v) if v > u64::from(MANIFEST_VERSION) => {
                return Err(StoreError::new(
                    StoreErrorKind::Refused,
                    format!("read the manifest of {key}"),
                    format!(
                        "it was made by a newer Holdfast: version {v}, and this one knows {MANIFEST_VERSION}"
                    ),
                    "use that Holdfast, or the manifest's own line `restore`",
                ));
            }
            _ => return Err(damaged("it has no version of Holdfast's".into())),
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))?;
        if !is_sha256_hex(&manifest.file.sha256) || !is_sha256_hex(&manifest.plain.sha256) {
            return Err(damaged("a hash in it is no SHA-256".into()));
        }
        Ok(manifest)
    }
}

/// Whether this is 64 hex digits.
fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The line of `<key>.sha256`, as `sha256sum -c` reads it in the file's directory.
pub fn sha256sum_line(sha256: &str, key: &str) -> String {
    format!("{sha256}  {}\n", key.rsplit('/').next().unwrap_or(key))
}

/// The JSON Schema of manifests.
pub fn manifest_schema() -> Value {
    serde_json::to_value(schemars::schema_for!(BackupManifest)).expect("a schema is JSON")
}

#[cfg(test)]
pub(crate) mod tests;
