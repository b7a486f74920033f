//! The archive of a group of the policy: its store, its keys, and who is believed.

use crate::{error::WalError, repository::WalRepository};
use codec::{AgeRecipient, CompressionMethod, DecryptionKeys, EncodingOptions, EncryptionMethod};
use shared::{
    aws::AwsClients,
    catalog::Location,
    policy::{EncryptionConfig, Policy, WalConfig},
    secret::SecretResolver,
    signing::{MinisignVerifier, SigningAuthor},
};
use std::num::NonZero;

/// What is done with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveAccess {
    /// Files are put there.
    Write,
    /// Files are read.
    Read,
    /// Names are listed, and what is judged by them is deleted.
    List,
}

/// Opens a group's archive; the keys that open files are the caller's to give.
///
/// # Errors
/// If the store, or a key that is needed, can't be had.
pub async fn open_archive(
    (aws, policy, config): (&AwsClients, &Policy, &WalConfig),
    secrets: &SecretResolver<'_>,
    access: ArchiveAccess,
    run_id: &str,
) -> Result<WalRepository, WalError> {
    let home = Location::home_from_policy(policy);
    let store = storage::open_store(aws, &home, &config.storage, secrets).await?;
    let author = match access {
        ArchiveAccess::Write => SigningAuthor::from_policy(policy, secrets).await?,
        ArchiveAccess::Read | ArchiveAccess::List => SigningAuthor::new(policy.owner(), None),
    };
    Ok(WalRepository {
        store,
        encoding: encoding_options(secrets, config, access).await?,
        iterations: config.encrypt.as_ref().map_or(0, |e| e.iterations),
        author,
        verifier: MinisignVerifier::from_policy(policy),
        keys: DecryptionKeys::default(),
        run_id: run_id.to_owned(),
    })
}

async fn encoding_options(
    secrets: &SecretResolver<'_>,
    config: &WalConfig,
    access: ArchiveAccess,
) -> Result<EncodingOptions, WalError> {
    let compression = CompressionMethod::Zstd(config.level.map_or(3, |l| i32::from(l.get())));
    let encryption = match &config.encrypt {
        None => EncryptionMethod::None,
        Some(EncryptionConfig { openssl: Some(from), iterations, .. }) => {
            // A reader needs to know that files are encrypted, and its own keys open them.
            let passphrase = match access {
                ArchiveAccess::Write => secrets.get(from).await?,
                ArchiveAccess::Read | ArchiveAccess::List => String::new().into(),
            };
            EncryptionMethod::OpenSsl {
                passphrase,
                iterations: NonZero::new(*iterations).map_or(1, NonZero::get),
            }
        }
        Some(EncryptionConfig { age, .. }) => {
            let recipients: Result<Vec<AgeRecipient>, _> = age.iter().map(|a| a.parse()).collect();
            EncryptionMethod::Age(
                recipients.map_err(|e| WalError::from_archive("read the age recipients", &e))?,
            )
        }
    };
    Ok(EncodingOptions { compression, encryption })
}
