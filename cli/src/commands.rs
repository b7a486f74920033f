//! The commands, a file for each.

mod alarms;
mod audit;
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
mod report;
mod restore;
mod run;
mod status;
mod store;
pub(crate) mod verify;

use crate::{
    args::{Args, Command},
    session::{Edge, Patience, Session},
    stop::Exit,
};

/// Does what the command line says.
///
/// # Errors
/// If it can't: the error knows its exit code.
pub(crate) async fn run(args: &Args, edge: &Edge) -> anyhow::Result<Exit> {
    let Args { global, command } = args;
    // The futures of the SDK are large: they live on the heap.
    let open = |patience| Box::pin(Session::open(global, edge, patience));
    let interrupt = &edge.interrupt;
    match command {
        Command::Policy(command) => {
            interrupt.or(Box::pin(policy::run(global, edge, command))).await
        }
        Command::Status => {
            interrupt
                .or(Box::pin(async { status::run(&open(Patience::Answer).await?).await }))
                .await
        }
        Command::Plan { functions } => {
            interrupt
                .or(Box::pin(async { plan::run(&open(Patience::Answer).await?, functions).await }))
                .await
        }
        Command::Explain { asset } => {
            interrupt
                .or(Box::pin(async {
                    Box::pin(explain::run(&open(Patience::Answer).await?, asset)).await
                }))
                .await
        }
        Command::Notify(args) => {
            let session = interrupt.or(open(Patience::Host)).await?;
            interrupt.or(Box::pin(notify::run(&session, args))).await
        }
        Command::Monitor(args) => Box::pin(monitor::run(global, edge, args)).await,
        Command::Report(args) => {
            let session = interrupt.or(open(Patience::Host)).await?;
            interrupt.or(Box::pin(page::run(&session, args))).await
        }
        Command::Alarms => {
            interrupt
                .or(Box::pin(async { alarms::run(&open(Patience::Answer).await?).await }))
                .await
        }
        Command::Audit(command) => {
            interrupt
                .or(Box::pin(async { audit::run(&open(Patience::Host).await?, command).await }))
                .await
        }
        Command::Dump(args) => {
            let session = interrupt.or(open(Patience::Host)).await?;
            Box::pin(dump::run(&session, args)).await
        }
        Command::List { of } => {
            interrupt
                .or(Box::pin(async {
                    list::run(&open(Patience::Host).await?, of.as_deref()).await
                }))
                .await
        }
        Command::Verify(args) => {
            let session = interrupt.or(open(Patience::Host)).await?;
            Box::pin(verify::run(&session, args)).await
        }
        Command::Restore(args) => {
            let session = interrupt.or(open(Patience::Host)).await?;
            Box::pin(restore::run(&session, args)).await
        }
        Command::Store(command) => {
            let session = interrupt.or(open(Patience::Host)).await?;
            interrupt.or(Box::pin(store::run(&session, command))).await
        }
        Command::Key(command) => key::run(global, command),
        Command::Hold { backup, why } => {
            let session = interrupt.or(open(Patience::Host)).await?;
            Box::pin(hold::hold(&session, backup, why)).await
        }
        Command::Release { backup } => {
            let session = interrupt.or(open(Patience::Host)).await?;
            Box::pin(hold::release(&session, backup)).await
        }
        Command::Run(args) => {
            let session = interrupt.or(open(Patience::Work)).await?;
            Box::pin(run::run(&session, args)).await
        }
        Command::Gate(args) => {
            let session = interrupt.or(open(Patience::Work)).await?;
            Box::pin(gate::run(&session, args)).await
        }
    }
}
