//! An RDB file read from its first byte to its checksum, as it streams.
//!
//! Nothing is decoded but lengths, numbers and names: strings are passed over, so memory is that of one piece, whatever
//! the file's size. Formats as in redis `src/rdb.h` and `src/rdb.c` up to version 13, and valkey's up to 80.

mod object;
mod source;

use crate::{RedisError, RedisErrorKind};
use codec::pipe::{ChunkReceiver, ChunkSender};
use facts::{RdbContents, RdbDatabase, RedisFamily};
use source::RdbSource;
use std::collections::{BTreeMap, BTreeSet};

/// How the end of a stream is told beside the file's own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFraming {
    /// The stream ends with the file.
    File,
    /// The file has so many bytes.
    Length(u64),
    /// These bytes follow the file.
    Mark([u8; 40]),
}

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The stream failed or ended too early.
    Cut(String),
    /// Nobody takes the bytes any more.
    Closed,
    /// The bytes are no RDB file, or a damaged one.
    Damaged(String),
    /// Something that is not known here.
    Unsupported(String),
}

/// What AUX fields may hold, in bytes.
const MAX_AUX_BYTES: u64 = 64 << 10;

const MODULE_AUX: u8 = 0xF7;
const FUNCTION: u8 = 0xF6;
const FUNCTION2: u8 = 0xF5;
const SLOT_INFO: u8 = 0xF4;
const SLOT_IMPORT: u8 = 0xF3;
const IDLE: u8 = 0xF8;
const FREQUENCY: u8 = 0xF9;
const AUX: u8 = 0xFA;
const RESIZE_DB: u8 = 0xFB;
const EXPIRE_MS: u8 = 0xFC;
const EXPIRE_S: u8 = 0xFD;
const SELECT_DB: u8 = 0xFE;
const EOF: u8 = 0xFF;

/// Walks an RDB file from a channel, at `now` in milliseconds since 1970, and passes its bytes on into `to`, the end only
/// when the whole file was right. Blocks: it belongs into `spawn_blocking`.
///
/// # Errors
/// [`RedisErrorKind::Damaged`] when it is no whole RDB file, [`RedisErrorKind::Unsupported`] when it holds something that
/// is not known here, [`RedisErrorKind::Connection`] when the stream failed.
pub fn walk_rdb(
    from: ChunkReceiver,
    framing: StreamFraming,
    to: Option<ChunkSender>,
    now: i64,
) -> Result<RdbContents, RedisError> {
    let mut walk = Walk::new(RdbSource::new(from, to), now);
    let walked = walk.read_file(framing);
    walked.map_err(|e| {
        let at = walk.source.position();
        let doing = format!("read the RDB file at byte {at}");
        let (kind, why, hint) = match e {
            WalkError::Cut(why) => (RedisErrorKind::Connection, why, ""),
            WalkError::Closed => {
                (RedisErrorKind::Connection, "nobody takes its bytes any more".to_owned(), "")
            }
            WalkError::Damaged(why) => (RedisErrorKind::Damaged, why, "use another one"),
            WalkError::Unsupported(why) => {
                (RedisErrorKind::Unsupported, why, "use a newer Holdfast for this server")
            }
        };
        RedisError::new(kind, doing, why, hint)
    })
}

struct Walk {
    source: RdbSource,
    now: i64,
    contents: RdbContents,
    version: u32,
    databases: BTreeMap<u64, RdbDatabase>,
    modules: BTreeSet<String>,
}

impl Walk {
    fn new(source: RdbSource, now: i64) -> Self {
        Self {
            source,
            now,
            contents: RdbContents::default(),
            version: 0,
            databases: BTreeMap::new(),
            modules: BTreeSet::new(),
        }
    }

    fn read_file(&mut self, framing: StreamFraming) -> Result<RdbContents, WalkError> {
        self.read_magic()?;
        self.read_records()?;
        let expected = self.source.checksum();
        if self.version >= 5 {
            let written = u64::from_le_bytes(self.source.take()?);
            // 0 where the server is told to write none.
            if written != 0 && written != expected {
                return Err(WalkError::Damaged("its checksum (CRC64) is wrong".into()));
            }
            self.contents.has_checksum = written != 0;
        }
        self.source.finish(framing)?;
        let mut contents = std::mem::take(&mut self.contents);
        contents.databases = std::mem::take(&mut self.databases).into_values().collect();
        contents.modules = std::mem::take(&mut self.modules).into_iter().collect();
        Ok(contents)
    }

    /// `REDIS0011`, `VALKEY080`.
    fn read_magic(&mut self) -> Result<(), WalkError> {
        let magic = String::from_utf8_lossy(&self.source.take::<9>()?).into_owned();
        let (family, version) = match (magic.strip_prefix("REDIS"), magic.strip_prefix("VALKEY")) {
            (Some(version), _) => (RedisFamily::Redis, version.parse()),
            (_, Some(version)) => (RedisFamily::Valkey, version.parse()),
            _ => return Err(WalkError::Damaged("it is no RDB file".into())),
        };
        self.version = version.map_err(|_| WalkError::Damaged("it has no version".into()))?;
        (self.contents.magic, self.contents.family) = (magic, family);
        Ok(())
    }

    fn read_records(&mut self) -> Result<(), WalkError> {
        let mut database = 0;
        let mut expires: Option<i64> = None;
        loop {
            match self.source.byte()? {
                EOF => return Ok(()),
                AUX => self.read_aux()?,
                SELECT_DB => database = self.source.length()?,
                RESIZE_DB => self.source.skip_lengths(2)?,
                SLOT_INFO => self.source.skip_lengths(3)?,
                SLOT_IMPORT => {
                    self.source.skip_string()?;
                    let ranges = self.source.length()?;
                    (0..ranges).try_for_each(|_| self.source.skip_lengths(2))?;
                }
                EXPIRE_MS => expires = Some(i64::from_le_bytes(self.source.take()?)),
                EXPIRE_S => {
                    let seconds = i32::from_le_bytes(self.source.take()?);
                    expires = Some(i64::from(seconds) * 1000);
                }
                IDLE => self.source.skip_lengths(1)?,
                FREQUENCY => self.source.skip(1)?,
                FUNCTION2 => {
                    self.source.skip_string()?;
                    self.contents.functions += 1;
                }
                FUNCTION => {
                    let why = "functions of a release candidate of Redis 7.0 are in it";
                    return Err(WalkError::Unsupported(why.into()));
                }
                MODULE_AUX => {
                    let id = self.source.length()?;
                    self.modules.insert(object::module_name(id));
                    self.source.skip_lengths(2)?;
                    object::skip_module_value(&mut self.source)?;
                }
                kind => {
                    self.source.skip_string()?;
                    self.read_value(kind)?;
                    self.count_key(database, expires.take());
                }
            }
        }
    }

    fn read_value(&mut self, kind: u8) -> Result<(), WalkError> {
        let module = object::skip_value(&mut self.source, kind, self.contents.family)?;
        self.modules.extend(module);
        Ok(())
    }

    fn count_key(&mut self, database: u64, expires: Option<i64>) {
        let counts = self
            .databases
            .entry(database)
            .or_insert_with(|| RdbDatabase { index: database, ..RdbDatabase::default() });
        counts.keys += 1;
        counts.expiring += u64::from(expires.is_some());
        counts.expired += u64::from(expires.is_some_and(|at| at <= self.now));
    }

    fn read_aux(&mut self) -> Result<(), WalkError> {
        let name = self.source.text(MAX_AUX_BYTES)?;
        let value = self.source.text(MAX_AUX_BYTES)?;
        let contents = &mut self.contents;
        match name.as_str() {
            "redis-ver" => contents.server_version = value,
            "valkey-ver" => {
                contents.server_version = value;
                // An older version of the format, with the other magic, of the same server.
                contents.family = RedisFamily::Valkey;
            }
            "ctime" => contents.created_at = value.parse().ok(),
            "used-mem" => contents.used_memory = value.parse().ok(),
            "repl-id" => contents.replication_id = Some(value),
            "repl-offset" => contents.replication_offset = value.parse().ok(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
