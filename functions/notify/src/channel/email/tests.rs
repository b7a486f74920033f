use super::*;
use crate::{
    channel::samples::{ALL_KINDS, flood_message, sample_message},
    message::MessageKind,
};

fn render_mail(message: &ChannelMessage) -> String {
    let read = |text: &str| parse_mailbox(text).expect(text);
    let to = ["Bör, Åsa <asa@example.com>", "on-call@example.com"].map(read);
    let from = read("Holdfast <backups@example.com>");
    let mail = build_mail(&words::truncate_message(message), &from, &to).expect("a mail");
    String::from_utf8(mail.formatted()).expect("ASCII")
}

fn header_lines(mail: &str) -> Vec<&str> {
    mail.split_once("\r\n\r\n").expect("headers").0.split("\r\n").collect()
}

fn header_of<'a>(mail: &'a str, name: &str) -> &'a str {
    let start = format!("{name}: ");
    header_lines(mail).into_iter().find_map(|l| l.strip_prefix(&start)).unwrap_or_default()
}

#[test]
fn a_mail_has_text_and_page_and_says_that_no_person_wrote_it() {
    let mail = render_mail(&sample_message(MessageKind::Test));
    insta::assert_snapshot!(mail.replace("\r\n", "\n"), @r#"
    Message-ID: <192772e45a40cbac31052234a29af108@example.com>
    Date: Sat, 21 Nov 2026 08:30:00 +0000
    From: Holdfast <backups@example.com>
    Subject: Lomash =?utf-8?b?V8O2b2Q=?= & =?utf-8?b?U8O2aG5lOg==?= test: this
     channel works
    Auto-Submitted: auto-generated
    To: =?utf-8?b?QsO2ciwgw4VzYQ==?= <asa@example.com>, on-call@example.com
    MIME-Version: 1.0
    Content-Type: multipart/alternative;
     boundary="df059125bc212049bc4ef09c8edf05ca"

    --df059125bc212049bc4ef09c8edf05ca
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: quoted-printable

    Lomash W=C3=B6od & S=C3=B6hne: test: this channel works

    Holdfast, 2026-11-21 08:30 UTC, lomash-test-202611210830

    --df059125bc212049bc4ef09c8edf05ca
    Content-Type: text/html; charset=utf-8
    Content-Transfer-Encoding: quoted-printable

    <!DOCTYPE html><html lang=3D"en"><head><meta charset=3D"utf-8"><title>Lomas=
    h W=C3=B6od &amp; S=C3=B6hne: test: this channel works</title></head><body =
    style=3D"font-family:sans-serif;max-width:50em"><div style=3D"border-left:6=
    px solid #1565c0;padding-left:12px"><p>=F0=9F=94=94 Lomash W=C3=B6od &amp; =
    S=C3=B6hne: <strong>test</strong></p><h1 style=3D"font-size:1.2em">this cha=
    nnel works</h1></div><p style=3D"font-size:0.8em">Holdfast, 2026-11-21 08:3=
    0 UTC, lomash-test-202611210830</p></body></html>
    --df059125bc212049bc4ef09c8edf05ca--
    "#);
}

#[test]
fn what_is_opened_and_what_is_resolved_are_one_conversation_of_different_mails() {
    let (opened, resolved) = (
        render_mail(&sample_message(MessageKind::Opened)),
        render_mail(&sample_message(MessageKind::Resolved)),
    );
    assert_ne!(header_of(&opened, "Message-ID"), header_of(&resolved, "Message-ID"));
    let thread = header_of(&resolved, "References");
    assert!(thread.starts_with('<') && thread.ends_with("@example.com>"), "{thread}");
    assert!(opened.contains(thread), "{opened}");
    assert_eq!(
        render_mail(&sample_message(MessageKind::Opened)),
        opened,
        "the same message is the same mail"
    );
}

#[test]
fn no_name_or_sentence_adds_a_header() {
    let mut message = flood_message();
    message.title = "x\r\nBcc: everybody@example.com".into();
    message.company = "A\nX-Evil: 1\r\n\r\nbody".into();
    message.thread = Some("t>\r\nX-Evil: 2".into());
    let mail = render_mail(&message);
    for line in header_lines(&mail) {
        assert!(!line.starts_with("Bcc") && !line.starts_with("X-Evil"), "{line}");
        assert!(line.len() <= 998, "{}", line.len());
    }
    assert!(mail.len() < 1 << 20, "{}", mail.len());
}

#[test]
fn html_in_a_name_stays_text() {
    for kind in ALL_KINDS {
        let page = page::render_page(&words::truncate_message(&sample_message(kind)));
        assert!(!page.contains("<script"), "{page}");
    }
    let page = page::render_page(&words::truncate_message(&sample_message(MessageKind::Opened)));
    assert!(page.contains("&lt;script&gt;alert('1')&lt;/script&gt;"), "{page}");
    assert!(!page.contains("http"), "nothing is fetched: {page}");
}

#[test]
fn what_is_no_address_is_refused_with_its_name() {
    let refused = parse_mailbox("x@example.com\r\nBcc: y@example.com").expect_err("no address");
    assert!(refused.contains("is no e-mail address"), "{refused}");
    let wide = parse_mailbox("Архив <backups@пример.бг>").expect("an address");
    assert_eq!(wide.email.to_string(), "backups@xn--e1afmkfd.xn--90ae");
}

/// A mail server which knows no SMTPUTF8, refuses what its rule says, and gives back whom it told.
async fn mock_smtp_server(
    refuses: fn(&str) -> Option<&'static str>,
) -> (u16, tokio::task::JoinHandle<Vec<String>>, tokio::sync::oneshot::Sender<()>) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (end, mut ended) = tokio::sync::oneshot::channel();
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        loop {
            let mut stream = tokio::select! {
                accepted = listener.accept() => BufReader::new(accepted.expect("a connection").0),
                _ = &mut ended => return told,
            };
            stream.write_all(b"220 here\r\n").await.expect("written");
            let (mut to, mut line) = (Vec::new(), String::new());
            loop {
                line.clear();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    break;
                }
                let answer = match line.trim_end() {
                    ehlo if ehlo.starts_with("EHLO") => "250-here\r\n250 8BITMIME",
                    rcpt if rcpt.starts_with("RCPT TO:<") => {
                        let address = rcpt[9..].trim_end_matches('>').to_owned();
                        refuses(&address).unwrap_or_else(|| {
                            to.push(address);
                            "250 ok"
                        })
                    }
                    "DATA" => {
                        stream.write_all(b"354 go\r\n").await.expect("written");
                        while line != ".\r\n" {
                            line.clear();
                            stream.read_line(&mut line).await.expect("a mail");
                        }
                        told.append(&mut to);
                        "250 taken"
                    }
                    "QUIT" => "221 bye",
                    _ => {
                        to.clear();
                        "250 ok"
                    }
                };
                stream.write_all(format!("{answer}\r\n").as_bytes()).await.expect("written");
            }
        }
    });
    (port, told, end)
}

/// Sends a test message by a channel, with these clients.
async fn send_test_message(
    channel: &ChannelConfig,
    aws: &shared::aws::AwsClients,
) -> Result<(), DeliveryError> {
    let notify = serde_json::from_value(serde_json::json!({ "channels": {}, "routes": [] }));
    let notify: shared::policy::notify::NotifyConfig = notify.expect("notify");
    let policy = shared::policy::Policy::parse("{holdfast: 1, company: acme, id: host-1}");
    let home = Location::home_from_policy(&policy.expect("a policy"));
    let secrets = shared::secret::SecretResolver::new(aws, &home);
    let http = crate::channel::HttpClient::new();
    let now = sample_message(MessageKind::Test).at;
    let edges =
        ChannelContext { aws, home: &home, secrets: &secrets, http: &http, notify: &notify, now };
    send(channel, &words::truncate_message(&sample_message(MessageKind::Test)), &edges).await
}

/// Sends a test message to these addresses by a server; who was told, and what is said of the others.
async fn send_to_mock(
    to: &[&str],
    refuses: fn(&str) -> Option<&'static str>,
) -> (Vec<String>, Result<(), DeliveryError>) {
    let (port, told, end) = mock_smtp_server(refuses).await;
    let channel: ChannelConfig = serde_json::from_value(serde_json::json!({
        "email": to,
        "smtp": { "host": "127.0.0.1", "port": port, "tls": "never", "from": "Архив <backups@пример.бг>" },
    }))
    .expect("a channel");
    let aws = shared::aws::AwsClients::new(aws_config::SdkConfig::builder().build());
    let sent = send_test_message(&channel, &aws).await;
    end.send(()).expect("the server runs");
    (told.await.expect("the server"), sent)
}

#[tokio::test]
async fn one_bad_address_never_keeps_the_good_ones_from_being_told() {
    let all = [
        "Åsa Bör, Ltd <asa@example.com>",
        "nobody",
        "ops@exämple.se",
        "åsa@example.com",
        "gone@example.com",
        "busy@example.com",
    ];
    let server_says: fn(&str) -> Option<&'static str> = |to| match to {
        "gone@example.com" => Some("550 no such person"),
        "busy@example.com" => Some("450 later"),
        _ => None,
    };
    let (told, sent) = send_to_mock(&all, server_says).await;
    assert_eq!(told, ["asa@example.com", "ops@xn--exmple-cua.se"]);
    let refused = sent.expect_err("four were not told");
    assert!(refused.why.starts_with("4 of 6 addresses: nobody: "), "{}", refused.why);
    assert!(!refused.permanent, "one of them may be told later");
}

#[tokio::test]
async fn an_address_that_needs_smtputf8_is_refused_by_itself_and_for_good() {
    let (told, sent) = send_to_mock(&["åsa@example.com", "ops@example.com"], |_| None).await;
    assert_eq!(told, ["ops@example.com"]);
    let refused = sent.expect_err("one was not told");
    assert!(
        refused.permanent && refused.why.starts_with("1 of 2 addresses: åsa@"),
        "{}",
        refused.why
    );
}

/// A stand-in for SES that refuses each mail to one address and counts who is told. Returns where it is.
async fn ses(told: tokio::sync::mpsc::UnboundedSender<Vec<String>>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut part) = (Vec::new(), vec![0; 65_536]);
            let body = loop {
                let read = stream.read(&mut part).await.expect("a request");
                request.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&request).to_lowercase();
                let Some(head) = text.find("\r\n\r\n") else { continue };
                let length = text.split("content-length: ").nth(1).and_then(|l| l.lines().next());
                let length: usize = length.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
                if request.len() >= head + 4 + length {
                    break request[head + 4..].to_vec();
                }
            };
            let body: serde_json::Value = serde_json::from_slice(&body).expect("json");
            let to: Vec<String> =
                serde_json::from_value(body["Destination"]["ToAddresses"].clone()).expect("to");
            let (status, said) = if to.iter().any(|a| a == "gone@example.com") {
                (
                    "400 Bad Request",
                    r#"{"__type": "MessageRejected", "message": "no such address"}"#,
                )
            } else {
                told.send(to).expect("the test listens");
                ("200 OK", r#"{"MessageId": "1"}"#)
            };
            let length = said.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{said}"
            );
            stream.write_all(answer.as_bytes()).await.expect("answered");
        }
    });
    address
}

#[tokio::test]
async fn an_address_that_ses_refuses_keeps_no_other_from_being_told() {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let credentials = aws_credential_types::Credentials::new("a", "b", None, None, "test");
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-west-1"))
        .endpoint_url(ses(sender).await)
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
            credentials,
        ));
    let aws = shared::aws::AwsClients::new(config.build());
    let channel: ChannelConfig = serde_json::from_value(serde_json::json!({
        "email": ["asa@example.com", "gone@example.com", "ops@example.com"],
        "ses": { "from": "backups@example.com", "region": "eu-west-1" },
    }))
    .expect("a channel");
    let sent = send_test_message(&channel, &aws).await;
    let refused = sent.expect_err("one was not told");
    assert!(refused.why.starts_with("1 of 3 addresses: gone@example.com: "), "{}", refused.why);
    assert!(refused.why.contains("MessageRejected"), "{}", refused.why);
    let mut all = Vec::new();
    while let Ok(to) = told.try_recv() {
        all.extend(to);
    }
    assert_eq!(all, ["asa@example.com", "ops@example.com"]);
}
