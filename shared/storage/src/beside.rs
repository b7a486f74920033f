//! What lies beside a backup, under its own key and an ending more.

use jiff::{Timestamp, tz::TimeZone};
use shared::catalog::{self, UNCHANGED_SUFFIX_FORMAT};

/// The commit record.
pub fn manifest_key(key: &str) -> String {
    format!("{key}.json")
}

/// The signature of one of these.
pub fn signature_key(name: &str) -> String {
    shared::signing::signature_name(name)
}

/// The hash, as `sha256sum` reads it.
pub fn checksum_key(key: &str) -> String {
    format!("{key}.sha256")
}

/// The hold.
pub fn legal_hold_key(key: &str) -> String {
    format!("{key}.hold")
}

/// The note that the database was still the same at `at`.
pub fn unchanged_marker_key(key: &str, at: Timestamp) -> String {
    format!("{key}{}", at.to_zoned(TimeZone::UTC).strftime(UNCHANGED_SUFFIX_FORMAT))
}

/// Those of `keys` that are such notes of this backup, each with its time.
pub fn unchanged_markers<'k>(
    keys: impl Iterator<Item = &'k str>,
    of: &str,
) -> impl Iterator<Item = (&'k str, Timestamp)> {
    keys.filter_map(move |key| {
        catalog::parse_unchanged_marker(key)
            .filter(|(whose, _)| *whose == of)
            .map(|(_, at)| (key, at))
    })
}

/// The backup that this lies beside, if it is of such a kind.
pub fn backup_key_of_sidecar(key: &str) -> Option<&str> {
    let key = key.strip_suffix(shared::signing::SIGNATURE_SUFFIX).unwrap_or(key);
    let plain = [".json", ".sha256", ".hold"].iter().find_map(|end| key.strip_suffix(end));
    plain.or_else(|| catalog::parse_unchanged_marker(key).map(|(of, _)| of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_by_its_name_and_nothing_else_is_one() {
        let at: Timestamp = "2026-11-21T02:00:00.9Z".parse().expect("a time");
        let note = unchanged_marker_key("daily/orders.dump", at);
        assert_eq!(note, "daily/orders.dump.unchanged-20261121T020000Z");
        assert_eq!(backup_key_of_sidecar(&note), Some("daily/orders.dump"));
        assert_eq!(backup_key_of_sidecar(&signature_key(&note)), Some("daily/orders.dump"));
        assert_eq!(backup_key_of_sidecar("orders.dump.json.minisig"), Some("orders.dump"));
        for other in [
            "orders.dump",
            "orders.dump.minisig",
            "a.unchanged-",
            "a.unchanged-20261121",
            "a.unchanged-20261121T020000Z.gz",
        ] {
            assert_eq!(backup_key_of_sidecar(other), None, "{other}");
        }
    }
}
