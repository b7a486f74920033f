//! A WAL archive in a store: files put there once, found by name, and read back.

use crate::{
    error::{WalError, WalErrorKind},
    layout::{WalObjectName, extension_for, file_prefix},
    name::{SegmentSize, WalFileName},
    source::WalSourceFile,
};
use codec::{
    ArchiveDecoder, ArchiveEncoder, CompressionFormat, CompressionMethod, DecryptionKeys,
    EncodingLayers, EncodingOptions, EncryptionFormat, EncryptionMethod, KeyDerivation, pipe,
};
use jiff::Timestamp;
use shared::signing::{MinisignVerifier, SigningAuthor};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use storage::{BackupStore, ObjectEntry, StoreErrorKind, TrustPolicy, UploadOptions, beside, mark};

/// Encoded in memory and written by one call; what is longer is streamed.
const MAX_IN_MEMORY_BYTES: u64 = 64 << 20;
/// How often the store is asked for a file that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A WAL archive, with what the policy says of it.
#[derive(Clone, Debug)]
pub struct WalRepository {
    /// The store.
    pub store: BackupStore,
    /// How files are compressed and encrypted.
    pub encoding: EncodingOptions,
    /// Rounds of PBKDF2, where files are encrypted with a passphrase.
    pub iterations: u32,
    /// Who signs what is written.
    pub author: SigningAuthor,
    /// Who is believed; none where the policy signs nothing.
    pub verifier: Option<MinisignVerifier>,
    /// What opens files; empty where nothing is read.
    pub keys: DecryptionKeys,
    /// The run.
    pub run_id: String,
}

/// A WAL file that lies in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWalFile {
    /// Its cluster.
    pub system: u64,
    /// What its name tells.
    pub name: WalObjectName,
    /// Its key.
    pub key: String,
    /// Its size as it is stored, in bytes.
    pub size: u64,
    /// When it was stored.
    pub modified: Timestamp,
}

/// What became of a file that was to be archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is there now.
    Stored,
    /// The same content was there already.
    AlreadyThere,
}

impl StoredWalFile {
    pub(crate) fn from_entry(entry: &ObjectEntry) -> Option<Self> {
        let (system, name) = WalObjectName::parse_key(&entry.key)?;
        Some(Self {
            system,
            name,
            key: entry.key.clone(),
            size: entry.size,
            modified: entry.modified,
        })
    }
}

impl WalRepository {
    /// Makes sure that the archive is ours before something is written there: a directory must have its mark, for perhaps
    /// nothing is mounted there. A host that may only add to a bucket can't read its mark, and need not.
    ///
    /// # Errors
    /// If it is another owner's, or a directory without a mark.
    pub async fn ensure_owned(&self, trust: &TrustPolicy, now: Timestamp) -> Result<(), WalError> {
        match mark::find_marker(&self.store, trust).await {
            Ok(Some(_)) => Ok(()),
            Err(e) if e.kind == StoreErrorKind::Denied && !self.is_directory() => Ok(()),
            Err(e) => Err(e.into()),
            Ok(None) if self.is_directory() => Err(self.unmarked_error()),
            Ok(None) => {
                let written =
                    mark::write_marker(&self.store, &self.author, &self.run_id, now).await;
                written.map(drop).map_err(WalError::from)
            }
        }
    }

    /// Makes sure that a directory is still there, where a process writes for long: it may have been unmounted since, and what is
    /// written below an empty mount point is archived nowhere.
    ///
    /// # Errors
    /// If it has no mark.
    pub async fn ensure_mounted(&self) -> Result<(), WalError> {
        if !self.is_directory() || self.store.get_small(mark::MARKER_KEY).await?.is_some() {
            return Ok(());
        }
        Err(self.unmarked_error())
    }

    fn unmarked_error(&self) -> WalError {
        let why = "it has no mark: either nothing is mounted there, or the directory is new";
        let hint = shared::hints::commands::run(shared::hints::commands::STORE_INIT);
        let doing = format!("use the WAL archive {}", self.store.address());
        WalError::new(WalErrorKind::Store, doing, why, hint)
    }

    fn is_directory(&self) -> bool {
        matches!(self.store, BackupStore::Directory(_))
    }

    /// Waits until a file is in the archive; false when it is not by `deadline`.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn wait_until_stored(
        &self,
        system: u64,
        file: &WalFileName,
        deadline: Instant,
    ) -> Result<bool, WalError> {
        while self.find(system, file).await?.is_empty() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(true)
    }

    /// Everything that lies there of this file and counts: none where it is absent, several where two different contents
    /// have its name.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn find(
        &self,
        system: u64,
        file: &WalFileName,
    ) -> Result<Vec<StoredWalFile>, WalError> {
        let mut found = self.list_named(system, file).await?;
        if found.is_empty() || self.verifier.is_none() {
            return Ok(found);
        }
        let mut counted = Vec::new();
        for stored in found.drain(..) {
            if self.check_signature(&stored).await?.is_ok() {
                counted.push(stored);
            }
        }
        Ok(counted)
    }

    /// What lies under a file's name, signed or not.
    async fn list_named(
        &self,
        system: u64,
        file: &WalFileName,
    ) -> Result<Vec<StoredWalFile>, WalError> {
        let entries = self.store.list(&file_prefix(system, file)).await?;
        let found = entries.iter().filter_map(StoredWalFile::from_entry);
        Ok(found.filter(|s| self.may_count(s)).collect())
    }

    /// Whether the policy rules it out by its name alone: it encrypts, and this is not encrypted. What is signed was made by
    /// a policy of its time.
    pub(crate) fn may_count(&self, stored: &StoredWalFile) -> bool {
        let encrypts = !matches!(self.encoding.encryption, EncryptionMethod::None)
            && !matches!(stored.name.file, WalFileName::History(_));
        let encrypted = matches!(stored.name.extension.rsplit('.').next(), Some("age" | "enc"));
        self.verifier.is_some() || !encrypts || encrypted
    }

    /// Whether one of the policy's keys signed it; the inner error is why it does not count.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn check_signature(
        &self,
        stored: &StoredWalFile,
    ) -> Result<Result<(), WalError>, WalError> {
        let Some(verifier) = &self.verifier else { return Ok(Ok(())) };
        let signature = self.store.get_small(&beside::signature_key(&stored.key)).await?;
        let text = stored.name.signed_text();
        let checked = verifier.verify(&stored.key, text.as_bytes(), signature.as_deref());
        Ok(checked.map(drop).map_err(|e| {
            let doing = format!("read {}", self.store.full_uri(&stored.key));
            let hint = "find out who put it there; it does not count";
            WalError::new(WalErrorKind::Untrusted, doing, e.to_string(), hint)
        }))
    }

    /// Archives a file, unless the same is there. Success means that it is durable.
    ///
    /// # Errors
    /// If something else is there under its name, if it changes while it is read, or if the store refuses.
    pub async fn put(&self, system: u64, source: &WalSourceFile) -> Result<PutOutcome, WalError> {
        let name = WalObjectName {
            file: source.file,
            sha256: source.sha256,
            segment_size: source.header.map(|h| h.segment_size),
            last_commit: source.last_commit,
            extension: extension_for(&source.file, &self.encoding).into(),
        };
        let key = name.key(system);
        if self.is_there(system, source).await? {
            return Ok(PutOutcome::AlreadyThere);
        }
        let put = UploadOptions {
            run: self.run_id.clone(),
            size_hint: source.bytes,
            ..UploadOptions::default()
        };
        // First its signature, so that what is there is signed. Signed twice, it has the same one: Ed25519 is deterministic.
        if let Some(signature) = self.author.sign(&key, name.signed_text().as_bytes()).await? {
            match self
                .store
                .put_if_absent(&beside::signature_key(&key), signature.into(), &put)
                .await
            {
                Err(e) if e.kind == StoreErrorKind::Exists => {}
                written => written?,
            }
        }
        let encoding = match name.file {
            WalFileName::History(_) => plain_encoding(),
            _ => self.encoding.clone(),
        };
        match self.write_object(&key, source, encoding, &put).await {
            // An earlier try of our own whose answer was lost, or another host that was quicker: which, is looked at next.
            Err(e) if e.kind == WalErrorKind::Conflict => {}
            written => written?,
        }
        // Of two that found nothing there and wrote different things, the later one sees both.
        if self.is_there(system, source).await? {
            return Ok(PutOutcome::Stored);
        }
        let doing = format!("archive {}", source.file);
        let why = format!("{} was written and is not there", self.store.full_uri(&key));
        Err(WalError::new(WalErrorKind::Store, doing, why, "see what else deletes there"))
    }

    /// Whether this very content is there; an error when something else is.
    async fn is_there(&self, system: u64, source: &WalSourceFile) -> Result<bool, WalError> {
        let found = self.list_named(system, &source.file).await?;
        for other in found.iter().filter(|s| s.name.sha256 != source.sha256) {
            // What nobody signed stops nobody. Who may only add can't tell, and is told of it.
            if matches!(self.check_signature(other).await, Ok(Err(_))) {
                continue;
            }
            let doing = format!("archive {}", source.file);
            let why = format!(
                "there is another content under that name: {}",
                self.store.full_uri(&other.key)
            );
            let hint = "two servers archive as one: a copy or a restored server must have archive_mode = off, or a system \
                        of its own by initdb; nothing is ever overwritten";
            return Err(WalError::new(WalErrorKind::Conflict, doing, why, hint));
        }
        Ok(found.iter().any(|s| s.name.sha256 == source.sha256))
    }

    async fn write_object(
        &self,
        key: &str,
        source: &WalSourceFile,
        encoding: EncodingOptions,
        put: &UploadOptions,
    ) -> Result<(), WalError> {
        let doing = format!("archive {}", source.file);
        if source.bytes <= MAX_IN_MEMORY_BYTES {
            let (of, read) = (doing.clone(), source.clone());
            let encoded = run_blocking(&doing, move || encode_file(&of, &read, &encoding)).await?;
            return Ok(self.store.put_if_absent(key, encoded.into(), put).await?);
        }
        let (plain_out, plain_in) = pipe::chunk_channel(4);
        let (stored_out, mut stored_in) = pipe::chunk_channel(4);
        let path = source.path.clone();
        let expected = source.sha256;
        let reading = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let mut to = pipe::PipeWriter::new(plain_out);
            io::copy(&mut File::open(path)?, &mut to)?;
            to.finish()
        });
        let encoding = tokio::task::spawn_blocking(move || {
            pipe::encode_stream(plain_in, &encoding, stored_out)
        });
        let mut upload = self.store.start_upload(key, put).await?;
        while let Some(chunk) =
            pipe::recv_chunk(&mut stored_in).await.map_err(|e| WalError::from_io(&doing, &e))?
        {
            upload.write(chunk).await?;
        }
        let read = reading.await.map_err(|e| internal(&doing, &e))?;
        read.map_err(|e| WalError::from_io(&doing, &e))?;
        let digests = encoding.await.map_err(|e| internal(&doing, &e))?;
        let digests = digests.map_err(|e| WalError::from_archive(&doing, &e))?;
        if digests.plaintext.sha256 != expected {
            upload.abort().await;
            return Err(changed_error(&doing));
        }
        upload.finish().await?;
        self.forget_temporary(key)
    }

    /// Takes away the temporary name that a directory keeps of a large object: here nothing asks for it.
    pub(crate) fn forget_temporary(&self, key: &str) -> Result<(), WalError> {
        if let BackupStore::Directory(_) = &self.store {
            let path = PathBuf::from(self.store.full_uri(key));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let temporary = path.with_file_name(format!(".{name}.holdfast"));
            match std::fs::remove_file(&temporary) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(WalError::from_io(format!("remove {}", temporary.display()), &e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a reader must undo, by an object's ending.
    pub(crate) fn layers_for(&self, extension: &str) -> EncodingLayers {
        let kdf = KeyDerivation::Pbkdf2 { iterations: self.iterations };
        EncodingLayers {
            compression: extension.contains(".zst").then_some(CompressionFormat::Zstd),
            encryption: match extension.rsplit('.').next() {
                Some("age") => Some(EncryptionFormat::Age),
                Some("enc") => Some(EncryptionFormat::OpenSsl { kdf }),
                _ => None,
            },
        }
    }

    /// Writes a stored file to `to`, which must not be there; it is whole, and what its name says, or an error.
    ///
    /// # Errors
    /// If it can't be read or opened, or is not what its name says; then nothing is left at `to`.
    pub async fn get(&self, stored: &StoredWalFile, to: &Path) -> Result<(), WalError> {
        let doing = format!("fetch {}", self.store.full_uri(&stored.key));
        let got = self.get_into(stored, to, &doing).await;
        if got.is_err() {
            let _ = std::fs::remove_file(to);
        }
        got
    }

    async fn get_into(
        &self,
        stored: &StoredWalFile,
        to: &Path,
        doing: &str,
    ) -> Result<(), WalError> {
        let path = to.to_owned();
        let of = doing.to_owned();
        let file = File::create_new(&path)
            .map_err(|e| WalError::from_io(format!("write {}", path.display()), &e))?;
        let write = move |decoder: &mut dyn Read| {
            let mut file = file;
            let mut piece = vec![0; pipe::CHUNK_BYTES];
            loop {
                let n =
                    decoder.read(&mut piece).map_err(|e| WalError::from_archive(&of, &e.into()))?;
                if n == 0 {
                    return Ok(());
                }
                file.write_all(&piece[..n])
                    .map_err(|e| WalError::from_io(format!("write {}", path.display()), &e))?;
            }
        };
        let plain = self.read_decoded(&stored.key, &stored.name.extension, doing, write).await?;
        if plain.sha256 != stored.name.sha256 {
            let why = "what is in it is not what its name says";
            return Err(WalError::new(
                WalErrorKind::Damaged,
                doing,
                why,
                "look at the store: it was changed there",
            ));
        }
        let expected = stored.name.segment_size.map(SegmentSize::bytes);
        let whole = matches!(stored.name.file, WalFileName::Segment(_));
        if whole && expected.is_some_and(|size| size != plain.bytes) {
            let why = format!(
                "it has {} bytes, and its name says that a segment has {expected:?}",
                plain.bytes
            );
            return Err(WalError::new(WalErrorKind::Damaged, doing, why, ""));
        }
        Ok(())
    }

    /// Reads an object through its layers; `read` gets the plain bytes on a thread of its own.
    pub(crate) async fn read_decoded(
        &self,
        key: &str,
        extension: &str,
        doing: &str,
        read: impl FnOnce(&mut dyn Read) -> Result<(), WalError> + Send + 'static,
    ) -> Result<codec::StreamDigest, WalError> {
        let (out, chunks) = pipe::chunk_channel(8);
        let (layers, keys, of) = (self.layers_for(extension), self.keys.clone(), doing.to_owned());
        let decoding = run_blocking(doing, move || {
            let failed = |e: &codec::ArchiveError| WalError::from_archive(&of, e);
            let mut decoder = ArchiveDecoder::new(pipe::PipeReader::new(chunks), &layers, &keys)
                .map_err(|e| failed(&e))?;
            read(&mut decoder)?;
            decoder.finish().map(|digests| digests.plaintext).map_err(|e| failed(&e))
        });
        let (sent, decoded) = tokio::join!(self.store.stream_object(key, out), decoding);
        // Where the store failed, that is why decoding did.
        sent?;
        decoded
    }
}

/// As it is.
pub(crate) fn plain_encoding() -> EncodingOptions {
    EncodingOptions { compression: CompressionMethod::None, encryption: EncryptionMethod::None }
}

fn encode_file(
    doing: &str,
    source: &WalSourceFile,
    encoding: &EncodingOptions,
) -> Result<Vec<u8>, WalError> {
    let io = |e: io::Error| WalError::from_io(format!("read {}", source.path.display()), &e);
    let failed = |e: &codec::ArchiveError| WalError::from_archive(doing, e);
    let mut file = File::open(&source.path).map_err(io)?;
    let mut writer =
        ArchiveEncoder::new(Vec::with_capacity(1 << 20), encoding).map_err(|e| failed(&e))?;
    let mut piece = vec![0; pipe::CHUNK_BYTES];
    loop {
        let n = file.read(&mut piece).map_err(io)?;
        if n == 0 {
            break;
        }
        writer.write_all(&piece[..n]).map_err(|e| failed(&e.into()))?;
    }
    let (encoded, digests) = writer.finish().map_err(|e| failed(&e))?;
    if digests.plaintext.sha256 == source.sha256 { Ok(encoded) } else { Err(changed_error(doing)) }
}

fn changed_error(doing: &str) -> WalError {
    let why = "the file changed while it was read";
    WalError::new(
        WalErrorKind::Damaged,
        doing,
        why,
        "PostgreSQL does not change what is ready: see what else writes there",
    )
}

fn internal(doing: &str, e: &dyn std::fmt::Display) -> WalError {
    WalError::new(WalErrorKind::Refused, doing, e.to_string(), "internal error; please report it")
}

/// Work that takes a processor or a disk, where it does not hold up anything else.
pub(crate) async fn run_blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, WalError> + Send + 'static,
) -> Result<T, WalError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| internal(doing, &e))?
}
