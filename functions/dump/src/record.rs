//! The commit record of a dump.

use crate::{
    plan::Take,
    take::{Ground, now},
};
use archive::{Recipe, Sums};
use postgres::dump::Dumped;
use shared::{
    policy::{Dump, DumpFormat},
    words::hex,
};
use store::{
    Manifest, Put, Written,
    manifest::{self, Format, Restore},
};

/// Everything that is known of a finished dump.
#[expect(clippy::too_many_arguments, reason = "a record of everything")]
pub(crate) fn manifest(
    ground: &Ground<'_>,
    take: &Take,
    key: &str,
    dump: &Dump,
    recipe: &Recipe,
    put: &Put,
    dumped: Dumped,
    sums: &Sums,
    written: Written,
) -> Manifest {
    let Ground { world, stored, .. } = ground;
    let layers = recipe.layers();
    let format = format(dump);
    let name = key.rsplit('/').next().unwrap_or(key).to_owned();
    Manifest {
        holdfast: manifest::VERSION,
        owner: world.policy.owner(),
        key: key.to_owned(),
        group: take.group.to_string(),
        database: take.database.clone(),
        reason: take.reason.to_string(),
        table: take.table.clone(),
        run: world.run.clone(),
        slot: take.slot,
        data_time: dumped.data_time,
        finished_at: now(),
        file: manifest::File {
            name,
            bytes: sums.stored.bytes,
            sha256: sums.stored.sha256.to_string(),
            checksum: written.checksum,
        },
        plain: manifest::Plain { bytes: sums.plain.bytes, sha256: sums.plain.sha256.to_string() },
        format,
        recipients: recipients(dump),
        key_id: dump.encrypt.as_ref().and_then(|e| Some(named(e.openssl.as_ref()?))),
        server: server(dumped.server),
        client: dumped.client,
        extensions: dumped
            .extensions
            .into_iter()
            .map(|e| manifest::Extension { name: e.name, version: e.version })
            .collect(),
        roles: dumped.roles.into_iter().map(role).collect(),
        selection: if dump.format == DumpFormat::Csv { Vec::new() } else { dump.tables.clone() },
        tables: dumped
            .tables
            .into_iter()
            .map(|t| manifest::Table { name: t.name, rows: t.rows, bytes: t.bytes })
            .collect(),
        large_objects: dumped.large_objects,
        fingerprint: dumped.fingerprint.map(|f| hex(&f)),
        locked_until: put.lock_until,
        restore: manifest::restore_line(&Restore {
            fetch: &stored.store.command(key),
            layers: &layers,
            format,
            table: take.table.as_deref(),
        }),
        layers,
    }
}

/// The format of a dump's file.
pub(crate) fn format(dump: &Dump) -> Format {
    match dump.format {
        DumpFormat::Plain => Format::Plain,
        DumpFormat::Csv => Format::Csv,
        _ => Format::Custom,
    }
}

/// The age recipients that a dump is encrypted for.
pub(crate) fn recipients(dump: &Dump) -> Vec<String> {
    dump.encrypt.iter().flat_map(|e| e.age.clone()).collect()
}

/// Where the policy says that a passphrase is: a name, never the value.
fn named(from: &shared::policy::SecretFrom) -> String {
    let place = [("secret", &from.secret), ("env", &from.env), ("file", &from.file)];
    let place =
        place.into_iter().find_map(|(word, name)| Some(format!("{word}:{}", name.as_ref()?)));
    let key = from.key.as_ref().map(|k| format!("#{k}")).unwrap_or_default();
    format!("{}{key}", place.unwrap_or_default())
}

fn role(role: postgres::dump::Role) -> manifest::Role {
    manifest::Role {
        name: role.name,
        superuser: role.superuser,
        inherit: role.inherit,
        create_role: role.create_role,
        create_database: role.create_database,
        login: role.login,
        replication: role.replication,
        bypass_row_security: role.bypass_row_security,
        connection_limit: role.connection_limit,
        settings: role.settings,
        member_of: role.member_of,
    }
}

fn server(facts: postgres::dump::ServerFacts) -> manifest::Server {
    manifest::Server {
        version: facts.version,
        version_num: facts.version_num,
        system_identifier: facts.system_identifier,
        timeline: facts.timeline,
        encoding: facts.encoding,
        collate: facts.collate,
        ctype: facts.ctype,
        owner: facts.owner,
        database_bytes: facts.database_bytes,
        is_replica: facts.is_replica,
        database: database(facts.database),
    }
}

fn database(facts: postgres::dump::DatabaseFacts) -> manifest::Database {
    use postgres::dump::{Grant, LocaleProvider as Of, Setting};
    let grant =
        |Grant { role, privilege, grantable }| manifest::Grant { role, privilege, grantable };
    let setting = |Setting { role, name, value }| manifest::Setting { role, name, value };
    manifest::Database {
        provider: match facts.provider {
            Of::Libc => manifest::LocaleProvider::Libc,
            Of::Icu => manifest::LocaleProvider::Icu,
            Of::Builtin => manifest::LocaleProvider::Builtin,
        },
        locale: facts.locale,
        icu_rules: facts.icu_rules,
        tablespace: facts.tablespace,
        connection_limit: facts.connection_limit,
        is_template: facts.is_template,
        comment: facts.comment,
        grants: facts.grants.map(|all| all.into_iter().map(grant).collect()),
        settings: facts.settings.into_iter().map(setting).collect(),
    }
}
