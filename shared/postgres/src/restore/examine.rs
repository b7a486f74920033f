//! A whole file, read and judged without a server: is it complete, and is there nothing in it that must not run?

use super::{
    PgDumpFormat, judge,
    lexer::{ScriptItem, SqlLexer},
    min_pg_restore_version,
    parse::{BlockFilter, parse_blocks},
    read_error, sandbox,
    source::{ChunkReader, DataBlockReader, forbidden_error},
    task_panic_error,
};
use crate::{
    PostgresError, PostgresErrorKind,
    toc::{CompressionAlgorithm, Toc},
};
use bytes::Bytes;
use std::{
    collections::{BTreeSet, HashSet},
    io,
};
use tokio::{sync::mpsc, task::spawn_blocking};

/// What a backup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpContents {
    /// Version of the server that was dumped, as a number, `150000`; 0 where it is not told.
    pub server_version: u32,
    /// The oldest PostgreSQL whose `pg_restore` reads it, as a number; 0 for SQL.
    pub reader_version: u32,
    /// Extensions that it makes.
    pub extensions: BTreeSet<String>,
    /// Roles that own objects in it.
    pub owners: BTreeSet<String>,
    /// Subscriptions that it makes.
    pub subscriptions: BTreeSet<String>,
}

/// Reads everything to its end: the table of contents, every data block, every statement, and the mark of its end.
///
/// # Errors
/// [`PostgresErrorKind::Data`]: cut, damaged, or no dump at all. [`PostgresErrorKind::Refused`]: it has statements that are not run.
/// [`PostgresErrorKind::Lost`]: the stream broke off.
pub async fn examine_dump(
    format: PgDumpFormat,
    source: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<DumpContents, PostgresError> {
    let source = ChunkReader::new(source);
    let read = spawn_blocking(move || match format {
        PgDumpFormat::Custom => examine_custom(source),
        PgDumpFormat::Plain => examine_plain(source).map_err(|e| read_error(&e)),
    });
    read.await.map_err(|e| task_panic_error(&e))?
}

/// Reads an archive's head, and judges it; nothing of the rest is read.
///
/// # Errors
/// As [`examine`].
pub async fn examine_head(
    source: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<DumpContents, PostgresError> {
    let mut source = ChunkReader::new(source);
    let read = spawn_blocking(move || {
        let toc = Toc::read(&mut source)?;
        judge::check_toc(&toc)?;
        Ok(contents_from_toc(&toc))
    });
    read.await.map_err(|e| task_panic_error(&e))?
}

fn examine_custom(mut source: ChunkReader) -> Result<DumpContents, PostgresError> {
    let toc = Toc::read(&mut source)?;
    judge::check_toc(&toc)?;
    let data = || toc.entries.iter().filter(|e| e.has_data);
    let sql = sql_blocks(&toc)?;
    let zlib = toc.compression == CompressionAlgorithm::Zlib;
    let skip = data().map(|e| e.dump_id).collect();
    let wanted = BlockFilter { load: HashSet::new(), skip, sql, zlib };
    let (give, _nobody) = mpsc::channel(1);
    parse_blocks(DataBlockReader::new(source, toc.int_size), wanted, &give)
        .map_err(|e| read_error(&e))?;
    Ok(contents_from_toc(&toc))
}

/// The entries whose blocks hold INSERT statements.
///
/// # Errors
/// [`PostgresErrorKind::Refused`]: they are packed so that they can't be judged here.
pub(super) fn sql_blocks(toc: &Toc) -> Result<HashSet<i32>, PostgresError> {
    let with_rows = |e: &&crate::toc::TocEntry| e.has_data && e.desc != "BLOBS";
    let sql: HashSet<i32> = (toc.entries.iter().filter(with_rows))
        .filter(|e| e.copy_stmt.is_none())
        .map(|e| e.dump_id)
        .collect();
    if !sql.is_empty()
        && matches!(toc.compression, CompressionAlgorithm::Lz4 | CompressionAlgorithm::Zstd)
    {
        return Err(PostgresError::new(
            PostgresErrorKind::Refused,
            "judge the statements of the backup",
            "its rows are INSERT statements in lz4 or zstd, which can't be read here before they run",
            "dump it again without --inserts, or restore it by hand into a server of its own",
        ));
    }
    Ok(sql)
}

fn contents_from_toc(toc: &Toc) -> DumpContents {
    let tags =
        |desc: &str| toc.entries.iter().filter(|e| e.desc == desc).map(|e| e.tag.clone()).collect();
    DumpContents {
        server_version: major_version_num(&toc.server_version),
        reader_version: min_pg_restore_version(toc),
        extensions: tags("EXTENSION"),
        owners: (toc.entries.iter().filter(|e| !judge::is_database_entry(e)))
            .filter_map(|e| e.owner.clone())
            .collect(),
        subscriptions: tags("SUBSCRIPTION"),
    }
}

/// `150000` of `15.18 (Debian 15.18-0+deb12u1)`.
fn major_version_num(text: &str) -> u32 {
    let major = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    major.parse::<u32>().map_or(0, |m| m.saturating_mul(10_000))
}

fn examine_plain(mut source: ChunkReader) -> io::Result<DumpContents> {
    let mut contents = DumpContents::default();
    let mut lexer = SqlLexer::default();
    let mut out = |item| match item {
        ScriptItem::Statement(text) => {
            let text = String::from_utf8_lossy(&text);
            judge::refusal_reason(&text).map_or(Ok(()), |why| Err(forbidden_error(why)))?;
            contents
                .extensions
                .extend(sandbox::parse_create_extension(&text).map(|(name, _)| name));
            Ok(())
        }
        ScriptItem::Copy(text) => {
            let rows = judge::is_copy_of_rows(&String::from_utf8_lossy(&text));
            let why = "it has a COPY that is not of rows in the file";
            if rows { Ok(()) } else { Err(forbidden_error(why.into())) }
        }
        ScriptItem::Data(_) | ScriptItem::End => Ok(()),
    };
    loop {
        let bytes = source.read_available(1 << 18)?;
        if bytes.is_empty() {
            lexer.finish(&mut out)?;
            break;
        }
        lexer.push(&bytes, &mut out)?;
    }
    if !lexer.is_complete() {
        let why = "it lacks the line with which pg_dump ends: it is cut, or no dump of pg_dump";
        return Err(super::source::invalid_data(why));
    }
    Ok(contents)
}
