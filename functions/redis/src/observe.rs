//! What there is: servers, Sentinels, keys, and the RDB files at every place.

use crate::{
    check::{ObservedRedis, ServerFacts},
    fault::error_from_redis,
};
use dump::{ObservedDatabase, means};
use futures_util::future::join_all;
use redis::{RedisAddress, RedisClient, RedisConfig, RedisError, RedisErrorKind, sentinel};
use shared::{
    aws::OperationError,
    policy::{Policy, PostgresGroup, RedisGroup, redis::RDB_REASON, text::Name},
    request::{RunRequest, matches_asset},
    run::RunContext,
    secret::SecretResolver,
};
use std::collections::{BTreeMap, BTreeSet};
use storage::place;

/// Settings that are looked at whatever the policy names.
const OWN_SETTINGS: [&str; 3] = ["save", "rdbchecksum", "stop-writes-on-bgsave-error"];

/// A group that Holdfast takes RDB files of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RdbGroup<'p> {
    pub(crate) name: &'p Name,
    /// What the policy says.
    pub(crate) rules: &'p RedisGroup,
    /// The same as the stores see it.
    pub(crate) stored: &'p PostgresGroup,
}

/// The groups that this process can reach: a Lambda has none of a host's directories and sockets.
pub(crate) fn rdb_groups<'p>(world: &RunContext<'p>) -> Vec<RdbGroup<'p>> {
    let (policy, host): (&'p Policy, bool) = (world.policy, world.on_host);
    let local = |g: &RedisGroup| {
        let address = g.address.as_deref().unwrap_or_default();
        let loopback = ["/", "localhost:", "127.", "[::1]"];
        g.storage.directory.is_some() || loopback.iter().any(|l| address.starts_with(l))
    };
    let groups = policy.redis.iter().filter(|(_, g)| host || !local(g));
    groups
        .filter_map(|(name, rules)| {
            let stored = policy.stored_group(name)?;
            Some(RdbGroup { name, rules, stored })
        })
        .collect()
}

/// Those that a request names; all when it names none.
pub(crate) fn requested_groups<'p>(
    world: &RunContext<'p>,
    request: &RunRequest,
) -> Vec<RdbGroup<'p>> {
    let asked = |g: &RdbGroup<'_>| {
        request.assets.is_empty()
            || request.assets.iter().any(|a| matches_asset(a, g.name.as_str(), g.name.as_str()))
    };
    rdb_groups(world).into_iter().filter(asked).collect()
}

/// How to log in to a group's server.
///
/// # Errors
/// If its password can't be found.
pub(crate) async fn connect_config(
    secrets: &SecretResolver<'_>,
    rules: &RedisGroup,
) -> Result<RedisConfig, OperationError> {
    let password = match &rules.password {
        Some(from) => Some(secrets.get(from).await?),
        None => None,
    };
    let address = rules.address.clone().unwrap_or_default();
    let address: RedisAddress =
        address.parse().map_err(|why: String| OperationError::from_message(address, why))?;
    Ok(RedisConfig {
        address,
        user: rules.user.clone(),
        password,
        tls: rules.tls,
        ca: rules.tls_ca.clone().map(Into::into),
    })
}

/// A group's server and its Sentinels.
pub(crate) async fn observe_server<'p>(
    secrets: &SecretResolver<'_>,
    group: RdbGroup<'p>,
) -> ObservedRedis<'p> {
    let facts = async {
        let config = connect_config(secrets, group.rules).await?;
        observe_node(&config, group.rules).await.map_err(|e| error_from_redis(&e))
    };
    let views = join_all(group.rules.sentinels.iter().map(async |address| {
        let view = async {
            let no_address = |why| RedisError::new(RedisErrorKind::Refused, "read it", why, "");
            let config = RedisConfig {
                address: address.parse().map_err(no_address)?,
                user: None,
                password: None,
                tls: group.rules.tls,
                ca: group.rules.tls_ca.clone().map(Into::into),
            };
            let mut client = config.connect().await?;
            sentinel::observe_sentinel(&mut client, &group.rules.sentinel_name).await
        };
        (address.clone(), view.await)
    }));
    let (server, sentinels) = tokio::join!(facts, views);
    ObservedRedis { name: group.name, rules: group.rules, server, sentinels }
}

async fn observe_node(config: &RedisConfig, rules: &RedisGroup) -> Result<ServerFacts, RedisError> {
    let mut client = config.connect().await?;
    let info = client.info().await?;
    let names: BTreeSet<&str> =
        rules.settings.keys().map(String::as_str).chain(OWN_SETTINGS).collect();
    let settings = read_settings(&mut client, names).await;
    Ok(ServerFacts { address: config.address.to_string(), info, settings })
}

/// Settings one by one: servers before 7.0 take one name.
async fn read_settings(
    client: &mut RedisClient,
    names: BTreeSet<&str>,
) -> Result<BTreeMap<String, String>, RedisError> {
    let mut all = BTreeMap::new();
    for name in names {
        all.extend(client.command(&["CONFIG", "GET", name]).await?.text_pairs());
    }
    Ok(all)
}

/// A group as the plan of dumps sees it: one database, its size, its files at every place.
pub(crate) async fn observe_stores<'p>(
    world: &RunContext<'p>,
    secrets: &SecretResolver<'_>,
    group: RdbGroup<'p>,
    seen: &ObservedRedis<'_>,
) -> ObservedDatabase<'p> {
    let dumps = group.stored.all_dumps();
    let reason = RDB_REASON.parse().expect("a reason");
    let mut key_errors = BTreeMap::new();
    if let Err(e) = means::encoding_options(secrets, &dumps[&reason]).await {
        key_errors.insert(reason, e);
    }
    let open = place::open_all(world, secrets, group.stored).await;
    let free_bytes = match open.first() {
        Some(Ok(open)) => open.store.free_space().await.ok().flatten(),
        _ => None,
    };
    let mut locations = Vec::new();
    for open in &open {
        locations.push(match open {
            Err(e) => Err(e.clone()),
            Ok(open) => open
                .backups_by_database(world, group.stored)
                .await
                .map(|mut by| by.remove(group.name.as_str()).unwrap_or_default()),
        });
    }
    // An RDB file is no larger than the data in memory.
    let memory = |facts: &ServerFacts| {
        u64::try_from(facts.info.number("used_memory").unwrap_or(0)).unwrap_or(0)
    };
    ObservedDatabase {
        group: group.name,
        rules: group.stored,
        dumps,
        database: group.name.to_string(),
        server: seen.server.as_ref().map(memory).map_err(OperationError::clone),
        key_errors,
        free_bytes,
        locations,
    }
}
