use super::*;
use crate::{
    channel::samples::{KINDS, flood, sample},
    message::Kind,
};

fn mail(message: &Message) -> String {
    let to = ["\"Bör, Åsa\" <asa@example.com>".to_owned(), "on-call@example.com".to_owned()];
    let mail =
        write(&words::bounded(message), "Holdfast <backups@example.com>", &to).expect("a mail");
    String::from_utf8(mail.formatted()).expect("ASCII")
}

fn headers(mail: &str) -> Vec<&str> {
    mail.split_once("\r\n\r\n").expect("headers").0.split("\r\n").collect()
}

fn header<'a>(mail: &'a str, name: &str) -> &'a str {
    let start = format!("{name}: ");
    headers(mail).into_iter().find_map(|l| l.strip_prefix(&start)).unwrap_or_default()
}

#[test]
fn a_mail_has_text_and_page_and_says_that_no_person_wrote_it() {
    let mail = mail(&sample(Kind::Test));
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
    let (opened, resolved) = (mail(&sample(Kind::Opened)), mail(&sample(Kind::Resolved)));
    assert_ne!(header(&opened, "Message-ID"), header(&resolved, "Message-ID"));
    let thread = header(&resolved, "References");
    assert!(thread.starts_with('<') && thread.ends_with("@example.com>"), "{thread}");
    assert!(opened.contains(thread), "{opened}");
    assert_eq!(mail(&sample(Kind::Opened)), opened, "the same message is the same mail");
}

#[test]
fn no_name_or_sentence_adds_a_header() {
    let mut message = flood();
    message.title = "x\r\nBcc: everybody@example.com".into();
    message.company = "A\nX-Evil: 1\r\n\r\nbody".into();
    message.thread = Some("t>\r\nX-Evil: 2".into());
    let mail = mail(&message);
    for line in headers(&mail) {
        assert!(!line.starts_with("Bcc") && !line.starts_with("X-Evil"), "{line}");
        assert!(line.len() <= 998, "{}", line.len());
    }
    assert!(mail.len() < 1 << 20, "{}", mail.len());
}

#[test]
fn html_in_a_name_stays_text() {
    for kind in KINDS {
        let page = page::render(&words::bounded(&sample(kind)));
        assert!(!page.contains("<script"), "{page}");
    }
    let page = page::render(&words::bounded(&sample(Kind::Opened)));
    assert!(page.contains("&lt;script&gt;alert('1')&lt;/script&gt;"), "{page}");
    assert!(!page.contains("http"), "nothing is fetched: {page}");
}

#[test]
fn what_is_no_address_is_refused_with_its_name() {
    let message = sample(Kind::Test);
    let to = ["x@example.com\r\nBcc: y@example.com".to_owned()];
    let refused = write(&message, "backups@example.com", &to).expect_err("no address");
    assert!(refused.permanent && refused.why.contains("no mail address"), "{}", refused.why);
    let refused = write(&message, "nobody", &[]).expect_err("no sender");
    assert!(refused.why.starts_with("the sender nobody is no mail address"), "{}", refused.why);
}
