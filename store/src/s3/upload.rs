//! Objects written: in one request when small, else in parts, a few of them on their way at once.

mod calls;

use super::{S3Store, run, sums};
use crate::{Error, Kind, Put, Written, parts::Filling};
use bytes::Bytes;
use tokio::task::JoinSet;

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    store: S3Store,
    key: String,
    put: Put,
    part: Filling,
    upload: Option<String>,
    on_their_way: JoinSet<Result<Part, Error>>,
    arrived: Vec<Part>,
}

/// A part that the store has.
#[derive(Debug)]
struct Part {
    number: u32,
    etag: String,
    sum: sums::Sum,
}

impl Writing {
    pub(super) fn new(store: S3Store, key: &str, put: &Put) -> Self {
        Self {
            part: Filling::new(put.size_hint, store.budget),
            store,
            key: key.to_owned(),
            put: put.clone(),
            upload: None,
            on_their_way: JoinSet::new(),
            arrived: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while self.part.fill(&mut bytes) {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends the part in the buffer, and waits until there is memory for the next.
    async fn send(&mut self) -> Result<(), Error> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.create().await?,
        };
        self.upload = Some(upload.clone());
        let (number, body) = self.part.take();
        let (store, key) = (self.store.clone(), self.key.clone());
        self.on_their_way.spawn(async move { store.part(&key, &upload, number, body).await });
        while self.on_their_way.len() > self.part.in_flight() {
            self.arrive().await?;
        }
        Ok(())
    }

    /// Waits for a part to arrive.
    async fn arrive(&mut self) -> Result<(), Error> {
        if let Some(part) = self.on_their_way.join_next().await {
            let part = part.map_err(|e| {
                let mend = "this is a fault of Holdfast";
                Error::new(Kind::Refused, self.doing(), e.to_string(), mend)
            })?;
            self.arrived.push(part?);
        }
        Ok(())
    }

    fn doing(&self) -> String {
        format!("write {}", self.store.whole(&self.key))
    }

    pub(crate) async fn finish(mut self) -> Result<Written, Error> {
        let done = self.end().await;
        match &done {
            Ok(_) => self.upload = None,
            Err(_) => self.take_back().await,
        }
        done
    }

    async fn end(&mut self) -> Result<Written, Error> {
        let kind = self.store.what.checksum;
        let (ended, expected) = if self.upload.is_none() {
            let (_, body) = self.part.take();
            let sum = sums::Sum::of(kind, &body);
            let ended = self.once(body).await.map(drop);
            (ended, sums::whole(kind, &[sum], false))
        } else {
            if !self.part.is_empty() {
                self.send().await?;
            }
            while !self.on_their_way.is_empty() {
                self.arrive().await?;
            }
            self.arrived.sort_by_key(|p| p.number);
            let sums: Vec<_> = self.arrived.iter().map(|p| p.sum.clone()).collect();
            let upload = self.upload.clone().unwrap_or_default();
            (self.complete(&upload).await, sums::whole(kind, &sums, true))
        };
        let doing = format!("read back {}", self.store.whole(&self.key));
        let Some(head) = self.store.head(&self.key).await? else {
            ended?;
            let mend = "look at the store: it does not keep what it is given";
            return Err(Error::new(Kind::Damaged, doing, "it is not there", mend));
        };
        let compared = sums::compare(&doing, kind, self.part.bytes(), &expected, &head);
        if let Err(e) = ended {
            // The answer may have been lost after the object was made, and the next try then finds it there.
            let ours = run(&head) == Some(self.put.run.as_str()) && !self.put.run.is_empty();
            return if ours && compared.is_ok() { compared } else { Err(e) };
        }
        compared
    }

    /// Takes back what was uploaded, which costs as long as it lies there.
    async fn take_back(&mut self) {
        self.on_their_way.shutdown().await;
        if let Some(upload) = self.upload.take() {
            self.store.give_up(&self.key, &upload).await;
        }
    }

    pub(crate) async fn abort(mut self) {
        self.take_back().await;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Where there is no runtime any more, the next run finds it among the leftovers.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, key) = (self.store.clone(), self.key.clone());
            runtime.spawn(async move { store.give_up(&key, &upload).await });
        }
    }
}
