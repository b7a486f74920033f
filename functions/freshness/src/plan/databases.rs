//! RDS databases: the newest good point, its copies, the restore window and the backup settings.

use super::{Facts, Judged, age, settings};
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{ByDatabase, Database, Place, Point, State},
    copies::{Copied, Pair},
    observe::Selection,
    plan::Severity,
    policy::{Databases, Policy, text::Period},
    time::human,
};
use std::collections::BTreeMap;

/// Whether a database is younger than this. RDS tells no time of creation while it makes one.
pub(super) fn younger(database: &Database, than: SignedDuration, now: Timestamp) -> bool {
    database.created.map_or(database.status == "creating", |at| now.duration_since(at) < than)
}

const GIB: i64 = 1 << 30;

/// How every selected database stands.
pub(super) fn judge(
    policy: &Policy,
    facts: &Facts,
    selected: &Selection<'_>,
    now: Timestamp,
) -> Vec<Judged> {
    let points: BTreeMap<&Place, _> =
        facts.rds.places.iter().map(|(p, f)| (p, f.by_database())).collect();
    let home = Place::home(policy);
    let one = |(name, group, database): (&_, &Databases, &Database)| {
        let name: &shared::policy::text::Name = name;
        let mut judged = Judged::new(name.as_str(), &database.id);
        let mine = points[&home].of(database);
        newest(&mut judged, group, database, &mine, now);
        offsite(&mut judged, policy, group, database, &mine, &points, now);
        settings::judge(&mut judged, facts, group, database, now);
        judged
    };
    selected.all().map(one).collect()
}

fn newest(
    judged: &mut Judged,
    group: &Databases,
    database: &Database,
    points: &[&Point],
    now: Timestamp,
) {
    let max_age = group.objectives.max_age.as_ref().map(Period::duration);
    judged.standing.max_age_seconds = max_age.map(|a| a.as_secs());
    let good = || points.iter().filter(|p| p.good() && !p.marks.transfer);
    let future = good().filter(|p| p.data_time.is_some_and(|t| age(t, now).is_none())).count();
    if future > 0 {
        let why = format!("{future} of its points have a time in the future, which proves nothing");
        judged.bad("future", why, "compare the clocks of this host and of AWS");
    }
    judged.points = Some(good().count());
    let dated = good().filter_map(|p| Some((age(p.data_time?, now)?, *p)));
    let newest = dated.min_by_key(|(age, _)| *age);
    let growing = points.iter().filter(|p| p.state == State::InFlight && !p.marks.transfer).count();
    let coming = if growing > 0 { format!("; {growing} on the way") } else { String::new() };
    let run = "run `holdfast run snapshot`";
    match (newest, max_age) {
        (None, _) if younger(database, max_age.unwrap_or_default(), now) => {
            judged.find(
                Severity::Info,
                "new",
                format!("it is new and has no recovery point yet{coming}"),
                "",
            );
        }
        (None, _) => judged.bad("no-point", format!("it has no good recovery point{coming}"), run),
        (Some((old, point)), max_age) => {
            judged.standing.newest = Some(point.id.clone());
            judged.standing.age_seconds = Some(old.as_secs());
            judged.standing.size_bytes = Some(i64::from(point.size_gib) * GIB);
            if let Some(max) = max_age.filter(|max| old > *max) {
                let why = format!(
                    "its newest good point {} is {} old, {} over the objective of {}{coming}",
                    point.id,
                    human(old),
                    human(old - max),
                    human(max)
                );
                judged.bad("stale", why, run);
            }
        }
    }
    let newest_good = newest.and_then(|(_, p)| p.data_time);
    let newer = |p: &&&Point| p.meant_time() > newest_good && !p.marks.transfer;
    let failed = points.iter().filter(|p| matches!(p.state, State::Failed(_))).filter(newer);
    for point in failed {
        let State::Failed(word) = &point.state else { continue };
        let why = format!("its newest snapshot {} is {word}", point.id);
        judged.find(
            Severity::Warning,
            "failed",
            why,
            "see the database's events in RDS; the next run tries again",
        );
    }
}

fn offsite(
    judged: &mut Judged,
    policy: &Policy,
    group: &Databases,
    database: &Database,
    home: &[&Point],
    points: &BTreeMap<&Place, ByDatabase<'_>>,
    now: Timestamp,
) {
    // Where one destination has none, the others' ages do not speak for it.
    let mut ages = Some(Vec::new());
    for rule in &group.copies {
        judged.standing.offsite_wanted = true;
        let Some(place) = Place::of(policy, &rule.to) else { continue };
        // A place that can't be seen is a finding of its own; its copies' age is unknown, so it is not published.
        let Some(there) = points.get(&place).map(|p| p.of(database)) else {
            judged.bad(
                "offsite-unknown",
                format!("its copies at {place} can't be seen"),
                "see the gap of that place",
            );
            ages = None;
            continue;
        };
        let pair = Pair { policy, group, rule, home, there: &there };
        // A copy from the future proves nothing, and must not hide one that does.
        let dated: Vec<_> = (there.iter().copied())
            .filter(|p| p.data_time.is_some_and(|t| age(t, now).is_some()))
            .collect();
        let newest = Pair { there: &dated, ..pair }.newest();
        let newest = newest.and_then(|p| age(p.data_time?, now));
        let max = rule.max_age.as_ref().map(Period::duration);
        let on_the_way = there.iter().filter(|p| p.state == State::InFlight).count();
        let coming =
            if on_the_way > 0 { format!("; {on_the_way} on the way") } else { String::new() };
        ages = ages.zip(newest).map(|(ages, age)| [ages, vec![age]].concat());
        match newest {
            None if home.iter().all(|p| !p.good()) => {} // Nothing to copy yet: said above, once.
            None if younger(database, max.unwrap_or_default(), now) => {
                let why = format!("it is new and {} has no copy of it yet{coming}", rule.to);
                judged.find(Severity::Info, "new", why, "");
            }
            None => {
                let why = format!("{} has no good copy of it{coming}", rule.to);
                judged.bad("no-offsite", why, "run `holdfast run offsite`");
            }
            Some(old) => {
                if let Some(max) = max.filter(|max| old > *max) {
                    let why = format!(
                        "its newest good copy at {} has data {} old, over the objective of {}{coming}",
                        rule.to,
                        human(old),
                        human(max)
                    );
                    judged.bad("offsite-stale", why, "run `holdfast run offsite`");
                }
            }
        }
        for sent in pair.sent(now) {
            if let Copied::Wrong(copy, why) = &sent.copied {
                let why = format!("the copy {} at {} does not count: {why}", copy.id, rule.to);
                judged.bad(
                    "wrong-copy",
                    why,
                    "delete it when you know why; a new one is made after that",
                );
            }
        }
    }
    judged.standing.offsite_age_seconds =
        ages.and_then(|a| a.into_iter().max()).map(|a| a.as_secs());
}
