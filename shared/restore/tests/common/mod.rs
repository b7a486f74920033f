//! What the tests of restores share.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ::restore::{
    BackupRestoreOptions, RestoreChecks,
    verify::{CheckStatus, VerificationReport},
};

/// A restore into a database of this name that is not there yet, as the command does it without a switch.
pub(crate) fn options(target: &str) -> BackupRestoreOptions {
    BackupRestoreOptions {
        target: target.into(),
        replace: false,
        tables: Vec::new(),
        jobs: 2,
        owners: true,
        privileges: true,
        roles: true,
        accept_losses: false,
        safety: true,
        dry_run: false,
        drop_old: false,
        rules: RestoreChecks::default(),
        erasure: Vec::new(),
        run: "r1".into(),
        at: "2026-11-21T03:00:00Z".parse().unwrap(),
    }
}

/// The checks that failed, by name.
pub(crate) fn failed(verified: &VerificationReport) -> Vec<&str> {
    let failed = verified.checks.iter().filter(|c| c.status == CheckStatus::Failed);
    failed.map(|c| c.name.as_str()).collect()
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn wait<T>(work: impl Future<Output = T>) -> T {
    work.await
}
