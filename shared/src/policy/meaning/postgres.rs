//! What the groups of `postgres` must mean: dumps that can be made, told apart, and restored.

use super::{Say, not_empty, reserved};
use crate::policy::{
    Compress, Dump, DumpFormat, Policy, Postgres, Store, dumps::Encrypt, secrets,
    structure::nearest,
};
use std::{collections::BTreeMap, iter};

pub(super) fn check(policy: &Policy, say: Say<'_>) {
    for (name, group) in &policy.postgres {
        let at = format!("/postgres/{name}");
        databases(group, &at, say);
        for (reason, dump) in &group.dumps {
            let at = format!("{at}/dumps/{reason}");
            reserved(reason, &at, say);
            not_empty(&dump.keep, format!("{at}/keep"), say);
            if let Some(encrypt) = &dump.encrypt {
                encryption(encrypt, &format!("{at}/encrypt"), say);
            }
            form(group, dump, &at, say);
        }
        connection(group, &at, say);
        keys(group, &at, say);
    }
    places(&policy.postgres, say);
}

fn databases(group: &Postgres, at: &str, say: Say<'_>) {
    if group.databases.is_empty() {
        say(format!("{at}/databases"), "no database is named".into());
    }
    for (i, database) in group.databases.iter().enumerate() {
        if let Some(fault) = database_fault(database) {
            say(format!("{at}/databases/{i}"), fault);
        } else if group.databases[..i].contains(database) {
            say(format!("{at}/databases/{i}"), format!("\"{database}\" stands here twice"));
        }
    }
}

fn database_fault(name: &str) -> Option<String> {
    // NAMEDATALEN is 64, with the zero at its end; the server would cut a longer name and mean another database.
    let fault = match name {
        "" => "a database has a name: this one is empty",
        "*" | "%" => "a pattern is no database: write each database's name",
        "template0" => "template0 takes no connections and is made anew by initdb: leave it out",
        _ if name.contains('\0') => "PostgreSQL has no zero byte in a name: take it out",
        _ if name.len() > 63 => "PostgreSQL's names have 63 bytes at most",
        _ if name.contains("://") => "this is an address: write the database's name alone",
        _ => return None,
    };
    Some(fault.into())
}

fn encryption(encrypt: &Encrypt, at: &str, say: Say<'_>) {
    if encrypt.age.is_empty() == encrypt.openssl.is_none() {
        say(at.into(), "a dump is encrypted in one way: write exactly one of age, openssl".into());
    }
    if encrypt.identity.is_some() && encrypt.age.is_empty() {
        say(format!("{at}/identity"), "an identity is for age: write age".into());
    }
    for (i, recipient) in encrypt.age.iter().enumerate() {
        // Never with the text itself: where a secret key stands by mistake, it must not be told.
        if recipient.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            say(format!("{at}/age/{i}"), secrets::SECRET_KEY.into());
        } else if !is_recipient(recipient) {
            say(
                format!("{at}/age/{i}"),
                "no age X25519 recipient: write the age1... that age-keygen prints".into(),
            );
        }
    }
}

/// Whether it has the form of an age X25519 recipient: Bech32 of 32 bytes. Its checksum is looked at when it is used.
/// <https://age-encryption.org/v1>
fn is_recipient(text: &str) -> bool {
    const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    text.strip_prefix("age1")
        .is_some_and(|data| data.len() == 58 && data.chars().all(|c| BECH32.contains(c)))
}

fn form(group: &Postgres, dump: &Dump, at: &str, say: Say<'_>) {
    if dump.deduplicate && !matches!(dump.format, DumpFormat::Custom | DumpFormat::Plain) {
        let why = "only dumps of `format: custom` and `plain` can be compared";
        say(format!("{at}/deduplicate"), why.into());
    }
    if dump.deduplicate && stores(group).any(|(_, store)| store.lock.is_some()) {
        let why = "each point of a store with `lock` is locked for itself: leave out one of them";
        say(format!("{at}/deduplicate"), why.into());
    }
    if dump.level.is_some_and(|l| l.get() > 9) && dump.compress == Compress::Gzip {
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
    let lacks = |store: &Store| store.key.as_deref().is_some_and(|k| !k.contains("{table}"));
    if files > 1 && stores(group).any(|(_, store)| lacks(store)) {
        say(
            at.into(),
            "each table or query is a file of its own: write {table} in the store's key".into(),
        );
    }
}

fn connection(group: &Postgres, at: &str, say: Say<'_>) {
    if group.iam && (group.password.is_some() || group.user.is_none() || group.host.is_none()) {
        say(
            format!("{at}/iam"),
            "an IAM token takes the password's place: write host and user, and no password".into(),
        );
    }
}

/// What may stand in braces in a key.
const FIELDS: &[&str] = &["database", "reason", "table"];

/// A field that is not known would stand in every key as it is.
fn fields(key: &str) -> Option<String> {
    let mut rest = key;
    while let Some((_, inner)) = rest.split_once('{') {
        let (field, after) = inner.split_once('}')?;
        if !FIELDS.contains(&field) {
            let near = nearest(field, FIELDS)
                .map_or(String::new(), |n| format!("; did you mean {{{n}}}?"));
            return Some(format!("{{{field}}} is no field of a key{near}"));
        }
        rest = after;
    }
    None
}

/// One key for all would let each database's dump collide with the others'.
fn keys(group: &Postgres, at: &str, say: Say<'_>) {
    for (place, store) in stores(group) {
        if let Some(why) = store.key.as_deref().and_then(fields) {
            say(format!("{at}/{place}/key"), why);
        }
    }
    if group.databases.len() < 2 || group.dumps.is_empty() {
        return;
    }
    for (place, store) in stores(group) {
        if store.key.as_deref().is_some_and(|k| !k.contains("{database}")) {
            say(
                format!("{at}/{place}/key"),
                "the group has several databases: write {database} in the key".into(),
            );
        }
    }
}

fn stores(group: &Postgres) -> impl Iterator<Item = (String, &Store)> {
    let more = group.also_stored.iter().enumerate();
    iter::once(("stored".to_owned(), &group.stored))
        .chain(more.map(|(i, s)| (format!("also_stored/{i}"), s)))
}

/// A run cleans up what dead runs of its database left; what it finds under another group's names would be alive.
fn places(groups: &BTreeMap<crate::policy::text::Name, Postgres>, say: Say<'_>) {
    let place = |g: &Postgres| {
        let s = &g.stored;
        let azure = s.azure.as_ref().map(|a| (a.account.clone(), a.container.clone()));
        let bucket = s.bucket.as_ref().map(ToString::to_string);
        (bucket, s.endpoint.clone(), s.directory.clone(), azure, s.prefix.clone())
    };
    for (name, group) in groups.iter().filter(|(_, g)| !g.dumps.is_empty()) {
        let same =
            |(n, g): &(_, &Postgres)| *n < name && !g.dumps.is_empty() && place(g) == place(group);
        if let Some((other, _)) = groups.iter().find(same) {
            say(
                format!("/postgres/{name}/stored"),
                format!(
                    "\"{other}\" puts its dumps in the same place: give each group a prefix of its own"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_told_from_what_only_looks_like_one() {
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert!(is_recipient(good));
        for bad in [
            "",
            "age1",
            &good[..61],
            &good.to_uppercase(),
            &good.replace('q', "b"),
            "ssh-ed25519 AAAA",
        ] {
            assert!(!is_recipient(bad), "{bad}");
        }
    }

    fn faults(group: &str) -> String {
        let text =
            format!("{{holdfast: 1, company: acme, id: host-1, postgres: {{shop: {group}}}}}");
        Policy::parse(&text).expect_err("a fault").to_string()
    }

    #[test]
    fn a_database_that_no_server_can_have_is_found_before_the_run() {
        let rest = "stored: {directory: /b}, dumps: {manual: {keep: {newest: 1}}}";
        for (name, said) in
            [("\"a\\0b\"", "zero byte"), ("\"\"", "empty"), (&"x".repeat(64), "63 bytes")]
        {
            let said_so = faults(&format!("{{databases: [{name}], {rest}}}"));
            assert!(said_so.contains(said) && said_so.contains("databases"), "{said_so}");
        }
    }

    #[test]
    fn a_secret_key_in_the_place_of_a_recipient_is_not_told() {
        let encrypt = "encrypt: {age: [AGE-SECRET-KEY-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQS4K5VY7]}";
        let said = faults(&format!(
            "{{databases: [a], stored: {{directory: /b}}, dumps: {{manual: {{keep: {{newest: 1}}, {encrypt}}}}}}}"
        ));
        assert!(said.contains("make a new pair") && !said.contains("QQPQYQSZ"), "{said}");
    }
}
