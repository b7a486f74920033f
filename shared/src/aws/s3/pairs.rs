//! Two listings side by side, neither held in memory.

use super::objects::{ObjectLister, S3Object};
use crate::aws::OperationError;
use std::cmp::Ordering;

/// What stands under one key on the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectPair {
    /// In the source alone.
    Missing(S3Object),
    /// On both sides: the source's, then the copy's.
    Both(S3Object, S3Object),
    /// On the copy's side alone.
    Extra(S3Object),
}

impl ObjectPair {
    /// The key.
    pub fn key(&self) -> &str {
        let (Self::Missing(object) | Self::Both(object, _) | Self::Extra(object)) = self;
        &object.key
    }
}

/// The source's and the copy's objects, key by key.
#[derive(Debug)]
pub struct ListingDiff {
    source: ObjectLister,
    copy: ObjectLister,
}

impl ListingDiff {
    /// Sets two listings side by side.
    pub fn new(source: ObjectLister, copy: ObjectLister) -> Self {
        Self { source, copy }
    }

    /// The next key's pair; none when both listings are at their end.
    ///
    /// # Errors
    /// If a page of either side can't be read.
    pub async fn next(&mut self) -> Result<Option<ObjectPair>, OperationError> {
        // Where the two sides are nearly the same their pages end together, and both next ones are fetched at once.
        let (source, copy) = futures_util::join!(self.source.fill_page(), self.copy.fill_page());
        source.and(copy)?;
        let order = match (self.source.peek_key(), self.copy.peek_key()) {
            (Some(source), Some(copy)) => source.cmp(copy),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        Ok(match order {
            Ordering::Less => self.source.pop_object().map(ObjectPair::Missing),
            Ordering::Greater => self.copy.pop_object().map(ObjectPair::Extra),
            Ordering::Equal => self
                .source
                .pop_object()
                .zip(self.copy.pop_object())
                .map(|(source, copy)| ObjectPair::Both(source, copy)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use jiff::Timestamp;
    use proptest::{collection::btree_set, prelude::*};
    use std::collections::BTreeSet;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    fn lister_of(keys: &BTreeSet<String>, page: usize) -> ObjectLister {
        let all: Vec<S3Object> = keys
            .iter()
            .map(|key| S3Object {
                key: key.clone(),
                size: 1,
                etag: String::new(),
                modified: Timestamp::UNIX_EPOCH,
                storage_class: "STANDARD".into(),
                restored: false,
            })
            .collect();
        let pages: Vec<_> = all.chunks(page).map(|p| Ok(p.to_vec())).collect();
        // An empty page in the middle is allowed and ends nothing.
        ObjectLister::from_pages(
            "list",
            stream::iter(pages).flat_map(|p| stream::iter([Ok(vec![]), p])),
        )
    }

    proptest! {
        #[test]
        fn every_key_comes_once_and_on_its_side(
            left in btree_set("[a-c/é]{1,3}", 0..30),
            right in btree_set("[a-c/é]{1,3}", 0..30),
            page in 1_usize..7,
        ) {
            let mut pairs = ListingDiff::new(lister_of(&left, page), lister_of(&right, page + 1));
            let (mut missing, mut both, mut extra) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let mut keys = Vec::new();
            while let Some(pair) = block_on(pairs.next()).expect("no page fails") {
                let (set, key) = match pair {
                    ObjectPair::Missing(o) => (&mut missing, o.key),
                    ObjectPair::Both(s, c) => { assert_eq!(s.key, c.key); (&mut both, s.key) }
                    ObjectPair::Extra(o) => (&mut extra, o.key),
                };
                keys.push(key.clone());
                set.insert(key);
            }
            prop_assert!(keys.is_sorted());
            prop_assert_eq!(missing, left.difference(&right).cloned().collect());
            prop_assert_eq!(both, left.intersection(&right).cloned().collect());
            prop_assert_eq!(extra, right.difference(&left).cloned().collect());
        }
    }

    #[test]
    fn a_listing_out_of_order_is_refused_and_not_misread() {
        let object = |key: &str| S3Object {
            key: key.into(),
            size: 1,
            etag: String::new(),
            modified: Timestamp::UNIX_EPOCH,
            storage_class: "STANDARD".into(),
            restored: false,
        };
        let pages = vec![Ok(vec![object("b")]), Ok(vec![object("a")])];
        let left = ObjectLister::from_pages("list s3://odd/", stream::iter(pages));
        let mut pairs = ListingDiff::new(left, lister_of(&BTreeSet::new(), 1));
        block_on(pairs.next()).expect("b");
        let error = block_on(pairs.next()).expect_err("a comes after b").to_string();
        insta::assert_snapshot!(error, @r#"list s3://odd/: "a" is not in the order of keys"#);
    }
}
