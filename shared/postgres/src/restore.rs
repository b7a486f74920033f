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

pub use examine::{DumpContents, examine_dump, examine_head};
pub use loss::{RestoreWarning, RestoreWarningKind};

pub(crate) use archive::{ArchiveBlock, read_archive};
pub(crate) use lexer::{ScriptItem, SqlLexer};
pub(crate) use loss::is_recoverable;

use crate::{
    ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind, TableCounts,
    dump::display_name,
    toc::{CompressionAlgorithm, Toc, TocEntry},
    tools::ClientTools,
};
use bytes::Bytes;
use definitions::{DefinitionPhase, DefinitionRestorer};
use parse::BlockFilter;
use serde::{Deserialize, Serialize};
use source::{ChunkReader, DataBlockReader};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};
use stock::PgRestoreProcess;
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc,
    task::{JoinError, JoinHandle, spawn_blocking},
};

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
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
    /// for it, by their names alone; what only a superuser can make is left out and told in [`RestoreSummary::untested`].
    pub test_admin: Option<ConnectionConfig>,
    /// How long a COPY waits for its next rows before the restore ends: while it waits, PostgreSQL drops no database.
    pub stall_timeout: Duration,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            jobs: 1,
            tables: Vec::new(),
            owners: true,
            privileges: true,
            test_admin: None,
            stall_timeout: Duration::from_mins(5),
        }
    }
}

/// What a stream holds, after decryption and decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PgDumpFormat {
    /// A custom-format archive of `pg_dump -Fc`.
    Custom,
    /// SQL of `pg_dump -Fp`.
    Plain,
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSummary {
    /// What could not be restored, in order.
    pub warnings: Vec<RestoreWarning>,
    /// The rows that were loaded, table by table.
    pub tables: Vec<TableCounts>,
    /// What a test left out because it takes a superuser.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped_objects: Vec<String>,
}

/// Restores a stream into an existing database, which should be empty: nothing is dropped before.
///
/// # Errors
/// A connection that can't be made or is lost, a stream that is cut or damaged ([`PostgresErrorKind::Data`], [`PostgresErrorKind::Lost`]), no
/// fitting `pg_restore`, a chosen table that is not there. What the server refuses is no error but a [`Loss`].
pub async fn restore_stream(
    server: &ConnectionConfig,
    database: &str,
    format: PgDumpFormat,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &RestoreOptions,
) -> Result<RestoreSummary, PostgresError> {
    match format {
        PgDumpFormat::Custom => restore_custom(server, database, source, how).await,
        PgDumpFormat::Plain if !how.tables.is_empty() => Err(PostgresError::new(
            PostgresErrorKind::Refused,
            "restore chosen tables",
            "plain SQL can't be taken apart by table",
            "restore the whole into a new database and copy the tables from there",
        )),
        PgDumpFormat::Plain => plain::restore_plain(server, database, source, how).await,
    }
}

async fn restore_custom(
    server: &ConnectionConfig,
    database: &str,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &RestoreOptions,
) -> Result<RestoreSummary, PostgresError> {
    let read = spawn_blocking(move || {
        let mut source = ChunkReader::new(source);
        Toc::read(&mut source).map(|toc| (toc, source))
    });
    let (mut toc, source) = read.await.map_err(|e| task_panic_error(&e))??;
    let session = server.connect(database).await?;
    let readable = toc.decode_texts(&session).await?;
    // What runs is judged as it runs: in the encoding of the session.
    judge::check_toc(&toc)?;
    let mut chosen = match &how.tables[..] {
        [] => None,
        names => Some(chosen::select_entries(&toc, names)?),
    };
    let mut untested = Vec::new();
    if let Some(admin) = &how.test_admin {
        let sandbox = sandbox::TestSandbox::connect_admin(admin, database, &server.user).await?;
        let made = sandbox.create_extensions(&toc).await?;
        sandbox.create_wrappers(&toc).await;
        let (kept, left_out) = sandbox::TestSandbox::testable_entries(&toc, chosen.as_ref(), &made);
        (chosen, untested) = (Some(kept), left_out);
    }
    let sql = examine::sql_blocks(&toc)?;
    if !readable && !sql.is_empty() {
        return Err(PostgresError::new(
            PostgresErrorKind::Refused,
            "judge the statements of the backup",
            format!(
                "its rows are INSERT statements in {}, which only pg_restore can read",
                toc.encoding()
            ),
            "dump it again without --inserts, or restore it by hand into a server of its own",
        ));
    }
    let tables = if readable { loadable_tables(&toc, chosen.as_ref(), &sql) } else { None };
    let Some(tables) = tables else {
        let part = chosen.as_ref();
        let all =
            restore_via_pg_restore(server, database, &session, &toc, readable, source, part, how)
                .await?;
        return Ok(RestoreSummary { skipped_objects: untested, ..all });
    };
    let definitions = DefinitionRestorer::new(server, database, how, &toc, &session).await?;
    let wanted = |id: i32| chosen.as_ref().is_none_or(|c| c.contains(&id));

    let losses = definitions.run_phase(DefinitionPhase::Before, wanted).await?;
    let mut restored =
        RestoreSummary { warnings: losses, skipped_objects: untested, ..RestoreSummary::default() };
    let objects = definitions::large_object_entries(&toc);
    let made = |id: i32| wanted(id) && objects.contains(&id);
    restored.warnings.extend(definitions.run_phase(DefinitionPhase::Values, made).await?);
    let (ready, finished) = mpsc::unbounded_channel();
    let ready = (how.jobs > 1).then_some(ready);
    let lane = early::IndexWorker::default();
    let load = async {
        let chosen = chosen.as_ref();
        let loaded =
            load_rows(server, database, session, &toc, tables, source, chosen, how, ready, &sql)
                .await?;
        // What the lane is at goes on beside this.
        let (done, held) = (lane.finished_entries(), lane.blocked_entries(&toc));
        let values = definitions::sequence_value_entries(&toc);
        let set = |id: i32| wanted(id) && values.contains(&id);
        let mut losses = definitions.run_phase(DefinitionPhase::Values, set).await?;
        let now = |id: i32| wanted(id) && !done.contains(&id) && !held.contains(&id);
        losses.extend(definitions.run_phase(DefinitionPhase::After, now).await?);
        Ok((loaded, losses, held))
    };
    let (loaded, early) =
        tokio::try_join!(load, lane.build_indexes(&definitions, &toc, chosen.as_ref(), finished))?;
    let (loaded, after, held) = loaded;
    let done = lane.finished_entries();
    let rest = |id: i32| wanted(id) && held.contains(&id) && !done.contains(&id);
    let rest = definitions.run_phase(DefinitionPhase::After, rest).await?;
    restored.tables = loaded.tables;
    for losses in [loaded.warnings, early, after, rest, definitions.tablespace_warnings()] {
        restored.warnings.extend(losses);
    }
    Ok(restored)
}

/// Reads the blocks in a thread and loads them.
#[expect(clippy::too_many_arguments, reason = "the parts of one restore, used here only")]
async fn load_rows(
    server: &ConnectionConfig,
    database: &str,
    first: PgConnection,
    toc: &Toc,
    tables: HashMap<i32, Arc<load::TableLoad>>,
    source: ChunkReader,
    chosen: Option<&HashSet<i32>>,
    how: &RestoreOptions,
    ready: Option<mpsc::UnboundedSender<early::LoadedTable>>,
    sql: &HashSet<i32>,
) -> Result<load::LoadSummary, PostgresError> {
    let target = load::LoadTarget {
        server,
        database,
        encoding: toc.encoding(),
        stall_timeout: how.stall_timeout,
    };
    configure_session(&first).await?;
    let mut sessions = vec![first];
    while sessions.len() < how.jobs.max(1) {
        sessions.push(target.connect_configured().await?);
    }
    let with_data = toc.entries.iter().filter(|e| e.has_data).map(|e| e.dump_id);
    let objects = toc.entries.iter().filter(|e| e.desc == "BLOBS").map(|e| e.dump_id);
    let objects: HashSet<i32> =
        objects.filter(|id| chosen.is_none_or(|c| c.contains(id))).collect();
    let (load, skip) = with_data.partition(|id| tables.contains_key(id) || objects.contains(id));
    let sql = sql.clone();
    let wanted =
        BlockFilter { load, skip, sql, zlib: toc.compression == CompressionAlgorithm::Zlib };
    let blocks = DataBlockReader::new(source, toc.int_size);
    // A part is about 1 MiB: one is being cut, one waits here, two wait at each connection.
    let (give, take) = mpsc::channel(1);
    let parser = spawn_blocking(move || parse::parse_blocks(blocks, wanted, &give));
    let loaded = load::load_tables(target, sessions, &tables, take, ready).await;
    join_reader(parser, loaded).await
}

/// What came of a thread that reads, and of who takes what it reads.
async fn join_reader<T>(
    reader: JoinHandle<io::Result<()>>,
    taken: Result<T, PostgresError>,
) -> Result<T, PostgresError> {
    let read = if taken.is_err() {
        // It may wait for a stream that moves no more.
        match tokio::time::timeout(Duration::from_secs(1), reader).await {
            Ok(read) => read,
            Err(_) => return taken,
        }
    } else {
        reader.await
    };
    match read.map_err(|e| task_panic_error(&e))? {
        // Nobody took any more: their own error says why.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe && taken.is_err() => taken,
        Err(e) => Err(read_error(&e)),
        Ok(()) => taken,
    }
}

/// What `pg_restore` sets for its own session, as far as it matters to rows.
async fn configure_session(session: &PgConnection) -> Result<(), PostgresError> {
    let set = "SET search_path = ''; SET row_security = off; SET check_function_bodies = false; \
               SET xmloption = content; SET client_min_messages = warning";
    session.batch_execute(set).await.map_err(|e| PostgresError::from_pg("set up a connection", &e))
}

/// The tables whose rows are loaded here, by their data entry; `None` when there are blocks that we can't load.
fn loadable_tables(
    toc: &Toc,
    chosen: Option<&HashSet<i32>>,
    sql: &HashSet<i32>,
) -> Option<HashMap<i32, Arc<load::TableLoad>>> {
    if matches!(toc.compression, CompressionAlgorithm::Lz4 | CompressionAlgorithm::Zstd) {
        return None;
    }
    let mut tables = HashMap::new();
    for entry in toc.entries.iter().filter(|e| e.has_data && e.desc != "BLOBS") {
        let copy = if sql.contains(&entry.dump_id) {
            load::TableLoad::new(entry.dump_id, qualified_name(entry), String::new())
        } else {
            copy_load_for_entry(toc, entry)?
        };
        if chosen.is_none_or(|c| c.contains(&entry.dump_id)) {
            tables.insert(entry.dump_id, Arc::new(copy));
        }
    }
    Some(tables)
}

/// The table of an entry as SQL names it.
fn qualified_name(entry: &TocEntry) -> String {
    match &entry.namespace {
        Some(schema) => {
            format!("{}.{}", crate::quote_ident(schema), crate::quote_ident(&entry.tag))
        }
        None => crate::quote_ident(&entry.tag),
    }
}

/// The statement that loads an entry's rows.
fn copy_load_for_entry(toc: &Toc, entry: &TocEntry) -> Option<load::TableLoad> {
    let (name, copy) = parse_copy_from(entry.copy_stmt.as_deref()?, toc.encoding())?;
    Some(load::TableLoad::new(entry.dump_id, name, copy))
}

/// Text of an archive in UTF-8; the server knows every encoding that an archive can be in.
async fn decode_text(
    session: &PgConnection,
    bytes: &[u8],
    encoding: &str,
) -> Result<String, PostgresError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || ["UTF8", "SQL_ASCII"].contains(&encoding) => {
            return Ok(text.to_string());
        }
        _ => {}
    }
    let doing = || format!("read a statement in the encoding {encoding}");
    let sql = "SELECT pg_catalog.convert_from($1, $2::pg_catalog.text::pg_catalog.name)";
    let row = session.query_one(sql, &[&bytes, &encoding]).await;
    row.and_then(|row| row.try_get(0)).map_err(|e| PostgresError::from_pg(doing(), &e))
}

/// A table's name and the statement that takes its text in the archive's encoding, from
/// `COPY schema.table (columns) FROM stdin;`.
fn parse_copy_from(statement: &str, encoding: &str) -> Option<(String, String)> {
    let body = statement.trim_end().strip_suffix(';')?;
    let from = "FROM stdin";
    let head = body.strip_suffix(from).or_else(|| body.strip_suffix("FROM STDIN"))?;
    let name = lexer::leading_name(head.strip_prefix("COPY ")?);
    let encoding = crate::quote_literal(encoding);
    Some((name.to_string(), format!("{head}FROM STDIN WITH (ENCODING {encoding})")))
}

/// The whole stream through `pg_restore`: one connection, as slow as it is, but it knows every kind of block.
#[expect(clippy::too_many_arguments, reason = "the parts of one restore, used here only")]
async fn restore_via_pg_restore(
    server: &ConnectionConfig,
    database: &str,
    session: &PgConnection,
    toc: &Toc,
    decoded: bool,
    mut source: ChunkReader,
    chosen: Option<&HashSet<i32>>,
    how: &RestoreOptions,
) -> Result<RestoreSummary, PostgresError> {
    let tools =
        ClientTools::find_for_server(server, session.version_num.max(min_pg_restore_version(toc)))?;
    let list = chosen.map(|chosen| stock::use_list_content(toc, |id| chosen.contains(&id)));
    let list = list.map(|text| stock::temp_file_with(text.as_bytes())).transpose()?;
    let mut running =
        PgRestoreProcess::spawn(server, database, &tools.pg_restore, how, list.as_ref())?;
    let stdin = running.stdin.take();
    let (give, mut take) = mpsc::channel::<Bytes>(4);
    let reader = spawn_blocking(move || {
        loop {
            let bytes = source.read_available(1 << 20)?;
            if bytes.is_empty() || give.blocking_send(bytes).is_err() {
                return io::Result::Ok(());
            }
        }
    });
    let write = async {
        let Some(mut stdin) = stdin else { return io::Result::Ok(()) };
        stdin.write_all(&toc.raw).await?;
        loop {
            let next = tokio::time::timeout(how.stall_timeout, take.recv()).await;
            let Some(bytes) = next.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? else {
                return stdin.shutdown().await;
            };
            stdin.write_all(&bytes).await?;
        }
    };
    // A failed write means that pg_restore ended; what it said is the reason.
    let (written, losses) = tokio::join!(write, running.wait_with_warnings(toc));
    drop(take);
    if written.is_err_and(|e| e.kind() == io::ErrorKind::TimedOut) {
        return Err(load::stalled_error(how.stall_timeout));
    }
    reader.await.map_err(|e| task_panic_error(&e))?.map_err(|e| read_error(&e))?;
    // A connection that went away with pg_restore's was the server's fault.
    let alive = session.simple_query("").await;
    alive.map_err(|e| PostgresError::from_pg("restore the archive by pg_restore", &e))?;
    let mut restored = RestoreSummary { warnings: losses?, ..RestoreSummary::default() };
    let names: Vec<String> = (toc.entries.iter())
        .filter(|e| e.desc == "TABLE DATA" && chosen.is_none_or(|c| c.contains(&e.dump_id)))
        .map(|e| match toc.table_name(e) {
            Some(name) if !decoded => display_name(name),
            _ => qualified_name(e),
        })
        .collect();
    restored.tables = crate::database::count_rows(server, database, &names, how.jobs).await?;
    Ok(restored)
}

/// The oldest PostgreSQL whose `pg_restore` reads this archive, as a version number.
fn min_pg_restore_version(toc: &Toc) -> u32 {
    match toc.version.1 {
        ..=13 => 110_000,
        14 => 120_000,
        15 => 160_000,
        _ => 170_000,
    }
}

fn read_error(e: &io::Error) -> PostgresError {
    let kind = match e.kind() {
        io::ErrorKind::InvalidData => PostgresErrorKind::Data,
        io::ErrorKind::PermissionDenied => return judge::refused_error(e.to_string()),
        _ => PostgresErrorKind::Lost,
    };
    let hint = "verify the backup; the database that was restored into is incomplete";
    PostgresError::new(kind, "read the backup", e.to_string(), hint)
}

fn task_panic_error(e: &JoinError) -> PostgresError {
    PostgresError::new(
        PostgresErrorKind::Data,
        "read the backup",
        e.to_string(),
        "report this: it is a fault here",
    )
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
            let (name, copy) = parse_copy_from(statement, "LATIN1").expect("a COPY statement");
            assert_eq!(name, expected);
            assert!(copy.ends_with("FROM STDIN WITH (ENCODING 'LATIN1')"), "{copy}");
        }
        assert_eq!(parse_copy_from("SELECT 1;", "UTF8"), None);
    }
}
