//! Errors of the edges: what was being done, what AWS said, and what to do about it (`hint`).

mod hint;

use aws_sdk_rds::error::SdkError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Why a call could not be made or was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct OperationError {
    /// Verb and object: `create snapshot orders-daily-202611200200`.
    pub operation: String,
    /// AWS's own words.
    pub message: String,
    /// What kind of refusal, for what a caller does about it.
    pub kind: OperationErrorKind,
    /// AWS's error code, when it gave one.
    pub code: Option<String>,
    /// What to do about it, where that is known better than by the kind.
    pub hint: Option<String>,
}

/// What a caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationErrorKind {
    /// The role lacks a permission; waiting does not help.
    Denied,
    /// What was named is not there.
    Missing,
    /// Something of that name is there already; whether it is what was wanted is for who asked to see.
    Exists,
    /// The database or snapshot is busy with something else; a later run will do it.
    Busy,
    /// A quota is used up; a later run will do it.
    Quota,
    /// A KMS key can't be used, or a dump can't be encrypted or decrypted.
    Key,
    /// An object lies in an archive class or tier and can't be read as it is.
    Archived,
    /// An object is encrypted with a key of the customer's own (SSE-C), which Holdfast does not have.
    CustomerKey,
    /// A database server is not reached, or was lost on the way.
    Database,
    /// A store does not take or give what is asked.
    Store,
    /// What is left over could not be cleaned up.
    CleanUp,
    /// AWS is not reached, or told us to slow down beyond all retries.
    Unreachable,
    /// The run's own time is over; the next run goes on.
    Late,
    /// Any other refusal.
    Refused,
}

impl OperationError {
    /// Turns an SDK error into ours.
    pub fn from_sdk_error<E, R>(doing: impl Into<String>, e: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let code = e.code().map(str::to_owned);
        let why = match (e.message(), &code) {
            (Some(message), Some(code)) => format!("{code}: {message}"),
            (None, Some(code)) => code.clone(),
            _ => error_chain(e),
        };
        let kind = match (e, code.as_deref()) {
            (_, Some(code)) => kind_for_code(code),
            (SdkError::ServiceError(_), None) => OperationErrorKind::Refused,
            // A role that may not be assumed is refused before there is an answer of the service.
            (_, None) => not_assumed(e)
                .map_or(OperationErrorKind::Unreachable, |code| self::kind_for_code(&code)),
        };
        Self { operation: doing.into(), message: why, kind, code, hint: None }
    }

    /// A refusal of our own, for what AWS answered but can't be right.
    pub fn from_message(doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            operation: doing.into(),
            message: why.into(),
            kind: OperationErrorKind::Refused,
            code: None,
            hint: None,
        }
    }

    /// A refusal of another edge than AWS, with its own fix.
    pub fn with_hint(
        kind: OperationErrorKind,
        doing: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into()).filter(|m: &String| !m.is_empty());
        Self { operation: doing.into(), message: why.into(), kind, code: None, hint }
    }

    /// All of it on one line: what, why, and what to do.
    pub fn to_line_with_hint(&self) -> String {
        format!("{self}; {}", self.hint())
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> &str {
        if let Some(hint) = &self.hint {
            return hint;
        }
        let by_code = self.code.as_deref().and_then(hint::hint_for_code);
        by_code.unwrap_or_else(|| hint::hint_for_kind(self.kind, self.code.is_some()))
    }

    /// The place could not be looked at.
    pub fn to_observation_error(
        &self,
        place: &crate::catalog::Location,
    ) -> crate::catalog::ObservationError {
        crate::catalog::ObservationError {
            location: place.clone(),
            message: self.to_string(),
            hint: self.hint().into(),
        }
    }
}

/// The code with which STS refused to let a role be assumed, where that is among the causes of an error.
fn not_assumed(e: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(e), |e| e.source());
    let refused = causes.find_map(|cause| cause.downcast_ref::<AssumeRoleError>())?;
    refused.code().map(str::to_owned)
}

/// An error and its causes, each once: `dispatch failure: io error: tcp connect error: Connection refused`.
fn error_chain(e: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(e), |e| e.source());
    let mut words: Vec<String> = Vec::new();
    for word in causes.map(ToString::to_string) {
        if !words.iter().any(|w| w.contains(&word)) {
            words.push(word);
        }
    }
    words.join(": ")
}

/// Codes as the models of RDS, S3, KMS and STS spell them; cluster codes end in `Fault` where instance codes do not.
fn kind_for_code(code: &str) -> OperationErrorKind {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AuthorizationError"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "UnrecognizedClientException"
        | "InvalidToken"
        | "AuthFailure"
        | "OptInRequired"
        | "SubscriptionRequiredException"
        | "AllAccessDisabled"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "TokenRefreshRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "403" => OperationErrorKind::Denied,
        "NoSuchBucket" | "NoSuchKey" | "NotFound" | "404" => OperationErrorKind::Missing,
        code if code.contains("AlreadyExists") => OperationErrorKind::Exists,
        "SnapshotQuotaExceeded" | "SnapshotQuotaExceededFault" => OperationErrorKind::Quota,
        // An archived object does not become readable by waiting.
        "InvalidObjectState" | "ObjectNotInActiveTierError" => OperationErrorKind::Archived,
        code if code.starts_with("KMS")
            || code.contains("KeyState")
            || code == "DisabledException" =>
        {
            OperationErrorKind::Key
        }
        code if code.starts_with("Invalid") && code.contains("State") => OperationErrorKind::Busy,
        code if code.contains("NotFound") => OperationErrorKind::Missing,
        code if hint::is_throttling_code(code) => OperationErrorKind::Unreachable,
        "ServiceUnavailable" | "InternalError" | "InternalFailure" | "RequestTimeout" => {
            OperationErrorKind::Unreachable
        }
        _ => OperationErrorKind::Refused,
    }
}
