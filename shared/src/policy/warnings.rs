//! What is legal in a policy and hardly meant: `holdfast policy check` shows it and nothing refuses it.

use super::{
    Policy,
    grammar::{ScheduleConfig, StoreConfig},
    meaning::all_stores,
    structure::UnlocatedError,
    text::{Period, ReasonName, Region, ZoneName, known_region},
};
use crate::{
    catalog::AUTOMATED_REASON,
    hints::commands::KEY_NEW,
    time::{CronSchedule, format_duration},
};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;

type WarningSink<'a> = &'a mut dyn FnMut(String, String);

/// Every warning about a policy that has no faults.
pub(super) fn collect_warnings(policy: &Policy) -> Vec<UnlocatedError> {
    let mut found = Vec::new();
    let mut say =
        |pointer: String, message: String| found.push(UnlocatedError::at_pointer(pointer, message));
    warn_unknown_regions(policy, &mut say);
    for (at, store) in all_stores(policy) {
        self::warn_store(store, &at, &mut say);
    }
    warn_relative_directories(policy, &mut say);
    warn_databases(policy, &mut say);
    warn_dumps(policy, &mut say);
    warn_buckets(policy, &mut say);
    warn_unsigned(policy, &mut say);
    found
}

/// Without signatures, whoever writes to a store is believed.
fn warn_unsigned(policy: &Policy, say: WarningSink<'_>) {
    let dumps = policy.postgres.values().any(|g| !g.dumps.is_empty())
        || policy.redis.values().any(|g| g.address.is_some());
    if policy.signing.is_none() && (dumps || policy.audit.is_some()) {
        let why = format!(
            "it is left out: whoever can write to a store decides what counts there and what is restored, and whoever can \
             write to the record of operations can write it anew; `{KEY_NEW}` makes a pair of keys"
        );
        say("/signing".into(), why);
    }
}

/// Regions that are well-formed and that this version does not know.
fn warn_unknown_regions(policy: &Policy, say: WarningSink<'_>) {
    let mut all: Vec<(String, Region)> = Vec::new();
    all.extend(policy.home.iter().map(|h| ("/home/region".into(), h.region.clone())));
    let of = policy.destinations.iter();
    all.extend(
        of.filter_map(|(n, d)| Some((format!("/destinations/{n}/region"), d.region.clone()?))),
    );
    let of = policy.buckets.iter();
    all.extend(of.filter_map(|(n, b)| Some((format!("/buckets/{n}/region"), b.region.clone()?))));
    let of = all_stores(policy).into_iter();
    all.extend(of.filter_map(|(at, s)| Some((format!("{at}/region"), s.aws_region()?))));
    all.extend(
        policy.audit.iter().filter_map(|a| Some(("/audit/region".into(), a.region.clone()?))),
    );
    let page = policy.status_page.iter();
    all.extend(page.filter_map(|p| Some(("/status_page/region".into(), p.region.clone()?))));
    for (at, region) in all {
        if let Err(near) = known_region(region.as_str()) {
            let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            say(at, format!("this version of Holdfast knows no region \"{region}\"{near}"));
        }
    }
}

fn warn_store(store: &StoreConfig, at: &str, say: WarningSink<'_>) {
    if let Some(directory) = &store.directory {
        warn_relative_path(Path::new(directory), format!("{at}/directory"), say);
    }
    if !store.prefix.is_empty() && !store.prefix.ends_with('/') {
        let (prefix, key) = (&store.prefix, store.key.as_deref().unwrap_or("{database}/..."));
        let message = format!(
            "keys are prefix and key one behind the other, so they begin \"{prefix}{key}\": write \"{prefix}/\" if a folder is \
             meant"
        );
        say(format!("{at}/prefix"), message);
    }
    let host = store.endpoint.as_deref().and_then(|e| e.strip_prefix("http://"));
    let here = |h: &str| ["localhost", "127.", "[::1]"].iter().any(|l| h.starts_with(l));
    if host.is_some_and(|h| !here(h)) {
        let message =
            "whoever is on the network between can read and change what is sent: write https://";
        say(format!("{at}/endpoint"), message.into());
    }
}

fn warn_relative_directories(policy: &Policy, say: WarningSink<'_>) {
    if let Some(directory) = policy.audit.as_ref().and_then(|a| a.directory.as_ref()) {
        warn_relative_path(directory, "/audit/directory".into(), say);
    }
    if let Some(directory) = policy.status_page.as_ref().and_then(|p| p.directory.as_ref()) {
        warn_relative_path(Path::new(directory), "/status_page/directory".into(), say);
    }
}

fn warn_relative_path(path: &Path, at: String, say: WarningSink<'_>) {
    if path.is_relative() {
        let message = format!(
            "\"{}\" begins wherever the command is run, which is another place under cron or systemd: write the whole path",
            path.display()
        );
        say(at, message);
    }
}

/// Points this often at most, before somebody has taken a minute for an hour.
const MIN_DUMP_INTERVAL: SignedDuration = SignedDuration::from_mins(15);
const MIN_SNAPSHOT_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// RDS takes an automated snapshot each day.
const AUTOMATED_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

fn warn_databases(policy: &Policy, say: WarningSink<'_>) {
    for (name, group) in &policy.databases {
        let at = format!("/databases/{name}");
        for (reason, snapshots) in &group.snapshots {
            let at = format!("{at}/snapshots/{reason}/schedule/cron");
            warn_too_often(
                snapshots.schedule.as_ref(),
                MIN_SNAPSHOT_INTERVAL,
                "a snapshot",
                at,
                say,
            );
        }
        let longest = |wanted: &dyn Fn(&ReasonName) -> bool, automated: bool| {
            let whens = group.snapshots.iter().filter(|(reason, _)| wanted(reason));
            let own =
                ScheduleIntervals::from_schedules(whens.filter_map(|(_, s)| s.schedule.as_ref()))
                    .map(|g| g.longest);
            own.into_iter().chain(automated.then_some(AUTOMATED_INTERVAL)).min()
        };
        let automated = group.automated_backups.is_some();
        if let Some(gap) = longest(&|_| true, automated) {
            let at = format!("{at}/objectives/max_age");
            warn_max_age_too_short(
                group.objectives.max_age.as_ref(),
                gap,
                "a snapshot is due",
                at,
                say,
            );
        }
        for (i, copy) in group.copies.iter().enumerate() {
            let automated = copy.of.iter().any(|r| r.as_str() == AUTOMATED_REASON);
            if let Some(gap) = longest(&|reason| copy.of.contains(reason), automated) {
                let at = format!("{at}/copies/{i}/max_age");
                warn_max_age_too_short(
                    copy.max_age.as_ref(),
                    gap,
                    "what is copied is made",
                    at,
                    say,
                );
            }
        }
    }
}

fn warn_dumps(policy: &Policy, say: WarningSink<'_>) {
    for (name, group) in &policy.postgres {
        let at = format!("/postgres/{name}");
        for (reason, dump) in &group.dumps {
            let at = format!("{at}/dumps/{reason}/schedule/cron");
            warn_too_often(
                dump.schedule.as_ref(),
                MIN_DUMP_INTERVAL,
                "a dump of the whole database",
                at,
                say,
            );
        }
        if let Some(gaps) = ScheduleIntervals::from_schedules(
            group.dumps.values().filter_map(|d| d.schedule.as_ref()),
        ) {
            let at = format!("{at}/objectives/max_age");
            let max_age = group.objectives.max_age.as_ref();
            warn_max_age_too_short(max_age, gaps.longest, "a dump is due", at, say);
        }
    }
}

fn warn_buckets(policy: &Policy, say: WarningSink<'_>) {
    for (name, bucket) in &policy.buckets {
        for (i, copy) in bucket.copies.iter().enumerate() {
            let at = format!("/buckets/{name}/copies/{i}");
            if let Some(gaps) = ScheduleIntervals::from_schedules(copy.schedule.iter())
                .filter(|_| !copy.on_object_created)
            {
                let at = format!("{at}/max_age");
                warn_max_age_too_short(
                    copy.max_age.as_ref(),
                    gaps.longest,
                    "the bucket is swept",
                    at,
                    say,
                );
            }
            for (j, prefix) in copy.prefixes.iter().enumerate().filter(|(_, p)| !p.ends_with('/')) {
                let message = format!(
                    "\"{prefix}\" is the beginning of \"{prefix}-old/\" too: write \"{prefix}/\" if a folder is meant"
                );
                say(format!("{at}/prefixes/{j}"), message);
            }
        }
    }
}

/// An objective that the schedule can't meet is critical again and again, and soon nobody looks.
fn warn_max_age_too_short(
    max_age: Option<&Period>,
    gap: SignedDuration,
    what: &str,
    at: String,
    say: WarningSink<'_>,
) {
    if let Some(max_age) = max_age.filter(|m| m.duration() <= gap) {
        let hours = gap.as_secs() / 3_600 + 1;
        let message = format!(
            "{what} {} apart at the longest, so {max_age} is passed before the next is there: write \"{hours}h\" or more, or \
             a schedule that is due more often",
            format_duration(gap)
        );
        say(at, message);
    }
}

fn warn_too_often(
    when: Option<&ScheduleConfig>,
    least: SignedDuration,
    what: &str,
    at: String,
    say: WarningSink<'_>,
) {
    let Some((when, gaps)) =
        when.and_then(|w| Some((w, ScheduleIntervals::from_schedules([w].into_iter())?)))
    else {
        return;
    };
    if gaps.shortest < least {
        let message = format!(
            "\"{}\" is due every {}, and each time is {what}: write minute and hour, such as \"0 2 * * *\"",
            when.cron,
            format_duration(gaps.shortest)
        );
        say(at, message);
    }
}

/// How long it is between two times at which something is due.
struct ScheduleIntervals {
    shortest: SignedDuration,
    longest: SignedDuration,
}

impl ScheduleIntervals {
    /// Enough to see days of every five minutes, and two years of a day.
    const MAX_TIMES: usize = 800;
    /// Four years and a leap day: any time that comes at all comes twice, but for 29 February.
    const SCHEDULE_HORIZON: SignedDuration = SignedDuration::from_hours(24 * 366 * 8);

    /// Those of several schedules together; none without one. Counted in UTC: that a day of 25 hours comes once a year is
    /// no reason to speak of it.
    fn from_schedules<'w>(whens: impl Iterator<Item = &'w ScheduleConfig>) -> Option<Self> {
        let begin = Timestamp::from_second(1_767_225_600).ok()?;
        let mut end = begin.checked_add(Self::SCHEDULE_HORIZON).ok()?;
        let mut due: Vec<Timestamp> = Vec::new();
        for when in whens {
            let when = ScheduleConfig { time_zone: None, ..when.clone() };
            let schedule = CronSchedule::new(&when, &ZoneName::default());
            let next = |at: &Timestamp| schedule.next_due(*at);
            let times = std::iter::successors(next(&begin), next).take_while(|t| *t <= end);
            let times: Vec<_> = times.take(Self::MAX_TIMES).collect();
            // Beyond its last time that was asked for, nothing is known of this one.
            if times.len() == Self::MAX_TIMES {
                end = end.min(*times.last()?);
            }
            due.extend(times);
        }
        due.retain(|t| *t <= end);
        due.sort_unstable();
        due.dedup();
        let gaps = || due.windows(2).map(|w| w[1].duration_since(w[0]));
        Some(Self { shortest: gaps().min()?, longest: gaps().max()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_of(more: &str) -> String {
        let text = format!(
            "holdfast: 1\ncompany: acme\nhome: {{ account: \"111122223333\", region: eu-west-1 }}\n{more}"
        );
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{more}\n{e}"));
        // That nothing is signed is told of each of these.
        let told = policy.warnings().into_iter().filter(|w| w.path != "signing");
        told.map(|w| w.to_string()).collect::<Vec<_>>().join("\n")
    }

    fn dump_warnings(rest: &str) -> String {
        warnings_of(&format!("postgres:\n  crm: {{ databases: [crm], {rest} }}\n"))
    }

    fn schedule_warnings(cron: &str, max_age: &str) -> String {
        dump_warnings(&format!(
            "objectives: {{ max_age: {max_age} }}, storage: {{ directory: /b }}, dumps: {{ daily: {{ schedule: {{ cron: \"{cron}\", time_zone: Europe/London }}, keep: {{ daily: 7 }} }} }}"
        ))
    }

    #[test]
    fn an_objective_that_the_schedule_can_not_meet_is_told_and_a_summer_is_no_reason() {
        for (cron, max_age) in [("0 2 * * *", "25h"), ("0 * * * *", "2h"), ("0 2 * * 0", "8d")] {
            assert_eq!(schedule_warnings(cron, max_age), "", "{cron} {max_age}");
        }
        insta::assert_snapshot!(schedule_warnings("0 2 * * *", "12h"), @r#"5:42: postgres.crm.objectives.max_age: a dump is due 1d apart at the longest, so 12h is passed before the next is there: write "25h" or more, or a schedule that is due more often"#);
        assert!(schedule_warnings("0 2 * * 1-5", "25h").contains("3d apart"));
        assert!(schedule_warnings("0 2 1 * *", "31d").contains("31d apart"));
        assert!(
            schedule_warnings("0 2 * * *", "24h").contains("1d apart"),
            "the next dump takes time too"
        );
    }

    #[test]
    fn a_dump_every_few_minutes_is_told() {
        assert!(schedule_warnings("*/5 * * * *", "25h").contains("is due every 5m"));
        assert!(schedule_warnings("* 2 * * *", "25h").contains("is due every 1m"));
        let snapshots = "databases: { fleet: { select: { identifiers: [a] }, snapshots: { often: { schedule: { cron: \"*/30 * * * *\" }, keep: { for: 7d } } } } }\n";
        assert!(warnings_of(snapshots).contains("is due every 30m"), "{}", warnings_of(snapshots));
    }

    #[test]
    fn two_schedules_of_one_group_meet_an_objective_together() {
        let two = |max_age: &str| {
            dump_warnings(&format!(
                "objectives: {{ max_age: {max_age} }}, storage: {{ directory: /b }}, dumps: {{ night: {{ schedule: {{ cron: \"0 2 * * *\" }}, keep: {{ daily: 7 }} }}, noon: {{ schedule: {{ cron: \"0 14 * * *\" }}, keep: {{ daily: 7 }} }} }}"
            ))
        };
        assert_eq!(two("13h"), "");
        assert!(two("11h").contains("12h apart"), "{}", two("11h"));
    }

    #[test]
    fn places_that_are_legal_and_hardly_meant_are_told() {
        for (store, place, said) in [
            ("directory: ./store", "storage.directory", "write the whole path"),
            (
                "bucket: acme-pg, prefix: pg",
                "storage.prefix",
                "begin \"pg{database}/...\": write \"pg/\"",
            ),
            (
                "bucket: acme-pg, endpoint: \"http://10.0.0.7:9000\"",
                "storage.endpoint",
                "write https://",
            ),
            ("bucket: acme-pg, region: eu-west-4", "storage.region", "did you mean \"eu-west-1\"?"),
        ] {
            let warned = dump_warnings(&format!("storage: {{ {store} }}"));
            assert_eq!(warned.lines().count(), 1, "{warned}");
            assert!(warned.contains(place) && warned.contains(said), "{warned}");
        }
    }
}
