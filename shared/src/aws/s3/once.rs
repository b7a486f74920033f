//! Small objects that are written once: a conditional write, whole reads, folders.

use super::{S3Client, keys};
use crate::aws::OperationError;
use aws_sdk_s3::{primitives::ByteStream, types::EncodingType};

impl S3Client {
    /// Writes an object that is not there yet; false when it is, or when another writer is at it this very moment.
    ///
    /// # Errors
    /// If S3 refuses it.
    pub async fn put_if_absent(
        &self,
        bucket: &str,
        key: &str,
        bytes: Vec<u8>,
    ) -> Result<bool, OperationError> {
        let request = self.client.put_object().bucket(bucket).key(key).if_none_match("*");
        match request.body(ByteStream::from(bytes)).send().await {
            Ok(_) => Ok(true),
            Err(e)
                if e.raw_response().is_some_and(|r| [409, 412].contains(&r.status().as_u16())) =>
            {
                Ok(false)
            }
            Err(e) => Err(OperationError::from_sdk_error(format!("write s3://{bucket}/{key}"), &e)),
        }
    }

    /// All bytes of a small object, of a larger one `most` and one more; none when it is not there.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn get_bytes(
        &self,
        bucket: &str,
        key: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, OperationError> {
        let doing = format!("read s3://{bucket}/{key}");
        match self.client.get_object().bucket(bucket).key(key).send().await {
            Ok(mut answer) => {
                let mut bytes = Vec::new();
                while let Some(piece) = answer.body.next().await {
                    let piece = piece
                        .map_err(|e| OperationError::from_message(doing.clone(), e.to_string()))?;
                    bytes.extend_from_slice(&piece);
                    if bytes.len() > most {
                        bytes.truncate(most + 1);
                        break;
                    }
                }
                Ok(Some(bytes))
            }
            Err(e) => match OperationError::from_sdk_error(doing, &e) {
                gone if gone.code.as_deref() == Some("NoSuchKey") => Ok(None),
                e => Err(e),
            },
        }
    }

    /// Folders right below a prefix, each with its `/` at the end, and the keys that are in none of them.
    ///
    /// # Errors
    /// If the list can't be read to its end.
    pub async fn list_common_prefixes(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<(Vec<String>, Vec<String>), OperationError> {
        let doing = format!("list folders of s3://{bucket}/{prefix}");
        let request = self.client.list_objects_v2().bucket(bucket).prefix(prefix).delimiter("/");
        let mut pages = request.encoding_type(EncodingType::Url).into_paginator().send();
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| OperationError::from_sdk_error(doing.clone(), &e))?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            let name = |key: &str| {
                let read =
                    if encoded { keys::decode_listed_key(key) } else { Some(key.to_owned()) };
                read.ok_or_else(|| {
                    OperationError::from_message(doing.clone(), "a key can't be read")
                })
            };
            for folder in page.common_prefixes() {
                folders.extend(folder.prefix().map(name).transpose()?);
            }
            for object in page.contents() {
                files.extend(object.key().map(name).transpose()?);
            }
        }
        Ok((folders, files))
    }
}
