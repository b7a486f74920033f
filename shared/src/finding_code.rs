//! The codes of findings: one list of what can be wrong, what it means and how to fix it. docs/findings.md is made from it.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! finding_codes {
    ($($variant:ident $code:literal: $meaning:literal / $fix:literal;)*) => {
        /// What kind of difference between policy and observation a finding is. It is written as its kebab-case code in
        /// reports, logs, messages and JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FindingCode {
            $(
                #[doc = $meaning]
                #[serde(rename = $code)]
                $variant,
            )*
        }

        impl FindingCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it is written: `backup-stale`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// How to fix it. A finding's own hint says more where more is known.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

finding_codes! {
    AccessNotReadable "access-not-readable":
        "Who may reach a bucket, key or role could not be read." /
        "Allow the action that the finding names.";
    AccessReview "access-review":
        "Once a month: who read and deleted backups, beside who may." /
        "Read it; ask about what you did not expect.";
    Alarm "alarm":
        "A CloudWatch alarm fires." /
        "See the alarm.";
    AlarmUpdateFailed "alarm-update-failed":
        "A CloudWatch alarm could not be written." /
        "Follow the finding's hint; the next run tries again.";
    AmbiguousGroup "ambiguous-group":
        "Two groups select one database; the first has it." /
        "Name it under `exclude` in the second group.";
    AuditWriteFailed "audit-write-failed":
        "The run could not be written into the audit log." /
        "Follow the finding's hint.";
    BackupDeferred "backup-deferred":
        "A database is in a state in which RDS refuses snapshots, so the scheduled one waits." /
        "See its status in RDS. It is critical after a day.";
    BackupInvalid "backup-invalid":
        "A file is not what its record says, or its record does not hold; it counts as no backup." /
        "Look into it; Holdfast never deletes it by itself.";
    BackupNotTaken "backup-not-taken":
        "A snapshot or dump that was asked for or was due has not been made." /
        "See the finding's message, and run it again.";
    BackupStale "backup-stale":
        "The newest good recovery point is older than the objective." /
        "Run the function that makes it (`holdfast run snapshot`, `holdfast dump`), or fix what writes it; then look for why the schedule was missed.";
    BackupStuck "backup-stuck":
        "A snapshot or copy has been in progress for more than a day." /
        "See its events in RDS; delete it when it does not go on, and a new one is made.";
    BackupUnknown "backup-unknown":
        "A place could not be read, so nothing is known of what lies there." /
        "See the finding `observation-failed` of that place.";
    ChecksumMismatch "checksum-mismatch":
        "The newest object is not what its checksum says." /
        "Make a new one now, and find out what changed the old one.";
    ChecksumMissing "checksum-missing":
        "No checksum lies beside the newest object." /
        "Write one beside each (`sha256sum`), so that damage is seen before the object is needed.";
    ClockSkew "clock-skew":
        "A recovery point has a time in the future, so it proves nothing." /
        "Compare the clocks of this host and of whatever writes there.";
    CopiesQueued "copies-queued":
        "Copies wait for a free slot at the destination." /
        "Nothing: the next runs start them.";
    DatabaseGone "database-gone":
        "A group of all databases has dumps of one that its server does not have any more; the dumps are kept." /
        "Find out who dropped it; where that was meant, name it under `exclude`.";
    DatabaseMissing "database-missing":
        "The policy names a database and RDS has none of that name." /
        "Check the name; if it was deleted on purpose, take it out of the policy.";
    DeadlineExceeded "deadline-exceeded":
        "The run was cut off before its Lambda would have been killed: something that it waited for hangs." /
        "See the log for the last request; give the function more time.";
    DeleteAccess "delete-access":
        "A bucket's policy lets others delete than `access` names." /
        "Take them out of the bucket's policy, or name them in `access`.";
    DeleteLimitExceeded "delete-limit-exceeded":
        "Retention would have deleted more than `limits.delete`; it deleted nothing." /
        "Run `holdfast plan retention` and see why; raise the limit for one run if it is right.";
    DeletionSuspended "deletion-suspended":
        "Recovery points that no rule keeps stay, because backups of their kind are not being made." /
        "Fix those backups.";
    DiskFull "disk-full":
        "There is not enough disk space for the next dump." /
        "Free space on the disk, or put the directory on a larger one.";
    DrillEvidenceIgnored "drill-evidence-ignored":
        "Something lies among a drill's evidence that does not count: it is not signed by the policy's key, or says another name." /
        "Find out who put it there. It is never deleted, and never counted.";
    DrillFailed "drill-failed":
        "The newest drill of an asset failed: the restore, a check, or an objective." /
        "Run `holdfast drill show` with its name and see what failed; make a new backup and repeat the drill.";
    DrillMissed "drill-missed":
        "A drill was due and did not begin in time." /
        "Run it now with `holdfast drill run` and its name; have `holdfast run drill` run hourly on a host that can restore.";
    DrillUnverified "drill-unverified":
        "A drill could not be carried out, so it says nothing about the backup." /
        "Run `holdfast drill show` with its name, see why, and repeat it.";
    DiskLow "disk-low":
        "Less space is free than `min_free_space` asks for." /
        "Free space on the disk, or put the directory on a larger one.";
    EncryptionDiffers "encryption-differs":
        "The bucket's default encryption is not what the policy says." /
        "Set the bucket's default encryption as the policy says.";
    HoldUnmatched "hold-unmatched":
        "An entry of `legal_holds` is no recovery point, so it holds nothing." /
        "Correct the name.";
    InvalidKeyTemplate "invalid-key-template":
        "The key template gives no valid name for a dump." /
        "Correct `key` in the policy.";
    IoSuspension "io-suspension":
        "A snapshot of a Single-AZ SQL Server suspends I/O for some minutes." /
        "Nothing, or make it Multi-AZ.";
    KeepsFailing "keeps-failing":
        "Three tries of one scheduled snapshot or copy failed; no further try is made." /
        "See the database's events in RDS, or the failed copies: most often it is the key or its policy.";
    KeptInVault "kept-in-vault":
        "Copies in another account that its own people delete." /
        "Delete them there, or write `delete_role` in the destination.";
    KeyAge "key-age":
        "A key or its rotation period is older than the policy allows." /
        "Rotate it as the finding says.";
    KmsKeyNotReadable "kms-key-not-readable":
        "The state of a KMS key could not be read." /
        "Allow `kms:DescribeKey` on that key.";
    KmsKeyNotShareable "kms-key-not-shareable":
        "A snapshot is under an AWS-managed key, which no other account can use." /
        "Write `reencrypt_kms_key` in the destination: a customer-managed key that is shared with it.";
    KmsKeyUnusable "kms-key-unusable":
        "A KMS key is disabled or pending deletion, so what is under it cannot be restored." /
        "Cancel the deletion of the key and enable it (`aws kms cancel-key-deletion`, `aws kms enable-key`).";
    MetricsPublishFailed "metrics-publish-failed":
        "Metrics could not be published." /
        "Follow the finding's hint; the next run publishes anew.";
    MfaNotRequired "mfa-not-required":
        "A bucket's policy lets requests without MFA through." /
        "Add the Deny statement that the finding gives.";
    MissingHeartbeat "missing-heartbeat":
        "No report of a function arrived within its time." /
        "See whether its schedule runs, and its log.";
    NoBackup "no-backup":
        "There is no good recovery point." /
        "Run the function that makes it; where somebody else writes it, look whether that runs.";
    NoBackupYet "no-backup-yet":
        "The database is younger than its objective and has no recovery point yet." /
        "Nothing: the next run makes one.";
    NoKey "no-key":
        "A copy or a dump needs a key that is not there." /
        "Write the key in the policy, or put the key file where the finding says.";
    NoLongerInPolicy "no-longer-in-policy":
        "Recovery points of a database or reason that the policy no longer names; they are kept." /
        "Write a rule for them, or delete them by hand.";
    NoMatch "no-match":
        "The request matches no database." /
        "Check the request's reason and assets against the policy.";
    NoNotifyState "no-notify-state":
        "`notify` is configured and has no place for its state, so nobody is notified." /
        "Set `HOLDFAST_STATE`, or give `--state`.";
    NoObjects "no-objects":
        "A bucket or prefix that the policy names has no objects." /
        "Check what writes there, or the policy.";
    NoRecoveryReport "no-recovery-report":
        "A restore was begun and has not reported its end." /
        "Ask who restores.";
    NoReplica "no-replica":
        "The policy watches the lag of read replicas and there is none." /
        "Check that the replica exists, or take `replica_max_lag` out of the policy.";
    NoRestoreWindow "no-restore-window":
        "A database cannot be restored to a point in time." /
        "See the database's events in RDS.";
    NoncurrentTooLong "noncurrent-too-long":
        "Noncurrent versions are kept longer than the policy says." /
        "Set `NoncurrentDays` of the lifecycle rule as the policy says.";
    NoncurrentTooShort "noncurrent-too-short":
        "A lifecycle rule deletes noncurrent versions earlier than the policy allows." /
        "Set `NoncurrentDays` of the lifecycle rule as the policy says.";
    NoncurrentUnlimited "noncurrent-unlimited":
        "No lifecycle rule deletes noncurrent versions." /
        "Add a lifecycle rule of the whole bucket.";
    NotImplemented "not-implemented":
        "The policy names something that no function does yet." /
        "Take it out of the policy, or make these backups by other means and say so there.";
    NotObserved "not-observed":
        "Nothing could be observed of the asset." /
        "See what could not be read; run `holdfast status` where it can be reached.";
    NotObservedHere "not-observed-here":
        "A directory or endpoint can be read on its host alone." /
        "Run `holdfast monitor` there.";
    NotWatched "not-watched":
        "Nothing that the policy asks of it is done or watched by any function." /
        "Ask for something in the policy, or take it out.";
    NotificationFailed "notification-failed":
        "A topic or channel could not be notified." /
        "Follow the finding's hint.";
    NotifyStateReset "notify-state-reset":
        "The state of `notify` could not be read and was begun anew." /
        "See who changed it.";
    ObjectArchived "object-archived":
        "Objects without a copy lie in an archive class." /
        "Restore them for some days; the next run copies them then.";
    ObjectCustomerKey "object-customer-key":
        "Objects without a copy are under a customer-provided key (SSE-C)." /
        "Copy them with their key by other means, or write such objects under a KMS key.";
    ObjectIgnored "object-ignored":
        "An object beside a dump was ignored: it is not signed, not from this policy, or has an impossible time." /
        "Find out who put it there; it does not count.";
    ObservationFailed "observation-failed":
        "Something could not be read. Nothing is concluded from it, and nothing is deleted there." /
        "Follow the hint: a missing permission, a wrong region, a server that does not answer.";
    OffsiteCopyBehind "offsite-copy-behind":
        "The newest copy at a second place is further behind its source than allowed." /
        "See why it is not copied there.";
    OffsiteCopyMissing "offsite-copy-missing":
        "A destination has no good copy." /
        "Run `holdfast run offsite` and see its report.";
    OffsiteCopyStale "offsite-copy-stale":
        "The newest good copy at a destination is older than allowed." /
        "Run `holdfast run offsite` and see its report.";
    OffsiteCopyUnknown "offsite-copy-unknown":
        "The copies at a destination could not be read, so their age is unknown." /
        "See the finding `observation-failed` of that place.";
    OverBudget "over-budget":
        "Storage costs more than the policy's budget, or will this month." /
        "Keep fewer recovery points, move them to a colder class, or raise the budget.";
    PageWriteFailed "page-write-failed":
        "The status page could not be written." /
        "Follow the finding's hint.";
    PlainHttpAllowed "plain-http-allowed":
        "A bucket's policy does not refuse requests without TLS." /
        "Add the Deny statement that the finding gives.";
    PreflightFailed "preflight-failed":
        "The next dump would fail: the server cannot be reached, the tools are too old, rights are missing." /
        "Fix what the finding names before the dump is due.";
    PublicAccess "public-access":
        "A bucket's policy lets everybody in." /
        "Take that statement out, and block public access.";
    QuotaExceeded "quota-exceeded":
        "The quota of manual snapshots, or the storage quota, is used up or will be." /
        "Keep fewer, or ask for a higher quota.";
    QuotaNotReadable "quota-not-readable":
        "The quota of manual snapshots could not be read." /
        "Allow `rds:DescribeAccountAttributes`.";
    RdbChecksumOff "rdb-checksum-off":
        "A Redis server writes its RDB files without a checksum, so damage in them is not seen when they are loaded." /
        "Set `rdbchecksum yes` in redis.conf and restart the server.";
    RdbSaveFailed "rdb-save-failed":
        "A Redis server could not write its RDB file or its append-only file, or has not saved for long; it may refuse writes." /
        "See the server's log: most often its disk is full, its folder is gone, or the fork had no memory.";
    ReadAccess "read-access":
        "A bucket's policy lets others read than `access` names." /
        "Take them out of the bucket's policy, or name them in `access`.";
    ReplicaDiffers "replica-differs":
        "An object has other bytes in the replica." /
        "Find out which side is right, and who writes to the replica.";
    ReplicaExtra "replica-extra":
        "The replica has objects that the source has not." /
        "Nothing: deletes are not replicated unless a rule says so.";
    ReplicaIncomplete "replica-incomplete":
        "Objects of the source are not in the replica." /
        "See which replication rule leaves them out, and the replication status of one of them.";
    ReplicaLag "replica-lag":
        "A read replica is further behind than allowed." /
        "Look for long queries on the replica, or a burst of writes.";
    ReplicaLagUnknown "replica-lag-unknown":
        "CloudWatch has no lag of the read replica: that it keeps up is not proven." /
        "Look whether the replica runs and its replication is on.";
    ReplicaNotReadable "replica-not-readable":
        "An object could not be compared with its replica." /
        "Follow the finding's hint.";
    ReplicaStopped "replica-stopped":
        "The replication of a read replica is not running." /
        "See the replica's events in RDS.";
    ReplicaVersioning "replica-versioning":
        "Versioning of the replica bucket is off, so S3 cannot replicate to it." /
        "Switch the replica's versioning on.";
    ReplicationLag "replication-lag":
        "The replica is further behind than allowed." /
        "Look at the replication status of that object: HEAD shows PENDING or FAILED.";
    ReplicationRuleNarrow "replication-rule-narrow":
        "The replication rules take in fewer keys than the policy replicates." /
        "Let a rule take in the whole bucket, or write the prefixes into `replication.prefixes`.";
    RestorableLag "restorable-lag":
        "The latest restorable time is further behind than allowed." /
        "See the database's events in RDS.";
    RestoreWindowShort "restore-window-short":
        "A database can be restored to a shorter time back than the policy asks for." /
        "It grows by a day each day if the retention is right.";
    RetentionNotDue "retention-not-due":
        "The policy's `retention.schedule` is not due; nothing was deleted." /
        "Nothing.";
    RuleMissing "rule-missing":
        "Something that the policy relies on has no rule: replication to the destination, or retention of the audit log." /
        "Enable a rule as the finding says.";
    RunNotCompleted "run-not-completed":
        "A function was started and did not come to its end." /
        "See its log.";
    RunUnfinished "run-unfinished":
        "There was no time to look at everything." /
        "The next run goes on; give the function more time, or run it by hand.";
    ScheduleMissed "schedule-missed":
        "The newest scheduled time has no recovery point of its own, although others may be recent enough." /
        "Run the function that makes it, and see its last report for what stopped it. The second miss in a row is critical.";
    SecretDeletionPlanned "secret-deletion-planned":
        "A secret is scheduled for deletion; it cannot be read until that is cancelled." /
        "Cancel it with `aws secretsmanager restore-secret`, or let it go.";
    SecretNoPrevious "secret-no-previous":
        "A secret has no previous version, so it cannot be rolled back." /
        "Rotate it, or write its value once more.";
    SecretNotExported "secret-not-exported":
        "A version of a secret that is in use has no export." /
        "Run `holdfast run secrets`, and see its report.";
    SecretReplica "secret-replica":
        "A secret is not replicated to a region that the policy names, or has other versions there." /
        "Replicate it with `aws secretsmanager replicate-secret-to-regions`, or see its replication status.";
    SecretRotationOld "secret-rotation-old":
        "A secret was not rotated within the time that the policy allows." /
        "Rotate it.";
    SecretRotationStuck "secret-rotation-stuck":
        "A rotation of a secret was begun and not finished, or is overdue." /
        "See the log of the rotation function, then rotate it again.";
    SentinelDisagreement "sentinel-disagreement":
        "Sentinels name different primaries, or hold the primary for down." /
        "Compare `SENTINEL MASTER` of each; one that fell behind is restarted or reset.";
    SentinelQuorumLost "sentinel-quorum-lost":
        "Sentinels are not reached or too few, so no failover would happen." /
        "Start the missing Sentinels; see `SENTINEL CKQUORUM`.";
    ServiceTimeout "service-timeout":
        "A service did not answer within its share of the run's time." /
        "See whether the service is reachable; the next run tries again.";
    SessionTooLong "session-too-long":
        "A role's sessions may last longer than `access.max_session`." /
        "Run `aws iam update-role --max-session-duration`.";
    SettingsDrift "settings-drift":
        "A backup setting of a database differs from the policy." /
        "Run the command in the finding, or change the policy.";
    SettingsNotReadable "settings-not-readable":
        "A Redis server does not show its settings, so they could not be compared with the policy." /
        "Allow its user `CONFIG GET`; where the service has none, take `settings` out of the policy.";
    SizeBelowMinimum "size-below-minimum":
        "The newest object is smaller than `min_size`." /
        "Look into it before older ones are deleted: it may be empty.";
    SizeDeviation "size-deviation":
        "The newest object's size differs from the median of those before it by more than `max_size_deviation`." /
        "See what changed in the data.";
    SnapshotFailed "snapshot-failed":
        "A snapshot newer than the newest good one has failed." /
        "See the database's events in RDS; the next run tries again.";
    StorageReport "storage-report":
        "The monthly report of what storage costs." /
        "Nothing.";
    StoreAccessDenied "store-access-denied":
        "Retention may not list a group's dumps." /
        "Name their bucket in the stack parameter `DumpBuckets`, or let `holdfast dump` on a host delete them.";
    SuccessRate "success-rate":
        "Too many backups of the last days failed." /
        "Run `holdfast audit list` and see what failed.";
    TagLimit "tag-limit":
        "RDS takes 50 tags, so a snapshot lacks some of the database's." /
        "Remove tags from the database.";
    TooFewDatabases "too-few-databases":
        "A group selects fewer databases than `expect` says." /
        "Check the selection, or `expect`, in the policy.";
    TooMany "too-many":
        "More is wrong than is listed one by one." /
        "Run `holdfast status`.";
    Undelivered "undelivered":
        "Messages to a channel could not be delivered." /
        "Run `holdfast notify --test CHANNEL`.";
    UnknownAsset "unknown-asset":
        "The request names an asset that the policy does not select." /
        "Check its name.";
    UnknownReason "unknown-reason":
        "The request names a reason that no group has." /
        "Use one of the reasons that the finding lists.";
    Unproven "unproven":
        "No drill has proven a restore of this asset, or none for longer than its calendar allows." /
        "Run the drill that the finding names.";
    Unprotected "unprotected":
        "A database is selected by no group of the policy." /
        "Add it to a group, or name it under `exclude` with the reason in `not_backed_up`.";
    VerificationFailed "verification-failed":
        "A verification or test restore of a backup failed." /
        "See `holdfast verify` of that backup; make a new one.";
    VersioningOff "versioning-off":
        "Versioning of a bucket is off: what is overwritten or deleted is lost." /
        "Switch the bucket's versioning on.";
    WalGap "wal-gap":
        "WAL is missing between archived segments: no moment after it can be restored from a base backup before it." /
        "Take a base backup with `holdfast basebackup`; the gap stays until retention deletes what is before it.";
    WalNotArchived "wal-not-archived":
        "WAL that the server has written is not in its archive." /
        "See the server's log for why archive_command fails, and whether the archive can be reached.";
    WrongCopy "wrong-copy":
        "A copy does not count: it is under another key, too small, or of another source." /
        "Delete it when you know why; a new one is made after that.";
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/findings.md is the list above. `UPDATE_DOCS=1 cargo test -p shared` writes it.
    #[test]
    fn the_documentation_lists_every_code() {
        let mut page = "# Findings\n\nEvery code that a report, `holdfast status`, a message or a log can name. This page is made from \
                        `FindingCode`; a test holds them together. `notify` has one more for each function: \
                        `dump-failed` and the like, for a step that failed.\n\n| code | what it means | how to fix it |\n|---|---|---|\n"
            .to_owned();
        for code in FindingCode::ALL {
            page += &format!("| `{code}` | {} | {} |\n", code.meaning(), code.fix());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).expect("docs/findings.md");
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            page,
            "UPDATE_DOCS=1 writes it"
        );
    }

    #[test]
    fn a_code_is_read_back_as_it_was_written() {
        for code in FindingCode::ALL {
            let written = serde_json::to_string(code).expect("JSON");
            assert_eq!(written, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<FindingCode>(&written).expect("a code"), *code);
        }
    }
}
