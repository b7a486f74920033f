//! What killed runs left in a directory, and how it is taken away.

use super::{Directory, blocking, modified, steps};
use crate::{Error, KeyForm, Left, Leftover, beside, leftovers::of_form};

impl Directory {
    pub(crate) async fn leftovers(&self, forms: &[KeyForm]) -> Result<Vec<Leftover>, Error> {
        let (this, forms) = (self.clone(), forms.to_vec());
        blocking(move || {
            let mut all = Vec::new();
            steps::walk(&this.root, "", &this.prefix, &mut |name, facts| {
                let (folder, file) = name.rsplit_once('/').map_or(("", name), |(d, f)| (d, f));
                let Some(of) = steps::of_temporary(file) else { return };
                let whole =
                    if folder.is_empty() { of.to_owned() } else { format!("{folder}/{of}") };
                let Some(key) = whole.strip_prefix(&this.prefix) else { return };
                let Some(read) = of_form(&forms, key) else { return };
                let what = if this.unfinished(key) { Left::Object } else { Left::Temporary };
                all.push(Leftover {
                    key: key.to_owned(),
                    database: read.database,
                    what,
                    since: Some(modified(facts)),
                });
            })?;
            all.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(all)
        })
        .await
    }

    /// Whether a key is of an object of ours that has no manifest.
    fn unfinished(&self, key: &str) -> bool {
        // A manifest that was linked and not yet let go of is no object of its own.
        if beside::whose(key).is_some() {
            return false;
        }
        let (Ok(object), Ok(manifest)) = (self.path(key), self.path(&beside::manifest(key))) else {
            return false;
        };
        !manifest.exists() && steps::same(&object, &steps::temporary(&object))
    }

    pub(crate) async fn clean(&self, left: &Leftover) -> Result<(), Error> {
        let (this, key) = (self.clone(), left.key.clone());
        blocking(move || {
            let object = this.path(&key)?;
            // Asked anew: since it was seen, its manifest may have come.
            if this.unfinished(&key) {
                let manifest = beside::manifest(&key);
                for name in [&beside::sums(&key), &beside::signature(&manifest)] {
                    steps::unlink(&this.path(name)?)?;
                }
                steps::unlink(&steps::temporary(&this.path(&manifest)?))?;
                steps::unlink(&object)?;
            }
            // Last, since it is what the next run would know the rest by.
            steps::unlink(&steps::temporary(&object))
        })
        .await
    }
}
