//! The commands, a file for each.

mod alarms;
mod explain;
mod gate;
mod plan;
mod policy;
mod report;
mod run;
mod status;

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
                .or(Box::pin(async { explain::run(&open(Patience::Answer).await?, asset).await }))
                .await
        }
        Command::Alarms => {
            interrupt
                .or(Box::pin(async { alarms::run(&open(Patience::Answer).await?).await }))
                .await
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
