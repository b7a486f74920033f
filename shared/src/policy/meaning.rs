//! What a schema can't say: that names refer to something, that rules are not empty, that values fit together.

mod access;
mod audit;
mod databases;
mod drills;
mod notify;
mod places;
mod postgres;
mod redis;
mod secret_groups;
mod signing;
mod tiers;

use super::{
    Policy,
    dumps::SecretSource,
    grammar::{RetentionRule, StoreConfig},
    locate::{join_pointer, to_display_path},
    secrets,
    structure::{UnlocatedError, suggest_word},
    text::{Name, ReasonName, ThresholdValue},
};
use crate::mail::EmailAddress;
use std::collections::BTreeMap;

/// Every fault in the meaning of a policy whose structure is right.
pub(super) fn check(policy: &Policy) -> Vec<UnlocatedError> {
    let mut found = Vec::new();
    let mut say =
        |pointer: String, message: String| found.push(UnlocatedError::at_pointer(pointer, message));
    check_groups(policy, &mut say);
    places::check(policy, &mut say);
    databases::check(policy, &mut say);
    check_buckets(policy, &mut say);
    check_key_collisions(policy, &mut say);
    check_secret_sources(policy, &mut say);
    check_stores(policy, &mut say);
    postgres::check(policy, &mut say);
    redis::check(policy, &mut say);
    check_alarms(policy, &mut say);
    check_owners(policy, &mut say);
    drills::check(policy, &mut say);
    check_costs(policy, &mut say);
    audit::check(policy, &mut say);
    access::check(policy, &mut say);
    signing::check(policy, &mut say);
    tiers::check(policy, &mut say);
    secret_groups::check(policy, &mut say);
    found
}

type ErrorSink<'a> = &'a mut dyn FnMut(String, String);

/// Every group of assets: section, name, owner.
fn all_groups(policy: &Policy) -> Vec<(&'static str, &Name, Option<&Name>)> {
    let mut all = Vec::new();
    all.extend(policy.databases.iter().map(|(n, g)| ("databases", n, g.owner.as_ref())));
    all.extend(policy.buckets.iter().map(|(n, g)| ("buckets", n, g.owner.as_ref())));
    all.extend(policy.postgres.iter().map(|(n, g)| ("postgres", n, g.owner.as_ref())));
    all.extend(policy.redis.iter().map(|(n, g)| ("redis", n, g.owner.as_ref())));
    all.extend(policy.kubernetes.iter().map(|(n, g)| ("kubernetes", n, g.owner.as_ref())));
    all.extend(policy.secrets.iter().map(|(n, g)| ("secrets", n, g.owner.as_ref())));
    all.extend(policy.files.iter().map(|(n, g)| ("files", n, g.owner.as_ref())));
    all
}

fn check_groups(policy: &Policy, say: ErrorSink<'_>) {
    if policy.home.is_none() {
        if policy.id.is_none() {
            let why = "without home, an id tells this policy's backups from those of the company's other policies: write id, such as the host's name";
            say("/id".into(), why.into());
        }
        for (section, used) in [
            ("databases", !policy.databases.is_empty()),
            ("buckets", !policy.buckets.is_empty()),
            ("secrets", !policy.secrets.is_empty()),
            ("alarms", !policy.alarms.is_empty()),
        ] {
            if used {
                say(
                    format!("/{section}"),
                    "this is on AWS: write home with the account and region".into(),
                );
            }
        }
    }
    let mut first: BTreeMap<&Name, &str> = BTreeMap::new();
    for (section, name, owner) in all_groups(policy) {
        let at = format!("/{section}/{name}");
        if let Some(other) = first.insert(name, section) {
            say(
                at.clone(),
                format!("\"{name}\" is also a group in {other}: give each group a name of its own"),
            );
        }
        if let Some(owner) = owner {
            check_reference(owner, &policy.owners, "owners", &format!("{at}/owner"), say);
        }
    }
}

fn check_reference<T>(
    name: &Name,
    known: &BTreeMap<Name, T>,
    what: &str,
    at: &str,
    say: ErrorSink<'_>,
) {
    if !known.contains_key(name) {
        say(
            at.to_owned(),
            unknown_name_message(name.as_str(), known.keys().map(Name::as_str), what),
        );
    }
}

fn unknown_name_message<'n>(
    name: &str,
    known: impl Iterator<Item = &'n str>,
    what: &str,
) -> String {
    let known: Vec<_> = known.collect();
    let hint = match (suggest_word(name, &known), known.is_empty()) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, true) => format!("{what} has no entries yet"),
        (None, false) => format!("{what} has: {}", known.join(", ")),
    };
    format!("\"{name}\" is not in {what}; {hint}")
}

/// `schedule` is what a run without a reason is asked for, so no recovery point can have it.
fn check_not_reserved(reason: &ReasonName, at: &str, say: ErrorSink<'_>) {
    if reason.as_str() == crate::request::SCHEDULE_REASON {
        let why = "\"schedule\" means what is due by all schedules: choose another reason, such as \"daily\"";
        say(at.to_owned(), why.into());
    }
}

fn check_not_empty(keep: &RetentionRule, at: String, say: ErrorSink<'_>) {
    if *keep == RetentionRule::default() {
        say(at, "an empty rule does not mean \"keep nothing\": write what is kept, such as \"for: 35d\"".into());
    }
}

fn check_buckets(policy: &Policy, say: ErrorSink<'_>) {
    for (name, bucket) in &policy.buckets {
        let at = format!("/buckets/{name}");
        let mut object_destination = |to: &Name, at: String| match policy.destinations.get(to) {
            None => check_reference(to, &policy.destinations, "destinations", &at, say),
            Some(d) if d.bucket.is_none() && d.azure.is_none() => {
                say(
                    at,
                    "objects go to a bucket, and this destination has none: write bucket there"
                        .into(),
                );
            }
            Some(d) if d.bucket.as_ref() == Some(&bucket.bucket) => {
                say(at, "this destination is the bucket itself".into());
            }
            Some(_) => {}
        };
        if let Some(replication) = &bucket.replication {
            object_destination(&replication.to, format!("{at}/replication/to"));
        }
        for (i, copy) in bucket.copies.iter().enumerate() {
            object_destination(&copy.to, format!("{at}/copies/{i}/to"));
        }
        for (i, copy) in bucket.copies.iter().enumerate() {
            for (j, prefix) in copy.prefixes.iter().enumerate() {
                if prefix.starts_with('/') || prefix.is_empty() {
                    say(
                        format!("{at}/copies/{i}/prefixes/{j}"),
                        format!(
                            "\"{prefix}\" matches no key or all keys: write one such as \"pg-logical/\""
                        ),
                    );
                }
            }
        }
    }
}

/// Objects keep their keys at a destination, so two sources must not write the same keys into one bucket.
fn check_key_collisions(policy: &Policy, say: ErrorSink<'_>) {
    let mut written: Vec<(&str, &str, String)> = Vec::new();
    for (name, bucket) in &policy.buckets {
        for (i, copy) in bucket.copies.iter().enumerate() {
            let Some(there) = policy.destinations.get(&copy.to).and_then(|d| d.bucket.as_ref())
            else {
                continue;
            };
            let prefixes: Vec<&str> = if copy.prefixes.is_empty() {
                vec![""]
            } else {
                copy.prefixes.iter().map(String::as_str).collect()
            };
            for prefix in prefixes {
                let at = format!("/buckets/{name}/copies/{i}");
                let meets = |(to, other, from): &&(&str, &str, String)| {
                    *to == there.as_str()
                        && (other.starts_with(prefix) || prefix.starts_with(other))
                        && !from.starts_with(&format!("/buckets/{name}/"))
                };
                if let Some((_, other, from)) = written.iter().find(meets) {
                    let from = to_display_path(from);
                    say(
                        at.clone(),
                        format!(
                            "{from} writes keys beginning with \"{other}\" into {there} too: give the two different prefixes, \
                         or another bucket"
                        ),
                    );
                }
                written.push((there.as_str(), prefix, at));
            }
        }
    }
}

/// A secret comes from exactly one place.
fn check_secret_sources(policy: &Policy, say: ErrorSink<'_>) {
    let mut all: Vec<(String, &SecretSource)> = Vec::new();
    for (name, g) in &policy.postgres {
        all.extend(g.password.iter().map(|s| (format!("/postgres/{name}/password"), s)));
        for (reason, encrypt) in g
            .dumps
            .iter()
            .filter_map(|(r, d)| Some((r, d.encrypt.as_ref()?)))
            .map(|(r, e)| (format!("dumps/{r}"), e))
            .chain(g.wal.iter().filter_map(|w| Some(("wal".to_owned(), w.encrypt.as_ref()?))))
        {
            let at = |key: &str| format!("/postgres/{name}/{reason}/encrypt/{key}");
            all.extend(encrypt.openssl.iter().map(|s| (at("openssl"), s)));
            all.extend(encrypt.identity.iter().map(|s| (at("identity"), s)));
            let previous = encrypt.previous.iter().enumerate();
            all.extend(previous.map(|(i, s)| (at(&format!("previous/{i}")), s)));
        }
    }
    for (name, g) in &policy.redis {
        all.extend(g.password.iter().map(|s| (format!("/redis/{name}/password"), s)));
        let at = |key: &str| format!("/redis/{name}/encrypt/{key}");
        if let Some(encrypt) = &g.encrypt {
            all.extend(encrypt.openssl.iter().map(|s| (at("openssl"), s)));
            all.extend(encrypt.identity.iter().map(|s| (at("identity"), s)));
            let previous = encrypt.previous.iter().enumerate();
            all.extend(previous.map(|(i, s)| (at(&format!("previous/{i}")), s)));
        }
    }
    for (at, store) in all_stores(policy) {
        let azure = store.azure.iter().filter_map(|a| a.access_key.as_ref());
        all.extend(azure.map(|s| (format!("{at}/azure/access_key"), s)));
        all.extend(store.access_key.iter().map(|s| (format!("{at}/access_key"), s)));
        all.extend(store.secret_key.iter().map(|s| (format!("{at}/secret_key"), s)));
    }
    for (name, encrypt) in policy.secrets.iter().filter_map(|(n, g)| Some((n, g.encrypt.as_ref()?)))
    {
        let at = |key: &str| format!("/secrets/{name}/encrypt/{key}");
        all.extend(encrypt.identity.iter().map(|s| (at("identity"), s)));
        all.extend(
            encrypt.previous.iter().enumerate().map(|(i, s)| (at(&format!("previous/{i}")), s)),
        );
    }
    all.extend(policy.notify.iter().flat_map(notify::secret_sources));
    let signing = policy.signing.iter().filter_map(|s| s.secret_key.as_ref());
    all.extend(signing.map(|s| ("/signing/secret_key".to_owned(), s)));
    for (at, from) in all {
        if [from.secret.is_some(), from.env.is_some(), from.file.is_some()]
            .iter()
            .filter(|x| **x)
            .count()
            != 1
        {
            say(
                at.clone(),
                "a secret comes from one place: write exactly one of secret, env, file".into(),
            );
        }
        if from.mounted && from.file.is_none() {
            say(format!("{at}/mounted"), "this is of a file: write file, or leave it out".into());
        }
        let forms = [
            ("env", from.env.as_deref().map(secrets::check_variable_name)),
            ("secret", from.secret.as_deref().map(secrets::check_secret_id)),
            ("file", from.file.as_deref().map(secrets::check_file_path)),
        ];
        for (key, why) in forms.into_iter().filter_map(|(key, form)| Some((key, form?.err()?))) {
            say(format!("{at}/{key}"), why.into());
        }
    }
}

/// Every group whose points lie as objects: section, name, store.
pub(super) fn all_stores(policy: &Policy) -> Vec<(String, &StoreConfig)> {
    let mut all = Vec::new();
    for (name, g) in &policy.postgres {
        all.push((format!("/postgres/{name}/storage"), &g.storage));
        all.extend(g.wal.iter().map(|w| (format!("/postgres/{name}/wal/storage"), &w.storage)));
        let more = g.copies.iter().enumerate();
        all.extend(more.map(|(i, s)| (format!("/postgres/{name}/copies/{i}"), s)));
    }
    for (name, g) in &policy.redis {
        all.push((format!("/redis/{name}/storage"), &g.storage));
        let more = g.copies.iter().enumerate();
        all.extend(more.map(|(i, s)| (format!("/redis/{name}/copies/{i}"), s)));
    }
    all.extend(
        policy.kubernetes.iter().map(|(n, g)| (format!("/kubernetes/{n}/storage"), &g.storage)),
    );
    for (name, g) in &policy.secrets {
        all.extend(g.storage.iter().map(|s| (format!("/secrets/{name}/storage"), s)));
    }
    for (name, g) in &policy.files {
        all.push((format!("/files/{name}/storage"), &g.storage));
        let more = g.copies.iter().enumerate();
        all.extend(more.map(|(i, s)| (format!("/files/{name}/copies/{i}"), s)));
    }
    all
}

fn check_stores(policy: &Policy, say: ErrorSink<'_>) {
    for (at, store) in all_stores(policy) {
        let places = [store.bucket.is_some(), store.directory.is_some(), store.azure.is_some()];
        if places.iter().filter(|p| **p).count() != 1 {
            say(
                at.clone(),
                "points lie in one place: write exactly one of bucket, directory, azure".into(),
            );
        }
        if store.access_key.is_some() != store.secret_key.is_some() {
            say(at.clone(), "access_key and secret_key go together: write both or none".into());
        }
        if store.bucket.is_none()
            && (store.endpoint.is_some() || store.lock.is_some() || store.access_key.is_some())
        {
            say(at.clone(), "endpoint, access_key and lock are of a bucket: write bucket".into());
        }
        if store.bucket.is_some() && store.endpoint.is_none() && policy.home.is_none() {
            say(
                at.clone(),
                "a bucket of AWS needs `home`: write it, or the bucket's endpoint".into(),
            );
        }
        if store.keep.is_some() && !at.contains("/copies/") {
            say(
                format!("{at}/keep"),
                "this place keeps what the dumps' own rules say: leave it out".into(),
            );
        }
        if let Some(keep) = &store.keep {
            check_not_empty(keep, format!("{at}/keep"), say);
        }
    }
    let keeps = policy.redis.iter().map(|(n, g)| ("redis", n, &g.keep));
    let keeps = keeps.chain(policy.kubernetes.iter().map(|(n, g)| ("kubernetes", n, &g.keep)));
    for (section, name, keep) in
        keeps.chain(policy.files.iter().map(|(n, g)| ("files", n, &g.keep)))
    {
        check_not_empty(keep, format!("/{section}/{name}/keep"), say);
    }
}

fn check_alarms(policy: &Policy, say: ErrorSink<'_>) {
    let groups = all_groups(policy);
    for (name, alarm) in &policy.alarms {
        let at = join_pointer("/alarms", name);
        // PutMetricAlarm, AlarmName: 1 to 255 characters; the shipped roles may write no others,
        // so that none of them reaches the stack's own alarms or another company's.
        if name.chars().count() > 255
            || name.chars().any(char::is_control)
            || !name.starts_with(&format!("{}-backup-", policy.company))
        {
            say(
                at.clone(),
                format!(
                    "an alarm's name begins with \"{}-backup-\" and has 255 characters at most, on one line",
                    policy.company
                ),
            );
        }
        if let Some(of) = &alarm.of
            && !groups.iter().any(|(_, name, _)| *name == of)
        {
            let known = groups.iter().map(|(_, name, _)| name.as_str());
            say(
                format!("{at}/of"),
                unknown_name_message(of.as_str(), known, "the groups of assets"),
            );
        }
        if alarm.above.is_some() == alarm.below.is_some() {
            say(at, "write exactly one of above and below".into());
            continue;
        }
        let (threshold, side) = alarm.threshold_and_comparison();
        let limit = threshold.value();
        let (fits, wanted) = match alarm.metric.metric().unit() {
            "Seconds" => {
                (matches!(limit, ThresholdValue::Time(_)), "a length of time such as \"1h\"")
            }
            "Percent" => (matches!(limit, ThresholdValue::Share(_)), "a share such as \"99%\""),
            _ => (matches!(limit, ThresholdValue::Number(_)), "a number in quotes such as \"0\""),
        };
        if !fits {
            say(
                format!("{at}/{side}"),
                format!("\"{threshold}\" does not fit what is watched: write {wanted}"),
            );
        }
    }
}

fn check_costs(policy: &Policy, say: ErrorSink<'_>) {
    if let Some(costs) = &policy.costs {
        let share = |s: &Option<super::text::Percentage>, usual| {
            s.as_ref().map_or(usual, super::text::Percentage::fraction)
        };
        if share(&costs.warn_at, 0.8) > share(&costs.critical_at, 0.9) {
            say(
                "/costs/warn_at".into(),
                "the warning comes before it is critical: write a smaller share than critical_at"
                    .into(),
            );
        }
        if costs.quota.is_none() && (costs.warn_at.is_some() || costs.critical_at.is_some()) {
            say(
                "/costs".into(),
                "warn_at and critical_at are shares of a quota: write quota".into(),
            );
        }
    }
    let Some(page) = &policy.status_page else { return };
    if page.bucket.is_some() == page.directory.is_some() {
        say(
            "/status_page".into(),
            "the page lies in one place: write exactly one of bucket, directory".into(),
        );
    }
    let fine = |part: &str| !part.is_empty() && part != "." && part != "..";
    let name = page.key.rsplit('/').next();
    if !page.key.split('/').all(fine) || name == Some("report.json") {
        let why = format!(
            "\"{}\" is no name for the page: write one such as \"status/index.html\"",
            page.key
        );
        say("/status_page/key".into(), why);
    }
}

fn check_owners(policy: &Policy, say: ErrorSink<'_>) {
    for (name, owner) in &policy.owners {
        if let Some(Err(why)) = owner.email.as_deref().map(str::parse::<EmailAddress>) {
            say(format!("/owners/{name}/email"), why);
        }
    }
    notify::check(policy, say);
}
