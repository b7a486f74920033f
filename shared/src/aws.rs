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

pub use calls::{Calls, Use};
pub use error::{EdgeError, Kind};

use crate::catalog::{Place, Purpose};
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
pub struct Aws {
    base: SdkConfig,
    places: Mutex<BTreeMap<(Place, Purpose), SdkConfig>>,
    calls: Calls,
}

impl Aws {
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
        Self { base, places: Mutex::default(), calls: Calls::default() }
    }

    /// The region that the process runs in.
    pub fn region(&self) -> Option<String> {
        self.base.region().map(ToString::to_string)
    }

    /// What this process has asked of AWS so far.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Configuration for a place: its region, and its role's credentials when it is another account's.
    fn at(&self, place: &Place, purpose: Purpose) -> SdkConfig {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let made = places.entry((place.clone(), purpose)).or_insert_with(|| {
            let region = Region::new(place.region.to_string());
            let builder = self.base.to_builder().region(region.clone());
            match &place.role {
                None => builder.build(),
                Some(roles) => builder
                    .credentials_provider(SharedCredentialsProvider::new(Assumed {
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
    pub fn rds(&self, place: &Place) -> rds::Rds {
        self.rds_for(place, Purpose::Read)
    }

    /// RDS at a place, for what is done there.
    pub fn rds_for(&self, place: &Place, purpose: Purpose) -> rds::Rds {
        let config = aws_sdk_rds::config::Builder::from(&self.at(place, purpose));
        let client = aws_sdk_rds::Client::from_conf(config.interceptor(self.calls.clone()).build());
        rds::Rds::new(client, place.clone())
    }

    /// S3 at a place, to look at it; at home to write there too.
    pub fn s3(&self, place: &Place) -> s3::S3 {
        self.s3_for(place, Purpose::Read)
    }

    /// S3 at a place, for what is done there.
    pub fn s3_for(&self, place: &Place, purpose: Purpose) -> s3::S3 {
        let config = aws_sdk_s3::config::Builder::from(&self.at(place, purpose));
        // An endpoint override means a local or S3-compatible store, whose buckets have no host names of their own.
        let config = config.interceptor(self.calls.clone()).force_path_style(self.overridden());
        let config = config.timeout_config(s3_timeouts());
        s3::S3::new(aws_sdk_s3::Client::from_conf(config.build()), place.clone())
    }

    /// A client of S3 for large objects, or of an S3-compatible store at `endpoint` (address and region), which is addressed by path. `keys`
    /// are the store's own access key id and secret; without them the place's credentials are used. The store's region is
    /// what it calls so itself, and goes into each signature.
    ///
    /// No checksum is added that the caller did not ask for: stores that know none of the SDK's would refuse it.
    pub fn s3_client_for(
        &self,
        place: &Place,
        endpoint: Option<(&str, &str)>,
        keys: Option<(&SecretString, &SecretString)>,
    ) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{
            Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation,
        };
        let mut config = Builder::from(&self.at(place, Purpose::Read))
            .interceptor(self.calls.clone())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Each part is tried by itself: what slows one down must not slow the others, as adaptive retry would.
            .retry_config(RetryConfig::standard().with_max_attempts(6))
            // Data has limits of its own where it is sent and read, by its size and its progress.
            .timeout_config(s3_timeouts())
            .force_path_style(endpoint.is_some() || self.overridden());
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
    fn overridden(&self) -> bool {
        self.base.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some()
    }

    /// Secrets Manager at a place.
    pub fn secrets(&self, place: &Place) -> secrets::SecretsManager {
        let config = aws_sdk_secretsmanager::config::Builder::from(&self.at(place, Purpose::Read));
        let config = config.interceptor(self.calls.clone()).build();
        secrets::SecretsManager(aws_sdk_secretsmanager::Client::from_conf(config))
    }

    /// A token that stands for the password of `user` at a database of RDS with IAM authentication; good for 15 minutes.
    ///
    /// # Errors
    /// If there are no credentials.
    pub async fn rds_token(
        &self,
        place: &Place,
        host: &str,
        port: u16,
        user: &str,
    ) -> Result<SecretString, EdgeError> {
        secrets::rds_token(&self.at(place, Purpose::Read), host, port, user).await
    }

    /// KMS at a place.
    pub fn kms(&self, place: &Place) -> kms::Kms {
        let config = aws_sdk_kms::config::Builder::from(&self.at(place, Purpose::Read));
        kms::Kms(aws_sdk_kms::Client::from_conf(config.interceptor(self.calls.clone()).build()))
    }

    /// IAM of a place's account.
    pub fn iam(&self, place: &Place) -> iam::Iam {
        let config = aws_sdk_iam::config::Builder::from(&self.at(place, Purpose::Read));
        iam::Iam(aws_sdk_iam::Client::from_conf(config.interceptor(self.calls.clone()).build()))
    }

    /// CloudWatch at a place.
    pub fn cloudwatch(&self, place: &Place) -> cloudwatch::CloudWatch {
        let config = aws_sdk_cloudwatch::config::Builder::from(&self.at(place, Purpose::Read));
        let client =
            aws_sdk_cloudwatch::Client::from_conf(config.interceptor(self.calls.clone()).build());
        cloudwatch::CloudWatch(client)
    }

    /// SES at a place.
    pub fn ses(&self, place: &Place) -> ses::Ses {
        let config = aws_sdk_sesv2::config::Builder::from(&self.at(place, Purpose::Read));
        ses::Ses(aws_sdk_sesv2::Client::from_conf(config.interceptor(self.calls.clone()).build()))
    }

    /// SNS at a place.
    pub fn sns(&self, place: &Place) -> sns::Sns {
        let config = aws_sdk_sns::config::Builder::from(&self.at(place, Purpose::Read));
        sns::Sns(aws_sdk_sns::Client::from_conf(config.interceptor(self.calls.clone()).build()))
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
struct Assumed {
    role: String,
    external_id: Option<String>,
    base: SdkConfig,
    region: Region,
    provider: tokio::sync::OnceCell<aws_config::sts::AssumeRoleProvider>,
}

impl aws_credential_types::provider::ProvideCredentials for Assumed {
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
