//! One value out of a text with several: a JSON field, or a line `NAME=value`.

use serde_json::Value;

/// The value named `key`.
pub(super) fn pick_value(text: &str, key: &str) -> Option<String> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => scalar_to_string(fields.get(key)?),
        _ => text.lines().rev().find_map(|line| parse_assignment(line, key)),
    }
    .filter(|v| !v.is_empty())
}

/// A field's text; a number's or a truth value's as JSON writes it.
pub(super) fn scalar_to_string(field: &Value) -> Option<String> {
    match field {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(field.to_string()),
        _ => None,
    }
}

/// The value of a line `NAME=value`, as shells and systemd read it: with or without `export`, in quotes or not. The last
/// line of a name counts, as in a shell.
fn parse_assignment(line: &str, key: &str) -> Option<String> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let mut out = String::new();
            let mut chars = rest.chars();
            while let Some(c) = chars.next() {
                match c {
                    c if c == quote => return Some(out),
                    // Between double quotes a backslash makes these plain.
                    '\\' if quote == '"' => match chars.next()? {
                        c @ ('"' | '\\' | '$' | '`') => out.push(c),
                        c => out.extend(['\\', c]),
                    },
                    c => out.push(c),
                }
            }
            return None;
        }
    }
    let comment = value.find(" #").unwrap_or(value.len());
    Some(value[..comment].trim_end().to_owned())
}
