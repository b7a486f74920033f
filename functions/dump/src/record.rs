//! The commit record of a dump.

use crate::{
    plan::DumpDatabase,
    take::{GroupDumpContext, now},
};
use codec::{ArchiveDigests, EncodingOptions};
use postgres::dump::DumpSummary;
use shared::{
    policy::{DumpFormat, DumpRule},
    words::hex_encode,
};
use storage::{
    BackupManifest, UploadOptions, UploadReceipt,
    manifest::{self, ManifestFormat, RestoreCommandInput},
};

/// Everything that is known of a finished dump.
#[expect(clippy::too_many_arguments, reason = "a record of everything")]
pub(crate) fn build_manifest(
    ground: &GroupDumpContext<'_>,
    take: &DumpDatabase,
    key: &str,
    dump: &DumpRule,
    recipe: &EncodingOptions,
    put: &UploadOptions,
    dumped: DumpSummary,
    sums: &ArchiveDigests,
    written: UploadReceipt,
) -> BackupManifest {
    let GroupDumpContext { world, stored, .. } = ground;
    let layers = recipe.to_layers();
    let format = manifest_format(dump);
    let name = key.rsplit('/').next().unwrap_or(key).to_owned();
    BackupManifest {
        holdfast: manifest::MANIFEST_VERSION,
        owner: world.policy.owner(),
        key: key.to_owned(),
        group: take.group.to_string(),
        database: take.database.clone(),
        reason: take.reason.to_string(),
        table: take.table.clone(),
        run: world.run_id.clone(),
        slot: take.slot,
        data_time: dumped.data_time,
        finished_at: now(),
        file: manifest::StoredFile {
            name,
            bytes: sums.stored.bytes,
            sha256: sums.stored.sha256.to_string(),
            checksum: written.checksum,
        },
        plain: manifest::PlaintextInfo {
            bytes: sums.plaintext.bytes,
            sha256: sums.plaintext.sha256.to_string(),
        },
        format,
        recipients: age_recipients(dump),
        key_id: passphrase_name(dump),
        server: dumped.server,
        client: dumped.pg_dump_version,
        extensions: dumped.extensions,
        roles: dumped.roles,
        redis: None,
        selection: if dump.format == DumpFormat::Csv { Vec::new() } else { dump.tables.clone() },
        tables: dumped
            .tables
            .into_iter()
            .map(|t| manifest::ManifestTable { name: t.name, rows: t.rows, bytes: t.bytes })
            .collect(),
        large_objects: dumped.large_objects,
        fingerprint: dumped.fingerprint.map(|f| hex_encode(&f)),
        locked_until: put.lock_until,
        restore: manifest::restore_command(&RestoreCommandInput {
            fetch: &stored.store.download_command(key),
            layers: &layers,
            format,
            table: take.table.as_deref(),
        }),
        layers,
    }
}

/// The format of a dump's file.
pub(crate) fn manifest_format(dump: &DumpRule) -> ManifestFormat {
    match dump.format {
        DumpFormat::Plain => ManifestFormat::Plain,
        DumpFormat::Csv => ManifestFormat::Csv,
        _ => ManifestFormat::Custom,
    }
}

/// The age recipients that a dump is encrypted for.
pub fn age_recipients(dump: &DumpRule) -> Vec<String> {
    dump.encrypt.iter().flat_map(|e| e.age.clone()).collect()
}

/// Name of the passphrase that a dump is encrypted with, where it is.
pub fn passphrase_name(dump: &DumpRule) -> Option<String> {
    Some(describe_secret_source(dump.encrypt.as_ref()?.openssl.as_ref()?))
}

/// Where the policy says that a passphrase is: a name, never the value.
fn describe_secret_source(from: &shared::policy::SecretSource) -> String {
    let place = [("secret", &from.secret), ("env", &from.env), ("file", &from.file)];
    let place =
        place.into_iter().find_map(|(word, name)| Some(format!("{word}:{}", name.as_ref()?)));
    let key = from.key.as_ref().map(|k| format!("#{k}")).unwrap_or_default();
    format!("{}{key}", place.unwrap_or_default())
}
