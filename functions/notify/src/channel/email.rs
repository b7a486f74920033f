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
    aws::OperationErrorKind,
    catalog::Location,
    policy::notify::{ChannelConfig, SesConfig, SmtpConfig},
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
    Server(&'a SmtpConfig),
    Ses(&'a SesConfig),
}

/// The channel's own server or SES, else the policy's.
fn by<'a>(channel: &'a ChannelConfig, edges: &'a Edges<'_>) -> Result<By<'a>, Refused> {
    let ours = (channel.smtp.as_ref(), channel.ses.as_ref());
    match (ours, (edges.notify.smtp.as_ref(), edges.notify.ses.as_ref())) {
        ((Some(smtp), _), _) | ((None, None), (Some(smtp), _)) => Ok(By::Server(smtp)),
        ((None, Some(ses)), _) | ((None, None), (None, Some(ses))) => Ok(By::Ses(ses)),
        _ => Err(Refused::permanent(
            "the policy names nothing that carries mail: write notify.smtp or notify.ses",
        )),
    }
}

/// Addresses that SES takes in one call.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
const AT_ONCE: usize = 50;

/// Sends one mail to the addresses of the channel. Each address has an outcome of its own: one that is none, that its
/// server refuses, or that needs what the way there does not have, keeps no other from being told.
pub(super) async fn send(
    channel: &ChannelConfig,
    message: &Message,
    edges: &Edges<'_>,
) -> Result<(), Refused> {
    let by = by(channel, edges)?;
    let from = match by {
        By::Server(server) => &server.from,
        By::Ses(ses) => &ses.from,
    };
    let from = mailbox(from).map_err(|e| Refused::permanent(format!("the sender {e}")))?;
    let mut outcomes = Outcomes { addresses: channel.email.len(), refused: Vec::new() };
    let mut good = Vec::new();
    for address in &channel.email {
        match mailbox(address) {
            Ok(mailbox) => good.push(mailbox),
            Err(why) => outcomes.refuse(&words::line(address, 100), Refused::permanent(why)),
        }
    }
    // A mailbox that is not ASCII needs SMTPUTF8 for the whole mail, headers included, so it gets a mail of its own.
    let (plain, wide): (Vec<_>, Vec<_>) = good.into_iter().partition(|m| m.email.user().is_ascii());
    let groups = plain.chunks(AT_ONCE).chain(wide.chunks(1));
    let mails = groups.map(|to| write(message, &from, to)).collect::<Result<Vec<_>, _>>()?;
    match by {
        By::Server(server) => smtp::send(server, &mails, edges, &mut outcomes).await?,
        By::Ses(ses) => {
            let region = ses.region.clone().unwrap_or_else(|| edges.home.region.clone());
            let at = edges.aws.ses(&Location { region, ..edges.home.clone() });
            for mail in &mails {
                by_ses(&at, from.email.as_ref(), mail, &mut outcomes).await;
            }
        }
    }
    outcomes.told()
}

/// Hands a mail to SES; when it is refused for one of several addresses, to each by itself.
async fn by_ses(ses: &shared::aws::ses::SesClient, from: &str, mail: &Mail, outcomes: &mut Outcomes) {
    let to: Vec<String> = mail.envelope().to().iter().map(ToString::to_string).collect();
    match ses.send(from, &to, mail.formatted()).await {
        Ok(()) => {}
        Err(e) if e.kind == OperationErrorKind::Refused && to.len() > 1 => {
            for one in &to {
                let sent = ses.send(from, std::slice::from_ref(one), mail.formatted()).await;
                if let Err(e) = sent {
                    outcomes.refuse(one, Refused::by_aws(&e));
                }
            }
        }
        Err(e) => to.iter().for_each(|one| outcomes.refuse(one, Refused::by_aws(&e))),
    }
}

/// What became of each address.
struct Outcomes {
    addresses: usize,
    refused: Vec<(String, Refused)>,
}

impl Outcomes {
    fn refuse(&mut self, address: &str, why: Refused) {
        self.refused.push((address.to_owned(), why));
    }

    /// All of them told, or who was not and why. Trying again helps where it helps one of them; mail programs know a mail
    /// that they have by its id.
    fn told(self) -> Result<(), Refused> {
        const SHOWN: usize = 3;
        let Some(worst) = self.refused.iter().find(|(_, r)| !r.permanent).or(self.refused.first())
        else {
            return Ok(());
        };
        let shown = self.refused.iter().take(SHOWN);
        let mut why: Vec<_> = shown.map(|(to, r)| format!("{to}: {}", r.why)).collect();
        if self.refused.len() > SHOWN {
            why.push(format!("and {} more", self.refused.len() - SHOWN));
        }
        let count = format!("{} of {} addresses", self.refused.len(), self.addresses);
        Err(Refused { why: format!("{count}: {}", why.join("; ")), ..worst.1.clone() })
    }
}

/// The mail. Its id is a function of the message's, so that one that arrives twice is known; and it refers to its incidents,
/// so that mail programs show what was opened and what was resolved as one conversation.
fn write(message: &Message, from: &Mailbox, to: &[Mailbox]) -> Result<Mail, Refused> {
    let domain = from.email.domain().to_owned();
    let id = |of: &str| format!("<{}@{domain}>", digest(of));
    let mut mail = Mail::builder()
        .message_id(Some(id(&message.id)))
        .date(SystemTime::from(message.at))
        .from(from.clone())
        .subject(words::subject(message))
        .header(AutoSubmitted);
    for address in to {
        mail = mail.to(address.clone());
    }
    let threads: Vec<String> = threads(message).iter().map(|t| id(t)).collect();
    if let Some(parent) = threads.last() {
        mail = mail.in_reply_to(parent.clone()).references(threads.join(" "));
    }
    mail.multipart(parts(message)).map_err(|e| Refused::permanent(format!("write the mail: {e}")))
}

/// An address as the policy writes it: its domain in ASCII, its name whatever it is.
fn mailbox(text: &str) -> Result<Mailbox, String> {
    let read: shared::mail::EmailAddress = text.parse()?;
    let address = Address::new(&read.local, &read.domain);
    let address =
        address.map_err(|e| format!("\"{}\" is no e-mail address: {e}", words::line(text, 100)))?;
    Ok(Mailbox::new(read.name, address))
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
