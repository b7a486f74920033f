//! Mail by a mail server: encrypted unless it is on this host, with a login where the policy has one.

use crate::channel::{
    Edges, Refused,
    post::{is_loopback, shown},
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
    policy::notify::{MailTls, Smtp},
};
use std::time::Duration;

/// A step of the conversation; mail servers let strangers wait on purpose.
const STEP: Duration = Duration::from_secs(15);
/// The whole conversation.
const WHOLE: Duration = Duration::from_secs(30);
/// A file of certificates; that of all public authorities has 220 KB.
const CERTIFICATES: usize = 2 << 20;

type Server = AsyncSmtpTransport<Tokio1Executor>;

/// Hands a mail over. When the server refuses it for one of several addresses, each address is tried by itself: a
/// colleague who left must not keep the others from being told.
pub(super) async fn send(smtp: &Smtp, mail: &Mail, edges: &Edges<'_>) -> Result<(), Refused> {
    let password = match &smtp.password {
        Some(from) => Some(edges.secret(from).await?),
        None => None,
    };
    let server = server(smtp, password.as_ref(), mail).await?;
    let bytes = mail.formatted();
    let secrets = password.as_ref().map(|p| as_sent(smtp, p)).unwrap_or_default();
    let talk = Talk { server, host: &smtp.host, secrets };
    let all = mail.envelope();
    match talk.hand_over(all, &bytes).await {
        Err(e) if e.permanent && all.to().len() > 1 => talk.one_by_one(all, &bytes).await,
        done => done,
    }
}

struct Talk<'a> {
    server: Server,
    host: &'a str,
    secrets: Vec<SecretString>,
}

/// The password in all forms in which the server gets it, and might repeat it.
fn as_sent(smtp: &Smtp, password: &SecretString) -> Vec<SecretString> {
    let text = password.expose_secret();
    let plain = format!("\0{}\0{text}", smtp.user.as_deref().unwrap_or_default());
    vec![password.clone(), STANDARD.encode(text).into(), STANDARD.encode(plain).into()]
}

impl Talk<'_> {
    async fn hand_over(&self, envelope: &Envelope, bytes: &[u8]) -> Result<(), Refused> {
        let host = self.host;
        match tokio::time::timeout(WHOLE, self.server.send_raw(envelope, bytes)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(self.refused(&e)),
            Err(_) => {
                let why = format!("mail server {host}: not done within {} s", WHOLE.as_secs());
                Err(Refused::passing(why))
            }
        }
    }

    async fn one_by_one(&self, all: &Envelope, bytes: &[u8]) -> Result<(), Refused> {
        let mut refused: Vec<Refused> = Vec::new();
        for to in all.to() {
            let one = Envelope::new(all.from().cloned(), vec![to.clone()])
                .map_err(|e| Refused::permanent(e.to_string()))?;
            if let Err(e) = self.hand_over(&one, bytes).await {
                refused.push(Refused { why: format!("{to}: {}", e.why), ..e });
            }
        }
        let Some(worst) = refused.iter().find(|r| !r.permanent).or(refused.first()) else {
            return Ok(());
        };
        let why = format!("{} of {} addresses: {}", refused.len(), all.to().len(), worst.why);
        Err(Refused { why, ..worst.clone() })
    }

    /// A login that is refused is refused for good, like all that the server answers with 5xx; a certificate that does not
    /// fit may be mended while we wait.
    fn refused(&self, e: &lettre::transport::smtp::Error) -> Refused {
        let said = shown(e.to_string().as_bytes(), &self.secrets.iter().collect::<Vec<_>>());
        let why = format!("mail server {}: {}", self.host, said.unwrap_or_default());
        Refused { why, retry_after: None, permanent: e.is_permanent() || e.is_client() }
    }
}

/// The server as the policy describes it.
async fn server(
    smtp: &Smtp,
    password: Option<&SecretString>,
    mail: &Mail,
) -> Result<Server, Refused> {
    let tls = smtp.tls.unwrap_or(MailTls::StartTls);
    if tls == MailTls::Never && password.is_some() && !is_loopback(&smtp.host) {
        return Err(Refused::permanent(format!(
            "mail server {}: a password is not sent without encryption: write tls: start-tls or tls: always",
            smtp.host
        )));
    }
    // lettre's own names for it are 25, 587 and 465.
    let (with, usual) = match tls {
        MailTls::Never => (Tls::None, 25),
        MailTls::StartTls => (Tls::Required(parameters(smtp).await?), 587),
        MailTls::Always => (Tls::Wrapper(parameters(smtp).await?), 465),
    };
    let mut server = Server::builder_dangerous(&smtp.host)
        .port(smtp.port.unwrap_or(usual))
        .tls(with)
        .timeout(Some(STEP));
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
async fn parameters(smtp: &Smtp) -> Result<TlsParameters, Refused> {
    let mut tls = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &smtp.tls_ca {
        let bad = |why: String| {
            Refused::permanent(format!(
                "certificates in {path}: {why}: name a file of PEM certificates in tls_ca"
            ))
        };
        let file = std::path::PathBuf::from(path);
        let read = tokio::task::spawn_blocking(move || bounded::file(&file, CERTIFICATES));
        let read = read.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        let pem = read.map_err(|e| bad(e.to_string()))?;
        let authorities = Certificate::from_pem(&pem).map_err(|e| bad(e.to_string()))?;
        tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authorities);
    }
    tls.build().map_err(|e| Refused::permanent(format!("mail server {}: {e}", smtp.host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_repeats_a_login_does_not_give_the_password_away() {
        let smtp: Smtp = serde_json::from_value(serde_json::json!({
            "host": "localhost", "from": "a@example.com", "user": "holdfast",
        }))
        .expect("a server");
        let password: SecretString = "correct horse".into();
        let secrets = as_sent(&smtp, &password);
        let secrets: Vec<_> = secrets.iter().collect();
        let plain = STANDARD.encode("\0holdfast\0correct horse");
        for said in [
            "bad: correct",
            &format!("unknown AUTH PLAIN {plain}"),
            &STANDARD.encode("correct horse"),
        ] {
            let said = shown(said.as_bytes(), &secrets).expect("words");
            assert!(said.contains("not shown"), "{said}");
        }
        assert_eq!(shown(b"535 no", &secrets).as_deref(), Some("535 no"));
    }
}
