//! Where the test restores of a command run, as the policy says: one place for each group, and one server of our own for
//! all that want one.

use crate::{backups::LocatedBackup, commands::verify::VerifyTarget, session::CommandContext};
use restore::{RestoreError, ScratchTarget};
use shared::secret::SecretResolver;
use std::collections::BTreeMap;

/// The places, by what the policy says of them.
#[derive(Debug, Default)]
pub(crate) struct ScratchServers {
    local: BTreeMap<Option<String>, ScratchTarget>,
    by_group: BTreeMap<String, Result<ScratchTarget, RestoreError>>,
    folders: BTreeMap<String, Option<String>>,
}

impl ScratchServers {
    /// The places of these dumps' groups; none where nothing is restored. A place that can't be had keeps only its own
    /// group's dumps from being verified.
    pub(crate) async fn for_targets(
        session: &CommandContext<'_>,
        secrets: &SecretResolver<'_>,
        items: &[VerifyTarget<'_>],
        full: bool,
    ) -> Self {
        let mut all = Self::default();
        for VerifyTarget { item, .. } in items.iter().filter(|_| full) {
            // An RDB file is loaded by a server of its own.
            if restore::rdb::is_rdb(&item.backup) {
                continue;
            }
            let group = item.group.to_string();
            if all.by_group.contains_key(&group) || all.folders.contains_key(&group) {
                continue;
            }
            let place = session.policy.scratch_for(item.rules).unwrap_or_default();
            let world = session.dry_run_context();
            if !place.production && !place.names_a_server() {
                // One for all groups.
                let local = || ScratchTarget::local(place.directory.as_ref().map(Into::into));
                all.local.entry(place.directory.clone()).or_insert_with(local);
                all.folders.insert(group, place.directory.clone());
                continue;
            }
            let found = drill::open_scratch_target(&world, secrets, item.rules, &place).await;
            all.by_group.insert(group, found);
        }
        all
    }

    /// The place of a dump.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn for_backup(
        &self,
        item: &LocatedBackup<'_>,
    ) -> Result<&ScratchTarget, RestoreError> {
        let group = item.group.as_str();
        if let Some(found) = self.by_group.get(group) {
            return found.as_ref().map_err(Clone::clone);
        }
        let local = self.folders.get(group).and_then(|folder| self.local.get(folder));
        local.ok_or_else(|| {
            let why = "no place was looked for";
            RestoreError::new(
                restore::RestoreErrorKind::NoScratch,
                "find a place for a test restore",
                why,
                "",
            )
        })
    }

    /// Stops what was started.
    pub(crate) async fn stop_all(self) {
        for (_, scratch) in self.local {
            scratch.stop_servers().await;
        }
    }
}
