//! `holdfast wal`: archiving and bringing back, file by file.

mod basebackup;
mod receive;
mod recovery;
mod setup;
mod windows;

pub(crate) use basebackup::run as run_basebackup;
pub(crate) use recovery::run as run_restore;

use crate::{
    args::wal::{WalCommand, WalFetchArgs, WalGroupArgs, WalPushArgs},
    output,
    session::CommandContext,
    stop::{CommandError, CommandExit},
};
use restore::BackupKeys;
use shared::{
    policy::{PostgresGroup, WalConfig, text::Name},
    secret::SecretResolver,
    words::shell_quote,
};
use std::path::{Path, PathBuf};
use storage::TrustPolicy;
pub(crate) use wal::open::ArchiveAccess as Access;
use wal::{
    WalError, WalErrorKind, WalRepository,
    fetch::{self, FetchOutcome},
    open::open_archive,
    push::{self, PushOptions},
    source::read_system_identifier,
};

/// A group with a WAL archive.
pub(crate) type WalGroup<'s> = (&'s Name, &'s PostgresGroup, &'s WalConfig);

/// Does what is asked.
pub(super) async fn run(
    session: &CommandContext<'_>,
    policy: &str,
    command: &WalCommand,
) -> anyhow::Result<CommandExit> {
    match command {
        WalCommand::Push(args) => push(session, args).await,
        WalCommand::Fetch(args) => fetch(session, args).await,
        WalCommand::Receive(args) => receive::run(session, args).await,
        WalCommand::Setup(args) => setup::run(session, policy, args).await,
        WalCommand::Windows { group } => windows::run(session, group.as_deref()).await,
    }
}

/// How a failed `wal fetch` must end, whatever failed: 1 would tell PostgreSQL that there is no more WAL, and it would
/// promote with less than there is. A standby asks again, and would be stopped by more than 125.
pub(crate) fn fetch_failure_exit() -> CommandExit {
    if fetch::is_standby(Path::new(".")) { CommandExit::Failed } else { CommandExit::WalUnknown }
}

/// Whether these are the words of a `wal fetch`.
pub(crate) fn is_fetch_command(words: impl Iterator<Item = String>) -> bool {
    let words: Vec<String> = words.collect();
    words.windows(2).any(|w| w[0] == "wal" && w[1] == "fetch")
}

impl CommandError {
    /// A failure of the WAL archive.
    pub(crate) fn from_wal_error(e: &WalError) -> anyhow::Error {
        let exit = match e.kind {
            WalErrorKind::Store => CommandExit::Unreachable,
            WalErrorKind::Key => CommandExit::Key,
            WalErrorKind::Database => CommandExit::NoDatabase,
            WalErrorKind::Late => CommandExit::TimedOut,
            WalErrorKind::Untrusted
            | WalErrorKind::Conflict
            | WalErrorKind::Damaged
            | WalErrorKind::Disk
            | WalErrorKind::Refused => CommandExit::Failed,
        };
        Self::with_exit(exit, e.to_string())
    }
}

async fn push(session: &CommandContext<'_>, args: &WalPushArgs) -> anyhow::Result<CommandExit> {
    let (_, rules, config) = select_group(session, args.of.group.as_deref())?;
    let secrets = session.secret_resolver();
    let failed = |e: WalError| CommandError::from_wal_error(&e);
    let repository =
        open_repository(session, &secrets, rules, config, Access::Write).await.map_err(failed)?;
    let trust = TrustPolicy::from_policy(&session.policy, rules, session.env.now);
    repository.ensure_owned(&trust, session.env.now).await.map_err(failed)?;
    let system = system_identifier(&args.of, &args.path).map_err(failed)?;
    let options = PushOptions { ahead: args.ahead, jobs: args.jobs, mark_done: args.mark_done };
    let report =
        push::push_wal_file(&repository, system, &args.path, options).await.map_err(failed)?;
    for why in &report.failures {
        output::print_stderr(&format!("holdfast: not archived yet: {why}"));
    }
    Ok(CommandExit::Success)
}

async fn fetch(session: &CommandContext<'_>, args: &WalFetchArgs) -> anyhow::Result<CommandExit> {
    let (_, rules, config) = select_group(session, args.of.group.as_deref())?;
    let secrets = session.secret_resolver();
    let failed = |e: WalError| CommandError::from_wal_error(&e);
    let repository =
        open_repository(session, &secrets, rules, config, Access::Read).await.map_err(failed)?;
    let system = system_identifier(&args.of, &args.path).map_err(failed)?;
    let wanted = args.name.parse().map_err(|why: String| CommandError::usage(why))?;
    match fetch::fetch_wal_file(&repository, system, wanted, &args.path).await.map_err(failed)? {
        FetchOutcome::Fetched => Ok(CommandExit::Success),
        FetchOutcome::Absent => Ok(CommandExit::Failed),
    }
}

/// How PostgreSQL calls this command with this policy: it gives it to a shell after %f and %p are put in.
pub(crate) fn own_command(policy: &str) -> std::io::Result<String> {
    let policy =
        if policy.contains("://") { PathBuf::from(policy) } else { std::path::absolute(policy)? };
    let word = |text: &Path| shell_quote(&text.to_string_lossy()).replace('%', "%%");
    Ok(format!("{} --policy {}", word(&std::env::current_exe()?), word(&policy)))
}

fn system_identifier(of: &WalGroupArgs, path: &Path) -> Result<u64, WalError> {
    of.system.map_or_else(|| read_system_identifier(&fetch::data_folder_of(path)), Ok)
}

/// The groups with a WAL archive.
pub(crate) fn wal_groups<'s>(
    session: &'s CommandContext<'_>,
) -> impl Iterator<Item = WalGroup<'s>> {
    session
        .policy
        .postgres
        .iter()
        .filter_map(|(name, rules)| Some((name, rules, rules.wal.as_ref()?)))
}

/// The one group that is meant.
///
/// # Errors
/// If there is none, or several and none is named.
pub(crate) fn select_group<'s>(
    session: &'s CommandContext<'_>,
    named: Option<&str>,
) -> anyhow::Result<WalGroup<'s>> {
    let all: Vec<_> = wal_groups(session).collect();
    let known: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
    match (named, all.as_slice()) {
        (Some(named), all) => {
            all.iter().find(|(name, ..)| name.as_str() == named).copied().ok_or_else(|| {
                CommandError::usage(format!(
                    "\"{named}\" is no postgres group with wal; the policy has: {}",
                    known.join(", ")
                ))
            })
        }
        (None, [one]) => Ok(*one),
        (None, []) => Err(CommandError::usage(
            "no postgres group of the policy has wal: write wal with its storage",
        )),
        (None, _) => Err(CommandError::usage(format!(
            "several groups have wal: write --group with one of {}",
            known.join(", ")
        ))),
    }
}

/// Opens a group's archive: keys that sign where it is written, and keys that open where it is read.
///
/// # Errors
/// If the store, or a key that is needed, can't be had.
pub(crate) async fn open_repository(
    session: &CommandContext<'_>,
    secrets: &SecretResolver<'_>,
    rules: &PostgresGroup,
    config: &WalConfig,
    access: Access,
) -> Result<WalRepository, WalError> {
    let of = (&session.aws, &*session.policy, config);
    let mut repository = open_archive(of, secrets, access, &session.env.run_id).await?;
    if access == Access::Read {
        repository.keys = BackupKeys::resolve_keys(secrets, rules, &[]).await?.keys;
    }
    Ok(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_of_a_fetch_looks_like_the_end_of_the_wal() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter();
        assert!(is_fetch_command(words("holdfast --policy x wal fetch --nonsense")));
        assert!(!is_fetch_command(words("holdfast wal push x")));
        assert!(fetch_failure_exit() as u8 > 125);
    }
}
