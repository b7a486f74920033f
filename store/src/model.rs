//! Backups for tests of what is decided about them.

use crate::{
    Backup, Manifest,
    catalogue::Of,
    key::Read,
    manifest::{File, Format, EncodingLayers, Plain, ServerProperties, VERSION},
};
use jiff::{SignedDuration, Timestamp};

/// A committed backup of the owner `acme@111122223333/eu-west-1` and its group `main`, due at its slot and read a minute later; 1,000 bytes.
pub fn backup(key: &str, database: &str, reason: &str, slot: Timestamp) -> Backup {
    let data_time = slot.checked_add(SignedDuration::from_mins(1)).expect("a time");
    let sha256 = format!(
        "{:0>64x}",
        key.bytes().fold(7_u128, |h, b| h.wrapping_mul(131).wrapping_add(b.into()))
    );
    let manifest = Manifest {
        holdfast: VERSION,
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
        file: File {
            name: key.rsplit('/').next().unwrap_or(key).into(),
            bytes: 1_000,
            sha256: sha256.clone(),
            checksum: None,
        },
        plain: Plain { bytes: 9_000, sha256 },
        format: Format::Custom,
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
        fingerprint: None,
        locked_until: None,
        restore: String::new(),
    };
    Backup {
        key: key.into(),
        arn: format!("s3://acme-dumps/pg/{key}"),
        size: 1_000,
        modified: data_time,
        class: None,
        archived: false,
        kind: Of::Committed(Box::new(manifest)),
        hold: None,
        unchanged: Vec::new(),
        ignored: Vec::new(),
    }
}

/// The same file, made by another tool.
pub fn foreign(key: &str, at: Timestamp) -> Backup {
    let precision = SignedDuration::from_secs(1);
    let read = Read { database: None, reason: None, table: None, at, precision };
    Backup { kind: Of::Foreign(read), ..backup(key, "", "", at) }
}

impl Backup {
    /// Changes the manifest.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Manifest)) -> Self {
        if let Of::Committed(manifest) = &mut self.kind {
            change(manifest);
        }
        self
    }
}
