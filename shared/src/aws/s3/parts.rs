//! Copies of objects above 5 GiB, in parts.

use super::{
    S3Client,
    copy::{CopyObject, ObjectCopyResult, long_running_config},
    keys,
    objects::{ObjectChecksum, metadata_from_head},
};
use crate::aws::OperationError;
use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_types::{DateTime, date_time::Format};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::Duration;

/// An upload has 10,000 parts at most, and a part 5 GiB at most.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PARTS: u64 = 10_000;
/// Large enough that a call costs little beside the data, small enough that a part that fails costs little again.
const MIN_PART_BYTES: u64 = 128 << 20;
/// Parts of one object on their way at once.
const MAX_CONCURRENT_PARTS: usize = 4;

/// A part: its number from 1, its first and its last byte.
type PartRange = (i32, u64, u64);

/// The parts of an object: all of one size but the last, few enough for any size that S3 holds.
fn part_ranges(size: u64) -> impl Iterator<Item = PartRange> {
    let part = MIN_PART_BYTES.max(size.div_ceil(MAX_PARTS).next_multiple_of(1 << 20));
    let starts = (0..size.div_ceil(part)).map(move |i| i * part);
    (1..).zip(starts).map(move |(n, from)| (n, from, (from + part).min(size) - 1))
}

impl S3Client {
    /// Copies in parts. What `CopyObject` carries over by itself is carried by hand here: metadata and tags.
    pub(super) async fn copy_in_parts(
        &self,
        source: &S3Client,
        order: &CopyObject,
        within: Option<Duration>,
    ) -> Result<ObjectCopyResult, OperationError> {
        let CopyObject { source_bucket: from, object, .. } = order;
        let (head, tags) = futures_util::try_join!(
            source.head_object(from, &object.key),
            source.source_tagging(order)
        )?;
        let head = head.ok_or_else(|| order.busy_error("it was deleted since it was listed"))?;
        let facts = metadata_from_head(from, &object.key, &head)?;
        if facts.object.etag != object.etag {
            return Err(order.busy_error("it was changed since it was listed"));
        }
        let upload = self.create_upload(order, &head, tags).await?;
        let copied = self.copy_all_parts(order, &upload);
        let copied = match within {
            Some(time) => tokio::time::timeout(time, copied).await,
            None => Ok(copied.await),
        };
        match copied.unwrap_or_else(|_| Err(order.out_of_time_error())) {
            Ok(made) => Ok(ObjectCopyResult { source: facts.checksum, ..made }),
            Err(e) => Err(self.abort_upload(order, &upload, e).await),
        }
    }

    /// The source's tags as `x-amz-tagging` takes them. Asked for always: without the permission S3 does not even say
    /// that there are any, and they would be lost in silence.
    async fn source_tagging(&self, order: &CopyObject) -> Result<Option<String>, OperationError> {
        let request =
            self.client.get_object_tagging().bucket(&order.source_bucket).key(&order.object.key);
        let answer = request.send().await.map_err(|e| order.to_operation_error(&e))?;
        let mut out = String::new();
        for tag in answer.tag_set() {
            if !out.is_empty() {
                out.push('&');
            }
            keys::append_query_encoded(tag.key(), &mut out);
            out.push('=');
            keys::append_query_encoded(tag.value(), &mut out);
        }
        Ok(Some(out).filter(|tags| !tags.is_empty()))
    }

    async fn create_upload(
        &self,
        order: &CopyObject,
        head: &HeadObjectOutput,
        tags: Option<String>,
    ) -> Result<String, OperationError> {
        let CopyObject { object, destination_bucket: to, kms_key, .. } = order;
        let text = |s: Option<&str>| s.map(str::to_owned);
        let expires = head.expires_string();
        let expires = expires.and_then(|e| DateTime::from_str(e, Format::HttpDate).ok());
        let request = self.client.create_multipart_upload().bucket(to).key(&object.key);
        let answer = request
            // Of the whole object, whatever its parts: so it can be compared with the source's, which S3 keeps for every
            // new object. A SHA-256 of parts is a hash of hashes and fits no other division.
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .set_metadata(head.metadata().cloned())
            .set_content_type(text(head.content_type()))
            .set_content_encoding(text(head.content_encoding()))
            .set_content_language(text(head.content_language()))
            .set_content_disposition(text(head.content_disposition()))
            .set_cache_control(text(head.cache_control()))
            .set_expires(expires)
            .set_tagging(tags)
            .set_server_side_encryption(order.requested_encryption())
            .set_ssekms_key_id(kms_key.clone())
            .set_bucket_key_enabled(kms_key.is_some().then_some(true))
            .send()
            .await
            .map_err(|e| order.to_operation_error(&e))?;
        let upload = answer.upload_id().map(str::to_owned);
        upload
            .ok_or_else(|| OperationError::from_message(order.to_string(), "S3 gave no upload id"))
    }

    async fn copy_all_parts(
        &self,
        order: &CopyObject,
        upload: &str,
    ) -> Result<ObjectCopyResult, OperationError> {
        let CopyObject { object, destination_bucket: to, .. } = order;
        let parts =
            stream::iter(part_ranges(object.size)).map(|p| self.copy_part(order, upload, p));
        let copied: Vec<CompletedPart> = parts.buffered(MAX_CONCURRENT_PARTS).try_collect().await?;
        let request = self.client.complete_multipart_upload().bucket(to).key(&object.key);
        let whole = CompletedMultipartUpload::builder().set_parts(Some(copied)).build();
        let answer = request
            .upload_id(upload)
            .multipart_upload(whole)
            .checksum_type(ChecksumType::FullObject)
            .mpu_object_size(i64::try_from(object.size).unwrap_or(i64::MAX))
            .customize()
            .config_override(long_running_config())
            .send()
            .await
            .map_err(|e| order.to_operation_error(&e))?;
        let sum = answer.checksum_crc64_nvme().map(|s| ObjectChecksum::Crc64Nvme(s.to_owned()));
        let etag = keys::unquoted_etag(answer.e_tag().unwrap_or_default());
        Ok(ObjectCopyResult { etag, checksum: sum, source: None })
    }

    async fn copy_part(
        &self,
        order: &CopyObject,
        upload: &str,
        (number, first, last): PartRange,
    ) -> Result<CompletedPart, OperationError> {
        let CopyObject { source_bucket: from, object, destination_bucket: to, .. } = order;
        let request = self.client.upload_part_copy().bucket(to).key(&object.key);
        let answer = request
            .upload_id(upload)
            .part_number(number)
            .copy_source(keys::encode_copy_source(from, &object.key))
            .copy_source_range(format!("bytes={first}-{last}"))
            .copy_source_if_match(keys::quoted_etag(&object.etag))
            .customize()
            .config_override(long_running_config())
            .send()
            .await
            .map_err(|e| order.to_operation_error(&e))?;
        let result = answer.copy_part_result().filter(|r| r.e_tag().is_some());
        let result = result.ok_or_else(|| {
            OperationError::from_message(
                order.to_string(),
                format!("S3 gave no ETag for part {number}"),
            )
        })?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(result.e_tag().map(str::to_owned))
            .set_checksum_crc64_nvme(result.checksum_crc64_nvme().map(str::to_owned))
            .build())
    }

    /// Takes back what was uploaded, which costs as long as it lies there. Answers with the error that led here.
    async fn abort_upload(
        &self,
        order: &CopyObject,
        upload: &str,
        why: OperationError,
    ) -> OperationError {
        let request = self.client.abort_multipart_upload().bucket(&order.destination_bucket);
        match request.key(&order.object.key).upload_id(upload).send().await {
            Ok(_) => why,
            Err(e) => {
                let abort = OperationError::from_sdk_error("abort", &e).message;
                OperationError {
                    message: format!(
                        "{}; and its upload {upload} stays there: {abort}",
                        why.message
                    ),
                    ..why
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_any_size_cover_it_once_and_are_few_enough() {
        let gib = 1 << 30;
        let said =
            [5 * gib + 1, 100 * gib, 1_250 * gib, 1_250 * gib + 1, 5_000_000_000_000, 50_000 * gib];
        let said = said.map(|size| {
            let all: Vec<_> = part_ranges(size).collect();
            let (first, last) = (all[0], all[all.len() - 1]);
            assert_eq!((first.0, first.1), (1, 0));
            assert_eq!((last.0, last.2), (i32::try_from(all.len()).expect("few"), size - 1));
            assert!(all.windows(2).all(|w| w[0].2 + 1 == w[1].1), "gaps in {size}");
            assert!(all.len() <= 10_000 && first.2 < 5 * gib, "S3 refuses that");
            format!("{size}: {} parts of {} MiB", all.len(), (first.2 + 1) >> 20)
        });
        insta::assert_snapshot!(said.join("\n"), @"
        5368709121: 41 parts of 128 MiB
        107374182400: 800 parts of 128 MiB
        1342177280000: 10000 parts of 128 MiB
        1342177280001: 9923 parts of 129 MiB
        5000000000000: 9997 parts of 477 MiB
        53687091200000: 10000 parts of 5120 MiB
        ");
    }
}
