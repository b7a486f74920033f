//! Writing the page and its data. They are the one thing that Holdfast writes again in its place.

use crate::{model::StatusPageData, render_html};
use shared::{
    aws::{OperationError, OperationErrorKind},
    catalog::Location,
    policy::{StatusPageConfig, text::Region},
    run::RunContext,
};
use std::{
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Name of the data beside the page.
const DATA_FILE_NAME: &str = "report.json";

/// Where the page goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageLocation {
    /// A bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// Its region, when it is not the home region.
        region: Option<Region>,
        /// Key of the page.
        key: String,
    },
    /// A folder of this host.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Name of the page in it.
        key: String,
    },
}

impl PageLocation {
    /// Where the policy wants it; none when it wants no page, or one on a host that this is not.
    pub fn from_policy(world: &RunContext<'_>) -> Option<Self> {
        let StatusPageConfig { bucket, region, directory, key } =
            world.policy.status_page.clone()?;
        match (bucket, directory) {
            (Some(bucket), _) => Some(Self::Bucket { bucket: bucket.to_string(), region, key }),
            (_, Some(folder)) if world.on_host => Some(Self::Folder { folder: folder.into(), key }),
            _ => None,
        }
    }

    /// A folder, with the page as `index.html`.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self::Folder { folder: folder.into(), key: "index.html".into() }
    }

    /// The whole address of the page.
    pub fn address(&self) -> String {
        match self {
            Self::Bucket { bucket, key, .. } => format!("s3://{bucket}/{key}"),
            Self::Folder { folder, key } => folder.join(key).display().to_string(),
        }
    }
}

/// Writes the page and its data. The data goes first, so that a page never stands beside data that is older.
///
/// # Errors
/// If either can't be written; the one before stays whole then.
pub async fn write_page(
    world: &RunContext<'_>,
    target: &PageLocation,
    page: &StatusPageData,
) -> Result<(), OperationError> {
    let data = serde_json::to_vec(page).expect("a page is plain data");
    let html = render_html(page).into_bytes();
    match target {
        PageLocation::Bucket { bucket, region, key } => {
            let home = Location::home_from_policy(world.policy);
            let region = region.clone().unwrap_or_else(|| home.region.clone());
            let s3 = world.aws.s3(&Location { region, ..home });
            s3.put_page(bucket, &data_key(key), "application/json", data).await?;
            s3.put_page(bucket, key, "text/html; charset=utf-8", html).await
        }
        PageLocation::Folder { folder, key } => {
            let (data_path, path) = (folder.join(data_key(key)), folder.join(key));
            write_atomically(&data_path, &data)?;
            write_atomically(&path, &html)
        }
    }
}

/// The key of the data beside a page.
fn data_key(key: &str) -> String {
    key.rsplit_once('/').map_or_else(
        || DATA_FILE_NAME.to_owned(),
        |(folder, _)| format!("{folder}/{DATA_FILE_NAME}"),
    )
}

/// Replaces a file in one step: whoever opens it sees the old one or the new one, whole.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), OperationError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let work = || -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        // A web server reads it as another user.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    work().map_err(|e| {
        let doing = format!("write {}", path.display());
        let hint = "see that the folder can be written to and has space";
        OperationError::with_hint(OperationErrorKind::Store, doing, e.to_string(), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_lies_beside_the_page() {
        assert_eq!(data_key("status/index.html"), "status/report.json");
        assert_eq!(data_key("index.html"), "report.json");
    }

    #[test]
    fn a_page_is_replaced_whole_and_everybody_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("status/index.html");
        write_atomically(&path, b"old").expect("written");
        write_atomically(&path, b"new").expect("replaced");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let left = std::fs::read_dir(folder.path().join("status")).expect("listed").count();
        assert_eq!(left, 1, "no temporary file stays");
    }
}
