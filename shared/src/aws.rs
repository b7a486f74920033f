//! The edges to AWS: made once, from one place, which knows regions, assumed roles and how calls are counted.
//!
//! Each service is one concrete struct with methods in domain words; nothing outside this module sees the SDK. Every
//! list is read to its last page, and an error says what was being done, what AWS said and what to do about it.

mod calls;
pub mod cloudwatch;
mod error;
pub mod iam;
pub mod kms;
pub mod rds;
pub mod s3;
pub mod secrets;
pub mod ses;
pub mod sns;
#[cfg(test)]
pub(crate) mod wire;

pub use calls::{CallCounter, CallCounts};
pub use error::{OperationError, OperationErrorKind};

use crate::catalog::{Location, RolePurpose};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// All clients of one process.
#[derive(Debug)]
pub struct AwsClients {
    base: SdkConfig,
    configs: Mutex<BTreeMap<(Location, RolePurpose), SdkConfig>>,
    calls: CallCounter,
}

impl AwsClients {
    /// Reads region, credentials and endpoint overrides from the environment, as every AWS tool does.
    pub async fn from_env() -> Self {
        let base = aws_config::defaults(BehaviorVersion::v2026_01_12())
            // The quota of the RDS API is shared with every other tool of the account: adaptive retry slows the whole
            // process down when AWS says so, instead of hammering on (part of the reason why older tools got throttled).
            .retry_config(RetryConfig::adaptive().with_max_attempts(6))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    // The longest list of RDS comes within seconds, a page of it; a try that hangs is better made anew.
                    .operation_attempt_timeout(Duration::from_secs(30))
                    .operation_timeout(Duration::from_mins(2))
                    .build(),
            )
            .load()
            .await;
        Self::new(base)
    }

    /// Clients from a given configuration.
    pub fn new(base: SdkConfig) -> Self {
        Self { base, configs: Mutex::default(), calls: CallCounter::default() }
    }

    /// The region that the process runs in.
    pub fn region(&self) -> Option<String> {
        self.base.region().map(ToString::to_string)
    }

    /// What this process has asked of AWS so far.
    pub fn call_counter(&self) -> &CallCounter {
        &self.calls
    }

    /// Configuration for a place: its region, and its role's credentials when it is another account's.
    fn config_for(&self, place: &Location, purpose: RolePurpose) -> SdkConfig {
        let mut places = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let made = places.entry((place.clone(), purpose)).or_insert_with(|| {
            let region = Region::new(place.region.to_string());
            let builder = self.base.to_builder().region(region.clone());
            match &place.role {
                None => builder.build(),
                Some(roles) => builder
                    .credentials_provider(SharedCredentialsProvider::new(AssumeRoleCredentials {
                        role: roles.for_purpose(purpose).to_owned(),
                        external_id: roles.external_id.clone(),
                        base: self.base.clone(),
                        region,
                        provider: tokio::sync::OnceCell::new(),
                    }))
                    .build(),
            }
        });
        made.clone()
    }

    /// RDS at a place, to look at it.
    pub fn rds(&self, place: &Location) -> rds::RdsClient {
        self.rds_for(place, RolePurpose::Read)
    }

    /// RDS at a place, for what is done there.
    pub fn rds_for(&self, place: &Location, purpose: RolePurpose) -> rds::RdsClient {
        let config = aws_sdk_rds::config::Builder::from(&self.config_for(place, purpose));
        let client = aws_sdk_rds::Client::from_conf(config.interceptor(self.calls.clone()).build());
        rds::RdsClient::new(client, place.clone())
    }

    /// S3 at a place, to look at it; at home to write there too.
    pub fn s3(&self, place: &Location) -> s3::S3Client {
        self.s3_for(place, RolePurpose::Read)
    }

    /// S3 at a place, for what is done there.
    pub fn s3_for(&self, place: &Location, purpose: RolePurpose) -> s3::S3Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config_for(place, purpose));
        // An endpoint override means a local or S3-compatible store, whose buckets have no host names of their own.
        let config =
            config.interceptor(self.calls.clone()).force_path_style(self.has_endpoint_override());
        let config = config.timeout_config(s3_timeouts());
        s3::S3Client::new(aws_sdk_s3::Client::from_conf(config.build()), place.clone())
    }

    /// A client of S3 for large objects, or of an S3-compatible store at `endpoint` (address and region), which is addressed by path. `keys`
    /// are the store's own access key id and secret; without them the place's credentials are used. The store's region is
    /// what it calls so itself, and goes into each signature.
    ///
    /// No checksum is added that the caller did not ask for: stores that know none of the SDK's would refuse it.
    pub fn s3_client_for(
        &self,
        place: &Location,
        endpoint: Option<(&str, &str)>,
        keys: Option<(&SecretString, &SecretString)>,
    ) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{
            Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation,
        };
        let mut config = Builder::from(&self.config_for(place, RolePurpose::Read))
            .interceptor(self.calls.clone())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Each part is tried by itself: what slows one down must not slow the others, as adaptive retry would.
            .retry_config(RetryConfig::standard().with_max_attempts(6))
            // Data has limits of its own where it is sent and read, by its size and its progress.
            .timeout_config(s3_timeouts())
            .force_path_style(endpoint.is_some() || self.has_endpoint_override());
        if let Some((address, region)) = endpoint {
            config = config.endpoint_url(address).region(Region::new(region.to_owned()));
        }
        if let Some((id, secret)) = keys {
            let (id, secret) = (id.expose_secret(), secret.expose_secret());
            config =
                config.credentials_provider(Credentials::new(id, secret, None, None, "policy"));
        }
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Whether S3's endpoint is overridden in the environment.
    fn has_endpoint_override(&self) -> bool {
        self.base.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some()
    }

    /// Secrets Manager at a place.
    pub fn secrets(&self, place: &Location) -> secrets::SecretsManagerClient {
        let config = aws_sdk_secretsmanager::config::Builder::from(
            &self.config_for(place, RolePurpose::Read),
        );
        let config = config.interceptor(self.calls.clone()).build();
        secrets::SecretsManagerClient(aws_sdk_secretsmanager::Client::from_conf(config))
    }

    /// A token that stands for the password of `user` at a database of RDS with IAM authentication; good for 15 minutes.
    ///
    /// # Errors
    /// If there are no credentials.
    pub async fn rds_token(
        &self,
        place: &Location,
        host: &str,
        port: u16,
        user: &str,
    ) -> Result<SecretString, OperationError> {
        secrets::rds_token(&self.config_for(place, RolePurpose::Read), host, port, user).await
    }

    /// KMS at a place.
    pub fn kms(&self, place: &Location) -> kms::KmsClient {
        let config = aws_sdk_kms::config::Builder::from(&self.config_for(place, RolePurpose::Read));
        kms::KmsClient(aws_sdk_kms::Client::from_conf(
            config.interceptor(self.calls.clone()).build(),
        ))
    }

    /// IAM of a place's account.
    pub fn iam(&self, place: &Location) -> iam::IamClient {
        let config = aws_sdk_iam::config::Builder::from(&self.config_for(place, RolePurpose::Read));
        iam::IamClient(aws_sdk_iam::Client::from_conf(
            config.interceptor(self.calls.clone()).build(),
        ))
    }

    /// CloudWatch at a place.
    pub fn cloudwatch(&self, place: &Location) -> cloudwatch::CloudWatchClient {
        let config =
            aws_sdk_cloudwatch::config::Builder::from(&self.config_for(place, RolePurpose::Read));
        let client =
            aws_sdk_cloudwatch::Client::from_conf(config.interceptor(self.calls.clone()).build());
        cloudwatch::CloudWatchClient(client)
    }

    /// SES at a place.
    pub fn ses(&self, place: &Location) -> ses::SesClient {
        let config =
            aws_sdk_sesv2::config::Builder::from(&self.config_for(place, RolePurpose::Read));
        ses::SesClient(aws_sdk_sesv2::Client::from_conf(
            config.interceptor(self.calls.clone()).build(),
        ))
    }

    /// SNS at a place.
    pub fn sns(&self, place: &Location) -> sns::SnsClient {
        let config = aws_sdk_sns::config::Builder::from(&self.config_for(place, RolePurpose::Read));
        sns::SnsClient(aws_sdk_sns::Client::from_conf(
            config.interceptor(self.calls.clone()).build(),
        ))
    }
}

/// What a call of S3 may take that carries no data: one try of it, and all of them.
fn s3_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_mins(1))
        .operation_timeout(Duration::from_mins(5))
        .build()
}

/// Credentials of a role, assumed when they are first needed.
#[derive(Debug)]
struct AssumeRoleCredentials {
    role: String,
    external_id: Option<String>,
    base: SdkConfig,
    region: Region,
    provider: tokio::sync::OnceCell<aws_config::sts::AssumeRoleProvider>,
}

impl aws_credential_types::provider::ProvideCredentials for AssumeRoleCredentials {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(async {
            let make = || async {
                let role = aws_config::sts::AssumeRoleProvider::builder(&self.role)
                    .session_name("holdfast")
                    // Opt-in regions know their own STS endpoint only.
                    .region(self.region.clone())
                    .configure(&self.base);
                match &self.external_id {
                    Some(id) => role.external_id(id).build().await,
                    None => role.build().await,
                }
            };
            self.provider.get_or_init(make).await.provide_credentials().await
        })
    }
}
