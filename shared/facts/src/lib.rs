//! What is known of a PostgreSQL server and of a database in it, and of an RDB file.
//!
//! Who reads it from the server, who records it and who restores it speak of the same types: nothing is lost on the way
//! from one to the other. These are facts, not SQL: whoever writes SQL from them quotes every name and value.

mod redis;

pub use redis::{RdbContents, RdbDatabase, RedisFamily};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The server that a dump was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerProperties {
    /// Version as it says it.
    pub version: String,
    /// Version as a number: 150013.
    pub version_num: u32,
    /// System identifier: stays while the cluster lives.
    #[serde(default)]
    pub system_identifier: Option<String>,
    /// Timeline.
    #[serde(default)]
    pub timeline: Option<u32>,
    /// Encoding of the database.
    #[serde(default)]
    pub encoding: String,
    /// Its order of text.
    #[serde(default)]
    pub collate: String,
    /// Its classes of characters.
    #[serde(default)]
    pub ctype: String,
    /// Its owner.
    #[serde(default)]
    pub owner: String,
    /// Its size on the server's disk.
    #[serde(default)]
    pub database_bytes: u64,
    /// Whether it is a replica.
    #[serde(default)]
    pub is_replica: bool,
    /// What belongs to the database itself and is in no archive of `pg_dump`.
    #[serde(default)]
    pub database: DatabaseProperties,
}

/// An extension of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstalledExtension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A role of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "PostgreSQL has that many attributes")]
pub struct ServerRole {
    /// Its name.
    pub name: String,
    /// Whether it has every right.
    #[serde(default)]
    pub superuser: bool,
    /// Whether it has the rights of the roles that it is a member of.
    #[serde(default)]
    pub inherit: bool,
    /// Whether it may make roles.
    #[serde(default)]
    pub create_role: bool,
    /// Whether it may make databases.
    #[serde(default)]
    pub create_database: bool,
    /// Whether it may log in.
    #[serde(default)]
    pub login: bool,
    /// Whether it may replicate.
    #[serde(default)]
    pub replication: bool,
    /// Whether row security does not bind it.
    #[serde(default)]
    pub bypass_row_security: bool,
    /// Connections that it may have at once; none without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// Its own settings: name and value, as the server keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, String)>,
    /// Roles that it is a member of, and whether it may make others so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub member_of: BTreeMap<String, bool>,
}

/// A database's own properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DatabaseProperties {
    /// What gives it its order of text.
    pub provider: DatabaseLocaleProvider,
    /// Its locale, where ICU or PostgreSQL itself provides it: `de-AT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Further rules of ICU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// The tablespace it is in, `pg_default` usually.
    pub tablespace: String,
    /// How many may be connected at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i32>,
    /// Whether others may copy it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_template: bool,
    /// Its comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who may do what with it; none where that is as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<DatabaseGrant>>,
    /// Settings of sessions in it, and of roles in it, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<DatabaseSetting>,
}

/// What gives a database its order of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseLocaleProvider {
    /// The operating system.
    #[default]
    Libc,
    /// ICU.
    Icu,
    /// PostgreSQL itself, since version 17.
    Builtin,
}

/// A privilege on a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseGrant {
    /// The role that has it; none is everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `CONNECT`, `CREATE` or `TEMPORARY`.
    pub privilege: String,
    /// Whether it may be passed on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grantable: bool,
}

/// A setting that sessions in a database begin with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseSetting {
    /// The role that it is for; none is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value, as the server keeps it.
    pub value: String,
}
