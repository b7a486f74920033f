//! `holdfast monitor`: what stands how, for Prometheus.
//!
//! It looks as `holdfast status` looks, now and then, and answers each scrape at once from the last look. A look that
//! fails leaves what was seen growing older, and health at 0: what is served is never better than what is known.
//!
//! - [`board`]: what is served, and how; [`serve`]: by whom

mod board;
mod serve;

use super::status::StatusOutput;
use crate::{
    args::{GlobalArgs, MonitorArgs},
    look, output,
    session::{CommandContext, CommandEnv, RetryProfile},
    stop::CommandExit,
};
use anyhow::Context;
use board::{MonitorScan, MonitorState};
use freshness::ChecksumCache;
use jiff::SignedDuration;
use std::{
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, time::Instant};

/// How often is looked where nobody says it.
const DEFAULT_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// What is served, for whoever asks.
type SharedMonitorState = Arc<Mutex<MonitorState>>;

/// Looks and serves until it is stopped, or once.
pub(super) async fn run(
    global: &GlobalArgs,
    edge: &CommandEnv,
    args: &MonitorArgs,
) -> anyhow::Result<CommandExit> {
    let session = Box::pin(CommandContext::open(global, edge, RetryProfile::Host)).await?;
    let policy = session.policy.clone();
    drop(session);
    let every = args.every.as_ref().or(policy.monitor.every.as_ref());
    let every = every.map_or(DEFAULT_INTERVAL, shared::policy::text::Period::duration);
    let prefix = policy.monitor.prefix.as_ref().map(|p| p.as_str().to_owned());
    let board: SharedMonitorState =
        Arc::new(Mutex::new(MonitorState::new(policy.company.to_string(), every, prefix)));
    let memory = ChecksumCache::default();
    let look = async |n: usize| refresh_state(global, edge, n, &board, &memory).await;
    if args.once {
        let once = async {
            look(0).await;
            Ok(())
        };
        edge.interrupt.run_until_interrupted(once).await?;
        return print_metrics(edge, args, &board);
    }
    let listening = if args.serve.is_some() || args.textfile.is_none() {
        let named = args.serve.clone().flatten().or(policy.monitor.listen.clone());
        let address = named.map_or(([127, 0, 0, 1], 9090).into(), |l| l.address());
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listen on {address}"))?;
        output::print_stderr(&format!(
            "holdfast: serving http://{}/metrics",
            listener.local_addr()?
        ));
        Some(listener)
    } else {
        None
    };
    let looks = async {
        let mut next = Instant::now();
        for n in 0.. {
            look(n).await;
            if let Some(path) = &args.textfile
                && let Err(e) = write_atomically(path, &render_metrics(&board, edge))
            {
                output::print_stderr(&format!("holdfast: {e:#}"));
            }
            // A look that took longer than the time between two is followed by the next at once.
            next = (next + Duration::try_from(every).unwrap_or_default()).max(Instant::now());
            tokio::time::sleep_until(next).await;
        }
    };
    let stop = edge.interrupt.received();
    let serving = async {
        match listening {
            Some(listener) => serve::serve_until(stop, listener, board.clone(), edge.clock).await,
            None => stop.await,
        }
    };
    // Looks have no end.
    tokio::select! {
        () = looks => {}
        () = serving => {}
    }
    Ok(CommandExit::Success)
}

/// One look, on the board.
async fn refresh_state(
    global: &GlobalArgs,
    edge: &CommandEnv,
    n: usize,
    board: &SharedMonitorState,
    memory: &ChecksumCache,
) {
    let edge = edge.for_next_run((edge.clock)(), n);
    let began = Instant::now();
    // A store that hangs must not keep the next look from trying.
    let limit = Duration::from_hours(6);
    let seen = tokio::time::timeout(limit, Box::pin(collect_status(global, &edge, memory))).await;
    let seen = seen.unwrap_or_else(|_| Err(anyhow::anyhow!("it did not end in 6 hours")));
    if let Err(e) = &seen {
        output::print_stderr(&format!("holdfast: the look failed: {e:#}"));
    }
    let seconds = began.elapsed().as_secs_f64();
    let seen =
        seen.map(|(status, values)| MonitorScan { started_at: edge.now, seconds, status, values });
    board.lock().unwrap_or_else(PoisonError::into_inner).record_scan(seen.ok());
}

/// How everything stands now. The policy is read anew, so that what is judged is what holds.
async fn collect_status(
    global: &GlobalArgs,
    edge: &CommandEnv,
    memory: &ChecksumCache,
) -> anyhow::Result<(StatusOutput, Vec<shared::metrics::MetricValue>)> {
    let session = Box::pin(CommandContext::open(global, edge, RetryProfile::Host)).await?;
    let world = session.dry_run_context();
    let mut reports = Box::pin(look::run_all_checks(&world, Some(memory))).await;
    look::ensure_something_observed(&world, &reports)?;
    let values = reports.iter_mut().flat_map(|r| std::mem::take(&mut r.values)).collect();
    Ok((StatusOutput::new(&session.policy, edge.now, reports), values))
}

fn render_metrics(board: &SharedMonitorState, edge: &CommandEnv) -> String {
    board.lock().unwrap_or_else(PoisonError::into_inner).to_prometheus((edge.clock)())
}

/// Prints or writes what one look saw; it is a check of its own.
fn print_metrics(
    edge: &CommandEnv,
    args: &MonitorArgs,
    board: &SharedMonitorState,
) -> anyhow::Result<CommandExit> {
    let text = render_metrics(board, edge);
    match &args.textfile {
        Some(path) => write_atomically(path, &text)?,
        None => output::print_stdout(&text)?,
    }
    let well = board.lock().unwrap_or_else(PoisonError::into_inner).is_healthy((edge.clock)());
    Ok(if well { CommandExit::Success } else { CommandExit::Failed })
}

/// Writes a file whole or not at all: readers see the old one or the new one.
fn write_atomically(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replace = || -> std::io::Result<()> {
        // A name that nobody can guess and take before, not ending with `.prom`: the collector reads all that do.
        let mut file =
            tempfile::Builder::new().prefix(".holdfast-").suffix(".new").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        // Readable for the collector, whatever the umask.
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    replace().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_readable_for_the_collector_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("holdfast.prom");
        // The name that could once be guessed: what another user puts there is neither followed nor written.
        let guessed = folder.path().join(format!(".holdfast.prom.{}", std::process::id()));
        std::os::unix::fs::symlink(folder.path().join("victim"), &guessed).expect("a link");
        write_atomically(&path, "one\n").expect("written");
        write_atomically(&path, "two\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "two\n");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert!(!folder.path().join("victim").exists());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
        assert!(write_atomically(&folder.path().join("none/x.prom"), "x").is_err());
    }
}
