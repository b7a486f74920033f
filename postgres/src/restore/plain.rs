//! Plain SQL: read statement by statement, run on one connection.
//!
//! `psql` is not used: what it does on a failed COPY is to take the rows for SQL, and its backslash commands run programs.
//! Here rows never become statements, and each refusal has its statement and its SQLSTATE.

use super::{
    Into, Restored, copy_from, damaged, in_utf8,
    lexer::{Item, Lexer, name},
    loss::{Loss, bearable},
    panicked,
    source::Source,
};
use crate::{Error, Server, Session, TableRows};
use bytes::Bytes;
use futures_util::{
    SinkExt,
    future::{MaybeDone, maybe_done},
};
use std::{collections::VecDeque, future::poll_fn, io, pin::Pin, task::Poll};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_postgres::CopyInSink;

/// Statements that are sent before the answer to the first one is there: dumps of `--inserts` have one a row.
const AHEAD: usize = 64;

/// Restores a plain dump.
pub(super) async fn restore(
    server: &Server,
    database: &str,
    source: mpsc::Receiver<io::Result<Bytes>>,
    how: &Into,
) -> Result<Restored, Error> {
    let session = server.connect(database).await?;
    let (give, take) = mpsc::channel(4);
    let reader = spawn_blocking(move || read(source, &give));
    let ran = run(&session, take, how).await;
    match reader.await.map_err(|e| panicked(&e))? {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe && ran.is_err() => ran,
        Err(e) => Err(damaged(&e)),
        Ok(()) => ran,
    }
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
    session: &Session,
    mut from: mpsc::Receiver<Item>,
    how: &Into,
) -> Result<Restored, Error> {
    let mut done = Restored::default();
    let mut encoding = "UTF8".to_string();
    let mut waiting = VecDeque::new();
    let mut copying: Option<Copying> = None;
    while let Some(item) = from.recv().await {
        match item {
            Item::Statement(text) => {
                let text = in_utf8(session, &text, &encoding).await?;
                if let Some(other) = set_encoding(&text) {
                    encoding = other; // the session itself stays in UTF-8
                    continue;
                }
                if unwanted(&text, how) {
                    continue;
                }
                let mut sent = Box::pin(maybe_done(execute(session, text)));
                poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx).is_ready())).await; // sends it
                waiting.push_back(sent);
                if waiting.len() >= AHEAD {
                    answer(&mut waiting, AHEAD / 2, &mut done).await?;
                }
            }
            Item::Copy(text) => {
                answer(&mut waiting, 0, &mut done).await?;
                let text = in_utf8(session, &text, &encoding).await?;
                copying = Some(begin(session, &text, &encoding, &mut done).await?);
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
    }
    answer(&mut waiting, 0, &mut done).await?;
    Ok(done)
}

/// The encoding that a statement sets, by its name.
fn set_encoding(statement: &str) -> Option<String> {
    let head = statement.get(..19)?;
    (head.eq_ignore_ascii_case("SET client_encoding"))
        .then(|| statement.split('\'').nth(1).unwrap_or("UTF8").to_uppercase())
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
    let answer = session.batch_execute(&text).await;
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
    let found = copy_from(&format!("{text};"), encoding);
    let (table, statement) = found
        .unwrap_or_else(|| (name(text.get(5..).unwrap_or_default()).to_string(), text.to_string()));
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
