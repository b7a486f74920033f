//! Azure Blob Storage as a store.
//!
//! Block blobs: parts are blocks, and a list of them makes the blob, where there is none. `wire` adds to the requests what
//! the client library does not: the condition on that list, and an MD5 that Azure checks on arrival of each block.

mod upload;
mod wire;

pub(crate) use upload::Writing;

use crate::{Entry, Error, KeyForm, Kind, Left, Leftover, Put, SMALL, Thaw, beside, parts, quote};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::{
    Attribute, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt,
    azure::{MicrosoftAzure, MicrosoftAzureBuilder},
    path::Path,
};
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeSet, io, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Bytes of one range, ranges in memory at once, bytes handed on at once, and tries of a range: as for S3.
const RANGE: u64 = 8 << 20;
const AHEAD: usize = 3;
const CHUNK: usize = 1 << 20;
const TRIES: u32 = 6;
/// Blobs looked at once.
const WIDTH: usize = 16;
/// Name of the metadata that marks a blob as ours: [`crate::RUN`] as an identifier, which Azure wants.
const RUN: &str = "holdfast_run";

/// A container, and what keys begin with in it.
#[derive(Clone, Debug)]
pub struct AzureStore {
    store: Arc<MicrosoftAzure>,
    account: String,
    container: String,
    endpoint: Option<String>,
    prefix: String,
    budget: u64,
}

impl AzureStore {
    /// A container. Without `access_key` the environment's credentials are used.
    ///
    /// # Errors
    /// If the key or the endpoint is none.
    pub fn new(
        account: &str,
        container: &str,
        endpoint: Option<&str>,
        access_key: Option<&SecretString>,
        prefix: &str,
    ) -> Result<Self, Error> {
        let connector = wire::Connector::default();
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_account(account)
            .with_container_name(container)
            .with_http_connector(connector.clone());
        if let Some(key) = access_key {
            builder = builder.with_access_key(key.expose_secret());
        }
        if let Some(endpoint) = endpoint {
            let plain = endpoint.starts_with("http:");
            builder = builder.with_endpoint(endpoint.to_owned()).with_allow_http(plain);
        }
        let store = builder.build().map_err(|e| {
            let doing = format!("open azure://{account}/{container}");
            let mend =
                "check account, container, endpoint and access key of the store in the policy";
            Error::new(Kind::Refused, doing, e.to_string(), mend)
        })?;
        connector.sign_with(account, store.credentials().clone());
        Ok(Self {
            store: Arc::new(store),
            account: account.to_owned(),
            container: container.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            prefix: prefix.to_owned(),
            budget: parts::BUDGET,
        })
    }

    /// With `bytes` of memory for the buffers of one upload instead of [`parts::BUDGET`].
    #[must_use]
    pub fn with_budget(self, bytes: u64) -> Self {
        Self { budget: bytes, ..self }
    }

    pub(crate) fn address(&self) -> String {
        self.whole("").trim_end_matches('/').to_owned()
    }

    pub(crate) fn whole(&self, key: &str) -> String {
        format!("azure://{}/{}/{}{key}", self.account, self.container, self.prefix)
    }

    pub(crate) fn command(&self, key: &str) -> String {
        let name = quote(&format!("{}{key}", self.prefix));
        let mut command = format!(
            "az storage blob download --account-name {} --container-name {} --name {name} --file /dev/stdout --no-progress --output none",
            quote(&self.account),
            quote(&self.container)
        );
        if let Some(endpoint) = &self.endpoint {
            command += &format!(" --blob-endpoint {}", quote(endpoint));
        }
        command
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        Path::parse(format!("{}{key}", self.prefix)).map_err(|e| {
            let doing = format!("use the key {}", self.whole(key));
            Error::new(Kind::Refused, doing, e.to_string(), "mend the store's key or prefix")
        })
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let begin = format!("{}{prefix}", self.prefix);
        // The library lists below whole parts of names only.
        let folder = begin.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = Path::parse(folder).unwrap_or_default();
        let doing = || format!("list {}", self.whole(prefix));
        let listed = self.store.list(Some(&folder).filter(|f| !f.as_ref().is_empty()));
        let listed = listed.try_filter_map(|meta| {
            let name = meta.location.to_string();
            let key = name.starts_with(&begin).then(|| name.strip_prefix(&self.prefix)).flatten();
            let entry = key.map(|key| Entry {
                key: key.to_owned(),
                size: meta.size,
                modified: Timestamp::from_second(meta.last_modified.timestamp())
                    .unwrap_or(Timestamp::UNIX_EPOCH),
                class: None,
                archived: false,
            });
            async move { Ok(entry) }
        });
        listed.try_collect().await.map_err(|e| error(doing(), &e))
    }

    pub(crate) async fn begin(&self, key: &str, put: &Put) -> Result<Writing, Error> {
        // Azure is asked again at the end; this saves a whole dump that could never be stored.
        if self.head(key).await?.is_some() {
            let mend = "look at it: nothing is ever rewritten";
            let doing = format!("write {}", self.whole(key));
            return Err(Error::new(Kind::Exists, doing, "there is a blob of that name", mend));
        }
        Writing::new(self.clone(), key, put)
    }

    pub(crate) async fn put(&self, key: &str, bytes: Bytes, put: &Put) -> Result<(), Error> {
        let put = Put { class: None, ..put.clone() };
        let mut writing = Writing::new(self.clone(), key, &put)?;
        writing.write(bytes).await?;
        writing.finish().await.map(drop)
    }

    /// What Azure knows of a blob; none when there is none.
    async fn head(&self, key: &str) -> Result<Option<GetResult>, Error> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.path(key)?, options).await {
            Ok(head) => Ok(Some(head)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(error(format!("look at {}", self.whole(key)), &e)),
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let doing = || format!("read {}", self.whole(key));
        let answer = match self.store.get(&self.path(key)?).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(error(doing(), &e)),
        };
        if answer.meta.size > SMALL {
            return Err(Error::new(Kind::Refused, doing(), "it is too large", "look at it"));
        }
        answer.bytes().await.map(Some).map_err(|e| error(doing(), &e))
    }

    pub(crate) async fn read(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let Some(head) = self.head(key).await? else { return Err(self.missing("read", key)) };
        let (size, etag) = (head.meta.size, head.meta.e_tag);
        let starts = (0..size.div_ceil(RANGE)).map(|i| i * RANGE);
        let ranges = starts.map(|from| {
            let (this, key, etag) = (self.clone(), key.to_owned(), etag.clone());
            // A task of its own: it reads on while the reader is busy, so that no connection stands idle and is cut.
            let mut task = JoinSet::new();
            task.spawn(async move { this.range(&key, etag, from, (from + RANGE).min(size)).await });
            async move { task.join_next().await }
        });
        let mut ranges = stream::iter(ranges).buffered(AHEAD);
        while let Some(range) = ranges.next().await {
            let Some(Ok(range)) = range else {
                let doing = format!("read {}", self.whole(key));
                let mend = "this is a fault of Holdfast";
                return Err(Error::new(Kind::Refused, doing, "its task was ended", mend));
            };
            let mut range = range?;
            while !range.is_empty() {
                let chunk = range.split_to(CHUNK.min(range.len()));
                if out.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn range(
        &self,
        key: &str,
        etag: Option<String>,
        from: u64,
        to: u64,
    ) -> Result<Bytes, Error> {
        let (path, doing) = (self.path(key)?, || format!("read {}", self.whole(key)));
        let mut lost = String::new();
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(Duration::from_millis(200 << tried)).await;
            }
            let options = GetOptions {
                range: Some(GetRange::Bounded(from..to)),
                if_match: etag.clone(),
                ..GetOptions::default()
            };
            let answer = self.store.get_opts(&path, options).await;
            let answer = answer.map_err(|e| match e {
                object_store::Error::Precondition { .. } => Error::new(
                    Kind::Damaged,
                    doing(),
                    "it was changed while it was read",
                    "see what else writes there: backups are never rewritten",
                ),
                e => error(doing(), &e),
            })?;
            match answer.bytes().await {
                Ok(bytes) if bytes.len() as u64 == to - from => return Ok(bytes),
                Ok(bytes) => lost = format!("{} bytes came of {}", bytes.len(), to - from),
                Err(e) => lost = e.to_string(),
            }
        }
        let why = format!("the connection was lost {TRIES} times: {lost}");
        Err(Error::new(Kind::Unreachable, doing(), why, "check the network; try again"))
    }

    fn missing(&self, verb: &str, key: &str) -> Error {
        let mend = "list the store: it may have been deleted";
        Error::new(Kind::Missing, format!("{verb} {}", self.whole(key)), "it is not there", mend)
    }

    /// Azure tells an archived blob apart only when it is read; the thaw is a change of its tier, for good, which is left
    /// to its owner.
    pub(crate) async fn thaw(&self, key: &str) -> Result<Thaw, Error> {
        let Some(head) = self.head(key).await? else { return Err(self.missing("thaw", key)) };
        if head.meta.size == 0 {
            return Ok(Thaw::Needless);
        }
        match self.range(key, head.meta.e_tag, 0, 1).await {
            Ok(_) => Ok(Thaw::Needless),
            Err(e) if e.kind == Kind::Cold => Err(Error {
                mend: format!(
                    "move it to a tier that can be read, which takes up to 15 hours: az storage blob set-tier --account-name {} --container-name {} --name {} --tier Hot",
                    quote(&self.account),
                    quote(&self.container),
                    quote(&format!("{}{key}", self.prefix))
                ),
                ..e
            }),
            Err(e) => Err(e),
        }
    }

    /// Blocks that were never listed are dropped by Azure itself after a week; what is left are blobs without a manifest.
    pub(crate) async fn leftovers(&self, forms: &[KeyForm]) -> Result<Vec<Leftover>, Error> {
        self.unfinished(forms, &self.list("").await?).await
    }

    /// Blobs of ours without a manifest.
    pub(crate) async fn unfinished(
        &self,
        forms: &[KeyForm],
        entries: &[Entry],
    ) -> Result<Vec<Leftover>, Error> {
        let keys: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        let bare = entries.iter().filter(|e| !keys.contains(beside::manifest(&e.key).as_str()));
        let bare = bare.filter(|e| beside::whose(&e.key).is_none());
        let bare = bare.filter_map(|e| Some((e, crate::of_form(forms, &e.key)?)));
        let looked = stream::iter(bare).map(|(entry, read)| async move {
            let head = self.head(&entry.key).await?;
            let ours = head.is_some_and(|h| run(&h).is_some());
            Ok::<_, Error>(ours.then(|| Leftover {
                key: entry.key.clone(),
                database: read.database,
                what: Left::Object,
                since: Some(entry.modified),
            }))
        });
        let found: Vec<Option<Leftover>> = looked.buffered(WIDTH).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(crate) async fn clean(&self, left: &Leftover) -> Result<(), Error> {
        // Asked anew: since it was seen, its manifest may have come.
        if self.head(&beside::manifest(&left.key)).await?.is_some() {
            return Ok(());
        }
        self.remove(&beside::sums(&left.key)).await?;
        self.remove(&left.key).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), Error> {
        self.remove(&beside::manifest(key)).await?;
        self.remove(&beside::sums(key)).await?;
        self.remove(key).await
    }

    pub(crate) async fn remove(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(error(format!("delete {}", self.whole(key)), &e)),
        }
    }
}

/// The run that a blob was made by.
fn run(head: &GetResult) -> Option<&str> {
    head.attributes.get(&Attribute::Metadata(RUN.into())).map(AsRef::as_ref)
}

/// The library's error as ours.
fn error(doing: String, e: &object_store::Error) -> Error {
    use object_store::Error as Theirs;
    let mut why = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(e);
    while let Some(said) = cause {
        let text = said.to_string();
        if !why.iter().any(|w: &String| w.contains(&text)) {
            why.push(text);
        }
        cause = said.source();
    }
    let why = why.join(": ");
    let (kind, mend) = match e {
        _ if why.contains("BlobArchived") => {
            (Kind::Cold, "move it to a tier that can be read; that takes hours")
        }
        _ if ["BlobImmutable", "LeaseIdMissing"].iter().any(|w| why.contains(w)) => {
            (Kind::Locked, "wait until its immutability policy or lease ends")
        }
        Theirs::NotFound { .. } => (Kind::Missing, "check account and container in the policy"),
        Theirs::AlreadyExists { .. } | Theirs::Precondition { .. } => {
            (Kind::Exists, "look at what is there: nothing is ever rewritten")
        }
        Theirs::PermissionDenied { .. } | Theirs::Unauthenticated { .. } => (
            Kind::Denied,
            "check the access key, or give the identity the role Storage Blob Data Contributor",
        ),
        Theirs::NotSupported { .. } | Theirs::InvalidPath { .. } => {
            (Kind::Refused, "see its words")
        }
        _ if why.contains("Md5Mismatch") => (Kind::Damaged, "nothing was stored; try again"),
        _ => (Kind::Unreachable, "check the network and the endpoint; the next run tries again"),
    };
    Error::new(kind, doing, why, mend)
}

#[cfg(test)]
mod tests;
