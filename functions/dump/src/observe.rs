//! What there is: servers, keys, and the dumps at every place.

use crate::{fault::of_postgres, means, plan::Looked};
use futures_util::future::join_all;
use shared::{
    policy::{Policy, Postgres, text::Name},
    request::Request,
    run::World,
    secret::Secrets,
};
use std::collections::BTreeMap;
use store::place;

/// Every database that the request speaks of, as it stands.
pub(crate) async fn observe<'p>(
    world: &World<'p>,
    secrets: &Secrets<'_>,
    request: &Request,
) -> Vec<Looked<'p>> {
    let mut all = Vec::new();
    for (group, rules) in dumped(world) {
        let databases = rules.databases.iter().filter(|d| request.asks(group.as_str(), d));
        let databases: Vec<&str> = databases.map(String::as_str).collect();
        if !databases.is_empty() {
            all.extend(look(world, secrets, group, rules, &databases).await);
        }
    }
    all
}

/// The groups that this process can dump: a Lambda has none of a host's directories and sockets.
pub fn dumped<'p>(world: &World<'p>) -> impl Iterator<Item = (&'p Name, &'p Postgres)> {
    let (policy, host): (&'p Policy, bool) = (world.policy, world.host);
    let local = |rules: &Postgres| {
        rules.stored.directory.is_some()
            || rules.host.as_deref().is_some_and(|h| h == "localhost" || h.starts_with('/'))
    };
    policy.postgres.iter().filter(move |(_, g)| !g.dumps.is_empty() && (host || !local(g)))
}

async fn look<'p>(
    world: &World<'p>,
    secrets: &Secrets<'_>,
    group: &'p Name,
    rules: &'p Postgres,
    databases: &[&'p str],
) -> Vec<Looked<'p>> {
    let dumps = rules.all_dumps();
    let mut keyless = BTreeMap::new();
    for (reason, dump) in &dumps {
        if let Err(e) = means::recipe(secrets, dump).await {
            keyless.insert(reason.clone(), e);
        }
    }
    let server = means::server(world, secrets, rules).await;
    let open = place::open(world, secrets, rules).await;
    let free = match open.first() {
        Some(Ok(open)) => open.store.free_space().await.ok().flatten(),
        _ => None,
    };
    let mut seen = Vec::new();
    for open in &open {
        seen.push(match open {
            Err(e) => Err(e.clone()),
            Ok(open) => open.by_database(world, rules).await,
        });
    }
    join_all(databases.iter().map(async |database| {
        let size = match &server {
            Err(e) => Err(e.clone()),
            Ok(server) => match postgres::dump::look(server, database).await {
                Err(e) => Err(of_postgres(&e)),
                Ok(facts) => Ok(facts.database_bytes),
            },
        };
        let of = |by: &BTreeMap<_, Vec<_>>| by.get(*database).cloned().unwrap_or_default();
        let places =
            seen.iter().map(|place| place.as_ref().map(of).map_err(Clone::clone)).collect();
        Looked {
            group,
            rules,
            dumps: dumps.clone(),
            database,
            server: size,
            keyless: keyless.clone(),
            free,
            places,
        }
    }))
    .await
}
