//! The SNS edge: telling a topic.

use super::OperationError;
use aws_sdk_sns::{Client, types::MessageAttributeValue};

/// The attribute of a message that says for whom it is.
pub const AUDIENCE: &str = "holdfast-audience";

/// For whom a message is. A topic may have both as subscribers, and each tells its messages by this and not by their words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Text for people: no news for `notify`.
    People,
    /// A report, which `notify` reads.
    Notify,
}

impl Audience {
    /// The attribute's value.
    pub fn word(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Notify => "notify",
        }
    }
}

/// SNS at one place.
#[derive(Clone, Debug)]
pub struct SnsClient(pub(super) Client);

impl SnsClient {
    /// Publishes one message. SNS takes subjects of up to 99 ASCII characters and messages of up to 256 KiB.
    pub async fn publish(
        &self,
        topic: &str,
        audience: Audience,
        subject: &str,
        message: &str,
    ) -> Result<(), OperationError> {
        let ascii = |c: char| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' };
        let subject: String = subject.chars().map(ascii).take(99).collect();
        let attribute =
            MessageAttributeValue::builder().data_type("String").string_value(audience.word());
        let doing = || format!("publish to {topic}");
        let attribute =
            attribute.build().map_err(|e| OperationError::from_message(doing(), e.to_string()))?;
        let request = self.0.publish().topic_arn(topic).subject(subject).message(message);
        let request = request.message_attributes(AUDIENCE, attribute);
        request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        Ok(())
    }
}
