//! SNS: text for people who subscribed to a topic.

use super::{ChannelContext, DeliveryError, words};
use crate::message::ChannelMessage;
use shared::{aws::sns::Audience, catalog::Location, policy::text::Arn};

/// SNS takes 256 KiB; attributes and encoding want their share.
const MAX_MESSAGE_BYTES: usize = 200 << 10;

/// Publishes a message at the topic's own region.
pub(super) async fn send(
    topic: &Arn,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    let region = topic.as_str().split(':').nth(3).and_then(|region| region.parse().ok());
    let region = region.unwrap_or_else(|| edges.home.region.clone());
    let place = Location { region, ..edges.home.clone() };
    let (subject, text) = render(message);
    let sns = edges.aws.sns(&place);
    let published = sns.publish(topic.as_str(), Audience::People, &subject, &text).await;
    published.map_err(|e| DeliveryError::from_aws(&e))
}

/// Subject and text. SNS refuses subjects that are not ASCII: such letters are question marks there, and right in the text.
pub(super) fn render(message: &ChannelMessage) -> (String, String) {
    let mut text = words::plain_text(message);
    if text.len() > MAX_MESSAGE_BYTES {
        let end = text.floor_char_boundary(MAX_MESSAGE_BYTES - 4);
        text.truncate(end);
        text.push_str("…\n");
    }
    let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    (words::subject_line(message).chars().map(ascii).take(99).collect(), text)
}

#[cfg(test)]
mod tests;
