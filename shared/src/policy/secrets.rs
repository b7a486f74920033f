//! A secret never stands in a policy, and one that does by mistake is never told again: not by `policy check`, not by a
//! log, not by the message about it.
//!
//! Two rules. Where a secret's source is wanted ([`SECRET_MARKER`] in the schema), nothing that stands there instead is shown. And
//! whatever looks like a credential anywhere else is a fault of its own, told without it.

use super::{
    locate::join_pointer,
    structure::{UnlocatedError, suggest_word},
};
use serde_json::Value;

/// The schema's mark of a place where a secret's source stands.
pub(super) const SECRET_MARKER: &str = "x-secret";

/// What is said instead of a secret.
pub(super) const SECRET_IN_POLICY_MESSAGE: &str = "a secret never stands in a policy, and what stands here is not shown: write where it is, with exactly one of \
     secret, env, file, such as { env: NAME }; and change the secret, for this file is read by others";

/// What is said of age's secret key where its public one belongs.
pub(super) const SECRET_KEY_MESSAGE: &str = "a secret key stands where a recipient is wanted: write the public key (age1...), and make a new pair, for this \
     one has been in a file that others read";

/// Whether a part of the schema is a secret's source.
pub(super) fn is_secret_schema(schema: &Value) -> bool {
    schema.get(SECRET_MARKER).is_some()
}

/// Every text of a policy that looks like a credential.
pub(super) fn find_credentials(policy: &Value) -> Vec<UnlocatedError> {
    let mut found = Vec::new();
    collect_credentials(policy, "", &mut found);
    found
}

fn collect_credentials(is: &Value, at: &str, found: &mut Vec<UnlocatedError>) {
    match is {
        Value::String(text) if is_credential(text) => {
            found.push(UnlocatedError::at_pointer(at, SECRET_IN_POLICY_MESSAGE));
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect_credentials(item, &join_pointer(at, &i.to_string()), found);
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                if is_credential(key) {
                    found.push(UnlocatedError::at_pointer(at, SECRET_IN_POLICY_MESSAGE));
                } else {
                    collect_credentials(value, &join_pointer(at, key), found);
                }
            }
        }
        _ => {}
    }
}

/// Takes out of the faults what they would tell of a secret: of a place where one stands, only what is said here.
pub(super) fn redact_secrets(
    faults: Vec<UnlocatedError>,
    secrets: Vec<UnlocatedError>,
) -> Vec<UnlocatedError> {
    let silent = |f: &UnlocatedError| {
        f.message == SECRET_IN_POLICY_MESSAGE || f.message == SECRET_KEY_MESSAGE
    };
    let within = |f: &UnlocatedError, s: &UnlocatedError| {
        f.pointer.strip_prefix(&s.pointer).is_some_and(|r| r.is_empty() || r.starts_with('/'))
    };
    let mut all: Vec<UnlocatedError> =
        faults.into_iter().filter(|f| silent(f) || !secrets.iter().any(|s| within(f, s))).collect();
    let said: Vec<String> = all.iter().filter(|f| silent(f)).map(|f| f.pointer.clone()).collect();
    all.extend(secrets.into_iter().filter(|s| !said.contains(&s.pointer)));
    all
}

/// Whether a text has the form of a credential, or holds one.
fn is_credential(text: &str) -> bool {
    const CREDENTIAL_PREFIXES: &[&str] = &[
        "AGE-SECRET-KEY-",
        "-----BEGIN ",
        "xoxb-",
        "xoxp-",
        "xoxa-",
        "xoxe",
        "xapp-",
        "ghp_",
        "gho_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "sk_live_",
        "SG.",
    ];
    const CREDENTIAL_FRAGMENTS: &[&str] = &[
        "hooks.slack.com/services/",
        "hooks.slack.com/workflows/",
        "hooks.slack.com/triggers/",
        "discord.com/api/webhooks/",
        "discordapp.com/api/webhooks/",
        ".webhook.office.com/",
        "AccountKey=",
        "SharedAccessSignature",
        "X-Amz-Signature=",
    ];
    let trimmed = text.trim_start();
    let upper = trimmed.to_ascii_uppercase();
    upper.starts_with("AGE-SECRET-KEY-")
        || CREDENTIAL_PREFIXES
            .iter()
            .any(|b| trimmed.starts_with(b) && trimmed.len() >= b.len() + 8)
        || CREDENTIAL_FRAGMENTS.iter().any(|w| text.contains(w))
        || has_url_password(text)
        || has_password_parameter(text)
}

/// `scheme://user:password@host`.
fn has_url_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(login, _)| {
        login.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    })
}

/// `host=db password=...`, as libpq takes it, and `?password=...` of an address.
fn has_password_parameter(text: &str) -> bool {
    let mut words = text.split([' ', '&', '?', ';']);
    words.any(|word| {
        word.split_once('=').is_some_and(|(key, value)| {
            let key = key.to_ascii_lowercase();
            matches!(
                key.as_str(),
                "password" | "passwd" | "pwd" | "secret" | "token" | "api_key" | "apikey"
            ) && !value.is_empty()
        })
    })
}

/// What is wrong with the name of an environment variable, told without it: it may be the secret itself.
pub(super) fn check_variable_name(name: &str) -> Result<(), &'static str> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits.then_some(()).ok_or(
        "this can't be the name of an environment variable (letters, digits and underscores), and is not shown: if it \
         is the secret itself, it never stands in a policy",
    )
}

/// What is wrong with the name of a secret in Secrets Manager, told without it.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>
pub(super) fn check_secret_id(name: &str) -> Result<(), &'static str> {
    let fits = (1..=2048).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-:!".contains(&b));
    fits.then_some(()).ok_or(
        "this can't be a name or an ARN of Secrets Manager, and is not shown: if it is the secret itself, it never \
         stands in a policy",
    )
}

/// What is wrong with the path of a secret's file, told without it.
pub(super) fn check_file_path(path: &str) -> Result<(), &'static str> {
    let fits = !path.is_empty() && !path.starts_with('~') && !path.starts_with('$');
    fits.then_some(()).ok_or(
        "no shell reads this path, so ~ and $NAME mean nothing in it: write the whole path, such as /etc/holdfast/password",
    )
}

/// Whether a header carries a credential: its name says so.
pub(super) fn is_secret_header(name: &str) -> bool {
    const SECRET_HEADER_WORDS: &[&str] = &[
        "authorization",
        "auth",
        "token",
        "key",
        "apikey",
        "secret",
        "password",
        "cookie",
        "signature",
    ];
    let name = name.to_ascii_lowercase();
    name.split('-').any(|word| SECRET_HEADER_WORDS.contains(&word))
        || suggest_word(&name, &["authorization"]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_form_of_a_credential_is_known_and_what_has_not_is_left_alone() {
        for secret in [
            "https://hooks.slack.com/services/T0/B0/abcdefgh",
            "postgres://app:hunter2@db.example.com/shop",
            "host=db password=hunter2",
            "AGE-SECRET-KEY-1QQPQ",
            "age-secret-key-1qqpq",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "xoxb-1234567890-abc",
            "https://x.example/hook?token=abc",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc==",
        ] {
            assert!(is_credential(secret), "{secret}");
        }
        for plain in [
            "https://events.example.com/hook",
            "ops@example.com",
            "Backups <backups@example.com>",
            "arn:aws:iam::111122223333:role/holdfast",
            "http://[::1]:9000",
            "SELECT count(*) > 0 FROM users",
            "/run/secrets/password",
            "{database}/{reason}/%Y.dump",
            "PGPASSWORD",
            "AKIAIOSFODNN7EXAMPLE",
        ] {
            assert!(!is_credential(plain), "{plain}");
        }
    }
}
