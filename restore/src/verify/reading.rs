//! What lies beside a backup, and what the reading of it says.

use super::{Check, READABLE};
use crate::{Error, Kind, Opening};
use archive::{Cipher, Digest, Layers, Sums, mac};
use store::{Backup, Store, Unchanged, beside, catalogue::Of, manifest::authenticated};

/// Of the notes beside it; a false one makes it look young, and it is as good a backup as without.
pub(crate) const NOTES: &str = "notes that it is still true";

/// What lies beside the backup: its manifest and who wrote that, and its `.sha256`.
pub(crate) async fn beside_it(store: &Store, backup: &Backup, opening: &Opening) -> Vec<Check> {
    let mut checks = Vec::new();
    match &backup.kind {
        Of::Committed(_) => {
            checks.push(Check::passed("manifest", "valid, and of the size that is stored"));
        }
        Of::Foreign(_) => {
            checks.push(Check::skipped("manifest", "another tool made it: it has none"));
        }
        Of::Faulty { why, mend, .. } => {
            checks.push(Check::failed("manifest", format!("{why}; {mend}")));
            return checks;
        }
    }
    if backup.archived {
        let class = backup.class.as_deref().unwrap_or("an archive class");
        checks.push(Check::failed(READABLE, format!("it is in {class} and must be thawed first")));
        return checks;
    }
    let signed = |m: &store::Manifest| matches!(m.layers.cipher, Some(Cipher::OpenSsl { .. }));
    if let Some(manifest) = backup.committed().filter(|m| signed(m) || m.mac.is_some()) {
        let name = "manifest's origin";
        checks.push(match &manifest.mac {
            // CBC shows no change of a byte: without the signature, whoever can write there could make both anew.
            None => Check::failed(name, "it is not signed with the passphrase"),
            Some(mac) => match origin(store, backup, opening, mac).await {
                Ok(()) => Check::passed(name, "written with the passphrase"),
                Err(why) => Check { kind: Some(Kind::Key), ..Check::failed(name, why) },
            },
        });
    }
    checks.extend(notes(store, backup, opening).await);
    match sums_of(store, backup).await {
        Ok(None) if backup.committed().is_some() => {
            checks.push(Check::failed(".sha256", "it is not there"));
        }
        Ok(Some(said)) => {
            if let Some(manifest) = backup.committed() {
                checks.push(if said.eq_ignore_ascii_case(&manifest.file.sha256) {
                    Check::passed(".sha256", "agrees with the manifest")
                } else {
                    Check::failed(".sha256", "does not agree with the manifest")
                });
            }
        }
        Ok(None) => {}
        Err(e) => checks.push(Check::broken(".sha256", &e)),
    }
    checks
}

/// The notes that the database was still the same later: each of this very file, and of who has the passphrase.
async fn notes(store: &Store, backup: &Backup, opening: &Opening) -> Option<Check> {
    let manifest = backup.committed()?;
    let name = NOTES;
    for at in &backup.unchanged {
        let key = beside::unchanged(&backup.key, *at);
        let bad = |why: String| Some(Check::failed(name, format!("{key}: {why}")));
        let json = match store.get(&key).await {
            Ok(Some(json)) => json,
            Ok(None) => continue, // let go just now
            Err(e) => return Some(Check::broken(name, &e.into())),
        };
        let note: Unchanged = match serde_json::from_slice(&json) {
            Ok(note) => note,
            Err(e) => return bad(e.to_string()),
        };
        if note.sha256 != manifest.file.sha256
            || beside::unchanged(&backup.key, note.data_time) != key
        {
            return bad("it is of another file, or of another time".into());
        }
        if manifest.mac.is_none() {
            continue;
        }
        let Some(mac) = &note.mac else {
            return bad("it is not signed with the passphrase".into());
        };
        if let Err(why) = signed(&key, &json, opening, mac) {
            return bad(why).map(|c| Check { kind: Some(Kind::Key), ..c });
        }
    }
    let last = backup.unchanged.last()?;
    Some(Check::passed(name, format!("{}, the last of {last}", backup.unchanged.len())))
}

/// The hash in the backup's `.sha256`.
async fn sums_of(store: &Store, backup: &Backup) -> Result<Option<String>, Error> {
    let Some(bytes) = store.get(&beside::sums(&backup.key)).await? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.split_whitespace().next().unwrap_or_default().to_owned()))
}

/// Whether one of the passphrases signed the manifest as it lies there.
async fn origin(
    store: &Store,
    backup: &Backup,
    opening: &Opening,
    signed: &mac::Mac,
) -> Result<(), String> {
    let json = store.get(&beside::manifest(&backup.key)).await.map_err(|e| e.to_string())?;
    let json = json.ok_or("it was deleted just now")?;
    self::signed(&backup.key, &json, opening, signed)
}

/// Whether one of the passphrases signed this JSON.
fn signed(key: &str, json: &[u8], opening: &Opening, signed: &mac::Mac) -> Result<(), String> {
    let text = authenticated(key, json).map_err(|e| e.to_string())?;
    let mut last = "no passphrase was given".to_owned();
    for passphrase in &opening.passphrases {
        match mac::verify(passphrase, &text, signed) {
            Ok(()) => return Ok(()),
            Err(e) => last = e.to_string(),
        }
    }
    Err(last)
}

/// What the reading of everything says.
pub(super) fn hashes(backup: &Backup, sums: Result<Option<Sums>, Error>) -> Vec<Check> {
    let sums = match sums {
        Ok(Some(sums)) => sums,
        Ok(None) => return vec![Check::failed(READABLE, "it was not read to its end")],
        Err(e) => return vec![Check::broken(READABLE, &e)],
    };
    let show = |d: &Digest| format!("{} bytes, {}", d.bytes, d.sha256);
    let layers = backup.committed().map_or_else(Layers::default, |m| m.layers);
    let undone = match (layers.cipher, layers.compressed) {
        (None, None) => "to its end",
        (None, Some(_)) => "decompressed to its end",
        (Some(_), None) => "decrypted to its end",
        (Some(_), Some(_)) => "decrypted and decompressed to its end",
    };
    vec![
        Check::passed(READABLE, undone),
        Check::passed("stored bytes", show(&sums.stored)),
        Check::passed("plain bytes", show(&sums.plain)),
    ]
}

/// Of a foreign backup, what was read against the `.sha256` beside it.
pub(super) async fn file_hash(store: &Store, backup: &Backup, checks: &[Check]) -> Option<Check> {
    if backup.committed().is_some() {
        return None;
    }
    let read = checks.iter().find(|c| c.name == "stored bytes")?;
    let said = sums_of(store, backup).await.ok()??;
    Some(if read.detail.ends_with(&said.to_lowercase()) {
        Check::passed(".sha256", "agrees with what was read")
    } else {
        Check::failed(".sha256", format!("says {said}"))
    })
}
