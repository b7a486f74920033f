//! The command line of `holdfast redis`.

use clap::{Args as ClapArgs, Subcommand};
use shared::policy::text::Period;

/// What is done with Redis servers.
#[derive(Debug, Subcommand)]
pub(crate) enum RedisCommand {
    /// What is wrong with the servers: settings, their own saving, replicas, Sentinels; changes nothing
    #[command(after_help = "\
Examples:
  holdfast redis check
  holdfast redis check cache --json | jq -r '.findings[].code'

Exits with 1 when anything is critical.")]
    Check {
        /// Only these groups
        #[arg(value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Have a server write its RDB file to its own disk (BGSAVE), and wait until it has
    ///
    /// Refused where the last save failed or a fork is running: a BGSAVE that fails may stop the server's writes. The
    /// backup is `redis dump`, which needs none of this.
    #[command(after_help = "\
Example:
  holdfast redis save cache")]
    Save {
        /// The group
        #[arg(value_name = "GROUP")]
        group: String,
        /// Say whether it is safe, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take an RDB file now, or what is due
    ///
    /// Read by the replication stream from the healthiest replica, walked to its checksum, compressed, encrypted and
    /// uploaded in one pass; nothing is written on the server's disk. Then second places, then what the policy lets go.
    #[command(after_help = "\
Examples:
  holdfast redis dump cache     now
  holdfast redis dump --due     what the schedules say, for cron
  holdfast redis dump cache --dry-run")]
    Dump(RedisDumpArgs),
}

/// What `redis dump` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RedisDumpArgs {
    /// Only these groups; all without
    #[arg(value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// What is due by the schedules, instead of one now
    #[arg(long)]
    pub(crate) due: bool,
    /// Show what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Skip retention after the dump
    #[arg(long)]
    pub(crate) no_retention: bool,
    /// Stop after this long; a file that is not finished then does not count
    #[arg(long, value_name = "TIME", default_value = "12h")]
    pub(crate) timeout: Period,
}
