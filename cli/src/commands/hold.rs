//! `holdfast hold` and `holdfast release`: a dump that nobody may delete.

use crate::{
    backups::one,
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
};
use serde::Serialize;
use shared::{catalog::Place, secret::Secrets};
use store::Hold;

/// What was done to a dump.
#[derive(Serialize)]
struct Held {
    backup: String,
    held: bool,
}

impl Answer for Held {
    fn text(&self, _: Look) -> String {
        if self.held {
            format!("{} is held: nothing deletes it", self.backup)
        } else {
            format!("{} is released: the policy's rules decide again", self.backup)
        }
    }
}

/// Holds a dump.
pub(super) async fn hold(session: &Session<'_>, backup: &str, why: &str) -> anyhow::Result<Exit> {
    let home = Place::home(&session.policy);
    let secrets = Secrets::new(&session.aws, &home);
    let item = one(session, &secrets, backup, None).await?;
    let hold = Hold { why: why.to_owned(), since: session.edge.now, by: session.edge.user.clone() };
    let done = item.open.store.hold(&item.backup.key, &hold).await;
    done.map_err(|e| Stop::edge(&e.into()))?;
    session.output.answer(&Held { backup: item.backup.key, held: true })?;
    Ok(Exit::Well)
}

/// Takes a hold away.
pub(super) async fn release(session: &Session<'_>, backup: &str) -> anyhow::Result<Exit> {
    let home = Place::home(&session.policy);
    let secrets = Secrets::new(&session.aws, &home);
    let item = one(session, &secrets, backup, None).await?;
    let released = item.open.store.release(&item.backup.key).await;
    released.map_err(|e| Stop::edge(&e.into()))?;
    session.output.answer(&Held { backup: item.backup.key, held: false })?;
    Ok(Exit::Well)
}
