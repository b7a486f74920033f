//! The head of a custom-format archive: its header and its table of contents.
//!
//! Everything is read with bounds: a length in the file is never trusted with an allocation, and a bad byte ends in an
//! [`Error`]. What was read is kept as it was, so that the same head can be handed to stock `pg_restore`.

mod texts;

use crate::{PostgresError, PostgresErrorKind};
use std::{
    collections::HashMap,
    io::{self, Read},
    ops::Range,
};
use texts::EntryTextRanges;

/// The largest head that is read: a million large objects take about 150 MB.
const MAX_HEAD_BYTES: usize = 512 << 20;

/// The largest single text of an entry: PostgreSQL's own limit of a value is 1 GB, a view of 64 MB is nobody's.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// How the data blocks of an archive are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionAlgorithm {
    /// Not at all.
    None,
    /// Each block (each large object) is one zlib stream.
    Zlib,
    /// LZ4 frames, PostgreSQL 16 and later.
    Lz4,
    /// Zstandard, PostgreSQL 16 and later.
    Zstd,
}

/// When an entry is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TocSection {
    /// With the entry before it: comments, grants.
    None,
    /// Before the data.
    PreData,
    /// The data.
    Data,
    /// After the data.
    PostData,
}

/// One line of the table of contents. Text that is not UTF-8 has replacement characters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TocEntry {
    /// The number of the entry in this archive, by which data blocks and dependencies name it.
    pub dump_id: i32,
    /// The catalogue that the object is in (1259 is `pg_class`), as text; `0` for none.
    pub catalogue_oid: String,
    /// The object's own OID in the database that was dumped, as text: for `TABLE DATA` the table's.
    pub table_oid: String,
    /// The object's name.
    pub tag: String,
    /// Its kind: `TABLE`, `TABLE DATA`, `INDEX`, ..
    pub desc: String,
    /// When it is restored.
    pub section: TocSection,
    /// The statement that makes it.
    pub defn: String,
    /// The statement that would drop it; `pg_restore` makes the one that sets the owner from it, and what has none has no
    /// owner of its own.
    pub drop_stmt: String,
    /// `COPY schema.table (columns) FROM stdin;` of a `TABLE DATA` entry that holds COPY text.
    pub copy_stmt: Option<String>,
    /// Its schema, without quotes.
    pub namespace: Option<String>,
    /// The tablespace it is in; an empty name is the database's own. None where it is in none.
    pub tablespace: Option<String>,
    /// The access method of a table or materialized view.
    pub access_method: Option<String>,
    /// Whether it is a partitioned table, as far as the archive says so.
    pub is_partitioned: bool,
    /// Its owner.
    pub owner: Option<String>,
    /// Whether a data block with its number follows the head.
    pub has_data: bool,
    /// The entries that come before it.
    pub dependencies: Vec<i32>,
    texts: EntryTextRanges,
}

/// The head of a custom-format archive.
#[derive(Clone, Debug)]
pub struct Toc {
    /// The archive's version: (1, 12) to (1, 16).
    pub version: (u8, u8),
    /// Bytes of an integer in this archive, 1 to 8.
    pub int_size: u8,
    /// Bytes of a file offset in this archive, 1 to 8.
    pub off_size: u8,
    /// How the data blocks are compressed.
    pub compression: CompressionAlgorithm,
    /// The database that was dumped.
    pub database: String,
    /// The version of the server that was dumped, as it said it.
    pub server_version: String,
    /// The version of the `pg_dump` that wrote this.
    pub dump_version: String,
    /// The entries in their order.
    pub entries: Vec<TocEntry>,
    /// The bytes of the head as they were read.
    pub raw: Vec<u8>,
    /// Where in `raw` the time is at which it was made: all else is the same as long as nothing changes.
    pub(crate) created_at: Range<usize>,
}

impl Toc {
    /// Reads a header and a table of contents and not one byte more.
    ///
    /// # Errors
    /// [`PostgresErrorKind::Data`]: not a custom-format archive, a version that is not known, a truncated or damaged one.
    pub fn read(from: &mut impl Read) -> Result<Self, PostgresError> {
        Self::read_complete(from)?
            .ok_or_else(|| damaged_error("it ends inside its table of contents".into()))
    }

    /// As [`Self::read`]; none when the bytes end inside the head.
    pub(crate) fn read_complete(from: &mut impl Read) -> Result<Option<Self>, PostgresError> {
        let mut reader = TocReader { from, raw: Vec::with_capacity(1 << 16), int: 4 };
        match read_toc(&mut reader) {
            Ok(toc) => Ok(Some(toc)),
            Err(TocParseError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(TocParseError::Io(e)) => Err(damaged_error(e.to_string())),
            Err(TocParseError::Invalid(why)) => Err(damaged_error(why)),
        }
    }

    /// The entry with this number.
    pub fn entry_by_id(&self, dump_id: i32) -> Option<&TocEntry> {
        self.entries.iter().find(|e| e.dump_id == dump_id)
    }

    /// Each entry's place by its number.
    pub fn entries_by_id(&self) -> HashMap<i32, &TocEntry> {
        self.entries.iter().map(|e| (e.dump_id, e)).collect()
    }

    /// The encoding of all text in the archive, from its `ENCODING` entry: `UTF8`, `LATIN1`, ..
    pub fn encoding(&self) -> &str {
        let entry = self.entries.iter().find(|e| e.desc == "ENCODING");
        entry.and_then(|e| e.defn.split('\'').nth(1)).unwrap_or("SQL_ASCII")
    }

    /// Whether a backslash in a plain string of its statements is just that, from its `STDSTRINGS` entry.
    pub fn plain_backslash(&self) -> bool {
        let entry = self.entries.iter().find(|e| e.desc == "STDSTRINGS");
        entry.is_none_or(|e| e.defn.split('\'').nth(1) != Some("off"))
    }
}

fn damaged_error(why: String) -> PostgresError {
    PostgresError {
        doing: "read the archive's table of contents".into(),
        why,
        hint: "check the file against its .sha256, or take another backup".into(),
        kind: PostgresErrorKind::Data,
    }
}

enum TocParseError {
    Io(io::Error),
    Invalid(String),
}

impl From<io::Error> for TocParseError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

struct TocReader<'a, R> {
    from: &'a mut R,
    raw: Vec<u8>,
    int: u8,
}

impl<R: Read> TocReader<'_, R> {
    fn read_bytes(&mut self, length: u64) -> Result<Range<usize>, TocParseError> {
        let start = self.raw.len();
        if length > MAX_TEXT_BYTES || start as u64 + length > MAX_HEAD_BYTES as u64 {
            return Err(TocParseError::Invalid(format!(
                "a text of {length} bytes at byte {start}"
            )));
        }
        // `take` grows the buffer as bytes arrive, so a false length costs nothing.
        let got = self.from.by_ref().take(length).read_to_end(&mut self.raw)?;
        if (got as u64) < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(start..self.raw.len())
    }

    fn read_byte(&mut self) -> Result<u8, TocParseError> {
        let range = self.read_bytes(1)?;
        Ok(self.raw[range.start])
    }

    /// A sign byte and the magnitude, least significant byte first.
    fn read_int(&mut self) -> Result<i64, TocParseError> {
        let range = self.read_bytes(1 + u64::from(self.int))?;
        parse_int(&self.raw[range])
            .ok_or_else(|| TocParseError::Invalid("an integer out of range".into()))
    }

    fn read_i32(&mut self, what: &str) -> Result<i32, TocParseError> {
        let value = self.read_int()?;
        i32::try_from(value).map_err(|_| TocParseError::Invalid(format!("{what} of {value}")))
    }

    fn read_text_range(&mut self) -> Result<Option<Range<usize>>, TocParseError> {
        match self.read_int()? {
            -1 => Ok(None),
            length => {
                let length = u64::try_from(length)
                    .map_err(|_| TocParseError::Invalid(format!("a text of {length} bytes")))?;
                self.read_bytes(length).map(Some)
            }
        }
    }

    fn read_text(&mut self) -> Result<Option<String>, TocParseError> {
        let range = self.read_text_range()?;
        Ok(self.lossy_text(range.as_ref()))
    }

    fn lossy_text(&self, range: Option<&Range<usize>>) -> Option<String> {
        Some(String::from_utf8_lossy(&self.raw[range?.clone()]).into_owned())
    }

    fn read_texts<const N: usize>(&mut self) -> Result<[Option<String>; N], TocParseError> {
        let mut all = [const { None }; N];
        for one in &mut all {
            *one = self.read_text()?;
        }
        Ok(all)
    }
}

/// An integer as archives have it: `bytes` is the sign and the magnitude; `None` when it doesn't fit.
pub(crate) fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (sign, magnitude) = bytes.split_first()?;
    let mut value = 0_u64;
    for (i, byte) in magnitude.iter().enumerate() {
        if i >= 8 && *byte != 0 {
            return None;
        }
        value |= u64::from(*byte).checked_shl(u32::try_from(i * 8).ok()?).unwrap_or(0);
    }
    let value = i64::try_from(value).ok()?;
    Some(if *sign == 0 { value } else { -value })
}

fn read_toc<R: Read>(r: &mut TocReader<'_, R>) -> Result<Toc, TocParseError> {
    let magic = r.read_bytes(5)?;
    if &r.raw[magic] != b"PGDMP" {
        return Err(TocParseError::Invalid("it is no custom-format archive of pg_dump".into()));
    }
    let version = (r.read_byte()?, r.read_byte()?);
    let _revision = r.read_byte()?;
    if version.0 != 1 || !(12..=16).contains(&version.1) {
        return Err(TocParseError::Invalid(format!(
            "its version is {}.{}; 1.12 to 1.16 (PostgreSQL 11 to 18) are known here",
            version.0, version.1
        )));
    }
    let (int_size, off_size) = (r.read_byte()?, r.read_byte()?);
    if !(1..=8).contains(&int_size) || !(1..=8).contains(&off_size) {
        return Err(TocParseError::Invalid(format!(
            "integers of {int_size} and offsets of {off_size} bytes"
        )));
    }
    r.int = int_size;
    if r.read_byte()? != 1 {
        return Err(TocParseError::Invalid(
            "it is no custom-format archive (a tar or directory one)".into(),
        ));
    }
    let packing = read_compression(r, version.1)?;
    let before = r.raw.len();
    for _ in 0..7 {
        r.read_int()?; // the local time of pg_dump's start, without its zone: of no use
    }
    let made_at = before..r.raw.len();
    let [database, server_version, dump_version] = r.read_texts()?.map(Option::unwrap_or_default);
    let count = r.read_i32("a number of entries")?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(read_entry(r, version.1, off_size)?);
    }
    let raw = std::mem::take(&mut r.raw);
    Ok(Toc {
        version,
        int_size,
        off_size,
        compression: packing,
        database,
        server_version,
        dump_version,
        entries,
        raw,
        created_at: made_at,
    })
}

fn read_compression<R: Read>(
    r: &mut TocReader<'_, R>,
    minor: u8,
) -> Result<CompressionAlgorithm, TocParseError> {
    if minor < 15 {
        // The zlib level; -1 is zlib's default.
        return Ok(if r.read_int()? == 0 {
            CompressionAlgorithm::None
        } else {
            CompressionAlgorithm::Zlib
        });
    }
    match r.read_byte()? {
        0 => Ok(CompressionAlgorithm::None),
        1 => Ok(CompressionAlgorithm::Zlib),
        2 => Ok(CompressionAlgorithm::Lz4),
        3 => Ok(CompressionAlgorithm::Zstd),
        other => Err(TocParseError::Invalid(format!("compression number {other} is not known"))),
    }
}

fn read_entry<R: Read>(
    r: &mut TocReader<'_, R>,
    minor: u8,
    off_size: u8,
) -> Result<TocEntry, TocParseError> {
    let dump_id = r.read_i32("an entry's number")?;
    if dump_id <= 0 {
        return Err(TocParseError::Invalid(format!("an entry's number of {dump_id}")));
    }
    let had_dumper = r.read_int()? != 0;
    let [catalogue_oid, table_oid] = r.read_texts()?.map(Option::unwrap_or_default);
    let tag = r.read_text_range()?;
    let desc = r.read_text()?.unwrap_or_default();
    let section = match r.read_int()? {
        1 => TocSection::None,
        2 => TocSection::PreData,
        3 => TocSection::Data,
        4 => TocSection::PostData,
        other => return Err(TocParseError::Invalid(format!("section {other} of an entry {desc}"))),
    };
    let (defn, drop_stmt) = (r.read_text_range()?, r.read_text_range()?);
    let copy_stmt = r.read_text_range()?.filter(|range| !range.is_empty());
    let (namespace, tablespace) = (r.read_text_range()?, r.read_text_range()?);
    let access_method = if minor >= 14 { r.read_text()? } else { None };
    // The kind of relation, as `pg_class.relkind` has it.
    let is_partitioned = minor >= 16 && r.read_int()? == i64::from(b'p');
    let owner = r.read_text_range()?;
    r.read_text_range()?; // WITH OIDS, gone since PostgreSQL 12
    let texts = EntryTextRanges { tag, defn, drop_stmt, copy_stmt, namespace, tablespace, owner };
    let tag = r.lossy_text(texts.tag.as_ref()).unwrap_or_default();
    let mut dependencies = Vec::new();
    while let Some(text) = r.read_text()? {
        let id = text
            .parse()
            .map_err(|_| TocParseError::Invalid(format!("a dependency of {desc} {tag}")))?;
        dependencies.push(id);
    }
    // Whether the offset is set (2), not set (1) or there is no data (3), and the offset itself.
    let state = r.read_byte()?;
    if !(1..=3).contains(&state) {
        return Err(TocParseError::Invalid(format!("the data state {state} of {desc} {tag}")));
    }
    r.read_bytes(u64::from(off_size))?;
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
    Ok(TocEntry {
        dump_id,
        catalogue_oid,
        table_oid,
        tag,
        desc,
        section,
        defn: r.lossy_text(texts.defn.as_ref()).unwrap_or_default(),
        drop_stmt: r.lossy_text(texts.drop_stmt.as_ref()).unwrap_or_default(),
        copy_stmt: r.lossy_text(texts.copy_stmt.as_ref()),
        namespace: filled(r.lossy_text(texts.namespace.as_ref())),
        tablespace: r.lossy_text(texts.tablespace.as_ref()),
        access_method: filled(access_method),
        is_partitioned,
        owner: filled(r.lossy_text(texts.owner.as_ref())),
        has_data: had_dumper && state != 3,
        dependencies,
        texts,
    })
}
