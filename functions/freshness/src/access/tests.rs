use super::*;
use serde_json::{Value, json};

const HOLDFAST: &str = "arn:aws:iam::111122223333:role/holdfast-*";
const KEEPER: &str = "arn:aws:iam::111122223333:role/keeper";

fn parse_access(yaml: &str) -> AccessConfig {
    let yaml = format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, access: {{{yaml}}}}}"
    );
    shared::policy::Policy::parse(&yaml).expect("a policy").access.expect("access")
}

fn now() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().expect("a time")
}

/// Findings of a bucket with these statements.
fn statement_findings(asked: &str, statements: &Value) -> Vec<String> {
    let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    bucket_findings(asked, Ok(Some(text)))
}

fn bucket_findings(asked: &str, policy: Result<Option<String>, OperationError>) -> Vec<String> {
    let facts = AccessObservations {
        buckets: vec![("acme-vault".into(), policy)],
        ..AccessObservations::default()
    };
    let found = evaluate_access(Some(&parse_access(asked)), &facts, now());
    found.iter().map(|f| format!("{} {} {}: {}", f.severity, f.asset, f.code, f.message)).collect()
}

/// A statement over the bucket and its objects, with parts put in place of the usual ones.
#[expect(
    clippy::needless_pass_by_value,
    reason = "json! makes values, and that reads best in a table"
)]
fn deny_statement(action: Value, condition: Value) -> Value {
    json!({
        "Effect": "Deny", "Principal": "*", "Action": action, "Condition": condition,
        "Resource": ["arn:aws:s3:::acme-vault", "arn:aws:s3:::acme-vault/*"],
    })
}

fn with_field(mut statement: Value, key: &str, value: Value) -> Value {
    statement[key] = value;
    statement
}

fn finding_codes(found: &[String]) -> Vec<&str> {
    found.iter().filter_map(|f| f.split(' ').nth(2)).map(|w| w.trim_end_matches(':')).collect()
}

#[test]
fn only_a_deny_of_everything_to_everybody_is_tls_only() {
    let plain = json!({ "Bool": { "aws:SecureTransport": "false" } });
    let good = deny_statement(json!("s3:*"), plain.clone());
    let none: Vec<String> = vec![];
    assert_eq!(statement_findings("tls_only: true", &json!([good])), none);
    assert_eq!(
        statement_findings("tls_only: true", &json!(good)),
        none,
        "one statement need not stand in a list"
    );
    let as_bool = json!({ "Bool": { "AWS:SecureTransport": false } });
    assert_eq!(
        statement_findings("tls_only: true", &json!([deny_statement(json!(["*"]), as_bool)])),
        none
    );
    for (case, bad) in [
        ("an allow", with_field(good.clone(), "Effect", json!("Allow"))),
        ("one action", deny_statement(json!("s3:GetObject"), plain.clone())),
        ("one principal", with_field(good.clone(), "Principal", json!({ "AWS": KEEPER }))),
        ("objects alone", with_field(good.clone(), "Resource", json!("arn:aws:s3:::acme-vault/*"))),
        (
            "a part of them",
            with_field(
                good.clone(),
                "Resource",
                json!(["arn:aws:s3:::acme-vault", "arn:aws:s3:::acme-vault/a/*"]),
            ),
        ),
        (
            "another bucket",
            with_field(
                good.clone(),
                "Resource",
                json!(["arn:aws:s3:::other", "arn:aws:s3:::other/*"]),
            ),
        ),
        (
            "the other way round",
            deny_statement(json!("s3:*"), json!({ "Bool": { "aws:SecureTransport": "true" } })),
        ),
        (
            "an old TLS, which plain HTTP is not",
            deny_statement(json!("s3:*"), json!({ "NumericLessThan": { "s3:TlsVersion": "1.2" } })),
        ),
        (
            "narrowed",
            deny_statement(
                json!("s3:*"),
                json!({ "Bool": { "aws:SecureTransport": "false" }, "StringEquals": { "aws:SourceVpc": "vpc-1" } }),
            ),
        ),
    ] {
        let found = statement_findings("tls_only: true", &json!([bad]));
        assert_eq!(finding_codes(&found), ["plain-http-allowed"], "{case}: {found:?}");
    }
    assert_eq!(
        finding_codes(&bucket_findings("tls_only: true", Ok(None))),
        ["plain-http-allowed"],
        "no policy at all"
    );
}

#[test]
fn mfa_is_asked_of_everybody_but_the_machines_that_the_policy_names() {
    let asked = format!("mfa: true, machines: [\"{HOLDFAST}\"]");
    let actions = json!(["s3:GetObject*", "s3:DeleteObject*"]);
    let by = |condition: Value| {
        statement_findings(&asked, &json!([deny_statement(actions.clone(), condition)]))
    };
    let none: Vec<String> = vec![];
    let present = json!({ "aws:MultiFactorAuthPresent": "false" });
    assert_eq!(by(json!({ "BoolIfExists": present })), none);
    assert_eq!(by(json!({ "Null": { "aws:MultiFactorAuthAge": "true" } })), none);
    let but = json!({ "BoolIfExists": present, "ArnNotLike": { "aws:PrincipalArn": [HOLDFAST] }, "Bool": { "aws:PrincipalIsAWSService": "false" } });
    assert_eq!(by(but), none);
    let by_bool = by(json!({ "Bool": present }));
    assert!(by_bool[0].contains("lets requests with an access key through"), "{by_bool:?}");
    for (case, condition) in [
        (
            "an exception that is not named",
            json!({ "BoolIfExists": present, "ArnNotLike": { "aws:PrincipalArn": [KEEPER] } }),
        ),
        (
            "everybody is excepted",
            json!({ "BoolIfExists": present, "ArnNotLike": { "aws:PrincipalArn": ["*"] } }),
        ),
        (
            "narrowed",
            json!({ "BoolIfExists": present, "IpAddress": { "aws:SourceIp": "192.0.2.0/24" } }),
        ),
        ("no MFA in it", json!({ "ArnNotLike": { "aws:PrincipalArn": [HOLDFAST] } })),
        (
            "the other way round",
            json!({ "BoolIfExists": { "aws:MultiFactorAuthPresent": "true" } }),
        ),
    ] {
        assert_eq!(finding_codes(&by(condition)), ["mfa-not-required"], "{case}");
    }
    let reading = statement_findings(
        &asked,
        &json!([deny_statement(json!("s3:GetObject*"), json!({ "BoolIfExists": present }))]),
    );
    assert!(reading[0].contains("s3:DeleteObject, s3:DeleteObjectVersion"), "{reading:?}");
    assert!(!reading[0].contains("s3:GetObject"), "{reading:?}");
}

#[test]
fn who_may_delete_is_whom_the_policy_names_and_everybody_else_is_refused() {
    let asked = format!("may_delete: [\"{KEEPER}\", \"{HOLDFAST}\"]");
    let deleting = json!(["s3:DeleteObject", "s3:DeleteObjectVersion"]);
    let fence = |left_out: Value| {
        deny_statement(deleting.clone(), json!({ "ArnNotLike": { "aws:PrincipalArn": left_out } }))
    };
    let none: Vec<String> = vec![];
    assert_eq!(statement_findings(&asked, &json!([fence(json!([KEEPER]))])), none);
    assert_eq!(statement_findings(&asked, &json!([fence(json!([KEEPER, HOLDFAST]))])), none);
    let open = bucket_findings(&asked, Ok(None));
    assert!(open[0].contains("whoever its account's IAM lets may delete"), "{open:?}");
    assert_eq!(
        finding_codes(&statement_findings(
            &asked,
            &json!([fence(json!(["arn:aws:iam::111122223333:role/*"]))])
        )),
        ["delete-access"]
    );
    let allow = json!({ "Effect": "Allow", "Principal": { "AWS": ["444455556666", KEEPER] }, "Action": "s3:Delete*",
                        "Resource": "arn:aws:s3:::acme-vault/*" });
    let found = statement_findings(&asked, &json!([fence(json!([KEEPER])), allow]));
    assert_eq!(
        found,
        [
            "critical s3://acme-vault delete-access: its policy lets 444455556666 delete its objects, whom access does not name"
        ]
    );
    let all_but = json!({ "Effect": "Allow", "Principal": { "AWS": "444455556666" }, "NotAction": "s3:PutObject",
                          "Resource": "arn:aws:s3:::acme-vault/*" });
    assert_eq!(
        finding_codes(&statement_findings(&asked, &json!([fence(json!([KEEPER])), all_but]))),
        ["delete-access"]
    );
}

#[test]
fn a_bucket_that_the_world_may_read_is_found_whatever_was_asked() {
    let public = json!({ "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "s3:GetObject",
                         "Resource": "arn:aws:s3:::acme-vault/*" });
    let found = statement_findings("tls_only: false, mfa: false", &json!([public]));
    assert_eq!(
        found,
        [
            "critical s3://acme-vault public-access: its policy lets everybody in the world read its objects"
        ]
    );
    let within =
        with_field(public, "Condition", json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } }));
    assert_eq!(
        finding_codes(&statement_findings("tls_only: false", &json!([within]))),
        Vec::<&str>::new()
    );
}

#[test]
fn what_can_not_be_read_is_not_right() {
    let denied = OperationError::from_message("read policy of s3://acme-vault", "AccessDenied");
    assert_eq!(
        finding_codes(&bucket_findings("tls_only: true", Err(denied.clone()))),
        ["access-not-readable"]
    );
    for broken in ["", "[]", "{\"Statement\": 7}", "{\"Statement\": [{\"Effect\": {}}]}"] {
        assert_eq!(
            finding_codes(&bucket_findings("tls_only: true", Ok(Some(broken.into())))),
            ["access-not-readable"],
            "{broken}"
        );
    }
    let facts = AccessObservations {
        keys: vec![("k".into(), Err(denied.clone()))],
        roles: vec![("r".into(), Err(denied.clone()))],
        secrets: vec![("g".into(), "s".into(), "90d".parse().expect("a period"), Err(denied))],
        ..AccessObservations::default()
    };
    let found = evaluate_access(
        Some(&parse_access("max_session: 1h, rotate_keys_every: 90d")),
        &facts,
        now(),
    );
    assert_eq!(
        found.iter().filter(|f| f.code == FindingCode::AccessNotReadable).count(),
        3,
        "{found:?}"
    );
}

#[test]
fn keys_are_as_young_as_the_policy_wants_and_sessions_as_short() {
    let of = |rotation: KeyRotation| {
        let facts = AccessObservations {
            keys: vec![("key".into(), Ok(rotation))],
            ..AccessObservations::default()
        };
        evaluate_access(Some(&parse_access("rotate_keys_every: 90d")), &facts, now())
            .pop()
            .map(|f| f.message)
    };
    assert_eq!(of(KeyRotation::EveryDays(90)), None);
    assert_eq!(
        of(KeyRotation::EveryDays(91)).as_deref(),
        Some("it is rotated every 91 days, and the policy wants 90d")
    );
    assert!(of(KeyRotation::Off).expect("found").starts_with("it is never rotated"));
    assert!(of(KeyRotation::ByAws).expect("found").starts_with("it is AWS's own key"));
    let of = |hours: i64| {
        let facts = AccessObservations {
            roles: vec![("role".into(), Ok(SignedDuration::from_hours(hours)))],
            ..AccessObservations::default()
        };
        evaluate_access(Some(&parse_access("max_session: 1h")), &facts, now()).len()
    };
    assert_eq!((of(1), of(12)), (0, 1));
    let of = |days: i64| {
        let changed = now() - SignedDuration::from_hours(24 * days);
        let most = "90d".parse().expect("a period");
        let facts = AccessObservations {
            secrets: vec![("full".into(), "acme/key".into(), most, Ok(Some(changed)))],
            ..AccessObservations::default()
        };
        evaluate_access(None, &facts, now())
    };
    assert_eq!(of(90), vec![]);
    assert_eq!(of(91)[0].group.as_deref(), Some("full"));
}
