//! Which databases a group has: one selector, one implementation, for every function.

use super::databases::DatabaseSelector;
use std::collections::BTreeMap;

/// Whether a database with this identifier and these tags is in, and why.
///
/// Returns the reason in words either way, for `explain`.
pub fn evaluate_selector(
    rule: &DatabaseSelector,
    id: &str,
    tags: &BTreeMap<String, String>,
) -> Result<String, String> {
    if rule.exclude.iter().any(|e| e == id) {
        return Err("except names it".into());
    }
    let named = rule.identifiers.iter().any(|i| i == id);
    let pattern = rule.include.iter().find(|g| g.matcher().is_match(id));
    let by_name = !rule.identifiers.is_empty() || !rule.include.is_empty();
    if by_name && !named && pattern.is_none() {
        return Err("neither identifiers nor include has it".into());
    }
    if let Some((key, value)) = rule.tags.iter().find(|(k, v)| tags.get(*k) != Some(v)) {
        return Err(format!("it has not the tag {key}={value}"));
    }
    Ok(match (named, pattern) {
        (true, _) => "ids names it".into(),
        (false, Some(glob)) => format!("like \"{glob}\" matches it"),
        (false, None) => "it has the tags".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector_of(yaml: serde_json::Value) -> DatabaseSelector {
        serde_json::from_value(yaml).expect("a selection")
    }

    #[test]
    fn a_glob_matches_whole_identifiers_only() {
        let prod = selector_of(serde_json::json!({"include": ["prod-*"]}));
        let none = BTreeMap::new();
        assert!(evaluate_selector(&prod, "prod-orders", &none).is_ok());
        // The older tools' PATTERN=prod also took these .
        assert!(evaluate_selector(&prod, "nonprod-orders", &none).is_err());
        assert!(evaluate_selector(&prod, "reproducer-1", &none).is_err());
    }

    #[test]
    fn tags_narrow_names_and_except_always_wins() {
        let r = selector_of(
            serde_json::json!({"include": ["a-*"], "tags": {"env": "prod"}, "exclude": ["a-9"]}),
        );
        let prod = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        assert!(evaluate_selector(&r, "a-1", &prod).is_ok());
        assert!(evaluate_selector(&r, "a-1", &BTreeMap::new()).is_err());
        assert!(evaluate_selector(&r, "a-9", &prod).is_err());
        assert!(evaluate_selector(&r, "b-1", &prod).is_err());
    }
}
