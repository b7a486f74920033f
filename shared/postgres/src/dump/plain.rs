//! Plain SQL: what stock `pg_dump` writes, passed on; its rows are counted as they pass.

use super::{
    DumpSource,
    child::PgDumpProcess,
    emit,
    failure::{self, LockWaitDeadline},
    fingerprint::DumpFingerprint,
    names,
    snapshot::{self, SnapshotSession},
};
use crate::{
    PgConnection, PostgresError, PostgresErrorKind, TableCounts,
    restore::{ScriptItem, SqlLexer},
};
use bytes::Bytes;
use memchr::{memchr, memchr_iter};
use std::{collections::HashMap, io, time::Duration};
use tokio::sync::mpsc;

/// What a whole dump has in its last lines.
const COMPLETE_MARKER: &[u8] = b"-- PostgreSQL database dump complete\n";

/// How far before the end that may stand: a few lines follow it.
const TAIL_BYTES: usize = 512;

/// Everything that must be there before the first byte is sent.
pub(super) struct PlainDumpStream {
    pub(super) leader: SnapshotSession,
    dumper: PgDumpProcess,
    first: Bytes,
}

/// Starts `pg_dump` on a snapshot and waits for its first bytes: then it has its locks.
pub(super) async fn start_plain_dump(
    job: &DumpSource<'_>,
    lock_wait: Duration,
) -> Result<PlainDumpStream, PostgresError> {
    let session = snapshot::connect_configured(job.server, job.database).await?;
    let leader = SnapshotSession::export_snapshot(session).await?;
    let patience = LockWaitDeadline::new(lock_wait);
    let mut command = job.pg_dump_command(&leader.snapshot, lock_wait);
    command.arg("--format=plain");
    let mut dumper = PgDumpProcess::spawn(command)?;
    let first = dumper.read_chunk().await?;
    if first.is_empty() {
        let words = dumper.wait_success().await.err().unwrap_or_else(|| incomplete_error().into());
        return Err(failure::explain_failure(job, &leader, patience, words).await);
    }
    if job.tables.is_empty() {
        let oids = snapshot::all_table_oids(&leader.session).await?;
        let plain = snapshot::connect_configured(job.server, job.database).await?;
        let seen = snapshot::describe_tables(&leader.session, &oids).await?;
        snapshot::ensure_tables_unchanged(&seen, &snapshot::describe_tables(&plain, &oids).await?)?;
    }
    Ok(PlainDumpStream { leader, dumper, first })
}

/// Passes everything on and returns the rows of each table, and the fingerprint that was begun.
pub(super) async fn stream_plain_dump(
    job: &DumpSource<'_>,
    mut begun: PlainDumpStream,
    fingerprint: Option<DumpFingerprint>,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(SnapshotSession, Vec<TableCounts>, Option<DumpFingerprint>), PostgresError> {
    // It has its locks already.
    let patience = LockWaitDeadline::new(Duration::MAX);
    let (mut count, mut hash) = (
        PlainDumpCounter::default(),
        PlainDumpHasher { fingerprint, ..PlainDumpHasher::default() },
    );
    let mut last = Vec::new();
    let mut next = std::mem::take(&mut begun.first);
    while !next.is_empty() {
        count.count_bytes(&next)?;
        hash.hash_bytes(&next);
        last.extend_from_slice(&next[next.len().saturating_sub(TAIL_BYTES)..]);
        last.drain(..last.len().saturating_sub(TAIL_BYTES));
        out.send(Ok(next)).await.map_err(|_| emit::receiver_closed_error())?;
        next = begun.dumper.read_chunk().await?;
    }
    if let Err(words) = begun.dumper.wait_success().await {
        return Err(failure::explain_failure(job, &begun.leader, patience, words).await);
    }
    if !last.windows(COMPLETE_MARKER.len()).any(|w| w == COMPLETE_MARKER) {
        return Err(incomplete_error());
    }
    let tables = count.finish_counts(&begun.leader.session).await?;
    Ok((begun.leader, tables, hash.fingerprint))
}

fn incomplete_error() -> PostgresError {
    let why = "it ended well, but the line \"PostgreSQL database dump complete\" is not at its end";
    PostgresError::new(
        PostgresErrorKind::Tool,
        "run pg_dump",
        why,
        "run again; if it stays so, install pg_dump afresh",
    )
}

/// What `pg_dump` writes before its SQL, and after it with the same word: another one each time, since the minor releases
/// of August 2025. <https://www.postgresql.org/docs/release/17.6/>
const RESTRICT: &[u8] = b"\\restrict ";
const UNRESTRICT: &[u8] = b"\\unrestrict ";

/// No line that matters is longer, but for a COPY line with very many columns.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Counts rows, by the same rules by which a restore reads them.
#[derive(Default)]
struct PlainDumpCounter {
    lexer: SqlLexer,
    seen: PlainDumpCounts,
}

/// What was read so far.
#[derive(Default)]
struct PlainDumpCounts {
    /// Names as the text has them, rows and bytes.
    tables: Vec<(Vec<u8>, u64, u64)>,
    /// Whether a statement has bytes that are no UTF-8.
    foreign: bool,
}

impl PlainDumpCounter {
    fn count_bytes(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        let Self { lexer, seen } = self;
        let mut each = |item| {
            seen.count_item(&item);
            Ok(())
        };
        lexer.push(bytes, &mut each).map_err(|e| unreadable_error(&e))
    }

    async fn finish_counts(
        mut self,
        session: &PgConnection,
    ) -> Result<Vec<TableCounts>, PostgresError> {
        let Self { lexer, seen } = &mut self;
        let mut each = |item| {
            seen.count_item(&item);
            Ok(())
        };
        lexer.finish(&mut each).map_err(|e| unreadable_error(&e))?;
        if seen.foreign && names::has_unknown_encoding(session).await? {
            let why = "its statements have bytes that are no UTF-8, and nobody knows their encoding: only psql could \
                       restore this";
            let hint = "use the format custom";
            return Err(PostgresError::new(PostgresErrorKind::Refused, "dump as SQL", why, hint));
        }
        let names = seen.tables.iter().map(|(name, ..)| name.as_slice()).collect();
        let names = names::decode_names(session, names).await?;
        let (mut all, mut places) = (Vec::new(), HashMap::new());
        for (name, (_, rows, bytes)) in names.iter().zip(&seen.tables) {
            super::add_row_count(&mut all, &mut places, name, *rows, *bytes);
        }
        Ok(all)
    }
}

impl PlainDumpCounts {
    fn count_item(&mut self, item: &ScriptItem) {
        if let ScriptItem::Copy(text) | ScriptItem::Statement(text) = item {
            self.foreign |= std::str::from_utf8(text).is_err();
        }
        match item {
            ScriptItem::Copy(statement) => {
                let rest = statement.get(5..).unwrap_or_default();
                let mut quoted = false;
                let end = rest.iter().position(|b| {
                    quoted ^= *b == b'"';
                    !quoted && (b.is_ascii_whitespace() || *b == b'(')
                });
                self.tables.push((rest[..end.unwrap_or(rest.len())].to_vec(), 0, 0));
            }
            ScriptItem::Data(data) => {
                if let Some((_, rows, bytes)) = self.tables.last_mut() {
                    *rows += memchr_iter(b'\n', data).count() as u64;
                    *bytes += data.len() as u64;
                }
            }
            ScriptItem::Statement(_) | ScriptItem::End => {}
        }
    }
}

fn unreadable_error(e: &io::Error) -> PostgresError {
    let why = format!("a restore could not read what it wrote: {e}");
    PostgresError::new(PostgresErrorKind::Tool, "run pg_dump", why, "use the custom format")
}

/// Hashes what passes, without the two lines that are different each time.
#[derive(Debug, Default)]
struct PlainDumpHasher {
    fingerprint: Option<DumpFingerprint>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Whether that line is too long to be looked at.
    long: bool,
    /// Whether the first line came that is neither empty nor a comment.
    begun: bool,
    /// The word that `pg_dump` put around its SQL.
    word: Option<Vec<u8>>,
}

impl PlainDumpHasher {
    fn hash_bytes(&mut self, mut bytes: &[u8]) {
        if self.fingerprint.is_none() {
            return;
        }
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            let begun = std::mem::take(&mut self.line);
            if std::mem::take(&mut self.long) || begun.len() + line.len() > MAX_LINE_BYTES {
                self.hash_pieces(&[&begun, line, b"\n"]);
            } else if begun.is_empty() {
                self.hash_line(line);
            } else {
                self.hash_line(&[&begun, line].concat());
            }
        }
        if self.long || self.line.len() + bytes.len() > MAX_LINE_BYTES {
            self.long = true;
            let begun = std::mem::take(&mut self.line);
            self.hash_pieces(&[&begun, bytes]);
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn hash_pieces(&mut self, pieces: &[&[u8]]) {
        if let Some(fingerprint) = &mut self.fingerprint {
            for piece in pieces {
                fingerprint.update(piece);
            }
        }
    }

    /// Whether this is one of the two lines that are `pg_dump`'s own: the first one of all that says anything, and the one
    /// with the same word. Rows and functions may have such lines too.
    fn is_pg_dump_marker(&mut self, line: &[u8]) -> bool {
        if !self.begun && !line.is_empty() && !line.starts_with(b"--") {
            self.begun = true;
            self.word = line.strip_prefix(RESTRICT).map(<[u8]>::to_vec);
            return self.word.is_some();
        }
        self.word.as_deref().is_some_and(|own| line.strip_prefix(UNRESTRICT) == Some(own))
    }

    fn hash_line(&mut self, line: &[u8]) {
        if !self.is_pg_dump_marker(line) {
            self.hash_pieces(&[line, b"\n"]);
        }
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
                COMMENT ON TABLE s.n IS 'first\n--\n-- Data for Name: n; Type: TABLE DATA\n--\n\n\
                COPY public.fake (a) FROM stdin;\n5\n';\n\
                --\n-- Data for Name: a; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n\
                COPY s.\"a b\"\" (c\" (x, y) FROM stdin;\n1\t2\n\\\\.\t\\N\n3\t4\n\\.\n\n\n\
                --\n-- Data for Name: n; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n\
                -- load via partition root s.n\n\n\
                COPY s.n  FROM stdin;\n\n\n\\.\n\n";
            let mut count = PlainDumpCounter::default();
            for piece in sql.as_bytes().chunks(step) {
                count.count_bytes(piece).expect("it is SQL");
            }
            let got: Vec<_> = count.seen.tables.iter().map(|(n, r, b)| (&n[..], *r, *b)).collect();
            prop_assert_eq!(got, vec![(&b"s.\"a b\"\" (c\""[..], 3, 15), (b"s.n", 2, 2)]);
        }

        #[test]
        fn the_fingerprint_leaves_out_pg_dump_s_own_word_and_nothing_else(step in 1_usize..3_000_000) {
            let long = "x".repeat(MAX_LINE_BYTES + 7);
            let of = |first: &str, word: &str, row: &str, long: &str| {
                let sql = format!(
                    "--\n{first} {word}\n\n-- Data for Name: a; Type: TABLE DATA\n--\n\n\
                     COPY a (b) FROM stdin;\n\\restrict {row}\n{long}\n\\.\n\\unrestrict {word}\n"
                );
                let mut hash = PlainDumpHasher { fingerprint: Some(DumpFingerprint::default()), ..PlainDumpHasher::default() };
                sql.as_bytes().chunks(step).for_each(|c| hash.hash_bytes(c));
                hash.fingerprint.take().map(|f| f.finish(&nobody(), &[], &[]))
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
