//! Mail by a mail server: encrypted unless it is on this host, with a login where the policy has one.

use super::AddressOutcomes;
use crate::channel::{
    ChannelContext, DeliveryError,
    post::{is_loopback, redact_response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor,
    address::Envelope,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    bounded,
    policy::notify::{MailTls, SmtpConfig},
};
use std::time::Duration;

/// A step of the conversation; mail servers let strangers wait on purpose.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);
/// The whole conversation.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// A file of certificates; that of all public authorities has 220 KB.
const MAX_CERTIFICATE_BYTES: usize = 2 << 20;

type SmtpClient = AsyncSmtpTransport<Tokio1Executor>;

/// Hands mails over, one behind the other. When the server refuses one for an address of several, each address is tried by
/// itself: a colleague who left must not keep the others from being told.
///
/// # Errors
/// If there is no talking to the server at all; what it says of an address is that address's outcome.
pub(super) async fn send(
    smtp: &SmtpConfig,
    mails: &[Mail],
    edges: &ChannelContext<'_>,
    outcomes: &mut AddressOutcomes,
) -> Result<(), DeliveryError> {
    let password = match &smtp.password {
        Some(from) => Some(edges.resolve_secret(from).await?),
        None => None,
    };
    let Some(first) = mails.first() else { return Ok(()) };
    let server = build_transport(smtp, password.as_ref(), first).await?;
    let secrets = password.as_ref().map(|p| encoded_secrets(smtp, p)).unwrap_or_default();
    let talk = SmtpSession { server, host: &smtp.host, secrets };
    for mail in mails {
        let (all, bytes) = (mail.envelope(), mail.formatted());
        match talk.send_envelope(all, &bytes).await {
            Ok(()) => {}
            Err(MailSendError { answered: true, .. }) if all.to().len() > 1 => {
                talk.send_individually(all, &bytes, outcomes).await;
            }
            Err(MailSendError { why, .. }) => {
                all.to().iter().for_each(|to| outcomes.record_failure(to.as_ref(), why.clone()));
            }
        }
    }
    Ok(())
}

/// Why a mail was not taken.
struct MailSendError {
    why: DeliveryError,
    /// Whether the server said so, or lettre of the addresses, and not the network: another address may do better.
    answered: bool,
}

struct SmtpSession<'a> {
    server: SmtpClient,
    host: &'a str,
    secrets: Vec<SecretString>,
}

/// The password in all forms in which the server gets it, and might repeat it.
fn encoded_secrets(smtp: &SmtpConfig, password: &SecretString) -> Vec<SecretString> {
    let text = password.expose_secret();
    let plain = format!("\0{}\0{text}", smtp.user.as_deref().unwrap_or_default());
    vec![password.clone(), STANDARD.encode(text).into(), STANDARD.encode(plain).into()]
}

impl SmtpSession<'_> {
    async fn send_envelope(&self, envelope: &Envelope, bytes: &[u8]) -> Result<(), MailSendError> {
        let host = self.host;
        match tokio::time::timeout(SESSION_TIMEOUT, self.server.send_raw(envelope, bytes)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => {
                let answered = e.status().is_some() || e.is_client();
                Err(MailSendError { why: self.to_delivery_error(&e), answered })
            }
            Err(_) => {
                let why =
                    format!("mail server {host}: not done within {} s", SESSION_TIMEOUT.as_secs());
                Err(MailSendError { why: DeliveryError::transient(why), answered: false })
            }
        }
    }

    async fn send_individually(
        &self,
        all: &Envelope,
        bytes: &[u8],
        outcomes: &mut AddressOutcomes,
    ) {
        for to in all.to() {
            let sent = match Envelope::new(all.from().cloned(), vec![to.clone()]) {
                Ok(one) => self.send_envelope(&one, bytes).await.map_err(|unsent| unsent.why),
                Err(e) => Err(DeliveryError::permanent(e.to_string())),
            };
            if let Err(why) = sent {
                outcomes.record_failure(to.as_ref(), why);
            }
        }
    }

    /// A login that is refused is refused for good, like all that the server answers with 5xx; a certificate that does not
    /// fit may be fixed while we wait.
    fn to_delivery_error(&self, e: &lettre::transport::smtp::Error) -> DeliveryError {
        let said =
            redact_response(e.to_string().as_bytes(), &self.secrets.iter().collect::<Vec<_>>());
        let why = format!("mail server {}: {}", self.host, said.unwrap_or_default());
        DeliveryError { why, retry_after: None, permanent: e.is_permanent() || e.is_client() }
    }
}

/// The server as the policy describes it.
async fn build_transport(
    smtp: &SmtpConfig,
    password: Option<&SecretString>,
    mail: &Mail,
) -> Result<SmtpClient, DeliveryError> {
    let tls = smtp.tls.unwrap_or(MailTls::StartTls);
    if tls == MailTls::Never && password.is_some() && !is_loopback(&smtp.host) {
        return Err(DeliveryError::permanent(format!(
            "mail server {}: a password is not sent without encryption: write tls: start-tls or tls: always",
            smtp.host
        )));
    }
    // lettre's own names for it are 25, 587 and 465.
    let (with, usual) = match tls {
        MailTls::Never => (Tls::None, 25),
        MailTls::StartTls => (Tls::Required(tls_parameters(smtp).await?), 587),
        MailTls::Always => (Tls::Wrapper(tls_parameters(smtp).await?), 465),
    };
    let mut server = SmtpClient::builder_dangerous(&smtp.host)
        .port(smtp.port.unwrap_or(usual))
        .tls(with)
        .timeout(Some(COMMAND_TIMEOUT));
    if let Some(from) = mail.envelope().from() {
        server = server.hello_name(ClientId::Domain(from.domain().to_owned()));
    }
    if let (Some(user), Some(password)) = (&smtp.user, password) {
        let password = password.expose_secret().to_owned();
        server = server.credentials(Credentials::new(user.clone(), password));
    }
    Ok(server.build())
}

/// What the server's certificate is checked against: the policy's file, else the system's authorities.
async fn tls_parameters(smtp: &SmtpConfig) -> Result<TlsParameters, DeliveryError> {
    let mut tls = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &smtp.tls_ca {
        let bad = |why: String| {
            DeliveryError::permanent(format!(
                "certificates in {path}: {why}: name a file of PEM certificates in tls_ca"
            ))
        };
        let file = std::path::PathBuf::from(path);
        let read =
            tokio::task::spawn_blocking(move || bounded::read_file(&file, MAX_CERTIFICATE_BYTES));
        let read = read.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        let pem = read.map_err(|e| bad(e.to_string()))?;
        let authorities = Certificate::from_pem(&pem).map_err(|e| bad(e.to_string()))?;
        tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authorities);
    }
    tls.build().map_err(|e| DeliveryError::permanent(format!("mail server {}: {e}", smtp.host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_repeats_a_login_does_not_give_the_password_away() {
        let smtp: SmtpConfig = serde_json::from_value(serde_json::json!({
            "host": "localhost", "from": "a@example.com", "user": "holdfast",
        }))
        .expect("a server");
        let password: SecretString = "correct horse".into();
        let secrets = encoded_secrets(&smtp, &password);
        let secrets: Vec<_> = secrets.iter().collect();
        let plain = STANDARD.encode("\0holdfast\0correct horse");
        for said in [
            "bad: correct",
            &format!("unknown AUTH PLAIN {plain}"),
            &STANDARD.encode("correct horse"),
        ] {
            let said = redact_response(said.as_bytes(), &secrets).expect("words");
            assert!(said.contains("not shown"), "{said}");
        }
        assert_eq!(redact_response(b"535 no", &secrets).as_deref(), Some("535 no"));
    }
}
