//! `holdfast key`: the keys that sign what lies in stores.

use crate::{
    args::{Global, KeyCommand},
    output::{Answer, Output},
    stop::{Exit, Stop},
    table::Look,
};
use anyhow::Context;
use serde::Serialize;
use shared::signing::MinisignSigner;
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Makes a pair: the secret half goes into a file, the public one is the answer.
pub(super) fn run(global: &Global, command: &KeyCommand) -> anyhow::Result<Exit> {
    let KeyCommand::New { file } = command;
    let (signer, secret) = MinisignSigner::generate().map_err(|e| Stop::edge(&e))?;
    write(file, secrecy::ExposeSecret::expose_secret(&secret))?;
    let made = Made { public_key: signer.public_key().to_string(), file: file.display().to_string() };
    Output::new(global.json).answer(&made)?;
    Ok(Exit::Well)
}

/// Writes a secret where nothing is, for its owner alone.
fn write(file: &Path, secret: &str) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("write {}", file.display()))?;
    let written = opened.write_all(secret.as_bytes()).and_then(|()| opened.sync_all());
    written.with_context(|| format!("write {}", file.display()))
}

#[derive(Serialize)]
struct Made {
    public_key: String,
    file: String,
}

impl Answer for Made {
    fn text(&self, _: Look) -> String {
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
        write(&file, "secret").expect("written");
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let e = write(&file, "another").expect_err("there is one");
        assert!(format!("{e:#}").contains("signing.key"), "{e:#}");
        assert_eq!(fs::read_to_string(&file).expect("read"), "secret");
    }
}
