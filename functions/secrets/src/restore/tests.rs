use super::*;

fn record(name: &str, version: &str, day: i8, service: Option<&str>) -> ExportRecord {
    let created: Timestamp = format!("2026-11-{day:02}T00:00:00Z").parse().expect("a time");
    serde_json::from_value(serde_json::json!({
        "holdfast": 1, "owner": "acme", "key": "k", "name": name, "version": version, "labels": [],
        "created": created, "exported": created, "run": "r", "region": "eu-west-1", "kms_key": null,
        "owning_service": service, "sha256": "", "recipients": [], "restore": "",
    }))
    .expect("a record")
}

fn inventory() -> ExportInventory {
    let exports = vec![
        record("app/a", "a1", 1, None),
        record("app/a", "a2", 2, None),
        record("app/a", "a3", 3, None),
        record("app/b", "b1", 1, None),
        record("app/rds", "r1", 1, Some("rds")),
    ];
    ExportInventory { exports, ignored: Vec::new() }
}

fn selected(request: &RestoreRequest) -> Vec<String> {
    let line = |s: &SecretRestore| {
        let versions: Vec<_> = s.versions.iter().map(|v| v.version.as_str()).collect();
        format!(
            "{} -> {}: {}{}",
            s.name,
            s.to,
            versions.join(" "),
            s.refused.as_ref().map_or("", |_| " refused")
        )
    };
    select(&inventory(), request).iter().map(line).collect()
}

#[test]
fn the_previous_version_comes_first_and_the_name_is_another() {
    let request =
        |target: &str| RestoreRequest { target: target.into(), ..RestoreRequest::default() };
    assert_eq!(selected(&request("app/a")), ["app/a -> restored/app/a: a2 a3"]);
    let one =
        RestoreRequest { version: Some("a1".into()), to: Some("x".into()), ..request("app/a") };
    assert_eq!(selected(&one), ["app/a -> x: a1"]);
    let all = RestoreRequest { to: Some("test/".into()), ..request("app/*") };
    assert_eq!(
        selected(&all),
        ["app/a -> test/a: a2 a3", "app/b -> test/b: b1", "app/rds -> test/rds: r1 refused"]
    );
    assert!(selected(&request("app/")).is_empty(), "a beginning is marked with *");
}

#[test]
fn a_secret_that_exists_is_written_only_when_asked_and_keeps_what_it_has() {
    let mut request = RestoreRequest { target: "app/a".into(), ..RestoreRequest::default() };
    let there = SecretState { name: "restored/app/a".into(), ..SecretState::default() };
    let mut refused = select(&inventory(), &request).remove(0);
    refused.fit(Some(&there), &request);
    assert!(refused.refused.is_some_and(|why| why.contains("--overwrite")));
    request.overwrite = true;
    let mut written = select(&inventory(), &request).remove(0);
    written.fit(Some(&there), &request);
    assert_eq!((written.refused, written.existing, written.versions.len()), (None, true, 1));
    assert_eq!(written.versions[0].version, "a3");
    let deleted = SecretState { deleted: Some(Timestamp::UNIX_EPOCH), ..there };
    let mut planned = select(&inventory(), &request).remove(0);
    planned.fit(Some(&deleted), &request);
    assert!(planned.refused.is_some_and(|why| why.contains("restore-secret")));
}
