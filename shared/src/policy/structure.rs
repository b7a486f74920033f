//! The JSON Schema of the policy, and every difference of a file from it in words that say what to write instead.

use super::{
    Policy,
    locate::join,
    text::{FORMATS, period},
};
use jsonschema::error::ValidationErrorKind as Kind;
use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Value, json};

/// A fault before it has its line: a JSON Pointer and a message.
pub(super) struct Found {
    /// JSON Pointer of the part that is wrong.
    pub(super) pointer: String,
    /// What is wrong and what to write instead.
    pub(super) message: String,
}

impl Found {
    /// A fault at a pointer.
    pub(super) fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// The JSON Schema of a policy file, for editors and for `policies/schema.json`.
pub fn schema() -> Value {
    generate(false)
}

/// `inline` puts every type where it is used, so that an error's schema path can be followed without references.
fn generate(inline: bool) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = inline);
    let mut schema =
        settings.with_transform(plain).into_generator().into_root_schema_for::<Policy>();
    schema.insert("title".into(), json!("Holdfast policy"));
    schema.to_value()
}

/// Writes what Rust's `Option` and unit enums become as a person would: an optional key may be left out but is never
/// null, and a choice of words is one `enum`.
fn plain(schema: &mut Schema) {
    transform_subschemas(&mut plain, schema);
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
pub(super) fn check(policy: &Value) -> Vec<Found> {
    let schema = generate(true);
    let mut options = jsonschema::draft202012::options().should_validate_formats(true);
    for (format, check) in FORMATS {
        options = options.with_format(*format, |s: &str| check(s).is_ok());
    }
    let validator = options.build(&schema).expect("the generated schema is a schema");
    validator.iter_errors(policy).flat_map(|e| words(&e, &schema)).collect()
}

fn words(e: &jsonschema::ValidationError<'_>, schema: &Value) -> Vec<Found> {
    let at = e.instance_path().as_str();
    let is = e.instance();
    let message = match e.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known = known_keys(schema, e.schema_path().as_str());
            return unexpected
                .iter()
                .map(|key| {
                    let what = match nearest(key, &known) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("write one of: {}", known.join(", ")),
                    };
                    Found::at(join(at, key), format!("unknown key \"{key}\"; {what}"))
                })
                .collect();
        }
        Kind::Required { property } => {
            format!("the key \"{}\" is missing", property.as_str().unwrap_or_default())
        }
        Kind::Format { format } => {
            let text = is.as_str().unwrap_or_default();
            FORMATS
                .iter()
                .find(|(name, _)| name == format)
                .and_then(|(_, check)| check(text).err())
                .unwrap_or_else(|| e.to_string())
        }
        Kind::Enum { options } => {
            let words: Vec<_> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let near = is.as_str().and_then(|word| nearest(word, &words));
            let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            format!("{is} is not one of: {}{hint}", words.join(", "))
        }
        Kind::Type { kind } => {
            let kind = format!("{kind:?}");
            wrong_type(is, &kind, at)
        }
        Kind::Minimum { limit } => format!("{is} is too small: {limit} is the least"),
        Kind::Maximum { limit } => format!("{is} is too large: {limit} is the most"),
        Kind::PropertyNames { error } => {
            return words(error, schema)
                .into_iter()
                .map(|f| {
                    Found::at(join(at, error.instance().as_str().unwrap_or_default()), f.message)
                })
                .collect();
        }
        _ => e.to_string(),
    };
    vec![Found::at(at, message)]
}

fn wrong_type(is: &Value, kind: &str, at: &str) -> String {
    let wanted = ["Object", "Array", "String", "Integer", "Boolean", "Number"]
        .into_iter()
        .find(|t| kind.contains(t))
        .unwrap_or("value");
    let wanted_words = match wanted {
        "Object" => "keys and values",
        "Array" => "a list (\"- ...\" lines, or [a, b])",
        "String" => "text",
        "Integer" => "a whole number",
        "Boolean" => "true or false",
        _ => "another kind of value",
    };
    match is {
        Value::Null => {
            format!("nothing is written here: write {wanted_words}, or leave the key out")
        }
        Value::Number(n) if wanted == "String" && at.ends_with("account") => {
            format!("{n} is a number and an account id is text: write \"{n:0>12}\" in quotes")
        }
        Value::Number(n) if wanted == "String" && period(&format!("{n}d")).is_ok() => {
            format!("{n} has no unit: write \"{n}d\" for days, or put it in quotes if it is text")
        }
        Value::Object(_) => format!("keys and values stand here: write {wanted_words}"),
        Value::Array(_) => format!("a list stands here: write {wanted_words}"),
        other => format!("{other} stands here: write {wanted_words}"),
    }
}

/// The keys that the schema knows at an `additionalProperties` error's place.
fn known_keys<'s>(schema: &'s Value, schema_path: &str) -> Vec<&'s str> {
    let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut known: Vec<_> = schema
        .pointer(&format!("{parent}/properties"))
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|p| p.keys().map(String::as_str))
        .collect();
    known.sort_unstable();
    known
}

/// The known word that a mistyped one most likely meant.
pub(super) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), *k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 3))
        .min()
        .map(|(_, k)| k)
}
