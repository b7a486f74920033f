//! A PostgreSQL of our own for test restores: made in a temporary folder, reached by a Unix socket alone, and gone with
//! the process that made it, however that ends.
//!
//! A small shell keeps it: when its standard input closes, because this process closed it or is dead, it stops the server
//! and removes the folder. What even that left behind (a machine that lost power) is found by [`sweep`] by the lock that
//! nobody holds.

use crate::{
    ConnectionConfig, PostgresError, PostgresErrorKind, TlsMode,
    tools::{self, ServerPrograms},
};
use secrecy::{ExposeSecret as _, SecretString};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};

/// What the names of the folders begin with.
const DIR_PREFIX: &str = "holdfast-scratch-";

/// Its superuser.
const ADMIN_ROLE: &str = "holdfast_scratch";

/// Time for `initdb` and the start.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// The longest path of a Unix socket, with the zero at its end.
const MAX_SOCKET_PATH_BYTES: usize = 108;

/// Nobody's data: nothing is flushed, archived or sent. No subscription in a dump can start a worker.
const POSTGRESQL_CONF: &str = "
listen_addresses = ''
port = 5432
fsync = off
full_page_writes = off
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
archive_mode = off
max_logical_replication_workers = 0
autovacuum = off
max_connections = 60
max_locks_per_transaction = 1024
max_wal_size = '4GB'
lc_messages = 'C'
log_min_messages = fatal
log_min_error_statement = panic
";

/// Makes, starts and keeps the server; says `ready`, or why not.
const KEEPER_SCRIPT: &str = r#"
set -u
bin=$1 dir=$2 admin=$3
pid=
ended() {
    [ -z "$pid" ] || { kill -QUIT "$pid" 2> /dev/null; wait "$pid"; }
    rm -rf "$dir"
}
trap ended EXIT
# Who reads what is said here may be dead already.
trap '' PIPE
trap 'exit 1' HUP INT TERM
failed() { echo "$1: $(tail -n 3 "$dir/log" | tr '\n' ' ')"; exit 1; }
cd "$dir"
"$bin/initdb" -D data -U "$admin" --pwfile=password -A scram-sha-256 -E UTF8 --locale=C -N > log 2>&1 < /dev/null ||
    failed "initdb failed"
rm -f password
cat settings >> data/postgresql.conf
"$bin/postgres" -D data > log 2>&1 < /dev/null &
pid=$!
until "$bin/pg_isready" -q -h "$dir" -p 5432 < /dev/null; do
    kill -0 $pid 2> /dev/null || failed "it does not start"
    sleep 0.05
done
echo ready 2> /dev/null
exec >&-
read -r _
"#;

/// A running server.
#[derive(Debug)]
pub struct ScratchServer {
    server: ConnectionConfig,
    keeper: Child,
    /// Of its folder: shows others that its run lives.
    _lock: File,
}

impl ScratchServer {
    /// Starts one of the oldest version here that is not older than `version_num` (`150000`); the newest for 0. Its folder
    /// is made in `folder`.
    ///
    /// # Errors
    /// [`PostgresErrorKind::Tool`]: no fitting server is installed here, or it does not start.
    pub async fn start(version_num: u32, folder: &Path) -> Result<Self, PostgresError> {
        let programs = tools::server_programs(version_num)?;
        let failed = |e: &io::Error| {
            let doing = format!("make a folder for a scratch server in {}", folder.display());
            PostgresError { kind: PostgresErrorKind::Disk, ..PostgresError::from_io(doing, e) }
        };
        let who = unprivileged_ids();
        remove_orphaned_dirs(folder, who.map(|(uid, _)| uid));
        let (dir, lock) = create_locked_dir(folder).map_err(|e| failed(&e))?;
        if dir.as_os_str().len() + "/.s.PGSQL.5432".len() >= MAX_SOCKET_PATH_BYTES {
            let _ = fs::remove_dir(&dir);
            let why = "its path is too long for a Unix socket";
            return Err(failed(&io::Error::new(io::ErrorKind::InvalidFilename, why)));
        }
        let password =
            super::database::random_password().map_err(|e| failed(&io::Error::other(e)))?;
        write_config_files(&dir, &password, who).map_err(|e| failed(&e))?;
        match spawn_keeper(&programs, &dir, who).await {
            Ok(keeper) => Ok(Self {
                server: build_admin_config(&programs, &dir, password),
                keeper,
                _lock: lock,
            }),
            Err(e) => {
                let _ = fs::remove_dir_all(&dir);
                Err(e)
            }
        }
    }

    /// How its superuser reaches it.
    pub fn admin_config(&self) -> &ConnectionConfig {
        &self.server
    }

    /// Stops it and removes its folder. Without this the same happens a little later, when the value is dropped.
    pub async fn stop(mut self) {
        drop(self.keeper.stdin.take());
        let _ = timeout(START_TIMEOUT, self.keeper.wait()).await;
        // Where its keeper may not remove what a folder of root's holds.
        let _ = fs::remove_dir_all(&self.server.host);
    }
}

fn build_admin_config(
    programs: &ServerPrograms,
    dir: &Path,
    password: SecretString,
) -> ConnectionConfig {
    ConnectionConfig {
        host: dir.to_string_lossy().into_owned(),
        port: 5432,
        user: ADMIN_ROLE.into(),
        password: Some(password),
        tls: TlsMode::Disable,
        ca: None,
        application: "holdfast".into(),
        tool_dirs: vec![programs.folder.clone()],
    }
}

/// Who runs the server when we are root, which PostgreSQL refuses: somebody who owns nothing else, and so not the user of
/// other servers on this host.
fn unprivileged_ids() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let ids = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (name == "nobody").then_some(ids)
    });
    Some(nobody.unwrap_or((65534, 65534)))
}

/// A folder of its own, locked before anybody can take it for a dead run's.
fn create_locked_dir(folder: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let dir = tempfile::Builder::new().prefix(DIR_PREFIX).tempdir_in(folder)?.keep();
        let lock = File::open(&dir)?;
        match lock.try_lock() {
            Ok(()) if dir.exists() => return Ok((dir, lock)),
            // Another run took it for a dead one's between its making and the lock.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

fn write_config_files(
    dir: &Path,
    password: &SecretString,
    who: Option<(u32, u32)>,
) -> io::Result<()> {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        who.map_or(Ok(()), |(uid, gid)| chown(&path, Some(uid), Some(gid)))
    };
    write("password", password.expose_secret())?;
    // Quotes in postgresql.conf are doubled.
    let at = dir.to_string_lossy().replace('\'', "''");
    write("settings", &format!("{POSTGRESQL_CONF}unix_socket_directories = '{at}'\n"))?;
    // Whoever comes through still needs the password.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
    who.map_or(Ok(()), |(uid, gid)| chown(dir, Some(uid), Some(gid)))
}

async fn spawn_keeper(
    programs: &ServerPrograms,
    dir: &Path,
    who: Option<(u32, u32)>,
) -> Result<Child, PostgresError> {
    let doing = || format!("start a scratch server of PostgreSQL {}", programs.version);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", KEEPER_SCRIPT, "holdfast-scratch"])
        .arg(&programs.folder)
        .arg(dir)
        .arg(ADMIN_ROLE);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
    command.env("HOME", dir).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // An interrupt at the terminal is for us; the keeper hears of our end by its input.
    command.process_group(0);
    if let Some((uid, gid)) = who {
        command.uid(uid).gid(gid);
    }
    let mut keeper = command.spawn().map_err(|e| PostgresError::from_io(doing(), &e))?;
    let mut said = String::new();
    if let Some(mut out) = keeper.stdout.take() {
        let read = timeout(START_TIMEOUT, out.read_to_string(&mut said)).await;
        if !matches!(read, Ok(Ok(_))) {
            said = format!("it was not ready within {} s", START_TIMEOUT.as_secs());
        }
    }
    if said.trim() == "ready" {
        return Ok(keeper);
    }
    drop(keeper.stdin.take());
    let hint =
        "see what keeps it from starting, or name another server under `scratch:` in the policy";
    Err(PostgresError::new(PostgresErrorKind::Tool, doing(), said.trim(), hint))
}

/// Removes the folders of runs that are dead.
fn remove_orphaned_dirs(folder: &Path, who: Option<u32>) {
    let us = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(DIR_PREFIX);
        let Ok(facts) = entry.path().symlink_metadata() else { continue };
        let ours = facts.is_dir() && (facts.uid() == us || Some(facts.uid()) == who);
        if !(named && ours) {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => {
                    tracing::info!("removed {}, which a dead run left", entry.path().display());
                }
                Err(e) => tracing::warn!("{} stays: {e}", entry.path().display()),
            }
        }
    }
}
