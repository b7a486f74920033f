//! A whole file, read and judged without a server: is it complete, and is there nothing in it that must not run?

use super::{
    Stored, damaged, judge,
    lexer::{Item, Lexer},
    needed, panicked,
    parse::{Wanted, parse},
    sandbox,
    source::{Blocks, Source, forbidden},
};
use crate::{
    Error, Kind,
    toc::{Packing, Toc},
};
use bytes::Bytes;
use std::{
    collections::{BTreeSet, HashSet},
    io,
};
use tokio::{sync::mpsc, task::spawn_blocking};

/// What a backup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
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
/// [`Kind::Data`]: cut, damaged, or no dump at all. [`Kind::Refused`]: it has statements that are not run.
/// [`Kind::Lost`]: the stream broke off.
pub async fn examine(
    format: Stored,
    source: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<Contents, Error> {
    let source = Source::new(source);
    let read = spawn_blocking(move || match format {
        Stored::Custom => custom(source),
        Stored::Plain => plain(source).map_err(|e| damaged(&e)),
    });
    read.await.map_err(|e| panicked(&e))?
}

/// Reads an archive's head, and judges it; nothing of the rest is read.
///
/// # Errors
/// As [`examine`].
pub async fn head(source: mpsc::Receiver<io::Result<Bytes>>) -> Result<Contents, Error> {
    let mut source = Source::new(source);
    let read = spawn_blocking(move || {
        let toc = Toc::read(&mut source)?;
        judge::toc(&toc)?;
        Ok(contents(&toc))
    });
    read.await.map_err(|e| panicked(&e))?
}

fn custom(mut source: Source) -> Result<Contents, Error> {
    let toc = Toc::read(&mut source)?;
    judge::toc(&toc)?;
    let data = || toc.entries.iter().filter(|e| e.has_data);
    let sql = sql_blocks(&toc)?;
    let zlib = toc.packing == Packing::Zlib;
    let skip = data().map(|e| e.dump_id).collect();
    let wanted = Wanted { load: HashSet::new(), skip, sql, zlib };
    let (give, _nobody) = mpsc::channel(1);
    parse(Blocks::new(source, toc.int_size), wanted, &give).map_err(|e| damaged(&e))?;
    Ok(contents(&toc))
}

/// The entries whose blocks hold INSERT statements.
///
/// # Errors
/// [`Kind::Refused`]: they are packed so that they can't be judged here.
pub(super) fn sql_blocks(toc: &Toc) -> Result<HashSet<i32>, Error> {
    let with_rows = |e: &&crate::toc::Entry| e.has_data && e.desc != "BLOBS";
    let sql: HashSet<i32> = (toc.entries.iter().filter(with_rows))
        .filter(|e| e.copy_stmt.is_none())
        .map(|e| e.dump_id)
        .collect();
    if !sql.is_empty() && matches!(toc.packing, Packing::Lz4 | Packing::Zstd) {
        return Err(Error::new(
            Kind::Refused,
            "judge the statements of the backup",
            "its rows are INSERT statements in lz4 or zstd, which can't be read here before they run",
            "dump it again without --inserts, or restore it by hand into a server of its own",
        ));
    }
    Ok(sql)
}

fn contents(toc: &Toc) -> Contents {
    let tags =
        |desc: &str| toc.entries.iter().filter(|e| e.desc == desc).map(|e| e.tag.clone()).collect();
    Contents {
        server_version: version_num(&toc.server_version),
        reader_version: needed(toc),
        extensions: tags("EXTENSION"),
        owners: (toc.entries.iter().filter(|e| !judge::of_the_database(e)))
            .filter_map(|e| e.owner.clone())
            .collect(),
        subscriptions: tags("SUBSCRIPTION"),
    }
}

/// `150000` of `15.18 (Debian 15.18-0+deb12u1)`.
fn version_num(text: &str) -> u32 {
    let major = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    major.parse::<u32>().map_or(0, |m| m.saturating_mul(10_000))
}

fn plain(mut source: Source) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut lexer = Lexer::default();
    let mut out = |item| match item {
        Item::Statement(text) => {
            let text = String::from_utf8_lossy(&text);
            judge::refusal(&text).map_or(Ok(()), |why| Err(forbidden(why)))?;
            contents.extensions.extend(sandbox::extension(&text).map(|(name, _)| name));
            Ok(())
        }
        Item::Copy(text) => {
            let rows = judge::is_copy_of_rows(&String::from_utf8_lossy(&text));
            let why = "it has a COPY that is not of rows in the file";
            if rows { Ok(()) } else { Err(forbidden(why.into())) }
        }
        Item::Data(_) | Item::End => Ok(()),
    };
    loop {
        let bytes = source.some(1 << 18)?;
        if bytes.is_empty() {
            lexer.end(&mut out)?;
            break;
        }
        lexer.push(&bytes, &mut out)?;
    }
    if !lexer.is_complete() {
        let why = "it lacks the line with which pg_dump ends: it is cut, or no dump of pg_dump";
        return Err(super::source::bad(why));
    }
    Ok(contents)
}
