//! `holdfast explain`: one asset, all that is known of it, and why it is treated as it is.
//!
//! - `database`: an RDS database and its points, `view`: as programs read them
//! - `storage`: what lies as objects, and buckets
//! - `show`: all that for people

mod database;
mod show;
mod stored;
mod view;

use crate::{
    function::aws_unreachable_message,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    words::suggest_names,
};
use serde::Serialize;
use shared::{
    catalog::{Inventory, Location, ObservationError},
    observe::{ObservationScope, observe_inventory},
    plan::Finding,
    policy::Policy,
};
use std::collections::BTreeSet;
use stored::{BucketView, ObjectAssetView};
use view::DatabaseView;

/// What is known of one asset.
#[derive(Debug, Serialize)]
struct ExplainOutput {
    asset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<DatabaseView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    object_assets: Vec<ObjectAssetView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buckets: Vec<BucketView>,
    /// What could not be looked at.
    observation_errors: Vec<ObservationError>,
}

/// Explains an asset.
pub(super) async fn run(session: &CommandContext<'_>, asset: &str) -> anyhow::Result<CommandExit> {
    let policy = &session.policy;
    let world = session.dry_run_context();
    let seen = if policy.databases.is_empty() {
        Inventory::default()
    } else {
        session
            .progress
            .with_spinner(
                "looking at databases",
                observe_inventory(&world, ObservationScope::Everywhere),
            )
            .await
    };
    let mut gaps = seen.errors.clone();
    let looks = Box::pin(async {
        let stored = stored::object_asset_views(&world, asset, &mut gaps).await;
        (stored, stored::bucket_views(&world, asset).await)
    });
    let (stored, buckets) = session.progress.with_spinner("looking at buckets", looks).await;
    let names = known_names(policy, &seen);
    let database = database::database_view(policy, seen, asset, session.env.now);
    let explained = ExplainOutput {
        asset: asset.to_owned(),
        database,
        object_assets: stored,
        buckets,
        observation_errors: gaps,
    };
    let ExplainOutput {
        database, object_assets: stored, buckets, observation_errors: gaps, ..
    } = &explained;
    if database.is_none() && stored.is_empty() && buckets.is_empty() {
        let home = Location::home_from_policy(policy);
        if let Some(gap) = gaps.iter().find(|g| g.location == home) {
            return Err(CommandError::unreachable(aws_unreachable_message(
                &Finding::from_observation_error(gap),
            )));
        }
        return Err(unknown_asset_error(policy, asset, names));
    }
    session.output.print_output(&explained)?;
    Ok(if explained.observation_errors.is_empty() {
        CommandExit::Success
    } else {
        CommandExit::Failed
    })
}

/// Every name that can be explained.
fn known_names(policy: &Policy, seen: &Inventory) -> BTreeSet<String> {
    let databases = seen
        .at_location(&Location::home_from_policy(policy))
        .into_iter()
        .flat_map(|f| &f.databases)
        .map(|d| d.id.clone());
    let points = seen.locations.values().flat_map(|f| &f.points).map(|p| p.database.clone());
    databases.chain(points).chain(stored::asset_names(policy)).collect()
}

fn unknown_asset_error(policy: &Policy, asset: &str, names: BTreeSet<String>) -> anyhow::Error {
    if policy.databases.keys().any(|g| g.as_str() == asset) {
        return CommandError::usage(format!(
            "{asset} is a group; explain one of its databases, which `{}` lists",
            shared::hints::commands::STATUS
        ));
    }
    let near = suggest_names(asset, names);
    let near = if near.is_empty() {
        "there are no assets at all".to_owned()
    } else {
        format!("the nearest names are {}", near.join(", "))
    };
    CommandError::usage(format!("there is no asset {asset}; {near}"))
}
