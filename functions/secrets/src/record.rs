//! What is stored of a version: an encrypted body, and a record beside it that tells nothing of the value.
//!
//! The record has no hash of the value, which would be the value of a short one, and the body is padded, so that its size
//! tells only in which step of 4 KiB the value's size is. JSON may end with blanks, so that stock tools read the body.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use codec::{
    AgeRecipient, ArchiveDecoder, ArchiveEncoder, CompressionMethod, DecryptionKeys,
    EncodingOptions, EncryptionMethod,
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{
    aws::{
        OperationError, OperationErrorKind,
        secrets::{inventory::SecretState, values::SecretValue},
    },
    policy::EncryptionConfig,
    words::{hex_encode, shell_quote},
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

/// Version of the record and of the body.
const FORMAT_VERSION: u32 = 1;
/// Bodies are a multiple of this.
const BODY_STEP_BYTES: usize = 4096;
/// The end of an export's key; its record has [`RECORD_SUFFIX`].
pub(crate) const EXPORT_SUFFIX: &str = ".json.age";
/// The end of a record's key.
pub(crate) const RECORD_SUFFIX: &str = ".json.age.json";

/// The commit record of an exported version. It is written last and signed where the policy signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRecord {
    /// Version of this format.
    pub holdfast: u32,
    /// Whose it is.
    pub owner: String,
    /// Its key, so that a copy elsewhere does not count.
    pub key: String,
    /// The secret's name.
    pub name: String,
    /// The version's id.
    pub version: String,
    /// Labels of the version when it was exported.
    pub labels: Vec<String>,
    /// When the version was created.
    pub created: Option<Timestamp>,
    /// When it was exported.
    pub exported: Timestamp,
    /// The run that exported it.
    pub run: String,
    /// The region that it was read in.
    pub region: String,
    /// The secret's KMS key; none is `aws/secretsmanager`.
    pub kms_key: Option<String>,
    /// The secret's description.
    #[serde(default)]
    pub description: String,
    /// The secret's tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The AWS service that owns the secret, which alone may write it.
    #[serde(default)]
    pub owning_service: Option<String>,
    /// SHA-256 of the encrypted object.
    pub sha256: String,
    /// Age recipients that can read it.
    pub recipients: Vec<String>,
    /// A line of shell that creates the secret from the object with the standard tools.
    pub restore: String,
}

/// What is encrypted.
#[derive(Serialize, Deserialize)]
struct ExportBody {
    holdfast: u32,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<String>,
}

/// The key of a version's export below the store's prefix. Whatever a name holds, it is a path that stays below it.
pub fn export_key(name: &str, version: &str) -> String {
    format!("{}/{version}{EXPORT_SUFFIX}", path_of_name(name))
}

/// A second key, where the first is taken by something that is no export, such as what a killed run left.
pub(crate) fn second_key(name: &str, version: &str, run: &str) -> String {
    format!("{}/{version}-{run}{EXPORT_SUFFIX}", path_of_name(name))
}

fn path_of_name(name: &str) -> String {
    let part = |part: &str| match part {
        "" => "%2F".to_owned(),
        dots if dots.bytes().all(|b| b == b'.') => dots.replace('.', "%2E"),
        // Secrets Manager allows letters, digits and /_+=.@-: nothing else is to be encoded.
        other => other.to_owned(),
    };
    name.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// How exports of a group are encrypted.
///
/// # Errors
/// If a recipient is not one.
pub(crate) fn encoding_options(
    encrypt: &EncryptionConfig,
) -> Result<EncodingOptions, OperationError> {
    let recipients: Result<Vec<AgeRecipient>, _> = encrypt.age.iter().map(|a| a.parse()).collect();
    let recipients = recipients.map_err(|e: codec::ArchiveError| {
        let hint = "write the public keys that age-keygen prints: age1...";
        OperationError::with_hint(
            OperationErrorKind::Key,
            "read the age recipients",
            e.to_string(),
            hint,
        )
    })?;
    // Compression would let the size tell more of the value.
    let (compression, encryption) = (CompressionMethod::None, EncryptionMethod::Age(recipients));
    Ok(EncodingOptions { compression, encryption })
}

/// The encrypted object of a version.
///
/// # Errors
/// If it cannot be encrypted.
pub(crate) fn encrypt_version(
    name: &str,
    version: &str,
    value: &SecretValue,
    options: &EncodingOptions,
) -> Result<Vec<u8>, OperationError> {
    let failed = |why: String| {
        let doing = format!("encrypt version {version} of secret {name}");
        OperationError { kind: OperationErrorKind::Key, ..OperationError::from_message(doing, why) }
    };
    let (name, version) = (name.to_owned(), version.to_owned());
    let mut body = ExportBody {
        holdfast: FORMAT_VERSION,
        name: name.clone(),
        version: version.clone(),
        string: None,
        binary: None,
    };
    match value {
        SecretValue::Text(text) => body.string = Some(text.expose_secret().to_owned()),
        SecretValue::Binary(bytes) => body.binary = Some(BASE64.encode(bytes.expose_secret())),
    }
    let text = serde_json::to_vec(&body).expect("a body is plain data");
    // What holds the value is overwritten when it is dropped.
    let _held: [Option<SecretString>; 2] =
        [body.string.map(Into::into), body.binary.map(Into::into)];
    let mut plain = SecretBox::new(Box::new(text));
    let size = plain.expose_secret().len().next_multiple_of(BODY_STEP_BYTES);
    let padding = vec![b' '; size - plain.expose_secret().len()];
    let mut encoder = ArchiveEncoder::new(Vec::with_capacity(size + 1024), options)
        .map_err(|e| failed(e.to_string()))?;
    encoder.write_all(plain.expose_secret()).map_err(|e| failed(e.to_string()))?;
    encoder.write_all(&padding).map_err(|e| failed(e.to_string()))?;
    secrecy::zeroize::Zeroize::zeroize(secrecy::ExposeSecretMut::expose_secret_mut(&mut plain));
    Ok(encoder.finish().map_err(|e| failed(e.to_string()))?.0)
}

/// The value in an encrypted object, which must be the one of this record.
///
/// # Errors
/// If the object is not the record's, no key opens it, or it holds another version.
pub(crate) fn decrypt_version(
    record: &ExportRecord,
    stored: &[u8],
    keys: &DecryptionKeys,
) -> Result<SecretValue, OperationError> {
    let failed = |kind, why: &str| {
        let doing = format!("decrypt {}", record.key);
        OperationError { kind, ..OperationError::from_message(doing, why) }
    };
    if hex_encode(&Sha256::digest(stored)) != record.sha256 {
        return Err(failed(OperationErrorKind::Store, "it is not what its record says"));
    }
    let layers =
        codec::EncodingLayers { encryption: Some(codec::EncryptionFormat::Age), compression: None };
    let open = || -> Result<Vec<u8>, codec::ArchiveError> {
        let mut decoder = ArchiveDecoder::new(stored, &layers, keys)?;
        let mut plain = Vec::with_capacity(stored.len());
        decoder.read_to_end(&mut plain)?;
        decoder.finish()?;
        Ok(plain)
    };
    let plain = open().map_err(|e| failed(OperationErrorKind::Key, &e.to_string()))?;
    let plain = SecretBox::new(Box::new(plain));
    // The parser's own words could repeat what it read.
    let body: ExportBody = serde_json::from_slice(plain.expose_secret())
        .map_err(|_| failed(OperationErrorKind::Store, "what is inside is no export"))?;
    if (&body.name, &body.version) != (&record.name, &record.version) {
        return Err(failed(OperationErrorKind::Store, "what is inside is of another version"));
    }
    match (body.string, body.binary) {
        (Some(text), None) => Ok(SecretValue::Text(text.into())),
        (None, Some(text)) => {
            let text = SecretString::from(text);
            let bytes = BASE64
                .decode(text.expose_secret())
                .map_err(|_| failed(OperationErrorKind::Store, "its bytes are not base64"))?;
            Ok(SecretValue::Binary(SecretBox::new(Box::new(bytes))))
        }
        _ => Err(failed(OperationErrorKind::Store, "what is inside has no value")),
    }
}

/// What of an export's place and time goes into its record.
pub(crate) struct ExportContext<'a> {
    pub(crate) owner: &'a str,
    pub(crate) run: &'a str,
    pub(crate) region: &'a str,
    pub(crate) exported: Timestamp,
    pub(crate) recipients: &'a [String],
    pub(crate) download: String,
}

impl ExportRecord {
    /// The record of an encrypted object.
    pub(crate) fn new(
        context: &ExportContext<'_>,
        key: &str,
        secret: &SecretState,
        version: &str,
        created: Option<Timestamp>,
        stored: &[u8],
    ) -> Self {
        let restore = format!(
            "{} | age -d -i KEYFILE | jq -j .string | aws secretsmanager create-secret --name {} --secret-string file:///dev/stdin",
            context.download,
            shell_quote(&secret.name)
        );
        let binary = " # of a binary secret: jq -r .binary | base64 -d, and --secret-binary fileb:///dev/stdin";
        Self {
            holdfast: FORMAT_VERSION,
            owner: context.owner.to_owned(),
            key: key.to_owned(),
            name: secret.name.clone(),
            version: version.to_owned(),
            labels: secret.versions.get(version).cloned().unwrap_or_default(),
            created,
            exported: context.exported,
            run: context.run.to_owned(),
            region: context.region.to_owned(),
            kms_key: secret.kms_key.clone(),
            description: secret.description.clone(),
            tags: secret.tags.clone(),
            owning_service: secret.owning_service.clone(),
            sha256: hex_encode(&Sha256::digest(stored)),
            recipients: context.recipients.to_vec(),
            restore: restore + binary,
        }
    }

    /// Reads a record that was signed as the policy asks; why it does not count otherwise.
    pub(crate) fn parse(owner: &str, key: &str, json: &[u8]) -> Result<Self, String> {
        let record: Self =
            serde_json::from_slice(json).map_err(|e| format!("it is no record: {e}"))?;
        if record.holdfast != FORMAT_VERSION {
            return Err(format!(
                "it is of format {}, and this Holdfast knows {FORMAT_VERSION}",
                record.holdfast
            ));
        }
        if record.owner != owner {
            return Err(format!(
                "it is of \"{}\", and this place belongs to \"{owner}\"",
                record.owner
            ));
        }
        if record.key != key {
            return Err(format!("it was written for {}: somebody copied it here", record.key));
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests;
