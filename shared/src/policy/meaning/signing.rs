//! What a schema can't say of signatures: that there is a key to check with, and that each is named once.

use super::{ErrorSink, Policy};
use crate::hints::commands::KEY_NEW;

/// Every fault in who signs.
pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    let Some(signing) = &policy.signing else { return };
    if signing.public_keys.is_empty() {
        let why = format!(
            "no public key is named, so nothing would count as signed: write the line RW... of `{KEY_NEW}`"
        );
        say("/signing/public_keys".into(), why);
    }
    if let Some(key) = &signing.kms_key {
        let at = || "/signing/kms_key".to_owned();
        if signing.secret_key.is_some() {
            say(at(), "one key signs: write secret_key or kms_key, not both".into());
        }
        if key.service() != "kms" || key.region().is_none() {
            say(
                at(),
                "this is no KMS key: write its ARN, arn:aws:kms:REGION:ACCOUNT:key/ID".into(),
            );
        }
    }
    for (i, key) in signing.previous.iter().enumerate() {
        if signing.public_keys.contains(key) {
            say(format!("/signing/previous/{i}"), "this key is in public_keys too".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::MinisignSigner;

    fn said(signing: &str) -> String {
        let text = format!("{{holdfast: 1, company: acme, id: host-1, signing: {signing}}}");
        Policy::parse(&text).map_or_else(|e| e.to_string(), |_| String::new())
    }

    #[test]
    fn whoever_signs_is_named_by_keys_that_are_some() {
        let key = MinisignSigner::generate().expect("random numbers").0.public_key().to_string();
        assert_eq!(said(&format!("{{public_keys: [{key}]}}")), "");
        assert_eq!(said(&format!("{{public_keys: [{key}], secret_key: {{file: /k}}}}")), "");
        let kms = "arn:aws:kms:eu-west-1:111122223333:key/a";
        assert_eq!(said(&format!("{{public_keys: [{key}], kms_key: \"{kms}\"}}")), "");
        for (signing, fault) in [
            ("{public_keys: []}", "signing.public_keys: no public key is named".to_owned()),
            ("{secret_key: {file: /k}}", "public_keys".to_owned()),
            (
                &format!("{{public_keys: [{key}], secret_key: {{file: /k}}, kms_key: \"{kms}\"}}"),
                "signing.kms_key: one key signs".into(),
            ),
            (
                &format!(
                    "{{public_keys: [{key}], kms_key: \"arn:aws:sns:eu-west-1:111122223333:t\"}}"
                ),
                "signing.kms_key: this is no KMS key".into(),
            ),
            ("{public_keys: [RWx]}", "write the line RW...".to_owned()),
            (&format!("{{public_keys: [{key}], previous: [{key}]}}"), "signing.previous[0]".into()),
            (
                &format!("{{public_keys: [{key}], secret_key: {{file: /k, env: K}}}}"),
                "signing.secret_key: a secret comes from one place".into(),
            ),
        ] {
            let found = said(signing);
            assert!(found.contains(&fault), "{signing}: {found}");
        }
        let (_, secret) = MinisignSigner::generate().expect("random numbers");
        let secret = secrecy::ExposeSecret::expose_secret(&secret).lines().nth(1).expect("a line");
        let found = said(&format!("{{public_keys: [\"{secret}\"]}}"));
        assert!(found.contains("new pair") && !found.contains(&secret[20..60]), "{found}");
    }
}
