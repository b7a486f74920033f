//! `holdfast store`: whose a store is.

use crate::{
    args::StoreCommand,
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use serde::Serialize;
use shared::{aws::OperationError, signing::SigningAuthor};
use storage::{
    mark,
    place::{self, OpenStore},
};

/// Writes the mark of every place of the groups that take dumps, or of one.
pub(super) async fn run(
    session: &CommandContext<'_>,
    command: &StoreCommand,
) -> anyhow::Result<CommandExit> {
    let StoreCommand::Init { group } = command;
    let (policy, secrets, world) =
        (&session.policy, session.secret_resolver(), session.dry_run_context());
    let author = SigningAuthor::from_policy(policy, &secrets)
        .await
        .map_err(|e| CommandError::from_data_error(&e))?;
    let mut marked = Vec::new();
    for (name, rules) in
        policy.stored_groups().filter(|(_, g)| !g.dumps.is_empty() || g.wal.is_some())
    {
        if group.as_ref().is_some_and(|group| group != name.as_str()) {
            continue;
        }
        let mut stores = Vec::new();
        if !rules.dumps.is_empty() {
            stores = place::open_all(&world, &secrets, rules).await;
        }
        let home = world.home_location();
        if let Some(wal) = &rules.wal {
            let opened = storage::open_store(world.aws, &home, &wal.storage, &secrets).await;
            let opened = opened.map(|s| OpenStore::new(s, &wal.storage));
            stores.push(opened.map_err(OperationError::from));
        }
        mark_stores(session, &author, stores, &mut marked).await?;
    }
    for (name, rules) in &policy.secrets {
        if group.as_ref().is_some_and(|group| group != name.as_str()) {
            continue;
        }
        let opened = secrets::stored::open(&world, rules).await.transpose();
        mark_stores(session, &author, opened.into_iter().collect(), &mut marked).await?;
    }
    if let (true, Some(group)) = (marked.is_empty(), group) {
        return Err(CommandError::usage(format!(
            "\"{group}\" is no group with dumps, WAL or exports of secrets"
        )));
    }
    session.output.print_output(&StoreInitOutput(marked))?;
    Ok(CommandExit::Success)
}

/// Gives stores their mark.
async fn mark_stores(
    session: &CommandContext<'_>,
    author: &SigningAuthor,
    stores: Vec<Result<OpenStore<'_>, OperationError>>,
    marked: &mut Vec<MarkedStore>,
) -> anyhow::Result<()> {
    let (run, now) = (&session.env.run_id, session.env.now);
    for open in stores {
        let open = open.map_err(|e| CommandError::from_operation_error(&e))?;
        let written = mark::write_marker(&open.store, author, run, now).await;
        let mark =
            written.map_err(|e| CommandError::from_operation_error(&OperationError::from(e)))?;
        marked.push(MarkedStore { store: open.store.address(), owner: mark.owner, id: mark.id });
    }
    Ok(())
}

#[derive(Serialize)]
struct MarkedStore {
    store: String,
    owner: String,
    id: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct StoreInitOutput(Vec<MarkedStore>);

impl CommandOutput for StoreInitOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let lines = self.0.iter().map(|m| format!("{} belongs to {}", m.store, m.owner));
        lines.collect::<Vec<_>>().join("\n")
    }
}
