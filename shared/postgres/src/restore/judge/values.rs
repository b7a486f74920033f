//! Statements that bring values: INSERT, COPY, and calls of the functions that `pg_dump` calls.
//!
//! Their values are constants. A query or a function in their place would run at once, as who restores.

use super::{ALLOWED_FUNCTIONS, SqlToken};

/// Schemas of the server's own tables. Some of them are of all its databases: a row more in `pg_authid` is a role.
const CATALOGS: [&str; 3] = ["pg_catalog", "information_schema", "pg_toast"];

/// What comes behind the name of a table of the database, if these words begin with one.
pub(super) fn table<'w, 't>(words: &'w [SqlToken<'t>]) -> Option<&'w [SqlToken<'t>]> {
    let (schema, table, rest) = match words {
        [schema, SqlToken::Sign('.'), table, rest @ ..] => {
            (Some(schema.to_identifier()?), table, rest)
        }
        [table, rest @ ..] => (None, table, rest),
        [] => return None,
    };
    let table = table.to_identifier()?;
    let catalog = match schema {
        Some(schema) => CATALOGS.contains(&&*schema),
        // Without a schema the server looks into its own catalog first.
        None => table.starts_with("pg_"),
    };
    (!catalog).then_some(rest)
}

/// Whether behind INSERT there are constants for a table of the database.
pub(super) fn insert(rest: &[SqlToken<'_>]) -> bool {
    let [into, rest @ ..] = rest else { return false };
    let Some(rest) = table(rest).filter(|_| into.is("INTO")) else { return false };
    let columns = match rest {
        [SqlToken::Sign('('), ..] => rest.iter().position(|t| *t == SqlToken::Sign(')')),
        _ => None,
    };
    let (columns, rest) = rest.split_at(columns.map_or(0, |at| at + 1));
    let named = |t: &SqlToken<'_>| {
        matches!(t, SqlToken::Word(_) | SqlToken::Name(_) | SqlToken::Sign('(' | ')' | ','))
    };
    if !columns.iter().all(named) {
        return false;
    }
    let rest = match rest {
        [overriding, _, value, rest @ ..] if overriding.is("OVERRIDING") && value.is("VALUE") => {
            rest
        }
        rest => rest,
    };
    let rest = match rest {
        [rest @ .., on, conflict, act, nothing]
            if on.is("ON") && conflict.is("CONFLICT") && act.is("DO") && nothing.is("NOTHING") =>
        {
            rest
        }
        rest => rest,
    };
    match rest {
        [default, values] => default.is("DEFAULT") && values.is("VALUES"),
        [values, rows @ ..] => values.is("VALUES") && constants(rows, true),
        [] => false,
    }
}

/// Whether behind SELECT there is one call of a function that `pg_dump` calls, with constants.
pub(super) fn is_allowed_select(rest: &[SqlToken<'_>]) -> bool {
    let rest = match rest {
        [SqlToken::Sign('*'), from, rest @ ..] if from.is("FROM") => rest,
        rest => rest,
    };
    let [schema, SqlToken::Sign('.'), name, SqlToken::Sign('('), rest @ ..] = rest else {
        return false;
    };
    if !schema.is("pg_catalog") || !name.among(&ALLOWED_FUNCTIONS) {
        return false;
    }
    // What `pg_dump --clean --if-exists` writes.
    if let [
        oid,
        SqlToken::Sign(')'),
        from,
        catalog,
        SqlToken::Sign('.'),
        objects,
        filter,
        by,
        SqlToken::Sign('='),
        SqlToken::Text(_),
    ] = rest
    {
        return name.is("lo_unlink")
            && oid.is("oid")
            && from.is("FROM")
            && catalog.is("pg_catalog")
            && objects.is("pg_largeobject_metadata")
            && filter.is("WHERE")
            && by.is("oid");
    }
    let [arguments @ .., SqlToken::Sign(')')] = rest else { return false };
    let set = name.is("set_config");
    (!set || arguments.first() == Some(&SqlToken::Text("search_path")))
        && constants(arguments, false)
}

/// Whether these are constants alone, in rows or not: without a parenthesis nothing is called. A type may be named.
fn constants(words: &[SqlToken<'_>], rows: bool) -> bool {
    let (mut depth, mut cast) = (0_u32, false);
    for (at, token) in words.iter().enumerate() {
        let good = match token {
            SqlToken::Text(_) => true,
            SqlToken::Sign('(') => {
                depth += 1;
                rows && depth == 1 && !cast
            }
            SqlToken::Sign(')') => {
                let open = depth == 1;
                depth = depth.saturating_sub(1);
                rows && open
            }
            SqlToken::Sign(sign) => ",-+.:[]".contains(*sign),
            SqlToken::Word(word) => {
                word.starts_with(|c: char| c.is_ascii_digit())
                    || token.among(&["NULL", "TRUE", "FALSE", "DEFAULT"])
                    || cast
                    || (token.among(&["E", "B", "X", "N"])
                        && matches!(words.get(at + 1), Some(SqlToken::Text(_))))
            }
            SqlToken::Name(_) => cast,
        };
        if !good {
            return false;
        }
        // From `::` up to the next value there are names of a type.
        cast = match token {
            SqlToken::Sign(':') => true,
            SqlToken::Sign('.' | '[' | ']') | SqlToken::Word(_) | SqlToken::Name(_) => cast,
            _ => false,
        };
    }
    depth == 0
}
