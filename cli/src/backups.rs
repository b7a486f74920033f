//! Dumps by the words of a command line: a group, a database of one, or a file.

use crate::{session::Session, stop::Stop};
use shared::{
    aws::EdgeError,
    policy::{Policy, Postgres, dumps::PRE_RESTORE, text::Name},
    request::names,
    secret::Secrets,
};
use std::collections::BTreeSet;
use store::{
    Backup, Manifest,
    place::{Open, open},
};

/// A dump, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Item<'s> {
    /// The group.
    pub(crate) group: &'s Name,
    /// What the policy says about it.
    pub(crate) rules: &'s Postgres,
    /// The database.
    pub(crate) database: String,
    /// `stored` is 0, then each of `also_stored`.
    pub(crate) place: usize,
    /// The place.
    pub(crate) open: Open<'s>,
    /// The dump.
    pub(crate) backup: Backup,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found<'s> {
    /// Dumps, newest first.
    pub(crate) items: Vec<Item<'s>>,
    /// Why a place could not be seen.
    pub(crate) gaps: Vec<EdgeError>,
}

impl Item<'_> {
    /// Its commit record; none of a file of another tool.
    pub(crate) fn good(&self) -> Option<&Manifest> {
        self.backup.committed()
    }

    /// The time of its data: from the commit record, else from its name.
    pub(crate) fn at(&self) -> Option<jiff::Timestamp> {
        self.backup.data_time()
    }
}

/// Every dump of the groups that take dumps; of one group or one database when it is named.
///
/// # Errors
/// If no group or database has that name.
pub(crate) async fn find<'s>(
    session: &'s Session<'_>,
    secrets: &Secrets<'_>,
    of: Option<&str>,
) -> anyhow::Result<Found<'s>> {
    let policy = &session.policy;
    let world = session.look();
    let of = of.map(|of| of.strip_suffix('/').unwrap_or(of));
    let mut found = Found::default();
    let mut known = Vec::new();
    let mut any = false;
    for (name, rules) in policy.postgres.iter().filter(|(_, g)| !g.dumps.is_empty()) {
        known.push(name.to_string());
        let asked = |d: &&String| of.is_none_or(|of| names(of, name.as_str(), d));
        let databases: Vec<String> = rules.databases.iter().filter(asked).cloned().collect();
        any |= !databases.is_empty();
        if databases.is_empty() {
            continue;
        }
        for (place, open) in open(&world, secrets, rules).await.into_iter().enumerate() {
            let open = match open {
                Ok(open) => open,
                Err(e) => {
                    found.gaps.push(e);
                    continue;
                }
            };
            match open.by_database(&world, rules).await {
                Err(e) => found.gaps.push(e),
                Ok(by) => {
                    let by = by.into_iter().filter(|(d, _)| databases.contains(d));
                    found.items.extend(by.flat_map(|(database, backups)| {
                        let open = open.clone();
                        backups.into_iter().map(move |backup| Item {
                            group: name,
                            rules,
                            database: database.clone(),
                            place,
                            open: open.clone(),
                            backup,
                        })
                    }));
                }
            }
        }
    }
    if let (false, Some(of)) = (any, of) {
        return Err(Stop::wrong(format!(
            "\"{of}\" is no postgres group with dumps, and no database of one; the policy has: {}",
            known.join(", ")
        )));
    }
    found.items.sort_by(|a, b| {
        let (a_at, b_at) = (a.at(), b.at());
        b_at.cmp(&a_at)
            .then_with(|| a.place.cmp(&b.place))
            .then_with(|| a.backup.key.cmp(&b.backup.key))
    });
    Ok(found)
}

/// The one dump that is meant: the newest good one of a group or database, or a file by its key, its name or its whole
/// address.
///
/// # Errors
/// If there is none, or more than one.
pub(crate) async fn one<'s>(
    session: &'s Session<'_>,
    secrets: &Secrets<'_>,
    meant: &str,
    place: Option<usize>,
) -> anyhow::Result<Item<'s>> {
    let of = names_group(&session.policy, meant).then_some(meant);
    let found = find(session, secrets, of).await?;
    pick(session, &found, meant, place)
}

/// Whether this names a group or one of its databases, and not a file.
pub(crate) fn names_group(policy: &Policy, of: &str) -> bool {
    policy.postgres.iter().any(|(name, group)| {
        of == name.as_str() || group.databases.iter().any(|d| names(of, name.as_str(), d))
    })
}

/// The one that is meant among those found, as [`one`] means it.
///
/// # Errors
/// If there is none, or more than one.
pub(crate) fn pick<'s>(
    session: &Session<'_>,
    found: &Found<'s>,
    meant: &str,
    place: Option<usize>,
) -> anyhow::Result<Item<'s>> {
    let here = |i: &&Item<'_>| place.is_none_or(|p| p == i.place);
    let items: Vec<&Item<'s>> = found.items.iter().filter(here).collect();
    let items = if names_group(&session.policy, meant) {
        newest(items, meant)?
    } else {
        called(items, meant)
    };
    match (items.as_slice(), found.gaps.first()) {
        ([item], _) => Ok((*item).clone()),
        ([], Some(gap)) => Err(Stop::edge(gap)),
        ([], None) => Err(Stop::wrong(format!(
            "there is no dump \"{meant}\"; `holdfast list` shows what there is"
        ))),
        _ => Err(Stop::wrong(format!(
            "\"{meant}\" is the name of several files: write one of {}",
            items.iter().map(|i| i.open.store.arn(&i.backup.key)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The newest good one of a group or database; none when there is none.
fn newest<'i, 's>(mut items: Vec<&'i Item<'s>>, meant: &str) -> anyhow::Result<Vec<&'i Item<'s>>> {
    // A dump that was taken before a restore is of what was to be replaced: it is only taken when it is named.
    // One of some tables alone is no dump of the database.
    items.retain(|i| i.good().is_some_and(|m| m.reason != PRE_RESTORE && !m.is_narrowed()));
    let databases: BTreeSet<_> = items.iter().map(|i| i.database.as_str()).collect();
    if databases.len() > 1 {
        let all: Vec<String> = databases.iter().map(|d| format!("{meant}/{d}")).collect();
        return Err(Stop::wrong(format!(
            "\"{meant}\" has several databases: write one of {}",
            all.join(", ")
        )));
    }
    items.truncate(1);
    Ok(items)
}

/// Those with that key, name or whole address. The same file in several places is one dump; it is read from the first.
fn called<'i, 's>(mut items: Vec<&'i Item<'s>>, meant: &str) -> Vec<&'i Item<'s>> {
    items.retain(|i| {
        let key = i.backup.key.as_str();
        key == meant || i.open.store.arn(key) == meant || key.rsplit('/').next() == Some(meant)
    });
    items.sort_by_key(|i| i.place);
    let same = |i: &&Item<'_>| i.good().map(|m| m.file.sha256.clone());
    let first = items.first().and_then(same);
    if first.is_some() && items.iter().all(|i| same(i) == first) {
        items.truncate(1);
    }
    items
}
