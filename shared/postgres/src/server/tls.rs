//! TLS to a server as libpq does it: asked for on the plain connection, then rustls on the same socket.

use super::{ConnectionConfig, TlsMode};
use crate::{PostgresError, PostgresErrorKind};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use std::{path::PathBuf, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// `SSLRequest`: its length and the number 80877103.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Where distributions keep the certificates that everybody trusts: Debian, Fedora and Amazon Linux, Alpine and macOS.
const SYSTEM_CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A connection, encrypted or not.
pub(super) enum MaybeTlsStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The certificates that a server's is checked against, as a file that libpq reads too.
pub(super) fn trusted_ca_file(server: &ConnectionConfig) -> Option<PathBuf> {
    match (&server.ca, server.tls) {
        (Some(file), _) => Some(file.clone()),
        (None, TlsMode::VerifyFull) => {
            SYSTEM_CA_FILES.iter().map(PathBuf::from).find(|f| f.exists())
        }
        (None, _) => None,
    }
}

/// Asks for TLS on a fresh connection and does what the mode says with the answer.
pub(super) async fn upgrade_to_tls(
    server: &ConnectionConfig,
    mut tcp: TcpStream,
) -> Result<MaybeTlsStream, PostgresError> {
    if server.tls == TlsMode::Disable {
        return Ok(MaybeTlsStream::Plain(tcp));
    }
    let config = client_config(server)?;
    let lost = |e: std::io::Error| PostgresError {
        kind: PostgresErrorKind::Connection,
        ..PostgresError::from_io(tls_operation(server), &e)
    };
    tcp.write_all(&SSL_REQUEST).await.map_err(lost)?;
    match tcp.read_u8().await.map_err(lost)? {
        b'S' => {}
        b'N' if server.tls == TlsMode::Prefer => return Ok(MaybeTlsStream::Plain(tcp)),
        _ => {
            let hint = "set ssl = on there; where the way to it is protected otherwise, write tls: disable";
            return Err(tls_error(server, "the server offers no TLS", hint));
        }
    }
    let name = ServerName::try_from(server.host.clone())
        .map_err(|e| tls_error(server, &e.to_string(), "give a host name or an address"))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    stream.map(|s| MaybeTlsStream::Tls(Box::new(s))).map_err(|e| {
        tls_error(
            server,
            &e.to_string(),
            "name the file of its authority in tls_ca (for RDS: global-bundle.pem of \
             https://truststore.pki.rds.amazonaws.com), and check that the certificate names this host as a \
             subject alternative name",
        )
    })
}

fn tls_operation(server: &ConnectionConfig) -> String {
    format!("connect to {}:{} with TLS", server.host, server.port)
}

fn tls_error(server: &ConnectionConfig, why: &str, hint: &str) -> PostgresError {
    PostgresError::new(PostgresErrorKind::Connection, tls_operation(server), why, hint)
}

fn client_config(server: &ConnectionConfig) -> Result<ClientConfig, PostgresError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(certificate_verifier(server, provider.clone())?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(server, &e.to_string(), ""))?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Checks what libpq's `sslmode` of the same name checks.
#[derive(Debug)]
struct CertificateVerifier {
    provider: Arc<CryptoProvider>,
    /// None: any certificate will do, against those who only listen.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// What the CA file holds: a self-signed server certificate is trusted when it is in it.
    known: Vec<CertificateDer<'static>>,
    /// Whether the certificate must be for this host.
    name: bool,
}

fn certificate_verifier(
    server: &ConnectionConfig,
    provider: Arc<CryptoProvider>,
) -> Result<CertificateVerifier, PostgresError> {
    let name = server.tls == TlsMode::VerifyFull;
    let Some(file) = trusted_ca_file(server) else {
        if name {
            let hint =
                format!("name a CA file, or install ca-certificates ({})", SYSTEM_CA_FILES[0]);
            return Err(tls_error(
                server,
                "there are no certificates to check the server's by",
                &hint,
            ));
        }
        return Ok(CertificateVerifier { provider, chain: None, known: Vec::new(), name });
    };
    let bad =
        |why: String| tls_error(server, &format!("{}: {why}", file.display()), "give a PEM file");
    let read = CertificateDer::pem_file_iter(&file).map_err(|e| bad(e.to_string()))?;
    let known: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(known.iter().cloned());
    if added == 0 {
        return Err(bad("no certificate is in it".into()));
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| bad(e.to_string()))?;
    // Only a file that names this server may vouch for a certificate by holding it.
    let known = if server.ca.is_some() { known } else { Vec::new() };
    Ok(CertificateVerifier { provider, chain: Some(chain), known, name })
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.known.iter().any(|k| k == end_entity) {
            if self.name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The chain is checked before the name is, so only the name was wrong.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
