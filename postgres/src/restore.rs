//! Archives into databases, from a stream, with constant memory and over several connections.
//!
//! A custom-format archive: what comes before and after the rows is run entry by entry (`definitions`), and rows and
//! large objects are loaded here ([`load`]). Blocks that are not COPY text or zlib go to `pg_restore` as a whole. Plain
//! SQL is read statement by statement ([`plain`]). What the server refuses becomes a [`Loss`] and the restore goes on;
//! a stream that is cut or damaged is an [`Error`], and then the database is worth nothing.

mod archive;
mod chosen;
mod definitions;
mod early;
mod examine;
mod judge;
mod lexer;
mod load;
mod loss;
#[cfg(feature = "model")]
pub mod model;
mod objects;
mod parse;
mod plain;
mod rows;
#[cfg(test)]
mod sample;
mod sandbox;
mod source;
mod stock;

pub use examine::{Contents, examine, head};
pub use loss::{Loss, LossClass};

pub(crate) use archive::{Block, read_archive};
pub(crate) use lexer::{Item, Lexer};
pub(crate) use loss::bearable;

use crate::{
    Error, Kind, Server, Session, TableRows,
    dump::shown,
    toc::{Entry, Packing, Toc},
    tools::Tools,
};
use bytes::Bytes;
use definitions::{Definitions, Run};
use parse::Wanted;
use serde::{Deserialize, Serialize};
use source::{Blocks, Source};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};
use stock::Whole;
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc,
    task::{JoinError, JoinHandle, spawn_blocking},
};

/// How to restore.
#[derive(Clone, Debug)]
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
    /// The administrator of the server, of a test: then the role that restores is no superuser. Extensions are created
    /// for it, by their names alone; what only a superuser can make is left out and told in [`Restored::untested`].
    pub test: Option<Server>,
    /// How long a COPY waits for its next rows before the restore ends: while it waits, PostgreSQL drops no database.
    pub stall: Duration,
}

impl Default for Into {
    fn default() -> Self {
        Self {
            jobs: 1,
            tables: Vec::new(),
            owners: true,
            privileges: true,
            test: None,
            stall: Duration::from_mins(5),
        }
    }
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
    /// What a test left out because it takes a superuser.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untested: Vec<String>,
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
    let (mut toc, source) = read.await.map_err(|e| panicked(&e))??;
    let session = server.connect(database).await?;
    let readable = toc.decode(&session).await?;
    // What runs is judged as it runs: in the encoding of the session.
    judge::toc(&toc)?;
    let mut chosen = match &how.tables[..] {
        [] => None,
        names => Some(chosen::choose(&toc, names)?),
    };
    let mut untested = Vec::new();
    if let Some(admin) = &how.test {
        let sandbox = sandbox::Sandbox::open(admin, database, &server.user).await?;
        let made = sandbox.extensions(&toc).await?;
        sandbox.wrappers(&toc).await;
        let (kept, left_out) = sandbox::Sandbox::testable(&toc, chosen.as_ref(), &made);
        (chosen, untested) = (Some(kept), left_out);
    }
    let sql = examine::sql_blocks(&toc)?;
    if !readable && !sql.is_empty() {
        return Err(Error::new(
            Kind::Refused,
            "judge the statements of the backup",
            format!(
                "its rows are INSERT statements in {}, which only pg_restore can read",
                toc.encoding()
            ),
            "dump it again without --inserts, or restore it by hand into a server of its own",
        ));
    }
    let tables = if readable { tables(&toc, chosen.as_ref(), &sql) } else { None };
    let Some(tables) = tables else {
        let part = chosen.as_ref();
        let all = whole(server, database, &session, &toc, readable, source, part, how).await?;
        return Ok(Restored { untested, ..all });
    };
    let definitions = Definitions::new(server, database, how, &toc, &session).await?;
    let wanted = |id: i32| chosen.as_ref().is_none_or(|c| c.contains(&id));

    let losses = definitions.run(Run::Before, wanted).await?;
    let mut restored = Restored { losses, untested, ..Restored::default() };
    let objects = definitions::large_objects(&toc);
    let made = |id: i32| wanted(id) && objects.contains(&id);
    restored.losses.extend(definitions.run(Run::Values, made).await?);
    let (ready, finished) = mpsc::unbounded_channel();
    let ready = (how.jobs > 1).then_some(ready);
    let lane = early::Lane::default();
    let load = async {
        let chosen = chosen.as_ref();
        let loaded =
            rows(server, database, session, &toc, tables, source, chosen, how, ready, &sql).await?;
        // What the lane is at goes on beside this.
        let (done, held) = (lane.done(), lane.held(&toc));
        let values = definitions::values(&toc);
        let set = |id: i32| wanted(id) && values.contains(&id);
        let mut losses = definitions.run(Run::Values, set).await?;
        let now = |id: i32| wanted(id) && !done.contains(&id) && !held.contains(&id);
        losses.extend(definitions.run(Run::After, now).await?);
        Ok((loaded, losses, held))
    };
    let (loaded, early) =
        tokio::try_join!(load, lane.run(&definitions, &toc, chosen.as_ref(), finished))?;
    let (loaded, after, held) = loaded;
    let done = lane.done();
    let rest = |id: i32| wanted(id) && held.contains(&id) && !done.contains(&id);
    let rest = definitions.run(Run::After, rest).await?;
    restored.tables = loaded.tables;
    for losses in [loaded.losses, early, after, rest, definitions.moved()] {
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
    sql: &HashSet<i32>,
) -> Result<load::Loaded, Error> {
    let target = load::Target { server, database, encoding: toc.encoding(), stall: how.stall };
    settle(&first).await?;
    let mut sessions = vec![first];
    while sessions.len() < how.jobs.max(1) {
        sessions.push(target.connect().await?);
    }
    let with_data = toc.entries.iter().filter(|e| e.has_data).map(|e| e.dump_id);
    let objects = toc.entries.iter().filter(|e| e.desc == "BLOBS").map(|e| e.dump_id);
    let objects: HashSet<i32> =
        objects.filter(|id| chosen.is_none_or(|c| c.contains(id))).collect();
    let (load, skip) = with_data.partition(|id| tables.contains_key(id) || objects.contains(id));
    let sql = sql.clone();
    let wanted = Wanted { load, skip, sql, zlib: toc.packing == Packing::Zlib };
    let blocks = Blocks::new(source, toc.int_size);
    // A part is about 1 MiB: one is being cut, one waits here, two wait at each connection.
    let (give, take) = mpsc::channel(1);
    let parser = spawn_blocking(move || parse::parse(blocks, wanted, &give));
    let loaded = load::load(target, sessions, &tables, take, ready).await;
    ended(parser, loaded).await
}

/// What came of a thread that reads, and of who takes what it reads.
async fn ended<T>(reader: JoinHandle<io::Result<()>>, taken: Result<T, Error>) -> Result<T, Error> {
    let read = if taken.is_err() {
        // It may wait for a stream that moves no more.
        match tokio::time::timeout(Duration::from_secs(1), reader).await {
            Ok(read) => read,
            Err(_) => return taken,
        }
    } else {
        reader.await
    };
    match read.map_err(|e| panicked(&e))? {
        // Nobody took any more: their own error says why.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe && taken.is_err() => taken,
        Err(e) => Err(damaged(&e)),
        Ok(()) => taken,
    }
}

/// What `pg_restore` sets for its own session, as far as it matters to rows.
async fn settle(session: &Session) -> Result<(), Error> {
    let set = "SET search_path = ''; SET row_security = off; SET check_function_bodies = false; \
               SET xmloption = content; SET client_min_messages = warning";
    session.batch_execute(set).await.map_err(|e| Error::from_pg("set up a connection", &e))
}

/// The tables whose rows are loaded here, by their data entry; `None` when there are blocks that we can't load.
fn tables(
    toc: &Toc,
    chosen: Option<&HashSet<i32>>,
    sql: &HashSet<i32>,
) -> Option<HashMap<i32, Arc<load::Table>>> {
    if matches!(toc.packing, Packing::Lz4 | Packing::Zstd) {
        return None;
    }
    let mut tables = HashMap::new();
    for entry in toc.entries.iter().filter(|e| e.has_data && e.desc != "BLOBS") {
        let copy = if sql.contains(&entry.dump_id) {
            load::Table::new(entry.dump_id, named(entry), String::new())
        } else {
            copy_of(toc, entry)?
        };
        if chosen.is_none_or(|c| c.contains(&entry.dump_id)) {
            tables.insert(entry.dump_id, Arc::new(copy));
        }
    }
    Some(tables)
}

/// The table of an entry as SQL names it.
fn named(entry: &Entry) -> String {
    match &entry.namespace {
        Some(schema) => format!("{}.{}", crate::quoted(schema), crate::quoted(&entry.tag)),
        None => crate::quoted(&entry.tag),
    }
}

/// The statement that loads an entry's rows.
fn copy_of(toc: &Toc, entry: &Entry) -> Option<load::Table> {
    let (name, copy) = copy_from(entry.copy_stmt.as_deref()?, toc.encoding())?;
    Some(load::Table::new(entry.dump_id, name, copy))
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
    session: &Session,
    toc: &Toc,
    decoded: bool,
    mut source: Source,
    chosen: Option<&HashSet<i32>>,
    how: &Into,
) -> Result<Restored, Error> {
    let tools = Tools::find(server, session.version_num.max(needed(toc)))?;
    let list = chosen.map(|chosen| stock::list(toc, |id| chosen.contains(&id)));
    let list = list.map(|text| stock::file(text.as_bytes())).transpose()?;
    let mut running = Whole::start(server, database, &tools.pg_restore, how, list.as_ref())?;
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
        loop {
            let next = tokio::time::timeout(how.stall, take.recv()).await;
            let Some(bytes) = next.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? else {
                return stdin.shutdown().await;
            };
            stdin.write_all(&bytes).await?;
        }
    };
    // A failed write means that pg_restore ended; what it said is the reason.
    let (written, losses) = tokio::join!(write, running.end(toc));
    drop(take);
    if written.is_err_and(|e| e.kind() == io::ErrorKind::TimedOut) {
        return Err(load::stalled(how.stall));
    }
    reader.await.map_err(|e| panicked(&e))?.map_err(|e| damaged(&e))?;
    // A connection that went away with pg_restore's was the server's fault.
    let alive = session.simple_query("").await;
    alive.map_err(|e| Error::from_pg("restore the archive by pg_restore", &e))?;
    let mut restored = Restored { losses: losses?, ..Restored::default() };
    let names: Vec<String> = (toc.entries.iter())
        .filter(|e| e.desc == "TABLE DATA" && chosen.is_none_or(|c| c.contains(&e.dump_id)))
        .map(|e| match toc.table_name(e) {
            Some(name) if !decoded => shown(name),
            _ => named(e),
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
    let kind = match e.kind() {
        io::ErrorKind::InvalidData => Kind::Data,
        io::ErrorKind::PermissionDenied => return judge::refused(e.to_string()),
        _ => Kind::Lost,
    };
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
