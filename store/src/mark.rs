//! The mark of a store: whose it is, written once at its root.
//!
//! A place and prefix belong to one owner. Where the mark is another's, nothing is written, counted or deleted. A
//! directory without its mark is perhaps a mount point on which nothing is mounted, so a directory gets its mark by
//! `holdfast store init` alone; a bucket or container can't be mistaken for another, and gets it with its first backup.

use crate::{Error, Kind, Put, Store, Trust, beside, cache::Reader};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    hints::commands::{STORE_INIT, run},
    signing::SigningAuthor,
};

/// Its name below the store's prefix.
pub const NAME: &str = "holdfast-store.json";
/// The version of its form.
const VERSION: u32 = 1;

/// Whose a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
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
pub async fn find(store: &Store, trust: &Trust) -> Result<Option<Mark>, Error> {
    let Some((json, mark)) = read(store, trust.owner()).await? else { return Ok(None) };
    if let Err(e) = trust.check(Reader::uncached(store), NAME, &json).await? {
        let mend = format!("{}; where `signing` is new: {}", e.mend, run(STORE_INIT));
        return Err(Error::new(Kind::Refused, doing(store), e.why, mend));
    }
    Ok(Some(mark))
}

/// Its bytes, and what they say for this owner.
async fn read(store: &Store, owner: &str) -> Result<Option<(bytes::Bytes, Mark)>, Error> {
    let Some(json) = store.get(NAME).await? else { return Ok(None) };
    let mark = serde_json::from_slice::<Mark>(&json).ok().filter(|m| m.holdfast == VERSION);
    let Some(mark) = mark else {
        let mend = "look at it: whose store this is, nobody can tell from it";
        return Err(Error::new(Kind::Damaged, doing(store), "it is no mark of this version", mend));
    };
    if mark.owner != owner {
        let why =
            format!("this place belongs to \"{}\", and the policy is of \"{owner}\"", mark.owner);
        let mend = "give each policy a directory or a prefix of its own";
        return Err(Error::new(Kind::Refused, doing(store), why, mend));
    }
    Ok(Some((json, mark)))
}

fn doing(store: &Store) -> String {
    format!("read the mark {}", store.arn(NAME))
}

/// Gives a store its mark, and the mark its signature; what is there already stays.
///
/// # Errors
/// If it is another owner's, or can't be written.
pub async fn write(
    store: &Store,
    author: &SigningAuthor,
    run: &str,
    now: Timestamp,
) -> Result<Mark, Error> {
    let put = Put { run: run.to_owned(), ..Put::default() };
    if read(store, author.owner()).await?.is_none() {
        let (owner, id) = (author.owner().to_owned(), run.to_owned());
        let mark = Mark { holdfast: VERSION, owner, id, since: now };
        let json = serde_json::to_vec_pretty(&mark).expect("a mark is plain data");
        match store.put(NAME, json.into(), &put).await {
            // Another run was quicker: whose it is now, the next lines see.
            Err(e) if e.kind == Kind::Exists => {}
            written => written?,
        }
    }
    let Some((json, mark)) = read(store, author.owner()).await? else {
        let mend = "see what else deletes there";
        return Err(Error::new(Kind::Missing, doing(store), "it was written and is gone", mend));
    };
    if let Some(signature) = author.sign(NAME, &json) {
        let name = beside::signature(NAME);
        match store.put(&name, signature.into(), &put).await {
            Err(e) if e.kind == Kind::Exists => {
                let there = store.get(&name).await?;
                let ours = author.verifier().verify(NAME, &json, there.as_deref());
                ours.map_err(|e| {
                    Error::new(
                        Kind::Refused,
                        doing(store),
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
pub(crate) fn missing(store: &Store) -> Error {
    let (why, mend) = match store {
        Store::Directory(_) => (
            "it is not there: either nothing is mounted here, or the directory is new",
            format!("mount it; to make a new store there: {}", run(STORE_INIT)),
        ),
        Store::S3(_) | Store::Azure(_) => (
            "it is not there, and backups are: it was deleted",
            format!("find out who deleted it; to write it again: {}", run(STORE_INIT)),
        ),
    };
    Error::new(Kind::Missing, doing(store), why, mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;
    use shared::{
        policy::Policy,
        signing::{SigningAuthor, MinisignSigner},
    };

    fn at() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().expect("a time")
    }

    /// What a policy that signs with this key trusts.
    fn trust(signer: &MinisignSigner) -> Trust {
        let text = format!(
            "{{holdfast: 1, company: acme, id: host-1, signing: {{public_keys: [{}]}}, postgres: {{main: {{databases: [a], \
             stored: {{directory: /b}}, dumps: {{manual: {{keep: {{newest: 1}}}}}}}}}}}}",
            signer.public_key()
        );
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        Trust::of(&policy, policy.postgres.values().next().expect("a group"), at())
    }

    #[tokio::test]
    async fn a_store_has_one_owner_and_its_mark_is_written_once() {
        let root = tempfile::tempdir().expect("a folder");
        let store = Store::Directory(Directory::new(root.path(), ""));
        let ours = Trust::in_owner("acme@host-1", at());
        let theirs = Trust::in_owner("acme@host-2", at());
        assert_eq!(find(&store, &ours).await, Ok(None));
        let author = SigningAuthor::new("acme@host-1", None);
        let mark = write(&store, &author, "run-1", at()).await.expect("written");
        assert_eq!(write(&store, &author, "run-2", at()).await, Ok(mark.clone()));
        assert_eq!(find(&store, &ours).await, Ok(Some(mark)));
        let other = SigningAuthor::new("acme@host-2", None);
        for e in [
            find(&store, &theirs).await.expect_err("another's"),
            write(&store, &other, "run", at()).await.expect_err("another's"),
        ] {
            assert!(e.why.contains("acme@host-1") && e.why.contains("acme@host-2"), "{e}");
        }
        std::fs::write(root.path().join(NAME), "x").expect("written");
        assert_eq!(find(&store, &ours).await.expect_err("no mark").kind, Kind::Damaged);
    }

    #[tokio::test]
    async fn where_the_policy_signs_the_mark_is_signed_and_a_killed_init_is_finished_by_the_next() {
        let root = tempfile::tempdir().expect("a folder");
        let store = Store::Directory(Directory::new(root.path(), ""));
        let (signer, _) = MinisignSigner::generate().expect("random numbers");
        let trust = trust(&signer);
        let author = SigningAuthor::new("acme@host-1", Some(signer));
        // Killed before it was signed, or put there by somebody else.
        let unsigned = SigningAuthor::new("acme@host-1", None);
        let mark = write(&store, &unsigned, "run-1", at()).await.expect("written");
        assert!(find(&store, &trust).await.expect_err("not signed").mend.contains("store init"));
        assert_eq!(write(&store, &author, "run-2", at()).await, Ok(mark.clone()));
        assert_eq!(find(&store, &trust).await, Ok(Some(mark)));
        // Somebody was quicker with a signature of his own.
        let path = root.path().join(beside::signature(NAME));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "x").expect("written");
        assert!(find(&store, &trust).await.is_err());
        assert!(write(&store, &author, "run-3", at()).await.is_err());
    }
}
