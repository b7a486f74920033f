//! Errors of the edges: what was being done, what AWS said, and what to do about it (`hint`).

mod hint;

use aws_sdk_rds::error::SdkError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Why a call could not be made or was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct EdgeError {
    /// Verb and object: `create snapshot orders-daily-202611200200`.
    pub doing: String,
    /// AWS's own words.
    pub why: String,
    /// What kind of refusal, for what a caller does about it.
    pub kind: Kind,
    /// AWS's error code, when it gave one.
    pub code: Option<String>,
    /// What to do about it, where that is known better than by the kind.
    pub mend: Option<String>,
}

/// What a caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
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

impl EdgeError {
    /// Turns an SDK error into ours.
    pub fn new<E, R>(doing: impl Into<String>, e: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let code = e.code().map(str::to_owned);
        let why = match (e.message(), &code) {
            (Some(message), Some(code)) => format!("{code}: {message}"),
            (None, Some(code)) => code.clone(),
            _ => chain(e),
        };
        let kind = match (e, code.as_deref()) {
            (_, Some(code)) => kind(code),
            (SdkError::ServiceError(_), None) => Kind::Refused,
            // A role that may not be assumed is refused before there is an answer of the service.
            (_, None) => not_assumed(e).map_or(Kind::Unreachable, |code| self::kind(&code)),
        };
        Self { doing: doing.into(), why, kind, code, mend: None }
    }

    /// A refusal of our own, for what AWS answered but can't be right.
    pub fn refused(doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self { doing: doing.into(), why: why.into(), kind: Kind::Refused, code: None, mend: None }
    }

    /// A refusal of another edge than AWS, with its own mend.
    pub fn of_kind(
        kind: Kind,
        doing: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into()).filter(|m: &String| !m.is_empty());
        Self { doing: doing.into(), why: why.into(), kind, code: None, mend }
    }

    /// All of it on one line: what, why, and what to do.
    pub fn told(&self) -> String {
        format!("{self}; {}", self.hint())
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> &str {
        if let Some(mend) = &self.mend {
            return mend;
        }
        let by_code = self.code.as_deref().and_then(hint::of_code);
        by_code.unwrap_or_else(|| hint::of_kind(self.kind, self.code.is_some()))
    }

    /// The place could not be looked at.
    pub fn gap(&self, place: &crate::catalog::Place) -> crate::catalog::Gap {
        crate::catalog::Gap {
            place: place.clone(),
            why: self.to_string(),
            mend: self.hint().into(),
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
fn chain(e: &(dyn std::error::Error + 'static)) -> String {
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
fn kind(code: &str) -> Kind {
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
        | "403" => Kind::Denied,
        "NoSuchBucket" | "NoSuchKey" | "NotFound" | "404" => Kind::Missing,
        code if code.contains("AlreadyExists") => Kind::Exists,
        "SnapshotQuotaExceeded" | "SnapshotQuotaExceededFault" => Kind::Quota,
        // An archived object does not become readable by waiting.
        "InvalidObjectState" | "ObjectNotInActiveTierError" => Kind::Archived,
        code if code.starts_with("KMS")
            || code.contains("KeyState")
            || code == "DisabledException" =>
        {
            Kind::Key
        }
        code if code.starts_with("Invalid") && code.contains("State") => Kind::Busy,
        code if code.contains("NotFound") => Kind::Missing,
        code if hint::throttled(code) => Kind::Unreachable,
        "ServiceUnavailable" | "InternalError" | "InternalFailure" | "RequestTimeout" => {
            Kind::Unreachable
        }
        _ => Kind::Refused,
    }
}
