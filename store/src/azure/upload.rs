//! Blobs written: in one request when small, else in blocks, a few of them on their way at once.

use super::{AzureStore, RUN, error, run};
use crate::{Error, Kind, Put, Written, parts::Filling};
use bytes::Bytes;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, path::Path,
};
use shared::policy::StorageClass;
use tokio::task::JoinSet;

/// A blob that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    store: AzureStore,
    key: String,
    path: Path,
    put: Put,
    part: Filling,
    upload: Option<Box<dyn MultipartUpload>>,
    on_their_way: JoinSet<object_store::Result<()>>,
}

impl Writing {
    pub(super) fn new(store: AzureStore, key: &str, put: &Put) -> Result<Self, Error> {
        Ok(Self {
            path: store.path(key)?,
            part: Filling::new(put.size_hint, store.budget),
            store,
            key: key.to_owned(),
            put: put.clone(),
            upload: None,
            on_their_way: JoinSet::new(),
        })
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while self.part.fill(&mut bytes) {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Error> {
        if self.upload.is_none() {
            let options =
                PutMultipartOptions { attributes: self.attributes(), ..Default::default() };
            let upload = self.store.store.put_multipart_opts(&self.path, options).await;
            self.upload = Some(upload.map_err(|e| error(self.doing(), &e))?);
        }
        let (_, body) = self.part.take();
        if let Some(upload) = &mut self.upload {
            self.on_their_way.spawn(upload.put_part(PutPayload::from(body)));
        }
        while self.on_their_way.len() > self.part.in_flight() {
            self.arrive().await?;
        }
        Ok(())
    }

    async fn arrive(&mut self) -> Result<(), Error> {
        if let Some(part) = self.on_their_way.join_next().await {
            let part = part.map_err(|e| {
                let mend = "this is a fault of Holdfast";
                Error::new(Kind::Refused, self.doing(), e.to_string(), mend)
            })?;
            part.map_err(|e| error(self.doing(), &e))?;
        }
        Ok(())
    }

    fn doing(&self) -> String {
        format!("write {}", self.store.whole(&self.key))
    }

    fn attributes(&self) -> Attributes {
        let mut all = Attributes::new();
        all.insert(Attribute::Metadata(RUN.into()), self.put.run.clone().into());
        if let Some(tier) = self.put.class.and_then(tier) {
            all.insert(Attribute::StorageClass, tier.into());
        }
        all
    }

    pub(crate) async fn finish(mut self) -> Result<Written, Error> {
        let ended = if self.upload.is_none() {
            let (_, body) = self.part.take();
            let options = PutOptions {
                mode: PutMode::Create,
                attributes: self.attributes(),
                ..PutOptions::default()
            };
            self.store.store.put_opts(&self.path, PutPayload::from(body), options).await
        } else {
            if !self.part.is_empty() {
                self.send().await?;
            }
            while !self.on_their_way.is_empty() {
                self.arrive().await?;
            }
            match &mut self.upload {
                Some(upload) => upload.complete().await,
                None => unreachable!("it was there before"),
            }
        };
        let ended = ended.map_err(|e| error(self.doing(), &e));
        let doing = format!("read back {}", self.store.whole(&self.key));
        let Some(head) = self.store.head(&self.key).await? else {
            ended?;
            let mend = "look at the store: it does not keep what it is given";
            return Err(Error::new(Kind::Damaged, doing, "it is not there", mend));
        };
        let ours = run(&head) == Some(self.put.run.as_str());
        let whole = head.meta.size == self.part.bytes();
        match ended {
            // The answer may have been lost after the blob was made, and the next try then finds it there.
            Err(e) if !(ours && whole) || self.put.run.is_empty() => Err(e),
            _ if !whole => {
                let why = format!("{} bytes lie there, of {}", head.meta.size, self.part.bytes());
                let mend = "nothing counts of it; look at the store";
                Err(Error::new(Kind::Damaged, doing, why, mend))
            }
            _ => Ok(Written {
                bytes: head.meta.size,
                checksum: head.meta.e_tag.map(|e| format!("etag:{}", e.trim_matches('"'))),
            }),
        }
    }

    pub(crate) async fn abort(mut self) {
        // Blocks that are in no list are dropped by Azure.
        self.on_their_way.shutdown().await;
    }
}

/// Access tiers by S3's names; Standard is the account's own.
fn tier(class: StorageClass) -> Option<&'static str> {
    match class {
        StorageClass::Standard => None,
        StorageClass::StandardIa => Some("Cool"),
        StorageClass::GlacierIr => Some("Cold"),
        StorageClass::Glacier | StorageClass::DeepArchive => Some("Archive"),
    }
}
