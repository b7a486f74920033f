//! Statements that bring values: INSERT, COPY, and calls of the functions that `pg_dump` calls.
//!
//! Their values are constants. A query or a function in their place would run at once, as who restores.

use super::{FUNCTIONS, Token};

/// Schemas of the server's own tables. Some of them are of all its databases: a row more in `pg_authid` is a role.
const CATALOGS: [&str; 3] = ["pg_catalog", "information_schema", "pg_toast"];

/// What comes behind the name of a table of the database, if these words begin with one.
pub(super) fn table<'w, 't>(words: &'w [Token<'t>]) -> Option<&'w [Token<'t>]> {
    let (schema, table, rest) = match words {
        [schema, Token::Sign('.'), table, rest @ ..] => (Some(schema.identifier()?), table, rest),
        [table, rest @ ..] => (None, table, rest),
        [] => return None,
    };
    let table = table.identifier()?;
    let catalog = match schema {
        Some(schema) => CATALOGS.contains(&&*schema),
        // Without a schema the server looks into its own catalog first.
        None => table.starts_with("pg_"),
    };
    (!catalog).then_some(rest)
}

/// Whether behind INSERT there are constants for a table of the database.
pub(super) fn insert(rest: &[Token<'_>]) -> bool {
    let [into, rest @ ..] = rest else { return false };
    let Some(rest) = table(rest).filter(|_| into.is("INTO")) else { return false };
    let columns = match rest {
        [Token::Sign('('), ..] => rest.iter().position(|t| *t == Token::Sign(')')),
        _ => None,
    };
    let (columns, rest) = rest.split_at(columns.map_or(0, |at| at + 1));
    let named =
        |t: &Token<'_>| matches!(t, Token::Word(_) | Token::Name(_) | Token::Sign('(' | ')' | ','));
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
pub(super) fn select(rest: &[Token<'_>]) -> bool {
    let rest = match rest {
        [Token::Sign('*'), from, rest @ ..] if from.is("FROM") => rest,
        rest => rest,
    };
    let [schema, Token::Sign('.'), name, Token::Sign('('), rest @ ..] = rest else { return false };
    if !schema.is("pg_catalog") || !name.among(&FUNCTIONS) {
        return false;
    }
    // What `pg_dump --clean --if-exists` writes.
    if let [
        oid,
        Token::Sign(')'),
        from,
        catalog,
        Token::Sign('.'),
        objects,
        filter,
        by,
        Token::Sign('='),
        Token::Text(_),
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
    let [arguments @ .., Token::Sign(')')] = rest else { return false };
    let set = name.is("set_config");
    (!set || arguments.first() == Some(&Token::Text("search_path"))) && constants(arguments, false)
}

/// Whether these are constants alone, in rows or not: without a parenthesis nothing is called. A type may be named.
fn constants(words: &[Token<'_>], rows: bool) -> bool {
    let (mut depth, mut cast) = (0_u32, false);
    for (at, token) in words.iter().enumerate() {
        let good = match token {
            Token::Text(_) => true,
            Token::Sign('(') => {
                depth += 1;
                rows && depth == 1 && !cast
            }
            Token::Sign(')') => {
                let open = depth == 1;
                depth = depth.saturating_sub(1);
                rows && open
            }
            Token::Sign(sign) => ",-+.:[]".contains(*sign),
            Token::Word(word) => {
                word.starts_with(|c: char| c.is_ascii_digit())
                    || token.among(&["NULL", "TRUE", "FALSE", "DEFAULT"])
                    || cast
                    || (token.among(&["E", "B", "X", "N"])
                        && matches!(words.get(at + 1), Some(Token::Text(_))))
            }
            Token::Name(_) => cast,
        };
        if !good {
            return false;
        }
        // From `::` up to the next value there are names of a type.
        cast = match token {
            Token::Sign(':') => true,
            Token::Sign('.' | '[' | ']') | Token::Word(_) | Token::Name(_) => cast,
            _ => false,
        };
    }
    depth == 0
}
