//! Plain SQL: read statement by statement, run on one connection.
//!
//! `psql` is not used: what it does on a failed COPY is to take the rows for SQL, and its backslash commands run programs.
//! Here rows never become statements, and each refusal has its statement and its SQLSTATE.

use super::{
    RestoreOptions, RestoreSummary, decode_text, join_reader, judge,
    lexer::{ScriptItem, SqlLexer},
    load::stalled_error,
    loss::{RestoreWarning, is_recoverable},
    parse_copy_from,
    sandbox::{TestSandbox, parse_create_extension, parse_wrapper_name},
    source::ChunkReader,
};
use crate::{ConnectionConfig, PgConnection, PostgresError, TableCounts};
use bytes::Bytes;
use futures_util::{
    SinkExt,
    future::{MaybeDone, maybe_done},
};
use std::{collections::VecDeque, future::poll_fn, io, pin::Pin, task::Poll};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_postgres::CopyInSink;

/// Statements that are sent before the answer to the first one is there: dumps of `--inserts` have one a row.
const MAX_PENDING_STATEMENTS: usize = 64;

/// Bytes of them.
const MAX_PENDING_BYTES: usize = 16 << 20;

/// Restores a plain dump.
pub(super) async fn restore_plain(
    server: &ConnectionConfig,
    database: &str,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &RestoreOptions,
) -> Result<RestoreSummary, PostgresError> {
    let session = server.connect(database).await?;
    let sandbox = match &how.test_admin {
        Some(admin) => Some(TestSandbox::connect_admin(admin, database, &server.user).await?),
        None => None,
    };
    let (give, take) = mpsc::channel(4);
    let reader = spawn_blocking(move || read_items(source, &give));
    let ran = run_items(server, database, session, take, how, sandbox).await;
    join_reader(reader, ran).await
}

fn read_items(
    source: mpsc::Receiver<io::Result<Bytes>>,
    give: &mpsc::Sender<ScriptItem>,
) -> io::Result<()> {
    let mut source = ChunkReader::new(source);
    let mut lexer = SqlLexer::default();
    let mut out =
        |item| give.blocking_send(item).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    loop {
        let bytes = source.read_available(1 << 18)?;
        if bytes.is_empty() {
            return lexer.finish(&mut out);
        }
        lexer.push(&bytes, &mut out)?;
    }
}

async fn run_items(
    server: &ConnectionConfig,
    database: &str,
    mut session: PgConnection,
    mut from: mpsc::Receiver<ScriptItem>,
    how: &RestoreOptions,
    sandbox: Option<TestSandbox>,
) -> Result<RestoreSummary, PostgresError> {
    let mut done = RestoreSummary::default();
    let mut encoding = "UTF8".to_string();
    // What a new connection must be told before it can take the place of one that is out of step.
    let mut settings = Vec::new();
    let mut copying: Option<StatementCopyIn> = None;
    loop {
        let mut waiting = VecDeque::new();
        let mut bytes = 0;
        let ended = loop {
            let next = if copying.as_ref().is_some_and(|c| c.sink.is_some()) {
                timeout(how.stall_timeout, from.recv())
                    .await
                    .map_err(|_| stalled_error(how.stall_timeout))?
            } else {
                from.recv().await
            };
            let Some(item) = next else { break None };
            match item {
                ScriptItem::Statement(text) => {
                    let text = decode_text(&session, &text, &encoding).await?;
                    if let Some(why) = judge::refusal_reason(&text) {
                        return Err(judge::refused_error(why));
                    }
                    if let Some(other) = judge::encoding(&text) {
                        encoding = other; // the session itself stays in UTF-8
                        continue;
                    }
                    if is_filtered_out(&text, how) {
                        continue;
                    }
                    if let Some(sandbox) = &sandbox {
                        if judge::superuser_object_kind(&text).is_some() {
                            done.skipped_objects.extend(untested_object(&text));
                            if let Some(name) = parse_wrapper_name(&text) {
                                await_results(&mut waiting, 0, &mut done).await?;
                                sandbox.create_wrapper(&name).await;
                            }
                            continue;
                        }
                        if let Some((name, schema)) = parse_create_extension(&text) {
                            await_results(&mut waiting, 0, &mut done).await?;
                            sandbox.create_extension(&name, schema.as_deref()).await?;
                        }
                    }
                    if judge::is_setting(&text) {
                        settings.push(text.clone());
                    }
                    bytes += text.len();
                    let mut sent = Box::pin(maybe_done(execute_statement(&session, text)));
                    poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx).is_ready())).await; // sends it
                    waiting.push_back(sent);
                    if waiting.len() >= MAX_PENDING_STATEMENTS || bytes >= MAX_PENDING_BYTES {
                        let left =
                            if bytes >= MAX_PENDING_BYTES { 0 } else { MAX_PENDING_STATEMENTS / 2 };
                        await_results(&mut waiting, left, &mut done).await?;
                        bytes = 0;
                    }
                }
                ScriptItem::Copy(text) => {
                    await_results(&mut waiting, 0, &mut done).await?;
                    let text = decode_text(&session, &text, &encoding).await?;
                    let begun = begin_copy(&session, &text, &encoding, &mut done).await?;
                    let lost = begun.sink.is_none();
                    copying = Some(begun);
                    if lost {
                        break Some(());
                    }
                }
                ScriptItem::Data(bytes) => {
                    if let Some(StatementCopyIn { sink: Some(sink), rows, .. }) = &mut copying {
                        rows.bytes += bytes.len() as u64;
                        // A failure's reason is the answer to the whole COPY.
                        let _ = sink.send(bytes).await;
                    }
                }
                ScriptItem::End => {
                    if let Some(copying) = copying.take() {
                        finish_copy(copying, &mut done).await?;
                    }
                }
            }
        };
        await_results(&mut waiting, 0, &mut done).await?;
        drop(waiting);
        if ended.is_none() {
            return Ok(done);
        }
        // A COPY that could not start leaves its connection out of step: every later answer would be of the statement
        // before it.
        session = server.connect(database).await?;
        for setting in &settings {
            match session.query_typed(setting, &[]).await {
                Err(e) if !is_recoverable(&e) => {
                    return Err(PostgresError::from_pg("set up a connection", &e));
                }
                // One that the server refuses was told when it was first run.
                Err(_) | Ok(_) => {}
            }
        }
    }
}

/// What a statement that a test leaves out makes: the kind and the name.
fn untested_object(statement: &str) -> Option<String> {
    let first: Vec<&str> = statement.split_whitespace().take(4).collect();
    statement.starts_with("CREATE ").then(|| first[1..].join(" "))
}

/// Whether a statement sets an owner or a grant that is not asked for.
fn is_filtered_out(statement: &str, how: &RestoreOptions) -> bool {
    let begins = |words: &[&str]| words.iter().any(|w| statement.starts_with(w));
    let grant = begins(&["GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES "]);
    // The last words of pg_dump's own line: a function's body may have them, but not as ALTER's end.
    let owner = begins(&["ALTER "])
        && statement.rfind(" OWNER TO ").is_some_and(|at| !statement[at..].contains('\n'));
    (grant && !how.privileges) || (owner && !how.owners)
}

async fn execute_statement(
    session: &PgConnection,
    text: String,
) -> (String, Result<(), tokio_postgres::Error>) {
    // The extended protocol takes one statement at a time, whatever a text has in it.
    let answer = session.query_typed(&text, &[]).await.map(drop);
    (text, answer)
}

/// Takes answers until at most `left` statements wait for theirs.
async fn await_results<F>(
    waiting: &mut VecDeque<Pin<Box<MaybeDone<F>>>>,
    left: usize,
    done: &mut RestoreSummary,
) -> Result<(), PostgresError>
where
    F: Future<Output = (String, Result<(), tokio_postgres::Error>)>,
{
    while waiting.len() > left {
        let Some(mut sent) = waiting.pop_front() else { break };
        sent.as_mut().await;
        let Some((text, answer)) = sent.as_mut().take_output() else { continue };
        let Err(e) = answer else { continue };
        if !is_recoverable(&e) {
            return Err(PostgresError::from_pg("run a statement of the dump", &e));
        }
        // A setting that newer versions of pg_dump set and this server does not know.
        let unknown = e.code().is_some_and(|c| c.code() == "42704");
        if !(unknown && text.starts_with("SET ")) {
            done.warnings.push(RestoreWarning::from_statement_error(&e, &text));
        }
    }
    Ok(())
}

struct StatementCopyIn {
    statement: String,
    rows: TableCounts,
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
}

async fn begin_copy(
    session: &PgConnection,
    text: &str,
    encoding: &str,
    done: &mut RestoreSummary,
) -> Result<StatementCopyIn, PostgresError> {
    let found =
        judge::is_copy_of_rows(text).then(|| parse_copy_from(&format!("{text};"), encoding));
    let Some((table, statement)) = found.flatten() else {
        return Err(judge::refused_error("it has a COPY that is not of rows in the file"));
    };
    let rows = TableCounts { name: table, rows: 0, bytes: 0 };
    let mut copying = StatementCopyIn { statement, rows, sink: None };
    match session.copy_in(copying.statement.as_str()).await {
        Ok(sink) => copying.sink = Some(Box::pin(sink)),
        Err(e) => record_warning(&e, &copying, done)?,
    }
    Ok(copying)
}

async fn finish_copy(
    mut copying: StatementCopyIn,
    done: &mut RestoreSummary,
) -> Result<(), PostgresError> {
    if let Some(mut sink) = copying.sink.take() {
        match sink.as_mut().finish().await {
            Ok(rows) => copying.rows.rows = rows,
            Err(e) => record_warning(&e, &copying, done)?,
        }
    }
    done.tables.push(copying.rows);
    Ok(())
}

fn record_warning(
    e: &tokio_postgres::Error,
    copying: &StatementCopyIn,
    done: &mut RestoreSummary,
) -> Result<(), PostgresError> {
    if !is_recoverable(e) {
        return Err(PostgresError::from_pg(format!("load {}", copying.rows.name), e));
    }
    done.warnings.push(RestoreWarning::from_data_error(e, &copying.statement));
    Ok(())
}
