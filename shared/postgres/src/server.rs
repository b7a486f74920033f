//! A PostgreSQL server: how it is reached, connections to it, and client programs that are started against it.

mod copy;
mod stream;
mod tap;
mod tls;

pub(crate) use copy::CopyOutError;
pub use stream::DuplexStream;
pub(crate) use tap::BLOCK_BYTES;
pub use tokio_postgres::Error as ClientError;

use crate::{PostgresError, PostgresErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use socket2::{SockRef, TcpKeepalive};
use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tap::{CopyInterceptor, InterceptingStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    process::Command,
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Time to reach the server, encrypt and log in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Both ends ask a silent other end after 30 s, then every 10 s, and give it up after 6 of those: a dead host's
/// connections, and the leases that hang on them, are gone within two minutes.
const KEEPALIVE: (u64, u64, u32) = (30, 10, 6);

/// What is set in each session of ours, whatever a role or a database begins with: no timeout ends it, and values are
/// written and read in one form. `transform_null_equals` changes what a definition means, `array_nulls` and
/// `IntervalStyle` what a row means that is read; a session that is read-only by default could restore nothing.
const SESSION_SETTINGS: [(&str, &str); 16] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
];

/// How the connection to a server is protected; libpq's `sslmode` of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it, and no check of who it is without a CA file.
    Prefer,
    /// TLS or nothing. With a CA file the server's certificate must come from it.
    Require,
    /// TLS, a certificate from the CA file (or one that the system trusts) and for this host.
    VerifyFull,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Host name, address, or the directory of a Unix socket.
    pub host: String,
    /// Port, 5432 usually.
    pub port: u16,
    /// The role that logs in.
    pub user: String,
    /// Its password or IAM token. Given to programs by environment only.
    pub password: Option<SecretString>,
    /// How the connection is protected. A Unix socket has no TLS.
    pub tls: TlsMode,
    /// PEM file of the certificates that are trusted.
    pub ca: Option<PathBuf>,
    /// What `pg_stat_activity` shows as `application_name`; names the run when another finds its lease taken.
    pub application: String,
    /// Where else to look for `pg_dump` and its like; of equal versions these win.
    pub tool_dirs: Vec<PathBuf>,
}

impl ConnectionConfig {
    /// Connects and logs in. No timeout of the server's applies to the session.
    ///
    /// # Errors
    /// [`PostgresErrorKind::Connection`]: not reached, not who it should be, not let in.
    pub async fn connect(&self, database: &str) -> Result<PgConnection, PostgresError> {
        let doing = || format!("connect to {database} at {}:{}", self.host, self.port);
        let connecting = async {
            if self.is_local() {
                let path = format!("{}/.s.PGSQL.{}", self.host, self.port);
                let socket =
                    UnixStream::connect(&path).await.map_err(|e| self.connect_error(&e))?;
                return self.log_in(database, socket).await;
            }
            let address = (self.host.as_str(), self.port);
            let tcp = TcpStream::connect(address).await.map_err(|e| self.connect_error(&e))?;
            enable_keepalive(&tcp).map_err(|e| self.connect_error(&e))?;
            match tls::upgrade_to_tls(self, tcp).await? {
                tls::MaybeTlsStream::Plain(tcp) => self.log_in(database, tcp).await,
                tls::MaybeTlsStream::Tls(stream) => self.log_in(database, stream).await,
            }
        };
        let why = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
        timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| {
            PostgresError::new(
                PostgresErrorKind::Connection,
                doing(),
                why,
                "check host, port and firewall",
            )
        })?
    }

    fn is_local(&self) -> bool {
        self.host.starts_with('/')
    }

    fn connect_error(&self, e: &std::io::Error) -> PostgresError {
        let doing = format!("connect to {}:{}", self.host, self.port);
        PostgresError::new(
            PostgresErrorKind::Connection,
            doing,
            e.to_string(),
            "check host, port and firewall",
        )
    }

    async fn log_in<S>(&self, database: &str, stream: S) -> Result<PgConnection, PostgresError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let doing = || format!("log in to {database} at {} as {}", self.host, self.user);
        let failed = |e: &tokio_postgres::Error| {
            // 0A000: the database's encoding can't be turned into UTF-8, in which all our sessions are.
            let (kind, hint) = match e.code().map(tokio_postgres::error::SqlState::code) {
                Some("0A000") => (
                    PostgresErrorKind::Refused,
                    Some(
                        "dump it by pg_dump itself, or move it into a database of the encoding UTF8",
                    ),
                ),
                _ => (PostgresErrorKind::Connection, None),
            };
            let error = PostgresError::from_pg(doing(), e);
            PostgresError { kind, hint: hint.map_or(error.hint, str::to_owned), ..error }
        };
        let mut config = tokio_postgres::Config::new();
        config.user(&self.user).dbname(database).application_name(&self.application);
        config.ssl_mode(tokio_postgres::config::SslMode::Disable); // done already, beneath
        if let Some(password) = &self.password {
            config.password(password.expose_secret());
        }
        let tap = CopyInterceptor::default();
        let wire = InterceptingStream::new(stream, tap.clone());
        let (client, connection) = config.connect_raw(wire, NoTls).await.map_err(|e| failed(&e))?;
        let task = tokio::spawn(async move {
            if let Err(e) = connection.await {
                // Whoever waits for an answer gets the error too; nobody may be waiting.
                tracing::debug!(error = %e, "a connection to PostgreSQL ended: {e}");
            }
        });
        let mut session = PgConnection { client, tap, task, version_num: 0 };
        self.refuse_pooler(&session).await?;
        let (idle, interval, count) = KEEPALIVE;
        let ours: Vec<String> =
            SESSION_SETTINGS.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
        let set = format!(
            "SELECT current_setting('server_version_num')::int4, count(set_config(name, value, false))
             FROM pg_catalog.pg_settings JOIN (VALUES {}, ('tcp_keepalives_idle', '{idle}'),
               ('tcp_keepalives_interval', '{interval}'), ('tcp_keepalives_count', '{count}'))
             AS ours (name, value) USING (name)",
            ours.join(", ")
        );
        let row = session.query_one(&set, &[]).await.map_err(|e| failed(&e))?;
        session.version_num = u32::try_from(row.get::<_, i32>(0)).unwrap_or(0);
        if session.version_num < 110_000 {
            let why = format!("the server's version number is {}", session.version_num);
            return Err(PostgresError::new(
                PostgresErrorKind::Refused,
                doing(),
                why,
                "PostgreSQL 11 or later is needed",
            ));
        }
        Ok(session)
    }

    /// Refuses a connection that a pooler answers: statements would go to sessions of others, which would keep our
    /// settings and locks, and the snapshot of a dump would be lost between two of them. A pooler makes up the number of
    /// the backend that it names when a client logs in.
    async fn refuse_pooler(&self, session: &PgConnection) -> Result<(), PostgresError> {
        let doing = || format!("use the connection to {}:{}", self.host, self.port);
        // By the simple protocol, which leaves nothing on the server, wherever that may be.
        let answer = session.simple_query("SELECT pg_catalog.pg_backend_pid()").await;
        let answer = answer.map_err(|e| PostgresError::from_pg(doing(), &e))?;
        let really = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i32>().ok(),
            _ => None,
        });
        let named = session.tap.backend_pid();
        if really == Some(named) {
            return Ok(());
        }
        let why = "a connection pooler such as PgBouncer answers there and not PostgreSQL itself";
        let hint = "give host and port of the server: a dump needs sessions of its own, with one snapshot for all of them";
        Err(PostgresError::new(PostgresErrorKind::Refused, doing(), why, hint))
    }

    /// A client program that will connect to `database`; host, user, password and TLS go by its environment, which has
    /// nothing else of ours, and it is killed when it is dropped. Its messages are in English.
    pub fn client_command(&self, program: &Path, database: &str) -> Command {
        let mut command = Command::from(crate::child::isolated_command(program));
        let mode = match self.tls {
            TlsMode::Disable => "disable",
            TlsMode::Prefer => "prefer",
            TlsMode::Require => "require",
            TlsMode::VerifyFull => "verify-full",
        };
        command
            .env("PGHOST", &self.host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", database)
            .env("PGAPPNAME", &self.application)
            .env("PGSSLMODE", mode)
            .env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT.as_secs().to_string())
            // Rows mean the same whatever was set for the role or the database.
            .env("PGOPTIONS", "-c array_nulls=on -c IntervalStyle=postgres")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(file) = tls::trusted_ca_file(self) {
            command.env("PGSSLROOTCERT", file);
        }
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.expose_secret());
        }
        command
    }
}

fn enable_keepalive(tcp: &TcpStream) -> std::io::Result<()> {
    let (idle, interval, count) = KEEPALIVE;
    let keep = TcpKeepalive::new()
        .with_time(Duration::from_secs(idle))
        .with_interval(Duration::from_secs(interval))
        .with_retries(count);
    tcp.set_nodelay(true)?;
    SockRef::from(tcp).set_tcp_keepalive(&keep)
}

/// A connection. Dropping it ends it, also in the middle of a query.
#[derive(Debug)]
pub struct PgConnection {
    client: Client,
    tap: CopyInterceptor,
    task: JoinHandle<()>,
    /// The server's version, `150004` for 15.4.
    pub version_num: u32,
}

impl Deref for PgConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        // In the middle of a COPY nobody would take the data any more. Otherwise the task says goodbye and ends.
        if self.tap.is_capturing() {
            self.task.abort();
        }
    }
}
