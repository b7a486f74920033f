//! A log in a bucket: two lists find its head, and a conditional write takes a number.

use crate::aws::{EdgeError, s3::S3};

/// Folders below a prefix, and keys that are in none.
pub(super) async fn folders(
    s3: &S3,
    bucket: &str,
    prefix: &str,
) -> Result<(Vec<String>, Vec<String>), EdgeError> {
    let (folders, keys) = s3.folders(bucket, prefix).await?;
    let bare = |names: Vec<String>| -> Vec<String> {
        names.iter().filter_map(|n| n.strip_prefix(prefix).map(str::to_owned)).collect()
    };
    let folders = bare(folders).into_iter().map(|f| f.trim_end_matches('/').to_owned()).collect();
    // The console's "create folder" leaves an empty object with the prefix's own name.
    Ok((folders, bare(keys).into_iter().filter(|k| !k.is_empty()).collect()))
}

/// Names of the objects in a folder.
pub(super) async fn objects(s3: &S3, bucket: &str, folder: &str) -> Result<Vec<String>, EdgeError> {
    let mut list = s3.objects(bucket, folder);
    let mut names = Vec::new();
    while let Some(object) = list.next().await? {
        names.extend(object.key.strip_prefix(folder).map(str::to_owned));
    }
    Ok(names)
}
