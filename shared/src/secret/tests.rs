use super::*;
use crate::aws::wire::{self, RecordedRequest};
use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

fn home_location() -> Location {
    Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    }
}

fn secret_source(json: serde_json::Value) -> SecretSource {
    serde_json::from_value(json).expect("a source")
}

fn expose_text(secret: &SecretString) -> &str {
    secret.expose_secret()
}

fn aws_not_called() -> AwsClients {
    wire::mock_aws(|asked: &RecordedRequest| panic!("asked {}", asked.operation))
}

#[tokio::test]
async fn a_variable_gives_its_value_and_is_named_when_it_is_not_set() {
    let aws = aws_not_called();
    let secrets = SecretResolver::with_variables(&aws, &home_location(), |name| {
        (name == "PGPASSWORD").then(|| "hunter2".to_owned())
    });
    let value = secrets.get(&secret_source(serde_json::json!({ "env": "PGPASSWORD" }))).await;
    assert_eq!(expose_text(&value.expect("set")), "hunter2");
    let error =
        secrets.get(&secret_source(serde_json::json!({ "env": "NOPE" }))).await.expect_err("unset");
    assert_eq!(error.to_string(), "read environment variable NOPE: it is not set");
    assert!(error.hint().contains("set NOPE"), "{}", error.hint());
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused_with_the_command_that_fixes_it() {
    let aws = aws_not_called();
    let secrets = SecretResolver::new(&aws, &home_location());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pass");
    std::fs::write(&path, "hunter2\n").expect("write");
    let source = secret_source(serde_json::json!({ "file": path }));
    let mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    for bad in [0o640, 0o604, 0o660, 0o644, 0o610] {
        mode(bad);
        let error = secrets.get(&source).await.expect_err("too open");
        assert!(error.message.contains(&format!("{bad:04o}")), "{error}");
        assert!(error.hint().starts_with(&format!("chmod 600 {}", path.display())), "{error:?}");
        // Where nobody else can write it, there is a second way, for files that a platform mounts so.
        assert_eq!(error.hint().contains("mounted: true"), bad & 0o022 == 0, "{error:?}");
    }
    for good in [0o600, 0o400] {
        mode(good);
        assert_eq!(expose_text(&secrets.get(&source).await.expect("private")), "hunter2");
    }
    let mounted = secret_source(serde_json::json!({ "file": path, "mounted": true }));
    for good in [0o440, 0o444, 0o644, 0o400] {
        mode(good);
        assert_eq!(expose_text(&secrets.get(&mounted).await.expect("mounted")), "hunter2");
    }
    for bad in [0o660, 0o620, 0o666, 0o602] {
        mode(bad);
        let error = secrets.get(&mounted).await.expect_err("others can write it");
        assert_eq!(error.hint(), format!("chmod 600 {}", path.display()), "{bad:04o}");
    }
    let folder = secret_source(serde_json::json!({ "file": dir.path() }));
    let error = secrets.get(&folder).await.expect_err("a directory");
    assert!(error.message.contains("no regular file"), "{error}");
    let absent = secret_source(serde_json::json!({ "file": dir.path().join("absent") }));
    let error = secrets.get(&absent).await.expect_err("nothing there");
    assert_eq!(error.kind, OperationErrorKind::Missing);
}

#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pass");
    std::fs::write(&path, "x").expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    // Only root can give a file away, so this is tried where the tests run as root.
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
        let error = read_secret_file(&path, true).expect_err("another's");
        assert!(error.message.contains("user 12345"), "{error}");
    }
}

#[test]
fn a_name_picks_a_json_field_or_a_line() {
    let lines = "# the old one\n#DB_PASSWORD=old\nDB_USER=app\nexport DB_PASSWORD=\"p \\\"#\\\" w\" # note\n\
                 PLAIN = a=b#c # note\nQUOTED='a b # c'\nXDB=1\nEMPTY=\nOPEN=\"a\nTWICE=1\nTWICE=2\r\n";
    let table = [
        (lines, "DB_PASSWORD", Some("p \"#\" w")),
        (lines, "DB_USER", Some("app")),
        (lines, "PLAIN", Some("a=b#c")),
        (lines, "QUOTED", Some("a b # c")),
        (lines, "DB", None),
        (lines, "EMPTY", None),
        (lines, "OPEN", None),
        (lines, "TWICE", Some("2")),
        (r#"{"a":"b","n":5432,"o":{}}"#, "a", Some("b")),
        (r#"{"a":"b","n":5432,"o":{}}"#, "n", Some("5432")),
        (r#"{"a":"b","n":5432,"o":{}}"#, "o", None),
        (r#"{"a":"b"}"#, "z", None),
    ];
    for (text, key, expected) in table {
        assert_eq!(pick::pick_value(text, key).as_deref(), expected, "{key}");
    }
}

/// Secrets Manager with one value for each stage, which counts how often it is asked.
fn mock_secrets_manager(
    current: &'static str,
    previous: Option<&'static str>,
) -> (AwsClients, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let aws = wire::mock_aws(move |a: &RecordedRequest| {
        count.fetch_add(1, Relaxed);
        let value = if a.body.contains("AWSPREVIOUS") { previous } else { Some(current) };
        match value {
            Some(value) => {
                let answer = serde_json::json!({ "SecretString": value });
                (200, answer.to_string().into_bytes())
            }
            None => {
                (400, br#"{"__type":"ResourceNotFoundException","message":"can't find"}"#.to_vec())
            }
        }
    });
    (aws, asked)
}

#[tokio::test]
async fn secrets_manager_is_asked_once_and_its_previous_version_only_for_old_backups() {
    let (aws, asked) = mock_secrets_manager(r#"{"password":"new"}"#, Some(r#"{"password":"old"}"#));
    let secrets = SecretResolver::new(&aws, &home_location());
    let source = secret_source(serde_json::json!({ "secret": "backup/key", "key": "password" }));
    let (one, two) = tokio::join!(secrets.get(&source), secrets.get(&source));
    assert_eq!(
        (expose_text(&one.expect("read")), expose_text(&two.expect("read"))),
        ("new", "new")
    );
    assert_eq!(asked.load(Relaxed), 1);
    let versions = secrets.current_and_previous(&source).await.expect("two versions");
    assert_eq!(versions.iter().map(expose_text).collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(asked.load(Relaxed), 2);

    let (aws, _) = mock_secrets_manager("alone", None);
    let secrets = SecretResolver::new(&aws, &home_location());
    let source = secret_source(serde_json::json!({ "secret": "backup/key" }));
    assert_eq!(secrets.current_and_previous(&source).await.expect("one version").len(), 1);
}

#[tokio::test]
async fn a_secret_of_rds_gives_host_port_and_user_too_and_is_never_shown() {
    let json = r#"{"username":"app","password":"hunter2","host":"db.internal","port":5433,
        "dbname":"orders","engine":"postgres"}"#;
    let (aws, _) = mock_secrets_manager(json, None);
    let secrets = SecretResolver::new(&aws, &home_location());
    let of = secrets
        .database_credentials(&secret_source(serde_json::json!({ "secret": "db" })))
        .await
        .expect("read");
    assert_eq!(
        (of.user.as_deref(), of.host.as_deref(), of.port, of.database.as_deref()),
        (Some("app"), Some("db.internal"), Some(5433), Some("orders"))
    );
    assert_eq!(of.password.as_ref().map(expose_text), Some("hunter2"));
    assert!(!format!("{of:?} {secrets:?}").contains("hunter2"));

    let (aws, _) = mock_secrets_manager("just-a-password", None);
    let secrets = SecretResolver::new(&aws, &home_location());
    let of = secrets
        .database_credentials(&secret_source(serde_json::json!({ "secret": "db" })))
        .await
        .expect("read");
    assert_eq!((of.password.as_ref().map(expose_text), of.user), (Some("just-a-password"), None));
}

#[test]
fn an_arn_names_the_region_that_is_asked() {
    let aws = aws_not_called();
    let secrets = SecretResolver::new(&aws, &home_location());
    let arn = "arn:aws:secretsmanager:us-east-2:111122223333:secret:db-AbCdEf";
    assert_eq!(secrets.location_of(arn).region.to_string(), "us-east-2");
    assert_eq!(secrets.location_of("db").region.to_string(), "eu-west-1");
}
