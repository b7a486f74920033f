//! Plain SQL: read statement by statement, run on one connection.
//!
//! `psql` is not used: what it does on a failed COPY is to take the rows for SQL, and its backslash commands run programs.
//! Here rows never become statements, and each refusal has its statement and its SQLSTATE.

use super::{
    Into, Restored, copy_from, ended, in_utf8, judge,
    lexer::{Item, Lexer},
    load::stalled,
    loss::{Loss, bearable},
    sandbox::{Sandbox, extension, wrapper},
    source::Source,
};
use crate::{Error, Server, Session, TableRows};
use bytes::Bytes;
use futures_util::{
    SinkExt,
    future::{MaybeDone, maybe_done},
};
use std::{collections::VecDeque, future::poll_fn, io, pin::Pin, task::Poll};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_postgres::CopyInSink;

/// Statements that are sent before the answer to the first one is there: dumps of `--inserts` have one a row.
const AHEAD: usize = 64;

/// Bytes of them.
const AHEAD_BYTES: usize = 16 << 20;

/// Restores a plain dump.
pub(super) async fn restore(
    server: &Server,
    database: &str,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &Into,
) -> Result<Restored, Error> {
    let session = server.connect(database).await?;
    let sandbox = match &how.test {
        Some(admin) => Some(Sandbox::open(admin, database, &server.user).await?),
        None => None,
    };
    let (give, take) = mpsc::channel(4);
    let reader = spawn_blocking(move || read(source, &give));
    let ran = run(server, database, session, take, how, sandbox).await;
    ended(reader, ran).await
}

fn read(source: mpsc::Receiver<io::Result<Bytes>>, give: &mpsc::Sender<Item>) -> io::Result<()> {
    let mut source = Source::new(source);
    let mut lexer = Lexer::default();
    let mut out =
        |item| give.blocking_send(item).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    loop {
        let bytes = source.some(1 << 18)?;
        if bytes.is_empty() {
            return lexer.end(&mut out);
        }
        lexer.push(&bytes, &mut out)?;
    }
}

async fn run(
    server: &Server,
    database: &str,
    mut session: Session,
    mut from: mpsc::Receiver<Item>,
    how: &Into,
    sandbox: Option<Sandbox>,
) -> Result<Restored, Error> {
    let mut done = Restored::default();
    let mut encoding = "UTF8".to_string();
    // What a new connection must be told before it can take the place of one that is out of step.
    let mut settings = Vec::new();
    let mut copying: Option<Copying> = None;
    loop {
        let mut waiting = VecDeque::new();
        let mut bytes = 0;
        let ended = loop {
            let next = if copying.as_ref().is_some_and(|c| c.sink.is_some()) {
                timeout(how.stall, from.recv()).await.map_err(|_| stalled(how.stall))?
            } else {
                from.recv().await
            };
            let Some(item) = next else { break None };
            match item {
                Item::Statement(text) => {
                    let text = in_utf8(&session, &text, &encoding).await?;
                    if let Some(why) = judge::refusal(&text) {
                        return Err(judge::refused(why));
                    }
                    if let Some(other) = judge::encoding(&text) {
                        encoding = other; // the session itself stays in UTF-8
                        continue;
                    }
                    if unwanted(&text, how) {
                        continue;
                    }
                    if let Some(sandbox) = &sandbox {
                        if judge::needs_superuser(&text).is_some() {
                            done.untested.extend(untested(&text));
                            if let Some(name) = wrapper(&text) {
                                answer(&mut waiting, 0, &mut done).await?;
                                sandbox.wrapper(&name).await;
                            }
                            continue;
                        }
                        if let Some((name, schema)) = extension(&text) {
                            answer(&mut waiting, 0, &mut done).await?;
                            sandbox.extension(&name, schema.as_deref()).await?;
                        }
                    }
                    if judge::is_setting(&text) {
                        settings.push(text.clone());
                    }
                    bytes += text.len();
                    let mut sent = Box::pin(maybe_done(execute(&session, text)));
                    poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx).is_ready())).await; // sends it
                    waiting.push_back(sent);
                    if waiting.len() >= AHEAD || bytes >= AHEAD_BYTES {
                        let left = if bytes >= AHEAD_BYTES { 0 } else { AHEAD / 2 };
                        answer(&mut waiting, left, &mut done).await?;
                        bytes = 0;
                    }
                }
                Item::Copy(text) => {
                    answer(&mut waiting, 0, &mut done).await?;
                    let text = in_utf8(&session, &text, &encoding).await?;
                    let begun = begin(&session, &text, &encoding, &mut done).await?;
                    let lost = begun.sink.is_none();
                    copying = Some(begun);
                    if lost {
                        break Some(());
                    }
                }
                Item::Data(bytes) => {
                    if let Some(Copying { sink: Some(sink), rows, .. }) = &mut copying {
                        rows.bytes += bytes.len() as u64;
                        // A failure's reason is the answer to the whole COPY.
                        let _ = sink.send(bytes).await;
                    }
                }
                Item::End => {
                    if let Some(copying) = copying.take() {
                        end(copying, &mut done).await?;
                    }
                }
            }
        };
        answer(&mut waiting, 0, &mut done).await?;
        drop(waiting);
        if ended.is_none() {
            return Ok(done);
        }
        // A COPY that could not start leaves its connection out of step: every later answer would be of the statement
        // before it.
        session = server.connect(database).await?;
        for setting in &settings {
            match session.query_typed(setting, &[]).await {
                Err(e) if !bearable(&e) => {
                    return Err(Error::from_pg("set up a connection", &e));
                }
                // One that the server refuses was told when it was first run.
                Err(_) | Ok(_) => {}
            }
        }
    }
}

/// What a statement that a test leaves out makes: the kind and the name.
fn untested(statement: &str) -> Option<String> {
    let first: Vec<&str> = statement.split_whitespace().take(4).collect();
    statement.starts_with("CREATE ").then(|| first[1..].join(" "))
}

/// Whether a statement sets an owner or a grant that is not asked for.
fn unwanted(statement: &str, how: &Into) -> bool {
    let begins = |words: &[&str]| words.iter().any(|w| statement.starts_with(w));
    let grant = begins(&["GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES "]);
    // The last words of pg_dump's own line: a function's body may have them, but not as ALTER's end.
    let owner = begins(&["ALTER "])
        && statement.rfind(" OWNER TO ").is_some_and(|at| !statement[at..].contains('\n'));
    (grant && !how.privileges) || (owner && !how.owners)
}

async fn execute(session: &Session, text: String) -> (String, Result<(), tokio_postgres::Error>) {
    // The extended protocol takes one statement at a time, whatever a text has in it.
    let answer = session.query_typed(&text, &[]).await.map(drop);
    (text, answer)
}

/// Takes answers until at most `left` statements wait for theirs.
async fn answer<F>(
    waiting: &mut VecDeque<Pin<Box<MaybeDone<F>>>>,
    left: usize,
    done: &mut Restored,
) -> Result<(), Error>
where
    F: Future<Output = (String, Result<(), tokio_postgres::Error>)>,
{
    while waiting.len() > left {
        let Some(mut sent) = waiting.pop_front() else { break };
        sent.as_mut().await;
        let Some((text, answer)) = sent.as_mut().take_output() else { continue };
        let Err(e) = answer else { continue };
        if !bearable(&e) {
            return Err(Error::from_pg("run a statement of the dump", &e));
        }
        // A setting that newer versions of pg_dump set and this server does not know.
        let unknown = e.code().is_some_and(|c| c.code() == "42704");
        if !(unknown && text.starts_with("SET ")) {
            done.losses.push(Loss::of(&e, &text));
        }
    }
    Ok(())
}

struct Copying {
    statement: String,
    rows: TableRows,
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
}

async fn begin(
    session: &Session,
    text: &str,
    encoding: &str,
    done: &mut Restored,
) -> Result<Copying, Error> {
    let found = judge::is_copy_of_rows(text).then(|| copy_from(&format!("{text};"), encoding));
    let Some((table, statement)) = found.flatten() else {
        return Err(judge::refused("it has a COPY that is not of rows in the file"));
    };
    let rows = TableRows { name: table, rows: 0, bytes: 0 };
    let mut copying = Copying { statement, rows, sink: None };
    match session.copy_in(copying.statement.as_str()).await {
        Ok(sink) => copying.sink = Some(Box::pin(sink)),
        Err(e) => lost(&e, &copying, done)?,
    }
    Ok(copying)
}

async fn end(mut copying: Copying, done: &mut Restored) -> Result<(), Error> {
    if let Some(mut sink) = copying.sink.take() {
        match sink.as_mut().finish().await {
            Ok(rows) => copying.rows.rows = rows,
            Err(e) => lost(&e, &copying, done)?,
        }
    }
    done.tables.push(copying.rows);
    Ok(())
}

fn lost(e: &tokio_postgres::Error, copying: &Copying, done: &mut Restored) -> Result<(), Error> {
    if !bearable(e) {
        return Err(Error::from_pg(format!("load {}", copying.rows.name), e));
    }
    done.losses.push(Loss::of_data(e, &copying.statement));
    Ok(())
}
