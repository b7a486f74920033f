//! What a function is asked: by a schedule, by an RDS or S3 event, by a pipeline or a person.

use crate::policy::text::Period;
use serde::Deserialize;
use serde_json::Value;

/// What a run is asked. An event only makes a function look sooner and narrower; what it does follows from policy and
/// world alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Why: `schedule`, or the reason of an on-demand snapshot such as `pre-deploy`.
    pub reason: String,
    /// Only these assets.
    #[serde(default)]
    pub assets: Vec<String>,
    /// Wait until what was started is complete, as long as the run's time allows.
    #[serde(default)]
    pub wait: bool,
    /// Change nothing and say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// A good point with data younger than this answers the demand; without it a new one is always taken.
    #[serde(default)]
    pub reuse_newer_than: Option<Period>,
    /// Names the demand: asked twice under one name, it is done once. The invocation's id when it is left out.
    #[serde(default)]
    pub request_id: Option<String>,
    /// The snapshot that an RDS event speaks of.
    #[serde(skip)]
    pub snapshot: Option<String>,
    /// The object that an S3 event speaks of: bucket and key.
    #[serde(skip)]
    pub object: Option<(String, String)>,
    /// The secret that an event of Secrets Manager speaks of: its name.
    #[serde(skip)]
    pub secret: Option<String>,
}

/// The reason of a plain look.
pub const SCHEDULE_REASON: &str = "schedule";

/// A request's name, which becomes the value of a tag on what it makes.
///
/// # Errors
/// If it is empty, not on one line, or too long for a tag of RDS.
pub fn check_request_name(name: &str) -> Result<(), String> {
    let value = crate::aws::rds::tags::encode_tag_value(name);
    if name.is_empty() {
        return Err("a request's name is not empty".into());
    }
    if name.chars().any(char::is_control) {
        return Err("a request's name stands on one line".into());
    }
    let most = crate::aws::rds::tags::MAX_TAG_VALUE_CHARS;
    if value.len() > most {
        let length = value.len();
        return Err(format!(
            "a request's name fits a tag of RDS, which has {most} characters, and this one takes {length} there: write a \
             shorter one, such as the number of the run"
        ));
    }
    Ok(())
}

/// Assets that one request names, at most: for more, name none, which means all.
const MAX_ASSETS: usize = 1000;
/// Bytes of a text in a request, at most: S3's longest key.
const MAX_TEXT_BYTES: usize = 1024;
/// Characters of an error about an event.
const MAX_ERROR_CHARS: usize = 1000;

/// Whether `asset` names a database of a group: as the group, which means all of its databases, or as `group/database`.
pub fn matches_asset(asset: &str, group: &str, database: &str) -> bool {
    let rest = asset.strip_prefix(group);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('/') == Some(database))
}

/// An event that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this event can't be read: {0}")]
pub struct RequestParseError(String);

/// The shape of an EventBridge event, as far as it matters here.
#[derive(Deserialize)]
struct EventBridgeEvent {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Value,
    /// ARNs of what it is about.
    #[serde(default)]
    resources: Vec<String>,
}

impl RunRequest {
    /// A plain look at everything.
    pub fn full_run() -> Self {
        Self { reason: SCHEDULE_REASON.into(), ..Self::default() }
    }

    /// Reads a Lambda event: our own request, or an EventBridge event of RDS or S3.
    ///
    /// # Errors
    /// If it is neither, or holds more than any has, naming what is wrong with it.
    pub fn parse(event: &Value) -> Result<Self, RequestParseError> {
        let read = Self::parse_any(event).and_then(Self::check_size);
        // An error repeats what it is about.
        read.map_err(|RequestParseError(why)| {
            RequestParseError(why.chars().take(MAX_ERROR_CHARS).collect())
        })
    }

    /// Refuses what would be carried into every log line, report and tag.
    fn check_size(self) -> Result<Self, RequestParseError> {
        if self.assets.len() > MAX_ASSETS {
            let many = self.assets.len();
            return Err(RequestParseError(format!(
                "it names {many} assets, and {MAX_ASSETS} are the most"
            )));
        }
        let object = self.object.iter().flat_map(|(bucket, key)| [bucket, key]);
        let texts = self.assets.iter().chain([&self.reason]).chain(&self.request_id);
        let longest =
            texts.chain(&self.snapshot).chain(&self.secret).chain(object).map(String::len).max();
        match longest {
            Some(n) if n > MAX_TEXT_BYTES => Err(RequestParseError(format!(
                "a text in it has {n} bytes, and {MAX_TEXT_BYTES} are the most"
            ))),
            _ => Ok(self),
        }
    }

    fn parse_any(event: &Value) -> Result<Self, RequestParseError> {
        if event.get("detail-type").is_some() || event.get("source").is_some() {
            return Self::from_eventbridge(event);
        }
        // serde would take a list for the fields in their order, and a list that starts snapshots is nobody's wish.
        let own = if event.is_object() {
            serde_json::from_value(event.clone()).map_err(|e| e.to_string())
        } else {
            Err("it is not an object".to_owned())
        };
        let own: Self = own.map_err(|why| {
            RequestParseError(format!(
                "{why}; send {{\"reason\": \"schedule\"}}, or a reason of the policy such as \"pre-deploy\" with \
                 \"assets\": [...], \"wait\": true"
            ))
        })?;
        if own.reason.is_empty() {
            return Err(RequestParseError(
                "\"reason\" is empty; write \"schedule\" or a reason of the policy".into(),
            ));
        }
        if let Some(Err(why)) = own.request_id.as_deref().map(check_request_name) {
            return Err(RequestParseError(why));
        }
        Ok(own)
    }

    /// Whether it asks for a look at everything that the policy names.
    pub fn is_full_run(&self) -> bool {
        self.reason == SCHEDULE_REASON
            && self.assets.is_empty()
            && self.snapshot.is_none()
            && self.object.is_none()
            && self.secret.is_none()
    }

    /// Whether it speaks of a database of a group: named by the group, by `group/database`, or by nobody.
    pub fn includes_database(&self, group: &str, database: &str) -> bool {
        self.assets.is_empty() || self.assets.iter().any(|a| matches_asset(a, group, database))
    }

    fn from_eventbridge(event: &Value) -> Result<Self, RequestParseError> {
        let envelope: EventBridgeEvent = serde_json::from_value(event.clone())
            .map_err(|e| RequestParseError(format!("{e} in an EventBridge event")))?;
        let EventBridgeEvent { source, detail_type, detail, resources } = &envelope;
        let text = |pointer: &str| {
            let found = detail.pointer(pointer).and_then(Value::as_str).filter(|s| !s.is_empty());
            found.map(str::to_owned).ok_or_else(|| {
                RequestParseError(format!(
                    "\"{detail_type}\" of {source} lacks detail{}",
                    pointer.replace('/', ".")
                ))
            })
        };
        let look = Self::full_run();
        match (source.as_str(), detail_type.as_str()) {
            ("aws.rds", "RDS DB Snapshot Event" | "RDS DB Cluster Snapshot Event") => {
                // RDS writes it in both places, and other tools that send such events in one of them.
                let is_snapshot = |arn: &&String| arn.contains("snapshot:");
                let resource = || resources.iter().find(is_snapshot).cloned();
                let arn = text("/SourceArn").or_else(|e| resource().ok_or(e))?;
                Ok(Self { snapshot: Some(arn), ..look })
            }
            ("aws.rds", _) | ("aws.scheduler" | "aws.events", "Scheduled Event") => Ok(look),
            ("aws.s3", "Object Created") => {
                Ok(Self { object: Some((text("/bucket/name")?, text("/object/key")?)), ..look })
            }
            ("aws.secretsmanager", "Secret Label Updated") => {
                Ok(Self { secret: Some(text("/name")?), ..look })
            }
            _ => Err(RequestParseError(format!(
                "\"{detail_type}\" of {source} is not an event that Holdfast knows; see the rules in template.yaml"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_sample(file: &str) -> RunRequest {
        let path = format!("{}/../events/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect(&path);
        RunRequest::parse(&serde_json::from_str(&text).expect("json")).expect(file)
    }

    #[test]
    fn an_asset_is_a_group_or_one_of_its_databases() {
        assert!(
            matches_asset("main", "main", "orders")
                && matches_asset("main/orders", "main", "orders")
        );
        for other in
            ["", "mai", "main2", "orders", "main/", "main/order", "main/orders/x", "/orders"]
        {
            assert!(!matches_asset(other, "main", "orders"), "{other}");
        }
        let request = |assets: &[&str]| RunRequest {
            assets: assets.iter().map(ToString::to_string).collect(),
            ..RunRequest::full_run()
        };
        assert!(request(&[]).includes_database("main", "orders"));
        assert!(request(&["other", "main/orders"]).includes_database("main", "orders"));
        assert!(!request(&["main/billing"]).includes_database("main", "orders"));
    }

    #[test]
    fn every_sample_event_is_read() {
        assert_eq!(read_sample("schedule.json"), RunRequest::full_run());
        assert!(read_sample("pre-deploy.json").wait);
        let automated =
            read_sample("rds-automated-snapshot-created.json").snapshot.expect("an ARN");
        assert!(automated.contains(":snapshot:rds:"), "{automated}");
        assert!(
            read_sample("rds-cluster-snapshot-created.json")
                .snapshot
                .expect("an ARN")
                .contains(":cluster-snapshot:")
        );
        assert!(read_sample("rds-copy-finished.json").snapshot.is_some());
        assert_eq!(read_sample("rds-backups-disabled.json"), RunRequest::full_run());
        assert!(read_sample("s3-object-created.json").object.is_some());
        let label = read_sample("secret-label-updated.json");
        assert_eq!(label.secret.as_deref(), Some("lomash-wood/orders/database"));
    }

    #[test]
    fn an_event_of_rds_names_its_snapshot_in_either_place() {
        let arn = "arn:aws:rds:eu-west-1:111122223333:snapshot:rds:orders-2026-11-20-02-00";
        let event = serde_json::json!({
            "source": "aws.rds", "detail-type": "RDS DB Snapshot Event",
            "resources": ["arn:aws:rds:eu-west-1:111122223333:db:orders", arn],
            "detail": { "EventID": "RDS-EVENT-0091" },
        });
        assert_eq!(RunRequest::parse(&event).expect("read").snapshot.as_deref(), Some(arn));
    }

    #[test]
    fn a_requests_name_may_hold_what_people_write_and_fits_a_tag() {
        for good in ["1234-2", "PR #12 (hotfix)", "Ärger: größer & schöner", &"x".repeat(256)] {
            assert_eq!(check_request_name(good), Ok(()), "{good}");
            let event = serde_json::json!({ "reason": "pre-deploy", "request_id": good });
            assert_eq!(RunRequest::parse(&event).expect(good).request_id.as_deref(), Some(good));
        }
        for (bad, why) in [
            ("", "not empty"),
            ("a\nb", "one line"),
            (&"x".repeat(300), "takes 300"),
            (&"#".repeat(100), "takes 300"),
        ] {
            assert!(check_request_name(bad).expect_err(bad).contains(why), "{bad}");
            let event = serde_json::json!({ "reason": "pre-deploy", "request_id": bad });
            assert!(RunRequest::parse(&event).expect_err(bad).to_string().contains(why), "{bad}");
        }
    }

    #[test]
    fn an_event_that_holds_more_than_any_is_refused_in_few_words() {
        let long = "x".repeat(100_000);
        for event in [
            serde_json::json!({"reason": long}),
            serde_json::json!({"reason": "pre-deploy", "assets": [long]}),
            serde_json::json!({"reason": "pre-deploy", "assets": vec!["a"; 1001]}),
            serde_json::json!({"reason": "pre-deploy", "request_id": long}),
            serde_json::json!({"reason": "pre-deploy", long.clone(): 1}),
            serde_json::json!({"source": long, "detail-type": long, "detail": {}}),
            serde_json::json!({"source": "aws.s3", "detail-type": "Object Created",
                "detail": {"bucket": {"name": "b"}, "object": {"key": long}}}),
        ] {
            let said = RunRequest::parse(&event).expect_err("too much").to_string();
            assert!(said.len() < 1200, "{said}");
        }
        let all = serde_json::json!({"reason": "pre-deploy", "assets": vec!["a"; 1000]});
        assert_eq!(RunRequest::parse(&all).expect("it fits").assets.len(), 1000);
    }

    #[test]
    fn a_wrong_event_is_refused_with_the_place_and_the_hint() {
        let table = [
            serde_json::json!({}),
            serde_json::json!({"reason": ""}),
            serde_json::json!({"reason": "pre-deploy", "asset": "orders"}),
            serde_json::json!({"reason": 7}),
            serde_json::json!([]),
            serde_json::json!(["pre-deploy"]),
            serde_json::json!("pre-deploy"),
            serde_json::Value::Null,
            serde_json::json!({"source": "aws.rds", "detail-type": "RDS DB Snapshot Event", "detail": {}}),
            serde_json::json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}),
            serde_json::json!({"source": "aws.ec2", "detail-type": "EC2 Instance State-change", "detail": {}}),
            serde_json::json!({"source": "aws.rds"}),
        ];
        let said: Vec<_> =
            table.iter().map(|e| RunRequest::parse(e).expect_err("bad").to_string()).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        this event can't be read: missing field `reason`; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: "reason" is empty; write "schedule" or a reason of the policy
        this event can't be read: unknown field `asset`, expected one of `reason`, `assets`, `wait`, `dry_run`, `reuse_newer_than`, `request_id`; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: invalid type: integer `7`, expected a string; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: it is not an object; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: it is not an object; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: it is not an object; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: it is not an object; send {"reason": "schedule"}, or a reason of the policy such as "pre-deploy" with "assets": [...], "wait": true
        this event can't be read: "RDS DB Snapshot Event" of aws.rds lacks detail.SourceArn
        this event can't be read: "Object Created" of aws.s3 lacks detail.object.key
        this event can't be read: "EC2 Instance State-change" of aws.ec2 is not an event that Holdfast knows; see the rules in template.yaml
        this event can't be read: missing field `detail-type` in an EventBridge event
        "#);
    }
}
