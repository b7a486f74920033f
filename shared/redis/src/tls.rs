//! TLS to a server, its certificate and name checked. There is no weaker mode: an RDB file is all of the data.

use crate::{RedisError, RedisErrorKind};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where distributions keep the certificates that everybody trusts: Debian, Fedora and Amazon Linux, Alpine and macOS.
const SYSTEM_CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Makes TLS on a fresh connection.
pub(crate) async fn upgrade_to_tls(
    host: &str,
    ca: Option<&Path>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, RedisError> {
    let failed = |why: String, hint: &str| {
        RedisError::new(
            RedisErrorKind::Connection,
            format!("connect to {host} with TLS"),
            why,
            hint,
        )
    };
    let system = || SYSTEM_CA_FILES.iter().map(Path::new).find(|f| f.exists());
    let file = ca.or_else(system).ok_or_else(|| {
        failed("there are no certificates to check the server's by".into(), "write tls_ca")
    })?;
    let bad = |why: String| failed(format!("{}: {why}", file.display()), "give a PEM file");
    let read = CertificateDer::pem_file_iter(file).map_err(|e| bad(e.to_string()))?;
    let known: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(known).0 == 0 {
        return Err(bad("no certificate is in it".into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(e.to_string(), ""))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|e| failed(e.to_string(), "give a host name or an address"))?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| {
        let hint = "name the file of its authority in tls_ca, and check that the certificate names this host";
        failed(e.to_string(), hint)
    })
}
