//! What the groups of `postgres` must mean: dumps that can be made, told apart, and restored.

use super::{ErrorSink, check_not_empty, check_not_reserved};
use crate::policy::{
    DumpCompression, DumpFormat, DumpRule, Policy, PostgresGroup, StoreConfig,
    dumps::{EncryptionConfig, ScratchConfig},
    secrets,
    structure::suggest_word,
};
use std::iter;

pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    if let Some(place) = &policy.scratch {
        check_scratch(place, "/scratch", say);
    }
    for (name, group) in &policy.postgres {
        let at = format!("/postgres/{name}");
        check_databases(group, &at, say);
        for (reason, dump) in &group.dumps {
            let at = format!("{at}/dumps/{reason}");
            check_not_reserved(reason, &at, say);
            check_not_empty(&dump.keep, format!("{at}/keep"), say);
            if let Some(encrypt) = &dump.encrypt {
                check_encryption(encrypt, &format!("{at}/encrypt"), say);
            }
            check_format(group, dump, &at, say);
        }
        if let Some(encrypt) = group.wal.as_ref().and_then(|w| w.encrypt.as_ref()) {
            check_encryption(encrypt, &format!("{at}/wal/encrypt"), say);
        }
        check_connection(group, &at, say);
        if let Some(place) = &group.scratch {
            check_scratch(place, &format!("{at}/scratch"), say);
        }
        if policy.scratch_for(group).is_some_and(|place| is_backed_up(policy, &place)) {
            let why = "this is the server that is backed up: name another one, or write production: true if that is meant";
            let at =
                if group.scratch.is_some() { format!("{at}/scratch") } else { "/scratch".into() };
            say(format!("{at}/host"), why.into());
        }
        check_key_templates(group, &at, say);
    }
    check_separate_prefixes(policy, say);
}

/// Whether test restores would run on a server of any group, its own or another.
fn is_backed_up(policy: &Policy, place: &ScratchConfig) -> bool {
    let name = |host: &Option<String>| {
        host.as_ref().map(|host| host.trim_end_matches('.').to_ascii_lowercase())
    };
    place.host.is_some()
        && policy.postgres.values().any(|group| {
            name(&place.host) == name(&group.host)
                && place.port.unwrap_or(5432) == group.port.unwrap_or(5432)
        })
}

fn check_databases(group: &PostgresGroup, at: &str, say: ErrorSink<'_>) {
    if group.databases.is_all() {
        if group.dumps.is_empty() {
            let why = "the server is asked for all when it is dumped, and this group has no dumps: write each database's name";
            say(format!("{at}/databases"), why.into());
        }
        return;
    }
    let named = group.databases.named();
    if named.is_empty() {
        say(format!("{at}/databases"), "no database is named".into());
    }
    for (i, database) in named.iter().enumerate() {
        if let Some(fault) = database_name_error(database) {
            say(format!("{at}/databases/{i}"), fault);
        } else if named[..i].contains(database) {
            say(format!("{at}/databases/{i}"), format!("\"{database}\" stands here twice"));
        }
    }
}

fn database_name_error(name: &str) -> Option<String> {
    // NAMEDATALEN is 64, with the zero at its end; the server would cut a longer name and mean another database.
    let fault = match name {
        "" => "a database has a name: this one is empty",
        "*" | "%" => "a pattern is no database: write each database's name, or `databases: all`",
        "template0" => "template0 takes no connections and is made anew by initdb: leave it out",
        _ if name.contains('\0') => "PostgreSQL has no zero byte in a name: take it out",
        _ if name.len() > 63 => "PostgreSQL's names have 63 bytes at most",
        _ if name.contains("://") => "this is an address: write the database's name alone",
        _ => return None,
    };
    Some(fault.into())
}

pub(super) fn check_encryption(encrypt: &EncryptionConfig, at: &str, say: ErrorSink<'_>) {
    if encrypt.age.is_empty() == encrypt.openssl.is_none() {
        say(at.into(), "a dump is encrypted in one way: write exactly one of age, openssl".into());
    }
    if encrypt.identity.is_some() && encrypt.age.is_empty() {
        say(format!("{at}/identity"), "an identity is for age: write age".into());
    }
    for (i, recipient) in encrypt.age.iter().enumerate() {
        // Never with the text itself: where a secret key stands by mistake, it must not be told.
        if recipient.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            say(format!("{at}/age/{i}"), secrets::SECRET_KEY_MESSAGE.into());
        } else if !is_age_recipient(recipient) {
            say(
                format!("{at}/age/{i}"),
                "no age X25519 recipient: write the age1... that age-keygen prints".into(),
            );
        }
    }
}

/// Whether it has the form of an age X25519 recipient: Bech32 of 32 bytes. Its checksum is looked at when it is used.
/// <https://age-encryption.org/v1>
fn is_age_recipient(text: &str) -> bool {
    const BECH32_CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    text.strip_prefix("age1")
        .is_some_and(|data| data.len() == 58 && data.chars().all(|c| BECH32_CHARSET.contains(c)))
}

fn check_format(group: &PostgresGroup, dump: &DumpRule, at: &str, say: ErrorSink<'_>) {
    if dump.skip_unchanged && !matches!(dump.format, DumpFormat::Custom | DumpFormat::Plain) {
        let why = "only dumps of `format: custom` and `plain` can be compared";
        say(format!("{at}/skip_unchanged"), why.into());
    }
    if dump.skip_unchanged && stores_with_keys(group).any(|(_, store)| store.lock.is_some()) {
        let why = "each point of a store with `lock` is locked for itself: leave out one of them";
        say(format!("{at}/skip_unchanged"), why.into());
    }
    if dump.level.is_some_and(|l| l.get() > 9) && dump.compress == DumpCompression::Gzip {
        say(format!("{at}/level"), "gzip has levels 1 to 9".into());
    }
    if !dump.queries.is_empty() && dump.format != DumpFormat::Csv {
        say(format!("{at}/queries"), "queries are for `format: csv`".into());
    }
    if dump.format != DumpFormat::Csv {
        return;
    }
    let files = dump.queries.len() + dump.tables.len();
    if files == 0 {
        say(at.into(), "CSV is of tables or queries: write tables or queries".into());
    }
    let lacks = |store: &StoreConfig| store.key.as_deref().is_some_and(|k| !k.contains("{table}"));
    if files > 1 && stores_with_keys(group).any(|(_, store)| lacks(store)) {
        say(
            at.into(),
            "each table or query is a file of its own: write {table} in the store's key".into(),
        );
    }
}

fn check_connection(group: &PostgresGroup, at: &str, say: ErrorSink<'_>) {
    if group.iam && (group.password.is_some() || group.user.is_none() || group.host.is_none()) {
        say(
            format!("{at}/iam"),
            "an IAM token takes the password's place: write host and user, and no password".into(),
        );
    }
}

/// What may stand in braces in a key.
const KEY_FIELDS: &[&str] = &["database", "reason", "table"];

/// A field that is not known would stand in every key as it is.
fn unknown_key_field(key: &str) -> Option<String> {
    let mut rest = key;
    while let Some((_, inner)) = rest.split_once('{') {
        let (field, after) = inner.split_once('}')?;
        if !KEY_FIELDS.contains(&field) {
            let near = suggest_word(field, KEY_FIELDS)
                .map_or(String::new(), |n| format!("; did you mean {{{n}}}?"));
            return Some(format!("{{{field}}} is no field of a key{near}"));
        }
        rest = after;
    }
    None
}

fn check_scratch(place: &ScratchConfig, at: &str, say: ErrorSink<'_>) {
    let ways = [place.directory.is_some(), place.names_a_server(), place.production];
    if ways.iter().filter(|w| **w).count() > 1 {
        let why = "test restores run in one place: write one of directory, a connection (host, user, password), \
                   production: true";
        say(at.into(), why.into());
    }
    let half = place.port.is_some() || place.user.is_some() || place.tls.is_some();
    if half && !place.names_a_server() {
        say(
            at.into(),
            "a server is reached by its host: write host, or a password whose secret has it".into(),
        );
    }
    if place.directory.as_ref().is_some_and(|d| !d.starts_with('/')) {
        say(format!("{at}/directory"), "write the whole path, from / on".into());
    }
}

/// One key for all would let each database's dump collide with the others'.
fn check_key_templates(group: &PostgresGroup, at: &str, say: ErrorSink<'_>) {
    for (place, store) in stores_with_keys(group) {
        if let Some(why) = store.key.as_deref().and_then(unknown_key_field) {
            say(format!("{at}/{place}/key"), why);
        }
    }
    let several = group.databases.is_all() || group.databases.named().len() > 1;
    if !several || group.dumps.is_empty() {
        return;
    }
    for (place, store) in stores_with_keys(group) {
        if store.key.as_deref().is_some_and(|k| !k.contains("{database}")) {
            say(
                format!("{at}/{place}/key"),
                "the group has several databases: write {database} in the key".into(),
            );
        }
    }
}

fn stores_with_keys(group: &PostgresGroup) -> impl Iterator<Item = (String, &StoreConfig)> {
    named_stores(&group.storage, &group.copies)
}

fn named_stores<'s>(
    storage: &'s StoreConfig,
    copies: &'s [StoreConfig],
) -> impl Iterator<Item = (String, &'s StoreConfig)> {
    let more = copies.iter().enumerate();
    iter::once(("storage".to_owned(), storage)).chain(more.map(|(i, s)| (format!("copies/{i}"), s)))
}

/// A place belongs to one group: what lies under another's prefix would be judged as its own, and cleaned up by its runs.
fn check_separate_prefixes(policy: &Policy, say: ErrorSink<'_>) {
    /// Where a store is, and what its keys begin with there.
    fn store_location(s: &StoreConfig) -> (String, String) {
        if let Some(directory) = &s.directory {
            return (
                "a directory".into(),
                format!("{}/{}", directory.trim_end_matches('/'), s.prefix),
            );
        }
        let azure = s.azure.as_ref().map(|a| format!("azure {}/{}", a.account, a.container));
        let bucket = s.bucket.as_ref().map(ToString::to_string).unwrap_or_default();
        let endpoint = s.endpoint.clone().unwrap_or_default();
        (azure.unwrap_or_else(|| format!("{endpoint} {bucket}")), s.prefix.clone())
    }
    let mut seen: Vec<(String, (String, String))> = Vec::new();
    // RDB files are described to the stores only after this check.
    let redis = policy.redis.iter().filter(|(_, g)| g.address.is_some());
    let redis = redis.map(|(n, g)| ("redis", n, &g.storage, &g.copies));
    let dumped = policy.postgres.iter().filter(|(_, g)| !g.dumps.is_empty());
    let dumped = dumped.map(|(n, g)| ("postgres", n, &g.storage, &g.copies));
    for (section, name, storage, copies) in dumped.chain(redis) {
        for (which, store) in named_stores(storage, copies) {
            let (at, prefix) = store_location(store);
            let within = |(other, begin): &(String, String)| {
                *other == at && (begin.starts_with(&prefix) || prefix.starts_with(begin.as_str()))
            };
            if let Some((other, _)) = seen.iter().find(|(_, place)| within(place)) {
                let why = format!(
                    "\"{other}\" puts its dumps in the same place: give each group a prefix of its own, none of which begins with another"
                );
                say(format!("/{section}/{name}/{which}"), why);
            }
            seen.push((name.to_string(), (at, prefix)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_told_from_what_only_looks_like_one() {
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert!(is_age_recipient(good));
        for bad in [
            "",
            "age1",
            &good[..61],
            &good.to_uppercase(),
            &good.replace('q', "b"),
            "ssh-ed25519 AAAA",
        ] {
            assert!(!is_age_recipient(bad), "{bad}");
        }
    }

    fn policy_errors(group: &str) -> String {
        let text =
            format!("{{holdfast: 1, company: acme, id: host-1, postgres: {{shop: {group}}}}}");
        Policy::parse(&text).expect_err("a fault").to_string()
    }

    #[test]
    fn test_restores_run_in_one_place_and_on_production_only_in_words() {
        let rest = "databases: [a], host: db, storage: {directory: /b}, dumps: {manual: {keep: {newest: 1}}}";
        for (scratch, said) in [
            ("{production: true, host: other}", "one place"),
            ("{directory: /x, production: true}", "one place"),
            ("{host: db}", "production: true if that is meant"),
            ("{host: db, port: 5432}", "production: true if that is meant"),
            ("{host: DB.}", "production: true if that is meant"),
            ("{port: 5433}", "by its host"),
            ("{directory: x}", "from / on"),
        ] {
            let said_so = policy_errors(&format!("{{{rest}, scratch: {scratch}}}"));
            assert!(said_so.contains(said) && said_so.contains("scratch"), "{scratch}: {said_so}");
        }
        // A server of another group is one that is backed up too.
        let two = format!(
            "{{holdfast: 1, company: acme, id: host-1, postgres: {{shop: {{{rest}, scratch: {{host: other}}}}, \
             stock: {{{}}}}}}}",
            rest.replace("host: db", "host: other").replace("/b", "/c")
        );
        let said = Policy::parse(&two).expect_err("a fault").to_string();
        assert!(said.contains("/postgres/shop/scratch") || said.contains("shop.scratch"), "{said}");
        for scratch in ["{}", "{production: true}", "{host: db, port: 5433}", "{directory: /x}"] {
            let text = format!(
                "{{holdfast: 1, company: acme, id: host-1, postgres: {{shop: {{{rest}, scratch: {scratch}}}}}}}"
            );
            Policy::parse(&text).unwrap_or_else(|e| panic!("{scratch}: {e}"));
        }
    }

    #[test]
    fn a_database_that_no_server_can_have_is_found_before_the_run() {
        let rest = "storage: {directory: /b}, dumps: {manual: {keep: {newest: 1}}}";
        for (name, said) in
            [("\"a\\0b\"", "zero byte"), ("\"\"", "empty"), (&"x".repeat(64), "63 bytes")]
        {
            let said_so = policy_errors(&format!("{{databases: [{name}], {rest}}}"));
            assert!(said_so.contains(said) && said_so.contains("databases"), "{said_so}");
        }
    }

    #[test]
    fn no_group_puts_its_dumps_under_anothers_prefix() {
        let parse = |one: &str, two: &str| {
            let group = |stored: &str| {
                format!(
                    "{{databases: [a], storage: {stored}, dumps: {{manual: {{keep: {{newest: 1}}}}}}}}"
                )
            };
            let text = format!(
                "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, postgres: {{one: {}, two: {}}}}}",
                group(one),
                group(two)
            );
            Policy::parse(&text).map_or_else(|e| e.to_string(), |_| String::new())
        };
        for (one, two) in [
            ("{directory: /b}", "{directory: /b}"),
            ("{directory: /b}", "{directory: /b/two}"),
            ("{directory: /b, prefix: two/}", "{directory: /b/two}"),
            ("{bucket: acme}", "{bucket: acme, prefix: pg/}"),
            ("{bucket: acme, prefix: pg}", "{bucket: acme, prefix: pg-two/}"),
        ] {
            let said = parse(one, two);
            assert!(
                said.contains("postgres.two.storage: \"one\" puts its dumps"),
                "{one} {two}: {said}"
            );
        }
        for (one, two) in [
            ("{directory: /b/one}", "{directory: /b/two}"),
            ("{bucket: acme, prefix: one/}", "{bucket: acme, prefix: two/}"),
            ("{bucket: acme}", "{bucket: other}"),
            ("{directory: /one}", "{directory: /one-more}"),
        ] {
            assert_eq!(parse(one, two), "", "{one} {two}");
        }
    }

    #[test]
    fn a_secret_key_in_the_place_of_a_recipient_is_not_told() {
        let encrypt = "encrypt: {age: [AGE-SECRET-KEY-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQS4K5VY7]}";
        let said = policy_errors(&format!(
            "{{databases: [a], storage: {{directory: /b}}, dumps: {{manual: {{keep: {{newest: 1}}, {encrypt}}}}}}}"
        ));
        assert!(said.contains("make a new pair") && !said.contains("QQPQYQSZ"), "{said}");
    }
}
