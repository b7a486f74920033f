//! What is known of an RDB file of Redis or Valkey.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which of the two servers wrote a file; the files of one are not read by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RedisFamily {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

impl RedisFamily {
    /// The name of its server program.
    pub fn server_program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }
}

impl fmt::Display for RedisFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

/// What an RDB file holds, counted while it was read from its first byte to its checksum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RdbContents {
    /// Its first nine bytes: `REDIS0011`, `VALKEY080`.
    pub magic: String,
    /// Who wrote it.
    pub family: RedisFamily,
    /// The version of that server, as the file says it; empty where it does not.
    pub server_version: String,
    /// When it was made, in seconds since 1970: the time of the data. None where the file does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// Replication id: stays while the data set has one history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_id: Option<String>,
    /// Position in the replication stream, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_offset: Option<i64>,
    /// Memory that the server used, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_memory: Option<u64>,
    /// Whether the file ends with a CRC64, which was found to be right; a server with `rdbchecksum no` writes none.
    pub has_checksum: bool,
    /// Databases that are not empty.
    pub databases: Vec<RdbDatabase>,
    /// Libraries of functions.
    #[serde(default)]
    pub functions: u64,
    /// Modules whose data is in it: a server without one of them does not load the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// The node that it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// One database of an RDB file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RdbDatabase {
    /// Its number.
    pub index: u64,
    /// Keys, those that had expired and were not yet removed included.
    pub keys: u64,
    /// Keys with a time to live.
    pub expiring: u64,
    /// Keys whose time to live was over when the file was read; a primary that loads the file leaves them out.
    pub expired: u64,
}

impl RdbContents {
    /// Keys of all databases.
    pub fn key_count(&self) -> u64 {
        self.databases.iter().map(|d| d.keys).sum()
    }
}
