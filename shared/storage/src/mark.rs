//! The mark of a store: whose it is, written once at its root.
//!
//! A place and prefix belong to one owner. Where the mark is another's, nothing is written, counted or deleted. A
//! directory without its mark is perhaps a mount point on which nothing is mounted, so a directory gets its mark by
//! `holdfast store init` alone; a bucket or container can't be mistaken for another, and gets it with its first backup.

use crate::{
    BackupStore, StoreError, StoreErrorKind, TrustPolicy, UploadOptions, beside, cache::Reader,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    hints::commands::{STORE_INIT, run},
    signing::SigningAuthor,
};

/// Its name below the store's prefix.
pub const MARKER_KEY: &str = "holdfast-store.json";
/// The version of its form.
const MARKER_VERSION: u32 = 1;

/// Whose a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMarker {
    /// Version of this form.
    pub holdfast: u32,
    /// The owner: see `Policy::owner`.
    pub owner: String,
    /// The store's own name: the run that made it.
    pub id: String,
    /// Since when.
    pub since: Timestamp,
}

/// The mark of a store, if it has one.
///
/// # Errors
/// If it is another owner's, is not signed where the policy signs, or can't be read.
pub async fn find_marker(
    store: &BackupStore,
    trust: &TrustPolicy,
) -> Result<Option<StoreMarker>, StoreError> {
    let Some((json, mark)) = read_marker(store, trust.owner()).await? else { return Ok(None) };
    if let Err(e) = trust.check_signature(Reader::uncached(store), MARKER_KEY, &json).await? {
        let hint = format!("{}; where `signing` is new: {}", e.hint, run(STORE_INIT));
        return Err(StoreError::new(StoreErrorKind::Refused, read_operation(store), e.why, hint));
    }
    Ok(Some(mark))
}

/// Its bytes, and what they say for this owner.
async fn read_marker(
    store: &BackupStore,
    owner: &str,
) -> Result<Option<(bytes::Bytes, StoreMarker)>, StoreError> {
    let Some(json) = store.get_small(MARKER_KEY).await? else { return Ok(None) };
    let mark =
        serde_json::from_slice::<StoreMarker>(&json).ok().filter(|m| m.holdfast == MARKER_VERSION);
    let Some(mark) = mark else {
        let hint = "look at it: whose store this is, nobody can tell from it";
        return Err(StoreError::new(
            StoreErrorKind::Damaged,
            read_operation(store),
            "it is no mark of this version",
            hint,
        ));
    };
    if mark.owner != owner {
        let why =
            format!("this place belongs to \"{}\", and the policy is of \"{owner}\"", mark.owner);
        let hint = "give each policy a directory or a prefix of its own";
        return Err(StoreError::new(StoreErrorKind::Refused, read_operation(store), why, hint));
    }
    Ok(Some((json, mark)))
}

fn read_operation(store: &BackupStore) -> String {
    format!("read the mark {}", store.full_uri(MARKER_KEY))
}

/// Gives a store its mark, and the mark its signature; what is there already stays.
///
/// # Errors
/// If it is another owner's, or can't be written.
pub async fn write_marker(
    store: &BackupStore,
    author: &SigningAuthor,
    run: &str,
    now: Timestamp,
) -> Result<StoreMarker, StoreError> {
    let put = UploadOptions { run: run.to_owned(), ..UploadOptions::default() };
    if read_marker(store, author.owner()).await?.is_none() {
        let (owner, id) = (author.owner().to_owned(), run.to_owned());
        let mark = StoreMarker { holdfast: MARKER_VERSION, owner, id, since: now };
        let json = serde_json::to_vec_pretty(&mark).expect("a mark is plain data");
        match store.put_if_absent(MARKER_KEY, json.into(), &put).await {
            // Another run was quicker: whose it is now, the next lines see.
            Err(e) if e.kind == StoreErrorKind::Exists => {}
            written => written?,
        }
    }
    let Some((json, mark)) = read_marker(store, author.owner()).await? else {
        let hint = "see what else deletes there";
        return Err(StoreError::new(
            StoreErrorKind::Missing,
            read_operation(store),
            "it was written and is gone",
            hint,
        ));
    };
    if let Some(signature) = author.sign(MARKER_KEY, &json).await? {
        let name = beside::signature_key(MARKER_KEY);
        match store.put_if_absent(&name, signature.into(), &put).await {
            Err(e) if e.kind == StoreErrorKind::Exists => {
                let there = store.get_small(&name).await?;
                let ours = author.verifier().verify(MARKER_KEY, &json, there.as_deref());
                ours.map_err(|e| {
                    StoreError::new(
                        StoreErrorKind::Refused,
                        read_operation(store),
                        e.to_string(),
                        "look at it: who put it there?",
                    )
                })?;
            }
            written => written?,
        }
    }
    Ok(mark)
}

/// The error of a directory that has no mark, or of a bucket that lost it.
pub fn missing_marker_error(store: &BackupStore) -> StoreError {
    let (why, hint) = match store {
        BackupStore::Directory(_) => (
            "it is not there: either nothing is mounted here, or the directory is new",
            format!("mount it; to make a new store there: {}", run(STORE_INIT)),
        ),
        BackupStore::S3(_) | BackupStore::Azure(_) => (
            "it is not there, and backups are: it was deleted",
            format!("find out who deleted it; to write it again: {}", run(STORE_INIT)),
        ),
    };
    StoreError::new(StoreErrorKind::Missing, read_operation(store), why, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DirectoryBackend;
    use shared::{
        policy::Policy,
        signing::{MinisignSigner, SigningAuthor},
    };

    fn at() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().expect("a time")
    }

    /// What a policy that signs with this key trusts.
    fn trust(signer: &MinisignSigner) -> TrustPolicy {
        let text = format!(
            "{{holdfast: 1, company: acme, id: host-1, signing: {{public_keys: [{}]}}, postgres: {{main: {{databases: [a], \
             storage: {{directory: /b}}, dumps: {{manual: {{keep: {{newest: 1}}}}}}}}}}}}",
            signer.public_key()
        );
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        TrustPolicy::from_policy(&policy, policy.postgres.values().next().expect("a group"), at())
    }

    #[tokio::test]
    async fn a_store_has_one_owner_and_its_mark_is_written_once() {
        let root = tempfile::tempdir().expect("a folder");
        let store = BackupStore::Directory(DirectoryBackend::new(root.path(), ""));
        let ours = TrustPolicy::owner_only("acme@host-1", at());
        let theirs = TrustPolicy::owner_only("acme@host-2", at());
        assert_eq!(find_marker(&store, &ours).await, Ok(None));
        let author = SigningAuthor::new("acme@host-1", None);
        let mark = write_marker(&store, &author, "run-1", at()).await.expect("written");
        assert_eq!(write_marker(&store, &author, "run-2", at()).await, Ok(mark.clone()));
        assert_eq!(find_marker(&store, &ours).await, Ok(Some(mark)));
        let other = SigningAuthor::new("acme@host-2", None);
        for e in [
            find_marker(&store, &theirs).await.expect_err("another's"),
            write_marker(&store, &other, "run", at()).await.expect_err("another's"),
        ] {
            assert!(e.why.contains("acme@host-1") && e.why.contains("acme@host-2"), "{e}");
        }
        std::fs::write(root.path().join(MARKER_KEY), "x").expect("written");
        assert_eq!(
            find_marker(&store, &ours).await.expect_err("no mark").kind,
            StoreErrorKind::Damaged
        );
    }

    #[tokio::test]
    async fn where_the_policy_signs_the_mark_is_signed_and_a_killed_init_is_finished_by_the_next() {
        let root = tempfile::tempdir().expect("a folder");
        let store = BackupStore::Directory(DirectoryBackend::new(root.path(), ""));
        let (signer, _) = MinisignSigner::generate().expect("random numbers");
        let trust = trust(&signer);
        let author = SigningAuthor::new("acme@host-1", Some(signer));
        // Killed before it was signed, or put there by somebody else.
        let unsigned = SigningAuthor::new("acme@host-1", None);
        let mark = write_marker(&store, &unsigned, "run-1", at()).await.expect("written");
        assert!(
            find_marker(&store, &trust).await.expect_err("not signed").hint.contains("store init")
        );
        assert_eq!(write_marker(&store, &author, "run-2", at()).await, Ok(mark.clone()));
        assert_eq!(find_marker(&store, &trust).await, Ok(Some(mark)));
        // Somebody was quicker with a signature of his own.
        let path = root.path().join(beside::signature_key(MARKER_KEY));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "x").expect("written");
        assert!(find_marker(&store, &trust).await.is_err());
        assert!(write_marker(&store, &author, "run-3", at()).await.is_err());
    }
}
