use super::*;
use crate::{
    channel::{
        samples::{ALL_KINDS, flood_message, sample_message},
        sink::{MockHttpServer, http_response},
        words::truncate_message,
    },
    message::MessageKind,
};

/// All texts of a message, each with where it stands.
fn text_fields(body: &Value) -> Vec<(String, String)> {
    fn walk(at: &str, value: &Value, all: &mut Vec<(String, String)>) {
        match value {
            Value::Object(o) => o.iter().for_each(|(k, v)| walk(&format!("{at}.{k}"), v, all)),
            Value::Array(a) => a.iter().for_each(|v| walk(&format!("{at}[]"), v, all)),
            Value::String(s) => all.push((at.into(), s.clone())),
            _ => {}
        }
    }
    let mut all = Vec::new();
    walk("", body, &mut all);
    all
}

/// Whether Slack takes it, by the limits of its reference.
fn assert_within_limits(body: &Value) {
    let blocks = body["blocks"].as_array().expect("blocks");
    assert!(blocks.len() <= 50, "{} blocks", blocks.len());
    assert!(body["blocks"].to_string().chars().count() <= 11_000, "all blocks together");
    for block in blocks {
        assert!(block["fields"].as_array().is_none_or(|f| f.len() <= MAX_FIELDS && !f.is_empty()));
    }
    for (at, text) in text_fields(body) {
        let most = match at.as_str() {
            ".blocks[].text.text" if text.starts_with(['🔴', '✅']) => MAX_HEADER_CHARS,
            ".blocks[].text.text" | ".text" => MAX_SECTION_CHARS,
            _ => MAX_FIELD_CHARS,
        };
        assert!(!text.is_empty() && text.chars().count() <= most, "{at}: {}", text.chars().count());
        assert!(!text.contains('<') && !text.contains('>'), "{at}: {text}");
    }
}

#[test]
fn every_kind_of_message_is_within_slacks_limits() {
    for kind in ALL_KINDS {
        assert_within_limits(&render(&truncate_message(&sample_message(kind))));
    }
}

#[test]
fn ten_thousand_findings_are_named_worst_first_as_far_as_slack_takes_them() {
    let message = truncate_message(&flood_message());
    let body = render(&message);
    assert_within_limits(&body);
    let all = text_fields(&body);
    let named = all.iter().filter(|(_, t)| t.contains("no-backup")).count();
    let more = all
        .iter()
        .find_map(|(_, t)| t.strip_prefix("and ")?.strip_suffix(" more")?.parse::<usize>().ok());
    assert!(named > 0);
    assert_eq!(named + more.expect("what is left out is counted"), 10_000);
}

#[test]
fn what_was_opened_says_what_is_wrong_since_when_what_is_at_risk_and_what_to_do() {
    let body = render(&truncate_message(&sample_message(MessageKind::Opened)));
    let shown: String = text_fields(&body).into_iter().map(|(_, t)| t + "\n").collect();
    insta::assert_snapshot!(shown, @"
    Lomash Wöod &amp; Söhne: critical: 2 assets are in danger
    header
    plain_text
    🔴 Lomash Wöod & Söhne: critical
    section
    mrkdwn
    *2 assets are in danger*
    section
    mrkdwn
    *bestellungen-größe (production)* · stale
    mrkdwn
    *What is wrong*
    the newest good point is 26h old, 24h are allowed
    mrkdwn
    *Since*
    2026-11-21 06:15 UTC (2h 15m)
    mrkdwn
    *At risk*
    1d 2h of data: 108% of the 1d allowed
    mrkdwn
    *Last good point*
    orders-daily-202611200200 at eu-west-1
    section
    mrkdwn
    ```holdfast run snapshot --asset bestellungen-größe```
    section
    mrkdwn
    *&lt;script&gt;alert('1')&lt;/script&gt;* · no-backup
    mrkdwn
    *What is wrong*
    no recovery point &amp; no copy; see &lt;!channel&gt;
    mrkdwn
    *Since*
    2026-11-21 08:30 UTC (0s)
    mrkdwn
    *Last good point*
    none
    section
    mrkdwn
    look at what is there under that name
    context
    mrkdwn
    Holdfast, 2026-11-21 08:30 UTC, lomash-opened-202611210830
    ");
}

#[test]
fn what_is_resolved_says_how_long_it_lasted_and_nothing_to_do() {
    let body = render(&truncate_message(&sample_message(MessageKind::Resolved)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).expect("JSON"), @r#"
    {
      "text": "Lomash Wöod &amp; Söhne: resolved: bestellungen-größe is good again",
      "blocks": [
        {
          "type": "header",
          "text": {
            "type": "plain_text",
            "text": "✅ Lomash Wöod & Söhne: resolved",
            "emoji": true
          }
        },
        {
          "type": "section",
          "text": {
            "type": "mrkdwn",
            "text": "*bestellungen-größe is good again*",
            "verbatim": true
          }
        },
        {
          "type": "section",
          "text": {
            "type": "mrkdwn",
            "text": "*bestellungen-größe (production)* · stale",
            "verbatim": true
          },
          "fields": [
            {
              "type": "mrkdwn",
              "text": "*What is wrong*\nthe newest good point is 26h old, 24h are allowed",
              "verbatim": true
            },
            {
              "type": "mrkdwn",
              "text": "*Lasted*\n2h 15m",
              "verbatim": true
            },
            {
              "type": "mrkdwn",
              "text": "*From, until*\n2026-11-21 06:15 UTC – 2026-11-21 08:30 UTC",
              "verbatim": true
            },
            {
              "type": "mrkdwn",
              "text": "*At risk*\n1d 2h of data: 108% of the 1d allowed",
              "verbatim": true
            },
            {
              "type": "mrkdwn",
              "text": "*Last good point*\norders-daily-202611200200 at eu-west-1",
              "verbatim": true
            }
          ]
        },
        {
          "type": "context",
          "elements": [
            {
              "type": "mrkdwn",
              "text": "Holdfast, 2026-11-21 08:30 UTC, lomash-resolved-202611210830",
              "verbatim": true
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn a_command_can_not_end_its_code() {
    assert_eq!(next_step_text("holdfast run ```x``` <a>"), "```holdfast run '''x''' &lt;a&gt;```");
    assert_eq!(next_step_text("see @here & <!channel>"), "see @here &amp; &lt;!channel&gt;");
}

#[tokio::test]
async fn a_webhook_gets_it() {
    let sink = MockHttpServer::with_responses(vec![http_response("200 OK", "", "ok")]).await;
    let body = render(&sample_message(MessageKind::Test));
    let address: SecretString = format!("{}/services/T/B/x", sink.url).into();
    let post = WebhookRequest {
        address: &address,
        headers: HeaderMap::new(),
        body: &body,
        secrets: vec![],
    };
    let now = "2026-11-21T08:30:00Z".parse().expect("a time");
    crate::channel::HttpClient::new().post(post, now).await.expect("taken");
    let asked = sink.into_requests().await;
    let (_, sent) = asked[0].split_once("\r\n\r\n").expect("a body");
    assert_eq!(serde_json::from_str::<Value>(sent).expect("JSON"), body);
}
