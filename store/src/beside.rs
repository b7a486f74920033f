//! What lies beside a backup, under its own key and an ending more.

/// The commit record.
pub fn manifest(key: &str) -> String {
    format!("{key}.json")
}

/// The hash, as `sha256sum` reads it.
pub fn sums(key: &str) -> String {
    format!("{key}.sha256")
}

/// The hold.
pub fn hold(key: &str) -> String {
    format!("{key}.hold")
}

/// The backup that this lies beside, if it is of such a kind.
pub fn whose(key: &str) -> Option<&str> {
    [".json", ".sha256", ".hold"].iter().find_map(|end| key.strip_suffix(end))
}
