//! What a schema can't say: that names refer to something, that rules are not empty, that values fit together.

use super::{
    Policy, Watch,
    dumps::{Compress, DumpFormat, SecretFrom},
    grammar::{Destination, Keep, Store},
    locate::{dotted, join},
    structure::{Found, nearest},
    text::{Limit, Name, Period, ReasonName},
};
use std::collections::BTreeMap;

/// The reason that stands for RDS's own automated snapshots in `copies[].of`.
pub(crate) const AUTOMATED: &str = "automated";

/// Every fault in the meaning of a policy whose structure is right.
pub(super) fn check(policy: &Policy) -> Vec<Found> {
    let mut found = Vec::new();
    let mut say = |pointer: String, message: String| found.push(Found::at(pointer, message));
    groups(policy, &mut say);
    destinations(policy, &mut say);
    databases(policy, &mut say);
    buckets(policy, &mut say);
    collisions(policy, &mut say);
    secrets(policy, &mut say);
    stores(policy, &mut say);
    alarms(policy, &mut say);
    people(policy, &mut say);
    found
}

type Say<'a> = &'a mut dyn FnMut(String, String);

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

fn groups(policy: &Policy, say: Say<'_>) {
    if policy.home.is_none() {
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
            refers(owner, &policy.owners, "owners", &format!("{at}/owner"), say);
        }
    }
}

fn refers<T>(name: &Name, known: &BTreeMap<Name, T>, what: &str, at: &str, say: Say<'_>) {
    if !known.contains_key(name) {
        say(at.to_owned(), unknown(name.as_str(), known.keys().map(Name::as_str), what));
    }
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str>, what: &str) -> String {
    let known: Vec<_> = known.collect();
    let hint = match (nearest(name, &known), known.is_empty()) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, true) => format!("{what} has no entries yet"),
        (None, false) => format!("{what} has: {}", known.join(", ")),
    };
    format!("\"{name}\" is not in {what}; {hint}")
}

fn destinations(policy: &Policy, say: Say<'_>) {
    for (name, d) in &policy.destinations {
        let at = format!("/destinations/{name}");
        if let Some(account) = &d.account
            && *account != policy.home().account
            && d.role.is_none()
        {
            say(
                at.clone(),
                format!(
                    "account {account} is not the home account, so a role there must pull the copies: write role"
                ),
            );
        }
        if d.azure.is_none() && d.region.is_none() {
            say(at, "a destination needs a region (or azure)".into());
        }
    }
}

fn not_empty(keep: &Keep, at: String, say: Say<'_>) {
    if *keep == Keep::default() {
        say(at, "an empty rule does not mean \"keep nothing\": write what is kept, such as \"for: 35d\"".into());
    }
}

fn databases(policy: &Policy, say: Say<'_>) {
    let mut named: BTreeMap<&str, &Name> = BTreeMap::new();
    for (name, group) in &policy.databases {
        let at = format!("/databases/{name}");
        let select = &group.select;
        if select.ids.is_empty() && select.like.is_empty() && select.tags.is_empty() {
            say(format!("{at}/select"), "this selects nothing: write ids, like or tags".into());
        }
        for (i, id) in select.ids.iter().enumerate() {
            if let Some(other) = named.insert(id, name) {
                say(
                    format!("{at}/select/ids/{i}"),
                    format!("\"{id}\" is already in the group \"{other}\""),
                );
            }
        }
        if let Some(backups) = &group.automated_backups
            && let Some(retention) = &backups.retention
            && !whole_days(retention, 35)
        {
            // ModifyDBInstance, BackupRetentionPeriod: 0 to 35 days; 0 switches backups off.
            say(
                format!("{at}/automated_backups/retention"),
                format!("RDS keeps automated backups for 1 to 35 whole days, not \"{retention}\""),
            );
        }
        for (reason, snapshots) in &group.snapshots {
            let at = format!("{at}/snapshots/{reason}");
            if reason.as_str() == AUTOMATED {
                say(
                    at.clone(),
                    "\"automated\" means RDS's own snapshots: choose another reason".into(),
                );
            }
            not_empty(&snapshots.keep, format!("{at}/keep"), say);
        }
        for (i, copy) in group.copies.iter().enumerate() {
            let at = format!("{at}/copies/{i}");
            not_empty(&copy.keep, format!("{at}/keep"), say);
            for (j, reason) in copy.of.iter().enumerate() {
                let known = group.snapshots.keys().map(ReasonName::as_str).chain([AUTOMATED]);
                if !known.clone().any(|k| k == reason.as_str()) {
                    say(format!("{at}/of/{j}"), unknown(reason.as_str(), known, "snapshots"));
                }
            }
            if copy.of.is_empty() {
                say(format!("{at}/of"), "no reason is named, so nothing would be copied".into());
            }
            let to = format!("{at}/to");
            match policy.destinations.get(&copy.to) {
                None => refers(&copy.to, &policy.destinations, "destinations", &to, say),
                Some(d) => snapshot_destination(policy, d, to, say),
            }
        }
    }
}

fn whole_days(period: &Period, most: i64) -> bool {
    let seconds = period.duration().as_secs();
    seconds % 86_400 == 0 && (1..=most).contains(&(seconds / 86_400))
}

fn snapshot_destination(policy: &Policy, d: &Destination, at: String, say: Say<'_>) {
    let other_account = d.account.as_ref().is_some_and(|a| *a != policy.home().account);
    if d.region.is_none() {
        say(at, "a snapshot goes to a region, and this destination has none".into());
    } else if !other_account && d.region.as_ref() == Some(&policy.home().region) {
        say(
            at,
            "this destination is the home region of the home account: a copy there is not offsite"
                .into(),
        );
    } else if other_account && d.kms_key.is_none() {
        // CopyDBSnapshot: an encrypted snapshot shared from another account must be given a key of the copying account.
        say(at, "copies in another account must end under a key of that account: write kms_key in the destination".into());
    }
}

fn buckets(policy: &Policy, say: Say<'_>) {
    for (name, bucket) in &policy.buckets {
        let at = format!("/buckets/{name}");
        let mut object_destination = |to: &Name, at: String| match policy.destinations.get(to) {
            None => refers(to, &policy.destinations, "destinations", &at, say),
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
fn collisions(policy: &Policy, say: Say<'_>) {
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
                    let from = dotted(from);
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
fn secrets(policy: &Policy, say: Say<'_>) {
    let mut all: Vec<(String, &SecretFrom)> = Vec::new();
    for (name, g) in &policy.postgres {
        all.extend(g.password.iter().map(|s| (format!("/postgres/{name}/password"), s)));
        for (reason, encrypt) in g.dumps.iter().filter_map(|(r, d)| Some((r, d.encrypt.as_ref()?)))
        {
            let at = |key: &str| format!("/postgres/{name}/dumps/{reason}/encrypt/{key}");
            all.extend(encrypt.openssl.iter().map(|s| (at("openssl"), s)));
            all.extend(encrypt.identity.iter().map(|s| (at("identity"), s)));
            let previous = encrypt.previous.iter().enumerate();
            all.extend(previous.map(|(i, s)| (at(&format!("previous/{i}")), s)));
        }
    }
    all.extend(
        policy
            .redis
            .iter()
            .filter_map(|(n, g)| Some((format!("/redis/{n}/password"), g.password.as_ref()?))),
    );
    for (at, store) in all_stores(policy) {
        let azure = store.azure.iter().filter_map(|a| a.access_key.as_ref());
        all.extend(azure.map(|s| (format!("{at}/azure/access_key"), s)));
        all.extend(store.access_key.iter().map(|s| (format!("{at}/access_key"), s)));
        all.extend(store.secret_key.iter().map(|s| (format!("{at}/secret_key"), s)));
    }
    for (name, channel) in policy.notify.iter().flat_map(|n| &n.channels) {
        let at = |key| format!("/notify/channels/{name}/{key}");
        all.extend(channel.slack.iter().map(|s| (at("slack"), s)));
        all.extend(channel.pagerduty.iter().map(|s| (at("pagerduty"), s)));
    }
    for (at, from) in all {
        if [from.secret.is_some(), from.env.is_some(), from.file.is_some()]
            .iter()
            .filter(|x| **x)
            .count()
            != 1
        {
            say(at, "a secret comes from one place: write exactly one of secret, env, file".into());
        }
    }
}

/// Every group whose points lie as objects: section, name, store.
pub(super) fn all_stores(policy: &Policy) -> Vec<(String, &Store)> {
    let mut all = Vec::new();
    for (name, g) in &policy.postgres {
        all.push((format!("/postgres/{name}/stored"), &g.stored));
        all.extend(g.wal.iter().map(|w| (format!("/postgres/{name}/wal/stored"), &w.stored)));
        let more = g.also_stored.iter().enumerate();
        all.extend(more.map(|(i, s)| (format!("/postgres/{name}/also_stored/{i}"), s)));
    }
    all.extend(policy.redis.iter().map(|(n, g)| (format!("/redis/{n}/stored"), &g.stored)));
    all.extend(
        policy.kubernetes.iter().map(|(n, g)| (format!("/kubernetes/{n}/stored"), &g.stored)),
    );
    for (name, g) in &policy.files {
        all.push((format!("/files/{name}/stored"), &g.stored));
        let more = g.also_stored.iter().enumerate();
        all.extend(more.map(|(i, s)| (format!("/files/{name}/also_stored/{i}"), s)));
    }
    all
}

fn stores(policy: &Policy, say: Say<'_>) {
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
        if store.keep.is_some() && !at.contains("/also_stored/") {
            say(
                format!("{at}/keep"),
                "this place keeps what the dumps' own rules say: leave it out".into(),
            );
        }
        if let Some(keep) = &store.keep {
            not_empty(keep, format!("{at}/keep"), say);
        }
    }
    for (name, group) in &policy.postgres {
        for (reason, dump) in &group.dumps {
            let at = format!("/postgres/{name}/dumps/{reason}");
            not_empty(&dump.keep, format!("{at}/keep"), say);
            if let Some(encrypt) = &dump.encrypt {
                if encrypt.age.is_empty() == encrypt.openssl.is_none() {
                    say(
                        format!("{at}/encrypt"),
                        "a dump is encrypted in one way: write exactly one of age, openssl".into(),
                    );
                }
                if encrypt.identity.is_some() && encrypt.age.is_empty() {
                    say(
                        format!("{at}/encrypt/identity"),
                        "an identity is for age: write age".into(),
                    );
                }
            }
            if dump.level.is_some_and(|l| l.get() > 9) && dump.compress == Compress::Gzip {
                say(format!("{at}/level"), "gzip has levels 1 to 9".into());
            }
            if !dump.queries.is_empty() && dump.format != DumpFormat::Csv {
                say(format!("{at}/queries"), "queries are for `format: csv`".into());
            }
            if dump.format == DumpFormat::Csv && dump.queries.is_empty() && dump.tables.is_empty() {
                say(at.clone(), "CSV is of tables or queries: write tables or queries".into());
            }
            let files = dump.queries.len() + dump.tables.len();
            for store in std::iter::once(&group.stored).chain(&group.also_stored) {
                let key = store.key.as_deref();
                if dump.format == DumpFormat::Csv
                    && files > 1
                    && key.is_some_and(|k| !k.contains("{table}"))
                {
                    say(
                        at.clone(),
                        "each table or query is a file of its own: write {table} in the store's key".into(),
                    );
                }
            }
        }
        // A run cleans up what dead runs of its database left; what it finds under another group's names would be alive.
        let place = |g: &super::Postgres| {
            let s = &g.stored;
            let azure = s.azure.as_ref().map(|a| (a.account.clone(), a.container.clone()));
            let bucket = s.bucket.as_ref().map(ToString::to_string);
            (bucket, s.endpoint.clone(), s.directory.clone(), azure, s.prefix.clone())
        };
        let other = policy.postgres.iter().find(|(n, g)| {
            *n < name && !g.dumps.is_empty() && !group.dumps.is_empty() && place(g) == place(group)
        });
        if let Some((other, _)) = other {
            say(
                format!("/postgres/{name}/stored"),
                format!(
                    "\"{other}\" puts its dumps in the same place: give each group a prefix of its own"
                ),
            );
        }
        if group.iam && (group.password.is_some() || group.user.is_none() || group.host.is_none()) {
            say(
                format!("/postgres/{name}/iam"),
                "an IAM token takes the password's place: write host and user, and no password"
                    .into(),
            );
        }
        // One key for all would let each database's dump collide with the others'.
        let several = group.databases.len() > 1;
        let stores = std::iter::once(("stored".to_owned(), &group.stored)).chain(
            group.also_stored.iter().enumerate().map(|(i, s)| (format!("also_stored/{i}"), s)),
        );
        for (place, store) in stores.filter(|_| several && !group.dumps.is_empty()) {
            if store.key.as_deref().is_some_and(|k| !k.contains("{database}")) {
                say(
                    format!("/postgres/{name}/{place}/key"),
                    "the group has several databases: write {database} in the key".into(),
                );
            }
        }
        if group.databases.is_empty() {
            say(format!("/postgres/{name}/databases"), "no database is named".into());
        }
    }
    let keeps = policy.redis.iter().map(|(n, g)| ("redis", n, &g.keep));
    let keeps = keeps.chain(policy.kubernetes.iter().map(|(n, g)| ("kubernetes", n, &g.keep)));
    for (section, name, keep) in
        keeps.chain(policy.files.iter().map(|(n, g)| ("files", n, &g.keep)))
    {
        not_empty(keep, format!("/{section}/{name}/keep"), say);
    }
}

fn alarms(policy: &Policy, say: Say<'_>) {
    let groups = all_groups(policy);
    for (name, alarm) in &policy.alarms {
        let at = join("/alarms", name);
        // PutMetricAlarm, AlarmName: 1 to 255 characters; the shipped role may only write alarms of this company.
        if name.len() > 255 || !name.starts_with(&format!("{}-", policy.company)) {
            say(
                at.clone(),
                format!(
                    "an alarm's name begins with \"{}-\" and has 255 characters at most",
                    policy.company
                ),
            );
        }
        if let Some(of) = &alarm.of
            && !groups.iter().any(|(_, name, _)| *name == of)
        {
            let known = groups.iter().map(|(_, name, _)| name.as_str());
            say(format!("{at}/of"), unknown(of.as_str(), known, "the groups of assets"));
        }
        let (fits, wanted) = match alarm.watch {
            Watch::PointAge
            | Watch::OffsiteAge
            | Watch::RestorableLag
            | Watch::ReplicationLag
            | Watch::ReplicaLag => {
                (matches!(alarm.above.limit(), Limit::Time(_)), "a length of time such as \"1h\"")
            }
            Watch::FailingAssets
            | Watch::SettingsDrift
            | Watch::UnprotectedDatabases
            | Watch::ReplicationMissing
            | Watch::DeletesRefused => (
                matches!(alarm.above.limit(), Limit::Number(_)),
                "a number in quotes such as \"0\"",
            ),
        };
        if !fits {
            say(
                format!("{at}/above"),
                format!("\"{}\" does not fit what is watched: write {wanted}", alarm.above),
            );
        }
    }
}

fn people(policy: &Policy, say: Say<'_>) {
    let groups = all_groups(policy);
    let known_group = |name: &Name| groups.iter().any(|(_, n, _)| *n == name);
    for (name, drill) in &policy.drills {
        if let Some(of) = drill.of.as_ref().filter(|of| !known_group(of)) {
            let known = groups.iter().map(|(_, name, _)| name.as_str());
            say(format!("/drills/{name}/of"), unknown(of.as_str(), known, "the groups of assets"));
        }
    }
    let Some(notify) = &policy.notify else { return };
    for (name, channel) in &notify.channels {
        let ways = [
            channel.slack.is_some(),
            channel.pagerduty.is_some(),
            !channel.email.is_empty(),
            channel.sns.is_some(),
            channel.http.is_some(),
        ];
        if ways.iter().filter(|w| **w).count() != 1 {
            say(
                format!("/notify/channels/{name}"),
                "a channel is one way to reach people: write exactly one of slack, pagerduty, email, sns, http".into(),
            );
        }
    }
    for (i, route) in notify.routes.iter().enumerate() {
        for (j, to) in route.to.iter().enumerate() {
            refers(
                to,
                &notify.channels,
                "notify.channels",
                &format!("/notify/routes/{i}/to/{j}"),
                say,
            );
        }
        for (j, of) in route.of.iter().enumerate().filter(|(_, of)| !known_group(of)) {
            let known = groups.iter().map(|(_, name, _)| name.as_str());
            say(
                format!("/notify/routes/{i}/of/{j}"),
                unknown(of.as_str(), known, "the groups of assets"),
            );
        }
    }
    for (i, step) in notify.escalation.iter().enumerate() {
        for (j, to) in step.to.iter().enumerate() {
            refers(
                to,
                &notify.channels,
                "notify.channels",
                &format!("/notify/escalation/{i}/to/{j}"),
                say,
            );
        }
    }
}
