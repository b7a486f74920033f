//! The IAM edge: how long sessions of a role may last.

use super::OperationError;
use aws_sdk_iam::Client;
use jiff::SignedDuration;

/// IAM of one account.
#[derive(Clone, Debug)]
pub struct IamClient(pub(super) Client);

impl IamClient {
    /// The longest session that a role gives, by its ARN.
    ///
    /// # Errors
    /// If IAM can't be asked.
    pub async fn max_session_duration(&self, role: &str) -> Result<SignedDuration, OperationError> {
        // A path may stand before the name.
        let name = role.rsplit('/').next().unwrap_or(role);
        let answer = self.0.get_role().role_name(name).send().await;
        let answer = answer
            .map_err(|e| OperationError::from_sdk_error(format!("look at role {role}"), &e))?;
        // IAM leaves it out where it is an hour.
        let seconds =
            answer.role().and_then(aws_sdk_iam::types::Role::max_session_duration).unwrap_or(3600);
        Ok(SignedDuration::from_secs(seconds.into()))
    }
}
