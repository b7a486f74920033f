//! Dumps by the words of a command line: a group, a database of one, or a file.

use crate::{session::Session, stop::Stop};
use shared::{
    aws::EdgeError,
    policy::{Postgres, dumps::PRE_RESTORE, text::Name},
    secret::Secrets,
};
use store::{
    Backup, Manifest,
    place::{Open, open},
};

/// A dump, and where it is.
#[derive(Debug)]
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
    let (group, database) = match of.map(|of| of.split_once('/').unwrap_or((of, ""))) {
        None => (None, None),
        Some((group, database)) => (Some(group), Some(database).filter(|d| !d.is_empty())),
    };
    let mut found = Found::default();
    let mut known = Vec::new();
    let mut any = false;
    for (name, rules) in policy.postgres.iter().filter(|(_, g)| !g.dumps.is_empty()) {
        known.push(name.to_string());
        if group.is_some_and(|g| g != name.as_str()) {
            continue;
        }
        let asked = |d: &&String| database.is_none_or(|asked| asked == d.as_str());
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
            match open.by_database(policy, rules).await {
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
    let head = meant.split('/').next().unwrap_or(meant);
    let of_group = session.policy.postgres.iter().any(|(name, g)| {
        let rest = meant.strip_prefix(&format!("{name}/"));
        name.as_str() == meant || rest.is_some_and(|rest| g.databases.iter().any(|d| d == rest))
    });
    let of = of_group.then_some(meant);
    let found = find(session, secrets, of).await?;
    let here = |i: &Item<'_>| place.is_none_or(|p| p == i.place);
    let mut items: Vec<_> = found.items.into_iter().filter(here).collect();
    if of_group {
        // A dump that was taken before a restore is of what was to be replaced: it is only taken when it is named.
        items.retain(|i| i.good().is_some_and(|m| m.reason != PRE_RESTORE && m.table.is_none()));
        let databases: std::collections::BTreeSet<_> =
            items.iter().map(|i| i.database.clone()).collect();
        if databases.len() > 1 {
            return Err(Stop::wrong(format!(
                "\"{meant}\" has several databases: write one of {}",
                databases.iter().map(|d| format!("{head}/{d}")).collect::<Vec<_>>().join(", ")
            )));
        }
        items.truncate(1);
    } else {
        items.retain(|i| {
            let key = i.backup.key.as_str();
            key == meant || i.open.store.arn(key) == meant || key.rsplit('/').next() == Some(meant)
        });
        // The same file in several places is one dump; it is read from the first.
        items.sort_by_key(|i| i.place);
        let same = |i: &Item<'_>| i.good().map(|m| m.file.sha256.clone());
        if let Some(first) = items.first().map(same)
            && first.is_some()
        {
            let all = items.iter().all(|i| same(i) == first);
            if all {
                items.truncate(1);
            }
        }
    }
    match (items.len(), found.gaps.first()) {
        (1, _) => Ok(items.remove(0)),
        (0, Some(gap)) => Err(Stop::edge(gap)),
        (0, None) => Err(Stop::wrong(format!(
            "there is no dump \"{meant}\"; `holdfast list` shows what there is"
        ))),
        _ => Err(Stop::wrong(format!(
            "\"{meant}\" is the name of several files: write one of {}",
            items.iter().map(|i| i.open.store.arn(&i.backup.key)).collect::<Vec<_>>().join(", ")
        ))),
    }
}
