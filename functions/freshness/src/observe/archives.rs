//! Observing WAL archives and the servers that write into them.

use crate::plan::{ObservedArchive, archives::ArchiveFacts};
use shared::{
    policy::{PostgresGroup, WalConfig},
    run::RunContext,
    secret::SecretResolver,
};
use wal::{
    WalError,
    open::{ArchiveAccess, open_archive},
    status::{ArchiverStatus, read_archiver_status},
};

/// Looks at the archive of every group that has one, and at its server.
pub(super) async fn observe_archives(world: &RunContext<'_>) -> Vec<ObservedArchive> {
    let secrets = world.secret_resolver();
    let mut all = Vec::new();
    for (name, rules) in &world.policy.postgres {
        let Some(config) = &rules.wal else { continue };
        let facts = if config.storage.is_outside_aws() && !world.on_host {
            ArchiveFacts::OnOtherHost
        } else {
            // The server first: what it calls archived must be in a listing that is newer.
            let server = observe_server(world, &secrets, rules).await;
            match observe_inventory(world, &secrets, config).await {
                Ok(inventory) => ArchiveFacts::Observed(Box::new((inventory, server))),
                Err(e) => ArchiveFacts::Unobserved(format!("{}: {}", e.doing, e.why), e.hint),
            }
        };
        all.push(ObservedArchive { group: name.clone(), facts });
    }
    all
}

async fn observe_server(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    rules: &PostgresGroup,
) -> Result<ArchiverStatus, String> {
    let config = dump::means::connect_config(world, secrets, rules).await;
    let config = config.map_err(|e| e.to_string())?;
    let limit = world.deadline.observation_timeout();
    let asked = tokio::time::timeout(limit, read_archiver_status(&config)).await;
    asked.map_err(|_| "it does not answer".to_owned())?.map_err(|e| e.to_string())
}

async fn observe_inventory(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    config: &WalConfig,
) -> Result<wal::inventory::ArchiveInventory, WalError> {
    let of = (world.aws, world.policy, config);
    let repository = open_archive(of, secrets, ArchiveAccess::List, &world.run_id).await?;
    repository.read_inventory().await
}
