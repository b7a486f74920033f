//! How a command ends: its exit code, and what keeps it from going on.

use shared::{
    aws::{OperationError, OperationErrorKind},
    source::PolicyLoadError,
};
use std::process::ExitCode;

/// How a command ended. The numbers are a promise: docs/cli.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum CommandExit {
    /// All is well.
    Success = 0,
    /// Something failed, or a finding is critical.
    Failed = 1,
    /// A database could not be connected to, or was lost on the way, or there is no place for a test restore.
    NoDatabase = 2,
    /// AWS or a store was not reached or refused: nothing could be asked, or an upload failed.
    Unreachable = 3,
    /// Encryption or decryption failed.
    Key = 4,
    /// All was taken, and letting go of old points or of leftovers failed.
    CleanUp = 5,
    /// Restored, but not everything that was in the backup.
    Losses = 6,
    /// The command, the policy or the request is wrong: `EX_USAGE` of sysexits.h.
    UsageError = 64,
    /// Not finished in time: `EX_TEMPFAIL` of sysexits.h.
    TimedOut = 75,
    /// Whether the archive has a WAL file is not known: PostgreSQL stops recovery at anything above 125.
    WalUnknown = 126,
    /// Interrupted: 128 and the number of SIGINT, as shells have it.
    Interrupted = 130,
}

impl From<CommandExit> for ExitCode {
    fn from(exit: CommandExit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command can't go on, with the exit code that it ends with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommandError {
    exit: CommandExit,
    message: String,
}

impl CommandError {
    /// The command, the policy or the request is wrong.
    pub(crate) fn usage(said: impl Into<String>) -> anyhow::Error {
        Self { exit: CommandExit::UsageError, message: said.into() }.into()
    }

    /// What went wrong, with its exit code.
    pub(crate) fn with_exit(exit: CommandExit, message: impl Into<String>) -> anyhow::Error {
        Self { exit, message: message.into() }.into()
    }

    /// AWS could not be asked at all.
    pub(crate) fn unreachable(said: impl Into<String>) -> anyhow::Error {
        Self { exit: CommandExit::Unreachable, message: said.into() }.into()
    }

    /// Somebody does not want to wait any longer.
    pub(crate) fn interrupted(said: impl Into<String>) -> anyhow::Error {
        Self { exit: CommandExit::Interrupted, message: said.into() }.into()
    }

    /// An edge's refusal, with what to do about it.
    pub(crate) fn from_operation_error(e: &OperationError) -> anyhow::Error {
        let said = format!("{e}; {}", e.hint());
        match e.kind {
            OperationErrorKind::Denied | OperationErrorKind::Unreachable => {
                Self::unreachable(format!("AWS could not be asked: {said}"))
            }
            _ => Self { exit: CommandExit::Failed, message: said }.into(),
        }
    }

    /// It takes longer than anybody waits.
    pub(crate) fn timed_out(said: impl Into<String>) -> anyhow::Error {
        Self { exit: CommandExit::TimedOut, message: said.into() }.into()
    }

    /// A refusal on the way of a dump's data: the part that failed decides the exit code.
    pub(crate) fn from_data_error(e: &OperationError) -> anyhow::Error {
        let exit = CommandExit::from_error_kind(e.kind).unwrap_or(CommandExit::Failed);
        Self { exit, message: e.to_line_with_hint() }.into()
    }

    /// A restore that failed.
    pub(crate) fn from_restore_error(e: &restore::RestoreError) -> anyhow::Error {
        let exit = match e.kind {
            restore::RestoreErrorKind::Connection | restore::RestoreErrorKind::NoScratch => {
                CommandExit::NoDatabase
            }
            restore::RestoreErrorKind::Store => CommandExit::Unreachable,
            restore::RestoreErrorKind::Key => CommandExit::Key,
            restore::RestoreErrorKind::Busy | restore::RestoreErrorKind::Cold => {
                CommandExit::TimedOut
            }
            _ => CommandExit::Failed,
        };
        Self { exit, message: e.to_string() }.into()
    }

    /// A dump that may not be restored as it lies there. Damage is damage; what nobody vouches for is the command's to ask for.
    pub(crate) fn dump(e: &storage::StoreError) -> anyhow::Error {
        let exit = match e.kind {
            storage::StoreErrorKind::Untrusted => CommandExit::UsageError,
            storage::StoreErrorKind::Denied | storage::StoreErrorKind::Unreachable => {
                CommandExit::Unreachable
            }
            storage::StoreErrorKind::Archived => CommandExit::TimedOut,
            _ => CommandExit::Failed,
        };
        Self { exit, message: format!("{e}; {}", e.hint) }.into()
    }

    /// There is no policy to go by. One that is not where the command says is the command's fault; one that could not be
    /// asked for is not.
    pub(crate) fn from_policy_error(e: &PolicyLoadError) -> anyhow::Error {
        let exit = match e {
            PolicyLoadError::Unreadable { kind: Some(kind), .. }
                if *kind != OperationErrorKind::Missing =>
            {
                CommandExit::Unreachable
            }
            _ => CommandExit::UsageError,
        };
        Self { exit, message: e.to_string() }.into()
    }
}

impl CommandExit {
    /// The exit code of what kind of part failed on the way of a dump's data; none where it is just a failure.
    pub(crate) fn from_error_kind(kind: OperationErrorKind) -> Option<Self> {
        match kind {
            OperationErrorKind::Database => Some(Self::NoDatabase),
            OperationErrorKind::Store
            | OperationErrorKind::Denied
            | OperationErrorKind::Unreachable => Some(Self::Unreachable),
            OperationErrorKind::Key => Some(Self::Key),
            OperationErrorKind::CleanUp => Some(Self::CleanUp),
            _ => None,
        }
    }

    /// The exit code of an error: its own, or 1.
    pub(crate) fn from_error(e: &anyhow::Error) -> Self {
        e.downcast_ref::<CommandError>().map_or(Self::Failed, |stop| stop.exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn each_way_to_stop_has_its_exit_code_whatever_is_said_around_it() {
        let edge = |kind| OperationError {
            operation: "list".into(),
            message: "no".into(),
            kind,
            code: None,
            hint: None,
        };
        let unreadable = |kind| PolicyLoadError::Unreadable {
            location: "s3://b/k".into(),
            message: "no".into(),
            hint: "allow it".into(),
            kind,
        };
        let faulty = PolicyLoadError::Faulty {
            location: "p.yaml".into(),
            faults: shared::policy::PolicyErrors(vec![]),
        };
        let fault = |kind| storage::StoreError::new(kind, "restore x", "no", "look");
        let thaw =
            restore::RestoreError::new(restore::RestoreErrorKind::Cold, "read x", "no", "thaw it");
        let table = [
            (CommandError::usage("x"), 64),
            (CommandError::unreachable("x"), 3),
            (CommandError::interrupted("x"), 130),
            (CommandError::from_operation_error(&edge(OperationErrorKind::Denied)), 3),
            (CommandError::from_operation_error(&edge(OperationErrorKind::Unreachable)), 3),
            (CommandError::from_operation_error(&edge(OperationErrorKind::Refused)), 1),
            (CommandError::from_policy_error(&faulty), 64),
            (CommandError::from_policy_error(&unreadable(None)), 64),
            (CommandError::from_policy_error(&unreadable(Some(OperationErrorKind::Missing))), 64),
            (CommandError::from_policy_error(&unreadable(Some(OperationErrorKind::Denied))), 3),
            (
                CommandError::from_policy_error(&unreadable(Some(OperationErrorKind::Unreachable))),
                3,
            ),
            (CommandError::dump(&fault(storage::StoreErrorKind::Damaged)), 1),
            (CommandError::dump(&fault(storage::StoreErrorKind::Missing)), 1),
            (CommandError::dump(&fault(storage::StoreErrorKind::Denied)), 3),
            (CommandError::dump(&fault(storage::StoreErrorKind::Untrusted)), 64),
            (CommandError::dump(&fault(storage::StoreErrorKind::Archived)), 75),
            (CommandError::from_restore_error(&thaw), 75),
            (anyhow::anyhow!("disk full"), 1),
        ];
        for (error, code) in table {
            let said = error.to_string();
            let wrapped = Err::<(), _>(error).context("around it").expect_err("an error");
            assert_eq!(CommandExit::from_error(&wrapped) as u8, code, "{said}");
        }
    }
}
