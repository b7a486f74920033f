//! Backups for tests of what is decided about them.

use crate::{
    BackupManifest, StoredBackup,
    catalogue::BackupKind,
    key::ParsedKey,
    manifest::{
        EncodingLayers, MANIFEST_VERSION, ManifestFormat, PlaintextInfo, ServerProperties,
        StoredFile,
    },
};
use jiff::{SignedDuration, Timestamp};

/// A committed backup of the owner `acme@111122223333/eu-west-1` and its group `main`, due at its slot and read a minute later; 1,000 bytes.
pub fn committed_backup(key: &str, database: &str, reason: &str, slot: Timestamp) -> StoredBackup {
    let data_time = slot.checked_add(SignedDuration::from_mins(1)).expect("a time");
    let sha256 = format!(
        "{:0>64x}",
        key.bytes().fold(7_u128, |h, b| h.wrapping_mul(131).wrapping_add(b.into()))
    );
    let manifest = BackupManifest {
        holdfast: MANIFEST_VERSION,
        owner: "acme@111122223333/eu-west-1".into(),
        key: key.into(),
        group: "main".into(),
        database: database.into(),
        reason: reason.into(),
        table: None,
        run: "run".into(),
        slot: Some(slot),
        data_time,
        finished_at: data_time,
        file: StoredFile {
            name: key.rsplit('/').next().unwrap_or(key).into(),
            bytes: 1_000,
            sha256: sha256.clone(),
            checksum: None,
        },
        plain: PlaintextInfo { bytes: 9_000, sha256 },
        format: ManifestFormat::Custom,
        layers: EncodingLayers::default(),
        recipients: Vec::new(),
        key_id: None,
        server: ServerProperties {
            version_num: 150_000,
            system_identifier: Some("7000".into()),
            ..ServerProperties::default()
        },
        client: "15.18".into(),
        extensions: Vec::new(),
        roles: Vec::new(),
        selection: Vec::new(),
        tables: Vec::new(),
        large_objects: 0,
        redis: None,
        fingerprint: None,
        locked_until: None,
        restore: String::new(),
    };
    StoredBackup {
        key: key.into(),
        uri: format!("s3://acme-dumps/pg/{key}"),
        size: 1_000,
        modified: data_time,
        class: None,
        archived: false,
        kind: BackupKind::Committed(Box::new(manifest)),
        hold: None,
        unchanged: Vec::new(),
        ignored: Vec::new(),
    }
}

/// The same file, made by another tool.
pub fn foreign_backup(key: &str, at: Timestamp) -> StoredBackup {
    let precision = SignedDuration::from_secs(1);
    let read = ParsedKey { database: None, reason: None, table: None, earliest: at, precision };
    StoredBackup { kind: BackupKind::Foreign(read), ..committed_backup(key, "", "", at) }
}

impl StoredBackup {
    /// Changes the manifest.
    #[must_use]
    pub fn with_manifest(mut self, change: impl FnOnce(&mut BackupManifest)) -> Self {
        if let BackupKind::Committed(manifest) = &mut self.kind {
            change(manifest);
        }
        self
    }
}
