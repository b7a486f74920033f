//! Names are bytes in the server's encoding until they are shown.

use crate::{PgConnection, PostgresError};

/// What is shown of a name: UTF-8 as it is, and bytes that are none one by one, as Latin 1 has them. Such names there are in
/// databases whose encoding nobody knows, `SQL_ASCII` and `MULE_INTERNAL`.
pub(crate) fn display_name(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => name.iter().copied().map(char::from).collect(),
    }
}

/// SQL of an expression's text as bytes: in UTF-8, or as they are where nobody knows their encoding. What a query gives as
/// text must be UTF-8.
pub(crate) fn text_as_bytes_sql(expression: &str) -> String {
    format!(
        "pg_catalog.convert_to({expression}, (CASE pg_catalog.getdatabaseencoding() \
         WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)::pg_catalog.name)"
    )
}

/// Encodings of which nothing can be turned into UTF-8.
const UNKNOWN_ENCODINGS: [&str; 2] = ["SQL_ASCII", "MULE_INTERNAL"];

/// Whether nobody knows what characters the bytes in the database are.
pub(super) async fn has_unknown_encoding(session: &PgConnection) -> Result<bool, PostgresError> {
    database_encoding(session).await.map(|encoding| UNKNOWN_ENCODINGS.contains(&&*encoding))
}

async fn database_encoding(session: &PgConnection) -> Result<String, PostgresError> {
    let sql = "SELECT pg_catalog.getdatabaseencoding()::pg_catalog.text";
    let row = session.query_one(sql, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(|e| PostgresError::from_pg("ask for the encoding", &e))
}

/// What is shown of names that are bytes in the encoding of the database that the session is connected to.
pub(super) async fn decode_names(
    session: &PgConnection,
    names: Vec<&[u8]>,
) -> Result<Vec<String>, PostgresError> {
    if names.iter().all(|name| name.is_ascii()) {
        return Ok(names.into_iter().map(display_name).collect());
    }
    let failed = |e: tokio_postgres::Error| PostgresError::from_pg("read the names of tables", &e);
    let encoding = database_encoding(session).await?;
    if encoding == "UTF8" || UNKNOWN_ENCODINGS.contains(&&*encoding) {
        return Ok(names.into_iter().map(display_name).collect());
    }
    let sql = "SELECT pg_catalog.convert_from(b, $2::pg_catalog.text::pg_catalog.name)
        FROM pg_catalog.unnest($1::pg_catalog.bytea[]) WITH ORDINALITY AS names (b, n) ORDER BY n";
    let rows = session.query(sql, &[&names, &encoding]).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_shown_and_two_names_are_shown_as_two() {
        let table: [(&[u8], &str); 4] = [
            (b"public.t", "public.t"),
            ("public.\"caf\u{e9}\"".as_bytes(), "public.\"caf\u{e9}\""),
            (b"public.\"caf\xe9\"", "public.\"caf\u{e9}\""),
            (b"\xff\xfe", "\u{ff}\u{fe}"),
        ];
        for (name, expected) in table {
            assert_eq!(display_name(name), expected);
        }
        assert_ne!(display_name(b"\xe9"), display_name(b"\xe8"));
    }
}
