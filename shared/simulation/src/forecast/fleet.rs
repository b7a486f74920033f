//! The fleet of a forecast: what the policy names, and made up where it only says how to find it.

use super::ForecastRequest;
use crate::{
    policies::SimulatedPolicy,
    random::Random,
    world::{DumpServer, SimulatedDatabase, World, server_name, store_address},
};
use shared::{
    catalog::{DatabaseKind, RdsDatabase},
    policy::{DatabaseGroup, PostgresGroup, evaluate_selector, text::Name},
};
use std::collections::BTreeMap;

/// Days that RDS keeps automated backups of a database that the policy says nothing about.
const DEFAULT_RETENTION_DAYS: i32 = 7;

/// The world at the beginning, and what was made up.
pub(super) fn build_world(
    policy: &SimulatedPolicy,
    request: &ForecastRequest,
) -> (World, Vec<String>) {
    let mut world = World::new(request.start, Random::from_seed(0));
    world.pace.steady = true;
    let mut assumptions = Vec::new();
    for location in &policy.locations {
        // Full quotas are noted; what goes on after that is the operators' decision.
        world.at_mut(location).quota = usize::MAX;
    }
    for (name, group) in &policy.policy.databases {
        let ids = database_ids(name, group, request.databases);
        if group.select.identifiers.len() < ids.len() {
            assumptions.push(format!("databases.{name}: {} databases are made up", ids.len()));
        }
        for id in ids {
            add_database(&mut world, policy, group, id, request);
        }
    }
    if !policy.policy.databases.is_empty() {
        assumptions.push(format!("each database of RDS has {} GiB", request.database_gib));
    }
    for (name, group) in policy.policy.postgres.iter().filter(|(_, g)| !g.dumps.is_empty()) {
        let names = dumped_databases(name, group);
        if group.databases.is_all() {
            assumptions.push(format!("postgres.{name}: its server has one database"));
        }
        add_server(&mut world, policy, (name, group), names, request);
    }
    if policy.policy.postgres.values().any(|g| !g.dumps.is_empty()) {
        assumptions.push(format!("each dump has {} bytes", request.dump_bytes));
    }
    (world, assumptions)
}

/// The identifiers that a group names, and as many more as it expects.
fn database_ids(name: &Name, group: &DatabaseGroup, default_count: u32) -> Vec<String> {
    let select = &group.select;
    let mut ids = select.identifiers.clone();
    let open = !select.include.is_empty() || ids.is_empty();
    let wanted = group.expect.map_or(default_count, std::num::NonZero::get) as usize;
    let pattern = select.include.first().map_or_else(|| format!("{name}-*"), ToString::to_string);
    let mut n = 1;
    while open && ids.len() < wanted.max(1) && n < 10_000 {
        let id = pattern.replace('*', &n.to_string()).replace(['?', '[', ']', '{', '}'], "a");
        if !ids.contains(&id) && evaluate_selector(select, &id, &select.tags).is_ok() {
            ids.push(id);
        }
        n += 1;
    }
    ids
}

fn add_database(
    world: &mut World,
    policy: &SimulatedPolicy,
    group: &DatabaseGroup,
    id: String,
    request: &ForecastRequest,
) {
    let home = policy.home();
    let automated = group.automated_backups.as_ref();
    let retention = automated.and_then(|a| a.retention.as_ref()).map(|r| r.duration().as_hours());
    let days = retention.and_then(|hours| i32::try_from(hours / 24).ok());
    let window = automated.and_then(|a| a.window.as_ref()).map(ToString::to_string);
    let count = world.at(&home).map_or(0, |l| l.databases.len());
    let database = RdsDatabase {
        resource_id: format!("db-{count}"),
        id,
        family: DatabaseKind::Instance,
        engine: "postgres".into(),
        status: "available".into(),
        retention_days: days.unwrap_or(DEFAULT_RETENTION_DAYS),
        window: window.unwrap_or_else(|| "03:00-03:30".into()),
        latest_restorable: None,
        earliest_restorable: None,
        created: Some(world.now),
        multi_az: true,
        encrypted: true,
        log_exports: automated.map(|a| a.log_exports.clone()).unwrap_or_default(),
        replica_of: None,
        tags: group.select.tags.clone(),
    };
    let key = format!("arn:aws:kms:{}:{}:key/simulated", home.region, home.account);
    world.add_database(&home, database, &key, f64::from(request.database_gib));
}

fn dumped_databases(name: &Name, group: &PostgresGroup) -> Vec<String> {
    match group.databases.named() {
        [] => vec![name.to_string()],
        named => named.to_vec(),
    }
}

fn add_server(
    world: &mut World,
    policy: &SimulatedPolicy,
    (name, group): (&Name, &PostgresGroup),
    databases: Vec<String>,
    request: &ForecastRequest,
) {
    for store in storage::place::store_configs(group) {
        world.stores.entry(store_address(store)).or_default();
    }
    let database = SimulatedDatabase { dump_bytes: request.dump_bytes, content: 1 };
    let server = DumpServer {
        system_identifier: "7000000000000000001".into(),
        is_up: true,
        databases: databases.into_iter().map(|d| (d, database)).collect::<BTreeMap<_, _>>(),
    };
    world.servers.insert(server_name(&policy.owner, name), server);
}
