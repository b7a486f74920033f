//! What the groups of `databases` must mean: identifiers that RDS can have, rules that keep something, copies that leave home.

use super::{
    ErrorSink, check_not_empty, check_not_reserved, check_reference, unknown_name_message,
};
use crate::catalog::AUTOMATED_REASON;
use crate::policy::{
    CopyDestination, DatabaseGroup, Policy,
    text::{Name, Period, ReasonName, check_db_identifier},
};
use std::collections::BTreeMap;

pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    let mut named: BTreeMap<&str, &Name> = BTreeMap::new();
    for (name, group) in &policy.databases {
        let at = format!("/databases/{name}");
        check_selection(group, &at, say);
        for (i, id) in group.select.identifiers.iter().enumerate() {
            if let Some(other) = named.insert(id, name) {
                say(
                    format!("{at}/select/identifiers/{i}"),
                    format!("\"{id}\" is already in the group \"{other}\""),
                );
            }
        }
        check_holds(group, &at, say);
        if let Some(backups) = &group.automated_backups
            && let Some(retention) = &backups.retention
            && !is_whole_days(retention, 35)
        {
            // ModifyDBInstance, BackupRetentionPeriod: 0 to 35 days; 0 switches backups off.
            say(
                format!("{at}/automated_backups/retention"),
                format!("RDS keeps automated backups for 1 to 35 whole days, not \"{retention}\""),
            );
        }
        for (reason, snapshots) in &group.snapshots {
            let at = format!("{at}/snapshots/{reason}");
            if reason.as_str() == AUTOMATED_REASON {
                say(
                    at.clone(),
                    "\"automated\" means RDS's own snapshots: choose another reason".into(),
                );
            }
            check_not_reserved(reason, &at, say);
            check_not_empty(&snapshots.keep, format!("{at}/keep"), say);
        }
        check_copies(policy, group, &at, say);
    }
}

/// Identifiers and patterns that can match something. RDS keeps identifiers in lower case, so `Orders` never does.
fn check_selection(group: &DatabaseGroup, at: &str, say: ErrorSink<'_>) {
    let select = &group.select;
    if select.identifiers.is_empty() && select.include.is_empty() && select.tags.is_empty() {
        say(format!("{at}/select"), "this selects nothing: write ids, like or tags".into());
    }
    for (key, ids) in [("identifiers", &select.identifiers), ("exclude", &select.exclude)] {
        for (i, id) in ids.iter().enumerate() {
            if let Err(why) = check_db_identifier(id) {
                say(format!("{at}/select/{key}/{i}"), why);
            }
        }
    }
    for (i, id) in
        select.exclude.iter().enumerate().filter(|(_, id)| select.identifiers.contains(id))
    {
        let why = format!("\"{id}\" stands under ids too, and except always wins: take one out");
        say(format!("{at}/select/exclude/{i}"), why);
    }
    for (i, glob) in select.include.iter().enumerate() {
        let (text, lower) = (glob.as_str(), glob.as_str().to_lowercase());
        if text != lower {
            let why = format!("RDS keeps identifiers in lower case: write \"{lower}\"");
            say(format!("{at}/select/include/{i}"), why);
        }
    }
}

/// A hold that names nothing holds nothing.
fn check_holds(group: &DatabaseGroup, at: &str, say: ErrorSink<'_>) {
    for (i, hold) in group.legal_holds.iter().enumerate() {
        let at = format!("{at}/legal_holds/{i}");
        let lower = hold.to_lowercase();
        if let Some(id) = hold.strip_prefix("arn:").and_then(|_| hold.split("snapshot:").nth(1)) {
            say(at, format!("this is an ARN: write the snapshot's identifier alone, \"{id}\""));
        } else if *hold != lower {
            say(at, format!("RDS keeps identifiers in lower case: write \"{lower}\""));
        } else {
            let bare = hold.strip_prefix("rds:").unwrap_or(hold);
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if bare.is_empty() || bare.len() > 255 || !bare.chars().all(fits) {
                let why =
                    "this can't be a snapshot's identifier: write one as RDS shows it, no pattern";
                say(at, why.into());
            }
        }
    }
}

fn check_copies(policy: &Policy, group: &DatabaseGroup, at: &str, say: ErrorSink<'_>) {
    for (i, copy) in group.copies.iter().enumerate() {
        let at = format!("{at}/copies/{i}");
        check_not_empty(&copy.keep, format!("{at}/keep"), say);
        for (j, reason) in copy.of.iter().enumerate() {
            let known = group.snapshots.keys().map(ReasonName::as_str).chain([AUTOMATED_REASON]);
            if !known.clone().any(|k| k == reason.as_str()) {
                say(
                    format!("{at}/of/{j}"),
                    unknown_name_message(reason.as_str(), known, "snapshots"),
                );
            }
        }
        if copy.of.is_empty() {
            say(format!("{at}/of"), "no reason is named, so nothing would be copied".into());
        }
        let to = format!("{at}/to");
        match policy.destinations.get(&copy.to) {
            None => check_reference(&copy.to, &policy.destinations, "destinations", &to, say),
            Some(d) => check_snapshot_destination(policy, d, to, say),
        }
    }
}

fn is_whole_days(period: &Period, most: i64) -> bool {
    let seconds = period.duration().as_secs();
    seconds % 86_400 == 0 && (1..=most).contains(&(seconds / 86_400))
}

fn check_snapshot_destination(
    policy: &Policy,
    d: &CopyDestination,
    at: String,
    say: ErrorSink<'_>,
) {
    let other_account =
        d.account.as_ref().is_some_and(|a| *a != policy.home_or_placeholder().account);
    if d.region.is_none() {
        say(at, "a snapshot goes to a region, and this destination has none".into());
    } else if !other_account && d.region.as_ref() == Some(&policy.home_or_placeholder().region) {
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
