//! `holdfast wal receive`: WAL as it is written.

use super::{Access, open_repository, select_group};
use crate::{
    args::wal::WalReceiveArgs,
    output,
    session::CommandContext,
    stop::{CommandError, CommandExit},
};
use dump::means;
use std::time::Duration;
use storage::TrustPolicy;
use wal::receive::{ReceiveOptions, is_slot_name, receive_wal};

/// What the server shows as `application_name`: never one that `synchronous_standby_names` names by accident.
const APPLICATION: &str = "holdfast_wal_receive";

/// Receives until a signal comes, or somebody must look.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &WalReceiveArgs,
) -> anyhow::Result<CommandExit> {
    let (_, rules, config) = select_group(session, args.group.as_deref())?;
    if !is_slot_name(&args.slot) {
        let why = "a slot's name has a-z, 0-9 and _, and at most 63 of them";
        return Err(CommandError::usage(format!("--slot {}: {why}", args.slot)));
    }
    let interval = Duration::try_from(args.every.duration()).unwrap_or_default();
    if interval.is_zero() {
        return Err(CommandError::usage("--every must be more than 0"));
    }
    let secrets = session.secret_resolver();
    let failed = |e: wal::WalError| CommandError::from_wal_error(&e);
    let repository =
        open_repository(session, &secrets, rules, config, Access::Write).await.map_err(failed)?;
    let trust = TrustPolicy::from_policy(&session.policy, rules, session.env.now);
    repository.ensure_owned(&trust, session.env.now).await.map_err(failed)?;
    let world = session.dry_run_context();
    let server = means::connect_config(&world, &secrets, rules).await;
    let mut server = server.map_err(|e| CommandError::from_data_error(&e))?;
    server.application = APPLICATION.into();
    let options = ReceiveOptions {
        slot: args.slot.clone(),
        interval,
        spool: args.spool.clone().unwrap_or_else(std::env::temp_dir),
        clock: session.env.clock,
        report: |line| output::print_stderr(&format!("holdfast: {line}")),
    };
    // Stopped at any moment, nothing is lost that the server was told of.
    tokio::select! {
        received = Box::pin(receive_wal(repository, &server, &options)) => {
            let Err(e) = received;
            Err(failed(e))
        }
        () = session.env.interrupt.received() => Ok(CommandExit::Success),
    }
}
