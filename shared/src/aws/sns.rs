//! The SNS edge: telling a topic.

use super::EdgeError;
use aws_sdk_sns::Client;

/// SNS at one place.
#[derive(Clone, Debug)]
pub struct Sns(pub(super) Client);

impl Sns {
    /// Publishes one message. SNS takes subjects of up to 99 ASCII characters and messages of up to 256 KiB.
    pub async fn publish(
        &self,
        topic: &str,
        subject: &str,
        message: &str,
    ) -> Result<(), EdgeError> {
        let ascii = |c: char| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' };
        let subject: String = subject.chars().map(ascii).take(99).collect();
        let request = self.0.publish().topic_arn(topic).subject(subject).message(message);
        request.send().await.map_err(|e| EdgeError::new(format!("publish to {topic}"), &e))?;
        Ok(())
    }
}
