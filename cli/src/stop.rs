//! How a command ends: its exit code, and what keeps it from going on.

use shared::{
    aws::{OperationError, OperationErrorKind},
    source::PolicyLoadError,
};
use std::process::ExitCode;

/// How a command ended. The numbers are a promise: docs/cli.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All is well.
    Well = 0,
    /// Something failed, or a finding is critical.
    Failed = 1,
    /// A database could not be connected to, or was lost on the way, or there is no place for a test restore.
    NoDatabase = 2,
    /// AWS or a store was not reached or refused: nothing could be asked, or an upload failed.
    Blind = 3,
    /// Encryption or decryption failed.
    Key = 4,
    /// All was taken, and letting go of old points or of leftovers failed.
    CleanUp = 5,
    /// Restored, but not everything that was in the backup.
    Losses = 6,
    /// The command, the policy or the request is wrong: `EX_USAGE` of sysexits.h.
    Wrong = 64,
    /// Not finished in time: `EX_TEMPFAIL` of sysexits.h.
    Late = 75,
    /// Interrupted: 128 and the number of SIGINT, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command can't go on, with the exit code that it ends with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub(crate) struct Stop {
    exit: Exit,
    said: String,
}

impl Stop {
    /// The command, the policy or the request is wrong.
    pub(crate) fn wrong(said: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Wrong, said: said.into() }.into()
    }

    /// AWS could not be asked at all.
    pub(crate) fn blind(said: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Blind, said: said.into() }.into()
    }

    /// Somebody does not want to wait any longer.
    pub(crate) fn interrupted(said: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Interrupted, said: said.into() }.into()
    }

    /// An edge's refusal, with what to do about it.
    pub(crate) fn edge(e: &OperationError) -> anyhow::Error {
        let said = format!("{e}; {}", e.hint());
        match e.kind {
            OperationErrorKind::Denied | OperationErrorKind::Unreachable => {
                Self::blind(format!("AWS could not be asked: {said}"))
            }
            _ => Self { exit: Exit::Failed, said }.into(),
        }
    }

    /// It takes longer than anybody waits.
    pub(crate) fn late(said: impl Into<String>) -> anyhow::Error {
        Self { exit: Exit::Late, said: said.into() }.into()
    }

    /// A refusal on the way of a dump's data: the part that failed decides the exit code.
    pub(crate) fn data(e: &OperationError) -> anyhow::Error {
        let exit = Exit::of_kind(e.kind).unwrap_or(Exit::Failed);
        Self { exit, said: e.to_line_with_hint() }.into()
    }

    /// A restore that failed.
    pub(crate) fn restore(e: &restore::RestoreError) -> anyhow::Error {
        let exit = match e.kind {
            restore::RestoreErrorKind::Connection | restore::RestoreErrorKind::NoScratch => Exit::NoDatabase,
            restore::RestoreErrorKind::Store => Exit::Blind,
            restore::RestoreErrorKind::Key => Exit::Key,
            restore::RestoreErrorKind::Busy | restore::RestoreErrorKind::Cold => Exit::Late,
            _ => Exit::Failed,
        };
        Self { exit, said: e.to_string() }.into()
    }

    /// A dump that may not be restored as it lies there. Damage is damage; what nobody vouches for is the command's to ask for.
    pub(crate) fn dump(e: &store::Error) -> anyhow::Error {
        let exit = match e.kind {
            store::Kind::Untrusted => Exit::Wrong,
            store::Kind::Denied | store::Kind::Unreachable => Exit::Blind,
            store::Kind::Cold => Exit::Late,
            _ => Exit::Failed,
        };
        Self { exit, said: format!("{e}; {}", e.mend) }.into()
    }

    /// There is no policy to go by. One that is not where the command says is the command's fault; one that could not be
    /// asked for is not.
    pub(crate) fn no_policy(e: &PolicyLoadError) -> anyhow::Error {
        let exit = match e {
            PolicyLoadError::Unreadable { kind: Some(kind), .. } if *kind != OperationErrorKind::Missing => Exit::Blind,
            _ => Exit::Wrong,
        };
        Self { exit, said: e.to_string() }.into()
    }
}

impl Exit {
    /// The exit code of what kind of part failed on the way of a dump's data; none where it is just a failure.
    pub(crate) fn of_kind(kind: OperationErrorKind) -> Option<Self> {
        match kind {
            OperationErrorKind::Database => Some(Self::NoDatabase),
            OperationErrorKind::Store | OperationErrorKind::Denied | OperationErrorKind::Unreachable => Some(Self::Blind),
            OperationErrorKind::Key => Some(Self::Key),
            OperationErrorKind::CleanUp => Some(Self::CleanUp),
            _ => None,
        }
    }

    /// The exit code of an error: its own, or 1.
    pub(crate) fn of(e: &anyhow::Error) -> Self {
        e.downcast_ref::<Stop>().map_or(Self::Failed, |stop| stop.exit)
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
        let faulty =
            PolicyLoadError::Faulty { location: "p.yaml".into(), faults: shared::policy::PolicyErrors(vec![]) };
        let fault = |kind| store::Error::new(kind, "restore x", "no", "look");
        let thaw = restore::RestoreError::new(restore::RestoreErrorKind::Cold, "read x", "no", "thaw it");
        let table = [
            (Stop::wrong("x"), 64),
            (Stop::blind("x"), 3),
            (Stop::interrupted("x"), 130),
            (Stop::edge(&edge(OperationErrorKind::Denied)), 3),
            (Stop::edge(&edge(OperationErrorKind::Unreachable)), 3),
            (Stop::edge(&edge(OperationErrorKind::Refused)), 1),
            (Stop::no_policy(&faulty), 64),
            (Stop::no_policy(&unreadable(None)), 64),
            (Stop::no_policy(&unreadable(Some(OperationErrorKind::Missing))), 64),
            (Stop::no_policy(&unreadable(Some(OperationErrorKind::Denied))), 3),
            (Stop::no_policy(&unreadable(Some(OperationErrorKind::Unreachable))), 3),
            (Stop::dump(&fault(store::Kind::Damaged)), 1),
            (Stop::dump(&fault(store::Kind::Missing)), 1),
            (Stop::dump(&fault(store::Kind::Denied)), 3),
            (Stop::dump(&fault(store::Kind::Untrusted)), 64),
            (Stop::dump(&fault(store::Kind::Cold)), 75),
            (Stop::restore(&thaw), 75),
            (anyhow::anyhow!("disk full"), 1),
        ];
        for (error, code) in table {
            let said = error.to_string();
            let wrapped = Err::<(), _>(error).context("around it").expect_err("an error");
            assert_eq!(Exit::of(&wrapped) as u8, code, "{said}");
        }
    }
}
