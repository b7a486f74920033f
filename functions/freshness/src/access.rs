//! Whether access to the backups is as the policy says: buckets' policies, the age of keys, the length of sessions.
//!
//! What an account's own IAM lets its principals do is not in a bucket's policy. So "only these may" is judged by what the
//! bucket refuses to everybody else, which no IAM policy of the account can give back.

mod document;
mod observe;

use document::{MfaRequirement, PolicyDocument};
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::{OperationError, kms::KeyRotation},
    plan::{Finding, FindingCode, Severity},
    policy::{AccessConfig, text::Period},
    run::RunContext,
    time::format_duration,
};

/// When a secret got its value.
type SecretChangedAt = Result<Option<Timestamp>, OperationError>;

/// What was seen of access.
#[derive(Debug, Default)]
pub(crate) struct AccessObservations {
    /// Buckets that backups lie in, each with its policy, if it has one.
    pub(crate) buckets: Vec<(String, Result<Option<String>, OperationError>)>,
    /// KMS keys, with how they are rotated.
    pub(crate) keys: Vec<(String, Result<KeyRotation, OperationError>)>,
    /// Secrets that dumps are encrypted with: the group, the secret's name, how old it may be, and when it was changed.
    pub(crate) secrets: Vec<(String, String, Period, SecretChangedAt)>,
    /// Roles, with how long a session may last.
    pub(crate) roles: Vec<(String, Result<SignedDuration, OperationError>)>,
}

/// Looks at access and judges it.
pub(crate) async fn check_access(world: &RunContext<'_>) -> Vec<Finding> {
    let facts = observe::observe_access(world).await;
    evaluate_access(world.policy.access.as_ref(), &facts, world.now)
}

/// What is not as the policy says.
pub(crate) fn evaluate_access(
    access: Option<&AccessConfig>,
    facts: &AccessObservations,
    now: Timestamp,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(access) = access {
        for (bucket, policy) in &facts.buckets {
            match policy {
                Ok(policy) => evaluate_bucket(access, bucket, policy.as_deref(), &mut found),
                Err(e) => found.push(unobserved_finding(&format!("s3://{bucket}"), e)),
            }
        }
        if let Some(most) = &access.rotate_keys_every {
            for (key, rotation) in &facts.keys {
                found.extend(evaluate_key(key, rotation, most));
            }
        }
        if let Some(most) = &access.max_session {
            for (role, longest) in &facts.roles {
                found.extend(evaluate_role(role, longest, most));
            }
        }
    }
    for (group, secret, most, changed) in &facts.secrets {
        found.extend(evaluate_secret(secret, most, changed, now).map(|f| f.in_group(group)));
    }
    found
}

fn critical_finding(asset: &str, what: FindingCode, why: String, hint: &str) -> Finding {
    Finding::new(Severity::Critical, asset, what, why, hint)
}

/// What could not be read is not known to be right.
fn unobserved_finding(asset: &str, e: &OperationError) -> Finding {
    critical_finding(asset, FindingCode::AccessNotReadable, e.to_string(), e.hint())
}

const READ_ACTIONS: [&str; 2] = ["s3:GetObject", "s3:GetObjectVersion"];
const DELETE_ACTIONS: [&str; 2] = ["s3:DeleteObject", "s3:DeleteObjectVersion"];

fn evaluate_bucket(
    access: &AccessConfig,
    bucket: &str,
    policy: Option<&str>,
    found: &mut Vec<Finding>,
) {
    let asset = format!("s3://{bucket}");
    let document = match PolicyDocument::parse(policy.unwrap_or("{}")) {
        Ok(document) => document,
        Err(e) => {
            let why = format!("its policy can't be read: {e}");
            found.push(critical_finding(
                &asset,
                FindingCode::AccessNotReadable,
                why,
                "write a policy in IAM's JSON",
            ));
            return;
        }
    };
    if access.tls_only && !document.denies_plain_http(bucket) {
        let why = "its policy does not refuse every request without TLS".to_owned();
        let hint = "add to it: Deny, Principal *, s3:*, on the bucket and its objects, with the one condition Bool \
                    aws:SecureTransport false";
        found.push(critical_finding(&asset, FindingCode::PlainHttpAllowed, why, hint));
    }
    if access.mfa {
        evaluate_mfa(access, bucket, &asset, &document, found);
    }
    for (what, verb, actions, allowed) in [
        (FindingCode::ReadAccess, "read", READ_ACTIONS, &access.may_read),
        (FindingCode::DeleteAccess, "delete", DELETE_ACTIONS, &access.may_delete),
    ] {
        evaluate_principals(&document, bucket, (what, verb, actions), allowed, found);
    }
}

fn evaluate_mfa(
    access: &AccessConfig,
    bucket: &str,
    asset: &str,
    document: &PolicyDocument,
    found: &mut Vec<Finding>,
) {
    let worst = READ_ACTIONS
        .iter()
        .chain(&DELETE_ACTIONS)
        .map(|action| (action, document.mfa_requirement(bucket, action, &access.machines)));
    let open: Vec<_> = worst.filter(|(_, mfa)| *mfa != MfaRequirement::Required).collect();
    if open.is_empty() {
        return;
    }
    let actions: Vec<_> = open.iter().map(|(action, _)| **action).collect();
    let why = if open.iter().all(|(_, mfa)| *mfa == MfaRequirement::SessionsOnly) {
        format!(
            "its policy asks for MFA by Bool, which lets requests with an access key through ({})",
            actions.join(", ")
        )
    } else {
        format!(
            "its policy does not refuse {} without MFA to all but access.machines",
            actions.join(", ")
        )
    };
    let hint = "add to it: Deny, Principal *, these actions on its objects, with the conditions BoolIfExists \
                aws:MultiFactorAuthPresent false and ArnNotLike aws:PrincipalArn with access.machines";
    found.push(critical_finding(asset, FindingCode::MfaNotRequired, why, hint));
}

fn evaluate_principals(
    document: &PolicyDocument,
    bucket: &str,
    (what, verb, actions): (FindingCode, &str, [&str; 2]),
    allowed: &[String],
    found: &mut Vec<Finding>,
) {
    let asset = format!("s3://{bucket}");
    let mut granted: Vec<_> =
        actions.iter().flat_map(|action| document.granted_principals(action)).collect();
    granted.sort();
    granted.dedup();
    if granted.iter().any(|g| g.public) {
        let why = format!("its policy lets everybody in the world {verb} its objects");
        found.push(critical_finding(
            &asset,
            FindingCode::PublicAccess,
            why,
            "take that statement out, and block public access",
        ));
    }
    if allowed.is_empty() {
        return;
    }
    let others = granted.iter().filter(|g| !g.public && !document::is_covered(&g.who, allowed));
    let others: Vec<_> = others.map(|g| g.who.as_str()).collect();
    if !others.is_empty() {
        let why = format!(
            "its policy lets {} {verb} its objects, whom access does not name",
            others.join(", ")
        );
        let hint = "take them out of the bucket's policy, or name them in the policy's access";
        found.push(critical_finding(&asset, what, why, hint));
    }
    let open: Vec<_> = actions
        .into_iter()
        .filter(|action| !document.is_restricted_to(bucket, action, allowed))
        .collect();
    if !open.is_empty() {
        let why = format!(
            "its policy does not refuse {} to others than access names: whoever its account's IAM lets may {verb}",
            open.join(", ")
        );
        let hint = "add to it: Deny, Principal *, these actions on its objects, with the one condition ArnNotLike \
                    aws:PrincipalArn and the list that access has";
        found.push(critical_finding(&asset, what, why, hint));
    }
}

fn evaluate_key(
    key: &str,
    rotation: &Result<KeyRotation, OperationError>,
    most: &Period,
) -> Option<Finding> {
    let rotation = match rotation {
        Ok(rotation) => rotation,
        Err(e) => return Some(unobserved_finding(key, e)),
    };
    let (why, hint) = match rotation {
        KeyRotation::ByAws => (
            format!("it is AWS's own key, rotated once a year, and the policy wants {most}"),
            "use a key of your own, with `aws kms enable-key-rotation --rotation-period-in-days`",
        ),
        KeyRotation::Off => (
            format!("it is never rotated, and the policy wants {most}"),
            "run `aws kms enable-key-rotation --key-id KEY --rotation-period-in-days DAYS`",
        ),
        KeyRotation::EveryDays(days) => {
            let span = SignedDuration::from_hours(24 * i64::from(*days));
            if span <= most.duration() {
                return None;
            }
            (
                format!("it is rotated every {days} days, and the policy wants {most}"),
                "run `aws kms enable-key-rotation --key-id KEY --rotation-period-in-days DAYS`",
            )
        }
    };
    Some(critical_finding(key, FindingCode::KeyAge, why, hint))
}

fn evaluate_secret(
    secret: &str,
    most: &Period,
    changed: &SecretChangedAt,
    now: Timestamp,
) -> Option<Finding> {
    let hint = "put a new value into the secret, and the old one under `previous`, so that older dumps stay readable";
    match changed {
        Err(e) => Some(unobserved_finding(secret, e)),
        Ok(None) => {
            let why = format!(
                "Secrets Manager does not say when it was changed, and rotate_every wants {most}"
            );
            Some(critical_finding(secret, FindingCode::KeyAge, why, hint))
        }
        Ok(Some(at)) => {
            let age = now.duration_since(*at);
            let why = format!(
                "this key of dumps is {} old, and rotate_every wants {most}",
                format_duration(age)
            );
            (age > most.duration())
                .then(|| critical_finding(secret, FindingCode::KeyAge, why, hint))
        }
    }
}

fn evaluate_role(
    role: &str,
    longest: &Result<SignedDuration, OperationError>,
    most: &Period,
) -> Option<Finding> {
    match longest {
        Err(e) => Some(unobserved_finding(role, e)),
        Ok(longest) if *longest <= most.duration() => None,
        Ok(longest) => {
            let why = format!(
                "a session of it may last {}, and access.max_session is {most}",
                format_duration(*longest)
            );
            let hint = "run `aws iam update-role --role-name ROLE --max-session-duration SECONDS` (3600 at least)";
            Some(critical_finding(role, FindingCode::SessionTooLong, why, hint))
        }
    }
}

#[cfg(test)]
mod tests;
