//! What killed runs left in a directory, and how it is taken away.

use super::{DirectoryBackend, modification_time, run_blocking, steps};
use crate::{KeyTemplate, OrphanKind, OrphanedObject, StoreError, beside, leftovers::parse_any};

impl DirectoryBackend {
    pub(crate) async fn list_orphans(
        &self,
        forms: &[KeyTemplate],
    ) -> Result<Vec<OrphanedObject>, StoreError> {
        let (this, forms) = (self.clone(), forms.to_vec());
        run_blocking(move || {
            let mut all = Vec::new();
            steps::walk_files(&this.root, "", &this.prefix, &mut |name, facts| {
                let (folder, file) = name.rsplit_once('/').map_or(("", name), |(d, f)| (d, f));
                let Some(of) = steps::final_name(file) else { return };
                let whole =
                    if folder.is_empty() { of.to_owned() } else { format!("{folder}/{of}") };
                let Some(key) = whole.strip_prefix(&this.prefix) else { return };
                let Some(read) = parse_any(&forms, key) else { return };
                let what = if this.is_uncommitted(key) {
                    OrphanKind::Object
                } else {
                    OrphanKind::Temporary
                };
                all.push(OrphanedObject {
                    key: key.to_owned(),
                    database: read.database,
                    kind: what,
                    started_at: Some(modification_time(facts)),
                });
            })?;
            all.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(all)
        })
        .await
    }

    /// Whether a key is of an object of ours that has no manifest.
    fn is_uncommitted(&self, key: &str) -> bool {
        // A manifest that was linked and not yet let go of is no object of its own.
        if beside::backup_key_of_sidecar(key).is_some() {
            return false;
        }
        let (Ok(object), Ok(manifest)) =
            (self.object_path(key), self.object_path(&beside::manifest_key(key)))
        else {
            return false;
        };
        !manifest.exists() && steps::is_same_inode(&object, &steps::temp_path(&object))
    }

    pub(crate) async fn delete_orphan(&self, left: &OrphanedObject) -> Result<(), StoreError> {
        let (this, key) = (self.clone(), left.key.clone());
        run_blocking(move || {
            let object = this.object_path(&key)?;
            // Asked anew: since it was seen, its manifest may have come.
            if this.is_uncommitted(&key) {
                let manifest = beside::manifest_key(&key);
                for name in [&beside::checksum_key(&key), &beside::signature_key(&manifest)] {
                    steps::remove_if_exists(&this.object_path(name)?)?;
                }
                steps::remove_if_exists(&steps::temp_path(&this.object_path(&manifest)?))?;
                steps::remove_if_exists(&object)?;
            }
            // Last, since it is what the next run would know the rest by.
            steps::remove_if_exists(&steps::temp_path(&object))
        })
        .await
    }
}
