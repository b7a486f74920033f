//! Looking at policies of buckets, rotation of keys and sessions of roles.

use super::AccessObservations;
use futures_util::future::join_all;
use shared::{
    catalog::Location,
    policy::{AccessConfig, EncryptionConfig, Policy, StoreConfig, text::Period},
    run::RunContext,
};
use std::collections::{BTreeMap, BTreeSet};

/// Looks at what the policy asks of access, and at nothing else.
pub(super) async fn observe_access(world: &RunContext<'_>) -> AccessObservations {
    let policy = world.policy;
    let mut facts = AccessObservations::default();
    if policy.home.is_none() {
        return facts;
    }
    if let Some(access) = &policy.access {
        let asked = access.tls_only
            || access.mfa
            || !access.may_read.is_empty()
            || !access.may_delete.is_empty();
        if asked {
            let looks = backup_buckets(policy).into_iter().map(async |(bucket, place)| {
                let found = world.aws.s3(&place).bucket_policy(&bucket).await;
                (bucket, found)
            });
            facts.buckets = join_all(looks).await;
        }
        if access.rotate_keys_every.is_some() {
            let looks = kms_keys(policy).into_iter().map(async |(key, place)| {
                let found = world.aws.kms(&place).key_rotation(&key).await;
                (key, found)
            });
            facts.keys = join_all(looks).await;
        }
        if access.max_session.is_some() {
            let looks = iam_roles(policy, access).into_iter().map(async |(role, place)| {
                let found = world.aws.iam(&place).max_session_duration(&role).await;
                (role, found)
            });
            facts.roles = join_all(looks).await;
        }
    }
    let manager = world.aws.secrets(&world.home_location());
    let looks = rotated_secrets(policy).into_iter().map(async |((group, secret), most)| {
        let found = manager.current_version_created(&secret).await;
        (group, secret, most, found)
    });
    facts.secrets = join_all(looks).await;
    facts
}

/// Every bucket of AWS that backups or their record lie in, with where it is.
fn backup_buckets(policy: &Policy) -> BTreeMap<String, Location> {
    let home = Location::home_from_policy(policy);
    let at = |region: Option<&shared::policy::text::Region>| Location {
        region: region.cloned().unwrap_or_else(|| home.region.clone()),
        ..home.clone()
    };
    let mut all = BTreeMap::new();
    let on_aws = |s: &&StoreConfig| !s.is_outside_aws();
    for store in backup_stores(policy).into_iter().filter(on_aws) {
        if let Some(bucket) = &store.bucket {
            all.insert(bucket.to_string(), at(store.aws_region().as_ref()));
        }
    }
    if let Some((audit, bucket)) = policy.audit.as_ref().and_then(|a| Some((a, a.bucket.as_ref()?)))
    {
        all.insert(bucket.to_string(), at(audit.region.as_ref()));
    }
    for (name, destination) in &policy.destinations {
        if let (Some(bucket), Some(place)) =
            (&destination.bucket, Location::for_destination(policy, name))
        {
            all.insert(bucket.to_string(), place);
        }
    }
    all
}

fn backup_stores(policy: &Policy) -> Vec<&StoreConfig> {
    let postgres = policy.postgres.values();
    let postgres = postgres.flat_map(|g| {
        g.copies.iter().chain([&g.storage]).chain(g.wal.as_ref().map(|w| &w.storage))
    });
    let redis = policy.redis.values().flat_map(|g| g.copies.iter().chain([&g.storage]));
    let cluster = policy.kubernetes.values().map(|g| &g.storage);
    let files = policy.files.values().flat_map(|g| g.copies.iter().chain([&g.storage]));
    postgres.chain(redis).chain(cluster).chain(files).collect()
}

/// Every KMS key that the policy names, with where it is.
fn kms_keys(policy: &Policy) -> BTreeMap<String, Location> {
    let home = Location::home_from_policy(policy);
    let mut all = BTreeMap::new();
    for (name, destination) in &policy.destinations {
        if let (Some(key), Some(place)) =
            (&destination.kms_key, Location::for_destination(policy, name))
        {
            all.insert(key.to_string(), place);
        }
        if let Some(key) = &destination.reencrypt_kms_key {
            all.insert(key.to_string(), home.clone());
        }
    }
    for store in backup_stores(policy) {
        if let Some(key) = store.kms_key.as_ref().filter(|_| !store.is_outside_aws()) {
            let region = store.aws_region().unwrap_or_else(|| home.region.clone());
            all.insert(key.clone(), Location { region, ..home.clone() });
        }
    }
    all
}

/// Every role that reaches backups and that the policy names whole, with the account that it is asked of.
fn iam_roles(policy: &Policy, access: &AccessConfig) -> BTreeMap<String, Location> {
    let home = Location::home_from_policy(policy);
    let whole =
        access.machines.iter().filter(|arn| !arn.contains(['*', '?']) && arn.contains(":role/"));
    let mut all: BTreeMap<_, _> = whole.map(|arn| (arn.clone(), home.clone())).collect();
    for name in policy.destinations.keys() {
        let Some((place, roles)) =
            Location::for_destination(policy, name).and_then(|p| Some((p.clone(), p.role?)))
        else {
            continue;
        };
        let named: BTreeSet<String> =
            [Some(roles.pull), Some(roles.read), roles.delete].into_iter().flatten().collect();
        all.extend(named.into_iter().map(|arn| (arn, place.clone())));
    }
    all
}

/// Every secret that dumps are encrypted with and that has to be changed now and then: by group and name, how often.
fn rotated_secrets(policy: &Policy) -> BTreeMap<(String, String), Period> {
    let mut all = BTreeMap::new();
    let postgres = policy.postgres.iter().flat_map(|(name, g)| {
        g.dumps.values().filter_map(move |d| Some((name, d.encrypt.as_ref()?)))
    });
    let redis = policy.redis.iter().filter_map(|(name, g)| Some((name, g.encrypt.as_ref()?)));
    let cluster =
        policy.kubernetes.iter().filter_map(|(name, g)| Some((name, g.encrypt_secrets.as_ref()?)));
    for (group, encrypt) in postgres.chain(redis).chain(cluster) {
        let EncryptionConfig { openssl, rotate_every, .. } = encrypt;
        if let (Some(secret), Some(most)) =
            (openssl.as_ref().and_then(|o| o.secret.clone()), rotate_every)
        {
            all.insert((group.to_string(), secret), most.clone());
        }
    }
    all
}
