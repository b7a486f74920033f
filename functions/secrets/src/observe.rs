//! What there is: secrets without their values, their replicas and keys, and the exports.

use crate::{
    plan::{ObservedGroup, needs_version_dates},
    stored,
};
use futures_util::{StreamExt, stream};
use shared::{
    aws::OperationError,
    catalog::Location,
    policy::{SecretGroup, text::Name},
    request::RunRequest,
    run::RunContext,
};
use std::collections::{BTreeMap, BTreeSet};
use storage::TrustPolicy;

/// Calls of one kind at once; Secrets Manager and KMS allow far more.
const MAX_CONCURRENT_CALLS: usize = 8;

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionDates {
    /// The dates of versions where the listing leaves a question.
    #[default]
    WhereNeeded,
    /// Those of every secret, a call each, for people.
    All,
}

/// Every group that the request speaks of, as it is.
pub async fn observe<'p>(
    world: &RunContext<'p>,
    request: &RunRequest,
    dates: VersionDates,
) -> Vec<ObservedGroup<'p>> {
    let policy: &'p shared::policy::Policy = world.policy;
    let mut all = Vec::new();
    for (name, rules) in &policy.secrets {
        let asked = |a: &String| {
            a.strip_prefix(name.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let asked = request.assets.is_empty() || request.assets.iter().any(asked);
        let concerned = request.secret.as_ref().is_none_or(|s| s.starts_with(&rules.prefix));
        if asked && concerned {
            all.push(observe_group(world, request, name, rules, dates).await);
        }
    }
    all
}

async fn observe_group<'p>(
    world: &RunContext<'_>,
    request: &RunRequest,
    name: &'p Name,
    rules: &'p SecretGroup,
    dates: VersionDates,
) -> ObservedGroup<'p> {
    let home = world.home_location();
    let client = world.aws.secrets(&home);
    let secrets = match &request.secret {
        // A list may lag behind an event by five minutes.
        Some(one) => client.describe_secret(one).await.map(|s| vec![s]),
        None => client.list_secrets(&rules.prefix).await,
    };
    let mut group = ObservedGroup::new(name, rules);
    group.partial = request.secret.is_some() || request.assets.iter().any(|a| a != name.as_str());
    match secrets {
        Ok(mut secrets) => {
            secrets.retain(|s| request.includes_database(name.as_str(), &s.name));
            group.secrets = secrets;
        }
        Err(e) => {
            group.errors.push((home.to_string(), e));
            group.unlisted = true;
            return group;
        }
    }
    observe_replicas(world, &mut group).await;
    observe_exports(world, &mut group).await;
    let wanted: Vec<String> = group
        .secrets
        .iter()
        .filter(|s| dates == VersionDates::All || needs_version_dates(&group, s, world.now))
        .filter(|s| s.deleted.is_none())
        .map(|s| s.name.clone())
        .collect();
    let read =
        stream::iter(wanted.iter().map(async |n| (n.clone(), client.version_dates(n).await)));
    for (secret, read) in read.buffered(MAX_CONCURRENT_CALLS).collect::<Vec<_>>().await {
        match read {
            Ok(found) => drop(group.version_dates.insert(secret, found)),
            Err(e) => group.errors.push((format!("{name}/{secret}"), e)),
        }
    }
    let kms = world.aws.kms(&home);
    let keys: BTreeSet<String> = group.secrets.iter().filter_map(|s| s.kms_key.clone()).collect();
    let read = stream::iter(keys.iter().map(async |k| (k.clone(), kms.key_state(k).await)));
    for (key, read) in read.buffered(MAX_CONCURRENT_CALLS).collect::<Vec<_>>().await {
        match read {
            Ok(state) => drop(group.keys.insert(key, state)),
            Err(e) => group.errors.push((key, e)),
        }
    }
    group
}

async fn observe_replicas(world: &RunContext<'_>, group: &mut ObservedGroup<'_>) {
    let home = world.home_location();
    for region in &group.rules.replicas {
        let there = Location { region: region.clone(), ..home.clone() };
        match world.aws.secrets(&there).list_secrets(&group.rules.prefix).await {
            Ok(found) => {
                let by_name: BTreeMap<_, _> =
                    found.into_iter().map(|s| (s.name.clone(), s)).collect();
                group.replicas.insert(region.to_string(), by_name);
            }
            Err(e) => group.errors.push((there.to_string(), e)),
        }
    }
}

async fn observe_exports(world: &RunContext<'_>, group: &mut ObservedGroup<'_>) {
    let exports = async {
        let Some(open) = stored::open(world, group.rules).await? else { return Ok(None) };
        let trust = TrustPolicy::from_signing(world.policy, world.now);
        stored::list_exports(&open.store, &trust).await.map(Some)
    };
    match exports.await {
        Ok(found) => group.exports = found,
        Err::<_, OperationError>(e) => group.errors.push((format!("exports of {}", group.name), e)),
    }
}
