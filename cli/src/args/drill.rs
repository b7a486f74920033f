//! What the commands of drills take.

use clap::Subcommand;
use drill::evidence::DrillFault;
use std::path::PathBuf;

/// What is done with drills.
#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Every drill of the policy: when it is next, what the last one came to, how old the proof is; changes nothing
    #[command(after_help = "\
Examples:
  holdfast drill list
  holdfast drill list --json | jq '.drills[].next'")]
    List,
    /// What is due now, and what would be restored where; changes nothing
    #[command(after_help = "\
Examples:
  holdfast drill plan
  holdfast drill plan monthly")]
    Plan {
        /// Only this drill
        #[arg(value_name = "DRILL")]
        drill: Option<String>,
    },
    /// Restore now, check, and write the evidence; without a name, what is due
    ///
    /// The newest recovery point, or the one that the policy chooses, is restored to the scratch server into a database
    /// that is dropped afterwards. Nothing that exists is changed. The evidence says that the drill was asked for.
    #[command(after_help = "\
Examples:
  holdfast drill run                              the drills that are due
  holdfast drill run monthly-restore              this one now, of each of its assets
  holdfast drill run monthly-restore --asset shop
  holdfast drill run monthly-restore --inject truncate    must end with 1: a check that can't fail proves nothing

--inject breaks a copy or the scratch database, never a backup; its evidence is marked and counts for nothing.

Exits with 0 when everything is proven, 1 when something failed, 75 when something could not be carried out.")]
    Run {
        /// The drill; without it those that are due
        #[arg(value_name = "DRILL")]
        drill: Option<String>,
        /// Only this asset of it
        #[arg(long, value_name = "ASSET", requires = "drill")]
        asset: Option<String>,
        /// Break something on purpose, to see that it is found
        #[arg(long, value_name = "FAULT", value_enum, requires = "drill")]
        inject: Option<InjectArg>,
    },
    /// What drills showed: the calendar, what was kept, failed and missed, and the newest evidence
    #[command(after_help = "\
Examples:
  holdfast drill show monthly-restore
  holdfast drill show --markdown > drills.md      for an auditor
  holdfast drill show --json | jq '.drills[].assets[].slots'")]
    Show {
        /// The drill; all of them without it
        #[arg(value_name = "DRILL")]
        drill: Option<String>,
        /// Write Markdown
        #[arg(long)]
        markdown: bool,
    },
    /// Whether a file is evidence of this policy, unchanged
    ///
    /// The signature is read from FILE.minisig. `minisign -V -P KEY -m FILE` checks it too.
    #[command(after_help = "\
Examples:
  holdfast drill verify-evidence shop.json
  holdfast drill verify-evidence shop.json --public-key RW...    without the policy

Exits with 1 when it is not.")]
    VerifyEvidence {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The public key that must have signed it, instead of the policy's
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
    },
}

/// A fault that is made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InjectArg {
    /// Open the backup with a key that is not its own
    WrongKey,
    /// Empty every table before the checks
    Empty,
    /// Measure as if the restore had taken as long as the RTO more
    Slow,
    /// Leave out the second half of the file
    Truncate,
    /// Let the scratch server refuse what is restored
    FailedRestore,
}

impl InjectArg {
    /// As evidence calls it.
    pub(crate) fn fault(self) -> DrillFault {
        match self {
            Self::WrongKey => DrillFault::WrongKey,
            Self::Empty => DrillFault::Empty,
            Self::Slow => DrillFault::Slow,
            Self::Truncate => DrillFault::Truncate,
            Self::FailedRestore => DrillFault::FailedRestore,
        }
    }
}
