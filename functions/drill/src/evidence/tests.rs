use super::{store::*, *};
use shared::{
    policy::PointChoice,
    signing::{MinisignSigner, SigningAuthor, signature_name},
};
use storage::{BackupStore, DirectoryBackend, StoreErrorKind, UploadOptions};

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A drill that proved a restore.
pub(crate) fn proven(drill: &str, asset: &str, slot: &str) -> DrillEvidence {
    DrillEvidence {
        evidence: EVIDENCE_VERSION,
        owner: "acme@host-1".into(),
        drill: drill.into(),
        kind: DrillKind::Dump,
        group: "main".into(),
        asset: asset.into(),
        slot: time(slot),
        trigger: DrillTrigger::Schedule,
        injected: None,
        verdict: DrillVerdict::Proven,
        reason: String::new(),
        point: Some(TestedPoint {
            uri: format!("/b/{asset}.dump"),
            sha256: "a".repeat(64),
            bytes: 1000,
            data_time: time(slot) - jiff::SignedDuration::from_hours(2),
            selection: PointSelection {
                choice: PointChoice::Newest,
                candidates: 3,
                list_sha256: "b".repeat(64),
                index: 2,
                seed: None,
            },
        }),
        restored_on: Some("a server of its own".into()),
        started_at: time(slot) + jiff::SignedDuration::from_mins(4),
        finished_at: time(slot) + jiff::SignedDuration::from_mins(6),
        measured: DrillMeasurements {
            rto_seconds: Some(120.0),
            rpo_seconds: Some(7440),
            newest_row: None,
            phases: vec![
                DrillPhase { phase: "fetch and restore".into(), seconds: 100.5 },
                DrillPhase { phase: "verify".into(), seconds: 19.5 },
            ],
        },
        objectives: DrillObjectives {
            rto_seconds: Some(3600),
            rto_met: Some(true),
            ..DrillObjectives::default()
        },
        checks: vec![EvidenceCheck {
            name: "rows of each table".into(),
            status: "passed".into(),
            detail: "9 rows in 1 tables, as the manifest says".into(),
        }],
        checklist: Vec::new(),
        not_tested: vec!["the application".into()],
        by: DrillExecutor {
            run_id: "r1".into(),
            user: Some("alice@host-1".into()),
            holdfast: "0.1.0".into(),
            rule_sha256: "c".repeat(64),
        },
        previous_sha256: None,
    }
}

/// The same of one that failed.
pub(crate) fn failed(drill: &str, asset: &str, slot: &str) -> DrillEvidence {
    let (verdict, reason) = (DrillVerdict::Failed, "rows of each table: 8 instead of 9".into());
    DrillEvidence { verdict, reason, ..proven(drill, asset, slot) }
}

const SLOT: &str = "2026-12-07T09:00:00Z";

fn trust(author: &SigningAuthor) -> EvidenceTrust {
    EvidenceTrust {
        owner: author.owner().into(),
        verifier: Some(author.verifier()),
        now: time("2026-12-08T00:00:00Z"),
    }
}

#[test]
fn evidence_is_read_back_as_it_was_written_and_fits_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/evidence.schema.json");
    let schema = format!("{:#}\n", evidence_schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).expect("docs/evidence.schema.json");
    }
    let shipped = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(shipped, schema, "UPDATE_SCHEMA=1 writes it");
    let validator = jsonschema::validator_for(&evidence_schema()).expect("a schema");
    for evidence in [proven("monthly", "shop", SLOT), failed("monthly", "größe/../x", SLOT)] {
        assert_eq!(DrillEvidence::parse(&evidence.to_json()).as_ref(), Ok(&evidence));
        let json: Value = serde_json::from_slice(&evidence.to_json()).expect("JSON");
        assert!(validator.is_valid(&json), "{json:#}");
    }
    assert_eq!(
        proven("monthly", "a/b", SLOT).key(),
        "evidence/monthly/20261207T090000Z/main/a%2Fb.json"
    );
}

#[test]
fn what_was_not_restored_and_checked_is_never_proven() {
    type Change = fn(&mut DrillEvidence);
    let changes: [(&str, Change); 10] = [
        ("no point", |e| e.point = None),
        ("no check", |e| e.checks.clear()),
        ("a failed check", |e| e.checks[0].status = "failed".into()),
        ("only skipped", |e| e.checks[0].status = "skipped".into()),
        ("nowhere", |e| e.restored_on = None),
        ("missed", |e| e.trigger = DrillTrigger::Missed),
        ("no time", |e| (e.measured.rto_seconds, e.measured.phases) = (None, vec![])),
        ("phases", |e| e.measured.phases[0].seconds = 1.0),
        ("backwards", |e| e.finished_at = time("2026-12-07T09:00:00Z")),
        ("too slow", |e| e.objectives.rto_met = Some(false)),
    ];
    for (what, change) in changes {
        let mut evidence = proven("monthly", "shop", SLOT);
        change(&mut evidence);
        assert!(DrillEvidence::parse(&evidence.to_json()).is_err(), "{what}");
    }
    let mut silent = failed("monthly", "shop", SLOT);
    silent.reason.clear();
    assert!(silent.check_consistency().is_err(), "a failure says why");
}

#[tokio::test]
async fn what_nobody_vouches_for_never_counts() {
    let signer = || MinisignSigner::generate().expect("a key").0;
    let ours = SigningAuthor::new("acme@host-1", Some(signer()));
    let stranger = SigningAuthor::new("acme@host-1", Some(signer()));
    let trust = trust(&ours);
    let evidence = proven("monthly", "shop", SLOT);
    let (key, json) = (evidence.key(), evidence.to_json());
    let sign = async |author: &SigningAuthor, key: &str, json: &[u8]| {
        author.sign(key, json).await.expect("a key that signs")
    };
    let good = sign(&ours, &key, &json).await.expect("signed");
    assert_eq!(trust.evaluate(&key, &json, Some(good.as_bytes())).as_ref(), Ok(&evidence));
    let refused = |key: &str, json: &[u8], signature: Option<String>| {
        trust.evaluate(key, json, signature.as_deref().map(str::as_bytes)).expect_err("refused")
    };
    assert!(refused(&key, &json, None).contains("not signed"));
    refused(&key, &json, sign(&stranger, &key, &json).await);
    // A failure that is made a success keeps the signature of the failure.
    let bad = failed("monthly", "shop", SLOT);
    refused(&key, &json, sign(&ours, &key, &bad.to_json()).await);
    // Old evidence under a new slot's name.
    let later = "evidence/monthly/20270104T090000Z/main/shop.json";
    refused(later, &json, Some(good));
    refused(later, &json, sign(&ours, later, &json).await);
    // Evidence of the future, and of another owner.
    let ahead = proven("monthly", "shop", "2027-01-04T09:00:00Z");
    refused(&ahead.key(), &ahead.to_json(), sign(&ours, &ahead.key(), &ahead.to_json()).await);
    let other = DrillEvidence { owner: "other@host-1".into(), ..proven("monthly", "shop", SLOT) };
    assert!(
        refused(&key, &other.to_json(), sign(&ours, &key, &other.to_json()).await)
            .contains("other")
    );
    // Without keys in the policy, names, owner and time are looked at all the same.
    let open = EvidenceTrust { verifier: None, ..trust.clone() };
    assert!(open.evaluate(&key, &json, None).is_ok());
    assert!(open.evaluate(later, &json, None).is_err());
    assert!(open.evaluate(&key, &other.to_json(), None).is_err());
}

#[tokio::test]
async fn evidence_is_written_once_and_strangers_files_are_named_and_do_not_count() {
    let root = tempfile::tempdir().expect("a folder");
    let store = BackupStore::Directory(DirectoryBackend::new(root.path(), ""));
    let author =
        SigningAuthor::new("acme@host-1", Some(MinisignSigner::generate().expect("a key").0));
    let trust = trust(&author);
    let first = failed("monthly", "shop", SLOT);
    write_evidence(&store, &first, &author, "r").await.expect("written");
    let again = write_evidence(&store, &proven("monthly", "shop", SLOT), &author, "r").await;
    assert_eq!(again.expect_err("refused").kind, StoreErrorKind::Exists);
    let forged = proven("monthly", "other", SLOT);
    let put = UploadOptions::default();
    store.put_if_absent(&forged.key(), forged.to_json().into(), &put).await.expect("put");
    let junk = "evidence/monthly/20261207T090000Z/main/junk.json";
    store.put_if_absent(junk, "{}".into(), &put).await.expect("put");
    let signature = author.sign(junk, b"{}").await.expect("signed").expect("a signature");
    store.put_if_absent(&signature_name(junk), signature.into(), &put).await.expect("put");
    let list = list_evidence(&store, &trust).await.expect("listed");
    assert_eq!(list.evidence, [first]);
    assert_eq!(list.ignored.len(), 2, "{:?}", list.ignored);
}
