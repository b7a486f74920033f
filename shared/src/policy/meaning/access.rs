//! What must be so of access, of regions and of what is not backed up.

use super::{ErrorSink, all_groups};
use crate::policy::{
    Policy,
    text::{Name, Region},
};

pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    check_principals(policy, say);
    check_regions(policy, say);
    check_not_backed_up(policy, say);
}

/// AWS's names of principals are ARNs; "everybody" is none.
fn check_principals(policy: &Policy, say: ErrorSink<'_>) {
    let Some(access) = &policy.access else { return };
    if policy.home.is_none() {
        say("/access".into(), "this is on AWS: write home with the account and region".into());
    }
    for (key, all) in [
        ("machines", &access.machines),
        ("may_read", &access.may_read),
        ("may_delete", &access.may_delete),
    ] {
        for (i, one) in all.iter().enumerate() {
            let parts: Vec<&str> = one.splitn(6, ':').collect();
            let of_an_account = parts.len() == 6
                && parts[0] == "arn"
                && parts[4].len() == 12
                && !parts[5].is_empty();
            if !of_an_account || parts[4].contains(['*', '?']) {
                say(
                    format!("/access/{key}/{i}"),
                    format!(
                        "\"{one}\" is not the ARN of a principal of one account: write one such as \"arn:aws:iam::111122223333:role/backup-*\""
                    ),
                );
            }
        }
    }
}

/// Copies stay within the regions that their group allows.
fn check_regions(policy: &Policy, say: ErrorSink<'_>) {
    let home = policy.home_or_placeholder().region;
    let mut outside = |at: String, allowed: &[Region], region: &Region, what: &str| {
        if !allowed.is_empty() && !allowed.contains(region) {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            let allowed = allowed.join(", ");
            say(
                at,
                format!(
                    "{what} is in {region}, and this group allows {allowed}: choose another place, or allow it"
                ),
            );
        }
    };
    let of = |to: &Name| policy.destinations.get(to).and_then(|d| d.region.as_ref());
    for (name, group) in &policy.databases {
        for (i, copy) in group.copies.iter().enumerate() {
            if let Some(region) = of(&copy.to) {
                let at = format!("/databases/{name}/copies/{i}/to");
                outside(at, &group.regions, region, copy.to.as_str());
            }
        }
    }
    for (name, bucket) in &policy.buckets {
        let at = format!("/buckets/{name}");
        let region = bucket.region.as_ref().unwrap_or(&home);
        outside(format!("{at}/bucket"), &bucket.regions, region, bucket.bucket.as_str());
        let copies = bucket.copies.iter().enumerate();
        let copies = copies.map(|(i, c)| (format!("{at}/copies/{i}/to"), &c.to));
        let replication =
            bucket.replication.iter().map(|r| (format!("{at}/replication/to"), &r.to));
        for (at, to) in copies.chain(replication) {
            if let Some(region) = of(to) {
                outside(at, &bucket.regions, region, to.as_str());
            }
        }
    }
    for (name, group) in &policy.postgres {
        let more = group.copies.iter().enumerate();
        let more = more.map(|(i, s)| (format!("/postgres/{name}/copies/{i}"), s));
        let stored = [(format!("/postgres/{name}/storage"), &group.storage)];
        for (at, store) in stored.into_iter().chain(more) {
            // Azure's and other endpoints' regions are names of their own.
            if let Some(bucket) = store.bucket.as_ref().filter(|_| store.endpoint.is_none()) {
                let region = store.aws_region().unwrap_or_else(|| home.clone());
                outside(at, &group.regions, &region, bucket.as_str());
            }
        }
    }
}

/// Whatever is not backed up has a reason that can be read, and is not backed up.
fn check_not_backed_up(policy: &Policy, say: ErrorSink<'_>) {
    for (name, reason) in &policy.not_backed_up {
        let at = format!("/not_backed_up/{name}");
        if reason.trim().chars().count() < 10 {
            say(at.clone(), "write why it is not backed up, and what there is in its place".into());
        }
        if let Some((section, _, _)) = all_groups(policy).iter().find(|(_, n, _)| *n == name) {
            say(
                at,
                format!(
                    "\"{name}\" is a group in {section}, so it is backed up: take it out of one"
                ),
            );
        }
    }
}
