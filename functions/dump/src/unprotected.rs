//! Databases of a server that no group of the policy names: nobody dumps them.

use crate::{means, observe::dumpable_groups};
use shared::{
    plan::{Finding, FindingCode, Severity},
    policy::{Policy, PostgresGroup, text::Name},
    run::RunContext,
    secret::SecretResolver,
};

/// Made with every server, for connections of tools; whoever keeps data there names it.
const MAINTENANCE_DATABASE: &str = "postgres";

/// Asks each server for its databases. One that does not answer is said of its databases already.
pub(crate) async fn find_unprotected(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
) -> Vec<Finding> {
    let mut servers = Vec::new();
    for (group, rules) in dumpable_groups(world) {
        let Ok(server) = means::connect_config(world, secrets, rules).await else { continue };
        let Ok(there) = postgres::database::database_names(&server).await else { continue };
        servers.push(ObservedServer { address: (server.host, server.port), group, rules, there });
    }
    unprotected_findings(world.policy, &servers)
}

/// What a server of a group has.
pub(crate) struct ObservedServer<'p> {
    address: (String, u16),
    group: &'p Name,
    rules: &'p PostgresGroup,
    there: Vec<String>,
}

/// Those that no group of the same server has or excepts; each is said once, with the first group.
fn unprotected_findings(policy: &Policy, servers: &[ObservedServer<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, one) in servers.iter().enumerate() {
        if servers[..i].iter().any(|other| other.address == one.address) {
            continue;
        }
        let groups: Vec<&PostgresGroup> =
            servers.iter().filter(|s| s.address == one.address).map(|s| s.rules).collect();
        let left = one.there.iter().filter(|name| {
            *name != MAINTENANCE_DATABASE
                && !name.starts_with("template")
                && !postgres::database::is_holdfast_database(name)
                && !groups.iter().any(|g| g.has_database(name) || g.excepts(name))
        });
        for name in left {
            let why = format!(
                "no group of the policy of {} names this database of its server, so nothing backs it up",
                policy.company
            );
            let hint = format!("name it under databases in {}, or under exclude", one.group);
            let asset = format!("{}/{name}", one.group);
            let finding =
                Finding::new(Severity::Warning, asset, FindingCode::Unprotected, why, hint);
            found.push(finding.in_group(one.group));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_no_group_of_its_server_names_is_said_once() {
        let policy = Policy::parse(
            "{holdfast: 1, company: acme, id: host-1, postgres: {\
             a: {databases: [orders], exclude: [\"test_*\"], storage: {directory: /a}, dumps: {d: {keep: {for: 7d}}}}, \
             b: {databases: [users], storage: {directory: /b}, dumps: {d: {keep: {for: 7d}}}}}}",
        )
        .unwrap_or_else(|e| panic!("{e}"));
        let there = [
            "billing",
            "orders",
            "orders_holdfast_01k9",
            "postgres",
            "template1",
            "test_1",
            "users",
        ];
        let found = |port| {
            let one = |((group, rules), port)| ObservedServer {
                address: ("db".into(), port),
                group,
                rules,
                there: there.map(str::to_owned).to_vec(),
            };
            let servers: Vec<_> = policy.postgres.iter().zip([5432, port]).map(one).collect();
            let found = unprotected_findings(&policy, &servers);
            found.into_iter().map(|f| f.asset).collect::<Vec<_>>()
        };
        assert_eq!(found(5432), ["a/billing"], "two groups of one server");
        assert_eq!(
            found(5433),
            ["a/billing", "a/users", "b/billing", "b/orders", "b/test_1"],
            "two servers"
        );
    }
}
