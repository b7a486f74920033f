//! E-mail: plain text with a small page beside it, by a mail server or by SES.

mod page;
mod smtp;

use super::{ChannelContext, DeliveryError, words};
use crate::message::ChannelMessage;
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
enum MailTransport<'a> {
    Server(&'a SmtpConfig),
    Ses(&'a SesConfig),
}

/// The channel's own server or SES, else the policy's.
fn transport_for<'a>(
    channel: &'a ChannelConfig,
    edges: &'a ChannelContext<'_>,
) -> Result<MailTransport<'a>, DeliveryError> {
    let ours = (channel.smtp.as_ref(), channel.ses.as_ref());
    match (ours, (edges.notify.smtp.as_ref(), edges.notify.ses.as_ref())) {
        ((Some(smtp), _), _) | ((None, None), (Some(smtp), _)) => Ok(MailTransport::Server(smtp)),
        ((None, Some(ses)), _) | ((None, None), (None, Some(ses))) => Ok(MailTransport::Ses(ses)),
        _ => Err(DeliveryError::permanent(
            "the policy names nothing that carries mail: write notify.smtp or notify.ses",
        )),
    }
}

/// Addresses that SES takes in one call.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
const MAX_RECIPIENTS: usize = 50;

/// Sends one mail to the addresses of the channel. Each address has an outcome of its own: one that is none, that its
/// server refuses, or that needs what the way there does not have, keeps no other from being told.
pub(super) async fn send(
    channel: &ChannelConfig,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    let by = transport_for(channel, edges)?;
    let from = match by {
        MailTransport::Server(server) => &server.from,
        MailTransport::Ses(ses) => &ses.from,
    };
    let from =
        parse_mailbox(from).map_err(|e| DeliveryError::permanent(format!("the sender {e}")))?;
    let mut outcomes = AddressOutcomes { addresses: channel.email.len(), refused: Vec::new() };
    let mut good = Vec::new();
    for address in &channel.email {
        match parse_mailbox(address) {
            Ok(mailbox) => good.push(mailbox),
            Err(why) => outcomes
                .record_failure(&words::single_line(address, 100), DeliveryError::permanent(why)),
        }
    }
    // A mailbox that is not ASCII needs SMTPUTF8 for the whole mail, headers included, so it gets a mail of its own.
    let (plain, wide): (Vec<_>, Vec<_>) = good.into_iter().partition(|m| m.email.user().is_ascii());
    let groups = plain.chunks(MAX_RECIPIENTS).chain(wide.chunks(1));
    let mails = groups.map(|to| build_mail(message, &from, to)).collect::<Result<Vec<_>, _>>()?;
    match by {
        MailTransport::Server(server) => smtp::send(server, &mails, edges, &mut outcomes).await?,
        MailTransport::Ses(ses) => {
            let region = ses.region.clone().unwrap_or_else(|| edges.home.region.clone());
            let at = edges.aws.ses(&Location { region, ..edges.home.clone() });
            for mail in &mails {
                send_via_ses(&at, from.email.as_ref(), mail, &mut outcomes).await;
            }
        }
    }
    outcomes.into_result()
}

/// Hands a mail to SES; when it is refused for one of several addresses, to each by itself.
async fn send_via_ses(
    ses: &shared::aws::ses::SesClient,
    from: &str,
    mail: &Mail,
    outcomes: &mut AddressOutcomes,
) {
    let to: Vec<String> = mail.envelope().to().iter().map(ToString::to_string).collect();
    match ses.send(from, &to, mail.formatted()).await {
        Ok(()) => {}
        Err(e) if e.kind == OperationErrorKind::Refused && to.len() > 1 => {
            for one in &to {
                let sent = ses.send(from, std::slice::from_ref(one), mail.formatted()).await;
                if let Err(e) = sent {
                    outcomes.record_failure(one, DeliveryError::from_aws(&e));
                }
            }
        }
        Err(e) => {
            for one in to {
                outcomes.record_failure(&one, DeliveryError::from_aws(&e));
            }
        }
    }
}

/// What became of each address.
struct AddressOutcomes {
    addresses: usize,
    refused: Vec<(String, DeliveryError)>,
}

impl AddressOutcomes {
    fn record_failure(&mut self, address: &str, why: DeliveryError) {
        self.refused.push((address.to_owned(), why));
    }

    /// All of them told, or who was not and why. Trying again helps where it helps one of them; mail programs know a mail
    /// that they have by its id.
    fn into_result(self) -> Result<(), DeliveryError> {
        const MAX_REPORTED_ADDRESSES: usize = 3;
        let Some(worst) = self.refused.iter().find(|(_, r)| !r.permanent).or(self.refused.first())
        else {
            return Ok(());
        };
        let shown = self.refused.iter().take(MAX_REPORTED_ADDRESSES);
        let mut why: Vec<_> = shown.map(|(to, r)| format!("{to}: {}", r.why)).collect();
        if self.refused.len() > MAX_REPORTED_ADDRESSES {
            why.push(format!("and {} more", self.refused.len() - MAX_REPORTED_ADDRESSES));
        }
        let count = format!("{} of {} addresses", self.refused.len(), self.addresses);
        Err(DeliveryError { why: format!("{count}: {}", why.join("; ")), ..worst.1.clone() })
    }
}

/// The mail. Its id is a function of the message's, so that one that arrives twice is known; and it refers to its incidents,
/// so that mail programs show what was opened and what was resolved as one conversation.
fn build_mail(
    message: &ChannelMessage,
    from: &Mailbox,
    to: &[Mailbox],
) -> Result<Mail, DeliveryError> {
    let domain = from.email.domain().to_owned();
    let id = |of: &str| format!("<{}@{domain}>", short_hash(of));
    let mut mail = Mail::builder()
        .message_id(Some(id(&message.id)))
        .date(SystemTime::from(message.at))
        .from(from.clone())
        .subject(words::subject_line(message))
        .header(AutoSubmitted);
    for address in to {
        mail = mail.to(address.clone());
    }
    let threads: Vec<String> = thread_ids(message).iter().map(|t| id(t)).collect();
    if let Some(parent) = threads.last() {
        mail = mail.in_reply_to(parent.clone()).references(threads.join(" "));
    }
    mail.multipart(body_parts(message))
        .map_err(|e| DeliveryError::permanent(format!("write the mail: {e}")))
}

/// An address as the policy writes it: its domain in ASCII, its name whatever it is.
fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    let read: shared::mail::EmailAddress = text.parse()?;
    let address = Address::new(&read.local, &read.domain);
    let address = address
        .map_err(|e| format!("\"{}\" is no e-mail address: {e}", words::single_line(text, 100)))?;
    Ok(Mailbox::new(read.name, address))
}

/// What the message is about: each incident since its beginning, or what it says it belongs to.
fn thread_ids(message: &ChannelMessage) -> Vec<String> {
    let incidents = message.incidents.iter().map(|i| format!("{} {}", i.key, i.since));
    incidents.chain(message.thread.clone()).collect()
}

/// Half a hash, in hex: enough to never meet by chance.
fn short_hash(of: &str) -> String {
    words::sha256_hex(of)[..32].to_owned()
}

/// Text and page. The boundary is a function of both, so the same message is the same mail, byte for byte, and no text can
/// hold the boundary that it makes.
fn body_parts(message: &ChannelMessage) -> MultiPart {
    let (text, page) = (words::plain_text(message), page::render_page(message));
    let boundary = short_hash(&format!("{text}\0{page}"));
    MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(boundary)
        .singlepart(SinglePart::plain(text))
        .singlepart(SinglePart::html(page))
}

#[cfg(test)]
mod tests;
