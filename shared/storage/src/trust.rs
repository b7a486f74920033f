//! What must be true of what lies in a store before it counts. The policy says it, never what lies there.
//!
//! Whoever can add objects to a store can add any record, note, hold and name. So nothing of it is believed but what the
//! policy's keys signed; and where the policy has no keys, nothing that the policy rules out.

use crate::{BackupManifest, BackupStore, StoreError, StoreErrorKind, beside, cache::Reader};
use jiff::{SignedDuration, Timestamp};
use shared::{
    policy::{Policy, PostgresGroup},
    signing::{MinisignVerifier, SignatureError},
};
use std::collections::BTreeMap;

/// Clocks of hosts and servers may differ by this much; what says that it is of later than that is of the future.
pub const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// What a group's policy says of records, at one moment.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    owner: String,
    verifier: Option<MinisignVerifier>,
    now: Timestamp,
    rules: BTreeMap<String, ReasonRequirements>,
    /// Some dump of the group is encrypted, so that one for a reason which the policy no longer has must be too.
    encrypts: bool,
}

/// What is asked of the dumps for one reason.
#[derive(Clone, Copy, Debug)]
struct ReasonRequirements {
    encrypts: bool,
    deduplicates: bool,
}

/// Why something does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustError {
    pub(crate) why: String,
    pub(crate) hint: &'static str,
}

impl TrustError {
    fn new(why: impl Into<String>, hint: &'static str) -> Self {
        Self { why: why.into(), hint }
    }
}

impl From<SignatureError> for TrustError {
    fn from(why: SignatureError) -> Self {
        let hint = match why {
            SignatureError::Unknown(_) => {
                "if it is an older key of yours, name it under signing.previous; else find out who put it there"
            }
            _ => "find out who put it there; it does not count, and is never deleted",
        };
        Self::new(why.to_string(), hint)
    }
}

impl TrustPolicy {
    /// What the policy says of a group's records at `now`.
    pub fn from_policy(policy: &Policy, rules: &PostgresGroup, now: Timestamp) -> Self {
        let all = rules.all_dumps();
        let rules = all.iter().map(|(reason, dump)| {
            let rule = ReasonRequirements {
                encrypts: dump.encrypt.is_some(),
                deduplicates: dump.skip_unchanged,
            };
            (reason.to_string(), rule)
        });
        let rules: BTreeMap<_, _> = rules.collect();
        Self {
            owner: policy.owner(),
            verifier: MinisignVerifier::from_policy(policy),
            now,
            encrypts: rules.values().any(|r| r.encrypts),
            rules,
        }
    }

    /// What the policy says of records that are of no group of dumps: the owner, and the keys that sign.
    pub fn from_signing(policy: &Policy, now: Timestamp) -> Self {
        Self {
            verifier: MinisignVerifier::from_policy(policy),
            ..Self::owner_only(policy.owner(), now)
        }
    }

    /// Checks that a small file of a store is signed as the policy asks.
    ///
    /// # Errors
    /// If it is not, or its signature cannot be read.
    pub async fn verify_signature(
        &self,
        store: &BackupStore,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let checked = self.check_signature(Reader::uncached(store), name, bytes).await?;
        checked.map_err(|e| {
            StoreError::new(StoreErrorKind::Untrusted, format!("read {name}"), e.why, e.hint)
        })
    }

    /// Trust of an owner whose policy asks for nothing.
    pub fn owner_only(owner: impl Into<String>, now: Timestamp) -> Self {
        let (owner, rules) = (owner.into(), BTreeMap::new());
        Self { owner, verifier: None, now, rules, encrypts: false }
    }

    /// Whose records count.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether only what is signed counts.
    pub fn requires_signature(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether notes count that a dump for this reason is still true.
    pub(crate) fn allows_deduplication(&self, reason: &str) -> bool {
        self.rules.get(reason).is_some_and(|r| r.deduplicates)
    }

    /// Whether a time is later than any clock can say now.
    pub(crate) fn is_future(&self, at: Timestamp) -> bool {
        self.now.checked_add(MAX_CLOCK_SKEW).is_ok_and(|latest| at > latest)
    }

    /// Whether a file counts: with keys in the policy, one of them signed it under this name.
    ///
    /// # Errors
    /// If the store can't be asked; the inner one if it does not count.
    pub(crate) async fn check_signature(
        &self,
        reader: Reader<'_>,
        name: &str,
        bytes: &[u8],
    ) -> Result<Result<(), TrustError>, StoreError> {
        let Some(verifier) = &self.verifier else { return Ok(Ok(())) };
        let signature = match reader.get(&beside::signature_key(name)).await {
            Ok(signature) => signature,
            Err(e) if e.kind == StoreErrorKind::Unreachable => return Err(e),
            Err(e) => {
                return Ok(Err(TrustError::new(
                    format!("its signature can't be read: {}", e.why),
                    "look at it",
                )));
            }
        };
        Ok(verifier.verify(name, bytes, signature.as_deref()).map(drop).map_err(TrustError::from))
    }

    /// Whether a record whose signature was checked may be that of the backup under this key.
    pub(crate) fn check_manifest(&self, key: &str, m: &BackupManifest) -> Result<(), TrustError> {
        let stranger = "find out who put it there; it does not count, and is never deleted";
        if m.owner != self.owner {
            let why = format!(
                "its record is of \"{}\", and this place belongs to \"{}\"",
                m.owner, self.owner
            );
            return Err(TrustError::new(why, stranger));
        }
        if m.key != key {
            let why = format!("its record was written for {}: somebody copied it here", m.key);
            return Err(TrustError::new(why, stranger));
        }
        let encrypts = self.rules.get(&m.reason).map_or(self.encrypts, |r| r.encrypts);
        // What is signed was made by a policy of its time.
        if encrypts && !self.requires_signature() && m.layers.encryption.is_none() {
            let why = "its record says that it is not encrypted, and the policy encrypts";
            let hint = "find out who put it there; if it is older than `encrypt` in the policy, move it away";
            return Err(TrustError::new(why, hint));
        }
        if self.is_future(m.data_time) {
            let why = format!("its data is of {}, which is in the future", m.data_time);
            let hint = "compare the clocks of this host and of who wrote it; it counts when its time has come";
            return Err(TrustError::new(why, hint));
        }
        if m.slot.is_some_and(|slot| {
            m.data_time.checked_add(MAX_CLOCK_SKEW).is_ok_and(|latest| slot > latest)
        }) {
            return Err(TrustError::new("it was due after its data was read", stranger));
        }
        Ok(())
    }
}
