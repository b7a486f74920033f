//! The command line. Its help is read at 3 a.m.: say what happens, what it costs, and show one line to copy.

use crate::function::Function;
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use shared::policy::text::{Arn, Period};

/// Backups of AWS databases and buckets, held to a policy: what stands how, what would be done, and doing it now.
///
/// Nothing here changes anything except `run` and `gate`.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 100, after_help = AFTER, subcommand_required = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Where to begin:
  holdfast status                    how everything stands, worst first
  holdfast explain orders-prod       one database: its snapshots, and what becomes of each
  holdfast plan                      what the functions would do now; changes nothing
  holdfast gate --reason pre-deploy  snapshot before a deployment, and wait for it

Exit codes:
  0    all is well
  1    something failed, or a finding is critical
  2    the command, the policy or the request is wrong
  3    AWS could not be asked at all: no credentials, not reached, denied
  4    not finished in time (--timeout)
  130  interrupted

Credentials and region come from where the AWS CLI takes them: AWS_PROFILE, AWS_REGION, the host's role, ...";

/// What every command takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Global {
    /// The policy: a file, or an object in S3
    #[arg(
        long,
        global = true,
        value_name = "PATH|s3://BUCKET/KEY",
        env = "HOLDFAST_POLICY",
        default_value = "./policy.yaml",
        value_parser = policy_address
    )]
    pub(crate) policy: String,
    /// Write JSON to stdout, and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// SNS topic that failures and alarms go to; without it the alarms keep the topic that they have
    #[arg(long, global = true, value_name = "ARN", env = "HOLDFAST_TOPIC_ARN", value_parser = topic)]
    pub(crate) topic: Option<Topic>,
    /// Write log lines (JSON) to stderr, as the Lambdas do
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub(crate) verbose: bool,
}

/// A topic; an environment variable that is set and empty names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic(pub(crate) Option<String>);

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a policy file, or print its JSON Schema; asks AWS nothing
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// How every asset stands, worst first; changes nothing
    ///
    /// Looks as the freshness and replication functions look, as a dry run: nothing is changed or published.
    #[command(after_help = "\
Examples:
  holdfast status
  holdfast status --json | jq -r '.assets[] | select(.worst == \"critical\") | .asset'

Exits with 1 when anything is critical, so it can be a check of its own.")]
    Status,
    /// What the functions would do now, and why; changes nothing
    ///
    /// Runs the very code of the Lambdas as a dry run.
    #[command(after_help = "\
Examples:
  holdfast plan                what all five would do
  holdfast plan retention      which snapshots would be deleted, and why

Exits with 1 when something could not be looked at.")]
    Plan {
        /// These functions only
        #[arg(value_enum, value_name = "FUNCTION")]
        functions: Vec<Function>,
    },
    /// Run a function now, as its Lambda would
    ///
    /// The same code as the Lambda, metrics and alarms included. Asking twice does nothing twice.
    #[command(after_help = "\
Examples:
  holdfast run freshness
  holdfast run offsite --dry-run
  holdfast run snapshot                                   what the schedules say is due
  holdfast run snapshot --reason pre-deploy --asset orders-prod --wait

Exits with 4 when the time was over before everything was done; the next run goes on from there.")]
    Run(RunArgs),
    /// Snapshot before a deployment, and wait until it is complete
    ///
    /// Takes a snapshot of every selected database whose group has the reason, waits until all are available, and
    /// prints how to restore each. Exits with 0 only when every one is there: a pipeline stops by itself.
    #[command(after_help = "\
Examples:
  holdfast gate
  holdfast gate --reason pre-migration --asset orders-prod --max-age 15m
  holdfast gate --json | jq -r '.[].snapshot'

When it is interrupted or its time is over, RDS goes on with what was started. Ask again with the same --request
(it is printed at the start) and it waits for those instead of taking new ones.")]
    Gate(GateArgs),
    /// One asset: its group, its recovery points, what becomes of each, and what is due next
    #[command(after_help = "\
Examples:
  holdfast explain orders-prod           a database: every snapshot at home and elsewhere
  holdfast explain orders-prod --json | jq '.database.places[0].points[0]'
  holdfast explain redis                 what lies as objects in a bucket")]
    Explain {
        /// The database, bucket, or group whose points lie in a bucket
        #[arg(value_name = "ASSET")]
        asset: String,
    },
    /// The policy's alarms and their state
    #[command(after_help = "\
Examples:
  holdfast alarms
  holdfast alarms --json | jq -r '.[] | select(.state != \"OK\") | .name'

An alarm that the policy wants and CloudWatch does not have is MISSING; the function that feeds it sets it with its
next run. Exits with 1 when any is in ALARM or MISSING.")]
    Alarms,
}

/// What is done with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Every fault of a policy with its line, and what no function runs yet
    #[command(after_help = "\
Examples:
  holdfast policy check my-policy.yaml
  holdfast policy check s3://acme-holdfast/policy.yaml

Exits with 2 when there is a fault.")]
    Check {
        /// The policy; without it the one of --policy
        #[arg(value_name = "FILE", value_parser = policy_address)]
        file: Option<String>,
    },
    /// The JSON Schema of policies, for editors
    #[command(after_help = "\
Example:
  holdfast policy schema > schema.json")]
    Schema,
}

/// What `run` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// The function
    #[arg(value_enum)]
    pub(crate) function: Function,
    /// Change and publish nothing; say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only this database (snapshot only); may be given several times
    #[arg(long = "asset", value_name = "ASSET")]
    pub(crate) assets: Vec<String>,
    /// Take snapshots for this reason of the policy instead of what is due (snapshot only)
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Wait until the snapshots are complete (snapshot only)
    #[arg(long)]
    pub(crate) wait: bool,
    /// Start and wait for nothing after this time
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub(crate) timeout: Period,
}

/// What `gate` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct GateArgs {
    /// The reason, as a group of the policy has it under `snapshots`
    #[arg(long, default_value = "pre-deploy", value_parser = demanded)]
    pub(crate) reason: String,
    /// Only this database; may be given several times
    #[arg(long = "asset", value_name = "ASSET")]
    pub(crate) assets: Vec<String>,
    /// A good snapshot with data younger than this will do, whatever it was taken for
    #[arg(long, value_name = "TIME")]
    pub(crate) max_age: Option<Period>,
    /// Wait this long at most
    #[arg(long, value_name = "TIME", default_value = "30m")]
    pub(crate) timeout: Period,
    /// A name for this demand: asked again under it, what was started is waited for and nothing is taken twice
    /// [default: GITHUB_RUN_ID-GITHUB_RUN_ATTEMPT, or one made up]
    #[arg(long, value_name = "ID", value_parser = tag)]
    pub(crate) request: Option<String>,
}

fn policy_address(s: &str) -> Result<String, String> {
    let fits = s.strip_prefix("s3://").is_none_or(|rest| {
        rest.split_once('/').is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
    });
    if s.is_empty() {
        return Err("it is empty; write a file's path, or s3://bucket/key".into());
    }
    fits.then(|| s.to_owned()).ok_or_else(|| "write s3://bucket/key".into())
}

fn topic(s: &str) -> Result<Topic, String> {
    if s.is_empty() {
        return Ok(Topic(None));
    }
    let arn: Arn = s.parse()?;
    let fits = arn.as_str().split(':').nth(2) == Some("sns");
    fits.then(|| Topic(Some(s.to_owned())))
        .ok_or_else(|| "it is not the ARN of an SNS topic".into())
}

fn demanded(s: &str) -> Result<String, String> {
    if s == shared::request::SCHEDULE {
        return Err(
            "a gate has a reason of its own; `holdfast run snapshot` takes what is due".into()
        );
    }
    Ok(s.to_owned())
}

/// The name of a demand becomes a tag's value.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Tagging.html>
fn tag(s: &str) -> Result<String, String> {
    let fits = (1..=128).contains(&s.len())
        && s.chars().all(|c| c.is_ascii_alphanumeric() || "_.:/=+-@".contains(c));
    fits.then(|| s.to_owned())
        .ok_or_else(|| "write 1 to 128 letters, digits and _ . : / = + - @".into())
}

#[cfg(test)]
mod tests;
