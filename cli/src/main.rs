//! `holdfast`: the functions by hand, a gate for deployments, and what stands how and why.
//!
//! # Layout
//! - [`args`]: the command line; [`commands`]: a file for each command
//! - [`session`]: policy and clients; [`function`]: the functions by name, run as their Lambdas run them
//! - [`look`]: looking at everything
//! - [`recorded`]: what commands write into the record of operations
//! - [`stop`]: exit codes; [`interrupt`]: Ctrl-C
//! - [`output`]: the only file that writes to stdout; [`table`], [`words`]: what it writes; [`progress`]: life signs
//!
//! Time, ids and the environment come in here and nowhere else.

mod args;
mod backups;
mod commands;
mod function;
mod interrupt;
mod look;
mod output;
mod progress;
mod recorded;
mod scratches;
mod session;
mod stop;
mod table;
mod telling;
mod words;

use args::CliArgs;
use clap::Parser;
use interrupt::InterruptSignal;
use jiff::Timestamp;
use session::CommandEnv;
use std::{env, process::ExitCode};
use stop::CommandExit;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = match CliArgs::try_parse() {
        Ok(args) => args,
        Err(e) => {
            // Help and version are answers; anything else is a wrong command line.
            let _ = e.print();
            if e.use_stderr() && commands::wal::is_fetch_command(env::args()) {
                return commands::wal::fetch_failure_exit().into();
            }
            return if e.use_stderr() { CommandExit::UsageError } else { CommandExit::Success }
                .into();
        }
    };
    if args.global.verbose {
        init_tracing();
    }
    let wal = match &args.command {
        args::CliCommand::Wal(command) => Some(command),
        _ => None,
    };
    let fetches = matches!(wal, Some(args::wal::WalCommand::Fetch(_)));
    if fetches {
        // A panic's own code is one that PostgreSQL takes for the end of the WAL.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            hook(panic);
            std::process::exit(i32::from(commands::wal::fetch_failure_exit() as u8));
        }));
    }
    #[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
    let clock = Timestamp::now;
    let now = clock();
    let run = run_id(now, std::process::id());
    let edge = CommandEnv {
        now,
        request_id: ci_request_id(|name| env::var(name).ok()).unwrap_or_else(|| run.clone()),
        run_id: run,
        user: current_user(|name| env::var(name).ok()),
        attempts: env::var("AWS_MAX_ATTEMPTS").ok().and_then(|n| n.parse().ok()),
        region: env_region(|name| env::var(name).ok()),
        interrupt: InterruptSignal::listen(),
        clock,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(commands::run_command(&args, &edge));
        // A look-up of a name that hangs must not hold up the end.
        runtime.shutdown_background();
        ended
    });
    let exit = match ended {
        Ok(exit) => exit,
        Err(e) => {
            output::print_stderr(&format!("holdfast: {e:#}"));
            match CommandExit::from_error(&e) {
                // Ended from outside, as PostgreSQL ends its children: 128 and SIGTERM.
                CommandExit::Interrupted if fetches => return ExitCode::from(143),
                _ if fetches => commands::wal::fetch_failure_exit(),
                // PostgreSQL counts a failed archive_command, and asks again, only up to 125.
                CommandExit::Interrupted if wal.is_some() => CommandExit::Failed,
                exit => exit,
            }
        }
    };
    exit.into()
}

/// An id for this run: in every log line, and in the tags of what a demand makes.
fn run_id(now: Timestamp, process: u32) -> String {
    format!("{:x}-{process:x}", now.as_nanosecond())
}

/// Who asks: what `sudo` hides is the person that matters.
fn current_user(var: impl Fn(&str) -> Option<String>) -> String {
    let some = |name| var(name).filter(|v| !v.is_empty());
    some("SUDO_USER").or_else(|| some("USER")).unwrap_or_else(|| "unknown".into())
}

/// The region of the environment, under both of the names that AWS's tools know.
fn env_region(var: impl Fn(&str) -> Option<String>) -> Option<String> {
    let some = |name| var(name).filter(|v| !v.is_empty());
    some("AWS_REGION").or_else(|| some("AWS_DEFAULT_REGION"))
}

/// The pipeline's own name for this try, so that the same job asked again continues instead of starting anew.
fn ci_request_id(var: impl Fn(&str) -> Option<String>) -> Option<String> {
    let some = |name| var(name).filter(|v| !v.is_empty());
    Some(format!("{}-{}", some("GITHUB_RUN_ID")?, some("GITHUB_RUN_ATTEMPT")?))
}

/// The Lambdas' own log lines, on stderr.
fn init_tracing() {
    let ours = "holdfast,shared,snapshot,offsite,freshness,replication,retention,dump,archive,postgres,store,restore,wal,report,notify,secrets";
    let ours: Vec<_> = ours.split(',').map(|name| format!("{name}=info")).collect();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::new(format!("warn,{}", ours.join(","))))
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipelines_try_names_the_demand_and_half_a_name_is_none() {
        let github = |name: &str| match name {
            "GITHUB_RUN_ID" => Some("1234".to_owned()),
            "GITHUB_RUN_ATTEMPT" => Some("2".to_owned()),
            _ => None,
        };
        assert_eq!(ci_request_id(github).as_deref(), Some("1234-2"));
        assert_eq!(ci_request_id(|_| None), None);
        assert_eq!(ci_request_id(|n| (n == "GITHUB_RUN_ID").then(|| "1".into())), None);
    }

    #[test]
    fn two_runs_have_two_ids() {
        let at = |s: &str| s.parse::<Timestamp>().expect("a time");
        assert_ne!(run_id(at("2026-11-20T12:00:00Z"), 7), run_id(at("2026-11-20T12:00:00Z"), 8));
        assert_ne!(
            run_id(at("2026-11-20T12:00:00Z"), 7),
            run_id(at("2026-11-20T12:00:00.000001Z"), 7)
        );
    }
}
