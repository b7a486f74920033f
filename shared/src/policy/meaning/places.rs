//! What places must mean: destinations whose keys and roles are where they are, endpoints and directories that can be
//! reached, hosts that are hosts. Each vendor's limits are told before its client meets them.

use super::{ErrorSink, all_stores};
use crate::policy::{
    CopyDestination, Policy, StoreConfig,
    text::{Arn, BucketName, Name, Region, check_endpoint},
};
use std::{collections::BTreeMap, net::Ipv6Addr};

pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    for (name, d) in &policy.destinations {
        check_destination(policy, name, d, say);
    }
    check_unique_destinations(policy, say);
    for (at, store) in all_stores(policy) {
        self::check_store(policy, store, &at, say);
    }
    for (name, group) in &policy.postgres {
        if let Some(Err(why)) = group.host.as_deref().map(check_host) {
            say(format!("/postgres/{name}/host"), why);
        }
        let at = format!("/postgres/{name}");
        check_port(group.port, &at, say);
        check_path(group.tls_ca.as_deref(), format!("{at}/tls_ca"), say);
    }
    for (name, group) in &policy.redis {
        check_path(group.tls_ca.as_deref(), format!("/redis/{name}/tls_ca"), say);
    }
    if let Some(page) = &policy.status_page {
        check_path(page.directory.as_deref(), "/status_page/directory".into(), say);
    }
    if let Some(audit) = &policy.audit {
        let directory = audit.directory.as_ref().and_then(|d| d.to_str());
        check_path(directory, "/audit/directory".into(), say);
    }
    for (name, alarm) in &policy.alarms {
        if let Some(topic) = &alarm.topic {
            let at = super::join_pointer("/alarms", name) + "/topic";
            check_arn_service(topic, "sns", "a topic", &at, say);
            // PutMetricAlarm: actions are in the alarm's own region.
            check_arn_region(
                topic,
                &policy.home_or_placeholder().region,
                "the alarm's, which is home",
                &at,
                say,
            );
        }
    }
}

/// Snapshot copies in one region of one account are one set, with one key and one quota, so two names for that place must
/// say the same.
fn check_unique_destinations(policy: &Policy, say: ErrorSink<'_>) {
    let copied =
        |name: &Name| policy.databases.values().flat_map(|g| &g.copies).any(|c| c.to == *name);
    let mut first: BTreeMap<_, (&Name, &CopyDestination)> = BTreeMap::new();
    for (name, d) in policy.destinations.iter().filter(|(name, _)| copied(name)) {
        let account = d.account.clone().unwrap_or_else(|| policy.home_or_placeholder().account);
        let (other, known) = *first.entry((account, &d.region)).or_insert((name, d));
        let same = known.role == d.role
            && known.kms_key == d.kms_key
            && known.reencrypt_kms_key == d.reencrypt_kms_key
            && known.option_groups == d.option_groups
            && known.max_concurrent_copies == d.max_concurrent_copies;
        if !same {
            let why = format!(
                "\"{other}\" is the same region of the same account with other settings: let the copy rules name one of the two"
            );
            say(format!("/destinations/{name}"), why);
        }
    }
}

fn check_destination(policy: &Policy, name: &Name, d: &CopyDestination, say: ErrorSink<'_>) {
    let at = format!("/destinations/{name}");
    let home = policy.home_or_placeholder();
    if let Some(account) = &d.account
        && *account != home.account
        && d.role.is_none()
    {
        say(
            at.clone(),
            format!(
                "account {account} is not the home account, so a role there must pull the copies: write role"
            ),
        );
    }
    for (key, written) in [
        ("read_role", d.read_role.is_some()),
        ("delete_role", d.delete_role.is_some()),
        ("external_id", d.external_id.is_some()),
    ] {
        if written && d.role.is_none() {
            let why = format!("{key} goes with role: write the role that pulls the copies too");
            say(format!("{at}/{key}"), why);
        }
    }
    // AssumeRole, ExternalId: 2 to 1224 characters of these.
    if let Some(id) = &d.external_id
        && !((2..=1224).contains(&id.len())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c)))
    {
        let why = "an external id has 2 to 1224 letters, digits and _+=,.@:/-";
        say(format!("{at}/external_id"), why.into());
    }
    if d.azure.is_none() && d.region.is_none() {
        say(at.clone(), "a destination needs a region (or azure)".into());
    }
    let account = d.account.as_ref().unwrap_or(&home.account);
    if let Some(role) = &d.role {
        let at = format!("{at}/role");
        check_arn_service(role, "iam", "a role", &at, say);
        check_arn_account(role, account.as_str(), &at, say);
    }
    if let (Some(key), Some(region)) = (&d.kms_key, &d.region) {
        let at = format!("{at}/kms_key");
        check_arn_service(key, "kms", "a key", &at, say);
        check_arn_region(key, region, "the destination's", &at, say);
        check_arn_account(key, account.as_str(), &at, say);
    }
    if let Some(key) = &d.reencrypt_kms_key {
        let at = format!("{at}/reencrypt_kms_key");
        check_arn_service(key, "kms", "a key", &at, say);
        check_arn_region(key, &home.region, "home's", &at, say);
        check_arn_account(key, home.account.as_str(), &at, say);
    }
    for (source, target) in &d.option_groups {
        let fits =
            |s: &str| !s.is_empty() && s.len() <= 255 && s.bytes().all(|b| b.is_ascii_graphic());
        if !fits(source) || !fits(target) || target.starts_with("default:") {
            let why = "write the source's option group and the destination's own, such as { oracle-tz: oracle-tz-virginia }";
            say(super::join_pointer(&format!("{at}/option_groups"), source), why.into());
        }
    }
}

/// The parts of an ARN: service, region, account.
fn arn_parts(arn: &Arn) -> (&str, &str, &str) {
    let mut parts = arn.as_str().split(':').skip(2);
    let mut part = || parts.next().unwrap_or_default();
    (part(), part(), part())
}

fn check_arn_service(arn: &Arn, service: &str, what: &str, at: &str, say: ErrorSink<'_>) {
    let (is, ..) = arn_parts(arn);
    if is != service {
        say(at.to_owned(), format!("this is an ARN of {is}: write that of {what} ({service})"));
    }
}

fn check_arn_region(arn: &Arn, region: &Region, whose: &str, at: &str, say: ErrorSink<'_>) {
    let (_, is, _) = arn_parts(arn);
    if is != region.as_str() {
        say(at.to_owned(), format!("this is in {is}: write one of {region}, {whose} region"));
    }
}

fn check_arn_account(arn: &Arn, account: &str, at: &str, say: ErrorSink<'_>) {
    let (_, _, is) = arn_parts(arn);
    if is != account {
        say(at.to_owned(), format!("this is in account {is}: write one of account {account}"));
    }
}

fn check_store(policy: &Policy, store: &StoreConfig, at: &str, say: ErrorSink<'_>) {
    if let Some(address) = &store.endpoint {
        let bucket = store.bucket.as_ref().map(BucketName::as_str);
        if let Err(why) = check_endpoint(address, bucket) {
            say(format!("{at}/endpoint"), why);
        }
    } else if let (Some(region), None) = (&store.region, store.aws_region()) {
        let why = match region.as_str().parse::<Region>() {
            Err(why) => format!("{why}, or the endpoint of the store that calls it so"),
            Ok(_) => "a region is of a bucket: leave it out".into(),
        };
        say(format!("{at}/region"), why);
    }
    check_path(store.directory.as_deref(), format!("{at}/directory"), say);
    if store.prefix.starts_with('/') || store.prefix.split('/').any(|p| p == "..") {
        let why = format!("\"{}\" begins no key: write one such as \"postgres/\"", store.prefix);
        say(format!("{at}/prefix"), why);
    }
    if let Some(azure) = &store.azure {
        self::check_azure(&azure.account, &azure.container, &format!("{at}/azure"), say);
        if let Some(Err(why)) =
            azure.endpoint.as_deref().map(|e| check_azure_endpoint(e, &azure.account))
        {
            say(format!("{at}/azure/endpoint"), why);
        }
    }
    if let Some(Ok(key)) =
        store.kms_key.as_deref().filter(|k| k.starts_with("arn:")).map(str::parse)
    {
        let home = policy.home_or_placeholder().region;
        let region = store.aws_region().unwrap_or(home);
        check_arn_region(&key, &region, "the bucket's", &format!("{at}/kms_key"), say);
    }
}

/// Azurite and private clouds have the account in the path.
fn check_azure_endpoint(address: &str, account: &str) -> Result<(), String> {
    let bare = address.trim_end_matches('/');
    check_endpoint(bare.strip_suffix(&format!("/{account}")).unwrap_or(bare), None)
}

/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftstorage>
fn check_azure(account: &str, container: &str, at: &str, say: ErrorSink<'_>) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=24).contains(&account.len()) || !account.chars().all(plain) {
        let why = format!(
            "\"{account}\" is no storage account: write its name alone, 3 to 24 lower-case letters and digits"
        );
        say(format!("{at}/account"), why);
    }
    let special = matches!(container, "$root" | "$web");
    let fits = (3..=63).contains(&container.len())
        && container.chars().all(|c| plain(c) || c == '-')
        && container.starts_with(plain)
        && container.ends_with(plain)
        && !container.contains("--");
    if !fits && !special {
        let why = format!(
            "\"{container}\" is no container: write 3 to 63 lower-case letters, digits and single hyphens"
        );
        say(format!("{at}/container"), why);
    }
}

/// No shell reads a policy's paths.
fn check_path(path: Option<&str>, at: String, say: ErrorSink<'_>) {
    let Some(path) = path else { return };
    if path.is_empty() {
        say(at, "a directory has a name: this one is empty".into());
    } else if path.starts_with('~') || path.contains('$') {
        let why = format!(
            "\"{path}\" is read by no shell, so ~ and $NAME mean nothing in it: write the whole path"
        );
        say(at, why);
    } else if path.contains("://") {
        say(
            at,
            format!("\"{path}\" is an address and no directory: write bucket, endpoint or azure"),
        );
    }
}

fn check_port(port: Option<u16>, at: &str, say: ErrorSink<'_>) {
    if port == Some(0) {
        say(format!("{at}/port"), "0 is no port: write 5432, or leave it out".into());
    }
}

/// What is wrong with the name of a host: one host, nothing around it.
pub(super) fn check_host(text: &str) -> Result<(), String> {
    if text.starts_with('/') {
        return Ok(());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.rsplit('@').next().unwrap_or(rest);
        let host = host.split(['/', ':', '?']).next().unwrap_or_default();
        return Err(format!(
            "this is an address: write the host alone, \"{host}\", and user, port and databases under their own keys"
        ));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if text.starts_with('[') && bare.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands without brackets here: write \"{bare}\""));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        return Err(format!("a port stands in it: write \"{host}\" here and port: {port}"));
    }
    if text.contains(',') {
        return Err("these are several hosts: write one, and a group for each".into());
    }
    let letters = |c: char| c.is_alphanumeric() || "-._%".contains(c);
    if text.is_empty() || text.len() > 253 || !text.chars().all(letters) {
        return Err(format!(
            "\"{text}\" is no host: write its name or address, or the directory of a socket"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_host;

    #[test]
    fn a_host_is_a_name_an_address_or_a_directory() {
        for good in ["db.example.com", "127.0.0.1", "::1", "fe80::1", "/var/run/postgresql", "db_1"]
        {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("[::1]", "write \"::1\""),
            ("[::1]:5432", "write \"::1\" here and port: 5432"),
            ("db.example.com:5433", "write \"db.example.com\" here and port: 5433"),
            ("postgres://db.example.com/shop", "\"db.example.com\""),
            ("a,b", "several hosts"),
            ("a b", "no host"),
            ("", "no host"),
        ] {
            let why = check_host(bad).expect_err(bad);
            assert!(why.contains(said), "{bad}: {why}");
        }
    }
}
