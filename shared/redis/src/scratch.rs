//! A server of our own that loads an RDB file, for a test of it: on a Unix socket in a folder that goes away.

use crate::{RedisAddress, RedisConfig, RedisError, RedisErrorKind};
use facts::RedisFamily;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// A server that has not loaded its file by then never will.
const LOAD_TIMEOUT: Duration = Duration::from_mins(30);
/// A new append-only file is a rewrite of all data.
const REWRITE_TIMEOUT: Duration = Duration::from_mins(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The socket's name: within a folder of temporary files its path stays under the 107 bytes that Unix allows.
const SOCKET: &str = "s";

/// How a scratch server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScratchMode {
    /// It keeps keys whose time to live is over, as a replica does, so that every key of the file is counted.
    CountAllKeys,
    /// It loads as a primary does.
    Primary,
}

/// A running scratch server; killed when it is dropped.
#[derive(Debug)]
pub struct ScratchRedis {
    child: Child,
    config: RedisConfig,
    _socket_folder: tempfile::TempDir,
}

/// The server program for a file: of the same family and not older than who wrote it.
///
/// # Errors
/// If there is none in PATH.
pub fn find_server_program(
    family: RedisFamily,
    version: &str,
    path: Option<&std::ffi::OsStr>,
) -> Result<PathBuf, RedisError> {
    let name = family.server_program();
    let folders = path.map(|p| std::env::split_paths(p).collect::<Vec<_>>()).unwrap_or_default();
    let none = |why: String| {
        let doing = format!("find a server that loads a file of {family} {version}");
        let hint = format!("install {name} {version} or newer, and put it into PATH");
        RedisError::new(RedisErrorKind::Refused, doing, why, hint)
    };
    let mut older = None;
    for program in folders.iter().map(|f| f.join(name)).filter(|p| p.is_file()) {
        match program_version(&program) {
            Some(found) if version_order(&found) >= version_order(version) => return Ok(program),
            Some(found) => older = Some(found),
            None => {}
        }
    }
    Err(none(match older {
        Some(found) => format!("{name} here is {found}"),
        None => format!("{name} is not in PATH"),
    }))
}

/// `Redis server v=7.0.15 sha=...`: the version.
fn program_version(program: &Path) -> Option<String> {
    let out = std::process::Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.strip_prefix("v=").map(str::to_owned))
}

/// Major and minor number: what a server's format depends on.
fn version_order(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl ScratchRedis {
    /// Starts a server whose data is `dump.rdb` in this folder, and waits until that is loaded.
    ///
    /// # Errors
    /// [`RedisErrorKind::Damaged`] with the server's own words when it does not take the file.
    pub async fn start(
        program: &Path,
        folder: &Path,
        mode: ScratchMode,
    ) -> Result<Self, RedisError> {
        let doing = format!("start {}", program.display());
        let failed = |e: &std::io::Error| {
            RedisError::new(RedisErrorKind::Refused, doing.clone(), e.to_string(), "")
        };
        let socket_folder = tempfile::Builder::new().prefix("hf-redis-").tempdir();
        let socket_folder = socket_folder.map_err(|e| failed(&e))?;
        let socket = socket_folder.path().join(SOCKET);
        let log = socket_folder.path().join("log");
        let mut command = Command::new(program);
        command.args([
            "--port",
            "0",
            "--unixsocketperm",
            "700",
            "--appendonly",
            "no",
            "--save",
            "",
        ]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(folder);
        command.arg("--logfile").arg(&log);
        if mode == ScratchMode::CountAllKeys {
            // A replica of nobody: port 1 takes no connections, and nothing is asked of it but to be away.
            command.args(["--replicaof", "127.0.0.1", "1"]);
        }
        // Its environment has nothing of ours.
        command.env_clear();
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().map_err(|e| failed(&e))?;
        let config = RedisConfig {
            address: RedisAddress::Unix(socket),
            user: None,
            password: None,
            tls: false,
            ca: None,
        };
        let mut server = Self { child, config, _socket_folder: socket_folder };
        server.wait_until_loaded(&log).await?;
        Ok(server)
    }

    async fn wait_until_loaded(&mut self, log: &Path) -> Result<(), RedisError> {
        let began = Instant::now();
        let doing = "load the RDB file into a scratch server";
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                let why = last_words(log);
                return Err(RedisError::new(RedisErrorKind::Damaged, doing, why, ""));
            }
            if let Ok(mut client) = self.config.connect().await
                && let Ok(info) = client.info().await
                && !info.is_set("loading")
            {
                return Ok(());
            }
            if began.elapsed() > LOAD_TIMEOUT {
                let why = "it did not come to its end";
                return Err(RedisError::new(RedisErrorKind::Busy, doing, why, ""));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Keys of each database that is not empty, as the server counts them.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn key_counts(&self) -> Result<BTreeMap<u64, u64>, RedisError> {
        let mut client = self.config.connect().await?;
        let info = client.info().await?;
        Ok(info.keyspace())
    }

    /// Has the server write its data as an append-only file beside `dump.rdb`, and waits until it is whole.
    ///
    /// # Errors
    /// If the server fails at that.
    pub async fn write_append_only_file(&self) -> Result<(), RedisError> {
        let mut client = self.config.connect().await?;
        client.command(&["CONFIG", "SET", "appendonly", "yes"]).await?;
        let began = Instant::now();
        loop {
            let info = client.info().await?;
            let busy =
                info.is_set("aof_rewrite_in_progress") || info.is_set("aof_rewrite_scheduled");
            let good = info.text("aof_last_bgrewrite_status") == Some("ok");
            if !busy && good && info.is_set("aof_enabled") {
                return Ok(());
            }
            if (!busy && !good) || began.elapsed() > REWRITE_TIMEOUT {
                let why = "the server could not write it";
                return Err(RedisError::new(
                    RedisErrorKind::Refused,
                    "write the append-only file",
                    why,
                    "look for free disk space",
                ));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops it. Its data stays as it is.
    pub async fn stop(mut self) {
        if let Ok(mut client) = self.config.connect().await {
            // The answer is a closed connection.
            let _ = client.command(&["SHUTDOWN", "NOSAVE"]).await;
        }
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Why the server ended: the last lines of its log that say something is wrong.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    // `12:M 27 Nov 2026 14:00:00.000 # Can't handle RDB format version 12`
    let said = text.lines().filter_map(|l| l.split_once(" # ").map(|(_, said)| said.trim()));
    let said: Vec<&str> =
        said.filter(|s| !s.starts_with("WARNING") && !s.contains("oO0O")).collect();
    let last: Vec<&str> = said.iter().rev().take(3).rev().copied().collect();
    if last.is_empty() { "it ended without a word".into() } else { last.join("; ") }
}
