//! A new, empty database like the one that was dumped.

use super::connect_maintenance;
use crate::{
    ConnectionConfig, PgConnection, PostgresError,
    dump::{DatabaseFacts, DatabaseLocaleProvider, ServerFacts},
    quote_ident, quote_literal,
    restore::{RestoreWarning, RestoreWarningKind},
};

/// First versions with ICU as the provider of a database's locale, with rules for it, and with a provider of their own.
const MIN_ICU_VERSION: u32 = 150_000;
const MIN_ICU_RULES_VERSION: u32 = 160_000;
const MIN_BUILTIN_VERSION: u32 = 170_000;

/// Creates an empty database with the encoding, the locale, the tablespace and, where that role exists, the owner of the
/// one that was dumped. What the server can't give it is a [`Loss`]: texts then sort differently.
///
/// # Errors
/// [`PostgresErrorKind::Refused`](crate::PostgresErrorKind::Refused): the name is taken, or the role may not create databases.
pub async fn create_database(
    server: &ConnectionConfig,
    name: &str,
    like: Option<&ServerFacts>,
) -> Result<Vec<RestoreWarning>, PostgresError> {
    let session = connect_maintenance(server).await?;
    let failed =
        |e: &tokio_postgres::Error| PostgresError::from_pg(format!("create database {name}"), e);
    let base = format!("CREATE DATABASE {} TEMPLATE template0", quote_ident(name));
    let Some(like) = like else {
        let made = session.batch_execute(&base).await;
        return made.map(|()| Vec::new()).map_err(|e| failed(&e));
    };
    let mut losses = Vec::new();
    let lost = |what: &str, why: String| {
        RestoreWarning::new(RestoreWarningKind::Database, format!("{what} of {name}"), why)
    };
    let place = tablespace_clause(&session, &like.database).await.map_err(|e| failed(&e))?;
    if place.is_none() {
        let why = format!(
            "tablespace {} is not on this server; the database is in its default one",
            like.database.tablespace
        );
        losses.push(RestoreWarning {
            kind: RestoreWarningKind::Tablespace,
            ..lost("tablespace", why)
        });
    }
    let place = place.unwrap_or_default();
    let mut made = false;
    for locale in locale_candidates(like, session.version_num) {
        let sql = format!("{base} ENCODING {}{}{place}", quote_literal(&like.encoding), locale.sql);
        match session.batch_execute(&sql).await {
            Ok(()) => {
                losses.extend(locale.warning.map(|why| lost("locale", why)));
                made = true;
                break;
            }
            // No such locale (22023), not for this encoding (42809), or not in this build of the server (0A000); ICU's own
            // refusals have no code of theirs (XX000).
            Err(e)
                if !locale.last
                    && e.code().is_some_and(|c| {
                        ["22023", "42809", "0A000", "XX000"].contains(&c.code())
                    }) => {}
            Err(e) => return Err(failed(&e)),
        }
    }
    debug_assert!(made, "the last locale is the server's own");
    // May fail when the role is absent, or is not ours to give to: the database then belongs to who restores.
    let owner =
        format!("ALTER DATABASE {} OWNER TO {}", quote_ident(name), quote_ident(&like.owner));
    if let Err(e) = session.batch_execute(&owner).await {
        losses.push(RestoreWarning {
            kind: RestoreWarningKind::Role,
            ..RestoreWarning::from_statement_error(&e, &owner)
        });
    }
    Ok(losses)
}

/// The clause that puts it into its tablespace; none where the server does not have that.
async fn tablespace_clause(
    session: &PgConnection,
    facts: &DatabaseFacts,
) -> Result<Option<String>, tokio_postgres::Error> {
    if ["", "pg_default"].contains(&&*facts.tablespace) {
        return Ok(Some(String::new()));
    }
    let sql = "SELECT FROM pg_catalog.pg_tablespace WHERE spcname OPERATOR(pg_catalog.=) $1";
    let there = session.query_opt(sql, &[&facts.tablespace]).await?.is_some();
    Ok(there.then(|| format!(" TABLESPACE {}", quote_ident(&facts.tablespace))))
}

/// A locale that is tried.
#[derive(Debug, PartialEq, Eq)]
struct LocaleCandidate {
    sql: String,
    /// What is not as it was, when this one is taken.
    warning: Option<String>,
    /// Whether none comes after it.
    last: bool,
}

/// The locales that are tried, the right one first and the server's own last. Pure.
fn locale_candidates(like: &ServerFacts, version_num: u32) -> Vec<LocaleCandidate> {
    let ServerFacts { collate, ctype, database, .. } = like;
    let libc = format!(" LC_COLLATE {} LC_CTYPE {}", quote_literal(collate), quote_literal(ctype));
    // Without the word, the provider would be that of the new server's template0.
    let provider = |word: &str| format!(" LOCALE_PROVIDER {word}");
    let by_libc =
        if version_num >= MIN_ICU_VERSION { provider("libc") + &libc } else { libc.clone() };
    let locale = database.locale.as_deref().unwrap_or_default();
    let (word, since, clause) = match database.provider {
        DatabaseLocaleProvider::Libc => ("", 0, String::new()),
        DatabaseLocaleProvider::Icu => {
            let rules =
                database.icu_rules.as_ref().filter(|_| version_num >= MIN_ICU_RULES_VERSION);
            let rules =
                rules.map(|r| format!(" ICU_RULES {}", quote_literal(r))).unwrap_or_default();
            ("icu", MIN_ICU_VERSION, format!(" ICU_LOCALE {}{rules}", quote_literal(locale)))
        }
        DatabaseLocaleProvider::Builtin => {
            ("builtin", MIN_BUILTIN_VERSION, format!(" BUILTIN_LOCALE {}", quote_literal(locale)))
        }
    };
    let mut all = Vec::new();
    let mut instead = None;
    if !word.is_empty() {
        if version_num >= since {
            let rules = database.icu_rules.is_some() && version_num < MIN_ICU_RULES_VERSION;
            let lost =
                rules.then(|| "this server knows no ICU rules: texts may sort differently".into());
            all.push(LocaleCandidate {
                sql: format!("{}{libc}{clause}", provider(word)),
                warning: lost,
                last: false,
            });
        }
        instead = Some(format!(
            "its {word} locale {locale} is not on this server; it sorts by the operating system's {collate}"
        ));
    }
    all.push(LocaleCandidate { sql: by_libc, warning: instead, last: false });
    let lost = format!("collation {collate}, {ctype} is not on this server; it has its default");
    all.push(LocaleCandidate { sql: String::new(), warning: Some(lost), last: true });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(provider: DatabaseLocaleProvider, locale: &str, rules: Option<&str>) -> ServerFacts {
        let mut facts: ServerFacts = serde_json::from_value(serde_json::json!({
            "version": "", "version_num": 0, "system_identifier": null, "timeline": null, "encoding": "UTF8",
            "collate": "C.UTF-8", "ctype": "C.UTF-8", "owner": "o", "database_bytes": 0, "is_replica": false,
        }))
        .expect("facts");
        facts.database.provider = provider;
        facts.database.locale = Some(locale.into());
        facts.database.icu_rules = rules.map(str::to_owned);
        facts
    }

    #[test]
    fn the_locale_that_was_is_tried_first_and_every_other_one_is_a_loss() {
        let libc = " LOCALE_PROVIDER libc LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'";
        let icu = like(DatabaseLocaleProvider::Icu, "de-AT", Some("&a < b"));
        let tried = locale_candidates(&icu, 160_000);
        assert_eq!(
            tried[0].sql,
            " LOCALE_PROVIDER icu LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' ICU_LOCALE 'de-AT' ICU_RULES '&a < b'"
        );
        assert_eq!((&tried[0].warning, tried[1].sql.as_str(), tried.len()), (&None, libc, 3));
        assert!(tried[1].warning.as_ref().is_some_and(|l| l.contains("de-AT")));
        assert!(locale_candidates(&icu, 150_000)[0].warning.is_some(), "the rules are lost");
        assert_eq!(
            locale_candidates(&icu, 140_000)[0].sql,
            " LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
        );
        assert!(locale_candidates(&icu, 140_000)[0].warning.is_some());
        let builtin = like(DatabaseLocaleProvider::Builtin, "C.UTF-8", None);
        assert!(locale_candidates(&builtin, 170_000)[0].sql.contains("BUILTIN_LOCALE 'C.UTF-8'"));
        assert!(locale_candidates(&builtin, 160_000)[0].warning.is_some());
        let plain = like(DatabaseLocaleProvider::Libc, "", None);
        assert_eq!(
            (
                locale_candidates(&plain, 150_000)[0].sql.as_str(),
                &locale_candidates(&plain, 150_000)[0].warning
            ),
            (libc, &None)
        );
        assert!(locale_candidates(&plain, 150_000)[1].last);
    }
}
