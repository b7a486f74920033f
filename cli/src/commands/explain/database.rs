//! An RDS database: which group has it and why, its points everywhere and what becomes of each, and what is due next.

use super::view::{
    DatabaseDetails, DatabaseView, GroupMatch, LocationView, OffsiteCopyView, RecoveryPointView,
    ScheduleView,
};
use jiff::{SignedDuration, Timestamp};
use retention::evaluate_points;
use shared::{
    catalog::{Inventory, Location, RdsDatabase, RecoveryPoint, RecoveryPointState},
    copies::{self, CopyComparison, CopyStatus, copy_rules_to},
    keep::RetentionVerdict,
    observe::select_databases,
    plan::Finding,
    policy::{
        DatabaseGroup, Policy, RetentionRule, SnapshotRule, evaluate_selector,
        text::{Name, Period, ReasonName},
    },
    time::CronSchedule,
};
use std::collections::BTreeMap;

/// Everything about the database `id`; none when there is neither a database nor a point of that name.
pub(super) fn database_view(
    policy: &Policy,
    seen: Inventory,
    id: &str,
    now: Timestamp,
) -> Option<DatabaseView> {
    let home_place = Location::home_from_policy(policy);
    let facts = freshness::FreshnessObservations {
        rds: seen,
        ..freshness::FreshnessObservations::default()
    };
    let seen = &facts.rds;
    let home = seen.at_location(&home_place)?;
    let database = home.databases.iter().find(|d| d.id == id);
    let points = || {
        seen.locations
            .values()
            .flat_map(|f| &f.points)
            .filter(|p| belongs_to_database(p, database, id))
    };
    if database.is_none() && points().next().is_none() {
        return None;
    }
    let selected = select_databases(policy, &home.databases);
    let judged = evaluate_points(policy, seen, now);
    let fates: BTreeMap<&str, &RetentionVerdict> =
        judged.iter().map(|j| (j.point.arn.as_str(), &j.verdict)).collect();
    let group = selected.find_by_id(id).map(|(name, group, _)| (name, group)).or_else(|| {
        let judged = judged.iter().find(|j| belongs_to_database(j.point, database, id))?;
        Some((judged.group, &policy.databases[judged.group]))
    });
    let about = |f: &Finding| f.asset == id;
    let findings = freshness::plan(policy, &facts, now).plan.findings.into_iter().filter(about);
    let asked = ViewContext { policy, group, database, inventory: seen, verdicts: &fates, now };
    Some(DatabaseView {
        current: database.map(database_details),
        group: group.map(|(name, _)| name.to_string()),
        selection: explain_selection(policy, database, id, group.map(|(name, _)| name)),
        objectives: group.map(|(_, g)| g.objectives.clone()).unwrap_or_default(),
        min_backups: group.map(|(_, g)| g.min_backups.get()),
        findings: findings.collect(),
        schedules: group.map(|(_, g)| schedule_views(policy, g, now)).unwrap_or_default(),
        locations: asked.location_views(id),
    })
}

/// Whether a point is one of the database, whatever its name was then, or of one that had its name before.
fn belongs_to_database(point: &RecoveryPoint, database: Option<&RdsDatabase>, id: &str) -> bool {
    point.database == id || database.is_some_and(|d| d.identity() == point.identity())
}

fn database_details(d: &RdsDatabase) -> DatabaseDetails {
    DatabaseDetails {
        family: d.family,
        engine: d.engine.clone(),
        status: d.status.clone(),
        resource_id: d.resource_id.clone(),
        created: d.created,
        retention_days: d.retention_days,
        backup_window: d.window.clone(),
        latest_restorable: d.latest_restorable,
        multi_az: d.multi_az,
        encrypted: d.encrypted,
        replica_of: d.replica_of.clone(),
    }
}

/// Why each group has it or not.
fn explain_selection(
    policy: &Policy,
    database: Option<&RdsDatabase>,
    id: &str,
    group: Option<&Name>,
) -> Vec<GroupMatch> {
    let none = BTreeMap::new();
    let tags = database.map_or(&none, |d| &d.tags);
    let one = |(name, g): (&Name, &DatabaseGroup)| {
        let replica = database.and_then(|d| d.replica_of.as_ref());
        let named = g.select.identifiers.iter().any(|i| i == id);
        let (selects, why) = match (evaluate_selector(&g.select, id, tags), replica) {
            (Err(why), _) => (false, why),
            (Ok(why), Some(of)) if !named => (
                false,
                format!("{why}, but it is a read replica of {of}, and ids does not name it"),
            ),
            (Ok(why), _) => match group.filter(|first| *first != name) {
                Some(first) => (false, format!("{why}, but {first} has it already")),
                None if database.is_none() => (true, format!("{why}, as long as it was there")),
                None => (true, why),
            },
        };
        GroupMatch { group: name.to_string(), is_selected: selects, reason: why }
    };
    policy.databases.iter().map(one).collect()
}

fn schedule_views(policy: &Policy, group: &DatabaseGroup, now: Timestamp) -> Vec<ScheduleView> {
    let one = |(reason, rule): (&_, &SnapshotRule)| {
        let reason: &ReasonName = reason;
        let when = rule.schedule.as_ref();
        ScheduleView {
            reason: reason.to_string(),
            schedule: when.map(|w| {
                format!("{} {}", w.cron, w.time_zone.as_ref().unwrap_or(&policy.time_zone))
            }),
            next_due_at: when.and_then(|w| CronSchedule::new(w, &policy.time_zone).next_due(now)),
            retention: rule.keep.clone(),
        }
    };
    group.snapshots.iter().map(one).collect()
}

/// What the views of points are made from.
struct ViewContext<'a> {
    policy: &'a Policy,
    group: Option<(&'a Name, &'a DatabaseGroup)>,
    database: Option<&'a RdsDatabase>,
    inventory: &'a Inventory,
    verdicts: &'a BTreeMap<&'a str, &'a RetentionVerdict>,
    now: Timestamp,
}

impl<'a> ViewContext<'a> {
    /// Home, the group's destinations, and wherever else there is a point of it.
    fn location_views(&self, id: &str) -> Vec<LocationView> {
        let mut places = vec![Location::home_from_policy(self.policy)];
        let copies = self.group.iter().flat_map(|(_, g)| &g.copies);
        let wanted = copies.filter_map(|c| Location::for_destination(self.policy, &c.to));
        let lying = |place: &Location| self.points_at(place, id).next().is_some();
        let others = self.inventory.locations.keys().filter(|p| lying(p)).cloned();
        for place in wanted.chain(others).collect::<Vec<_>>() {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places.into_iter().map(|place| self.location_view(id, place)).collect()
    }

    fn points_at(&self, place: &Location, id: &str) -> impl Iterator<Item = &'a RecoveryPoint> {
        let fleet = self.inventory.at_location(place);
        let (id, database) = (id.to_owned(), self.database);
        fleet
            .into_iter()
            .flat_map(|f| &f.points)
            .filter(move |p| belongs_to_database(p, database, &id))
    }

    fn location_view(&self, id: &str, place: Location) -> LocationView {
        let home = place == Location::home_from_policy(self.policy);
        let here = |to: &Name| Location::for_destination(self.policy, to).as_ref() == Some(&place);
        let names = self.policy.destinations.keys().filter(|to| here(to)).map(ToString::to_string);
        let name = if home { "home".to_owned() } else { names.collect::<Vec<_>>().join(", ") };
        let rules = self.retention_rules(&place);
        let mut offsite = if home { self.offsite_copies(id) } else { BTreeMap::new() };
        let mut points: Vec<_> = self
            .points_at(&place, id)
            .map(|p| {
                let copies = offsite.remove(p.arn.as_str()).unwrap_or_default();
                let rules = p.reasons().into_iter().filter_map(|r| rules.get(r)).flatten();
                self.recovery_point_view(p, rules.copied(), copies)
            })
            .collect();
        points.sort_by(|a, b| b.data_time.cmp(&a.data_time).then_with(|| a.id.cmp(&b.id)));
        // Unknown is not oldest: what is on its way is newer than all.
        points.sort_by_key(|p| p.data_time.is_some() || p.state != RecoveryPointState::InFlight);
        LocationView {
            name,
            observed: self.inventory.at_location(&place).is_some(),
            location: place,
            recovery_points: points,
        }
    }

    /// The keep rules of each reason at a place.
    fn retention_rules(&self, place: &Location) -> BTreeMap<&'a str, Vec<&'a RetentionRule>> {
        let mut rules: BTreeMap<&str, Vec<&RetentionRule>> = BTreeMap::new();
        let Some((_, group)) = self.group else { return rules };
        if *place == Location::home_from_policy(self.policy) {
            return group.snapshots.iter().map(|(r, s)| (r.as_str(), vec![&s.keep])).collect();
        }
        for copy in copy_rules_to(self.policy, group, place) {
            for reason in &copy.of {
                rules.entry(reason.as_str()).or_default().push(&copy.keep);
            }
        }
        rules
    }

    fn recovery_point_view<'k>(
        &self,
        p: &RecoveryPoint,
        rules: impl Iterator<Item = &'k RetentionRule>,
        offsite: Vec<OffsiteCopyView>,
    ) -> RecoveryPointView {
        let (stays, because) = match self.verdicts.get(p.arn.as_str()) {
            Some(RetentionVerdict::Keep(why)) => (true, why.clone()),
            Some(RetentionVerdict::Suspended(why)) => (true, vec![why.clone()]),
            Some(RetentionVerdict::Delete(_, why)) => (false, vec![why.clone()]),
            None => (true, vec!["no group has its database, so nothing of it goes".into()]),
        };
        let ours = p.is_complete() && !p.automated && p.is_owned_by(&self.policy.owner());
        let ages = rules.filter(|_| ours).filter_map(|r| r.age.as_ref());
        let span = ages.map(Period::duration).max();
        RecoveryPointView {
            id: p.id.clone(),
            arn: p.arn.clone(),
            state: p.state.clone(),
            data_time: p.data_time,
            age_seconds: p.data_time.map(|t| self.now.duration_since(t).as_secs()),
            reason: p.reasons().join(", "),
            size_gib: p.size_gib,
            of_earlier_database: !p.resource_id.is_empty()
                && self.database.is_some_and(|d| d.resource_id != p.resource_id),
            retained: stays,
            reasons: because,
            retained_until: p
                .data_time
                .zip(span)
                .and_then(|(t, s): (_, SignedDuration)| t.checked_add(s).ok()),
            offsite_copies: offsite,
        }
    }

    /// Where the copies of each point at home stand, by the point's ARN.
    fn offsite_copies(&self, id: &str) -> BTreeMap<&'a str, Vec<OffsiteCopyView>> {
        let mut all: BTreeMap<&str, Vec<OffsiteCopyView>> = BTreeMap::new();
        let Some((_, group)) = self.group else { return all };
        let home: Vec<&RecoveryPoint> =
            self.points_at(&Location::home_from_policy(self.policy), id).collect();
        for (place, rule) in copies::copy_locations(self.policy, group) {
            let there: Vec<&RecoveryPoint> = self.points_at(&place, id).collect();
            let pair = CopyComparison {
                policy: self.policy,
                group,
                rule,
                source_points: &home,
                destination_points: &there,
            };
            for sent in pair.candidates(self.now) {
                let wanted = !sent.keep_reasons.is_empty();
                let (state, detail) = match &sent.status {
                    _ if self.inventory.at_location(&place).is_none() => {
                        ("unknown", "that place can't be seen".into())
                    }
                    CopyStatus::Good(copy) => ("good", copy.id.clone()),
                    CopyStatus::InFlight(copy) => ("in-flight", copy.id.clone()),
                    CopyStatus::Wrong(copy, why) => ("wrong", format!("{}: {why}", copy.id)),
                    CopyStatus::Missing { failed: 0 } if wanted => {
                        ("due", sent.keep_reasons.join(", "))
                    }
                    CopyStatus::Missing { failed } if wanted => {
                        ("due", format!("{failed} tries failed"))
                    }
                    CopyStatus::Missing { .. } => {
                        ("not-wanted", "its rule there would not keep it".into())
                    }
                };
                let to = rule.to.to_string();
                all.entry(&sent.source.arn).or_default().push(OffsiteCopyView {
                    destination: to,
                    state,
                    detail,
                });
            }
        }
        all
    }
}
