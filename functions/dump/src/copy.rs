//! A dump copied to a second place: the very bytes, its hash, and a commit record of its own.

use crate::{
    means,
    plan::Copying,
    record,
    take::{Sent, commit, send},
};
use archive::pipe;
use sha2::{Digest, Sha256};
use shared::{
    aws::{EdgeError, Kind},
    policy::Postgres,
    secret::Secrets,
};
use store::{
    Manifest, Put,
    place::{Open, lock_until},
};

/// Copies a dump and says what it came to.
///
/// # Errors
/// If it can't be read, is not what its commit record says, was not signed by its passphrase, or can't be written.
pub(crate) async fn copy(
    run: &str,
    secrets: &Secrets<'_>,
    from: &Open<'_>,
    to: &Open<'_>,
    rules: &Postgres,
    what: &Copying,
) -> Result<Manifest, EdgeError> {
    let record = store::beside::manifest(&what.from);
    let json = from.store.get(&record).await.map_err(EdgeError::from)?;
    let gone = || EdgeError::of_kind(Kind::Store, format!("copy {}", what.from), "it is gone", "");
    let json = json.ok_or_else(gone)?;
    let mut manifest = Manifest::read(&what.from, &json).map_err(EdgeError::from)?;
    let passphrases = match &manifest.mac {
        Some(_) => means::passphrases(secrets, rules).await,
        None => Vec::new(),
    };
    let passphrase = match &manifest.mac {
        Some(mac) => Some(record::signer(&what.from, &json, mac, &passphrases)?),
        None => None,
    };
    let dumps = rules.all_dumps();
    let own = dumps.iter().find(|(reason, _)| reason.as_str() == manifest.reason);
    let keep = to.policy.keep.as_ref().or(own.map(|(_, dump)| &dump.keep));
    let lock = to.policy.lock.and(keep).and_then(|keep| lock_until(keep, manifest.data_time));
    let put = Put {
        run: run.to_owned(),
        class: to.first_class(&rules.tiers),
        lock_until: lock,
        size_hint: manifest.file.bytes,
    };
    let mut upload = to.store.begin(&what.key, &put).await.map_err(EdgeError::from)?;
    let (read_to, read_from) = pipe::channel(8);
    let mut hash = Sha256::new();
    let (read, sent) = tokio::join!(
        from.store.read(&what.from, read_to),
        send(read_from, &mut upload, to.policy.bandwidth.as_ref(), |piece| hash.update(piece)),
    );
    let checked = match (read, sent) {
        (Err(e), _) | (_, Err(Sent::Store(e))) => Err(e.into()),
        (_, Err(Sent::Cut(e))) => {
            let doing = format!("read {}", what.from);
            Err(EdgeError::of_kind(Kind::Store, doing, e.to_string(), ""))
        }
        (Ok(()), Ok(())) => same(&what.from, &hash.finalize(), &manifest.file.sha256),
    };
    if let Err(e) = checked {
        upload.abort().await;
        return Err(e);
    }
    let written = upload.finish().await.map_err(EdgeError::from)?;
    manifest.file.name = what.key.rsplit('/').next().unwrap_or(&what.key).to_owned();
    manifest.file.checksum = written.checksum;
    manifest.locked_until = put.lock_until;
    manifest.restore =
        manifest.restore.replace(&from.store.command(&what.from), &to.store.command(&what.key));
    if let Some(passphrase) = passphrase {
        // Name and place are signed too, and they are others there.
        record::sign(&mut manifest, &what.key, passphrase)?;
    }
    commit(&to.store, &what.key, &manifest, &put).await?;
    Ok(manifest)
}

/// What was read must be what was written once.
fn same(key: &str, hash: &[u8], record: &str) -> Result<(), EdgeError> {
    let hash = archive::Sha256Hex(hash.try_into().expect("SHA-256 has 32 bytes")).to_string();
    if hash == record {
        return Ok(());
    }
    let why = format!("its SHA-256 is {hash} and its commit record says {record}");
    let mend = "the file in the first place is damaged: verify it, and look at its disk or bucket";
    Err(EdgeError::of_kind(Kind::Store, format!("copy {key}"), why, mend))
}
