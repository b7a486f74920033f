//! A real PostgreSQL for the tests: one per test binary, on a free loopback port, in a temporary folder, gone with the
//! test process however that ends.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part, and a test may panic"
)]

pub mod dumping;

use postgres::{ConnectionConfig, TlsMode};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// Password of the superuser `postgres` of every server here.
pub const PASSWORD: &str = "only for tests";

/// Makes the cluster and its certificates, starts it, says so, and stops it when standard input closes.
const KEEPER: &str = r#"
set -eu
bin=$1 port=$2 password=$3 primary=$4 german=$5 settings=$6
umask 077
dir=$(mktemp -d /tmp/holdfast-pg-XXXXXX)
cd "$dir"
trap 'rm -rf "$dir"' EXIT
certificate() { # name, subject alternative name
    openssl req -new -newkey rsa:2048 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'subjectAltName=%s\n' "$2" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem"
}
{
    for ca in ca other-ca; do
        openssl req -x509 -newkey rsa:2048 -nodes -keyout $ca.key -out $ca.pem -days 2 -subj "/CN=$ca of a test"
    done
    certificate server DNS:localhost
    if [ -n "$primary" ]; then
        PGPASSWORD=$password "$bin/pg_basebackup" -h 127.0.0.1 -p "$primary" -U postgres -D data -R -X stream -c fast
    else
        printf '%s\n' "$password" > password
        "$bin/initdb" -D data -U postgres --pwfile=password --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
        cat >> data/postgresql.conf <<-EOF
	listen_addresses = '127.0.0.1'
	unix_socket_directories = '$dir'
	fsync = off
	shared_buffers = 64MB
	max_connections = 200
	max_locks_per_transaction = 256
	wal_level = replica
	max_wal_senders = 4
	autovacuum = off
	EOF
        printf '%s\n' "$settings" >> data/postgresql.conf
        if [ -n "$german" ]; then
            mkdir locale
            localedef -i de_DE -f UTF-8 "$dir/locale/de_DE.UTF-8"
            echo "lc_messages = 'de_DE.UTF-8'" >> data/postgresql.conf
            export LOCPATH="$dir/locale"
        fi
    fi
    cat >> data/postgresql.conf <<-EOF
	unix_socket_directories = '$dir'
	port = $port
	ssl = on
	ssl_cert_file = '$dir/server.pem'
	ssl_key_file = '$dir/server.key'
	EOF
} > made.log 2>&1 || { cat made.log; exit 1; }
[ -z "$german" ] || export LOCPATH="$dir/locale"
"$bin/postgres" -D data > server.log 2>&1 < /dev/null &
pid=$!
tries=0
until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ] || ! kill -0 $pid; then cat server.log; exit 1; fi
    sleep 0.1
done
echo "ready $pid $dir"
read -r _ || true
kill -QUIT $pid 2> /dev/null || true
wait $pid || true
"#;

/// A running server.
pub struct Cluster {
    /// Its folder: `server.log`, `ca.pem`, `other-ca.pem`; readable by root and the server's user.
    pub dir: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Process id of the postmaster.
    pub pid: u32,
    /// Where PostgreSQL's programs are.
    pub bin: PathBuf,
    keeper: Child,
}

/// The server that all tests of a binary share; each test makes its own databases.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start)
}

impl Cluster {
    /// A server of its own, for tests that break it.
    pub fn start() -> Self {
        Self::keep(None, false, "")
    }

    /// A server of its own with these lines in its `postgresql.conf`.
    pub fn with(settings: &str) -> Self {
        Self::keep(None, false, settings)
    }

    /// A server whose messages are German.
    pub fn german() -> Self {
        Self::keep(None, true, "")
    }

    /// A streaming replica of `primary`.
    pub fn replica_of(primary: &Cluster) -> Self {
        Self::keep(Some(primary.port), false, "")
    }

    fn keep(primary: Option<u16>, german: bool, settings: &str) -> Self {
        let bin = programs();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // initdb and postgres refuse to run as root.
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.args(["-c", KEEPER, "keeper"]).arg(&bin).arg(port.to_string()).arg(PASSWORD);
        let primary = primary.map(|p| p.to_string()).unwrap_or_default();
        command.args([primary.as_str(), if german { "german" } else { "" }, settings]);
        command.env("LC_ALL", "C").current_dir("/tmp");
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut said, mut line) = (String::new(), String::new());
        let mut out = BufReader::new(keeper.stdout.take().unwrap());
        while out.read_line(&mut line).unwrap() > 0 && !line.starts_with("ready ") {
            said.push_str(&std::mem::take(&mut line));
        }
        let mut words = line.trim().splitn(3, ' ').skip(1);
        let pid = words.next().unwrap_or_else(|| panic!("PostgreSQL does not start:\n{said}"));
        let dir = PathBuf::from(words.next().unwrap());
        Self { dir, port, pid: pid.parse().unwrap(), bin, keeper }
    }

    /// How Holdfast reaches it, as superuser.
    pub fn server(&self) -> ConnectionConfig {
        ConnectionConfig {
            host: "127.0.0.1".into(),
            port: self.port,
            user: "postgres".into(),
            password: Some(PASSWORD.into()),
            tls: TlsMode::Disable,
            ca: None,
            application: "holdfast test".into(),
            tool_dirs: Vec::new(),
        }
    }

    /// One of PostgreSQL's own programs, told by environment where to connect.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postgres").env("PGPASSWORD", PASSWORD).env("LC_ALL", "C");
        command
    }

    /// Runs a program that must succeed, and returns what it wrote.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs SQL in a database by psql, which must succeed; rows come back one a line, columns parted by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let args = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"];
        let output = self.feed("psql", &args, sql.as_bytes());
        assert!(output.status.success(), "psql: {}\n{}", text(&output.stderr), clip(sql));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Runs a program with `input` on its standard input.
    pub fn feed(&self, program: &str, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            // The program may end before it read everything; its status says so.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().unwrap()
        })
    }

    /// A new, empty database with a name of its own that begins with `name`.
    pub fn database(&self, name: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\" TEMPLATE template0"));
        name
    }

    /// A new database with every kind of object in it.
    pub fn every_kind(&self, name: &str) -> String {
        static ROLES: OnceLock<()> = OnceLock::new();
        // Roles belong to the whole server: two tests at once must not make them.
        ROLES.get_or_init(|| drop(self.psql("postgres", include_str!("roles.sql"))));
        let name = self.database(name);
        self.psql(&name, include_str!("every_kind.sql"));
        name
    }

    /// What stock `pg_dump` says of a database, without the lines that differ from run to run.
    pub fn described(&self, database: &str, args: &[&str]) -> String {
        let dump = self.run("pg_dump", &[args, &["-d", database]].concat());
        comparable(&dump)
    }

    /// Waits until a query answers `t`.
    pub fn until(&self, sql: &str) {
        for _ in 0..300 {
            if self.psql("postgres", sql) == "t" {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("never true: {sql}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// A plain dump without the lines that differ from run to run.
pub fn comparable(dump: &str) -> String {
    let random = |l: &&str| l.starts_with("\\restrict") || l.starts_with("\\unrestrict");
    dump.lines().filter(|l| !random(l)).collect::<Vec<_>>().join("\n")
}

/// Shows the first line that differs.
pub fn same(expected: &str, got: &str) {
    let (mut e, mut g) = (expected.lines(), got.lines());
    for n in 1.. {
        let (e, g) = (e.next(), g.next());
        assert!(e == g, "line {n}\nexpected {:?}\n     got {:?}", e.map(clip), g.map(clip));
        if e.is_none() {
            return;
        }
    }
}

/// The newest PostgreSQL server on this machine.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|v| Some((v.file_name().to_str()?.parse().ok()?, v.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("a PostgreSQL server under /usr/lib/postgresql (apt install postgresql)").1
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn clip(sql: &str) -> &str {
    sql.get(..200).unwrap_or(sql)
}

/// Whether a process still runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|s| s.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}
