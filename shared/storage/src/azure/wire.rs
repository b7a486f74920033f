//! What is added to requests on their way out: a condition and a checksum, and with an account's key a new signature,
//! since both are signed.

use crate::stall;
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use object_store::{
    ClientOptions,
    azure::{AzureAuthorizer, AzureCredential, AzureCredentialProvider},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpService, ReqwestConnector,
    },
};
use std::sync::{Arc, OnceLock};

/// Makes clients that add it. Credentials are known only after the client is made.
#[derive(Clone, Debug, Default)]
pub(super) struct SigningConnector(Arc<OnceLock<RequestSigner>>);

#[derive(Debug)]
struct RequestSigner {
    account: String,
    credentials: AzureCredentialProvider,
}

impl SigningConnector {
    pub(super) fn sign_with(&self, account: &str, credentials: AzureCredentialProvider) {
        let _ = self.0.set(RequestSigner { account: account.to_owned(), credentials });
    }
}

impl HttpConnector for SigningConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(HeaderInjectingService { inner, signer: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
struct HeaderInjectingService {
    inner: HttpClient,
    signer: Arc<OnceLock<RequestSigner>>,
}

#[async_trait]
impl HttpService for HeaderInjectingService {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if add_headers(&mut request)
            && let Some(signer) = self.signer.get()
        {
            let wrong = |e: object_store::Error| HttpError::new(HttpErrorKind::Request, e);
            let credential = signer.credentials.get_credential().await.map_err(wrong)?;
            // Tokens and shared access signatures sign no headers.
            if matches!(*credential, AzureCredential::AccessKey(_)) {
                request.headers_mut().remove("authorization");
                let signed = AzureAuthorizer::new(&credential, &signer.account);
                signed.try_authorize(&mut request).map_err(wrong)?;
            }
        }
        let longest = stall::max_transfer_time(request.body().content_length() as u64);
        let answer = tokio::time::timeout(longest, self.inner.execute(request)).await;
        answer.unwrap_or_else(|e| Err(HttpError::new(HttpErrorKind::Timeout, e)))
    }
}

/// Adds the headers; whether there were any to add.
pub(super) fn add_headers(request: &mut HttpRequest) -> bool {
    if request.method().as_str() != "PUT" {
        return false;
    }
    let query = request.uri().query().unwrap_or_default();
    let comp = query.split('&').find_map(|pair| pair.strip_prefix("comp="));
    let blob = request.headers().contains_key("x-ms-blob-type")
        && !request.headers().contains_key("x-ms-copy-source");
    match comp {
        // The list makes the blob; there must be none.
        Some("blocklist") => {
            let any = "*".parse().expect("a header");
            request.headers_mut().insert("if-none-match", any);
        }
        Some("block") => {}
        None if blob => {}
        _ => return false,
    }
    let sum = request.body().as_bytes().map(|b| STANDARD.encode(Md5::digest(b)));
    if let Some(sum) = sum {
        request.headers_mut().insert("content-md5", sum.parse().expect("base64"));
    }
    true
}
