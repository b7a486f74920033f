//! The export of one version: read, encrypt, store, record. Stopped at any point, it leaves nothing that counts.

use crate::{
    plan::ExportVersion,
    record::{self, ExportContext, ExportRecord, encrypt_version, export_key, second_key},
    stored,
};
use codec::EncodingOptions;
use shared::{
    aws::{OperationError, OperationErrorKind},
    policy::SecretGroup,
    report::{ActionResult, Artifact, StepSuccess},
    run::RunContext,
    signing::SigningAuthor,
};
use storage::{TrustPolicy, UploadOptions, beside, place::OpenStore};

/// A group's open store and its recipients.
pub(crate) struct GroupExports<'p> {
    store: OpenStore<'p>,
    author: &'p SigningAuthor,
    options: EncodingOptions,
    recipients: &'p [String],
}

/// Opens a group's store for exports; a bucket gets its mark with the first.
///
/// # Errors
/// If the store, the recipients or the signing key cannot be used.
pub(crate) async fn open<'p>(
    world: &RunContext<'_>,
    rules: &'p SecretGroup,
    author: &'p Result<SigningAuthor, OperationError>,
    trust: &TrustPolicy,
) -> Result<GroupExports<'p>, OperationError> {
    let author = author.as_ref().map_err(Clone::clone)?;
    let missing =
        || OperationError::from_message("open the exports", "the policy names no storage");
    let store = stored::open(world, rules).await?.ok_or_else(missing)?;
    let encrypt = rules.encrypt.as_ref().ok_or_else(|| {
        let why = "the policy names no recipients";
        OperationError {
            kind: OperationErrorKind::Key,
            ..OperationError::from_message("open the exports", why)
        }
    })?;
    let options = record::encoding_options(encrypt)?;
    store.ensure_owned(trust, author, world).await?;
    Ok(GroupExports { store, author, options, recipients: &encrypt.age })
}

/// Exports a version.
///
/// # Errors
/// If it cannot be read, encrypted, or stored and read back.
pub(crate) async fn export_version(
    world: &RunContext<'_>,
    group: &GroupExports<'_>,
    step: &ExportVersion,
) -> ActionResult {
    let home = world.home_location();
    let (name, version, store) = (&step.secret.name, &step.version, &group.store.store);
    let candidates = [export_key(name, version), second_key(name, version, &world.run_id)];
    let key = store.find_free_key(&candidates).await?;
    let read = world.aws.secrets(&home).read_version(name, version).await?;
    let created = read.created;
    let stored = encrypt_version(name, version, &read.value, &group.options)?;
    drop(read);
    let put = UploadOptions {
        run: world.run_id.clone(),
        size_hint: stored.len() as u64,
        ..UploadOptions::default()
    };
    let owner = world.policy.owner();
    let context = ExportContext {
        owner: &owner,
        run: &world.run_id,
        region: home.region.as_str(),
        exported: world.now,
        recipients: group.recipients,
        download: store.download_command(&key),
    };
    let record = ExportRecord::new(&context, &key, &step.secret, version, created, &stored);
    let mut upload = store.start_upload(&key, &put).await?;
    if let Err(e) = upload.write(stored.into()).await {
        upload.abort().await;
        return Err(e.into());
    }
    upload.finish().await?;
    let mut json = serde_json::to_vec_pretty(&record).expect("a record is plain data");
    json.push(b'\n');
    store.put_signed(&beside::manifest_key(&key), json.into(), &put, group.author).await?;
    let artifact =
        Artifact { key: key.clone(), location: store.address(), bytes: None, seconds: None };
    Ok(StepSuccess::with_artifact(format!("{key} is in {}", store.address()), artifact))
}
