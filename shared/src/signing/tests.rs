use super::*;
use crate::{
    aws::{AwsClients, kms::ED25519_SPKI_PREFIX, wire},
    catalog::Location,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{fs, path::Path, process::Command};

const OWNER: &str = "acme@host-1";
const NAME: &str = "full/shop_20261120.dump.json";

fn new_signer() -> MinisignSigner {
    MinisignSigner::generate().expect("random numbers").0
}

fn verify_text(
    key: &MinisignSigner,
    name: &str,
    bytes: &[u8],
    text: &str,
) -> Result<String, SignatureError> {
    MinisignVerifier::new(OWNER, vec![key.public_key().clone()]).verify(
        name,
        bytes,
        Some(text.as_bytes()),
    )
}

#[tokio::test]
async fn only_the_same_bytes_owner_and_name_by_a_named_key_are_signed() {
    let (ours, theirs) = (new_signer(), new_signer());
    let text = ours.sign(OWNER, NAME, b"{}").await.expect("signed");
    assert_eq!(verify_text(&ours, NAME, b"{}", &text), Ok(ours.public_key().key_id()));
    assert_eq!(verify_text(&ours, NAME, b"{ }", &text), Err(SignatureError::Forged));
    assert_eq!(
        verify_text(&theirs, NAME, b"{}", &text),
        Err(SignatureError::Unknown(ours.public_key().key_id()))
    );
    let elsewhere = Err(SignatureError::WrongName(format!("holdfast {OWNER} {NAME}")));
    assert_eq!(verify_text(&ours, "full/other.dump.json", b"{}", &text), elsewhere);
    let owner = MinisignVerifier::new("acme@stage", vec![ours.public_key().clone()]);
    assert_eq!(owner.verify(NAME, b"{}", Some(text.as_bytes())), elsewhere);
    // Anyone can write another's id into a signature of his own.
    let mut id = ours.clone();
    id.secret_half = theirs.secret_half.clone();
    assert_eq!(
        verify_text(&ours, NAME, b"{}", &id.sign(OWNER, NAME, b"{}").await.expect("signed")),
        Err(SignatureError::Forged)
    );
    let none =
        MinisignVerifier::new(OWNER, vec![ours.public_key().clone()]).verify(NAME, b"{}", None);
    assert_eq!(none, Err(SignatureError::Missing));
}

#[tokio::test]
async fn no_line_of_a_signature_can_be_changed() {
    let ours = new_signer();
    let text = ours.sign(OWNER, NAME, b"{}").await.expect("signed");
    let other = new_signer().sign(OWNER, "x", b"[]").await.expect("signed");
    let swap = |line: usize| {
        let lines = text.lines().zip(other.lines()).enumerate();
        let lines = lines.map(|(i, (own, other))| if i == line { other } else { own });
        lines.collect::<Vec<_>>().join("\n")
    };
    // The untrusted comment is what it says.
    assert!(verify_text(&ours, NAME, b"{}", &swap(0)).is_ok());
    for line in 1..4 {
        assert!(verify_text(&ours, NAME, b"{}", &swap(line)).is_err(), "line {line}");
    }
    for bad in [
        "",
        "x",
        "untrusted comment: \n",
        &text[..text.len() / 2],
        &"x".repeat(MAX_SIGNATURE_BYTES + 1),
    ] {
        let said = verify_text(&ours, NAME, b"{}", bad);
        assert!(matches!(said, Err(SignatureError::Malformed(_))), "{said:?}");
    }
}

#[test]
fn a_key_is_read_back_and_a_text_that_is_none_is_not_repeated() {
    let (signer, secret) = MinisignSigner::generate().expect("random numbers");
    let again = MinisignSigner::parse(&secret).expect("a key");
    assert_eq!(again.public_key(), signer.public_key());
    let line = secret.expose_secret().lines().nth(1).expect("a line").to_owned();
    assert_eq!(
        MinisignSigner::parse(&line.clone().into()).expect("a key").public_key(),
        signer.public_key()
    );
    assert_eq!(signer.public_key().to_string().parse().as_ref(), Ok(signer.public_key()));
    assert!(!format!("{signer:?}").contains(&line));
    let changed = line.replacen(&line[80..90], "AAAAAAAAAA", 1);
    for bad in ["", "hunter2", &line[4..], &changed] {
        let why = MinisignSigner::parse(&bad.to_owned().into()).expect_err("no key");
        assert!(!why.contains("hunter2") && !why.contains(&line[60..90]), "{why}");
    }
    for bad in ["", "RW", "hunter2", "age1xyz"] {
        let why = bad.parse::<PublicKey>().expect_err(bad);
        assert!(why.contains("RW...") && !why.contains("hunter2"), "{why}");
    }
    let why = line.parse::<PublicKey>().expect_err("a secret");
    assert!(why.contains("make a new pair") && !why.contains(&line[..20]), "{why}");
}

/// Runs the stock program; without it these tests say so.
fn run_minisign(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let ran = Command::new("minisign").args(arguments).current_dir(folder).output();
    ran.expect("minisign is installed: dev/install.py")
}

#[tokio::test]
async fn stock_minisign_checks_our_signatures_and_signs_with_our_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let (signer, secret) = MinisignSigner::generate().expect("random numbers");
    let public = signer.public_key().to_string();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("record"), "{}").expect("written");
    fs::write(at("record.minisig"), signer.sign(OWNER, NAME, b"{}").await.expect("signed"))
        .expect("written");
    let ran = run_minisign(folder.path(), &["-V", "-P", &public, "-m", "record"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && said.contains(&format!("holdfast {OWNER} {NAME}")), "{ran:?}");
    fs::write(at("record"), "{ }").expect("written");
    assert!(!run_minisign(folder.path(), &["-V", "-P", &public, "-m", "record"]).status.success());

    fs::write(at("ours.key"), secret.expose_secret()).expect("written");
    let comment = format!("holdfast {OWNER} {NAME}");
    for form in ["-l", "-H"] {
        let ran = run_minisign(
            folder.path(),
            &["-S", form, "-W", "-s", "ours.key", "-m", "record", "-t", &comment],
        );
        assert!(ran.status.success(), "{ran:?}");
        let text = fs::read_to_string(at("record.minisig")).expect("written");
        assert_eq!(
            verify_text(&signer, NAME, b"{ }", &text),
            Ok(signer.public_key().key_id()),
            "{form}"
        );
    }
}

#[test]
fn a_pair_made_by_stock_minisign_signs_here() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run_minisign(folder.path(), &["-G", "-W", "-p", "their.pub", "-s", "their.key"]);
    assert!(ran.status.success(), "{ran:?}");
    let text = fs::read_to_string(folder.path().join("their.key")).expect("written");
    let signer = MinisignSigner::parse(&text.into()).expect("a key");
    let public = fs::read_to_string(folder.path().join("their.pub")).expect("written");
    assert_eq!(public.lines().last(), Some(signer.public_key().to_string().as_str()));
}

const KMS_KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/a";

/// A KMS with one Ed25519 key: it answers `GetPublicKey` and `Sign` as the real one does.
fn kms_with(pair: Ed25519KeyPair, spec: &'static str) -> AwsClients {
    wire::mock_aws(move |request| {
        let asked: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!(asked["KeyId"], KMS_KEY);
        let answer = if let Some(message) = asked["Message"].as_str() {
            assert_eq!(asked["SigningAlgorithm"], "ED25519_SHA_512");
            assert_eq!(asked["MessageType"], "RAW");
            let signature = pair.sign(&STANDARD.decode(message).expect("base64"));
            serde_json::json!({ "Signature": STANDARD.encode(signature.as_ref()) })
        } else {
            let der = [&ED25519_SPKI_PREFIX[..], pair.public_key().as_ref()].concat();
            serde_json::json!({ "PublicKey": STANDARD.encode(der), "KeySpec": spec })
        };
        (200, answer.to_string().into_bytes())
    })
}

async fn signer_of(
    aws: &AwsClients,
    public: &str,
) -> Result<Option<MinisignSigner>, OperationError> {
    let text = format!(
        "{{holdfast: 1, company: acme, id: host-1, signing: {{public_keys: [{public}], kms_key: \"{KMS_KEY}\"}}}}"
    );
    let policy = Policy::parse(&text).expect("a policy");
    let home = Location::home_from_policy(&policy);
    MinisignSigner::from_policy(&policy, &SecretResolver::new(aws, &home)).await
}

#[tokio::test]
async fn a_key_in_kms_signs_what_stock_minisign_believes() {
    let seed = [7; 32];
    let aws = kms_with(
        Ed25519KeyPair::from_seed_unchecked(&seed).expect("a pair"),
        "ECC_NIST_EDWARDS25519",
    );
    let key: Arn = KMS_KEY.parse().expect("an ARN");
    let place = Location::of_arn(&key).expect("a place");
    let public = PublicKey::from_kms(&aws.kms(&place), &key).await.expect("a key").to_string();

    let signer = signer_of(&aws, &public).await.expect("a signer").expect("signs");
    let text = signer.sign(OWNER, NAME, b"{ }").await.expect("signed");
    assert_eq!(verify_text(&signer, NAME, b"{ }", &text), Ok(signer.public_key().key_id()));

    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("record"), b"{ }").expect("written");
    fs::write(folder.path().join("record.minisig"), &text).expect("written");
    let ran = run_minisign(folder.path(), &["-V", "-P", &public, "-m", "record"]);
    assert!(ran.status.success(), "{ran:?}");

    // Another key's public half in the policy: nothing is signed with a key that no reader believes.
    let other = new_signer().public_key().to_string();
    let refused = signer_of(&aws, &other).await.expect_err("another key");
    assert_eq!(refused.kind, OperationErrorKind::Key);
    assert!(refused.to_string().contains(&public), "{refused}");
}
