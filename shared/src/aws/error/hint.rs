//! What to do about a refusal: first by its code, then by its kind. A hint fits the operation, and can be done.

use super::OperationErrorKind;

/// What to do about an error code of AWS or of an S3-compatible store, where the code alone says it.
pub(super) fn hint_for_code(code: &str) -> Option<&'static str> {
    Some(match code {
        // Who asks is not known, or not any more: no permission fixes that.
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
            "the session of these credentials is over: log in again, or write new ones into the environment"
        }
        "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "UnrecognizedClientException"
        | "InvalidToken"
        | "AuthFailure" => {
            "this access key is not known there: check that it was not deleted, that it is of this partition or store, and \
             that the account has this region enabled"
        }
        "RequestTimeTooSkewed" | "RequestInTheFuture" => {
            "set this machine's clock: AWS takes requests of the last 15 minutes alone"
        }
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => {
            "check this machine's clock, then the secret access key, then the region that the store wants in signatures"
        }
        "OptInRequired" | "SubscriptionRequiredException" => {
            "enable the region or the service for this account"
        }
        "AllAccessDisabled" | "AccountProblem" | "NotSignedUp" => {
            "the account itself is closed or suspended: ask AWS's support"
        }
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => {
            "the bucket is in another region: write its region in the policy"
        }
        "NoSuchBucket" => "check the bucket's name and its account in the policy",
        "InvalidObjectState" | "ObjectNotInActiveTierError" => {
            "it lies in an archive class: restore it for some days (aws s3api restore-object), then it can be read"
        }
        "NotImplemented" | "MethodNotAllowed" | "XNotImplemented" => {
            "this store can't do that: take what asks for it (lock, checksum, encryption) out of the policy"
        }
        "SnapshotQuotaExceeded" | "SnapshotQuotaExceededFault" => {
            "raise the quota of manual snapshots in this region (Service Quotas), or keep fewer; the next run goes on"
        }
        "InvalidDBInstanceState" | "InvalidDBClusterStateFault" => {
            "see the database's state: backing up or being changed it is soon over and the next run goes on; stopped, without \
             storage or without its key it waits for a person"
        }
        "InvalidDBSnapshotState" | "InvalidDBClusterSnapshotStateFault" => {
            "the next run tries again; where it stays so, see the snapshot's state in RDS"
        }
        "OptionGroupNotFoundFault" => {
            "name an option group that is there under option_groups in the destination"
        }
        "DisabledException" | "KMS.DisabledException" => "enable the key in KMS",
        "KMSInvalidStateException" | "KMS.KMSInvalidStateException" => {
            "see the key's state in KMS: cancel its deletion, enable it, or import its material again"
        }
        "KMS.NotFoundException" => {
            "check the key's ARN, its region and its account in the policy; a key that was deleted does not come back"
        }
        code if is_throttling_code(code) => {
            "nothing if it is rare: the next run tries again; otherwise see who else uses up the account's calls"
        }
        "ServiceUnavailable" | "InternalError" | "InternalFailure" | "InternalServerError" => {
            "nothing: the next run tries again; where it goes on, see AWS's health dashboard"
        }
        "InvalidParameterValue"
        | "InvalidParameterCombination"
        | "InvalidParameterException"
        | "InvalidArgument"
        | "InvalidRequest"
        | "ValidationError"
        | "ValidationException" => {
            "a value that AWS does not take came from the policy or the request: change the one that is named there"
        }
        _ => return None,
    })
}

/// What to do about a kind of refusal. `theirs` is whether the words before it are a service's own, with a code.
pub(super) fn hint_for_kind(kind: OperationErrorKind, theirs: bool) -> &'static str {
    match kind {
        OperationErrorKind::Denied => "allow this action in the role that made the call",
        OperationErrorKind::Missing => "check the name, the account and the region in the policy",
        OperationErrorKind::Exists => "look at what is there under that name",
        OperationErrorKind::Busy => "nothing: the next run tries again",
        OperationErrorKind::Quota => {
            "nothing if it is rare: the next run goes on; otherwise raise the quota"
        }
        OperationErrorKind::Key => {
            "check that the key is enabled and that its key policy lets this role use it"
        }
        OperationErrorKind::Archived => {
            "it lies in an archive class: restore it for some days (aws s3api restore-object), then it can be read"
        }
        OperationErrorKind::CustomerKey => {
            "copy it by hand with its key (aws s3 cp --sse-c-copy-source), or write such objects with a key of KMS"
        }
        OperationErrorKind::Database => {
            "check that the server runs and that host, port, user and password are right"
        }
        OperationErrorKind::Store => "check the store's address, credentials and free space",
        OperationErrorKind::CleanUp => "check that the role may delete there",
        OperationErrorKind::Unreachable => {
            "check the network and the endpoint; the next run tries again"
        }
        OperationErrorKind::Late => {
            "nothing: the next run goes on; a demand goes on when it is asked again under its name"
        }
        OperationErrorKind::Refused if theirs => {
            "look this code up in the reference of that call; Holdfast tries again with the next run"
        }
        OperationErrorKind::Refused => {
            "this is not what Holdfast expects there: look at it; the next run tries again"
        }
    }
}

/// Whether a code says "slow down".
pub(super) fn is_throttling_code(code: &str) -> bool {
    code.contains("Throttl")
        || matches!(code, "SlowDown" | "RequestLimitExceeded" | "TooManyRequestsException")
}

#[cfg(test)]
mod tests {
    use super::super::{OperationError, kind_for_code};

    /// Operation, code, and a word that the hint must have; then words that it must not have.
    const TABLE: &[(&str, &str, &str, &[&str])] = &[
        ("create snapshot s", "ExpiredToken", "log in again", &["allow"]),
        ("list s3://b", "ExpiredTokenException", "log in again", &["allow"]),
        ("list s3://b", "RequestTimeTooSkewed", "clock", &["allow", "log in"]),
        ("put 3 metric values", "InvalidSignatureException", "clock", &["allow"]),
        ("describe snapshots", "SignatureDoesNotMatch", "secret access key", &["allow"]),
        ("describe snapshots", "InvalidClientTokenId", "not known there", &["allow this action"]),
        ("read s3://b/k", "InvalidAccessKeyId", "not known there", &["allow this action"]),
        ("describe snapshots", "OptInRequired", "enable the region", &["allow"]),
        ("create snapshot s", "AccessDenied", "allow this action", &["clock"]),
        ("create snapshot s", "InvalidDBInstanceState", "without storage", &["start the database"]),
        ("create snapshot s", "InvalidDBClusterStateFault", "a person", &["start the database"]),
        ("create snapshot s", "SnapshotQuotaExceeded", "Service Quotas", &["if it is rare"]),
        ("copy snapshot s", "KMSKeyNotAccessibleFault", "key policy", &["start"]),
        ("copy snapshot s", "KMS.DisabledException", "enable the key", &["allow"]),
        ("copy snapshot s", "KMSInvalidStateException", "cancel its deletion", &[]),
        ("copy snapshot s", "KMS.NotFoundException", "ARN", &[]),
        ("copy snapshot s", "OptionGroupNotFoundFault", "option_groups", &[]),
        ("copy s3://b/k", "InvalidObjectState", "restore-object", &["next run tries"]),
        ("list s3://b", "PermanentRedirect", "write its region", &[]),
        ("list s3://b", "AuthorizationHeaderMalformed", "write its region", &[]),
        ("list s3://b", "NoSuchBucket", "bucket's name", &[]),
        ("list s3://b", "SlowDown", "if it is rare", &["allow"]),
        ("describe snapshots", "Throttling", "if it is rare", &["allow"]),
        ("describe snapshots", "ServiceUnavailable", "next run", &["allow"]),
        ("lock objects in s3://b", "NotImplemented", "this store can't", &[]),
        ("create snapshot s", "InvalidParameterValue", "policy or the request", &[]),
        ("create snapshot s", "SomethingNew", "look this code up", &[]),
    ];

    #[test]
    fn every_code_has_a_hint_that_fits_it() {
        for (doing, code, wanted, wrong) in TABLE {
            let error = OperationError {
                operation: (*doing).into(),
                message: format!("{code}: said AWS"),
                kind: kind_for_code(code),
                code: Some((*code).into()),
                hint: None,
            };
            let hint = error.hint();
            assert!(hint.contains(wanted), "{doing} {code}: {hint}");
            for wrong in wrong.iter().chain(&["AWS's words"]) {
                assert!(!hint.contains(wrong), "{doing} {code}: {hint}");
            }
        }
    }

    #[test]
    fn what_holdfast_itself_refused_is_not_told_as_aws_s() {
        let ours = OperationError::from_message("read s3://b/k", "it is not UTF-8 text");
        assert!(ours.hint().contains("not what Holdfast expects"), "{}", ours.hint());
    }
}
