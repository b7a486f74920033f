//! A bucket's policy, as far as it decides who reads and deletes. Pure.
//!
//! Conservative on both sides: a Deny counts only when nothing in it but named exceptions narrows it, and an Allow counts
//! whatever narrows it.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;

/// A policy document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyDocument {
    #[serde(default, deserialize_with = "statements")]
    statement: Vec<PolicyStatement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyStatement {
    effect: String,
    #[serde(default)]
    principal: Value,
    action: Option<StringOrList>,
    not_action: Option<StringOrList>,
    resource: Option<StringOrList>,
    not_resource: Option<StringOrList>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, StringOrList>>,
}

/// One text or several; booleans and numbers are texts too.
#[derive(Clone, Debug, Default)]
struct StringOrList(Vec<String>);

impl<'de> Deserialize<'de> for StringOrList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(string_values(&Value::deserialize(from)?)))
    }
}

fn string_values(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(string_values).collect(),
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

fn statements<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PolicyStatement>, D::Error> {
    let all = match Value::deserialize(from)? {
        Value::Array(all) => all,
        one => vec![one],
    };
    let all = all.into_iter().map(from_json_object);
    all.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

/// What is written as an object; serde would take a list for one too.
fn from_json_object<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    if value.is_object() {
        serde_json::from_value(value)
    } else {
        Err(serde::de::Error::custom("an object is wanted here"))
    }
}

/// What a policy says of reading or deleting without MFA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MfaRequirement {
    /// Refused.
    Required,
    /// Refused only to sessions: `Bool` lets requests with an access key through, which have no such key at all.
    SessionsOnly,
    /// Not refused, or not to all.
    NotRequired,
}

/// Somebody whom a policy lets do something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GrantedPrincipal {
    /// Who, as the policy has it.
    pub(super) who: String,
    /// Anybody at all, without a condition.
    pub(super) public: bool,
}

impl PolicyDocument {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        from_json_object(serde_json::from_str(text)?)
    }

    fn deny_statements<'d>(&'d self, bucket: &'d str) -> impl Iterator<Item = &'d PolicyStatement> {
        let of_objects = format!("{bucket}/*");
        self.statement.iter().filter(move |s| {
            s.effect == "Deny" && s.is_for_everybody() && s.covers_resource(&of_objects)
        })
    }

    /// Whether every request without TLS is refused, to the bucket and to its objects.
    pub(super) fn denies_plain_http(&self, bucket: &str) -> bool {
        self.deny_statements(bucket).any(|s| {
            let plain = |(operator, key, values): &(&str, String, &[String])| {
                matches!(*operator, "Bool" | "BoolIfExists")
                    && key == "aws:securetransport"
                    && values == &["false"]
            };
            let conditions: Vec<_> = s.conditions().collect();
            s.covers_action("s3:*")
                && s.covers_resource(bucket)
                && conditions.len() == 1
                && conditions.iter().all(plain)
        })
    }

    /// Whether an action on objects needs MFA, but for principals that `machines` has.
    pub(super) fn mfa_requirement(
        &self,
        bucket: &str,
        action: &str,
        machines: &[String],
    ) -> MfaRequirement {
        let mut found = MfaRequirement::NotRequired;
        for statement in self.deny_statements(bucket).filter(|s| s.covers_action(action)) {
            let (of_mfa, rest): (Vec<_>, Vec<_>) = statement
                .conditions()
                .partition(|(_, key, _)| key.starts_with("aws:multifactorauth"));
            let ([(operator, key, values)], Some(left_out)) =
                (of_mfa.as_slice(), exempt_principals(&rest))
            else {
                continue;
            };
            if !left_out.iter().all(|one| is_covered(one, machines)) {
                continue;
            }
            match (*operator, key.as_str(), *values) {
                ("BoolIfExists", "aws:multifactorauthpresent", [no]) if no == "false" => {
                    return MfaRequirement::Required;
                }
                ("Null", "aws:multifactorauthage", [yes]) if yes == "true" => {
                    return MfaRequirement::Required;
                }
                ("NumericGreaterThanIfExists", "aws:multifactorauthage", _) => {
                    return MfaRequirement::Required;
                }
                ("Bool", "aws:multifactorauthpresent", [no]) if no == "false" => {
                    found = MfaRequirement::SessionsOnly;
                }
                _ => {}
            }
        }
        found
    }

    /// Whether an action on objects is refused to everybody whom `allowed` does not have.
    pub(super) fn is_restricted_to(&self, bucket: &str, action: &str, allowed: &[String]) -> bool {
        self.deny_statements(bucket).filter(|s| s.covers_action(action)).any(|s| {
            let conditions: Vec<_> = s.conditions().collect();
            exempt_principals(&conditions)
                .is_some_and(|left_out| left_out.iter().all(|one| is_covered(one, allowed)))
        })
    }

    /// Who is let do an action on objects, beside whom the accounts' own IAM lets.
    pub(super) fn granted_principals(&self, action: &str) -> Vec<GrantedPrincipal> {
        let lets = |s: &&PolicyStatement| s.effect == "Allow" && s.may_cover_action(action);
        let grants = self.statement.iter().filter(lets).flat_map(|s| {
            let open = s.condition.is_empty();
            s.principals()
                .into_iter()
                .map(move |who| GrantedPrincipal { public: open && who == "*", who })
        });
        let mut all: Vec<_> = grants.collect();
        all.sort();
        all.dedup();
        all
    }
}

impl PolicyStatement {
    /// Operator, key in lower case, and values of each condition.
    fn conditions(&self) -> impl Iterator<Item = (&str, String, &[String])> {
        self.condition.iter().flat_map(|(operator, keys)| {
            keys.iter().map(move |(key, values)| {
                (operator.as_str(), key.to_lowercase(), values.0.as_slice())
            })
        })
    }

    fn is_for_everybody(&self) -> bool {
        let aws = self.principal.get("AWS").map(string_values).unwrap_or_default();
        self.principal == "*" || aws.iter().any(|one| one == "*")
    }

    /// Everybody that it names, whatever kind of principal.
    fn principals(&self) -> Vec<String> {
        match &self.principal {
            Value::Object(kinds) => kinds.values().flat_map(string_values).collect(),
            other => string_values(other),
        }
    }

    /// Whether all that `action` (which may be a pattern) means is in it for sure.
    fn covers_action(&self, action: &str) -> bool {
        self.action.as_ref().is_some_and(|all| {
            all.0.iter().any(|one| matches_wildcard(&one.to_lowercase(), &action.to_lowercase()))
        })
    }

    /// Whether the action may be in it.
    fn may_cover_action(&self, action: &str) -> bool {
        let not = |all: &StringOrList| {
            !all.0.iter().any(|one| matches_wildcard(&one.to_lowercase(), &action.to_lowercase()))
        };
        self.covers_action(action) || self.not_action.as_ref().is_some_and(not)
    }

    /// Whether all of a bucket (`name`) or of its objects (`name/*`) is in it.
    fn covers_resource(&self, resource: &str) -> bool {
        let covers = |one: &String| {
            one == "*"
                || one
                    .split_once(":s3:::")
                    .is_some_and(|(_, pattern)| matches_wildcard(pattern, resource))
        };
        self.not_resource.is_none()
            && self.resource.as_ref().is_some_and(|all| all.0.iter().any(covers))
    }
}

/// The principals that conditions leave out; none when the conditions narrow in any other way.
fn exempt_principals(conditions: &[(&str, String, &[String])]) -> Option<Vec<String>> {
    let mut left_out = Vec::new();
    for (operator, key, values) in conditions {
        match (operator.trim_end_matches("IfExists"), key.as_str(), *values) {
            (
                "ArnNotEquals" | "ArnNotLike" | "StringNotEquals" | "StringNotLike",
                "aws:principalarn",
                all,
            ) => {
                left_out.extend(all.iter().cloned());
            }
            // AWS's own services act by the roles that they are given; people don't.
            ("Bool", "aws:principalisawsservice" | "aws:viaawsservice", [no]) if no == "false" => {}
            _ => return None,
        }
    }
    Some(left_out)
}

/// Whether one of `patterns` has all that `principal` (which may be a pattern) means.
pub(super) fn is_covered(principal: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| {
        pattern == principal || (!pattern.contains('?') && matches_wildcard(pattern, principal))
    })
}

/// IAM's own wildcards: `*` is any characters and `?` is one. In time of the two lengths' product at most.
fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|c| *c == '?' || *c == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_iam_has_them() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("s3:*", "s3:GetObject", true),
            ("s3:*", "s3:*", true),
            ("s3:Get*", "s3:*", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("?", "ab", false),
            ("a?c", "abc", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches_wildcard(pattern, text), matches, "{pattern} {text}");
        }
        let slow = "*a".repeat(50);
        assert!(!matches_wildcard(&slow, &"b".repeat(20_000)));
    }

    #[test]
    fn a_principal_pattern_is_covered_only_by_a_wider_one() {
        let patterns = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wide = patterns(&["arn:aws:iam::111122223333:role/backup-*"]);
        assert!(is_covered("arn:aws:iam::111122223333:role/backup-a", &wide));
        assert!(is_covered("arn:aws:iam::111122223333:role/backup-a*", &wide));
        assert!(!is_covered("arn:aws:iam::111122223333:role/*", &wide));
        assert!(!is_covered("*", &wide));
        assert!(!is_covered("arn:aws:iam::444455556666:role/backup-a", &wide));
        assert!(!is_covered(
            "arn:aws:iam::111122223333:role/b*",
            &patterns(&["arn:aws:iam::111122223333:role/b?"])
        ));
    }
}
