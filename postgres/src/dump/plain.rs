//! Plain SQL: what stock `pg_dump` writes, passed on; its rows are counted as they pass.

use super::{
    Job,
    child::Dumper,
    emit,
    fingerprint::Fingerprint,
    snapshot::{self, Leader},
};
use crate::{Error, Kind, TableRows};
use bytes::{Bytes, BytesMut};
use memchr::memchr;
use std::{collections::HashMap, io, time::Duration};
use tokio::{io::AsyncReadExt as _, sync::mpsc};

/// Bytes that are passed on at once.
const PIECE: usize = 128 << 10;

/// What a whole dump has in its last lines.
const COMPLETE: &[u8] = b"-- PostgreSQL database dump complete\n";

/// How far before the end that may stand: a few lines follow it.
const LAST: usize = 512;

/// Everything that must be there before the first byte is sent.
pub(super) struct Begun {
    pub(super) leader: Leader,
    dumper: Dumper,
    first: Bytes,
}

/// Starts `pg_dump` on a snapshot and waits for its first bytes: then it has its locks.
pub(super) async fn begin(job: &Job<'_>, lock_wait: Duration) -> Result<Begun, Error> {
    let session = snapshot::settled(job.server, job.database).await?;
    let leader = Leader::begin(session).await?;
    let mut command = job.pg_dump(&leader.snapshot, lock_wait);
    command.arg("--format=plain");
    let mut dumper = Dumper::start(command)?;
    let first = piece(&mut dumper).await?;
    if first.is_empty() {
        dumper.finish().await?;
        return Err(incomplete());
    }
    if job.tables.is_empty() {
        let sql = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relpersistence <> 't'
            AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')";
        let oids = leader.session.query(sql, &[]).await;
        let oids = oids.map_err(|e| Error::from_pg("list the tables", &e))?;
        let oids: Vec<u32> = oids.iter().map(|r| r.get(0)).collect();
        let plain = snapshot::settled(job.server, job.database).await?;
        let seen = snapshot::tables(&leader.session, &oids).await?;
        snapshot::unchanged(&seen, &snapshot::tables(&plain, &oids).await?)?;
    }
    Ok(Begun { leader, dumper, first })
}

/// Passes everything on and returns the rows of each table, and the fingerprint that was begun.
pub(super) async fn pass(
    mut begun: Begun,
    fingerprint: Option<Fingerprint>,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(Leader, Vec<TableRows>, Option<Fingerprint>), Error> {
    let mut count = Count { fingerprint, ..Count::default() };
    let mut last = Vec::new();
    let mut next = std::mem::take(&mut begun.first);
    while !next.is_empty() {
        count.bytes(&next);
        last.extend_from_slice(&next[next.len().saturating_sub(LAST)..]);
        last.drain(..last.len().saturating_sub(LAST));
        out.send(Ok(next)).await.map_err(|_| emit::gone())?;
        next = piece(&mut begun.dumper).await?;
    }
    begun.dumper.finish().await?;
    if !last.windows(COMPLETE.len()).any(|w| w == COMPLETE) || count.copying.is_some() {
        return Err(incomplete());
    }
    Ok((begun.leader, count.tables, count.fingerprint))
}

fn incomplete() -> Error {
    let why = "it ended well, but the line \"PostgreSQL database dump complete\" is not at its end";
    Error::new(Kind::Tool, "run pg_dump", why, "run again; if it stays so, install pg_dump afresh")
}

/// The next bytes, as many as fit or as come before the end; none at the end.
async fn piece(dumper: &mut Dumper) -> Result<Bytes, Error> {
    let Some(stdout) = &mut dumper.stdout else { return Ok(Bytes::new()) };
    let mut piece = BytesMut::with_capacity(PIECE);
    while piece.len() < PIECE {
        let read = stdout.read_buf(&mut piece).await;
        if read.map_err(|e| Error::from_io("read from pg_dump", &e))? == 0 {
            break;
        }
    }
    Ok(piece.freeze())
}

/// Counts the rows between `COPY .. FROM stdin;` and `\.`; only what follows the heading of a table's data is that.
#[derive(Debug, Default)]
struct Count {
    tables: Vec<TableRows>,
    places: HashMap<String, usize>,
    /// The table whose rows are passing.
    copying: Option<usize>,
    /// Lines since `-- Data for Name:`; the COPY is the third, or the fifth after a comment.
    since: Option<u8>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Whether that line is too long to be looked at.
    long: bool,
    fingerprint: Option<Fingerprint>,
    /// Whether the first line came that is neither empty nor a comment.
    begun: bool,
    /// The word that `pg_dump` put around its SQL.
    word: Option<Vec<u8>>,
}

/// What `pg_dump` writes before its SQL, and after it with the same word: another one each time, since the minor releases
/// of August 2025. <https://www.postgresql.org/docs/release/17.6/>
const RESTRICT: &[u8] = b"\\restrict ";
const UNRESTRICT: &[u8] = b"\\unrestrict ";

/// No line that matters is longer, but for a COPY line with very many columns.
const LONGEST: usize = 1 << 20;

impl Count {
    fn bytes(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.line.is_empty() && !self.long {
                self.one(line);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                let length = whole.len() + line.len();
                if std::mem::take(&mut self.long) || length > LONGEST {
                    self.hash(&[&whole, line, b"\n"]);
                    self.row(length);
                } else {
                    whole.extend_from_slice(line);
                    self.one(&whole);
                }
            }
        }
        if self.long || self.line.len() + bytes.len() > LONGEST {
            // A row: its bytes still count.
            self.long = true;
            let begun = std::mem::take(&mut self.line);
            self.hash(&[&begun, bytes]);
            if let Some(table) = self.copying.and_then(|t| self.tables.get_mut(t)) {
                table.bytes += (begun.len() + bytes.len()) as u64;
            }
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn row(&mut self, length: usize) {
        if let Some(table) = self.copying.and_then(|t| self.tables.get_mut(t)) {
            table.rows += 1;
            table.bytes += length as u64 + 1;
        }
    }

    fn hash(&mut self, pieces: &[&[u8]]) {
        if let Some(fingerprint) = &mut self.fingerprint {
            for piece in pieces {
                fingerprint.data(piece);
            }
        }
    }

    /// Whether this is one of the two lines that are `pg_dump`'s own: the first one of all that says anything, and the one
    /// with the same word. Rows and functions may have such lines too.
    fn is_own(&mut self, line: &[u8]) -> bool {
        if !self.begun && !line.is_empty() && !line.starts_with(b"--") {
            self.begun = true;
            self.word = line.strip_prefix(RESTRICT).map(<[u8]>::to_vec);
            return self.word.is_some();
        }
        self.word.as_deref().is_some_and(|own| line.strip_prefix(UNRESTRICT) == Some(own))
    }

    fn one(&mut self, line: &[u8]) {
        if !self.is_own(line) {
            self.hash(&[line, b"\n"]);
        }
        if self.copying.is_some() {
            if line == b"\\." {
                self.copying = None;
            } else {
                self.row(line.len());
            }
            return;
        }
        if line.starts_with(b"-- Data for Name: ") {
            self.since = Some(0);
            return;
        }
        self.since = self.since.map(|n| n + 1).filter(|n| *n <= 5);
        if self.since.is_none() || !line.starts_with(b"COPY ") || !line.ends_with(b" FROM stdin;") {
            return;
        }
        let rest = String::from_utf8_lossy(&line[5..]);
        let mut quoted = false;
        let end = rest.bytes().position(|b| {
            quoted ^= b == b'"';
            b == b' ' && !quoted
        });
        let name = &rest[..end.unwrap_or(rest.len())];
        super::add(&mut self.tables, &mut self.places, name, 0, 0);
        self.copying = self.places.get(name).copied();
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nobody() -> crate::dump::ServerFacts {
        serde_json::from_value(serde_json::json!({
            "version": "", "version_num": 0, "system_identifier": null, "timeline": null, "encoding": "", "collate": "",
            "ctype": "", "owner": "", "database_bytes": 0, "is_replica": false,
        }))
        .expect("facts")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..Default::default() })]
        #[test]
        fn rows_are_counted_however_the_text_is_cut(step in 1_usize..40) {
            let sql = "SET x;\n\nCREATE FUNCTION f() AS $$\nCOPY app.fake (a) FROM stdin;\n1\n\\.\n$$;\n\n\
                --\n-- Data for Name: a; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n\
                COPY s.\"a b\"\" (c\" (x, y) FROM stdin;\n1\t2\n\\\\.\t\\N\n3\t4\n\\.\n\n\n\
                --\n-- Data for Name: n; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n\
                -- load via partition root s.n\n\n\
                COPY s.n  FROM stdin;\n\n\n\\.\n\n";
            let mut count = Count::default();
            sql.as_bytes().chunks(step).for_each(|c| count.bytes(c));
            let got: Vec<_> = count.tables.iter().map(|t| (t.name.as_str(), t.rows, t.bytes)).collect();
            prop_assert_eq!(got, vec![("s.\"a b\"\" (c\"", 3, 15), ("s.n", 2, 2)]);
            prop_assert!(count.copying.is_none());
        }

        #[test]
        fn the_fingerprint_leaves_out_pg_dump_s_own_word_and_nothing_else(step in 1_usize..3_000_000) {
            let long = "x".repeat(LONGEST + 7);
            let of = |first: &str, word: &str, row: &str, long: &str| {
                let sql = format!(
                    "--\n{first} {word}\n\n-- Data for Name: a; Type: TABLE DATA\n--\n\n\
                     COPY a (b) FROM stdin;\n\\restrict {row}\n{long}\n\\.\n\\unrestrict {word}\n"
                );
                let mut count = Count { fingerprint: Some(Fingerprint::default()), ..Count::default() };
                sql.as_bytes().chunks(step).for_each(|c| count.bytes(c));
                count.fingerprint.take().map(|f| f.end(&nobody(), &[], &[]))
            };
            let restricted = "\\restrict";
            let first = of(restricted, "one", "row", &long);
            prop_assert_eq!(first, of(restricted, "two", "row", &long));
            prop_assert_ne!(first, of(restricted, "one", "other", &long));
            prop_assert_ne!(first, of(restricted, "one", "row", &long[1..]));
            prop_assert_ne!(first, of(restricted, "one", "row", &format!("{}y", &long[1..])));
            // An older pg_dump says no such word, and a row is a row.
            prop_assert_ne!(of("SET", "x;", "row", &long), of("SET", "x;", "other", &long));
        }
    }
}
