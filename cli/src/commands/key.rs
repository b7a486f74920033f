//! `holdfast key`: the keys that sign what lies in stores.

use crate::{
    args::{GlobalArgs, KeyCommand},
    output::{CommandOutput, OutputWriter},
    session::{CommandEnv, connect_aws},
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use anyhow::Context;
use serde::Serialize;
use shared::{
    catalog::Location,
    signing::{MinisignSigner, PublicKey},
};
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Makes a pair, or shows the public half of a KMS key.
pub(super) async fn run(
    global: &GlobalArgs,
    edge: &CommandEnv,
    command: &KeyCommand,
) -> anyhow::Result<CommandExit> {
    let output = match command {
        KeyCommand::New { file } => generate_pair(file)?,
        KeyCommand::Public { kms_key } => {
            let aws = connect_aws(edge.attempts.unwrap_or(3)).await?;
            let public = match Location::of_arn(kms_key) {
                Some(place) => PublicKey::from_kms(&aws.kms(&place), kms_key).await,
                None => {
                    return Err(CommandError::usage(format!(
                        "{} names no key of KMS",
                        kms_key.as_str()
                    )));
                }
            };
            let public = public.map_err(|e| CommandError::from_operation_error(&e))?;
            PublicKeyOutput { public_key: public.to_string(), file: None }
        }
    };
    OutputWriter::new(global.json).print_output(&output)?;
    Ok(CommandExit::Success)
}

/// A new pair: its secret half goes into a file, the public one is the answer.
fn generate_pair(file: &Path) -> anyhow::Result<PublicKeyOutput> {
    let (signer, secret) =
        MinisignSigner::generate().map_err(|e| CommandError::from_operation_error(&e))?;
    write_secret(file, secrecy::ExposeSecret::expose_secret(&secret))?;
    let file = Some(file.display().to_string());
    Ok(PublicKeyOutput { public_key: signer.public_key().to_string(), file })
}

/// Writes a secret where nothing is, for its owner alone.
fn write_secret(file: &Path, secret: &str) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("write {}", file.display()))?;
    let written = opened.write_all(secret.as_bytes()).and_then(|()| opened.sync_all());
    written.with_context(|| format!("write {}", file.display()))
}

#[derive(Serialize)]
struct PublicKeyOutput {
    public_key: String,
    /// Where the secret half is.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl CommandOutput for PublicKeyOutput {
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
