//! The JSON Schema of the policy, and every difference of a file from it in words that say what to write instead.

use super::{
    Policy,
    locate::join_pointer,
    secrets,
    text::{FORMAT_CHECKS, FormatCheck},
};
use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// A fault before it has its line: a JSON Pointer and a message.
pub(super) struct UnlocatedError {
    /// JSON Pointer of the part that is wrong.
    pub(super) pointer: String,
    /// What is wrong and what to write instead.
    pub(super) message: String,
}

impl UnlocatedError {
    /// A fault at a pointer.
    pub(super) fn at_pointer(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// The JSON Schema of a policy file, for editors and for `policies/schema.json`.
pub fn json_schema() -> Value {
    generate_schema(false)
}

/// `inline` puts every type where it is used, so that an error's schema path can be followed without references.
fn generate_schema(inline: bool) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = inline);
    let mut schema =
        settings.with_transform(simplify_schema).into_generator().into_root_schema_for::<Policy>();
    schema.insert("title".into(), json!("Holdfast policy"));
    schema.to_value()
}

/// Writes what Rust's `Option` and unit enums become as a person would: an optional key may be left out but is never
/// null, and a choice of words is one `enum`.
fn simplify_schema(schema: &mut Schema) {
    transform_subschemas(&mut simplify_schema, schema);
    if let Some(types) = schema.get("type").and_then(Value::as_array).cloned()
        && let [only, Value::String(null)] = types.as_slice()
        && null == "null"
    {
        schema.insert("type".into(), only.clone());
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array).cloned()
        && let [Value::Object(only), Value::Object(null)] = choices.as_slice()
        && null.get("type") == Some(&json!("null"))
    {
        schema.remove("anyOf");
        for (key, value) in only {
            schema.ensure_object().entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array).cloned() {
        let words: Vec<_> = choices.iter().filter_map(|c| c.get("const").cloned()).collect();
        if words.len() == choices.len() {
            schema.remove("oneOf");
            schema.insert("type".into(), json!("string"));
            schema.insert("enum".into(), Value::Array(words));
        }
    }
}

/// Every difference of `policy` from the schema.
///
/// The walk knows the keywords that [`generate`] writes and no others; a test holds it against a full validator. That one
/// would be a sixth of each function's binary, for words that only a faulty policy needs.
pub(super) fn check_schema(policy: &Value) -> Vec<UnlocatedError> {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let mut found = Vec::new();
    check_value(policy, SCHEMA.get_or_init(|| generate_schema(true)), "", &mut found);
    found
}

fn check_value(is: &Value, schema: &Value, at: &str, found: &mut Vec<UnlocatedError>) {
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    // Of several types, the first is what most people write.
    if let Some(wanted) = types.first()
        && !types.iter().any(|t| has_type(is, t))
    {
        found.push(UnlocatedError::at_pointer(at, wrong_type_message(is, wanted, schema, at)));
        return;
    }
    if let Some(options) = schema.get("enum").and_then(Value::as_array)
        && !options.contains(is)
    {
        let words: Vec<_> = options.iter().filter_map(Value::as_str).collect();
        let near = is.as_str().and_then(|word| suggest_word(word, &words));
        let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        found.push(UnlocatedError::at_pointer(
            at,
            format!("{is} is not one of: {}{hint}", words.join(", ")),
        ));
    }
    match is {
        Value::Object(object) => check_object(object, schema, at, found),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                check_value(item, &schema["items"], &join_pointer(at, &i.to_string()), found);
            }
        }
        Value::String(text) => {
            if let Some(message) = format_check_for(schema).and_then(|check| check(text).err()) {
                found.push(UnlocatedError::at_pointer(at, message));
            }
        }
        Value::Number(number) => {
            let bound = |key| schema.get(key).and_then(Value::as_f64).zip(number.as_f64());
            if let Some((least, _)) = bound("minimum").filter(|(least, is)| is < least) {
                found.push(UnlocatedError::at_pointer(
                    at,
                    format!("{is} is too small: {least} is the least"),
                ));
            }
            if let Some((most, _)) = bound("maximum").filter(|(most, is)| is > most) {
                found.push(UnlocatedError::at_pointer(
                    at,
                    format!("{is} is too large: {most} is the most"),
                ));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_object(
    object: &Map<String, Value>,
    schema: &Value,
    at: &str,
    found: &mut Vec<UnlocatedError>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    if secrets::is_secret_schema(schema)
        && object.keys().any(|key| properties.is_some_and(|known| !known.contains_key(key)))
    {
        // In `{ hunter2 }` the key is the secret: neither key nor place of it is told.
        found.push(UnlocatedError::at_pointer(at, secrets::SECRET_IN_POLICY_MESSAGE));
        return;
    }
    let more = schema.get("additionalProperties");
    let name_check = schema.get("propertyNames").and_then(format_check_for);
    for (key, value) in object {
        let inner = join_pointer(at, key);
        if let Some(message) = name_check.and_then(|check| check(key).err()) {
            found.push(UnlocatedError::at_pointer(inner.clone(), message));
        }
        match (properties.and_then(|p| p.get(key)), more) {
            (Some(known), _) => check_value(value, known, &inner, found),
            (None, Some(Value::Bool(false))) => {
                found.push(UnlocatedError::at_pointer(inner, unknown_key_message(key, properties)));
            }
            (None, Some(each)) => check_value(value, each, &inner, found),
            (None, None) => {}
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for key in required.filter_map(Value::as_str).filter(|key| !object.contains_key(*key)) {
        found.push(UnlocatedError::at_pointer(at, format!("the key \"{key}\" is missing")));
    }
}

/// What checks the `format` of a schema.
fn format_check_for(schema: &Value) -> Option<FormatCheck> {
    let format = schema.get("format")?.as_str()?;
    FORMAT_CHECKS.iter().find(|(name, _)| *name == format).map(|(_, check)| *check)
}

fn has_type(is: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => is.is_object(),
        "array" => is.is_array(),
        "string" => is.is_string(),
        "boolean" => is.is_boolean(),
        "integer" => is.is_i64() || is.is_u64(),
        _ => is.is_number(),
    }
}

/// A key that is not known: the one that was meant, or the part that it belongs into, or all that are known.
fn unknown_key_message(key: &str, properties: Option<&Map<String, Value>>) -> String {
    let all = || properties.into_iter().flatten();
    let mut known: Vec<&str> = all().map(|(name, _)| name.as_str()).collect();
    known.sort_unstable();
    let near = suggest_word(key, &known);
    let inside = |schema: &Value| schema.get("properties").is_some_and(|p| p.get(key).is_some());
    let part = all().find(|(_, schema)| inside(schema)).map(|(name, _)| name);
    let what = match (near, part) {
        (Some(near), _) if strsim::damerau_levenshtein(key, near) <= 1 => {
            format!("did you mean \"{near}\"?")
        }
        (_, Some(part)) => format!("write it inside \"{part}\""),
        (Some(near), None) => format!("did you mean \"{near}\"?"),
        (None, None) => format!("write one of: {}", known.join(", ")),
    };
    format!("unknown key \"{key}\"; {what}")
}

fn wrong_type_message(is: &Value, wanted: &str, schema: &Value, at: &str) -> String {
    if secrets::is_secret_schema(schema) && !is.is_null() {
        return secrets::SECRET_IN_POLICY_MESSAGE.into();
    }
    let wanted_words = describe_expected(wanted, schema);
    match is {
        Value::Null => {
            format!("nothing is written here: write {wanted_words}, or leave the key out")
        }
        Value::Number(n) if wanted == "string" && at.ends_with("account") => {
            format!("{n} is a number and an account id is text: write \"{n:0>12}\" in quotes")
        }
        Value::Number(n) if wanted == "string" => missing_unit_message(n, schema),
        Value::String(text) if wanted == "boolean" => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" => "write true: YAML 1.2 has no other word for it".to_owned(),
            "no" | "off" | "n" => "write false: YAML 1.2 has no other word for it".to_owned(),
            _ => format!("{is} stands here: write true or false"),
        },
        Value::String(text)
            if matches!(wanted, "integer" | "number") && text.parse::<f64>().is_ok() =>
        {
            format!("{is} is text: write it without quotes")
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) if wanted == "array" => {
            format!("{is} is one value and a list is wanted: write [{is}]")
        }
        Value::Object(_) => format!("keys and values stand here: write {wanted_words}"),
        Value::Array(_) => format!("a list stands here: write {wanted_words}"),
        other => format!("{other} stands here: write {wanted_words}"),
    }
}

fn describe_expected(wanted: &str, schema: &Value) -> String {
    let keys = schema.get("properties").and_then(Value::as_object);
    match wanted {
        "object" => match keys {
            Some(keys) if keys.len() <= 12 => {
                let keys: Vec<_> = keys.keys().map(String::as_str).collect();
                format!("keys and values, of: {}", keys.join(", "))
            }
            _ => "keys and values".into(),
        },
        "array" => "a list (\"- ...\" lines, or [a, b])".into(),
        "string" => "text".into(),
        "integer" => "a whole number".into(),
        "boolean" => "true or false".into(),
        _ => "a number".into(),
    }
}

/// A bare number where the policy wants text: what it lacks follows from what the text is.
fn missing_unit_message(n: &serde_json::Number, schema: &Value) -> String {
    match schema.get("format").and_then(Value::as_str) {
        Some("holdfast-period") => {
            format!("{n} has no unit: write \"{n}d\" for days or \"{n}h\" for hours")
        }
        Some("holdfast-threshold") => format!(
            "{n} is no text: write \"{n}\" in quotes for a number, \"{n}h\" for a length of time, or \"{n}%\" for a share"
        ),
        Some("holdfast-share") => {
            let share = n
                .as_f64()
                .filter(|n| *n > 0.0 && *n <= 1.0)
                .map_or(n.to_string(), |n| format!("{}", n * 100.0));
            format!("{n} has no unit: write \"{share}%\"")
        }
        Some("holdfast-bytes") => {
            format!("{n} has no unit: write \"{n}MB\" or \"{n}GiB\", or \"{n}B\" for bytes")
        }
        _ => format!("{n} is a number and text is wanted: write \"{n}\" in quotes"),
    }
}

/// The known word that a mistyped one most likely meant. A word far longer than any known one means none of them.
pub(crate) fn suggest_word<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    const MAX_WORD_BYTES: usize = 100;
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), *k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 3))
        .min()
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The keywords that the walk knows; others would be passed over in silence.
    const KNOWN_KEYWORDS: &[&str] = &[
        "$schema",
        "title",
        "description",
        "default",
        "type",
        "enum",
        "format",
        "minimum",
        "maximum",
        "properties",
        "additionalProperties",
        "propertyNames",
        "required",
        "items",
        secrets::SECRET_MARKER,
    ];

    fn collect_keywords(schema: &Value, found: &mut Vec<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            found.push(key.clone());
            match key.as_str() {
                "properties" => {
                    value
                        .as_object()
                        .into_iter()
                        .flatten()
                        .for_each(|(_, s)| collect_keywords(s, found));
                }
                "items" | "additionalProperties" | "propertyNames" => {
                    collect_keywords(value, found);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_generated_schema_has_no_keyword_that_the_walk_does_not_know() {
        let mut found = Vec::new();
        collect_keywords(&generate_schema(true), &mut found);
        found.retain(|k| !KNOWN_KEYWORDS.contains(&k.as_str()));
        assert!(found.is_empty(), "{found:?}");
    }

    /// Every place in a value, as pointers.
    fn all_pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(o) => {
                o.iter().for_each(|(k, v)| all_pointers(v, &join_pointer(at, k), found));
            }
            Value::Array(a) => {
                a.iter()
                    .enumerate()
                    .for_each(|(i, v)| all_pointers(v, &join_pointer(at, &i.to_string()), found));
            }
            _ => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn the_walk_and_a_full_validator_agree_on_every_policy_with_something_wrong(
            which in any::<prop::sample::Index>(),
            put in prop::sample::select(vec![
                json!(null), json!(7), json!(-1), json!(1.5), json!(true), json!("x y"), json!("35d"), json!([]),
                json!({}), json!({"wat": 1}), json!({"Bad Name": {}}), json!(["a", 1]), json!("0 2 * * *"),
            ]),
        ) {
            let text = include_str!("../../../policies/boom-card.yaml");
            let (mut policy, _) = super::super::locate::load_yaml(text).expect("yaml");
            let mut all = Vec::new();
            all_pointers(&policy, "", &mut all);
            let place: &String = which.get(&all);
            *policy.pointer_mut(place).expect("a place") = put;
            let mut options = jsonschema::draft202012::options().should_validate_formats(true);
            for (format, check) in FORMAT_CHECKS {
                options = options.with_format(*format, |s: &str| check(s).is_ok());
            }
            let validator = options.build(&generate_schema(true)).expect("a schema");
            prop_assert_eq!(check_schema(&policy).is_empty(), validator.is_valid(&policy), "{}", policy);
        }
    }
}
