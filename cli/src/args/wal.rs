//! What the commands of the WAL archive take.

use clap::{Args as ClapArgs, Subcommand};
use jiff::Timestamp;
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
    /// Receive WAL as it is written, by a replication slot: seconds are lost with the host, instead of a segment
    ///
    /// Runs until it is stopped. A segment is archived when it is whole, and what is not finished in pieces, which `wal fetch` and
    /// `restore` use. The server is told only of what is durable in the archive; the slot, made if it is not there, keeps the rest: watch the
    /// disk that it holds (`max_slot_wal_keep_size`). A server or an archive that is away is tried again; it follows promotions.
    /// It may run beside `archive_command`: the same segment is stored once.
    #[command(after_help = "\
Examples:
  holdfast wal receive main
  holdfast wal receive main --slot standby_site --every 5s

Exit codes: 0 stopped by a signal; 1 another content lies there, or the server no longer has what is needed: a person must look.")]
    Receive(WalReceiveArgs),
    /// What the server needs so that its WAL is archived: shown, or done and tried
    ///
    /// Without an option it only shows. What somebody else's archive uses is never touched. Exits with 1 while something is to do.
    #[command(after_help = "\
Examples:
  holdfast wal setup main                      what is to do, as SQL
  holdfast wal setup main --apply              does it; says what waits for a restart
  holdfast wal setup main --check              ends a segment, and waits until it is in the archive
  holdfast wal setup main --undo --slot holdfast")]
    Setup(WalSetupArgs),
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
    pub(crate) jobs: usize,
    /// Mark the other files as archived, so that PostgreSQL does not ask for each: faster, and `pg_stat_archiver` then
    /// counts only those that it asked for
    #[arg(long)]
    pub(crate) mark_done: bool,
}

/// What `wal receive` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WalReceiveArgs {
    /// The group of the policy; not needed where one alone has `wal`
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// The replication slot
    #[arg(long, value_name = "NAME", default_value = "holdfast")]
    pub(crate) slot: String,
    /// Store what is new at least so often
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(crate) every: shared::policy::text::Period,
    /// A folder with room for four segments, instead of the one for temporary files
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
}

/// What `wal setup` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WalSetupArgs {
    /// The group of the policy; not needed where one alone has `wal`
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Make what is missing, and try it where no restart is needed
    #[arg(long, conflicts_with = "undo")]
    pub(crate) apply: bool,
    /// End a segment, and wait until it is in the archive
    #[arg(long, conflicts_with = "undo")]
    pub(crate) check: bool,
    /// Take back what is ours
    #[arg(long)]
    pub(crate) undo: bool,
    /// Also the replication slot of a receiver
    #[arg(long, value_name = "NAME")]
    pub(crate) slot: Option<String>,
}

/// What `basebackup` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct BaseBackupArgs {
    /// The group of the policy; not needed where one alone has `wal`
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Wait for the server's next checkpoint instead of asking for one: gentler, and later by minutes
    #[arg(long)]
    pub(crate) spread: bool,
    /// Wait so long for the WAL that it needs to be archived
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) wal_timeout: shared::policy::text::Period,
}

/// What `restore` takes for a whole server.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RecoveryArgs {
    /// Restore the whole server of the group into this empty directory, from its base backup and WAL
    #[arg(long, value_name = "DIR", conflicts_with_all = ["to", "replace"], requires = "recovery_target")]
    pub(crate) target_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) target: RecoveryTargetArgs,
    /// Follow this timeline instead of the newest
    #[arg(long, value_name = "NUMBER", requires = "target_dir")]
    pub(crate) timeline: Option<u32>,
    /// The cluster's system identifier, where the archive holds several
    #[arg(long, value_name = "NUMBER", requires = "target_dir")]
    pub(crate) system: Option<u64>,
    /// Put this tablespace there; without it, it lies beside the data directory
    #[arg(long, value_name = "OID=DIR", requires = "target_dir", value_parser = parse_tablespace)]
    pub(crate) tablespace: Vec<(String, PathBuf)>,
    /// Open the server for writing at the target, instead of pausing there
    #[arg(long, requires = "target_dir")]
    pub(crate) promote: bool,
}

/// The moment that a server is restored to.
#[derive(Clone, Debug, ClapArgs)]
#[group(id = "recovery_target", multiple = false)]
pub(crate) struct RecoveryTargetArgs {
    /// Every transaction committed up to this time, with its offset: 2026-11-27T14:05:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// Everything up to this position in the WAL
    #[arg(long, value_name = "LSN")]
    pub(crate) lsn: Option<wal::Lsn>,
    /// Up to this point, made by `pg_create_restore_point`
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Up to the commit of this transaction
    #[arg(long, value_name = "XID")]
    pub(crate) xid: Option<u32>,
    /// Everything that is archived
    #[arg(long)]
    pub(crate) latest: bool,
}

fn parse_tablespace(text: &str) -> Result<(String, PathBuf), String> {
    let (oid, dir) = text
        .split_once('=')
        .ok_or("write its number and a directory: 16425=/srv/restored/16425")?;
    let digits = !oid.is_empty() && oid.bytes().all(|b| b.is_ascii_digit());
    if !digits || !dir.starts_with('/') {
        return Err("write its number and a whole path: 16425=/srv/restored/16425".into());
    }
    Ok((oid.into(), dir.into()))
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
