//! The fate of every point, place by place and database by database.

use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{
        AUTOMATED_REASON, DatabaseIdentity, Inventory, Location, LocationInventory,
        PointsByDatabase, RdsDatabase, RecoveryPoint,
    },
    copies::{self, CopyComparison, CopyStatus, copy_rules_to},
    keep::{
        DeletionPrecondition, ReasonRetention, RetentionInput, RetentionVerdict, decide_retention,
    },
    observe::select_databases,
    policy::{
        DatabaseGroup, Policy, evaluate_selector,
        text::{Name, Period},
    },
    time::format_duration,
};
use std::collections::{BTreeMap, BTreeSet};

/// The fate of one point, for `explain`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionDecision<'a> {
    /// Where it is.
    pub place: &'a Location,
    /// The group that judges it.
    pub group: &'a Name,
    /// Reasons that the group's rules speak of at that place.
    pub reasons: BTreeSet<&'a str>,
    /// The point.
    pub point: &'a RecoveryPoint,
    /// What becomes of it, limits aside.
    pub verdict: RetentionVerdict,
}

/// A copy is started by the next run and takes hours; this late, copies are not being made.
const COPY_GRACE: SignedDuration = SignedDuration::from_hours(24);
/// RDS takes its own snapshots daily; this late, they are not being taken, or the clock here is ahead.
const AUTOMATED_GRACE: SignedDuration = SignedDuration::from_hours(48);

/// One database with everything that was seen of it.
struct RetentionSubject<'a> {
    policy: &'a Policy,
    group: &'a DatabaseGroup,
    /// The database, when it is still there under any name.
    alive: Option<&'a RdsDatabase>,
    /// Whether the group selects it now.
    selected: bool,
    /// Its points, by place.
    points: BTreeMap<&'a Location, Vec<&'a RecoveryPoint>>,
    now: Timestamp,
}

/// The fate of every point at every place that was seen, limits aside.
///
/// A database is known by its family and resource id. So one that was renamed keeps its points, whatever they are called,
/// and one that is still there under another name is not gone.
pub fn evaluate_points<'a>(
    policy: &'a Policy,
    seen: &'a Inventory,
    now: Timestamp,
) -> Vec<RetentionDecision<'a>> {
    let Some((home_place, home)) =
        seen.locations.get_key_value(&Location::home_from_policy(policy))
    else {
        // Without home nothing is known of what still lives, so nothing goes anywhere.
        return Vec::new();
    };
    let owner = policy.owner();
    let holds: Vec<String> =
        policy.databases.values().flat_map(|g| g.legal_holds.clone()).collect();
    let selected = select_databases(policy, &home.databases);
    let by_place: BTreeMap<&Location, PointsByDatabase<'a>> =
        seen.locations.iter().map(|(place, fleet)| (place, fleet.points_by_database())).collect();
    let mut out = Vec::new();
    for (alive, points) in databases_with_points(home, &by_place) {
        let group = alive.and_then(|d| selected.group_of(d));
        let names = alive.into_iter().map(|d| d.id.as_str());
        let names = names.chain(points.values().flatten().map(|p| p.database.as_str()));
        let Some((name, rules)) =
            group.or_else(|| names.into_iter().find_map(|n| group_of_deleted_database(policy, n)))
        else {
            continue;
        };
        let selected = group.is_some();
        let asset = RetentionSubject { policy, group: rules, alive, selected, points, now };
        let floor = rules.min_backups.get() as usize;
        let whose = (owner.as_str(), holds.as_slice(), floor);
        let at_home = asset.home_input(home_place, seen);
        let not_made = complete_input(at_home.clone(), asset.points_at(home_place), whose)
            .suspended_reasons(now);
        for (place, points) in &asset.points {
            let question = if *place == home_place {
                at_home.clone()
            } else {
                asset.remote_input(place, home_place, &not_made)
            };
            let reasons: BTreeSet<&'a str> = question.reasons.keys().copied().collect();
            let question = complete_input(question, points, whose);
            let fates = decide_retention(&question, now);
            out.extend(points.iter().zip(fates).map(|(point, fate)| RetentionDecision {
                place,
                group: name,
                reasons: reasons.clone(),
                point,
                verdict: fate,
            }));
        }
    }
    out
}

/// A question about these points, with the owner, the holds and the floor that are the same at every place.
fn complete_input<'q>(
    question: RetentionInput<'q>,
    points: &[&'q RecoveryPoint],
    (owner, holds, floor): (&'q str, &'q [String], usize),
) -> RetentionInput<'q> {
    RetentionInput { owner, holds, min_count: floor, points: points.to_vec(), ..question }
}

/// By place, the points of one database.
type PointsByLocation<'a> = BTreeMap<&'a Location, Vec<&'a RecoveryPoint>>;

/// Every database with its points at every place: those that are there, then those that are gone.
fn databases_with_points<'a>(
    home: &'a LocationInventory,
    by_place: &BTreeMap<&'a Location, PointsByDatabase<'a>>,
) -> Vec<(Option<&'a RdsDatabase>, PointsByLocation<'a>)> {
    let mut all = Vec::new();
    let mut known: BTreeSet<DatabaseIdentity<'a>> = BTreeSet::new();
    for database in &home.databases {
        known.insert(database.identity());
        known.insert(DatabaseIdentity::ByName(database.family, &database.id));
        let points: PointsByLocation<'a> = (by_place.iter())
            .map(|(place, by)| (*place, by.for_database(database)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        all.push((Some(database), points));
    }
    let mut gone: BTreeMap<DatabaseIdentity<'a>, PointsByLocation<'a>> = BTreeMap::new();
    for (place, by) in by_place {
        for (lineage, points) in
            by.identities_with_points().filter(|(lineage, _)| !known.contains(lineage))
        {
            gone.entry(lineage).or_default().insert(place, points.to_vec());
        }
    }
    all.extend(gone.into_values().map(|points| (None, points)));
    all
}

/// The group whose names fit a database that is no longer there.
fn group_of_deleted_database<'a>(
    policy: &'a Policy,
    database: &str,
) -> Option<(&'a Name, &'a DatabaseGroup)> {
    let none = BTreeMap::new();
    policy.databases.iter().find(|(_, g)| evaluate_selector(&g.select, database, &none).is_ok())
}

impl<'a> RetentionSubject<'a> {
    fn points_at(&self, place: &Location) -> &[&'a RecoveryPoint] {
        self.points.get(place).map_or(&[], Vec::as_slice)
    }

    fn copy_pairings<'s>(
        &'s self,
        home: &Location,
    ) -> impl Iterator<Item = (Location, CopyComparison<'a, 's>)> + use<'a, 's> {
        let mine = self.points_at(home);
        copies::copy_locations(self.policy, self.group).into_iter().map(move |(place, rule)| {
            let there = self.points_at(&place);
            (
                place,
                CopyComparison {
                    policy: self.policy,
                    group: self.group,
                    rule,
                    source_points: mine,
                    destination_points: there,
                },
            )
        })
    }

    /// What is known to keep any backup of it from being made.
    fn backup_stop_reason(&self) -> Option<String> {
        let database = self.alive.filter(|_| !self.selected)?;
        Some(format!(
            "it is there as {} and in no group of the policy, so no backups of it are made; nothing of it goes",
            database.id
        ))
    }

    /// What an on-demand kind waits for. Where RDS takes its own snapshots daily, their age tells whether the clock here can
    /// be believed.
    fn on_demand_due(&self, home: &[&RecoveryPoint]) -> DeletionPrecondition {
        let automated =
            home.iter().filter(|p| p.automated && p.is_complete()).filter_map(|p| p.data_time);
        let newest = automated.max().filter(|_| self.alive.is_some_and(|d| d.retention_days > 0));
        let old = newest.map(|t| self.now.duration_since(t)).filter(|old| *old > AUTOMATED_GRACE);
        old.map_or(DeletionPrecondition::OnDemand, |old| {
            DeletionPrecondition::NotMade(format!(
                "RDS's own newest snapshot is {} old, and it takes one a day: it is failing, or the clock here is ahead; \
                 nothing goes",
                format_duration(old)
            ))
        })
    }

    fn max_age(&self, of: impl Iterator<Item = &'a Period>) -> Option<SignedDuration> {
        of.map(Period::duration).max().filter(|_| self.alive.is_some())
    }

    fn home_input(&self, home: &Location, seen: &Inventory) -> RetentionInput<'a> {
        let mut needed = BTreeMap::new();
        let mut to_transfer = BTreeSet::new();
        for (place, pair) in self.copy_pairings(home) {
            for sent in pair.candidates(self.now) {
                let arn = sent.source.arn.as_str();
                let wanted = !sent.keep_reasons.is_empty();
                if !matches!(sent.status, CopyStatus::Good(_)) && wanted {
                    to_transfer.insert(arn);
                }
                let to = &pair.rule.to;
                match &sent.status {
                    _ if seen.at_location(&place).is_none() => {
                        needed.insert(
                            arn,
                            format!(
                                "{to} can't be seen, so nobody knows whether its copy is there"
                            ),
                        );
                    }
                    CopyStatus::InFlight(_) => {
                        // Deleting a source that is being copied ends the copy.
                        needed.insert(arn, format!("its copy to {to} is on its way"));
                    }
                    CopyStatus::Missing { .. } | CopyStatus::Wrong(..) if wanted => {
                        needed.insert(arn, format!("its copy to {to} is still to be made"));
                    }
                    _ => {}
                }
            }
        }
        // A transfer copy has done its work when no destination that wants its source is without a good copy.
        let done = |t: &&&RecoveryPoint| {
            t.tags.copy_of.as_deref().is_none_or(|arn| !to_transfer.contains(arn))
        };
        let transfers = self.points_at(home).iter().filter(|t| t.tags.transfer);
        let transferred = transfers.filter(done).map(|t| t.arn.as_str()).collect();
        let kinds = self.group.snapshots.iter().map(|(reason, rule)| {
            let owed = match (self.alive, self.backup_stop_reason(), &rule.schedule) {
                (None, ..) => DeletionPrecondition::Nothing,
                (_, Some(why), _) => DeletionPrecondition::NotMade(why),
                (_, None, None) => self.on_demand_due(self.points_at(home)),
                (_, None, when) => DeletionPrecondition::from_schedule(
                    when.as_ref(),
                    &self.policy.time_zone,
                    self.now,
                ),
            };
            (reason.as_str(), ReasonRetention { keep: vec![&rule.keep], precondition: owed })
        });
        RetentionInput {
            reasons: kinds.collect(),
            max_age: self.max_age(self.group.objectives.max_age.iter()),
            needed,
            transferred,
            ..RetentionInput::default()
        }
    }

    /// At a destination, nothing of a reason goes while it is not being made at home either.
    fn remote_input(
        &self,
        place: &Location,
        home: &Location,
        not_made: &BTreeMap<&str, String>,
    ) -> RetentionInput<'a> {
        let mut kinds: BTreeMap<&str, ReasonRetention<'_>> = BTreeMap::new();
        for rule in copy_rules_to(self.policy, self.group, place) {
            for reason in &rule.of {
                kinds.entry(reason.as_str()).or_default().keep.push(&rule.keep);
            }
        }
        let pair = self.copy_pairings(home).find(|(there, _)| there == place).map(|(_, pair)| pair);
        let sent = pair.iter().flat_map(|pair| pair.candidates(self.now)).collect::<Vec<_>>();
        for (&reason, kind) in &mut kinds {
            // The newest point that should have been copied by now and was not.
            let late = sent
                .iter()
                .filter(|s| !s.keep_reasons.is_empty() && s.source.has_reason(reason))
                .find(|s| {
                    let old = s.source.data_time.map(|t| self.now.duration_since(t));
                    !matches!(s.status, CopyStatus::Good(_)) && old > Some(COPY_GRACE)
                });
            kind.precondition = match (self.alive, not_made.get(reason), late) {
                (None, ..) => DeletionPrecondition::Nothing,
                (_, Some(why), _) => DeletionPrecondition::NotMade(why.clone()),
                (.., Some(late)) => DeletionPrecondition::NotMade(format!(
                    "copies of \"{reason}\" are not being made: {} has none here after {}; nothing of it goes",
                    late.source.id,
                    late.source
                        .data_time
                        .map_or_else(String::new, |t| format_duration(self.now.duration_since(t))),
                )),
                // RDS's own are not made by Holdfast, so home's answer does not speak of them.
                _ => self
                    .backup_stop_reason()
                    .map_or_else(|| self.copies_owed(reason, home), DeletionPrecondition::NotMade),
            };
        }
        let ages = copy_rules_to(self.policy, self.group, place).filter_map(|c| c.max_age.as_ref());
        let wrong = pair.map(|pair| pair.mismatched_copies()).unwrap_or_default();
        RetentionInput {
            reasons: kinds,
            max_age: self.max_age(ages),
            mismatched: wrong,
            ..RetentionInput::default()
        }
    }

    /// What must be there of a reason's copies: what was owed at home before a copy's own grace.
    fn copies_owed(&self, reason: &str, home: &Location) -> DeletionPrecondition {
        let before = self.now.checked_sub(COPY_GRACE).unwrap_or(self.now);
        if reason == AUTOMATED_REASON {
            return before
                .checked_sub(COPY_GRACE)
                .map_or(DeletionPrecondition::OnDemand, DeletionPrecondition::Since);
        }
        let rule = self.group.snapshots.iter().find(|(r, _)| r.as_str() == reason);
        match rule.and_then(|(_, rule)| rule.schedule.as_ref()) {
            None => self.on_demand_due(self.points_at(home)),
            when => DeletionPrecondition::from_schedule(when, &self.policy.time_zone, before),
        }
    }
}
