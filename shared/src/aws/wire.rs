//! An AWS for tests: what every client sends comes to one closure, as it goes over the wire.

use super::AwsClients;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_rds::config::{Credentials, HttpClient, http::HttpResponse};
use aws_smithy_http_client::test_util::{NeverClient, infallible_client_fn};
use aws_smithy_types::body::SdkBody;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    /// The operation; for S3, the method and the address.
    pub(crate) operation: String,
    /// The host.
    pub(crate) host: String,
    /// The parameters, decoded, one a line, of RDS and SNS; the printable part of other bodies.
    pub(crate) body: String,
}

impl RecordedRequest {
    /// A parameter of RDS or SNS.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// An answer: status and body.
pub(crate) type CannedResponse = (u16, Vec<u8>);

/// An AWS that is answered by a closure. Throttled requests are sent again, six times in all.
pub(crate) fn mock_aws(
    answer: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> AwsClients {
    let client = infallible_client_fn(move |request| {
        let uri = request.uri().to_string();
        let host = request.uri().host().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let operation = match uri.split_once("/operation/") {
            Some((_, name)) => name.to_owned(),
            None => body
                .strip_prefix("Action=")
                .and_then(|b| b.split('&').next())
                .map_or_else(|| format!("{} {uri}", request.method()), str::to_owned),
        };
        let body = if body.starts_with("Action=") { decode_form(&body) } else { body };
        let (status, body) = answer(&RecordedRequest { operation, host, body });
        let status = status.try_into().expect("a status");
        let mut response = HttpResponse::new(status, SdkBody::from(body));
        response.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
        response.headers_mut().insert("etag", "\"1\"");
        response.try_into_http1x().expect("a response")
    });
    aws_with_http_client(client)
}

/// An AWS that takes every request and never answers.
pub(crate) fn unresponsive_aws() -> AwsClients {
    aws_with_http_client(NeverClient::new())
}

fn aws_with_http_client(client: impl HttpClient + 'static) -> AwsClients {
    let base = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
        .retry_config(RetryConfig::standard().with_max_attempts(6))
        .http_client(client);
    AwsClients::new(base.build())
}

/// An answer of RDS.
pub(crate) fn rds_response(operation: &str, result: &str) -> CannedResponse {
    let xml = format!(
        "<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>"
    );
    (200, xml.into_bytes())
}

/// A refusal as RDS and SNS write it.
pub(crate) fn query_error_response(status: u16, code: &str) -> CannedResponse {
    let error = format!("<Error><Code>{code}</Code><Message>said AWS</Message></Error>");
    (status, format!("<ErrorResponse>{error}</ErrorResponse>").into_bytes())
}

/// An answer of CloudWatch with nothing in it: an empty map.
pub(crate) fn empty_cbor_response() -> CannedResponse {
    (200, vec![0xa0])
}

/// A refusal as CloudWatch writes it: a map of one text.
pub(crate) fn cbor_error_response(status: u16, code: &str) -> CannedResponse {
    let text = |s: &str| [vec![0x78, u8::try_from(s.len()).expect("short")], s.into()].concat();
    (status, [vec![0xa1], text("__type"), text(code)].concat())
}

/// Parameters of the query protocol, one a line.
fn decode_form(body: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = body.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'&' => b'\n',
            b'+' => b' ',
            b'%' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).expect("two digits")
            }
            other => other,
        });
    }
    String::from_utf8(out).expect("text")
}
