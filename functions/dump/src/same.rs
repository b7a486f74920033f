//! A database in which nothing changed: its newest dump is noted to be still true, and nothing more is stored.
//!
//! Only a dump that was read in full shows that nothing changed. The note lies beside the older file, and is written last,
//! as a commit record is. It says so of the very same bytes, under the same keys: after a rotation a new file is stored.

use crate::{
    plan::{Noting, Take},
    record,
    take::Ground,
};
use archive::{Encryption, Recipe, mac, pipe};
use jiff::Timestamp;
use postgres::dump::Dumped;
use sha2::{Digest, Sha256};
use shared::{
    aws::{EdgeError, Kind},
    policy::Dump,
    words::hex,
};
use store::{Manifest, Put, Store, Unchanged, beside, catalogue, manifest, place::Open};

/// Pieces that wait while a file is read.
const DEPTH: usize = 8;

/// A dump that may still be true.
#[derive(Debug)]
pub(crate) struct Before {
    /// Its key.
    pub(crate) key: String,
    /// Its commit record.
    pub(crate) manifest: Manifest,
}

impl Before {
    /// Whether it holds what was just dumped.
    pub(crate) fn holds(&self, dumped: &Dumped) -> bool {
        let fingerprint = dumped.fingerprint.map(|f| hex(&f));
        fingerprint.is_some() && fingerprint == self.manifest.fingerprint
    }

    /// Whether its file is what was written once: all of it is read, for what is relied on anew must be proven anew.
    pub(crate) async fn intact(&self, store: &Store) -> bool {
        let (to, mut from) = pipe::channel(DEPTH);
        let hash = async {
            let mut hash = Sha256::new();
            while let Some(piece) = pipe::next(&mut from).await? {
                hash.update(&piece);
            }
            std::io::Result::Ok(hex(&hash.finalize()))
        };
        let (read, hash) = tokio::join!(store.read(&self.key, to), hash);
        let intact = read.is_ok() && hash.is_ok_and(|hash| hash == self.manifest.file.sha256);
        if !intact {
            tracing::warn!(key = self.key, "{} is damaged: its data is stored anew", self.key);
        }
        intact
    }
}

/// The dump under this key, if it is good and made as one would be made now, with the same keys.
///
/// # Errors
/// If the store can't be asked.
pub(crate) async fn before(
    store: &Store,
    key: &str,
    dump: &Dump,
    recipe: &Recipe,
) -> Result<Option<Before>, EdgeError> {
    let backup = catalogue::one(store, key).await.map_err(EdgeError::from)?;
    let Some(manifest) = backup.committed() else { return Ok(None) };
    let alike = manifest.format == record::format(dump)
        && manifest.layers == recipe.layers()
        && manifest.recipients == record::recipients(dump);
    if !alike {
        return Ok(None);
    }
    if let Encryption::OpenSsl { passphrase, .. } = &recipe.encryption {
        let json = store.get(&beside::manifest(key)).await.map_err(EdgeError::from)?;
        let signed = manifest.mac.as_ref().zip(json).is_some_and(|(mac, json)| {
            manifest::authenticated(key, &json)
                .is_ok_and(|text| mac::verify(passphrase, &text, mac).is_ok())
        });
        if !signed {
            return Ok(None);
        }
    }
    Ok(Some(Before { key: key.to_owned(), manifest: manifest.clone() }))
}

/// Notes that a dump was still true `at` a time, and looks whether it is still there.
///
/// # Errors
/// If the note can't be written, or the dump was let go meanwhile.
pub(crate) async fn note(
    ground: &Ground<'_>,
    take: &Take,
    before: &Before,
    recipe: &Recipe,
    at: Timestamp,
) -> Result<(), EdgeError> {
    let Before { key, manifest } = before;
    let mut note = Unchanged {
        holdfast: manifest::VERSION,
        sha256: manifest.file.sha256.clone(),
        data_time: at,
        slot: take.slot,
        run: ground.world.run.clone(),
        mac: None,
    };
    if let Encryption::OpenSsl { passphrase, .. } = &recipe.encryption {
        note.mac = Some(record::mac(key, passphrase, &note.to_json())?);
    }
    let store = &ground.stored.store;
    let put = Put { run: note.run.clone(), ..Put::default() };
    let name = beside::unchanged(key, at);
    store.put(&name, note.to_json().into(), &put).await.map_err(EdgeError::from)?;
    let there = catalogue::one(store, key).await.map_err(EdgeError::from)?;
    if there.good() {
        return Ok(());
    }
    let why = "it was let go while its database was found to be still the same";
    Err(EdgeError::of_kind(
        Kind::Store,
        format!("note that {key} is still true"),
        why,
        "dump again",
    ))
}

/// Copies a note to a second place.
///
/// # Errors
/// If it can't be read or written.
pub(crate) async fn copy(from: &Open<'_>, to: &Open<'_>, what: &Noting) -> Result<(), EdgeError> {
    let name = beside::unchanged(&what.from, what.at);
    let json = from.store.get(&name).await.map_err(EdgeError::from)?;
    let gone = || EdgeError::of_kind(Kind::Store, format!("copy {name}"), "it is gone", "");
    let json = json.ok_or_else(gone)?;
    let put = Put::default();
    to.store.put(&beside::unchanged(&what.key, what.at), json, &put).await.map_err(EdgeError::from)
}
