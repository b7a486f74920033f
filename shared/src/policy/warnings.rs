//! What is no fault of a policy and should be known before it is relied on.

use super::Policy;

/// The parts of a policy that leave something open, with what that is.
pub(super) fn list(policy: &Policy) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    let dumps = policy.postgres.values().any(|g| !g.dumps.is_empty());
    if policy.signing.is_none() && (dumps || policy.audit.is_some()) {
        let what = "it is left out: whoever can write to a store decides what counts there and what is restored, and \
                    whoever can write to the record of operations can write it anew. `holdfast key new` makes a pair of keys";
        all.push(("signing".to_owned(), what));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_dumps_and_does_not_sign_says_who_is_trusted() {
        let parse = |rest: &str| {
            let text = format!("{{holdfast: 1, company: acme, id: host-1, {rest}}}");
            list(&Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"))).len()
        };
        let group = "postgres: {main: {databases: [a], stored: {directory: /b}, dumps: {manual: {keep: {newest: 1}}}}}";
        let key =
            crate::signing::Signer::generate().expect("random numbers").0.public().to_string();
        assert_eq!(parse(group), 1);
        assert_eq!(parse("audit: {directory: /log, keep: 1y}"), 1);
        assert_eq!(
            parse(
                "audit: {directory: /log, keep: 1y}, signing: {public_keys: [KEY]}"
                    .replace("KEY", &key)
                    .as_str()
            ),
            0
        );
        assert_eq!(parse("postgres: {}"), 0);
    }
}
