//! PostgreSQL servers and the stores that their dumps lie in, as far as plans see them.

use super::World;
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::OperationErrorKind as Refusal,
    policy::{StoreConfig, text::Name},
};
use std::collections::BTreeMap;
use storage::{
    BackupManifest, StoredBackup,
    catalogue::BackupKind,
    manifest::{
        EncodingLayers, MANIFEST_VERSION, ManifestFormat, PlaintextInfo, ServerProperties,
        StoredFile,
    },
};

/// A store: by database, the backups that its listing shows.
#[derive(Clone, Debug, Default)]
pub struct DumpStore {
    /// By database.
    pub backups: BTreeMap<String, Vec<StoredBackup>>,
}

/// A server.
#[derive(Clone, Debug)]
pub struct DumpServer {
    /// Which server: stays when it is upgraded by `pg_upgrade --link` only.
    pub system_identifier: String,
    /// Whether it can be connected to.
    pub is_up: bool,
    /// By name.
    pub databases: BTreeMap<String, SimulatedDatabase>,
}

/// A database of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedDatabase {
    /// Bytes that its dump has, as it is stored.
    pub dump_bytes: u64,
    /// Counts its changes: a dump of the same content has the same number.
    pub content: u64,
}

/// A dump that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct DumpOrder<'o> {
    pub(crate) owner: &'o str,
    pub(crate) group: &'o Name,
    pub(crate) database: &'o str,
    pub(crate) reason: &'o str,
    pub(crate) slot: Option<Timestamp>,
    pub(crate) table: Option<&'o str>,
    pub(crate) key: &'o str,
    pub(crate) is_narrowed: bool,
    pub(crate) deduplicate: bool,
}

/// Where a store lies, for people and as its name here.
pub fn store_address(store: &StoreConfig) -> String {
    let bucket = store.bucket.as_ref().map(|b| format!("s3://{b}/{}", store.prefix));
    let azure = store.azure.as_ref();
    let azure = azure.map(|a| format!("azure://{}/{}/{}", a.account, a.container, store.prefix));
    let directory = store.directory.as_ref().map(|d| format!("{d}/{}", store.prefix));
    let endpoint = store.endpoint.as_ref().map(|e| format!(" at {e}")).unwrap_or_default();
    format!("{}{endpoint}", directory.or(azure).or(bucket).unwrap_or_default())
}

/// The name of a server: of an owner's group.
pub(crate) fn server_name(owner: &str, group: &Name) -> String {
    format!("{owner} {group}")
}

impl World {
    pub(crate) fn mark_stores_changed(&mut self) {
        self.stores_changed = true;
    }

    /// Dumps a database into a store; the record is there when the dump is.
    ///
    /// # Errors
    /// If the server is down, or something has the key.
    pub(crate) fn take_dump(
        &mut self,
        address: &str,
        order: &DumpOrder<'_>,
    ) -> Result<(), Refusal> {
        let server = self.servers.get(&server_name(order.owner, order.group));
        let server = server.filter(|s| s.is_up).ok_or(Refusal::Database)?;
        let of = server.databases.get(order.database).copied().ok_or(Refusal::Database)?;
        let system = server.system_identifier.clone();
        let data_time = self.now;
        let backup = new_backup(address, order, &of, &system, data_time);
        let all = self.stores.entry(address.to_owned()).or_default();
        let there = all.backups.entry(order.database.to_owned()).or_default();
        if there.iter().any(|b| b.key == order.key) {
            return Err(Refusal::Exists);
        }
        there.push(backup);
        self.mark_stores_changed();
        Ok(())
    }

    /// Notes beside a dump that the database was the same; false when it was not.
    pub(crate) fn note_unchanged(
        &mut self,
        address: &str,
        database: &str,
        key: &str,
        at: Timestamp,
    ) {
        let all = self.stores.entry(address.to_owned()).or_default();
        let there = all.backups.entry(database.to_owned()).or_default();
        if let Some(backup) = there.iter_mut().find(|b| b.key == key)
            && !backup.unchanged.contains(&at)
        {
            backup.unchanged.push(at);
            self.mark_stores_changed();
        }
    }

    /// Copies a dump to another store, byte for byte.
    ///
    /// # Errors
    /// If it is not there.
    pub(crate) fn copy_dump(
        &mut self,
        (from, to): (&str, &str),
        database: &str,
        key: &str,
    ) -> Result<(), Refusal> {
        let home = self.stores.get(from).and_then(|s| s.backups.get(database));
        let found = home.and_then(|all| all.iter().find(|b| b.key == key)).cloned();
        let mut copy = found.ok_or(Refusal::Missing)?;
        copy.uri = format!("{to}{key}");
        copy.modified = self.now;
        let there = self.stores.entry(to.to_owned()).or_default();
        let there = there.backups.entry(database.to_owned()).or_default();
        there.retain(|b| b.key != key);
        there.push(copy);
        self.mark_stores_changed();
        Ok(())
    }

    /// Deletes a dump.
    ///
    /// # Errors
    /// If it is not there.
    pub(crate) fn delete_dump(&mut self, address: &str, uri: &str) -> Result<(), Refusal> {
        let store = self.stores.get_mut(address).ok_or(Refusal::Missing)?;
        let mut found = false;
        for all in store.backups.values_mut() {
            let before = all.len();
            all.retain(|b| b.uri != uri);
            found |= all.len() != before;
        }
        self.stores_changed |= found;
        if found { Ok(()) } else { Err(Refusal::Missing) }
    }

    /// An attacker, who may add anything to a store, adds a record that no key of the policy signed, beside its file.
    pub(crate) fn plant_dump(&mut self, address: &str, database: &str, at: Timestamp) {
        let Some(store) = self.stores.get_mut(address) else { return };
        let Some(all) = store.backups.get_mut(database) else { return };
        let Some(model) = all.iter().find(|b| b.is_committed()).cloned() else { return };
        let key = format!("planted-{}-{}", at.as_second(), all.len());
        let manifest = model.committed_manifest().cloned().map(|m| {
            Box::new(BackupManifest { key: key.clone(), data_time: at, slot: Some(at), ..m })
        });
        all.push(StoredBackup {
            uri: format!("{address}{key}"),
            key,
            size: 1,
            modified: self.now,
            kind: BackupKind::Faulty {
                parsed_key: None,
                manifest,
                kind: storage::StoreErrorKind::Untrusted,
                why: "no key of the policy signed it".into(),
                hint: "find out who put it there".into(),
            },
            ..model
        });
        self.stores_changed = true;
    }

    /// Every database of a server changes.
    pub(crate) fn change_contents(&mut self, grow: bool) {
        for database in self.servers.values_mut().flat_map(|s| s.databases.values_mut()) {
            database.content += 1;
            if grow {
                database.dump_bytes += database.dump_bytes / 2000;
            }
        }
    }
}

fn new_backup(
    address: &str,
    order: &DumpOrder<'_>,
    of: &SimulatedDatabase,
    system: &str,
    data_time: Timestamp,
) -> StoredBackup {
    let content = format!("{} {} {}", order.key, of.content, data_time);
    let sha256 = format!(
        "{:0>64x}",
        content.bytes().fold(7_u128, |h, b| h.wrapping_mul(131).wrapping_add(b.into()))
    );
    let manifest = BackupManifest {
        holdfast: MANIFEST_VERSION,
        owner: order.owner.to_owned(),
        key: order.key.to_owned(),
        group: order.group.to_string(),
        database: order.database.to_owned(),
        reason: order.reason.to_owned(),
        table: order.table.map(str::to_owned),
        run: "simulated".into(),
        slot: order.slot,
        data_time,
        finished_at: data_time + SignedDuration::from_mins(1),
        file: StoredFile {
            name: order.key.rsplit('/').next().unwrap_or_default().to_owned(),
            bytes: of.dump_bytes,
            sha256: sha256.clone(),
            checksum: None,
        },
        plain: PlaintextInfo { bytes: of.dump_bytes, sha256 },
        format: ManifestFormat::Custom,
        layers: EncodingLayers::default(),
        recipients: Vec::new(),
        key_id: None,
        server: ServerProperties {
            version_num: 170_000,
            system_identifier: Some(system.to_owned()),
            ..ServerProperties::default()
        },
        client: "17.0".into(),
        extensions: Vec::new(),
        roles: Vec::new(),
        selection: if order.is_narrowed { vec!["public.some".into()] } else { Vec::new() },
        tables: Vec::new(),
        large_objects: 0,
        fingerprint: order.deduplicate.then(|| format!("{:0>64x}", of.content)),
        locked_until: None,
        restore: String::new(),
        redis: None,
    };
    StoredBackup {
        key: order.key.to_owned(),
        uri: format!("{address}{}", order.key),
        size: of.dump_bytes,
        modified: data_time,
        class: None,
        archived: false,
        kind: BackupKind::Committed(Box::new(manifest)),
        hold: None,
        unchanged: Vec::new(),
        ignored: Vec::new(),
    }
}
