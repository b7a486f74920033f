//! Evidence in a store: written once, and believed as far as the policy says.

use super::{DrillEvidence, EVIDENCE_PREFIX};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::signing::{MinisignVerifier, SigningAuthor, signature_name};
use std::collections::BTreeMap;
use storage::{BackupStore, StoreError, StoreErrorKind, UploadOptions, trust::MAX_CLOCK_SKEW};

/// Slots of one drill that are read, the newest; their names are in the order of time.
const MAX_SLOTS: usize = 60;
/// Objects read at once.
const MAX_CONCURRENT_READS: usize = 16;
/// What does not count is named up to so often.
const MAX_IGNORED: usize = 5;

/// Whose evidence counts.
#[derive(Clone, Debug)]
pub struct EvidenceTrust {
    /// The policy's owner.
    pub owner: String,
    /// Who may sign; none where the policy has no keys.
    pub verifier: Option<MinisignVerifier>,
    /// Now.
    pub now: Timestamp,
}

/// What lies in a store.
#[derive(Clone, Debug, Default)]
pub struct EvidenceList {
    /// What counts, by slot.
    pub evidence: Vec<DrillEvidence>,
    /// What lies there and does not count, and why; a few.
    pub ignored: Vec<String>,
}

impl EvidenceTrust {
    /// What a file under this key says, if it counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn evaluate(
        &self,
        key: &str,
        json: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<DrillEvidence, String> {
        // Before anything of it is read: it is perhaps a stranger's.
        if let Some(verifier) = &self.verifier {
            verifier.verify(key, json, signature).map_err(|e| e.to_string())?;
        }
        let evidence = DrillEvidence::parse(json)?;
        if evidence.owner != self.owner {
            return Err(format!(
                "it is of \"{}\", and the policy is of \"{}\"",
                evidence.owner, self.owner
            ));
        }
        if evidence.key() != key {
            return Err(format!("it was written as {}: somebody copied it here", evidence.key()));
        }
        let latest = self.now.checked_add(MAX_CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        if evidence.finished_at > latest || evidence.slot > latest {
            return Err("its time is in the future".into());
        }
        Ok(evidence)
    }
}

/// The keys that are read: of each drill those of its newest slots.
fn newest_keys<'k>(keys: &[&'k str]) -> Vec<&'k str> {
    let mut slots: BTreeMap<&str, BTreeMap<&str, Vec<&'k str>>> = BTreeMap::new();
    for key in keys {
        let rest = key.strip_prefix(EVIDENCE_PREFIX).unwrap_or(key);
        let mut parts = rest.splitn(3, '/');
        if let (Some(drill), Some(slot), Some(_)) = (parts.next(), parts.next(), parts.next()) {
            slots.entry(drill).or_default().entry(slot).or_default().push(key);
        }
    }
    slots
        .into_values()
        .flat_map(|slots| slots.into_values().rev().take(MAX_SLOTS).flatten().collect::<Vec<_>>())
        .collect()
}

/// The evidence in a store, that of the newest slots of each drill.
///
/// # Errors
/// If the store can't be listed and read to its end.
pub async fn list_evidence(
    store: &BackupStore,
    trust: &EvidenceTrust,
) -> Result<EvidenceList, StoreError> {
    let entries = store.list(EVIDENCE_PREFIX).await?;
    let is_json = |key: &&str| std::path::Path::new(key).extension().is_some_and(|e| e == "json");
    let keys: Vec<&str> = entries.iter().map(|e| e.key.as_str()).filter(is_json).collect();
    let read = stream::iter(newest_keys(&keys)).map(|key| async move {
        let json = match store.get_small(key).await {
            Ok(Some(json)) => json,
            // Gone since the listing.
            Ok(None) => return Ok(None),
            Err(e) if e.kind == StoreErrorKind::Unreachable => return Err(e),
            Err(e) => return Ok(Some((key, Err(e.why)))),
        };
        let signature = match (&trust.verifier, store.get_small(&signature_name(key)).await) {
            (None, _) => None,
            (_, Ok(signature)) => signature,
            (_, Err(e)) if e.kind == StoreErrorKind::Unreachable => return Err(e),
            (_, Err(_)) => None,
        };
        Ok(Some((key, trust.evaluate(key, &json, signature.as_deref()))))
    });
    let read: Vec<_> = read.buffered(MAX_CONCURRENT_READS).try_collect().await?;
    let mut list = EvidenceList::default();
    for (key, evaluated) in read.into_iter().flatten() {
        match evaluated {
            Ok(evidence) => list.evidence.push(evidence),
            Err(why) if list.ignored.len() < MAX_IGNORED => {
                list.ignored.push(format!("{}: {why}", store.full_uri(key)));
            }
            Err(_) => {}
        }
    }
    list.evidence.sort_by_key(|e| (e.slot, e.finished_at));
    Ok(list)
}

/// Writes evidence, once. What is there under its key stays, and is the evidence then.
///
/// # Errors
/// [`StoreErrorKind::Exists`] if there is some already; else if the store refuses.
pub async fn write_evidence(
    store: &BackupStore,
    evidence: &DrillEvidence,
    author: &SigningAuthor,
    run: &str,
) -> Result<(), StoreError> {
    let put = UploadOptions { run: run.to_owned(), ..UploadOptions::default() };
    let (key, json) = (evidence.key(), evidence.to_json());
    store.put_signed(&key, json.into(), &put, author).await
}
