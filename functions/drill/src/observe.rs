//! What there is: the recovery points of each group that is drilled, and the evidence in its store.

use crate::{
    calendar::DrillCalendar,
    choose::Candidate,
    evidence::{
        DrillEvidence,
        store::{EvidenceTrust, list_evidence},
    },
    plan::{ObservedAsset, ObservedDrill},
};
use shared::{
    aws::OperationError,
    plan::{Finding, FindingCode, Severity},
    policy::{DrillRule, PostgresGroup, text::Name},
    run::RunContext,
    secret::SecretResolver,
    signing::MinisignVerifier,
};
use std::collections::{BTreeMap, BTreeSet};
use storage::{
    StoredBackup,
    manifest::ManifestFormat,
    place::{OpenStore, open_all, stands_for_database},
};

/// A group that is drilled.
#[derive(Debug)]
pub(crate) struct GroupInventory<'p> {
    /// What the policy says of it.
    pub(crate) rules: &'p PostgresGroup,
    /// Where its backups and its evidence lie.
    pub(crate) place: OpenStore<'p>,
    /// Its backups by database.
    pub(crate) backups: BTreeMap<String, Vec<StoredBackup>>,
    evidence: Vec<DrillEvidence>,
}

/// Everything that was observed.
#[derive(Debug, Default)]
pub(crate) struct DrillInventory<'p> {
    pub(crate) groups: BTreeMap<&'p Name, GroupInventory<'p>>,
    pub(crate) drills: Vec<ObservedDrill<'p>>,
    pub(crate) findings: Vec<Finding>,
}

/// The drills that a function runs, with their groups of dumps, as far as this host can reach them.
pub(crate) fn implemented_drills<'p>(
    world: &RunContext<'p>,
) -> impl Iterator<Item = (&'p Name, &'p DrillRule, &'p Name, &'p PostgresGroup)> {
    let (policy, on_host) = (world.policy, world.on_host);
    policy.drills.iter().filter(|(_, rule)| rule.kind.is_implemented()).filter_map(
        move |(name, rule)| {
            let (group, rules) = policy.postgres.get_key_value(rule.of.as_ref()?)?;
            // What lies on a host's disk is known there alone.
            (on_host || rules.storage.directory.is_none()).then_some((name, rule, group, rules))
        },
    )
}

/// Observes. A group that can't be read is a finding, and its drills are not among the rest: nothing is planned for them.
pub(crate) async fn observe<'p>(
    world: &RunContext<'p>,
    secrets: &SecretResolver<'_>,
) -> DrillInventory<'p> {
    let mut inventory = DrillInventory::default();
    for (name, rule, group, rules) in implemented_drills(world) {
        if !inventory.groups.contains_key(group)
            && !inventory.findings.iter().any(|f| f.asset == group.as_str())
        {
            let doing = format!("read the dumps and the evidence of {group}");
            let looked = observe_group(world, secrets, group, rules, &mut inventory.findings);
            match world.with_observation_timeout(doing, looked).await {
                Ok(there) => drop(inventory.groups.insert(group, there)),
                Err(e) => {
                    let (code, why) = (FindingCode::ObservationFailed, e.to_string());
                    let finding =
                        Finding::new(Severity::Critical, group.as_str(), code, why, e.hint());
                    inventory.findings.push(finding.in_group(group));
                }
            }
        }
        let Some(there) = inventory.groups.get(group) else { continue };
        let observed = observe_drill(name, rule, group, there, &world.policy.time_zone);
        inventory.drills.push(observed);
    }
    inventory
}

async fn observe_group<'p>(
    world: &RunContext<'p>,
    secrets: &SecretResolver<'_>,
    group: &Name,
    rules: &'p PostgresGroup,
    findings: &mut Vec<Finding>,
) -> Result<GroupInventory<'p>, OperationError> {
    let place = open_all(world, secrets, rules).await.into_iter().next();
    let place = place.expect("`storage` is always there")?;
    let backups = place.backups_by_database(world, rules).await?;
    let trust = EvidenceTrust {
        owner: world.policy.owner(),
        verifier: MinisignVerifier::from_policy(world.policy),
        now: world.now,
    };
    let listed = list_evidence(&place.store, &trust).await?;
    for why in listed.ignored {
        let hint = "find out who put it there; it does not count, and is never deleted";
        let code = FindingCode::DrillEvidenceIgnored;
        let finding = Finding::new(Severity::Warning, group.as_str(), code, why, hint);
        findings.push(finding.in_group(group));
    }
    Ok(GroupInventory { rules, place, backups, evidence: listed.evidence })
}

fn observe_drill<'p>(
    drill: &'p Name,
    rule: &'p DrillRule,
    group: &'p Name,
    there: &GroupInventory<'_>,
    zone: &shared::policy::text::ZoneName,
) -> ObservedDrill<'p> {
    let of_group = |e: &&DrillEvidence| e.group == group.as_str();
    let asset = |name: &String| {
        let of_asset = || there.evidence.iter().filter(of_group).filter(|e| e.asset == *name);
        ObservedAsset {
            asset: name.clone(),
            candidates: there.candidates(name),
            evidence: of_asset().filter(|e| e.drill == drill.as_str()).cloned().collect(),
            proven_at: of_asset().filter(|e| e.proves_restore()).map(|e| e.finished_at).max(),
        }
    };
    let named: BTreeSet<&String> = there.backups.keys().collect();
    let asked = |name: &&&String| rule.only.is_empty() || rule.only.contains(**name);
    let assets = named.iter().filter(asked).map(|name| asset(name)).collect();
    ObservedDrill { drill, rule, group, calendar: DrillCalendar::new(rule, zone), assets }
}

impl GroupInventory<'_> {
    /// What could be restored of a database: whole dumps that count.
    fn candidates(&self, database: &str) -> Vec<Candidate> {
        let restorable = |b: &&StoredBackup| {
            b.committed_manifest().is_some_and(|m| {
                m.format != ManifestFormat::Csv && stands_for_database(self.rules, m)
            })
        };
        let backups = self.backups.get(database).into_iter().flatten().filter(restorable);
        let candidate = |b: &StoredBackup| {
            Some(Candidate {
                key: b.key.clone(),
                data_time: b.data_time()?,
                sha256: b.committed_manifest()?.file.sha256.clone(),
            })
        };
        backups.filter_map(candidate).collect()
    }

    /// The backup under a key.
    pub(crate) fn backup(&self, database: &str, key: &str) -> Option<&StoredBackup> {
        self.backups.get(database)?.iter().find(|b| b.key == key)
    }

    /// Stored sizes of the dumps of the same reason before one, in bytes.
    pub(crate) fn earlier_sizes(&self, database: &str, of: &StoredBackup) -> Vec<u64> {
        let reason = |b: &StoredBackup| b.committed_manifest().map(|m| m.reason.clone());
        let before = |b: &&StoredBackup| reason(b) == reason(of) && b.data_time() < of.data_time();
        let mut earlier: Vec<_> =
            self.backups.get(database).into_iter().flatten().filter(before).collect();
        earlier.sort_by_key(|b| std::cmp::Reverse(b.data_time()));
        earlier.into_iter().take(7).map(|b| b.size).collect()
    }
}
