//! A connection before anything was said on it, for protocols that `tokio-postgres` does not speak.

use super::{CONNECT_TIMEOUT, ConnectionConfig, enable_keepalive, tls};
use crate::{PostgresError, PostgresErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// A stream of bytes in both directions.
pub trait DuplexStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> DuplexStream for T {}

impl ConnectionConfig {
    /// Reaches the server and encrypts the connection as the mode says; nobody is logged in yet.
    ///
    /// # Errors
    /// [`PostgresErrorKind::Connection`]: not reached, or not who it should be.
    pub async fn open_stream(&self) -> Result<Box<dyn DuplexStream>, PostgresError> {
        let connecting = async {
            if self.is_local() {
                let path = format!("{}/.s.PGSQL.{}", self.host, self.port);
                let socket =
                    UnixStream::connect(&path).await.map_err(|e| self.connect_error(&e))?;
                return Ok(Box::new(socket) as Box<dyn DuplexStream>);
            }
            let address = (self.host.as_str(), self.port);
            let tcp = TcpStream::connect(address).await.map_err(|e| self.connect_error(&e))?;
            enable_keepalive(&tcp).map_err(|e| self.connect_error(&e))?;
            Ok(match tls::upgrade_to_tls(self, tcp).await? {
                tls::MaybeTlsStream::Plain(tcp) => Box::new(tcp),
                tls::MaybeTlsStream::Tls(stream) => Box::new(stream),
            })
        };
        timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| {
            let doing = format!("connect to {}:{}", self.host, self.port);
            let why = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            PostgresError::new(
                PostgresErrorKind::Connection,
                doing,
                why,
                "check host, port and firewall",
            )
        })?
    }
}
