//! Where the test restores of a command run, as the policy says: one place for each group, and one server of our own for
//! all that want one.

use crate::{backups::Item, commands::verify::Chosen, session::Session};
use dump::means;
use restore::{Error, Scratch};
use shared::{policy, secret::SecretResolver};
use std::collections::BTreeMap;

/// The places, by what the policy says of them.
#[derive(Debug, Default)]
pub(crate) struct Scratches {
    local: BTreeMap<Option<String>, Scratch>,
    of_group: BTreeMap<String, Result<Scratch, Error>>,
    folders: BTreeMap<String, Option<String>>,
}

impl Scratches {
    /// The places of these dumps' groups; none where nothing is restored. A place that can't be had keeps only its own
    /// group's dumps from being verified.
    pub(crate) async fn of(
        session: &Session<'_>,
        secrets: &SecretResolver<'_>,
        items: &[Chosen<'_>],
        full: bool,
    ) -> Self {
        let mut all = Self::default();
        for Chosen { item, .. } in items.iter().filter(|_| full) {
            let group = item.group.to_string();
            if all.of_group.contains_key(&group) || all.folders.contains_key(&group) {
                continue;
            }
            let place = session.policy.scratch_for(item.rules).unwrap_or_default();
            let world = session.look();
            let found = match &place {
                p if p.production => {
                    means::server(&world, secrets, item.rules).await.map(Scratch::Production)
                }
                p if p.names_a_server() => {
                    means::scratch_server(&world, secrets, item.rules, p).await.map(Scratch::Named)
                }
                policy::ScratchConfig { directory, .. } => {
                    let local = || Scratch::local(directory.as_ref().map(Into::into));
                    all.local.entry(directory.clone()).or_insert_with(local);
                    all.folders.insert(group, directory.clone());
                    continue;
                }
            };
            all.of_group.insert(group, found.map_err(Error::from));
        }
        all
    }

    /// The place of a dump.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn get(&self, item: &Item<'_>) -> Result<&Scratch, Error> {
        let group = item.group.as_str();
        if let Some(found) = self.of_group.get(group) {
            return found.as_ref().map_err(Clone::clone);
        }
        let local = self.folders.get(group).and_then(|folder| self.local.get(folder));
        local.ok_or_else(|| {
            let why = "no place was looked for";
            Error::new(restore::Kind::NoScratch, "find a place for a test restore", why, "")
        })
    }

    /// Stops what was started.
    pub(crate) async fn stop(self) {
        for (_, scratch) in self.local {
            scratch.stop().await;
        }
    }
}
