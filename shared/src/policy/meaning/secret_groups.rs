//! What the groups of secrets must say beyond their schema.

use super::{ErrorSink, Policy};

/// Every fault of the groups of secrets.
pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    for (name, group) in &policy.secrets {
        let at = format!("/secrets/{name}");
        if group.prefix.is_empty() {
            let why = "an empty prefix means every secret of the account: write the beginning of their names";
            say(format!("{at}/prefix"), why.into());
        }
        match (&group.storage, &group.encrypt) {
            (Some(_), None) => {
                let why = "values of secrets are exported encrypted only: write encrypt with age recipients";
                say(format!("{at}/storage"), why.into());
            }
            (None, Some(_)) => {
                let why = "nothing is exported without a place for it: write storage, or take encrypt out";
                say(format!("{at}/encrypt"), why.into());
            }
            _ => {}
        }
        if let Some(encrypt) = &group.encrypt {
            if encrypt.age.is_empty() || encrypt.openssl.is_some() {
                let why = "exports are for age recipients, so that who exports cannot read them: write age, and not openssl";
                say(format!("{at}/encrypt"), why.into());
            }
            for recipient in encrypt.age.iter().filter(|r| !r.starts_with("age1")) {
                let shown: String = recipient.chars().take(4).collect();
                let why = format!(
                    "\"{shown}...\" is not an age recipient: write the public key (age1...) that age-keygen prints"
                );
                say(format!("{at}/encrypt/age"), why);
            }
        }
        if let Some(store) = &group.storage
            && (store.key.is_some() || !store.suffix.is_empty())
        {
            let why = "exports are named by secret and version: leave key and suffix out";
            say(format!("{at}/storage"), why.into());
        }
        if group.keep.is_some() && group.storage.is_none() {
            let why = "Secrets Manager drops versions without a label by itself, so without storage nothing keeps them: \
                       write storage and encrypt";
            say(format!("{at}/keep"), why.into());
        }
    }
}
