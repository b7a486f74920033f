//! The line of shell that restores a backup with stock tools.

use super::{EncodingLayers, EncryptionFormat, ManifestFormat};

/// What a line of restore is built of.
#[derive(Clone, Debug)]
pub struct RestoreCommandInput<'a> {
    /// What writes the stored file to its standard output: [`crate::BackupStore::download_command`].
    pub fetch: &'a str,
    /// What must be undone.
    pub layers: &'a EncodingLayers,
    /// Format of the archive.
    pub format: ManifestFormat,
    /// The table of a CSV file.
    pub table: Option<&'a str>,
}

/// What follows plain SQL: psql goes on where a role is missing, as `pg_restore` does, and ends with an error if there was
/// any.
const PSQL_ERROR_CHECK: &str = r#"printf '%s\n' "\set ON_ERROR_STOP on" "SELECT 1 / (:'LAST_ERROR_SQLSTATE' = '00000')::int AS complete;""#;

/// One line with stock tools; of an RDB file it writes `dump.rdb` into the current directory. Words in capitals are to be
/// replaced: `TARGET` is a database or connection string, `KEY.txt`
/// the age identity, `PASSPHRASE.txt` a file with the passphrase. No secret is on a command line.
pub fn restore_command(of: &RestoreCommandInput<'_>) -> String {
    if of.format == ManifestFormat::Rdb {
        let steps = [vec![of.fetch.to_owned()], of.layers.shell_commands(identity_file(of))];
        return format!("{} > dump.rdb", steps.concat().join(" | "));
    }
    let mut steps = vec![of.fetch.to_owned()];
    steps.extend(of.layers.shell_commands(identity_file(of)));
    steps.push(match (of.format, of.table) {
        (ManifestFormat::Custom | ManifestFormat::Rdb, _) => {
            "pg_restore --no-owner -d TARGET".into()
        }
        (ManifestFormat::Plain, _) => {
            return format!(
                "{{ {}; {PSQL_ERROR_CHECK}; }} | psql -X -q -d TARGET",
                steps.join(" | ")
            );
        }
        (ManifestFormat::Csv, table) => {
            let copy =
                format!("\\copy {} FROM STDIN (FORMAT csv, HEADER)", table.unwrap_or("TABLE"));
            format!("psql -X -v ON_ERROR_STOP=1 -d TARGET -c {}", crate::shell_quote(&copy))
        }
    });
    steps.join(" | ")
}

/// The placeholder for the file with the key.
fn identity_file(of: &RestoreCommandInput<'_>) -> &'static str {
    match of.layers.encryption {
        Some(EncryptionFormat::OpenSsl { .. }) => "PASSPHRASE.txt",
        _ => "KEY.txt",
    }
}
