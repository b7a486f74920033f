use super::*;
use aws_config::Region;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_secretsmanager::{
    operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput},
    types::error::ResourceNotFoundException,
};
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use aws_smithy_types::Blob;
use secrecy::ExposeSecret;
use std::time::{Duration, SystemTime};

/// 2015-08-30T12:36:00Z, the time of AWS's examples of signatures.
#[derive(Debug)]
struct FixedTime;

impl aws_smithy_async::time::TimeSource for FixedTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_mins(24_015_636)
    }
}

async fn sign_token(session: Option<&str>, user: &str) -> String {
    // The credentials of AWS's examples of signatures.
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let keys = Credentials::new("AKIDEXAMPLE", secret, session.map(str::to_owned), None, "test");
    let config = SdkConfig::builder()
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .time_source(FixedTime)
        .build();
    let host = "orders.cw3hb4xmpl1e.us-east-1.rds.amazonaws.com";
    let token = rds_token(&config, host, 5432, user).await.expect("a token");
    token.expose_secret().to_owned()
}

#[tokio::test]
async fn a_token_is_the_one_that_boto3_makes_at_the_same_time() {
    // generate_db_auth_token of boto3 under this clock.
    let boto3 = "orders.cw3hb4xmpl1e.us-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=jane_doe\
        &X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Frds-db%2Faws4_request\
        &X-Amz-Date=20150830T123600Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=d73703354f995e010a70df26bc19e44ed2e03b9862b01be02e5328ca385237fa";
    assert_eq!(sorted_parameters(&sign_token(None, "jane_doe").await), sorted_parameters(boto3));
    let boto3 = "orders.cw3hb4xmpl1e.us-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=jane%2Bx%40corp\
        &X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Frds-db%2Faws4_request\
        &X-Amz-Date=20150830T123600Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
        &X-Amz-Security-Token=a%2Fb%2Bc%3D%3D\
        &X-Amz-Signature=40137da7d3841aa9d5383197ddd9e02e5f5884160abc6afd7eb1742ec541f177";
    assert_eq!(
        sorted_parameters(&sign_token(Some("a/b+c=="), "jane+x@corp").await),
        sorted_parameters(boto3)
    );
}

/// The order of parameters is free: the server sorts them before it checks the signature.
fn sorted_parameters(token: &str) -> Vec<&str> {
    let mut parts: Vec<_> = token.split(['?', '&']).collect();
    parts.sort_unstable();
    parts
}

#[tokio::test]
async fn a_secret_is_read_by_its_stage_and_may_have_no_previous_version() {
    let current = mock!(Client::get_secret_value)
        .match_requests(|r| r.version_stage() == Some("AWSCURRENT") && r.secret_id() == Some("db"))
        .then_output(|| GetSecretValueOutput::builder().secret_string("s3cret").build());
    let previous = mock!(Client::get_secret_value)
        .match_requests(|r| r.version_stage() == Some("AWSPREVIOUS"))
        .then_error(|| {
            GetSecretValueError::ResourceNotFoundException(
                ResourceNotFoundException::builder()
                    .meta(
                        aws_smithy_types::error::ErrorMetadata::builder()
                            .code("ResourceNotFoundException")
                            .build(),
                    )
                    .build(),
            )
        });
    let binary = mock!(Client::get_secret_value)
        .match_requests(|r| r.secret_id() == Some("binary"))
        .then_output(|| GetSecretValueOutput::builder().secret_binary(Blob::new([0xff])).build());
    let rules = [&current, &previous, &binary];
    let secrets =
        SecretsManagerClient(mock_client!(aws_sdk_secretsmanager, RuleMode::MatchAny, rules));
    let read = secrets
        .get_secret_value("db", VersionStage::Current)
        .await
        .expect("read")
        .expect("a version");
    assert_eq!(read.expose_secret(), "s3cret");
    assert!(secrets.get_secret_value("db", VersionStage::Previous).await.expect("asked").is_none());
    let error =
        secrets.get_secret_value("binary", VersionStage::Current).await.expect_err("no text");
    assert_eq!(error.to_string(), "read secret binary: its value is no text");
}
