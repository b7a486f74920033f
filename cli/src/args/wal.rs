//! What the commands of the WAL archive take.

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// What is done with a WAL archive.
#[derive(Debug, Subcommand)]
pub(crate) enum WalCommand {
    /// Archive a WAL file: PostgreSQL's `archive_command`
    ///
    /// Ends with 0 only when the file is durable in the archive. Asked again for what is there, it changes nothing; another
    /// content under the same name is an error, and nothing is ever overwritten. Other files that wait are archived with it.
    #[command(after_help = "\
In postgresql.conf:
  archive_mode = on
  archive_command = 'holdfast --policy /etc/holdfast/policy.yaml wal push \"%p\"'

Exit codes are those of every command, and never above 125: PostgreSQL counts the failure and asks again.")]
    Push(WalPushArgs),
    /// Bring a WAL file back: PostgreSQL's `restore_command`
    ///
    /// Ends with 1 only where the archive said that it has no such file, which tells PostgreSQL to end recovery. Any failure
    /// ends with 126, at which PostgreSQL stops instead of promoting with less than there is. A standby, which asks
    /// again by itself, gets 1 for failures too.
    #[command(after_help = "\
In postgresql.conf of the server to be restored:
  restore_command = 'holdfast --policy /etc/holdfast/policy.yaml wal fetch \"%f\" \"%p\"'")]
    Fetch(WalFetchArgs),
    /// Which moments can be restored, from the archive alone; gaps, and what lies there twice
    #[command(after_help = "\
Examples:
  holdfast wal windows
  holdfast wal windows main --json | jq '.[].windows'

Exits with 1 when a gap or a conflict is there, or nothing can be restored.")]
    Windows {
        /// Only this group
        #[arg(value_name = "GROUP")]
        group: Option<String>,
    },
}

/// What all of them take.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WalGroupArgs {
    /// The group of the policy; not needed where one alone has `wal`
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// The cluster's system identifier, instead of that of the data folder that it runs in
    #[arg(long, value_name = "NUMBER")]
    pub(crate) system: Option<u64>,
}

/// What `wal push` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WalPushArgs {
    /// The file: `%p`
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) of: WalGroupArgs,
    /// Archive so many other files that wait with it
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) ahead: usize,
    /// So many at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) width: usize,
    /// Mark the other files as archived, so that PostgreSQL does not ask for each: faster, and `pg_stat_archiver` then
    /// counts only those that it asked for
    #[arg(long)]
    pub(crate) mark_done: bool,
}

/// What `wal fetch` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WalFetchArgs {
    /// The file's name: `%f`
    pub(crate) name: String,
    /// Where it goes: `%p`
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) of: WalGroupArgs,
}
