//! What `holdfast simulate` takes.

use clap::Args as ClapArgs;
use std::path::PathBuf;

/// What is played ahead.
#[derive(Debug, ClapArgs)]
pub(crate) struct SimulateArgs {
    /// Days that are played
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub(crate) days: u32,
    /// Another policy, to be played beside: what changes, and what would be deleted that this one keeps
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// Databases of a group that says neither `identifiers` nor `expect`
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) databases: u32,
    /// GiB of each database of RDS
    #[arg(long, value_name = "GIB", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) database_size: u32,
    /// Bytes of each dump, as it is stored: 20GB, 500MiB
    #[arg(long, value_name = "SIZE", default_value = "1GB")]
    pub(crate) dump_size: shared::policy::text::ByteSize,
}
