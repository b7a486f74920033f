//! The commands, a file for each.

mod alarms;
mod audit;
mod drill;
mod dump;
mod explain;
mod gate;
mod hold;
mod key;
mod list;
mod monitor;
mod notify;
mod page;
mod plan;
mod policy;
mod redis;
mod report;
mod restore;
mod run;
mod secrets;
mod simulate;
mod status;
mod store;
pub(crate) mod verify;
pub(crate) mod wal;

use crate::{
    args::{CliArgs, CliCommand},
    session::{CommandContext, CommandEnv, RetryProfile},
    stop::CommandExit,
};

/// Does what the command line says.
///
/// # Errors
/// If it can't: the error knows its exit code.
pub(crate) async fn run_command(args: &CliArgs, edge: &CommandEnv) -> anyhow::Result<CommandExit> {
    let CliArgs { global, command } = args;
    // The futures of the SDK are large: they live on the heap.
    let open = |patience| Box::pin(CommandContext::open(global, edge, patience));
    let interrupt = &edge.interrupt;
    match command {
        CliCommand::Policy(command) => {
            interrupt.run_until_interrupted(Box::pin(policy::run(global, edge, command))).await
        }
        CliCommand::Simulate(args) => {
            interrupt.run_until_interrupted(Box::pin(simulate::run(global, edge, args))).await
        }
        CliCommand::Status => {
            interrupt
                .run_until_interrupted(Box::pin(async {
                    status::run(&open(RetryProfile::Interactive).await?).await
                }))
                .await
        }
        CliCommand::Plan { functions } => {
            interrupt
                .run_until_interrupted(Box::pin(async {
                    plan::run(&open(RetryProfile::Interactive).await?, functions).await
                }))
                .await
        }
        CliCommand::Explain { asset } => {
            interrupt
                .run_until_interrupted(Box::pin(async {
                    Box::pin(explain::run(&open(RetryProfile::Interactive).await?, asset)).await
                }))
                .await
        }
        CliCommand::Notify(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            interrupt.run_until_interrupted(Box::pin(notify::run(&session, args))).await
        }
        CliCommand::Monitor(args) => Box::pin(monitor::run(global, edge, args)).await,
        CliCommand::Report(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            interrupt.run_until_interrupted(Box::pin(page::run(&session, args))).await
        }
        CliCommand::Alarms => {
            interrupt
                .run_until_interrupted(Box::pin(async {
                    alarms::run(&open(RetryProfile::Interactive).await?).await
                }))
                .await
        }
        CliCommand::Audit(command) => {
            interrupt
                .run_until_interrupted(Box::pin(async {
                    audit::run(&open(RetryProfile::Host).await?, command).await
                }))
                .await
        }
        CliCommand::Dump(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            Box::pin(dump::run(&session, args)).await
        }
        CliCommand::Redis(command) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            Box::pin(redis::run(&session, command)).await
        }
        CliCommand::List { target: of } => {
            interrupt
                .run_until_interrupted(Box::pin(async {
                    list::run(&open(RetryProfile::Host).await?, of.as_deref()).await
                }))
                .await
        }
        CliCommand::Verify(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            Box::pin(verify::run(&session, args)).await
        }
        CliCommand::Restore(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            if let Some(data) = &args.recovery.target_dir {
                let policy = &global.policy;
                let restoring = Box::pin(wal::run_restore(&session, policy, args, data));
                return interrupt.run_until_interrupted(restoring).await;
            }
            Box::pin(restore::run(&session, args)).await
        }
        CliCommand::Drill(command) => Box::pin(drill::run(global, edge, command)).await,
        CliCommand::Store(command) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            interrupt.run_until_interrupted(Box::pin(store::run(&session, command))).await
        }
        CliCommand::Wal(command) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            let running = Box::pin(wal::run(&session, &global.policy, command));
            if matches!(command, crate::args::wal::WalCommand::Receive(_)) {
                return running.await; // a signal is how it ends, and no failure
            }
            interrupt.run_until_interrupted(running).await
        }
        CliCommand::Basebackup(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            interrupt.run_until_interrupted(Box::pin(wal::run_basebackup(&session, args))).await
        }
        CliCommand::Key(command) => {
            interrupt.run_until_interrupted(Box::pin(key::run(global, edge, command))).await
        }
        CliCommand::Secrets(command) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Batch)).await?;
            interrupt.run_until_interrupted(Box::pin(secrets::run(&session, command))).await
        }
        CliCommand::Hold { backup, reason } => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            Box::pin(hold::add_hold(&session, backup, reason)).await
        }
        CliCommand::Release { backup } => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Host)).await?;
            Box::pin(hold::remove_hold(&session, backup)).await
        }
        CliCommand::Run(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Batch)).await?;
            Box::pin(run::run(&session, args)).await
        }
        CliCommand::Gate(args) => {
            let session = interrupt.run_until_interrupted(open(RetryProfile::Batch)).await?;
            Box::pin(gate::run(&session, args)).await
        }
    }
}
