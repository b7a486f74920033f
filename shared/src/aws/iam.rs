//! The IAM edge: how long sessions of a role may last.

use super::EdgeError;
use aws_sdk_iam::Client;
use jiff::SignedDuration;

/// IAM of one account.
#[derive(Clone, Debug)]
pub struct Iam(pub(super) Client);

impl Iam {
    /// The longest session that a role gives, by its ARN.
    ///
    /// # Errors
    /// If IAM can't be asked.
    pub async fn longest_session(&self, role: &str) -> Result<SignedDuration, EdgeError> {
        // A path may stand before the name.
        let name = role.rsplit('/').next().unwrap_or(role);
        let answer = self.0.get_role().role_name(name).send().await;
        let answer = answer.map_err(|e| EdgeError::new(format!("look at role {role}"), &e))?;
        // IAM leaves it out where it is an hour.
        let seconds =
            answer.role().and_then(aws_sdk_iam::types::Role::max_session_duration).unwrap_or(3600);
        Ok(SignedDuration::from_secs(seconds.into()))
    }
}
