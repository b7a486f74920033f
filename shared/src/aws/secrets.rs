//! The edge to secret values: Secrets Manager, and the tokens that RDS takes for passwords.

pub mod inventory;
pub mod values;

use super::{OperationError, OperationErrorKind};
use aws_config::SdkConfig;
use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;

/// Secrets Manager in one region and account.
#[derive(Clone, Debug)]
pub struct SecretsManagerClient(pub(super) Client);

/// Which version of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionStage {
    /// The one in use.
    Current,
    /// The one that was in use before the last rotation.
    Previous,
}

impl VersionStage {
    fn label(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Previous => "AWSPREVIOUS",
        }
    }
}

impl SecretsManagerClient {
    /// The text of a secret; none when there is no previous version.
    ///
    /// # Errors
    /// If it is not there, can't be read, or is no text.
    pub async fn get_secret_value(
        &self,
        id: &str,
        stage: VersionStage,
    ) -> Result<Option<SecretString>, OperationError> {
        let doing = format!("read secret {id}");
        let request = self.0.get_secret_value().secret_id(id).version_stage(stage.label());
        let answer =
            match request.send().await.map_err(|e| OperationError::from_sdk_error(&doing, &e)) {
                Ok(answer) => answer,
                // A secret that was never rotated has no previous version, and its absence is told as the secret's own.
                Err(e)
                    if stage == VersionStage::Previous && e.kind == OperationErrorKind::Missing =>
                {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            };
        let binary = || {
            let bytes = answer.secret_binary()?.clone().into_inner();
            String::from_utf8(bytes).ok()
        };
        let text = answer.secret_string().map(str::to_owned).or_else(binary);
        let text =
            text.ok_or_else(|| OperationError::from_message(doing, "its value is no text"))?;
        Ok(Some(text.into()))
    }

    /// When a secret got the value that is in use, without reading it; none when no version is said to be in use.
    ///
    /// # Errors
    /// If Secrets Manager can't be asked, or there is no such secret.
    pub async fn current_version_created(
        &self,
        id: &str,
    ) -> Result<Option<jiff::Timestamp>, OperationError> {
        // DescribeSecret tells when anything of a secret changed, its description too; a version has one time.
        let mut pages = self.0.list_secret_version_ids().secret_id(id).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(|e| OperationError::from_sdk_error(format!("look at secret {id}"), &e))?;
            let current = |v: &&aws_sdk_secretsmanager::types::SecretVersionsListEntry| {
                v.version_stages().iter().any(|s| s == VersionStage::Current.label())
            };
            if let Some(version) = page.versions().iter().find(current) {
                let at = version.created_date();
                return Ok(at.and_then(|at| jiff::Timestamp::new(at.secs(), 0).ok()));
            }
        }
        Ok(None)
    }
}

/// A presigned request to connect, without its scheme. Signing asks nothing of AWS; the server checks it.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html>
pub(super) async fn rds_token(
    config: &SdkConfig,
    host: &str,
    port: u16,
    user: &str,
) -> Result<SecretString, OperationError> {
    let doing = || format!("sign a token for {user} at {host}:{port}");
    let refused = |why: String| OperationError::from_message(doing(), why);
    let request = Config::builder()
        .hostname(host)
        .port(port.into())
        // The generator writes it into the address as it is.
        .username(percent_encode(user))
        .expires_in(900)
        .build()
        .map_err(|e| refused(e.to_string()))?;
    let token = AuthTokenGenerator::new(request).auth_token(config).await;
    token.map(|t| t.to_string().into()).map_err(|e| OperationError {
        kind: OperationErrorKind::Denied,
        ..refused(format!("no credentials to sign it with: {e}"))
    })
}

/// A value as it stands in an address.
fn percent_encode(text: &str) -> String {
    let byte = |b: u8| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests;
