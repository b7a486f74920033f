//! Names of dumps, as the policy has them.

use crate::{KeyTemplate, StoreError};
use shared::policy::{DumpCompression, DumpFormat, DumpRule, StoreConfig};

/// The form of the keys of one reason's dumps in a store.
///
/// # Errors
/// If the policy's key is none that can be made and read back.
pub fn key_template(store: &StoreConfig, dump: &DumpRule) -> Result<KeyTemplate, StoreError> {
    KeyTemplate::for_store(store, &file_extension(dump), dump.format == DumpFormat::Csv)
}

/// How a dump's file ends where the policy does not say it: `.dump`, `.dump.zst.age`, `.sql.gz.enc`, `.csv.gz`.
fn file_extension(dump: &DumpRule) -> String {
    let format = match dump.format {
        DumpFormat::Custom => ".dump",
        DumpFormat::Plain => ".sql",
        DumpFormat::Csv => ".csv",
        DumpFormat::Base => ".base",
        DumpFormat::Rdb => ".rdb",
    };
    let compressed = match (dump.compress, dump.format) {
        (DumpCompression::Zstd, _) => ".zst",
        // Inside the archive, where no other program sees it.
        (DumpCompression::Gzip, DumpFormat::Custom) | (DumpCompression::None, _) => "",
        (DumpCompression::Gzip, _) => ".gz",
    };
    let encrypted = match &dump.encrypt {
        None => "",
        Some(e) if e.age.is_empty() => ".enc",
        Some(_) => ".age",
    };
    format!("{format}{compressed}{encrypted}")
}
