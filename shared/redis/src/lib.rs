//! Redis and Valkey: what is asked of a server, its RDB file by the replication stream, and what is in such a file.
//!
//! # Layout
//! - [`client`]: a connection that speaks RESP, over TCP, TLS or a Unix socket; [`value`]: its replies
//! - [`info`]: the fields of INFO; [`settings`]: whether a setting is what it should be; [`sentinel`]: what Sentinels say
//! - [`replication`]: the RDB file as the server sends it to a replica
//! - [`rdb`]: an RDB file walked opcode by opcode as it streams, with its CRC64
//! - [`scratch`]: a server of our own that loads a file, for tests of it
//!
//! Nothing here writes to a server that is backed up: the RDB file comes by the replication stream, without a byte on the
//! server's disk and without moving what LASTSAVE says.

pub mod client;
mod error;
pub mod info;
pub mod rdb;
pub mod replication;
pub mod scratch;
pub mod sentinel;
pub mod settings;
mod tls;
pub mod value;

pub use client::{RedisAddress, RedisClient, RedisConfig};
pub use error::{RedisError, RedisErrorKind};
pub use info::ServerInfo;
pub use rdb::{StreamFraming, walk_rdb};
pub use value::RedisValue;
