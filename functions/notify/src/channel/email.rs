//! E-mail: plain text with a small page beside it, by a mail server or by SES.

mod page;
mod smtp;

use super::{Edges, Refused, words};
use crate::message::Message;
use lettre::{
    Message as Mail,
    address::Address,
    message::{
        Mailbox, MultiPart, MultiPartKind, SinglePart,
        header::{Header, HeaderName, HeaderValue},
    },
};
use shared::{
    catalog::Place,
    policy::notify::{Channel, Ses, Smtp},
};
use std::{error::Error, time::SystemTime};

/// Tells mail programs that no person wrote it: nobody's absence is answered (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// What carries a channel's mail.
enum By<'a> {
    Server(&'a Smtp),
    Ses(&'a Ses),
}

/// The channel's own server or SES, else the policy's.
fn by<'a>(channel: &'a Channel, edges: &'a Edges<'_>) -> Result<By<'a>, Refused> {
    let ours = (channel.smtp.as_ref(), channel.ses.as_ref());
    match (ours, (edges.notify.smtp.as_ref(), edges.notify.ses.as_ref())) {
        ((Some(smtp), _), _) | ((None, None), (Some(smtp), _)) => Ok(By::Server(smtp)),
        ((None, Some(ses)), _) | ((None, None), (None, Some(ses))) => Ok(By::Ses(ses)),
        _ => Err(Refused::permanent(
            "the policy names nothing that carries mail: write notify.smtp or notify.ses",
        )),
    }
}

/// Sends one mail to all addresses of the channel.
pub(super) async fn send(
    channel: &Channel,
    message: &Message,
    edges: &Edges<'_>,
) -> Result<(), Refused> {
    match by(channel, edges)? {
        By::Server(server) => {
            let mail = write(message, &server.from, &channel.email)?;
            smtp::send(server, &mail, edges).await
        }
        By::Ses(ses) => {
            let mail = write(message, &ses.from, &channel.email)?;
            let region = ses.region.clone().unwrap_or_else(|| edges.home.region.clone());
            let at = edges.aws.ses(&Place { region, ..edges.home.clone() });
            let sent = at.send(&ses.from, &channel.email, mail.formatted()).await;
            sent.map_err(|e| Refused::by_aws(&e))
        }
    }
}

/// The mail. Its id is a function of the message's, so that one that arrives twice is known; and it refers to its incidents,
/// so that mail programs show what was opened and what was resolved as one conversation.
fn write(message: &Message, from: &str, to: &[String]) -> Result<Mail, Refused> {
    let from = mailbox(from, "sender")?;
    let domain = from.email.domain().to_owned();
    let id = |of: &str| format!("<{}@{domain}>", digest(of));
    let mut mail = Mail::builder()
        .message_id(Some(id(&message.id)))
        .date(SystemTime::from(message.at))
        .from(from)
        .subject(words::subject(message))
        .header(AutoSubmitted);
    for address in to {
        mail = mail.to(mailbox(address, "address")?);
    }
    let threads: Vec<String> = threads(message).iter().map(|t| id(t)).collect();
    if let Some(parent) = threads.last() {
        mail = mail.in_reply_to(parent.clone()).references(threads.join(" "));
    }
    mail.multipart(parts(message)).map_err(|e| Refused::permanent(format!("write the mail: {e}")))
}

fn mailbox(text: &str, what: &str) -> Result<Mailbox, Refused> {
    let bad = |e: &dyn Error| {
        Refused::permanent(format!("the {what} {} is no mail address: {e}", words::line(text, 100)))
    };
    match text.parse::<Mailbox>() {
        Ok(mailbox) => Ok(mailbox),
        Err(e) => {
            text.trim().parse::<Address>().map(|a| Mailbox::new(None, a)).map_err(|_| bad(&e))
        }
    }
}

/// What the message is about: each incident since its beginning, or what it says it belongs to.
fn threads(message: &Message) -> Vec<String> {
    let incidents = message.incidents.iter().map(|i| format!("{} {}", i.key, i.since));
    incidents.chain(message.thread.clone()).collect()
}

/// Half a hash, in hex: enough to never meet by chance.
fn digest(of: &str) -> String {
    words::hash(of)[..32].to_owned()
}

/// Text and page. The boundary is a function of both, so the same message is the same mail, byte for byte, and no text can
/// hold the boundary that it makes.
fn parts(message: &Message) -> MultiPart {
    let (text, page) = (words::text(message), page::render(message));
    let boundary = digest(&format!("{text}\0{page}"));
    MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(boundary)
        .singlepart(SinglePart::plain(text))
        .singlepart(SinglePart::html(page))
}

#[cfg(test)]
mod tests;
