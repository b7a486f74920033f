//! What the commands of secrets take.

use clap::{Args as ClapArgs, Subcommand};
use shared::policy::text::Region;

/// What is done with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Every secret: its versions by name and age, and what is wrong; reads no value
    #[command(after_help = "\
Examples:
  holdfast secrets check
  holdfast secrets check app --json | jq '.secrets[] | select(.exported | not) | .name'

Exits with 1 when anything is critical.")]
    Check {
        /// Only this group
        #[arg(value_name = "GROUP")]
        group: Option<String>,
    },
    /// Export the versions that have no export
    ///
    /// What the Lambda does: each version is read once in its life and encrypted to the policy's recipients.
    #[command(after_help = "\
Examples:
  holdfast secrets export --dry-run
  holdfast secrets export app/lomash-wood/orders/database")]
    Export {
        /// Only this group, or this secret of it: GROUP/NAME
        #[arg(value_name = "GROUP[/NAME]")]
        target: Option<String>,
        /// Show what would be exported; reads no value
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare the exported with the live versions; shows no value
    ///
    /// Without an identity by their ids alone. With one the values of both sides are read and compared.
    #[command(after_help = "\
Examples:
  holdfast secrets diff
  holdfast secrets diff app --identity offline.key

Exits with 1 when a version is not exported, differs, or could not be compared.")]
    Diff(SecretsDiffArgs),
    /// Restore an exported secret, or all whose names begin alike
    ///
    /// Under another name (restored/NAME) unless --to says otherwise, the previous version first. Rotation and resource
    /// policy are not attached, and the end of the ARN is another one. Nothing is written without --yes.
    #[command(after_help = "\
Examples:
  holdfast secrets restore app/shop/database --identity offline.key            what would be done
  holdfast secrets restore app/shop/database --identity offline.key --yes
  holdfast secrets restore 'app/shop/*' --to drill/ --region eu-central-1 --identity offline.key --yes
  holdfast secrets restore app/shop/database --to shop/database --version ID --overwrite --identity offline.key --yes")]
    Restore(SecretsRestoreArgs),
}

/// What `secrets diff` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SecretsDiffArgs {
    /// Only this group
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// A file with an age identity (AGE-SECRET-KEY-1...), mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<String>,
}

/// What `secrets restore` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SecretsRestoreArgs {
    /// The group and the secret's exported name; with * at its end all whose names begin so
    #[arg(value_name = "GROUP/NAME")]
    pub(crate) target: String,
    /// This version, instead of the newest and the one before it
    #[arg(long, value_name = "ID")]
    pub(crate) version: Option<String>,
    /// The restored secret's name; of several, what replaces the part before the *
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,
    /// Region that it is restored in; that of home without it
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<Region>,
    /// KMS key of the restored secret; aws/secretsmanager without it
    #[arg(long, value_name = "KEY")]
    pub(crate) kms_key: Option<String>,
    /// Write into a secret that exists: its value becomes the previous one
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// A file with an age identity (AGE-SECRET-KEY-1...), mode 0600; the policy's `identity` without it
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<String>,
    /// Do it; without this it is only shown
    #[arg(long)]
    pub(crate) yes: bool,
}
