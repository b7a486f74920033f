//! YAML with positions: the value for serde, and where each part of it stands in the file.

use super::{PolicyError, structure::UnlocatedError};
use crate::bounded::{MAX_POLICY_BYTES, TooLarge};
use saphyr::{MarkedYaml, Scalar, ScanError, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser, Span, SpannedEventReceiver};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Where each JSON Pointer of a policy stands: line and column from 1.
pub(super) struct SourceMap(HashMap<String, (usize, usize)>);

/// Characters of a message, which lists the known keys at most.
const MAX_MESSAGE_CHARS: usize = 2000;
/// Characters of a path.
const MAX_PATH_CHARS: usize = 300;

/// The beginning of a text.
fn truncate_chars(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl SourceMap {
    /// Gives a finding its place: its own, or that of the nearest part around it.
    pub(super) fn locate(&self, found: &UnlocatedError) -> PolicyError {
        let mut pointer = found.pointer.as_str();
        let (line, column) = loop {
            if let Some(place) = self.0.get(pointer) {
                break *place;
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => break (1, 1),
            }
        };
        // What stands in the file is repeated in messages, and may be a megabyte of text.
        let message = truncate_chars(&found.message, MAX_MESSAGE_CHARS);
        PolicyError {
            line,
            column,
            path: truncate_chars(&to_display_path(&found.pointer), MAX_PATH_CHARS),
            message,
        }
    }
}

/// `/databases/fleet/copies/0/to` as people write it: `databases.fleet.copies[0].to`.
pub(super) fn to_display_path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.parse::<usize>().is_ok() {
            path += &format!("[{part}]");
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path += &part;
        }
    }
    path
}

/// Joins a pointer and a key.
pub(super) fn join_pointer(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Deeper than any policy; keeps hostile nesting off the stack.
const MAX_DEPTH: usize = 32;
/// More keys, values and lists than any policy has: a thousand databases, each with a strategy of its own, are half as many.
const MAX_NODES: usize = 50_000;

/// A fault of the file as a whole.
fn file_error(line: usize, column: usize, message: impl Into<String>) -> PolicyError {
    PolicyError { line, column, path: String::new(), message: message.into() }
}

/// The documents of a file. Size, depth and number are judged while it is read, before anything is built that is
/// walked recursively.
fn parse_documents(yaml: &str) -> Result<Vec<MarkedYaml<'_>>, PolicyError> {
    if yaml.len() > MAX_POLICY_BYTES {
        return Err(file_error(
            1,
            1,
            format!("{}: no policy is so large", TooLarge(MAX_POLICY_BYTES)),
        ));
    }
    let wrong = |e: &ScanError| {
        let at = e.marker();
        file_error(at.line(), at.col() + 1, format!("this is not YAML: {}", e.info()))
    };
    let mut loader = YamlLoader::<MarkedYaml>::default();
    let (mut depth, mut parts) = (0_usize, 0);
    for event in Parser::new_from_str(yaml) {
        let (event, span) = event.map_err(|e| wrong(&e))?;
        match &event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        parts += 1;
        if let Some(message) = unsupported_yaml(&event, depth, parts) {
            return Err(error_at(span, message));
        }
        loader.on_event(event, span);
        if let Some(e) = loader.error() {
            return Err(wrong(e));
        }
    }
    Ok(loader.into_documents())
}

/// Why a part of the file is not read.
fn unsupported_yaml(event: &Event<'_>, depth: usize, parts: usize) -> Option<&'static str> {
    match event {
        _ if depth > MAX_DEPTH => Some("this is nested too deeply for a policy"),
        _ if parts > MAX_NODES => Some("this file has more keys and values than any policy"),
        // Aliases of aliases grow without end, and what is shared is easily changed for one and meant for the other.
        Event::Alias(..) => Some(
            "an alias (*name) can't be used in a policy: write the value out where it is meant",
        ),
        _ => None,
    }
}

fn error_at(span: Span, message: &str) -> PolicyError {
    file_error(span.start.line(), span.start.col() + 1, message)
}

/// Reads one YAML document.
pub(super) fn load_yaml(yaml: &str) -> Result<(Value, SourceMap), PolicyError> {
    let documents = parse_documents(yaml)?;
    let [document] = documents.as_slice() else {
        let message =
            format!("a policy is one YAML document, and this file has {}", documents.len());
        return Err(file_error(1, 1, message));
    };
    let mut places = HashMap::new();
    let value = to_json_value(document, "", 0, &mut places)?;
    Ok((value, SourceMap(places)))
}

fn to_json_value(
    node: &MarkedYaml,
    pointer: &str,
    depth: usize,
    places: &mut HashMap<String, (usize, usize)>,
) -> Result<Value, PolicyError> {
    let (line, column) = (node.span.start.line(), node.span.start.col() + 1);
    let fault = |message: &str| PolicyError {
        line,
        column,
        path: to_display_path(pointer),
        message: message.to_owned(),
    };
    // A key's own place, set by the mapping around it, is better than its value's.
    places.entry(pointer.to_owned()).or_insert((line, column));
    if depth > MAX_DEPTH {
        return Err(fault("this is nested too deeply for a policy"));
    }
    Ok(match &node.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(b) => Value::Bool(*b),
            Scalar::Integer(i) => Value::from(*i),
            Scalar::FloatingPoint(f) => Value::from(f.into_inner()),
            Scalar::String(s) => Value::from(s.as_ref()),
        },
        YamlData::Sequence(items) => {
            let mut array = Vec::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                array.push(to_json_value(
                    item,
                    &join_pointer(pointer, &i.to_string()),
                    depth + 1,
                    places,
                )?);
            }
            Value::Array(array)
        }
        YamlData::Mapping(entries) => {
            let mut object = Map::new();
            for (key, item) in entries {
                let start = key.span.start;
                let name = match &key.data {
                    YamlData::Value(Scalar::String(s)) => s.to_string(),
                    YamlData::Value(Scalar::Integer(i)) => i.to_string(),
                    _ => {
                        return Err(PolicyError {
                            line: start.line(),
                            column: start.col() + 1,
                            path: to_display_path(pointer),
                            message: "a key is plain text here".to_owned(),
                        });
                    }
                };
                let inner = join_pointer(pointer, &name);
                places.insert(inner.clone(), (start.line(), start.col() + 1));
                let item = to_json_value(item, &inner, depth + 1, places)?;
                object.insert(name, item);
            }
            Value::Object(object)
        }
        _ => {
            return Err(fault(
                "this YAML form (alias, tag or bad value) can't be used in a policy",
            ));
        }
    })
}
