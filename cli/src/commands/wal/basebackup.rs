//! `holdfast basebackup`: a whole server, into its WAL archive.

use super::{Access, open_repository, select_group};
use crate::{
    args::wal::BaseBackupArgs,
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::format_size,
};
use dump::means;
use serde::Serialize;
use storage::TrustPolicy;
use wal::backup::{BaseBackupOptions, BaseBackupRecord, take_base_backup};

/// Takes one, and shows its record.
pub(crate) async fn run(
    session: &CommandContext<'_>,
    args: &BaseBackupArgs,
) -> anyhow::Result<CommandExit> {
    let (name, rules, config) = select_group(session, args.group.as_deref())?;
    let secrets = session.secret_resolver();
    let failed = |e: wal::WalError| CommandError::from_wal_error(&e);
    let repository =
        open_repository(session, &secrets, rules, config, Access::Write).await.map_err(failed)?;
    let trust = TrustPolicy::from_policy(&session.policy, rules, session.env.now);
    repository.ensure_owned(&trust, session.env.now).await.map_err(failed)?;
    let world = session.dry_run_context();
    let server = means::connect_config(&world, &secrets, rules).await;
    let server = server.map_err(|e| CommandError::from_data_error(&e))?;
    let options = BaseBackupOptions {
        group: name.to_string(),
        fast_checkpoint: !args.spread,
        wal_timeout: args.wal_timeout.duration().try_into().unwrap_or_default(),
        clock: session.env.clock,
    };
    let taking = Box::pin(take_base_backup(&repository, &server, &options));
    let record =
        session.progress.with_spinner("taking a base backup", taking).await.map_err(failed)?;
    session.output.print_output(&BaseBackupOutput(record))?;
    Ok(CommandExit::Success)
}

#[derive(Serialize)]
#[serde(transparent)]
struct BaseBackupOutput(BaseBackupRecord);

impl CommandOutput for BaseBackupOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let r = &self.0;
        let stored = r.archives.iter().map(|a| a.digests.stored.bytes).sum::<u64>();
        format!(
            "base backup {} of {}: timeline {}, {} to {}, {} stored",
            r.label,
            r.group,
            r.timeline,
            r.start_lsn,
            r.stop_lsn,
            format_size(i64::try_from(stored).unwrap_or(i64::MAX))
        )
    }
}
