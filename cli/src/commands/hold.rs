//! `holdfast hold` and `holdfast release`: a dump that nobody may delete.

use crate::{
    backups::find_backup,
    output::CommandOutput,
    recorded,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use serde::Serialize;
use shared::plan::Operation;
use shared::{audit::AuditEntry, signing::SigningAuthor};
use storage::LegalHold;

/// What was done to a dump.
#[derive(Serialize)]
struct HoldOutput {
    backup: String,
    is_held: bool,
}

impl CommandOutput for HoldOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        if self.is_held {
            format!("{} is held: nothing deletes it", self.backup)
        } else {
            format!("{} is released: the policy's rules decide again", self.backup)
        }
    }
}

/// Holds a dump.
pub(super) async fn add_hold(
    session: &CommandContext<'_>,
    backup: &str,
    why: &str,
) -> anyhow::Result<CommandExit> {
    let secrets = session.secret_resolver();
    let item = find_backup(session, &secrets, backup, None).await?;
    let hold =
        LegalHold { why: why.to_owned(), since: session.env.now, by: session.env.user.clone() };
    let author = SigningAuthor::from_policy(&session.policy, &secrets)
        .await
        .map_err(|e| CommandError::from_data_error(&e))?;
    let done = item.location.store.add_legal_hold(&item.backup.key, &hold, &author).await;
    let entry =
        recorded::backup_entry(&item, (Operation::Other, "hold"), format!("it is held: {why}"));
    let exit = record_result(session, "hold", entry, done.as_ref().err()).await;
    done.map_err(|e| CommandError::from_operation_error(&e.into()))?;
    session.output.print_output(&HoldOutput { backup: item.backup.key, is_held: true })?;
    Ok(exit)
}

/// Takes a hold away.
pub(super) async fn remove_hold(
    session: &CommandContext<'_>,
    backup: &str,
) -> anyhow::Result<CommandExit> {
    let secrets = session.secret_resolver();
    let item = find_backup(session, &secrets, backup, None).await?;
    let released = item.location.store.remove_legal_hold(&item.backup.key).await;
    let entry = recorded::backup_entry(
        &item,
        (Operation::Other, "release"),
        "the policy's rules decide again",
    );
    let exit = record_result(session, "release", entry, released.as_ref().err()).await;
    released.map_err(|e| CommandError::from_operation_error(&e.into()))?;
    session.output.print_output(&HoldOutput { backup: item.backup.key, is_held: false })?;
    Ok(exit)
}

/// Records what became of it.
async fn record_result(
    session: &CommandContext<'_>,
    by: &str,
    entry: AuditEntry,
    refused: Option<&storage::StoreError>,
) -> CommandExit {
    let entry = match refused {
        None => entry,
        Some(e) => recorded::failed_entry(entry, e.to_string()),
    };
    recorded::append_audit_entries(session, by, vec![entry], CommandExit::Success).await
}
