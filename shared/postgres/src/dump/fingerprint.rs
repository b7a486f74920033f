//! What tells whether two dumps hold the same: neither when they were made is in it, nor how the rows came over the wire.

use super::{InstalledExtension, ServerFacts, ServerRole};
use crate::toc::Toc;
use sha2::{Digest as _, Sha256};

/// A hash that is being made.
#[derive(Debug, Default)]
pub(super) struct DumpFingerprint {
    hash: Sha256,
    /// Bytes of data since the last part began.
    bytes: u64,
}

impl DumpFingerprint {
    /// Begins with all definitions of an archive.
    pub(super) fn from_toc(toc: &Toc) -> Self {
        let (before, after) = (&toc.raw[..toc.created_at.start], &toc.raw[toc.created_at.end..]);
        Self { hash: Sha256::new_with_prefix(before).chain_update(after), bytes: 0 }
    }

    /// The data of this entry, or of this large object, follows.
    pub(super) fn begin_part(&mut self, number: i32) {
        // With the length of what came before, so that no data can look like a part's beginning.
        self.hash.update(std::mem::take(&mut self.bytes).to_le_bytes());
        self.hash.update(number.to_le_bytes());
    }

    /// Bytes of it.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// The hash, with what is not in every archive and yet in its commit record. Another server is another lineage,
    /// though it may hold the same.
    pub(super) fn finish(
        mut self,
        server: &ServerFacts,
        extensions: &[InstalledExtension],
        roles: &[ServerRole],
    ) -> [u8; 32] {
        self.begin_part(0);
        let ServerFacts {
            system_identifier,
            version,
            encoding,
            collate,
            ctype,
            owner,
            database,
            ..
        } = server;
        let system_identifier = system_identifier.as_deref().unwrap_or_default();
        for fact in [system_identifier, version, encoding, collate, ctype, owner] {
            self.hash.update(format!("{fact}\n"));
        }
        self.hash.update(format!("{database:?}\n"));
        for InstalledExtension { name, version } in extensions {
            self.hash.update(format!("{name} {version}\n"));
        }
        self.hash.update(format!("{roles:?}"));
        self.hash.finalize().into()
    }
}
