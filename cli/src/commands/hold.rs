//! `holdfast hold` and `holdfast release`: a dump that nobody may delete.

use crate::{
    backups::one,
    output::Answer,
    recorded,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
};
use serde::Serialize;
use shared::plan::Operation;
use shared::{audit::AuditEntry, signing::SigningAuthor};
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
    let secrets = session.secrets();
    let item = one(session, &secrets, backup, None).await?;
    let hold = Hold { why: why.to_owned(), since: session.edge.now, by: session.edge.user.clone() };
    let author = SigningAuthor::from_policy(&session.policy, &secrets).await.map_err(|e| Stop::data(&e))?;
    let done = item.open.store.hold(&item.backup.key, &hold, &author).await;
    let entry = recorded::of(&item, (Operation::Other, "hold"), format!("it is held: {why}"));
    let exit = tell(session, "hold", entry, done.as_ref().err()).await;
    done.map_err(|e| Stop::edge(&e.into()))?;
    session.output.answer(&Held { backup: item.backup.key, held: true })?;
    Ok(exit)
}

/// Takes a hold away.
pub(super) async fn release(session: &Session<'_>, backup: &str) -> anyhow::Result<Exit> {
    let secrets = session.secrets();
    let item = one(session, &secrets, backup, None).await?;
    let released = item.open.store.release(&item.backup.key).await;
    let entry =
        recorded::of(&item, (Operation::Other, "release"), "the policy's rules decide again");
    let exit = tell(session, "release", entry, released.as_ref().err()).await;
    released.map_err(|e| Stop::edge(&e.into()))?;
    session.output.answer(&Held { backup: item.backup.key, held: false })?;
    Ok(exit)
}

/// Records what became of it.
async fn tell(
    session: &Session<'_>,
    by: &str,
    entry: AuditEntry,
    refused: Option<&store::Error>,
) -> Exit {
    let entry = match refused {
        None => entry,
        Some(e) => recorded::failed(entry, e.to_string()),
    };
    recorded::record(session, by, vec![entry], Exit::Well).await
}
