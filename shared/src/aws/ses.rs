//! The SES edge: sending a mail that is written already.

use super::OperationError;
use aws_sdk_sesv2::{
    Client,
    primitives::Blob,
    types::{Destination, EmailContent, RawMessage},
};

/// SES at one place.
#[derive(Clone, Debug)]
pub struct SesClient(pub(super) Client);

impl SesClient {
    /// Sends a mail as RFC 5322 has it, of 40 MB at most, to up to 50 addresses. `from` is an address that SES has
    /// verified.
    pub async fn send(
        &self,
        from: &str,
        to: &[String],
        mail: Vec<u8>,
    ) -> Result<(), OperationError> {
        let doing = || format!("send mail from {from} by SES");
        let raw = RawMessage::builder()
            .data(Blob::new(mail))
            .build()
            .map_err(|e| OperationError::from_message(doing(), e.to_string()))?;
        let request = self
            .0
            .send_email()
            .from_email_address(from)
            .destination(Destination::builder().set_to_addresses(Some(to.to_vec())).build())
            .content(EmailContent::builder().raw(raw).build());
        request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        Ok(())
    }
}
