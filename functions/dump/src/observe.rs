//! What there is: servers, keys, and the dumps at every place.

use crate::{databases, fault::error_from_postgres, means, plan::ObservedDatabase};
use futures_util::future::join_all;
use shared::{
    plan::Finding,
    policy::{Policy, PostgresGroup, text::Name},
    request::RunRequest,
    run::RunContext,
    secret::SecretResolver,
};
use std::collections::{BTreeMap, BTreeSet};
use storage::{StoredBackup, place};

/// Every database that the request speaks of, as it stands; and what is to be said of which databases there are.
pub(crate) async fn observe<'p>(
    world: &RunContext<'p>,
    secrets: &SecretResolver<'_>,
    request: &RunRequest,
) -> (Vec<ObservedDatabase<'p>>, Vec<Finding>) {
    let (mut all, mut findings) = (Vec::new(), Vec::new());
    for (group, rules) in dumpable_groups(world) {
        let asked = request.assets.is_empty()
            || request.assets.iter().any(|a| names_group(a, group.as_str()));
        if asked {
            let (looked, found) = observe_group(world, secrets, group, rules, request).await;
            all.extend(looked);
            findings.extend(found);
        }
    }
    (all, findings)
}

/// Whether an asset is a group or one of its databases.
pub(crate) fn names_group(asset: &str, group: &str) -> bool {
    asset.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The groups that this process can dump: a Lambda has none of a host's directories and sockets.
pub fn dumpable_groups<'p>(
    world: &RunContext<'p>,
) -> impl Iterator<Item = (&'p Name, &'p PostgresGroup)> {
    let (policy, host): (&'p Policy, bool) = (world.policy, world.on_host);
    let local = |rules: &PostgresGroup| {
        rules.storage.directory.is_some()
            || rules.host.as_deref().is_some_and(|h| h == "localhost" || h.starts_with('/'))
    };
    policy.postgres.iter().filter(move |(_, g)| !g.dumps.is_empty() && (host || !local(g)))
}

async fn observe_group<'p>(
    world: &RunContext<'p>,
    secrets: &SecretResolver<'_>,
    group: &'p Name,
    rules: &'p PostgresGroup,
    request: &RunRequest,
) -> (Vec<ObservedDatabase<'p>>, Vec<Finding>) {
    let listed = databases::listed(group, rules, request);
    if listed.names.is_empty() && !rules.databases.is_all() {
        return (Vec::new(), Vec::new());
    }
    let dumps = rules.all_dumps();
    let mut keyless = BTreeMap::new();
    for (reason, dump) in &dumps {
        if let Err(e) = means::encoding_options(secrets, dump).await {
            keyless.insert(reason.clone(), e);
        }
    }
    let server = means::connect_config(world, secrets, rules).await;
    let open = place::open_all(world, secrets, rules).await;
    let free = match open.first() {
        Some(Ok(open)) => open.store.free_space().await.ok().flatten(),
        _ => None,
    };
    let mut seen = Vec::new();
    for open in &open {
        seen.push(match open {
            Err(e) => Err(e.clone()),
            Ok(open) => open.backups_by_database(world, rules).await,
        });
    }
    let asked = if rules.databases.is_all() {
        let there = match &server {
            Err(e) => Err(e.clone()),
            Ok(server) => postgres::database::database_names(server)
                .await
                .map_err(|e| error_from_postgres(&e)),
        };
        let good = |(database, backups): (&String, &Vec<StoredBackup>)| {
            backups.iter().any(StoredBackup::is_committed).then(|| database.clone())
        };
        let first = seen.first().into_iter().flatten();
        let dumped: BTreeSet<String> = first.flat_map(|by| by.iter().filter_map(good)).collect();
        databases::all(world.policy, (group, rules), &there, &dumped, request)
    } else {
        listed
    };
    let looked = join_all(asked.names.into_iter().map(async |database| {
        let size = match &server {
            Err(e) => Err(e.clone()),
            Ok(server) => match postgres::dump::probe_server(server, &database).await {
                Err(e) => Err(error_from_postgres(&e)),
                Ok(facts) => Ok(facts.database_bytes),
            },
        };
        let of = |by: &BTreeMap<_, Vec<_>>| by.get(&database).cloned().unwrap_or_default();
        let places =
            seen.iter().map(|place| place.as_ref().map(of).map_err(Clone::clone)).collect();
        ObservedDatabase {
            group,
            rules,
            dumps: dumps.clone(),
            database,
            server: size,
            key_errors: keyless.clone(),
            free_bytes: free,
            locations: places,
        }
    }))
    .await;
    (looked, asked.findings)
}
