//! Archives into databases, from a stream, with constant memory and over several connections.
//!
//! A custom-format archive: its head goes to stock `pg_restore` for what comes before and after the rows, and rows and
//! large objects are loaded here ([`load`]). Blocks that are not COPY text or zlib go to `pg_restore` as a whole. Plain
//! SQL is read statement by statement ([`plain`]). What the server refuses becomes a [`Loss`] and the restore goes on;
//! a stream that is cut or damaged is an [`Error`], and then the database is worth nothing.

mod chosen;
mod early;
mod lexer;
mod load;
mod loss;
#[cfg(feature = "model")]
pub mod model;
mod objects;
mod parse;
mod plain;
mod rows;
mod source;
mod stock;

pub use loss::{Loss, LossClass};

pub(crate) use lexer::{name as sql_name, statements};
pub(crate) use loss::bearable;

use crate::{
    Error, Kind, Server, Session, TableRows,
    toc::{Entry, Packing, Toc},
    tools::Tools,
};
use bytes::Bytes;
use parse::Wanted;
use serde::{Deserialize, Serialize};
use source::{Blocks, Source};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};
use stock::{Run, Stock};
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};

/// How to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Into {
    /// Connections that load rows and build indexes.
    pub jobs: usize,
    /// Only these tables, `table` or `schema.table`, with what they are made of and what hangs on them; all when
    /// empty. Custom format only.
    pub tables: Vec<String>,
    /// Whether objects get their owners; otherwise they belong to the role that restores.
    pub owners: bool,
    /// Whether grants are restored.
    pub privileges: bool,
}

/// What a stream holds, after decryption and decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// A custom-format archive of `pg_dump -Fc`.
    Custom,
    /// SQL of `pg_dump -Fp`.
    Plain,
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// What could not be restored, in order.
    pub losses: Vec<Loss>,
    /// The rows that were loaded, table by table.
    pub tables: Vec<TableRows>,
}

/// Restores a stream into an existing database, which should be empty: nothing is dropped before.
///
/// # Errors
/// A connection that can't be made or is lost, a stream that is cut or damaged ([`Kind::Data`], [`Kind::Lost`]), no
/// fitting `pg_restore`, a chosen table that is not there. What the server refuses is no error but a [`Loss`].
pub async fn restore(
    server: &Server,
    database: &str,
    format: Stored,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &Into,
) -> Result<Restored, Error> {
    match format {
        Stored::Custom => custom(server, database, source, how).await,
        Stored::Plain if !how.tables.is_empty() => Err(Error::new(
            Kind::Refused,
            "restore chosen tables",
            "plain SQL can't be taken apart by table",
            "restore the whole into a new database and copy the tables from there",
        )),
        Stored::Plain => plain::restore(server, database, source, how).await,
    }
}

async fn custom(
    server: &Server,
    database: &str,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &Into,
) -> Result<Restored, Error> {
    let read = spawn_blocking(move || {
        let mut source = Source::new(source);
        Toc::read(&mut source).map(|toc| (toc, source))
    });
    let (toc, source) = read.await.map_err(|e| panicked(&e))??;
    let chosen = match &how.tables[..] {
        [] => None,
        names => Some(chosen::choose(&toc, names)?),
    };
    let session = server.connect(database).await?;
    let tools = Tools::find(server, session.version_num.max(needed(&toc)))?;
    let stock = Stock::new(server, database, &tools.pg_restore, how, &toc)?;
    let list = chosen.as_ref().map(|chosen| stock::list(&toc, |id| chosen.contains(&id)));

    let mut restored = Restored::default();
    let Some(tables) = tables(&session, &toc, chosen.as_ref()).await? else {
        return whole(
            server,
            database,
            &stock,
            &toc,
            source,
            list.as_deref(),
            chosen.as_ref(),
            how,
        )
        .await;
    };
    restored.losses = stock.run(Run::Before, list.as_deref()).await?;
    if let Some(objects) = stock::objects(&toc, chosen.as_ref()) {
        restored.losses.extend(stock.run(Run::Values, Some(&objects)).await?);
    }
    let (ready, finished) = mpsc::unbounded_channel();
    let ready = (how.jobs > 1).then_some(ready);
    let lane = early::Lane::default();
    let wanted = |id: &i32| chosen.as_ref().is_none_or(|c| c.contains(id));
    let load = async {
        let chosen = chosen.as_ref();
        let loaded =
            rows(server, database, session, &toc, tables, source, chosen, how, ready).await?;
        // What the lane is at goes on beside this.
        let (done, held) = (lane.done(), lane.held(&toc));
        let mut losses = Vec::new();
        if let Some(values) = stock::values(&toc, chosen) {
            losses.extend(stock.run(Run::Values, Some(&values)).await?);
        }
        let now = |id: i32| wanted(&id) && !done.contains(&id) && !held.contains(&id);
        losses.extend(stock.run(Run::After, Some(&stock::list(&toc, now))).await?);
        Ok((loaded, losses, held))
    };
    let (loaded, early) =
        tokio::try_join!(load, lane.run(&stock, &toc, chosen.as_ref(), finished))?;
    let (loaded, after, held) = loaded;
    let done = lane.done();
    let rest = |id: i32| wanted(&id) && held.contains(&id) && !done.contains(&id);
    if toc.entries.iter().any(|e| rest(e.dump_id)) {
        let list = stock::list(&toc, rest);
        restored.losses.extend(stock.run(Run::After, Some(&list)).await?);
    }
    restored.tables = loaded.tables;
    for losses in [loaded.losses, early, after] {
        restored.losses.extend(losses);
    }
    Ok(restored)
}

/// Reads the blocks in a thread and loads them.
#[expect(clippy::too_many_arguments, reason = "the parts of one restore, used here only")]
async fn rows(
    server: &Server,
    database: &str,
    first: Session,
    toc: &Toc,
    tables: HashMap<i32, Arc<load::Table>>,
    source: Source,
    chosen: Option<&HashSet<i32>>,
    how: &Into,
    ready: Option<mpsc::UnboundedSender<early::Ready>>,
) -> Result<load::Loaded, Error> {
    let mut sessions = vec![first];
    while sessions.len() < how.jobs.max(1) {
        sessions.push(server.connect(database).await?);
    }
    for session in &sessions {
        settle(session).await?;
    }
    let with_data = toc.entries.iter().filter(|e| e.has_data).map(|e| e.dump_id);
    let objects = toc.entries.iter().filter(|e| e.desc == "BLOBS").map(|e| e.dump_id);
    let objects: HashSet<i32> = if chosen.is_none() { objects.collect() } else { HashSet::new() };
    let (load, skip) = with_data.partition(|id| tables.contains_key(id) || objects.contains(id));
    let wanted = Wanted { load, skip, zlib: toc.packing == Packing::Zlib };
    let blocks = Blocks::new(source, toc.int_size);
    // A part is about 1 MiB: one is being cut, one waits here, two wait at each connection.
    let (give, take) = mpsc::channel(1);
    let parser = spawn_blocking(move || parse::parse(blocks, wanted, &give));
    let loaded = load::load(&sessions, &tables, take, ready).await;
    match parser.await.map_err(|e| panicked(&e))? {
        // The loader stopped taking: its own error says why.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe && loaded.is_err() => loaded,
        Err(e) => Err(damaged(&e)),
        Ok(()) => loaded,
    }
}

/// What `pg_restore` sets for its own session, as far as it matters to rows.
async fn settle(session: &Session) -> Result<(), Error> {
    let set = "SET search_path = ''; SET row_security = off; SET check_function_bodies = false; \
               SET xmloption = content; SET client_min_messages = warning";
    session.batch_execute(set).await.map_err(|e| Error::from_pg("set up a connection", &e))
}

/// The tables whose rows are loaded here, by their data entry; `None` when there are blocks that we can't load.
async fn tables(
    session: &Session,
    toc: &Toc,
    chosen: Option<&HashSet<i32>>,
) -> Result<Option<HashMap<i32, Arc<load::Table>>>, Error> {
    if matches!(toc.packing, Packing::Lz4 | Packing::Zstd) {
        return Ok(None);
    }
    let mut tables = HashMap::new();
    for entry in toc.entries.iter().filter(|e| e.has_data && e.desc != "BLOBS") {
        // A data block without a COPY statement holds INSERT statements (pg_dump --inserts).
        let Some(copy) = copy_of(session, toc, entry).await? else { return Ok(None) };
        if chosen.is_none_or(|c| c.contains(&entry.dump_id)) {
            tables.insert(entry.dump_id, Arc::new(copy));
        }
    }
    Ok(Some(tables))
}

/// The statement that loads an entry's rows.
async fn copy_of(
    session: &Session,
    toc: &Toc,
    entry: &Entry,
) -> Result<Option<load::Table>, Error> {
    let Some(bytes) = toc.copy_bytes(entry) else { return Ok(None) };
    let statement = in_utf8(session, bytes, toc.encoding()).await?;
    Ok(copy_from(&statement, toc.encoding())
        .map(|(name, copy)| load::Table::new(entry.dump_id, name, copy)))
}

/// Text of an archive in UTF-8; the server knows every encoding that an archive can be in.
async fn in_utf8(session: &Session, bytes: &[u8], encoding: &str) -> Result<String, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || ["UTF8", "SQL_ASCII"].contains(&encoding) => {
            return Ok(text.to_string());
        }
        _ => {}
    }
    let doing = || format!("read a statement in the encoding {encoding}");
    let sql = "SELECT pg_catalog.convert_from($1, $2::pg_catalog.text::pg_catalog.name)";
    let row = session.query_one(sql, &[&bytes, &encoding]).await;
    row.and_then(|row| row.try_get(0)).map_err(|e| Error::from_pg(doing(), &e))
}

/// A table's name and the statement that takes its text in the archive's encoding, from
/// `COPY schema.table (columns) FROM stdin;`.
fn copy_from(statement: &str, encoding: &str) -> Option<(String, String)> {
    let body = statement.trim_end().strip_suffix(';')?;
    let from = "FROM stdin";
    let head = body.strip_suffix(from).or_else(|| body.strip_suffix("FROM STDIN"))?;
    let name = lexer::name(head.strip_prefix("COPY ")?);
    let encoding = crate::literal(encoding);
    Some((name.to_string(), format!("{head}FROM STDIN WITH (ENCODING {encoding})")))
}

/// The whole stream through `pg_restore`: one connection, as slow as it is, but it knows every kind of block.
#[expect(clippy::too_many_arguments, reason = "the parts of one restore, used here only")]
async fn whole(
    server: &Server,
    database: &str,
    stock: &Stock<'_>,
    toc: &Toc,
    mut source: Source,
    list: Option<&str>,
    chosen: Option<&HashSet<i32>>,
    how: &Into,
) -> Result<Restored, Error> {
    let list = list.map(|text| stock::file(text.as_bytes())).transpose()?;
    let mut running = stock.whole(list.as_ref())?;
    let stdin = running.stdin.take();
    let (give, mut take) = mpsc::channel::<Bytes>(4);
    let reader = spawn_blocking(move || {
        loop {
            let bytes = source.some(1 << 20)?;
            if bytes.is_empty() || give.blocking_send(bytes).is_err() {
                return io::Result::Ok(());
            }
        }
    });
    let write = async {
        let Some(mut stdin) = stdin else { return io::Result::Ok(()) };
        stdin.write_all(&toc.raw).await?;
        while let Some(bytes) = take.recv().await {
            stdin.write_all(&bytes).await?;
        }
        stdin.shutdown().await
    };
    // A failed write means that pg_restore ended; what it said is the reason.
    let (_, losses) = tokio::join!(write, running.end());
    drop(take);
    reader.await.map_err(|e| panicked(&e))?.map_err(|e| damaged(&e))?;
    let mut restored = Restored { losses: losses?, tables: Vec::new() };
    let names: Vec<String> = (toc.entries.iter())
        .filter(|e| e.desc == "TABLE DATA" && chosen.is_none_or(|c| c.contains(&e.dump_id)))
        .map(|e| match &e.namespace {
            Some(schema) => format!("{}.{}", crate::quoted(schema), crate::quoted(&e.tag)),
            None => crate::quoted(&e.tag),
        })
        .collect();
    restored.tables = crate::database::count_rows(server, database, &names, how.jobs).await?;
    Ok(restored)
}

/// The oldest PostgreSQL whose `pg_restore` reads this archive, as a version number.
fn needed(toc: &Toc) -> u32 {
    match toc.version.1 {
        ..=13 => 110_000,
        14 => 120_000,
        15 => 160_000,
        _ => 170_000,
    }
}

fn damaged(e: &io::Error) -> Error {
    let kind = if e.kind() == io::ErrorKind::InvalidData { Kind::Data } else { Kind::Lost };
    let mend = "verify the backup; the database that was restored into is incomplete";
    Error::new(kind, "read the backup", e.to_string(), mend)
}

fn panicked(e: &JoinError) -> Error {
    Error::new(Kind::Data, "read the backup", e.to_string(), "report this: it is a fault here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_statement_names_its_table_and_gets_the_archives_encoding() {
        let table = [
            ("COPY public.t (id, v) FROM stdin;\n", "public.t"),
            (
                "COPY \"Odd (x) \"\"y\"\"\".\"a.b\" (\"FROM\") FROM stdin;\n",
                "\"Odd (x) \"\"y\"\"\".\"a.b\"",
            ),
            ("COPY t  FROM stdin;\n", "t"),
        ];
        for (statement, expected) in table {
            let (name, copy) = copy_from(statement, "LATIN1").expect("a COPY statement");
            assert_eq!(name, expected);
            assert!(copy.ends_with("FROM STDIN WITH (ENCODING 'LATIN1')"), "{copy}");
        }
        assert_eq!(copy_from("SELECT 1;", "UTF8"), None);
    }
}
