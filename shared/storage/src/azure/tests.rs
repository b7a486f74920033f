use super::*;
use object_store::client::HttpRequest;

fn test_backend(endpoint: Option<&str>) -> AzureBackend {
    let key = SecretString::from("a2V5".to_owned());
    AzureBackend::new("acme", "backups", endpoint, Some(&key), "pg/").expect("opened")
}

#[test]
fn addresses_and_commands_are_what_a_shell_takes() {
    assert_eq!(test_backend(None).address(), "azure://acme/backups/pg");
    insta::assert_snapshot!(
        test_backend(Some("http://127.0.0.1:10000/acme")).download_command("my db.dump"),
        @"az storage blob download --account-name acme --container-name backups --name 'pg/my db.dump' --file /dev/stdout --no-progress --output none --blob-endpoint http://127.0.0.1:10000/acme"
    );
    assert!(!format!("{:?}", test_backend(None)).contains("a2V5"));
}

fn put_request(method: &str, uri: &str, blob: bool) -> HttpRequest {
    let mut request = HttpRequest::new(Bytes::from_static(b"abc").into());
    *request.method_mut() = method.parse().expect("a method");
    *request.uri_mut() = uri.parse().expect("an address");
    if blob {
        request.headers_mut().insert("x-ms-blob-type", "BlockBlob".parse().expect("a header"));
    }
    request
}

#[test]
fn a_block_is_sent_with_its_md5_and_a_list_of_blocks_only_makes_new_blobs() {
    let said = |method, uri, blob| {
        let mut request = put_request(method, uri, blob);
        let added = wire::add_headers(&mut request);
        let header =
            |name: &str| request.headers().get(name).map(|v| v.to_str().expect("text").to_owned());
        (added, header("if-none-match"), header("content-md5"))
    };
    // RFC 1321, appendix A.5.
    let md5 = Some("kAFQmDzST7DWlj99KOF/cg==".to_owned());
    let block = said("PUT", "http://a/b/k?comp=block&blockid=x", false);
    assert_eq!(block, (true, None, md5.clone()));
    let list = said("PUT", "http://a/b/k?comp=blocklist", false);
    assert_eq!(list, (true, Some("*".into()), md5.clone()));
    assert_eq!(said("PUT", "http://a/b/k", true), (true, None, md5));
    assert_eq!(said("PUT", "http://a/b/k?comp=tier", false), (false, None, None));
    assert_eq!(said("GET", "http://a/b?comp=list", false), (false, None, None));
}

#[test]
fn an_archived_and_a_locked_blob_are_told_by_their_codes() {
    let said = |code: &str| {
        let source = code.to_owned().into();
        to_store_error(
            "read x".into(),
            &object_store::Error::Generic { store: "MicrosoftAzure", source },
        )
        .kind
    };
    assert_eq!(said("409 Conflict: BlobArchived"), StoreErrorKind::Archived);
    assert_eq!(said("409 Conflict: BlobImmutableDueToPolicy"), StoreErrorKind::Locked);
    assert_eq!(said("400 Bad Request: Md5Mismatch"), StoreErrorKind::Damaged);
    assert_eq!(said("403 Forbidden: AuthorizationFailure"), StoreErrorKind::Denied);
    assert_eq!(said("404 Not Found: ContainerNotFound"), StoreErrorKind::Missing);
    assert_eq!(said("connection refused"), StoreErrorKind::Unreachable);
}
