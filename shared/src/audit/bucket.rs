//! A log in a bucket: two lists find its head, and a conditional write takes a number.

use crate::aws::{OperationError, s3::S3Client};

/// Folders below a prefix, and keys that are in none.
pub(super) async fn list_folders(
    s3: &S3Client,
    bucket: &str,
    prefix: &str,
) -> Result<(Vec<String>, Vec<String>), OperationError> {
    let (folders, keys) = s3.list_common_prefixes(bucket, prefix).await?;
    let bare = |names: Vec<String>| -> Vec<String> {
        names.iter().filter_map(|n| n.strip_prefix(prefix).map(str::to_owned)).collect()
    };
    let folders = bare(folders).into_iter().map(|f| f.trim_end_matches('/').to_owned()).collect();
    // The console's "create folder" leaves an empty object with the prefix's own name.
    Ok((folders, bare(keys).into_iter().filter(|k| !k.is_empty()).collect()))
}

/// Names of the objects in a folder.
pub(super) async fn list_objects(
    s3: &S3Client,
    bucket: &str,
    folder: &str,
) -> Result<Vec<String>, OperationError> {
    let mut list = s3.list_objects(bucket, folder);
    let mut names = Vec::new();
    while let Some(object) = list.next().await? {
        names.extend(object.key.strip_prefix(folder).map(str::to_owned));
    }
    Ok(names)
}
