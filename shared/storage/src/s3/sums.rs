//! Checksums of parts and of what they make together.

use crate::{StoreError, StoreErrorKind, UploadReceipt};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::Md5;
use sha2::{Digest, Sha256};
use shared::policy::StoreChecksum;

/// A part's checksum, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartChecksum(Vec<u8>);

impl PartChecksum {
    pub(super) fn compute(kind: StoreChecksum, bytes: &[u8]) -> Self {
        Self(match kind {
            StoreChecksum::Sha256 => Sha256::digest(bytes).to_vec(),
            StoreChecksum::Md5 => Md5::digest(bytes).to_vec(),
        })
    }

    /// As it stands in headers.
    pub(super) fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    fn to_hex(&self) -> String {
        shared::words::hex_encode(&self.0)
    }
}

/// What the store should say of the whole: of one request its own checksum, of parts the checksum of their checksums and
/// their number.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
pub(super) fn expected_checksum(
    kind: StoreChecksum,
    sums: &[PartChecksum],
    in_parts: bool,
) -> String {
    let all = if in_parts {
        PartChecksum::compute(kind, &sums.iter().flat_map(|s| s.0.clone()).collect::<Vec<_>>())
    } else {
        sums.first().cloned().unwrap_or_else(|| PartChecksum::compute(kind, b""))
    };
    let text = match kind {
        StoreChecksum::Sha256 => all.to_base64(),
        StoreChecksum::Md5 => all.to_hex(),
    };
    if in_parts { format!("{text}-{}", sums.len()) } else { text }
}

/// Compares what the store says of an object with what was sent.
pub(super) fn verify_head(
    doing: &str,
    kind: StoreChecksum,
    bytes: u64,
    expected: &str,
    head: &HeadObjectOutput,
) -> Result<UploadReceipt, StoreError> {
    let damaged = |why: String| {
        let hint = "nothing counts of it; look at the store: it does not keep what it is given";
        Err(StoreError::new(StoreErrorKind::Damaged, doing, why, hint))
    };
    let size = head.content_length().and_then(|n| u64::try_from(n).ok());
    if size != Some(bytes) {
        let said = size.map_or("no size".into(), |n| format!("{n} bytes"));
        return damaged(format!("{said} lie there, of {bytes}"));
    }
    let etag = head.e_tag().unwrap_or_default().trim_matches('"').to_lowercase();
    match kind {
        StoreChecksum::Sha256 => match head.checksum_sha256() {
            // Some stores leave the number of parts out.
            Some(said) if said == expected || expected.split('-').next() == Some(said) => {
                Ok(UploadReceipt { bytes, checksum: Some(format!("sha256:{said}")) })
            }
            Some(said) => damaged(format!("it has SHA-256 {said}, and {expected} was sent")),
            // The store checked each part on arrival, if it knows the header at all; it just does not keep the sum.
            None => Ok(UploadReceipt { bytes, checksum: Some(format!("etag:{etag}")) }),
        },
        StoreChecksum::Md5 => {
            // With a key of KMS or of the customer, an ETag is no MD5; on some stores with any encryption.
            let keyed = head.server_side_encryption().is_some_and(|e| e.as_str() != "AES256")
                || head.sse_customer_algorithm().is_some();
            let shaped =
                etag.len() == expected.len() && etag.contains('-') == expected.contains('-');
            if shaped && etag != expected && !keyed && head.server_side_encryption().is_none() {
                return damaged(format!("it has ETag {etag}, and {expected} was sent"));
            }
            Ok(UploadReceipt { bytes, checksum: Some(format!("etag:{etag}")) })
        }
    }
}
