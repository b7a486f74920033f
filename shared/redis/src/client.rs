//! A connection to a server: commands and replies.

use crate::{RedisError, RedisErrorKind, RedisValue, ServerInfo, tls};
use bytes::{BufMut as _, BytesMut};
use secrecy::{ExposeSecret as _, SecretString};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// A server that does not let us in by then does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A command that is not answered by then never is; no command that is sent here works long.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// What carries a connection.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RedisAddress {
    /// Host without brackets, and port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// How to log in to a server.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where it listens.
    pub address: RedisAddress,
    /// ACL user; the default one without it.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Whether the connection is encrypted, with the server's certificate checked.
    pub tls: bool,
    /// The certificates that the server's is checked against; the system's without it.
    pub ca: Option<PathBuf>,
}

/// A connection, logged in.
pub struct RedisClient {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) buffer: BytesMut,
    address: RedisAddress,
}

impl FromStr for RedisAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or("write host:port")?;
        let port = port.parse().map_err(|_| "the port is no number")?;
        Ok(Self::Tcp(host.trim_matches(['[', ']']).to_owned(), port))
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RedisConfig {
    /// The same login at another node.
    #[must_use]
    pub fn at(&self, address: RedisAddress) -> Self {
        Self { address, ..self.clone() }
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// [`RedisErrorKind::Connection`] when it is not reached or not who it should be, [`RedisErrorKind::Denied`] when it
    /// does not let us in.
    pub async fn connect(&self) -> Result<RedisClient, RedisError> {
        let doing = || format!("connect to {}", self.address);
        let opened = async {
            let wire: Box<dyn Wire> = match &self.address {
                RedisAddress::Unix(path) => {
                    let socket = UnixStream::connect(path).await;
                    Box::new(socket.map_err(|e| RedisError::from_io(doing(), &e))?)
                }
                RedisAddress::Tcp(host, port) => {
                    let tcp = TcpStream::connect((host.as_str(), *port)).await;
                    let tcp = tcp.map_err(|e| RedisError::from_io(doing(), &e))?;
                    if self.tls {
                        Box::new(tls::upgrade_to_tls(host, self.ca.as_deref(), tcp).await?)
                    } else {
                        Box::new(tcp)
                    }
                }
            };
            let (buffer, address) = (BytesMut::new(), self.address.clone());
            let mut client = RedisClient { wire, buffer, address };
            if let Some(password) = &self.password {
                let user = self.user.as_deref().unwrap_or("default");
                client.command(&["AUTH", user, password.expose_secret()]).await?;
            }
            Ok(client)
        };
        let late = |_| {
            let why = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            RedisError::new(RedisErrorKind::Connection, doing(), why, "check address and firewall")
        };
        timeout(CONNECT_TIMEOUT, opened).await.map_err(late)?
    }
}

impl RedisClient {
    /// Where it is connected to.
    pub fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Sends a command and reads its reply. An error reply is an error.
    ///
    /// # Errors
    /// If the server refuses, or the connection is lost or stalls.
    pub async fn command(&mut self, words: &[&str]) -> Result<RedisValue, RedisError> {
        // The name alone: an argument may be a password.
        let doing = format!("{} at {}", words.first().copied().unwrap_or_default(), self.address);
        self.send(&doing, words).await?;
        let reply = timeout(REPLY_TIMEOUT, self.reply(&doing)).await.map_err(|_| {
            let why = format!("no answer within {} s", REPLY_TIMEOUT.as_secs());
            RedisError::new(RedisErrorKind::Connection, &doing, why, "see the server's log")
        })??;
        match reply {
            RedisValue::Error(text) => Err(RedisError::from_reply(&doing, &text)),
            value => Ok(value),
        }
    }

    /// What INFO says.
    ///
    /// # Errors
    /// As for [`RedisClient::command`].
    pub async fn info(&mut self) -> Result<ServerInfo, RedisError> {
        let reply = self.command(&["INFO"]).await?;
        Ok(ServerInfo::parse(&reply.as_text().unwrap_or_default()))
    }

    pub(crate) async fn send(&mut self, doing: &str, words: &[&str]) -> Result<(), RedisError> {
        let mut out = BytesMut::new();
        out.put_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            out.put_slice(format!("${}\r\n", word.len()).as_bytes());
            out.put_slice(word.as_bytes());
            out.put_slice(b"\r\n");
        }
        self.wire.write_all(&out).await.map_err(|e| RedisError::from_io(doing, &e))?;
        self.wire.flush().await.map_err(|e| RedisError::from_io(doing, &e))
    }

    async fn reply(&mut self, doing: &str) -> Result<RedisValue, RedisError> {
        loop {
            let taken = RedisValue::take_from(&mut self.buffer).map_err(|why| {
                let hint = "check that a Redis server listens there, and whether it wants TLS";
                RedisError::new(RedisErrorKind::Refused, doing, why, hint)
            })?;
            if let Some(value) = taken {
                return Ok(value);
            }
            self.fill(doing).await?;
        }
    }

    /// Reads more into the buffer.
    pub(crate) async fn fill(&mut self, doing: &str) -> Result<(), RedisError> {
        let got = self.wire.read_buf(&mut self.buffer).await;
        match got.map_err(|e| RedisError::from_io(doing, &e))? {
            0 => Err(RedisError::new(
                RedisErrorKind::Connection,
                doing,
                "the server closed the connection",
                "see the server's log",
            )),
            _ => Ok(()),
        }
    }
}
