//! The texts of an archive's entries, whose encoding is that of the database that was dumped.

use super::{Toc, TocEntry};
use crate::{PgConnection, PostgresError};
use std::{collections::HashMap, ops::Range};

/// Where an entry's texts are in the bytes of the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EntryTextRanges {
    pub(super) tag: Option<Range<usize>>,
    pub(super) defn: Option<Range<usize>>,
    pub(super) drop_stmt: Option<Range<usize>>,
    pub(super) copy_stmt: Option<Range<usize>>,
    pub(super) namespace: Option<Range<usize>>,
    pub(super) tablespace: Option<Range<usize>>,
    pub(super) owner: Option<Range<usize>>,
}

impl EntryTextRanges {
    fn all_ranges(&self) -> [&Option<Range<usize>>; 7] {
        let Self { tag, defn, drop_stmt, copy_stmt, namespace, tablespace, owner } = self;
        [tag, defn, drop_stmt, copy_stmt, namespace, tablespace, owner]
    }
}

impl Toc {
    /// Puts the texts of all entries into UTF-8; the server knows every encoding that an archive can be in. False where
    /// that can't be, as in an archive of `SQL_ASCII`: its texts are bytes that only stock tools can hand on.
    pub(crate) async fn decode_texts(
        &mut self,
        session: &PgConnection,
    ) -> Result<bool, PostgresError> {
        let encoding = self.encoding().to_owned();
        let foreign = self.non_ascii_texts();
        if foreign.is_empty() {
            return Ok(true);
        }
        if ["UTF8", "SQL_ASCII", "MULE_INTERNAL"].contains(&&*encoding) {
            let sound =
                |range: &Range<usize>| std::str::from_utf8(&self.raw[range.clone()]).is_ok();
            return Ok(foreign.iter().all(sound));
        }
        let bytes: Vec<&[u8]> = foreign.iter().map(|range| &self.raw[range.clone()]).collect();
        let sql = "SELECT pg_catalog.convert_from(b, $2::pg_catalog.text::pg_catalog.name)
            FROM pg_catalog.unnest($1::pg_catalog.bytea[]) WITH ORDINALITY AS texts (b, n) ORDER BY n";
        let doing = || format!("read names in the encoding {encoding}");
        let rows = session.query(sql, &[&bytes, &encoding]).await;
        let rows = rows.map_err(|e| PostgresError::from_pg(doing(), &e))?;
        let texts: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        let texts = texts.map_err(|e| PostgresError::from_pg(doing(), &e))?;
        let texts: HashMap<usize, String> =
            foreign.iter().map(|range| range.start).zip(texts).collect();
        self.set_texts(&texts);
        Ok(true)
    }

    /// The table that an entry's rows are loaded into, as SQL names it, in the archive's encoding.
    pub(crate) fn table_name(&self, entry: &TocEntry) -> Option<&[u8]> {
        let rest = self.raw.get(entry.texts.copy_stmt.clone()?)?.strip_prefix(b"COPY ")?;
        let mut quoted = false;
        let end = rest.iter().position(|b| {
            quoted ^= *b == b'"';
            *b == b' ' && !quoted
        });
        Some(&rest[..end.unwrap_or(rest.len())])
    }

    /// The texts that are not ASCII.
    fn non_ascii_texts(&self) -> Vec<Range<usize>> {
        let ranges =
            self.entries.iter().flat_map(|e| e.texts.all_ranges().into_iter().flatten().cloned());
        ranges.filter(|range| !self.raw[range.clone()].is_ascii()).collect()
    }

    /// Puts texts in by the place at which they begin.
    fn set_texts(&mut self, texts: &HashMap<usize, String>) {
        for entry in &mut self.entries {
            let of = |range: &Option<Range<usize>>| texts.get(&range.as_ref()?.start).cloned();
            let whole = [
                (&mut entry.tag, &entry.texts.tag),
                (&mut entry.defn, &entry.texts.defn),
                (&mut entry.drop_stmt, &entry.texts.drop_stmt),
            ];
            for (field, range) in whole {
                if let Some(text) = of(range) {
                    *field = text;
                }
            }
            let optional = [
                (&mut entry.copy_stmt, &entry.texts.copy_stmt),
                (&mut entry.namespace, &entry.texts.namespace),
                (&mut entry.tablespace, &entry.texts.tablespace),
                (&mut entry.owner, &entry.texts.owner),
            ];
            for (field, range) in optional {
                if let Some(text) = of(range) {
                    *field = Some(text);
                }
            }
        }
    }
}
