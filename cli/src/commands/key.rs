//! `holdfast key`: the keys that sign what lies in stores.

use crate::{
    args::{GlobalArgs, KeyCommand},
    output::{CommandOutput, OutputWriter},
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use anyhow::Context;
use serde::Serialize;
use shared::signing::MinisignSigner;
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Makes a pair: the secret half goes into a file, the public one is the answer.
pub(super) fn run(global: &GlobalArgs, command: &KeyCommand) -> anyhow::Result<CommandExit> {
    let KeyCommand::New { file } = command;
    let (signer, secret) =
        MinisignSigner::generate().map_err(|e| CommandError::from_operation_error(&e))?;
    write_secret(file, secrecy::ExposeSecret::expose_secret(&secret))?;
    let made = KeyPairOutput {
        public_key: signer.public_key().to_string(),
        file: file.display().to_string(),
    };
    OutputWriter::new(global.json).print_output(&made)?;
    Ok(CommandExit::Success)
}

/// Writes a secret where nothing is, for its owner alone.
fn write_secret(file: &Path, secret: &str) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("write {}", file.display()))?;
    let written = opened.write_all(secret.as_bytes()).and_then(|()| opened.sync_all());
    written.with_context(|| format!("write {}", file.display()))
}

#[derive(Serialize)]
struct KeyPairOutput {
    public_key: String,
    file: String,
}

impl CommandOutput for KeyPairOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        self.public_key.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_key_is_for_its_owner_alone_and_takes_no_files_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("signing.key");
        write_secret(&file, "secret").expect("written");
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let e = write_secret(&file, "another").expect_err("there is one");
        assert!(format!("{e:#}").contains("signing.key"), "{e:#}");
        assert_eq!(fs::read_to_string(&file).expect("read"), "secret");
    }
}
