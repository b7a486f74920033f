//! A record: its fields, its JSON, its hash.
//!
//! The JSON of a record has its names in order and no spaces; its hash is the SHA-256 of that JSON without `hash`. So
//! `jq -cjS 'del(.hash)' | sha256sum` computes it as well.

use crate::{
    aws::OperationError,
    plan::Operation,
    report::Artifact,
    run::RunContext,
    signing::{MinisignVerifier, SigningAuthor},
    words::hex_encode,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What stands for the hash before the very first record.
pub(super) const GENESIS_HASH: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";
/// A text is cut to so many bytes: a log is no place for pages.
const MAX_TEXT_BYTES: usize = 2000;

/// No object is larger: its records are bounded, and so is their number.
pub(super) const MAX_OBJECT_BYTES: usize = 16 << 20;
/// Evidence that is longer is left out.
const MAX_EVIDENCE_BYTES: usize = 32 * 1024;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationResult {
    /// It was done.
    Done,
    /// It was tried and failed.
    Failed,
}

/// An operation, as whoever did it tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The asset.
    pub asset: String,
    /// What was done or tried.
    pub action: String,
    /// Why.
    pub reason: String,
    /// What kind of operation it is.
    #[serde(default)]
    pub operation: Operation,
    /// How it ended.
    pub result: OperationResult,
    /// How, in words.
    pub detail: String,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What proves it: the checks of a verification or a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Value>,
}

/// An operation as it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Number of the object that it is in; one more than that of the object before.
    pub seq: u64,
    /// Its line in the object, from 1.
    pub line: usize,
    /// Lines of the object.
    pub lines: usize,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The run's id.
    pub run_id: String,
    /// The function, or the command's word.
    pub function: String,
    /// The person, on a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The company whose policy was run.
    pub policy: String,
    /// The asset's group, where its name tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The operation.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Hash of the record before.
    pub prev_hash: String,
    /// When the record before was recorded; none of the very first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_at: Option<Timestamp>,
    /// Hash of this record; 64 hex digits.
    #[serde(default)]
    pub hash: String,
}

/// What the records of one run have in common.
#[derive(Clone, Debug)]
pub(crate) struct RunInfo {
    pub(crate) at: Timestamp,
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) user: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) policy: String,
}

impl RunInfo {
    /// A run that has taken `seconds` by now.
    pub(crate) fn from_context(world: &RunContext<'_>, by: &str, seconds: f64) -> Self {
        let took = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
        let name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            at: world.now.checked_add(took).unwrap_or(world.now),
            id: world.run_id.clone(),
            by: by.to_owned(),
            user: world.user.clone(),
            host: world.on_host.then(name),
            policy: world.policy.company.to_string(),
        }
    }
}

/// The last record so far, that the next is chained to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChainTip {
    pub(crate) hash: String,
    pub(crate) at: Option<Timestamp>,
}

impl ChainTip {
    /// Before the very first record.
    pub(crate) fn genesis() -> Self {
        Self { hash: GENESIS_HASH.into(), at: None }
    }

    pub(crate) fn from_record(record: &AuditRecord) -> Self {
        Self { hash: record.hash.clone(), at: Some(record.recorded_at) }
    }
}

/// The bytes of an object: its records, chained to the last one before.
pub(crate) fn encode_object(
    seq: u64,
    run: &RunInfo,
    entries: &[AuditEntry],
    mut last: ChainTip,
) -> (Vec<u8>, ChainTip) {
    let mut bytes = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let (line, of) = (i + 1, entries.len());
        let sealed = hash_and_serialize(&AuditRecord {
            seq,
            line,
            lines: of,
            recorded_at: run.at,
            run_id: run.id.clone(),
            function: run.by.clone(),
            user: run.user.clone(),
            host: run.host.clone(),
            policy: run.policy.clone(),
            group: entry.asset.split_once('/').map(|(group, _)| group.to_owned()),
            entry: truncate_entry(entry.clone()),
            prev_hash: last.hash,
            prev_at: last.at,
            hash: String::new(),
        });
        bytes.extend_from_slice(&sealed.1);
        bytes.push(b'\n');
        last = ChainTip { hash: sealed.0, at: Some(run.at) };
    }
    (bytes, last)
}

/// An object with the author's signature of its records, as a last line, so that both are written at once.
///
/// `head -n -1 OBJECT` is what was signed, and `tail -1 OBJECT | jq -r .minisig` the signature that `minisign -V` reads.
///
/// # Errors
/// If it can't be signed.
pub(crate) async fn append_signature(
    mut bytes: Vec<u8>,
    name: &str,
    author: &SigningAuthor,
) -> Result<Vec<u8>, OperationError> {
    if let Some(minisig) = author.sign(name, &bytes).await? {
        bytes.extend(json!({ "minisig": minisig }).to_string().into_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The records of an object without its signature, if it counts: with a verifier, only what it finds to be signed.
///
/// # Errors
/// In words, if it does not.
pub(crate) fn verify_object<'b>(
    bytes: &'b [u8],
    name: &str,
    verifier: Option<&MinisignVerifier>,
) -> Result<&'b [u8], String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SignatureLine {
        minisig: String,
    }
    if bytes.len() > MAX_OBJECT_BYTES {
        return Err(format!("it is larger than {MAX_OBJECT_BYTES} bytes, as no object of ours is"));
    }
    let ended = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let last = ended.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let seal = serde_json::from_slice::<SignatureLine>(&ended[last..]).ok();
    let records = if seal.is_some() { &bytes[..last] } else { bytes };
    if let Some(verifier) = verifier {
        let signature = seal.as_ref().map(|s| s.minisig.as_bytes());
        verifier.verify(name, records, signature).map_err(|e| e.to_string())?;
    }
    Ok(records)
}

/// An entry whose texts and numbers have a length that everybody reads alike.
fn truncate_entry(mut entry: AuditEntry) -> AuditEntry {
    for text in [&mut entry.asset, &mut entry.action, &mut entry.reason, &mut entry.detail] {
        if text.len() > MAX_TEXT_BYTES {
            let end = (0..=MAX_TEXT_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            text.truncate(end);
            text.push_str(" ...");
        }
    }
    // Milliseconds are exact in every JSON library.
    let millis = |s: &mut Option<f64>| *s = s.map(|s| (s * 1000.0).round() / 1000.0);
    millis(&mut entry.seconds);
    if let Some(made) = &mut entry.artifact {
        millis(&mut made.seconds);
    }
    let length = entry.evidence.as_ref().map_or(0, |evidence| evidence.to_string().len());
    if length > MAX_EVIDENCE_BYTES {
        entry.evidence = Some(json!({ "omitted_bytes": length }));
    }
    entry
}

/// Hash and JSON of a record.
pub(crate) fn hash_and_serialize(record: &AuditRecord) -> (String, Vec<u8>) {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(record) else {
        unreachable!("a record is plain data")
    };
    let hash = hash_fields(&mut fields);
    fields.insert("hash".into(), Value::String(hash.clone()));
    (hash, canonical_json(Value::Object(fields)))
}

/// What a line must be to be a record, and the record.
///
/// # Errors
/// In words, if it is none or was changed.
pub(crate) fn parse_record(line: &[u8]) -> Result<AuditRecord, String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| format!("it is no JSON: {e}"))?;
    let Value::Object(mut fields) = value.clone() else { return Err("it is no record".into()) };
    // Whatever was changed, even a space or a name that stands twice, is not what was written.
    if canonical_json(value.clone()) != line {
        return Err("it was changed: it is not written as Holdfast writes".into());
    }
    let told = fields.get("hash").and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = hash_fields(&mut fields);
    if told != found {
        return Err(format!("it was changed: its hash is {found}, and it says \"{told}\""));
    }
    serde_json::from_value(value).map_err(|e| format!("it is no record: {e}"))
}

/// The hash of a record's fields, from which `hash` is taken away.
fn hash_fields(fields: &mut Map<String, Value>) -> String {
    fields.remove("hash");
    hex_encode(&Sha256::digest(canonical_json(Value::Object(fields.clone()))))
}

/// JSON with its names in order, however this build of the JSON library keeps them.
fn canonical_json(value: Value) -> Vec<u8> {
    fn sort_keys(value: Value) -> Value {
        match value {
            Value::Array(list) => list.into_iter().map(sort_keys).collect(),
            Value::Object(fields) => {
                let sorted: BTreeMap<_, _> = fields.into_iter().collect();
                Value::Object(sorted.into_iter().map(|(k, v)| (k, sort_keys(v))).collect())
            }
            other => other,
        }
    }
    serde_json::to_vec(&sort_keys(value)).expect("JSON again")
}

/// What is chained to a line that is no record: the hash of its bytes.
pub(crate) fn tip_of_invalid_line(line: &[u8]) -> ChainTip {
    ChainTip { hash: hex_encode(&Sha256::digest(line)), at: None }
}
