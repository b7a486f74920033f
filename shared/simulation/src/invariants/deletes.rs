//! A snapshot or a copy is about to be deleted.

use super::{BEFORE_DUE, Checks, counts, group_of, owed};
use crate::{
    oracle::is_kept,
    policies::SimulatedPolicy,
    trouble::Trouble,
    world::{World, without_roles},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{AUTOMATED_REASON, Location, RdsDatabase, RecoveryPoint, RecoveryPointState},
    policy::{DatabaseGroup, RetentionRule, evaluate_selector},
};
use std::collections::{BTreeMap, BTreeSet};

/// One point that goes, with all that is known of it.
struct Deletion<'d> {
    world: &'d World,
    policy: &'d SimulatedPolicy,
    home: Location,
    /// Without roles.
    at: Location,
    point: &'d RecoveryPoint,
    /// The database that it is of, when it is there.
    alive: Option<&'d RdsDatabase>,
    group: Option<&'d DatabaseGroup>,
    now: Timestamp,
}

impl<'d> Deletion<'d> {
    fn new(
        world: &'d World,
        policy: &'d SimulatedPolicy,
        (at, point): (&Location, &'d RecoveryPoint),
        now: Timestamp,
    ) -> Self {
        let home = policy.home();
        let here = world.at(&home).map_or(&[][..], |f| &f.databases);
        let of = |d: &&RdsDatabase| d.family == point.kind && d.resource_id == point.resource_id;
        let alive = here.iter().find(of);
        let tags = BTreeMap::new();
        let named =
            |g: &&DatabaseGroup| evaluate_selector(&g.select, &point.database, &tags).is_ok();
        let group = alive.and_then(|d| group_of(policy, d));
        let group = group.or_else(|| policy.policy.databases.values().find(named));
        Self { world, policy, home, at: without_roles(at), point, alive, group, now }
    }

    fn is_home(&self) -> bool {
        self.at == self.home
    }

    /// Points of the same database at a location.
    fn lineage(&self, at: &Location) -> impl Iterator<Item = &'d RecoveryPoint> + use<'d> {
        let point = self.point;
        let all = self.world.at(at).map_or(&[][..], |f| &f.points);
        all.iter().filter(move |p| p.kind == point.kind && p.resource_id == point.resource_id)
    }

    /// The rules for a reason at its location.
    fn rules(&self, reason: &str) -> Vec<&'d RetentionRule> {
        let Some(group) = self.group else { return Vec::new() };
        if self.is_home() {
            let here = group.snapshots.iter().filter(|(r, _)| r.as_str() == reason);
            return here.map(|(_, s)| &s.keep).collect();
        }
        let policy = &self.policy.policy;
        let to = |to| Location::for_destination(policy, to).map(|l| without_roles(&l));
        let rules = group.copies.iter().filter(|c| to(&c.to).as_ref() == Some(&self.at));
        rules.filter(|c| c.of.iter().any(|r| r.as_str() == reason)).map(|c| &c.keep).collect()
    }

    /// A rule that keeps it at a time.
    fn kept_at(&self, now: Timestamp) -> Option<String> {
        let at = self.point.data_time?;
        self.point.reasons().into_iter().find_map(|reason| {
            let good = self.lineage(&self.at).filter(|p| counts(p, &self.policy.owner));
            let times: Vec<Timestamp> =
                good.filter(|p| p.has_reason(reason)).filter_map(|p| p.data_time).collect();
            let rules = self.rules(reason);
            let keeps = rules.iter().find(|rule| is_kept(at, &times, rule, now));
            keeps.map(|rule| format!("{reason}: {rule:?}"))
        })
    }

    /// A reason whose backups are not being made at home.
    fn not_made(&self) -> Option<String> {
        self.alive?;
        let group = self.group?;
        self.point.reasons().into_iter().find_map(|reason| {
            let rule = group.snapshots.iter().find(|(r, _)| r.as_str() == reason);
            let due = owed(self.policy, rule?.1.schedule.as_ref()?, self.now)?;
            let made = self.lineage(&self.home).any(|p| {
                counts(p, &self.policy.owner)
                    && p.has_reason(reason)
                    && p.data_time.is_some_and(|t| t <= self.now && t + BEFORE_DUE >= due)
            });
            (!made).then(|| format!("{reason} was due at {due}"))
        })
    }

    /// A destination that still needs it.
    fn needed_by(&self, trouble: &Trouble) -> Option<String> {
        let group = self.group.filter(|_| self.is_home())?;
        let policy = &self.policy.policy;
        let at = self.point.data_time?;
        group.copies.iter().find_map(|rule| {
            let reason = rule.of.iter().find(|r| self.point.has_reason(r.as_str()))?;
            let to = without_roles(&Location::for_destination(policy, &rule.to)?);
            if trouble.unobserved.contains(&to) {
                return Some(format!("{to} was not observed"));
            }
            let copies: Vec<&RecoveryPoint> =
                self.lineage(&to).filter(|p| p.is_owned_by(&self.policy.owner)).collect();
            let of =
                |p: &&&RecoveryPoint| p.tags.copy_of.as_deref() == Some(self.point.arn.as_str());
            let listed = |p: &RecoveryPoint| {
                trouble.stale.is_none_or(|lag| p.started.is_none_or(|t| t <= self.world.now - lag))
            };
            if copies
                .iter()
                .filter(of)
                .any(|p| p.state == RecoveryPointState::InFlight && listed(p))
            {
                return Some(format!("its copy to {to} is in flight"));
            }
            if copies.iter().filter(of).any(|p| p.is_complete()) {
                return None;
            }
            let sources = self.lineage(&self.home).filter(|p| {
                p.is_complete()
                    && !p.tags.transfer
                    && p.has_reason(reason.as_str())
                    && (p.is_owned_by(&self.policy.owner) || reason.as_str() == AUTOMATED_REASON)
            });
            let there = copies.iter().filter(|p| p.is_complete() && p.has_reason(reason.as_str()));
            let times: BTreeSet<Timestamp> =
                sources.chain(there.copied()).filter_map(|p| p.data_time).collect();
            let times: Vec<Timestamp> = times.into_iter().collect();
            is_kept(at, &times, &rule.keep, self.now)
                .then(|| format!("{to} wants a copy and has none"))
        })
    }
}

impl Checks {
    /// A run of retention begins.
    pub(crate) fn begin_retention(&mut self, world: &World, policy: &SimulatedPolicy) {
        self.deleting.clear();
        if !self.enabled {
            return;
        }
        for location in &policy.bare_locations {
            let points = world.at(location).map_or(&[][..], |f| &f.points);
            let good = points.iter().filter(|p| counts(p, &policy.owner)).count();
            self.deleting.insert(location.clone(), (good, 0));
        }
    }

    /// It has ended.
    pub(crate) fn end_retention(&mut self, policy: &SimulatedPolicy) {
        let _ = policy;
        self.deleting.clear();
    }

    /// A point is about to be deleted.
    pub(crate) fn before_delete(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        trouble: &Trouble,
        (at, point): (&Location, &RecoveryPoint),
        now: Timestamp,
    ) {
        if !self.enabled {
            return;
        }
        let d = Deletion::new(world, policy, (at, point), now);
        let id = format!("{} at {}", point.id, d.at);
        let true_now = world.now;
        let is_ours = point.is_owned_by(&policy.owner) && !point.automated;
        self.expect(is_ours, true_now, "own-points-only", || {
            format!("{id} is not of {}", policy.owner)
        });
        let all = policy.policy.databases.values().flat_map(|g| &g.legal_holds);
        let named =
            all.filter(|h| h.eq_ignore_ascii_case(&point.id) || h.eq_ignore_ascii_case(&point.arn));
        let held = point.tags.legal_hold.is_some() || named.count() > 0;
        self.expect(!held, true_now, "held", || format!("{id} is held"));
        let seen = !trouble.unobserved.contains(&d.at) && !trouble.unobserved.contains(&d.home);
        self.expect(seen, true_now, "gap", || {
            format!("{id} goes, and its location or home was not observed")
        });
        let may = d.at.account == d.home.account
            || at.role.as_ref().is_some_and(|roles| roles.delete.is_some());
        self.expect(may, true_now, "vault", || format!("{id} is another account's to delete"));
        self.expect(point.state != RecoveryPointState::InFlight, true_now, "in-flight", || {
            format!("{id} is on its way")
        });
        if !point.is_complete() || point.tags.transfer {
            return;
        }
        self.check_data(&d, trouble, &id);
        self.check_limit(&d, &id);
        if let Some(source) = &point.tags.copy_of
            && trouble.clock.is_zero()
        {
            let key = (policy.owner.clone(), d.at.clone(), source.clone());
            *self.remade.entry(key).or_default() += 1;
        }
    }

    /// What holds data goes only by its rules.
    fn check_data(&mut self, d: &Deletion<'_>, trouble: &Trouble, id: &str) {
        let now = d.world.now;
        let unselected = d.alive.is_some_and(|a| group_of(d.policy, a).is_none());
        self.expect(!unselected, now, "left-the-policy", || {
            format!("{id} is of a living database in no group")
        });
        let unruled = d.point.reasons().into_iter().find(|r| d.rules(r).is_empty());
        self.expect(unruled.is_none(), now, "no-rule", || {
            format!("{id}: no rule speaks of {unruled:?}")
        });
        let kept = d.kept_at(d.now);
        self.expect(kept.is_none(), now, "retention", || {
            format!("{id} goes, and a rule keeps it: {kept:?}")
        });
        // A clock that is ahead by more than a schedule's interval and grace deletes nothing early.
        let interval = SignedDuration::from_hours(24 * 32);
        if trouble.clock > SignedDuration::from_hours(54) && d.alive.is_some() {
            let kept = d.kept_at(now + SignedDuration::from_hours(54));
            let often = d.group.is_some_and(|g| {
                d.point.reasons().iter().all(|r| {
                    let rule = g.snapshots.iter().find(|(name, _)| name.as_str() == *r);
                    rule.and_then(|(_, s)| s.schedule.as_ref()).is_some_and(|w| {
                        let last = super::last_due(d.policy, w, now);
                        let before = last.and_then(|l| {
                            super::last_due(d.policy, w, l - SignedDuration::from_secs(1))
                        });
                        last.zip(before).is_some_and(|(l, b)| l.duration_since(b) < interval / 20)
                    })
                })
            });
            self.expect(kept.is_none() || !often, now, "clock", || {
                format!("{id} goes by a clock that is {:?} ahead: {kept:?}", trouble.clock)
            });
        }
        let not_made = d.not_made();
        self.expect(not_made.is_none(), now, "backups-not-made", || {
            format!("{id} goes, and {not_made:?}")
        });
        let needed = d.needed_by(trouble);
        self.expect(needed.is_none(), now, "copy-still-needed", || {
            format!("{id} goes, and {needed:?}")
        });
        let floor = d.group.map_or(1, |g| g.min_backups.get() as usize);
        let good = d.lineage(&d.at).filter(|p| {
            counts(p, &d.policy.owner) && p.arn != d.point.arn && p.data_time >= d.point.data_time
        });
        let newer = good.count();
        self.expect(newer >= floor, now, "minimum", || {
            format!("{id} goes, and only {newer} newer ones stay")
        });
    }

    fn check_limit(&mut self, d: &Deletion<'_>, id: &str) {
        let limit = &d.policy.policy.limits.delete;
        let Some((good, gone)) = self.deleting.get_mut(&d.at) else { return };
        *gone += 1;
        let (good, gone) = (*good, *gone);
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let over =
            gone > limit.count as usize || gone as f64 > limit.share.fraction() * good as f64 + 1.0;
        self.expect(!over, d.world.now, "delete-limit", || {
            format!("{id} is one of {gone} that go, of {good}")
        });
    }
}
