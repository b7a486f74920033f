//! `dump` and the part of `retention` that is about dumps.

use super::{Done, DoneKind, FunctionRun, RunContext};
use crate::{
    trouble::{CallKind, Caller},
    world::{DumpOrder, server_name, store_address},
};
use dump::{DumpAction, DumpDatabase, ObservedDatabase};
use retention::dumps::{DatabaseDumps, plan_dumps};
use shared::{
    aws::{OperationError, OperationErrorKind as Refusal},
    policy::{DumpFormat, PostgresGroup, text::Name},
    request::RunRequest,
};
use std::collections::BTreeMap;
use storage::{StoredBackup, place};

type Listing = Result<Vec<StoredBackup>, OperationError>;

fn unreachable_store() -> OperationError {
    OperationError::with_hint(
        Refusal::Unreachable,
        "list dumps",
        "timed out",
        "look at the network",
    )
}

impl RunContext<'_> {
    /// Groups that Holdfast dumps.
    fn dumped_groups(&self) -> Vec<(Name, PostgresGroup)> {
        let all = self.policy.policy.postgres.iter().filter(|(_, g)| !g.dumps.is_empty());
        all.map(|(name, group)| (name.clone(), group.clone())).collect()
    }

    /// By place of a group, what lies there of a database: taken out of the world, to be given back.
    fn lend_dumps(&mut self, group: &PostgresGroup, database: &str) -> Vec<Listing> {
        let unobserved = self.trouble.stores_unobserved;
        let lend = |address: String| {
            if unobserved {
                return Err(unreachable_store());
            }
            let store = self.world.stores.entry(address).or_default();
            Ok(store.backups.get_mut(database).map(std::mem::take).unwrap_or_default())
        };
        place::store_configs(group).map(store_address).map(lend).collect()
    }

    fn return_dumps(&mut self, group: &PostgresGroup, database: &str, lent: Vec<Listing>) {
        for (config, listing) in place::store_configs(group).zip(lent) {
            if let Ok(backups) = listing {
                let store = self.world.stores.entry(store_address(config)).or_default();
                store.backups.insert(database.to_owned(), backups);
            }
        }
    }

    /// Databases of a group: those of its server, and those that have dumps.
    fn dumped_databases(&self, name: &Name, group: &PostgresGroup) -> Vec<String> {
        let server = self.world.servers.get(&server_name(&self.policy.owner, name));
        let there = server.into_iter().flat_map(|s| s.databases.keys());
        let mut all: Vec<String> = there.filter(|d| group.has_database(d)).cloned().collect();
        all.extend(
            group
                .databases
                .named()
                .iter()
                .filter(|d| !all.contains(d))
                .cloned()
                .collect::<Vec<_>>(),
        );
        all
    }

    /// Takes the dumps that are due, and copies those that second places lack.
    pub fn run_dump(&mut self) -> FunctionRun {
        let mut run = FunctionRun::default();
        for (name, group) in self.dumped_groups() {
            for database in self.dumped_databases(&name, &group) {
                let locations = self.lend_dumps(&group, &database);
                let server = self.world.servers.get(&server_name(&self.policy.owner, &name));
                let size = server.filter(|s| s.is_up).and_then(|s| s.databases.get(&database));
                let size = size.map(|d| d.dump_bytes.saturating_mul(4)).ok_or_else(|| {
                    let why = "connection refused";
                    OperationError::with_hint(Refusal::Database, "connect", why, "start the server")
                });
                let mut observed = [ObservedDatabase {
                    group: &name,
                    rules: &group,
                    dumps: group.dumps.clone(),
                    database: database.clone(),
                    server: size,
                    key_errors: BTreeMap::new(),
                    free_bytes: None,
                    locations,
                }];
                let request = RunRequest::full_run();
                let plan = dump::plan(&self.policy.policy, &observed, &request, self.now);
                let lent = std::mem::take(&mut observed[0].locations);
                self.return_dumps(&group, &database, lent);
                run.findings.extend(plan.findings);
                for step in plan.steps {
                    if self.apply_dump(&group, &step.asset, &step.action, step.reason, &mut run) {
                        return run;
                    }
                }
            }
        }
        run
    }

    fn apply_dump(
        &mut self,
        group: &PostgresGroup,
        asset: &str,
        action: &DumpAction,
        reason: String,
        run: &mut FunctionRun,
    ) -> bool {
        let home = store_address(&group.storage);
        let second = |to: usize| group.copies.get(to).map(store_address).unwrap_or_default();
        let (kind, at, id) = match action {
            DumpAction::Create(t) => (CallKind::Create, home.clone(), t.reason.to_string()),
            DumpAction::Copy(c) => (CallKind::Copy, second(c.to), c.from.clone()),
            DumpAction::CopyMarker(n) => (CallKind::Copy, second(n.to), n.key.clone()),
        };
        if let DumpAction::Create(take) = action {
            self.checks.before_dump(self.world, self.policy, (&home, take), self.now);
        }
        let (world, owner) = (&mut *self.world, &self.policy.owner);
        let answer = Caller::new(self.trouble, self.random).call(kind, || match action {
            DumpAction::Create(take) => take_dump(world, owner, group, &home, take),
            DumpAction::Copy(c) => world.copy_dump((&home, &at), &c.database, &c.from),
            DumpAction::CopyMarker(n) => {
                world.note_unchanged(&at, &n.database, &n.key, n.at);
                Ok(())
            }
        });
        let kind = match action {
            DumpAction::Create(_) => DoneKind::Dump,
            _ => DoneKind::Copy,
        };
        let done = Done { kind, asset: asset.to_owned(), id, at, reason };
        run.note(answer, action, done)
    }

    /// Deletes the dumps that no rule keeps.
    pub(super) fn delete_dumps(&mut self) -> FunctionRun {
        let mut run = FunctionRun::default();
        let groups = self.dumped_groups();
        let mut seen: Vec<DatabaseDumps<'_>> = Vec::new();
        for (name, group) in &groups {
            for database in self.dumped_databases(name, group) {
                let addresses = place::store_configs(group).map(store_address);
                let places = addresses.zip(self.lend_dumps(group, &database)).collect();
                seen.push(DatabaseDumps {
                    group: name,
                    rules: group,
                    database,
                    whole_group: true,
                    places,
                });
            }
        }
        if seen.is_empty() {
            return run;
        }
        let plan = plan_dumps(&self.policy.policy, &seen, self.now);
        for of in seen {
            let lent = of.places.into_iter().map(|(_, listing)| listing).collect();
            self.return_dumps(of.rules, &of.database, lent);
        }
        run.findings = plan.plan.findings;
        if !retention::is_due(&self.policy.policy, self.now) {
            return run;
        }
        let mut caller = Caller::new(self.trouble, self.random);
        for step in plan.plan.steps {
            let rules = &self.policy.policy.postgres[&step.action.group];
            let configs: Vec<_> = place::store_configs(rules).map(store_address).collect();
            let (at, point) = (&configs[step.action.location], step.action.point.point());
            let of = (at.as_str(), step.action.location);
            self.checks.before_dump_delete(
                self.world,
                self.policy,
                (&step.action.group, rules),
                of,
                point,
                self.now,
            );
            let world = &mut *self.world;
            let answer = caller.call(CallKind::Delete, || world.delete_dump(at, &point.arn));
            let done = Done {
                kind: DoneKind::Delete,
                asset: step.asset.clone(),
                id: point.id.clone(),
                at: at.clone(),
                reason: step.reason.clone(),
            };
            if run.note(answer, &step.action, done) {
                break;
            }
        }
        run
    }
}

/// What a dump that is taken comes to: a file with its record, or a note beside the one that holds the same.
fn take_dump(
    world: &mut crate::world::World,
    owner: &str,
    group: &PostgresGroup,
    home: &str,
    take: &DumpDatabase,
) -> Result<(), Refusal> {
    let Some(rule) = group.dumps.get(&take.reason) else { return Err(Refusal::Refused) };
    let server = world.servers.get(&server_name(owner, &take.group)).filter(|s| s.is_up);
    let content =
        server.and_then(|s| s.databases.get(&take.database)).ok_or(Refusal::Database)?.content;
    if let Some(same) = &take.dedup_candidate {
        let fingerprint = format!("{content:0>64x}");
        let there = world.stores.get(home).and_then(|s| s.backups.get(&take.database));
        let found = there.and_then(|all| all.iter().find(|b| b.key == *same));
        let found = found.and_then(|b| b.committed_manifest());
        if found.is_some_and(|m| m.fingerprint.as_deref() == Some(&fingerprint)) {
            let at = world.now;
            world.note_unchanged(home, &take.database, same, at);
            return Ok(());
        }
    }
    let template =
        place::key_template_for(&group.storage, group, rule).map_err(|_| Refusal::Store)?;
    let table = take.table.as_deref().unwrap_or_default();
    let run = format!("{:x}", world.now.as_second());
    let keys =
        template.candidate_keys(&take.database, take.reason.as_str(), table, world.now, &run);
    for key in keys.map_err(|_| Refusal::Store)? {
        let order = DumpOrder {
            owner,
            group: &take.group,
            database: &take.database,
            reason: take.reason.as_str(),
            slot: take.slot,
            table: take.table.as_deref(),
            key: &key,
            is_narrowed: !rule.is_whole() && rule.format != DumpFormat::Csv,
            deduplicate: rule.skip_unchanged,
        };
        match world.take_dump(home, &order) {
            Err(Refusal::Exists) => {}
            answer => return answer,
        }
    }
    Err(Refusal::Exists)
}
