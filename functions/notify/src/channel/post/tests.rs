use super::*;
use crate::channel::sink::{MockHttpServer, http_response};
use serde_json::json;

const NOW: &str = "2026-11-21T08:30:00Z";

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

async fn post_to(address: &str, secrets: &[&str]) -> Result<(), DeliveryError> {
    let address = address.into();
    let secrets: Vec<SecretString> = secrets.iter().map(|s| (*s).into()).collect();
    let post = WebhookRequest {
        address: &address,
        headers: HeaderMap::new(),
        body: &json!({"a": "ü"}),
        secrets: secrets.iter().collect(),
    };
    HttpClient::new().post(post, now()).await
}

async fn delivery_error(status: &str, headers: &str, body: &str) -> DeliveryError {
    let sink = MockHttpServer::with_responses(vec![http_response(status, headers, body)]).await;
    let refused = post_to(&format!("{}/services/T0/B0/marked4secret", sink.url), &["k3y"]).await;
    sink.into_requests().await;
    refused.expect_err("a refusal")
}

#[tokio::test]
async fn json_is_posted_once_and_any_success_is_enough() {
    for status in ["200 OK", "202 Accepted", "204 No Content"] {
        let sink = MockHttpServer::with_responses(vec![http_response(status, "", "")]).await;
        post_to(&format!("{}/x", sink.url), &[]).await.expect("taken");
        let asked = sink.into_requests().await;
        assert!(asked[0].starts_with("POST /x HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[0].contains("content-type: application/json; charset=utf-8"), "{}", asked[0]);
        assert!(asked[0].ends_with(r#"{"a":"ü"}"#), "{}", asked[0]);
    }
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_never_will() {
    let table = [
        ("429 Too Many Requests", false),
        ("408 Request Timeout", false),
        ("500 Internal Server Error", false),
        ("503 Service Unavailable", false),
        ("400 Bad Request", true),
        ("401 Unauthorized", true),
        ("404 Not Found", true),
        ("410 Gone", true),
        ("413 Content Too Large", true),
    ];
    for (status, permanent) in table {
        let refused = delivery_error(status, "", "no_service").await;
        assert_eq!(refused.permanent, permanent, "{status}");
        assert!(refused.why.contains(&status[..3]), "{}", refused.why);
        assert!(refused.why.ends_with(": no_service"), "{}", refused.why);
    }
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    let table = [
        ("retry-after: 30\r\n", Some(30)),
        ("retry-after: Sat, 21 Nov 2026 08:32:00 GMT\r\n", Some(120)),
        ("retry-after: Sat, 21 Nov 2026 08:00:00 GMT\r\n", Some(0)),
        ("retry-after: 99999999\r\n", Some(86_400)),
        ("retry-after: soon\r\n", None),
        ("", None),
    ];
    for (header, seconds) in table {
        let refused = delivery_error("429 Too Many Requests", header, "").await;
        assert_eq!(refused.retry_after, seconds.map(Duration::from_secs), "{header}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = MockHttpServer::with_responses(vec![http_response("200 OK", "", "")]).await;
    let header = format!("location: {}/elsewhere\r\n", other.url);
    for status in ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let refused = delivery_error(status, &header, "").await;
        assert!(refused.permanent, "{status}");
        assert!(refused.why.contains("redirects are not followed"), "{}", refused.why);
    }
    assert!(!other.requests.is_finished());
}

#[tokio::test]
async fn no_error_shows_the_address_or_a_secret() {
    let secret = "/services/T0/B0/marked4secret";
    let sink = MockHttpServer::with_responses(vec![
        String::new(),
        "no HTTP at all\r\n\r\n".into(),
        http_response("403 Forbidden", "", "no /services\\/T0\\/B0\\/marked4secret here"),
        http_response("403 Forbidden", "", "the key is k3y"),
    ])
    .await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("its address"))
    };
    let mut errors = Vec::new();
    for base in [&sink.url, &sink.url, &sink.url, &sink.url, &closed] {
        errors.push(post_to(&format!("{base}{secret}"), &["k3y"]).await.expect_err("a refusal"));
    }
    for address in [
        "marked4secret",
        "http://example.com/marked4secret",
        "ftp://127.0.0.1/marked4secret",
        "https://marked4secret:x@[::1",
        "https://nowhere.invalid/marked4secret",
    ] {
        errors.push(post_to(address, &["k3y"]).await.expect_err("a refusal"));
    }
    for e in &errors {
        let all = format!("{e} {e:?}");
        assert!(!all.contains("marked4secret") && !all.contains("k3y"), "{all}");
    }
    assert_eq!(sink.into_requests().await.len(), 4);
}

#[test]
fn an_answer_is_shown_short_on_one_line_and_only_if_no_part_of_a_secret_is_in_it() {
    let secret: SecretString = "https://hooks.slack.com/services/T0AAAA1/B0/abcdefghij".into();
    let short: SecretString = "a-b".into();
    let show = |text: &str| redact_response(text.as_bytes(), &[&secret, &short]);
    assert_eq!(show("invalid_payload\r\n\r\n\u{1b}[31m").as_deref(), Some("invalid_payload [31m"));
    assert_eq!(show(" \n"), None);
    assert_eq!(show(&"x".repeat(4_000)).expect("some").chars().count(), MAX_ERROR_CHARS);
    for bad in ["abcdefghij", "{\"token\": \"T0AAAA1\"}", "a-b"] {
        assert!(show(bad).expect("some").contains("not shown"), "{bad}");
    }
}

#[test]
fn only_this_host_is_told_without_encryption() {
    let table = [
        ("https://hooks.slack.com/x", true),
        ("http://127.0.0.1:8080/x", true),
        ("http://[::1]/x", true),
        ("http://localhost/x", true),
        ("http://localhost.example.com/x", false),
        ("http://127.0.0.1.example.com/x", false),
        ("http://10.0.0.1/x", false),
        ("file:///etc/passwd", false),
    ];
    for (address, may) in table {
        assert_eq!(parse_webhook_url(address).is_ok(), may, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    let refused = post_to(&url, &[]).await.expect_err("no answer");
    assert!(refused.why.ends_with("no answer within 15 s"), "{}", refused.why);
    assert!(!refused.permanent);
}

#[tokio::test]
async fn an_endless_answer_is_read_to_four_kilobytes() {
    let sink = MockHttpServer::with_responses(vec![http_response(
        "400 Bad Request",
        "",
        &"y".repeat(1 << 20),
    )])
    .await;
    let refused = post_to(&sink.url, &[]).await.expect_err("a refusal");
    assert!(refused.why.chars().count() < 300, "{}", refused.why.len());
    sink.into_requests().await;
}
