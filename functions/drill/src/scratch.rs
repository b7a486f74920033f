//! Where a test restore runs, as the policy says.

use dump::means;
use restore::{RestoreError, ScratchTarget};
use shared::{
    policy::{PostgresGroup, ScratchConfig},
    run::RunContext,
    secret::SecretResolver,
};

/// The server for test restores of a group; one of our own is only started when it is needed, and is to be stopped.
///
/// # Errors
/// If its password or host can't be found.
pub async fn open_scratch_target(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    rules: &PostgresGroup,
    scratch: &ScratchConfig,
) -> Result<ScratchTarget, RestoreError> {
    let found = if scratch.production {
        means::connect_config(world, secrets, rules).await.map(ScratchTarget::Production)
    } else if scratch.names_a_server() {
        let named = means::scratch_connect_config(world, secrets, rules, scratch).await;
        named.map(ScratchTarget::Named)
    } else {
        Ok(ScratchTarget::local(scratch.directory.as_ref().map(Into::into)))
    };
    found.map_err(RestoreError::from)
}

/// What evidence says of it.
pub(crate) fn describe_target(target: &ScratchTarget) -> String {
    match target {
        ScratchTarget::Local(_) => "a server of Holdfast's own on this host, gone after it".into(),
        ScratchTarget::Named(server) => {
            format!("the scratch server {}:{}, in a temporary database", server.host, server.port)
        }
        ScratchTarget::Production(server) => {
            format!(
                "the production server {}:{}, in a temporary database",
                server.host, server.port
            )
        }
    }
}
