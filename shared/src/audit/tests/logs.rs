//! Logs in directories and buckets: numbers, writers, reading.

use super::{super::write::ChainEnd, *};
use crate::{
    aws::{AwsClients, wire},
    model::parse_policy,
    plan::{Finding, FindingCode, Severity},
    report::{Artifact, RunReport, StepOutcome},
    request::RunRequest,
    run::{Deadline, RunTimer, finish_run},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const NOW: &str = "2026-11-20T12:00:00Z";

fn directory_log(root: &tempfile::TempDir) -> AuditLog {
    AuditLog::at_location(super::AuditLocation::Directory {
        directory: root.path().to_owned(),
        prefix: "audit/".into(),
    })
}

impl AuditLog {
    fn at_location(place: super::AuditLocation) -> Self {
        Self { location: place, verifier: None }
    }
}

/// An author without a key.
fn unsigned_author() -> SigningAuthor {
    SigningAuthor::new("acme@host-1", None)
}

/// What a bucket holds, by key.
type FakeObjects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A bucket that keeps what it is given and heeds `If-None-Match`, behind S3's own wire format.
fn bucket_log() -> (AuditLog, FakeObjects, Arc<Mutex<Vec<String>>>) {
    let (held, asked) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<Mutex<Vec<_>>>::default());
    let (objects, log) = (held.clone(), asked.clone());
    let aws = wire::mock_aws(move |request| {
        let mut objects = objects.lock().expect("a lock");
        log.lock().expect("a lock").push(request.operation.clone());
        let (method, uri) = request.operation.split_once(' ').expect("a method");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let key = path.split("amazonaws.com/").nth(1).unwrap_or_default().to_owned();
        match method {
            "GET" if query.contains("list-type") => {
                (200, list_response(&objects, query).into_bytes())
            }
            "GET" => match objects.get(&key) {
                Some(bytes) => (200, bytes.clone()),
                None => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            },
            "PUT" if objects.contains_key(&key) => {
                (412, b"<Error><Code>PreconditionFailed</Code></Error>".to_vec())
            }
            "PUT" => {
                let body = request.body.clone();
                let start = body.find('{').unwrap_or(0);
                let end = body.rfind("}\n").or(body.rfind("}\r")).map_or(body.len(), |i| i + 1);
                objects.insert(key, format!("{}\n", &body[start..end]).into_bytes());
                (200, Vec::new())
            }
            other => panic!("{other} is asked for"),
        }
    });
    let s3 = aws.s3(&catalog::Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    });
    let place = super::AuditLocation::Bucket { s3, bucket: "acme".into(), prefix: "audit/".into() };
    (AuditLog::at_location(place), held, asked)
}

fn list_response(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let parameter = |name: &str| {
        let found = query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().replace("%2F", "/")
    };
    let (prefix, folders) = (parameter("prefix"), query.contains("delimiter"));
    let mut xml = String::new();
    let mut seen = Vec::new();
    for key in objects.keys().filter(|k| k.starts_with(&prefix)) {
        match key[prefix.len()..].split_once('/').filter(|_| folders) {
            Some((folder, _)) if seen.contains(&folder) => {}
            Some((folder, _)) => {
                seen.push(folder);
                xml +=
                    &format!("<CommonPrefixes><Prefix>{prefix}{folder}/</Prefix></CommonPrefixes>");
            }
            None => {
                xml += &format!(
                    "<Contents><Key>{key}</Key><Size>1</Size><ETag>e</ETag>\
                     <LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
                );
            }
        }
    }
    format!("<ListBucketResult>{xml}<IsTruncated>false</IsTruncated></ListBucketResult>")
}

async fn verify_unbroken(log: &AuditLog) -> ChainVerification {
    let verdict = log.verify_chain(&expect_one_year(NOW)).await.expect("it is read");
    assert_eq!(verdict.first_break, None);
    verdict
}

#[tokio::test]
async fn each_run_writes_the_next_object_and_the_chain_holds() {
    let root = tempfile::tempdir().expect("a directory");
    let (in_bucket, held, _) = bucket_log();
    for log in [directory_log(&root), in_bucket] {
        for n in 1..=3 {
            let entries = [sample_entry("main/a"), sample_entry("main/b")];
            let run = sample_run(&format!("run-{n}"), NOW);
            assert_eq!(
                log.append(&run, &entries, &unsigned_author()).await.expect("written").seq,
                n
            );
        }
        let verdict = verify_unbroken(&log).await;
        assert_eq!((verdict.objects, verdict.records), (3, 6));
    }
    let keys: Vec<_> = held.lock().expect("a lock").keys().cloned().collect();
    assert_eq!(keys[0], "audit/000000/000000001.jsonl");
}

#[tokio::test]
async fn two_lists_and_one_read_find_the_head() {
    let (log, _, asked) = bucket_log();
    log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
        .await
        .expect("written");
    asked.lock().expect("a lock").clear();
    log.append(&sample_run("s", NOW), &[sample_entry("a")], &unsigned_author())
        .await
        .expect("written");
    let asked = asked.lock().expect("a lock");
    let lists = asked.iter().filter(|a| a.contains("list-type")).count();
    assert_eq!((lists, asked.len()), (2, 4), "{asked:#?}");
}

#[tokio::test]
async fn folders_hold_a_thousand_and_the_next_begins_by_itself() {
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    let folder = root.path().join("audit/000000");
    std::fs::create_dir_all(&folder).expect("a folder");
    let (bytes, _) =
        encode_object(999, &sample_run("r", NOW), &[sample_entry("a")], ChainTip::genesis());
    std::fs::write(folder.join("000000999.jsonl"), bytes).expect("written");
    assert_eq!(
        log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
            .await
            .expect("written")
            .seq,
        1000
    );
    assert!(root.path().join("audit/000001/000001000.jsonl").exists());
}

#[tokio::test]
async fn more_records_than_an_object_holds_go_into_the_next() {
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    let entries = vec![sample_entry("a"); 2500];
    assert_eq!(
        log.append(&sample_run("r", NOW), &entries, &unsigned_author()).await.expect("written").seq,
        3
    );
    assert_eq!(verify_unbroken(&log).await.records, 2500);
    assert_eq!(log.records_since(parse_time(NOW)).await.expect("it is read").len(), 2500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_once_make_one_chain_and_lose_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let (in_bucket, ..) = bucket_log();
    for log in [directory_log(&root), in_bucket] {
        let writers = (0..2).map(|w| {
            let log = log.clone();
            tokio::spawn(async move {
                for n in 0..25 {
                    let run = sample_run(&format!("{w}-{n}"), NOW);
                    log.append(&run, &[sample_entry("a")], &unsigned_author())
                        .await
                        .expect("written");
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("it ends");
        }
        let verdict = verify_unbroken(&log).await;
        assert_eq!((verdict.objects, verdict.records), (50, 50));
        let runs: std::collections::BTreeSet<_> = log
            .records_since(parse_time(NOW))
            .await
            .expect("it is read")
            .into_iter()
            .map(|r| r.run_id)
            .collect();
        assert_eq!(runs.len(), 50, "none is written twice or lost");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_no_second_record() {
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    let run = sample_run("r", NOW);
    let (bytes, _) = encode_object(1, &run, &[sample_entry("a")], ChainTip::genesis());
    // As a retry finds it: the head was read before our first try got through.
    log.put_if_absent(1, bytes).await.expect("written");
    let head = log.append_after(&run, &[sample_entry("a")], 0).await;
    assert_eq!((head, verify_unbroken(&log).await.records), (1, 1));
}

impl AuditLog {
    /// An append that saw the log end with object `seq`.
    async fn append_after(&self, run: &RunInfo, entries: &[AuditEntry], seq: u64) -> u64 {
        let end = ChainEnd { seq, tip: ChainTip::genesis(), next: seq + 1 };
        self.append_object(run, entries, &unsigned_author(), end, 0).await.expect("written").seq
    }
}

#[tokio::test]
async fn files_are_for_owner_and_group_and_nothing_else_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
        .await
        .expect("written");
    assert!(
        !log.put_if_absent(1, b"other".to_vec()).await.expect("asked"),
        "never in the place of another"
    );
    let folder = root.path().join("audit/000000");
    let names: Vec<_> = std::fs::read_dir(&folder).expect("a folder").collect();
    assert_eq!(names.len(), 1);
    let file = std::fs::metadata(folder.join("000000001.jsonl")).expect("a file");
    assert_eq!(file.permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn what_is_not_ours_among_the_records_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
        .await
        .expect("written");
    for name in ["audit/000000/notes.txt", "audit/000000/000001000.jsonl", "audit/7/x", "audit/y"] {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, "x").expect("written");
        let bad = log
            .verify_chain(&expect_one_year(NOW))
            .await
            .expect("it is read")
            .first_break
            .expect("bad");
        let found = name.strip_suffix("/x").map_or_else(|| name.to_owned(), |n| format!("{n}/"));
        assert_eq!(bad.location, root.path().join(&found).display().to_string(), "{name}");
        std::fs::remove_file(&path).expect("removed");
        let _ = std::fs::remove_dir(root.path().join("audit/7"));
    }
    // What a writer that was killed left is none of the chain.
    std::fs::write(root.path().join("audit/000000/.1-2.tmp"), "half").expect("written");
    verify_unbroken(&log).await;
}

#[tokio::test]
async fn reading_since_a_time_reads_no_more_than_it_takes() {
    let (log, held, asked) = bucket_log();
    for (seq, bytes) in super::build_objects(&[1; 40]) {
        let key = format!("audit/000000/{seq:09}.jsonl");
        held.lock().expect("a lock").insert(key, bytes);
    }
    // A day apart, from 1 January on.
    let records = log.records_since(parse_time("2026-02-07T00:00:00Z")).await.expect("it is read");
    let seqs: Vec<_> = records.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, [38, 39, 40]);
    let gets = asked.lock().expect("a lock").iter().filter(|a| a.ends_with("GetObject")).count();
    assert!(gets <= 21, "{gets}");
    assert_eq!(
        log.records_since(parse_time("2025-01-01T00:00:00Z")).await.expect("it is read").len(),
        40
    );
    assert_eq!(
        log.records_since(parse_time("2027-01-01T00:00:00Z")).await.expect("it is read"),
        []
    );
    held.lock().expect("a lock").insert("audit/000000/000000041.jsonl".into(), b"x\n".to_vec());
    let e = log.records_since(parse_time("2026-02-07T00:00:00Z")).await.expect_err("damaged");
    assert!(
        e.to_line_with_hint().contains("000000041.jsonl")
            && e.to_line_with_hint().contains("audit verify"),
        "{}",
        e.to_line_with_hint()
    );
    // And the next run records all the same.
    assert_eq!(
        log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
            .await
            .expect("written")
            .seq,
        42
    );
}

#[tokio::test]
async fn what_is_older_than_kept_is_found_from_the_oldest_and_never_the_newest() {
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    for (seq, bytes) in super::build_objects(&[1, 2, 1]) {
        log.put_if_absent(seq, bytes).await.expect("written");
    }
    let before =
        async |time: &str| log.objects_older_than(parse_time(time)).await.expect("it is read");
    assert_eq!(before("2026-01-01T00:00:00Z").await, [0; 0]);
    assert_eq!(before("2026-01-01T00:00:01Z").await, [1]);
    assert_eq!(before("2027-01-01T00:00:00Z").await, [1, 2]);
    log.delete_object(1).await.expect("removed");
    let late =
        log.verify_chain(&expect_one_year("2027-06-01T00:00:00Z")).await.expect("it is read");
    assert_eq!((late.first_break, late.objects), (None, 2), "what was let go is no gap");
    let late =
        log.verify_chain(&expect_one_year("2027-06-01T00:00:00Z")).await.expect("it is read");
    assert_eq!((late.first_break, late.objects), (None, 2), "what was let go is no gap");
    assert_eq!(
        log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
            .await
            .expect("written")
            .seq,
        4
    );
}

const POLICY: &str =
    "{holdfast: 1, company: acme, id: host-1, postgres: {}, audit: {directory: DIR, keep: 1y}}";

fn step_outcome(asset: &str, result: Step) -> StepOutcome {
    StepOutcome {
        asset: asset.into(),
        action: "dump".into(),
        reason: "it is due".into(),
        operation: crate::plan::Operation::Backup,
        result,
        kind: None,
        artifact: None,
    }
}

/// A run on a host whose policy records in a directory.
async fn finish_audited_run(directory: &str, dry_run: bool, host: bool) -> RunReport {
    let aws: AwsClients = wire::mock_aws(|request| panic!("{} is asked for", request.operation));
    let policy = parse_policy(&POLICY.replace("DIR", directory));
    let world = RunContext {
        aws: &aws,
        policy: &policy,
        now: parse_time(NOW),
        deadline: Deadline::unlimited(),
        run_id: "run-1".into(),
        dry_run,
        on_host: host,
        failure_topic: None,
        reports_topic: None,
        user: Some("ana".into()),
    };
    let mut report = RunReport::new("dump", &world);
    let made = Artifact {
        key: "a.dump".into(),
        location: "/b".into(),
        bytes: Some(7),
        seconds: Some(2.0),
    };
    report.outcomes = vec![
        StepOutcome { artifact: Some(made), ..step_outcome("main/a", Step::Done("stored".into())) },
        step_outcome("main/b", Step::Failed("refused".into())),
        step_outcome("main/c", Step::Unfinished),
        step_outcome("main/d", Step::Deferred("busy".into())),
    ];
    report.push_finding(Finding::new(
        Severity::Warning,
        "a",
        FindingCode::BackupStale,
        "why",
        "fix",
    ));
    finish_run(&world, report, RunTimer::start(&aws, &RunRequest::full_run())).await
}

#[tokio::test]
async fn a_run_records_what_it_did_and_what_failed() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().display().to_string();
    finish_audited_run(&path, true, true).await;
    assert!(!root.path().join("000000").exists(), "a dry run does nothing");
    finish_audited_run(&path, false, true).await;
    let log = AuditLog::at_location(super::AuditLocation::Directory {
        directory: root.path().into(),
        prefix: String::new(),
    });
    let records = log.records_since(parse_time("2026-11-20T00:00:00Z")).await.expect("it is read");
    let told: Vec<_> = records
        .iter()
        .map(|r| {
            let made = r.entry.artifact.as_ref().map_or("-", |m| m.key.as_str());
            let user = r.user.as_deref().unwrap_or("-");
            format!(
                "{} {user} {} {:?} {} {made}",
                r.function, r.entry.asset, r.entry.result, r.entry.detail
            )
        })
        .collect();
    assert_eq!(told, ["dump ana main/a Done stored a.dump", "dump ana main/b Failed refused -"]);
    assert!(records[0].host.as_ref().is_some_and(|h| !h.is_empty()));
}

#[tokio::test]
async fn what_can_not_be_recorded_is_a_critical_finding_of_the_run() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("file");
    std::fs::write(&file, "").expect("written");
    let found = |report: &RunReport| {
        let found = report.findings.iter().find(|f| f.code == FindingCode::AuditWriteFailed);
        found.map(|f| (f.severity, f.asset.clone(), f.message.clone(), f.hint.clone()))
    };
    let report = finish_audited_run(&file.display().to_string(), false, true).await;
    let (severity, asset, _, hint) = found(&report).expect("a finding");
    assert_eq!((severity, asset.as_str()), (Severity::Critical, "audit"));
    assert!(report.failed && hint.contains("directory"), "{hint}");
    // In a Lambda a directory would be gone with its environment.
    let report = finish_audited_run(&root.path().display().to_string(), false, false).await;
    assert!(found(&report).is_some_and(|f| f.3.contains("bucket")));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_holds_no_run_up() {
    let aws: AwsClients =
        wire::mock_aws(|_| (503, b"<Error><Code>SlowDown</Code></Error>".to_vec()));
    let text = "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
                audit: {bucket: acme-audit, keep: 1y}}";
    let policy = parse_policy(text);
    let world = RunContext {
        aws: &aws,
        policy: &policy,
        now: parse_time(NOW),
        deadline: Deadline::unlimited(),
        run_id: "run-1".into(),
        dry_run: false,
        on_host: false,
        failure_topic: None,
        reports_topic: None,
        user: None,
    };
    let began = tokio::time::Instant::now();
    let e =
        record_entries(&world, "dump", vec![sample_entry("a")], 0.0).await.expect_err("no answer");
    assert!(began.elapsed() <= RECORD_TIMEOUT, "{:?}", began.elapsed());
    assert!(
        e.to_string().starts_with("record 1 operations: ") || e.to_string().starts_with("list"),
        "{e}"
    );
}

/// A log in a directory whose policy signs, and who signs.
fn signed_log(root: &tempfile::TempDir) -> (AuditLog, SigningAuthor) {
    let (signer, _) = crate::signing::MinisignSigner::generate().expect("random numbers");
    let author = SigningAuthor::new("acme@host-1", Some(signer));
    (AuditLog { verifier: Some(author.verifier()), ..directory_log(root) }, author)
}

#[tokio::test]
async fn what_is_not_signed_is_no_record_and_neither_stops_nor_ends_the_log() {
    let root = tempfile::tempdir().expect("a directory");
    let (log, author) = signed_log(&root);
    let append = async |run_id: &str, time: &str| {
        log.append(&sample_run(run_id, time), &[sample_entry("a")], &author).await.expect("written")
    };
    let head = append("r", "2026-11-18T12:00:00Z").await;
    verify_unbroken(&log).await;

    // Chained as it should be, by somebody without the key; and what would wedge, blind or fill.
    let last = ChainTip { hash: head.hash.clone(), at: Some(parse_time("2026-11-18T12:00:00Z")) };
    let (forged, _) =
        encode_object(2, &sample_run("forged", "2026-11-19T12:00:00Z"), &[sample_entry("x")], last);
    let folder = |seq: u64| root.path().join(format!("audit/{:06}", seq / 1000));
    let plant = |seq: u64, bytes: &[u8]| {
        std::fs::create_dir_all(folder(seq)).expect("a folder");
        std::fs::write(folder(seq).join(format!("{seq:09}.jsonl")), bytes).expect("written");
    };
    let ours = std::fs::read(folder(1).join("000000001.jsonl")).expect("read");
    plant(2, &forged);
    plant(3, b"x");
    plant(4, &ours);
    plant(5, &vec![b'x'; super::MAX_OBJECT_BYTES + 1]);
    plant(999_999_999, &forged);
    plant(0, b"");
    assert_eq!(append("s", NOW).await.seq, 6);
    assert_eq!(append("t", NOW).await.seq, 7);
    let read = log.records_since(parse_time("2026-11-01T00:00:00Z")).await.expect("it is read");
    let runs: Vec<_> = read.iter().map(|r| (r.seq, r.run_id.as_str())).collect();
    assert_eq!(runs, [(1, "r"), (6, "s"), (7, "t")]);
    assert_eq!(
        log.objects_older_than(parse_time("2026-11-19T00:00:00Z")).await.expect("it is read"),
        [1]
    );

    let bad = log
        .verify_chain(&expect_one_year(NOW))
        .await
        .expect("it is read")
        .first_break
        .expect("bad");
    assert!(
        bad.location.ends_with("000000000.jsonl") && bad.reason.contains("not signed"),
        "{bad:?}"
    );
    for seq in [0, 2, 3, 4, 5, 999_999_999] {
        std::fs::remove_file(folder(seq).join(format!("{seq:09}.jsonl"))).expect("removed");
    }
    std::fs::remove_dir(folder(999_999_999)).expect("removed");
    assert_eq!(verify_unbroken(&log).await.records, 3);
    // One of ours that is taken away is missed all the same.
    std::fs::remove_file(folder(6).join("000000006.jsonl")).expect("removed");
    let bad = log
        .verify_chain(&expect_one_year(NOW))
        .await
        .expect("it is read")
        .first_break
        .expect("bad");
    assert!(bad.location.contains("000000007") && bad.reason.contains("not chained"), "{bad:?}");
}

#[tokio::test]
async fn without_signatures_a_made_up_number_does_not_wedge_the_log() {
    let root = tempfile::tempdir().expect("a directory");
    let log = directory_log(&root);
    log.append(&sample_run("r", NOW), &[sample_entry("a")], &unsigned_author())
        .await
        .expect("written");
    let folder = root.path().join("audit/999999");
    std::fs::create_dir_all(&folder).expect("a folder");
    let (bytes, _) = encode_object(
        999_999_999,
        &sample_run("x", NOW),
        &[sample_entry("a")],
        ChainTip::genesis(),
    );
    std::fs::write(folder.join("999999999.jsonl"), bytes).expect("written");
    assert_eq!(
        log.append(&sample_run("s", NOW), &[sample_entry("a")], &unsigned_author())
            .await
            .expect("written")
            .seq,
        2
    );
    let bad = log
        .verify_chain(&expect_one_year(NOW))
        .await
        .expect("it is read")
        .first_break
        .expect("bad");
    assert!(bad.reason.contains("999999999"), "{bad:?}");
}

#[tokio::test]
async fn stock_minisign_checks_an_object() {
    let root = tempfile::tempdir().expect("a directory");
    let (log, author) = signed_log(&root);
    log.append(&sample_run("r", NOW), &[sample_entry("a"), sample_entry("b")], &author)
        .await
        .expect("written");
    let (signer, _) = crate::signing::MinisignSigner::generate().expect("random numbers");
    let other = signer.public_key().to_string();
    let folder = root.path().join("audit/000000");
    let text = std::fs::read_to_string(folder.join("000000001.jsonl")).expect("read");
    let (records, seal) = text.trim_end().rsplit_once('\n').expect("a last line");
    let seal: serde_json::Value = serde_json::from_str(seal).expect("JSON");
    std::fs::write(folder.join("body"), format!("{records}\n")).expect("written");
    let signature = seal["minisig"].as_str().expect("a signature");
    std::fs::write(folder.join("body.minisig"), signature).expect("written");
    let stock = |key: &str| {
        let arguments = ["-V", "-P", key, "-m", "body"];
        let ran =
            std::process::Command::new("minisign").args(arguments).current_dir(&folder).output();
        ran.expect("minisign is installed: dev/install.py").status.success()
    };
    assert!(stock(&author.public_key().expect("a key").to_string()) && !stock(&other));
}
