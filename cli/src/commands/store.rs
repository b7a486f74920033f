//! `holdfast store`: whose a store is.

use crate::{
    args::StoreCommand,
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
};
use serde::Serialize;
use shared::{aws::OperationError, signing::SigningAuthor};
use store::{mark, place};

/// Writes the mark of every place of the groups that take dumps, or of one.
pub(super) async fn run(session: &Session<'_>, command: &StoreCommand) -> anyhow::Result<Exit> {
    let StoreCommand::Init { group } = command;
    let (policy, secrets, world) = (&session.policy, session.secrets(), session.look());
    let author = SigningAuthor::from_policy(policy, &secrets).await.map_err(|e| Stop::data(&e))?;
    let mut marked = Vec::new();
    for (name, rules) in policy.postgres.iter().filter(|(_, g)| !g.dumps.is_empty()) {
        if group.as_ref().is_some_and(|group| group != name.as_str()) {
            continue;
        }
        for open in place::open(&world, &secrets, rules).await {
            let open = open.map_err(|e| Stop::edge(&e))?;
            let written = mark::write(&open.store, &author, &session.edge.run, world.now).await;
            let mark = written.map_err(|e| Stop::edge(&OperationError::from(e)))?;
            marked.push(Marked { store: open.store.address(), owner: mark.owner, id: mark.id });
        }
    }
    if let (true, Some(group)) = (marked.is_empty(), group) {
        return Err(Stop::wrong(format!("\"{group}\" is no postgres group with dumps")));
    }
    session.output.answer(&All(marked))?;
    Ok(Exit::Well)
}

#[derive(Serialize)]
struct Marked {
    store: String,
    owner: String,
    id: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct All(Vec<Marked>);

impl Answer for All {
    fn text(&self, _: Look) -> String {
        let lines = self.0.iter().map(|m| format!("{} belongs to {}", m.store, m.owner));
        lines.collect::<Vec<_>>().join("\n")
    }
}
