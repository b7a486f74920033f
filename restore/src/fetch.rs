//! From a store to plain bytes: read, hashed, decrypted, decompressed.

use crate::{Error, Kind, Opening};
use archive::{
    Content, Decoder, Digest, Keys, Layers, Sums,
    pipe::{self, Against},
};
use postgres::restore::Stored;
use std::{
    io::{self, Read as _},
    time::Duration,
};
use store::{Backup, Manifest, Store, manifest::Format};
use tokio::{sync::oneshot, task::spawn_blocking, time::sleep};

/// How long the reading may go on once nobody takes what is read: a store that answers nothing more would keep us.
const LINGER: Duration = Duration::from_mins(1);

/// Pieces that wait between two stages, of about 256 KiB each.
const DEPTH: usize = 8;

/// What the plain bytes of a backup are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// What was undone.
    pub layers: Layers,
    /// What can be restored; none for CSV and what is not known.
    pub stored: Option<Stored>,
}

/// Which hashes of a manifest are looked at; a backup without one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashes {
    /// Of what is stored and of what is inside.
    Both,
    /// Of what is stored. What is inside follows from it, and its compression has a checksum of its own.
    Stored,
}

/// A backup that went through `consume`.
pub(crate) struct Fetched<T> {
    /// What `consume` made of it.
    pub(crate) value: T,
    /// Hashes of all of it, or why it could not be read. [`None`] when `consume` did not want the rest.
    pub(crate) sums: Option<Result<Sums, Error>>,
}

/// Sends a backup's plain bytes through `consume`. The stream ends cleanly only when all was read and, with a manifest,
/// its `hashes` are the manifest's.
///
/// # Errors
/// If what the backup is can't be found out: no key, damaged first bytes, not there.
pub(crate) async fn fetch<T>(
    store: &Store,
    backup: &Backup,
    opening: &Opening,
    hashes: Hashes,
    consume: impl AsyncFnOnce(Inside, pipe::Receiver) -> T,
) -> Result<Fetched<T>, Error> {
    let (stored_in, stored_out) = pipe::channel(DEPTH);
    let (plain_in, plain_out) = pipe::channel(DEPTH);
    let (tell, told) = oneshot::channel();
    let known = backup.committed().map(|m| (inside(m), expected(m)));
    let keys = opening.keys.clone();
    let decoding = spawn_blocking(move || decode(known, hashes, &keys, stored_out, plain_in, tell));
    let (finish, finished) = oneshot::channel();
    let consume = async {
        let value = match told.await {
            Ok(inside) => Some(consume(inside, plain_out).await),
            Err(_) => None,
        };
        let _ = finish.send(());
        value
    };
    let read = async {
        tokio::select! {
            read = store.read(&backup.key, stored_in) => read,
            () = async { let _ = finished.await; sleep(LINGER).await } => {
                let why = "the store gives nothing more";
                Err(store::Error::new(store::Kind::Unreachable, format!("read {}", backup.arn), why, ""))
            }
        }
    };
    let (read, done, value) = tokio::join!(read, decoding, consume);
    let done = done.map_err(|e| {
        Error::new(
            Kind::Refused,
            format!("read {}", backup.arn),
            e.to_string(),
            "report this fault",
        )
    })?;
    // The store's own error says more than what it did to the decoder.
    let sums = match (read, done) {
        (Err(e), Err(_)) => Some(Err(e.into())),
        (_, Err(archive::Error::Io(e))) if e.kind() == io::ErrorKind::BrokenPipe => None,
        (_, Err(e)) => Some(Err(Error::of_archive(&backup.arn, &e))),
        (_, Ok(sums)) => Some(Ok(sums)),
    };
    match (value, sums) {
        (Some(value), sums) => Ok(Fetched { value, sums }),
        (None, Some(Err(e))) => Err(e),
        (None, _) => {
            let why = "its first bytes could not be read";
            Err(Error::new(Kind::Damaged, format!("read {}", backup.arn), why, ""))
        }
    }
}

/// What the manifest says.
fn inside(manifest: &Manifest) -> Inside {
    let stored = match manifest.format {
        Format::Custom => Some(Stored::Custom),
        Format::Plain => Some(Stored::Plain),
        Format::Csv => None,
    };
    Inside { layers: manifest.layers, stored }
}

/// The hashes of a manifest; none when they are none, which [`store::Manifest::read`] refuses before.
fn expected(manifest: &Manifest) -> Option<Sums> {
    let digest = |bytes, sha256: &str| Some(Digest { bytes, sha256: sha256.parse().ok()? });
    Some(Sums {
        plain: digest(manifest.plain.bytes, &manifest.plain.sha256)?,
        stored: digest(manifest.file.bytes, &manifest.file.sha256)?,
    })
}

fn decode(
    known: Option<(Inside, Option<Sums>)>,
    hashes: Hashes,
    keys: &Keys,
    from: pipe::Receiver,
    to: pipe::Sender,
    tell: oneshot::Sender<Inside>,
) -> Result<Sums, archive::Error> {
    if let Some((inside, expected)) = known {
        let _ = tell.send(inside);
        let against = match (&expected, hashes) {
            (None, _) => Against::Nothing,
            (Some(sums), Hashes::Both) => Against::Both(sums),
            (Some(sums), Hashes::Stored) => Against::Stored(sums),
        };
        return pipe::decode(from, &inside.layers, keys, against, to);
    }
    let (layers, content, source) = archive::guess(pipe::PipeReader::new(from), keys)?;
    let stored = match content {
        Content::Custom => Some(Stored::Custom),
        Content::Plain => Some(Stored::Plain),
        Content::Unknown => None,
    };
    let _ = tell.send(Inside { layers, stored });
    let mut writer = pipe::PipeWriter::new(to);
    let copied = (|| {
        let mut decoder = Decoder::new(source, &layers, keys)?;
        let mut piece = vec![0; 64 << 10];
        loop {
            let got = decoder.read(&mut piece)?;
            if got == 0 {
                return decoder.finish();
            }
            io::Write::write_all(&mut writer, &piece[..got])?;
        }
    })();
    match copied {
        Ok(sums) => writer.finish().map(|()| sums).map_err(archive::Error::from),
        Err(e) => {
            writer.fail(io::Error::new(io::ErrorKind::InvalidData, e.to_string()));
            Err(e)
        }
    }
}

/// Reads a stream to its end and forgets it; how many bytes came.
pub(crate) async fn drain(mut from: pipe::Receiver) -> u64 {
    let mut bytes = 0;
    while let Ok(Some(piece)) = pipe::next(&mut from).await {
        bytes += piece.len() as u64;
    }
    bytes
}

/// Whether the keys open a backup: reads its first bytes only.
///
/// # Errors
/// As [`Kind::Key`], [`Kind::Damaged`] or [`Kind::Store`].
pub async fn probe(store: &Store, backup: &Backup, opening: &Opening) -> Result<Inside, Error> {
    let first = async |inside, mut from: pipe::Receiver| match pipe::next(&mut from).await {
        Ok(Some(_)) => Ok(inside),
        Ok(None) => Err("it is empty".to_owned()),
        Err(e) => Err(e.to_string()),
    };
    let fetched = fetch(store, backup, opening, Hashes::Both, first).await?;
    match (fetched.value, fetched.sums) {
        (Ok(inside), None | Some(Ok(_))) => Ok(inside),
        (_, Some(Err(e))) => Err(e),
        (Err(why), _) => Err(Error::new(Kind::Damaged, format!("read {}", backup.arn), why, "")),
    }
}
