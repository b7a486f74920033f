//! The command line. Its help is read at 3 a.m.: say what happens, what it costs, and show one line to copy.

pub(crate) mod drill;
pub(crate) mod redis;
pub(crate) mod secrets;
pub(crate) mod simulate;
pub(crate) mod wal;

use crate::function::FunctionName;
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use shared::policy::text::{Arn, ListenAddress, Period};

/// Backups of databases and buckets, held to a policy: what stands how, what would be done, and doing it now.
///
/// Nothing here changes anything except `run`, `gate`, `dump`, `restore`, `drill`, `hold`, `release`, `secrets`, `store` and `key`.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 100, after_help = AFTER_HELP, subcommand_required = true)]
pub(crate) struct CliArgs {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

const AFTER_HELP: &str = "\
Where to begin:
  holdfast status                    how everything stands, worst first
  holdfast explain orders-prod       one database: its snapshots, and what becomes of each
  holdfast plan                      what the functions would do now; changes nothing
  holdfast gate --reason pre-deploy  snapshot before a deployment, and wait for it
  holdfast dump                      dump the PostgreSQL databases that are due
  holdfast restore shop/orders --to orders_check

Exit codes:
  0    all is well
  1    something failed, or a finding is critical
  2    a database could not be connected to, or was lost on the way
  3    AWS or a store was not reached or refused: no credentials, denied, an upload failed
  4    encryption or decryption failed
  5    letting go of old points or of leftovers failed
  6    restored, but with losses
  64   the command, the policy or the request is wrong
  75   not finished in time (--timeout)
  130  interrupted

Credentials and region come from where the AWS CLI takes them: AWS_PROFILE, AWS_REGION, the host's role, ...";

/// What every command takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct GlobalArgs {
    /// The policy: a file, or an object in S3
    #[arg(
        long,
        global = true,
        value_name = "PATH|s3://BUCKET/KEY",
        env = "HOLDFAST_POLICY",
        default_value = "./policy.yaml",
        value_parser = parse_policy_location
    )]
    pub(crate) policy: String,
    /// Write JSON to stdout, and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// SNS topic that failures and alarms go to; without it the alarms keep the topic that they have
    #[arg(long, global = true, value_name = "ARN", env = "HOLDFAST_TOPIC_ARN", value_parser = parse_topic_arn)]
    pub(crate) topic: Option<TopicArg>,
    /// SNS topic that every run's report goes to as JSON, for the notify function; without it reports go nowhere else
    #[arg(
        long,
        global = true,
        value_name = "ARN",
        env = "HOLDFAST_REPORTS_TOPIC_ARN",
        value_parser = parse_topic_arn
    )]
    pub(crate) reports_topic: Option<TopicArg>,
    /// Where notify remembers what it told: given, `run`, `dump`, `verify` and `restore` tell the policy's channels
    #[arg(long, global = true, value_name = "DIR|s3://BUCKET/PREFIX", env = "HOLDFAST_STATE")]
    pub(crate) state: Option<String>,
    /// Write log lines (JSON) to stderr, as the Lambdas do
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub(crate) verbose: bool,
}

/// A topic; an environment variable that is set and empty names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicArg(pub(crate) Option<String>);

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
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
  holdfast plan                what all of them would do
  holdfast plan retention      which snapshots would be deleted, and why

Exits with 1 when something could not be looked at.")]
    Plan {
        /// These functions only
        #[arg(value_enum, value_name = "FUNCTION")]
        functions: Vec<FunctionName>,
    },
    /// The policy's days ahead, played in a moment: points, ages, storage, quotas, findings, messages; asks AWS nothing
    ///
    /// Plays the functions' own code in a world where nothing fails, on a fleet made up from the policy. Markdown, or JSON.
    #[command(after_help = "\
Examples:
  holdfast simulate
  holdfast simulate --days 90 --databases 20 --database-size 500
  holdfast simulate --against new-policy.yaml        what changes, and what would be deleted that is kept today
  holdfast simulate --json | jq '.places[] | select(.quota_reached_on)'")]
    Simulate(simulate::SimulateArgs),
    /// Run a function now, as its Lambda would
    ///
    /// The same code as the Lambda, metrics and alarms included. Asking twice does nothing twice.
    #[command(after_help = "\
Examples:
  holdfast run freshness
  holdfast run offsite --dry-run
  holdfast run snapshot                                   what the schedules say is due
  holdfast run snapshot --reason pre-deploy --asset orders-prod --wait

Exits with 75 when the time was over before everything was done; the next run goes on from there.")]
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
    /// Dump PostgreSQL databases: what the schedules say is due, or now for a reason
    ///
    /// Takes the lease, dumps on one snapshot, compresses, encrypts and uploads in one pass, reads back, writes the
    /// commit record, copies to second places, then lets go of what the policy lets go. Killed at any moment, it leaves
    /// nothing that counts as a backup and nothing that the next run does not clean up.
    #[command(after_help = "\
Examples:
  holdfast dump                                  what is due now; for cron and CronJobs
  holdfast dump --reason manual                  every group that has this reason, now
  holdfast dump listings --reason daily          one group
  holdfast dump production/shop --reason manual  one database
  holdfast dump --dry-run

Exit codes: 1 failed, 2 no connection to the database, 3 upload, 4 encryption, 5 clean-up.")]
    Dump(DumpArgs),
    /// Redis and Valkey: check the servers, save, take RDB files
    #[command(subcommand)]
    Redis(redis::RedisCommand),
    /// The dumps that there are, newest first, from the stores alone
    #[command(after_help = "\
Examples:
  holdfast list
  holdfast list production
  holdfast list production/shop --json | jq -r '.[0].backup'

Only what has its commit record counts. Files of other tools whose names fit the policy's are listed as foreign.")]
    List {
        /// Only this group, or this database of it
        #[arg(value_name = "GROUP[/DATABASE]")]
        target: Option<String>,
    },
    /// Prove that dumps can be read, or that they come back
    ///
    /// Quick: hashes, decryption and decompression to the end. Full: restores into a temporary database, counts the rows
    /// of every table against the commit record, runs the policy's checks, and drops the database again.
    #[command(after_help = "\
Examples:
  holdfast verify                                 the newest dump of every database, quickly
  holdfast verify --full                          and by a test restore
  holdfast verify --all --jobs 4                 every dump there is
  holdfast verify production/shop --full --markdown report.md

Exits with 1 when a dump is not what it should be, 2 without the database, 3 without the store, 4 without the key.")]
    Verify(VerifyArgs),
    /// Restore a dump into a new database, or in the place of an existing one
    ///
    /// Everything is restored into a new database first and verified there. With --replace the existing database is
    /// dumped, and the two change names at the very end; the old one stays beside it. A restore that fails leaves
    /// everything as it was.
    #[command(after_help = "\
Examples:
  holdfast restore production/shop --to shop_check          the newest dump into a new database
  holdfast restore full/shop_20261120.dump --to shop_old    a certain one
  holdfast restore production/shop --replace --dry-run      what would happen
  holdfast restore production/shop --replace                asks before it does it
  holdfast restore production/shop --to x --table orders    chosen tables, into a new database
  holdfast restore cache --to /srv/redis-restored           an RDB file into a folder, with what to do next
  holdfast restore production --at 2026-11-27T14:05:00Z --target-dir /srv/restored    a whole server as of then

BACKUP is GROUP/DATABASE for its newest good dump, or a file as `holdfast list` prints it.
Exits with 6 when it was restored and something that was in the dump is missing: each loss is listed.")]
    Restore(RestoreArgs),
    /// Test restores by the policy's calendar, and the evidence of what they showed
    #[command(subcommand)]
    Drill(drill::DrillCommand),
    /// Keep a dump whatever the rules say, until it is released
    #[command(after_help = "\
Example:
  holdfast hold full/shop_20261120.dump --reason \"audit 2026\"")]
    Hold {
        /// The file, as `holdfast list` prints it
        backup: String,
        /// Why it is kept
        #[arg(long)]
        reason: String,
    },
    /// The WAL archive: any moment of a whole server
    #[command(subcommand)]
    Wal(wal::WalCommand),
    /// Take a base backup of a whole server into its WAL archive
    ///
    /// By the replication protocol, from a primary or a standby. The server checks every page; what it finds damaged is an
    /// error. It counts only when all WAL is archived that it needs.
    #[command(after_help = "\
Examples:
  holdfast basebackup
  holdfast basebackup main --spread

The role needs REPLICATION, and pg_hba.conf a line for the database `replication`.")]
    Basebackup(wal::BaseBackupArgs),
    /// Secrets of Secrets Manager: their versions, exports, comparison and restore
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Where backups lie
    #[command(subcommand)]
    Store(StoreCommand),
    /// Keys that sign what lies in stores
    #[command(subcommand)]
    Key(KeyCommand),
    /// Take a hold away
    #[command(after_help = "\
Example:
  holdfast release full/shop_20261120.dump")]
    Release {
        /// The file, as `holdfast list` prints it
        backup: String,
    },
    /// Serve to Prometheus how everything stands
    ///
    /// Looks as `holdfast status` looks, hourly unless the policy or --every says otherwise, and answers scrapes at once
    /// from the last look. A look that fails leaves the ages growing and health at 0. The newest file of each directory is
    /// read once a day and held against its checksum.
    #[command(after_help = "\
Examples:
  holdfast monitor                                        http://127.0.0.1:9090/metrics and /healthz
  holdfast monitor --serve 0.0.0.0:9090 --every 15m
  holdfast monitor --once                                 print them, for a look or a pipe into promtool
  holdfast monitor --textfile /var/lib/node_exporter/textfile/holdfast.prom

/healthz answers 503 while nothing was seen, the last look failed, or it is too old. Stops at SIGTERM and SIGINT with 0;
--once exits with 1 when anything is critical.")]
    Monitor(MonitorArgs),
    /// What was done, by whom and why; and whether the record of it is whole
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Tell people what time alone brings: escalations, the digest, what could not be sent, who says nothing any more
    ///
    /// Without options this is one tick, for cron every 5 minutes; needs --state. What `run`, `dump`, `verify` and
    /// `restore` do is told by themselves.
    #[command(after_help = "\
Examples:
  holdfast notify --state /var/lib/holdfast      a tick
  holdfast notify --test                         a test message to every channel of the policy
  holdfast notify --test pager
  holdfast notify --list --json | jq '.open[]'   what is open, since when, and who knows

Exits with 1 when a channel could not be told, and with --list when something critical is open.")]
    Notify(NotifyArgs),
    /// Write the status page: what stands how, since when, at what cost
    ///
    /// One HTML page that stands on its own, and the same as `report.json` beside it, to where the policy's `status_page` says.
    /// Nothing else is changed or published; the Lambda of that name publishes the metrics.
    #[command(after_help = "\
Examples:
  holdfast report                          to the bucket or directory of status_page
  holdfast report --to /var/www/backups    to a folder, whatever the policy says
  holdfast report --dry-run --json | jq -r .summary.sentence

Exits with 0 when the page was written, whatever it says; `holdfast status` is the check.")]
    Report(ReportArgs),
    /// The policy's alarms, their state, and since when
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
  holdfast policy check --aws my-policy.yaml

Exits with 64 when there is a fault, and with 1 when --aws finds something critical.")]
    Check {
        /// The policy; without it the one of --policy
        #[arg(value_name = "FILE", value_parser = parse_policy_location)]
        file: Option<String>,
        /// Asks AWS what will be in the way: quotas without room for what the policy keeps, keys that can't decrypt
        #[arg(long)]
        aws: bool,
    },
    /// The JSON Schema of policies, for editors
    #[command(after_help = "\
Example:
  holdfast policy schema > schema.json")]
    Schema,
}

/// What is done with stores.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Write the mark that says whose a store is, once
    ///
    /// A directory without its mark holds no dumps and gets none: perhaps nothing is mounted there. A bucket gets its mark
    /// with its first dump. What is there already stays as it is.
    #[command(after_help = "\
Examples:
  holdfast store init                every place of every group
  holdfast store init production")]
    Init {
        /// Only this group's places
        #[arg(value_name = "GROUP")]
        group: Option<String>,
    },
}

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a pair of keys: the secret half into a file of mode 0600, the public one to stdout
    ///
    /// The secret half signs what is written into stores and stays with whoever makes backups; the public one checks it,
    /// goes into the policy, and is checked by `minisign -V -P` as well.
    #[command(after_help = "\
Example:
  holdfast key new /etc/holdfast/signing.key

Then write into the policy:
  signing:
    secret_key: { file: /etc/holdfast/signing.key }
    public_keys: [RW...]")]
    New {
        /// Where the secret half goes; nothing may be there
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Print the public half of a KMS key (`ECC_NIST_EDWARDS25519`) that signs
    ///
    /// KMS signs what is written into stores, and nobody holds the secret half. Asks KMS for the public key (kms:GetPublicKey).
    #[command(after_help = "\
Example:
  holdfast key public arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab

Then write into the policy:
  signing:
    kms_key: arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
    public_keys: [RW...]")]
    Public {
        /// The key's ARN
        #[arg(value_name = "ARN")]
        kms_key: shared::policy::text::Arn,
    },
}

/// What is asked of the record of operations.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Walk the whole chain of records: nothing missing, changed, moved or put in
    #[command(after_help = "\
Examples:
  holdfast audit verify
  holdfast audit verify --head 1042:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

Keep the head that it prints somewhere else: given to a later verify, it also finds records that were cut off at the end.
Exits with 1 when the chain is broken, and names the first bad place.")]
    Verify {
        /// Where the record ended at an earlier verify
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<shared::audit::ChainHead>,
    },
    /// What was done or tried, newest first
    #[command(after_help = "\
Examples:
  holdfast audit list
  holdfast audit list --since 30d --asset production/shop
  holdfast audit list --json | jq -r '.[] | select(.result == \"failed\") | .detail'")]
    List {
        /// So far back
        #[arg(long, value_name = "TIME", default_value = "7d")]
        since: Period,
        /// Only this asset, or those of this group
        #[arg(long, value_name = "ASSET")]
        asset: Option<String>,
    },
}

/// What `run` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// The function
    #[arg(value_enum)]
    pub(crate) function: FunctionName,
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

/// What `report` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    /// Write index.html and report.json into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<std::path::PathBuf>,
    /// Write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What `monitor` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct MonitorArgs {
    /// Serve on this address instead of the policy's, or of 127.0.0.1:9090
    #[arg(long, value_name = "ADDR:PORT")]
    #[expect(clippy::option_option, reason = "not given, given without an address, or with one")]
    pub(crate) serve: Option<Option<ListenAddress>>,
    /// Write the metrics to this file after each look, for the textfile collector of `node_exporter`
    #[arg(long, value_name = "FILE")]
    pub(crate) textfile: Option<std::path::PathBuf>,
    /// Look once, print (or write) the metrics, and end
    #[arg(long, conflicts_with = "serve")]
    pub(crate) once: bool,
    /// Look this often, instead of as often as the policy says, or hourly
    #[arg(long, value_name = "TIME")]
    pub(crate) every: Option<Period>,
}

/// What `notify` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct NotifyArgs {
    /// Send a test message to this channel, or to all, and say what happened
    #[arg(long, value_name = "CHANNEL", num_args = 0..=1, default_missing_value = "")]
    pub(crate) test: Option<String>,
    /// Show what is open and what waits to be sent
    #[arg(long, conflicts_with = "test")]
    pub(crate) list: bool,
    /// Show what would be sent, and send and remember nothing
    #[arg(long, conflicts_with_all = ["test", "list"])]
    pub(crate) dry_run: bool,
}

/// What `dump` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct DumpArgs {
    /// Only these groups, or databases of them; all without
    #[arg(value_name = "GROUP[/DATABASE]")]
    pub(crate) targets: Vec<String>,
    /// Dump now for this reason of the policy, instead of what is due
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Show what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let nothing old go afterwards
    #[arg(long)]
    pub(crate) no_retention: bool,
    /// Stop after this long; a dump that is not finished then does not count
    #[arg(long, value_name = "TIME", default_value = "12h")]
    pub(crate) timeout: Period,
}

/// What `verify` takes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// Files, groups or databases; the newest dump of every database without
    #[arg(value_name = "BACKUP|GROUP[/DATABASE]")]
    pub(crate) targets: Vec<String>,
    /// Every dump of the groups or databases, not the newest alone
    #[arg(long)]
    pub(crate) all: bool,
    /// Hashes, decryption and decompression only (the default)
    #[arg(long, conflicts_with = "full")]
    pub(crate) quick: bool,
    /// Restore into a temporary database, count and check
    #[arg(long)]
    pub(crate) full: bool,
    /// So many at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: u8,
    /// Write a report in Markdown as well
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// Keys that are not in the policy.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct KeyArgs {
    /// File with an age identity or a passphrase for decryption, besides the policy's; mode 0600
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) files: Vec<String>,
}

/// What `restore` takes.
#[derive(Clone, Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct RestoreArgs {
    /// The dump: GROUP/DATABASE for its newest, or a file
    pub(crate) backup: String,
    /// Restore into this new database; an RDB file into this new or empty folder
    #[arg(
        long,
        value_name = "DATABASE|DIR",
        required_unless_present_any = ["replace", "target_dir"],
        conflicts_with = "replace"
    )]
    pub(crate) to: Option<String>,
    /// Restore in the place of the database that was dumped, or of this one
    #[arg(long, value_name = "DATABASE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) replace: Option<String>,
    /// Only these tables with their data
    #[arg(long = "table", value_name = "TABLE", conflicts_with = "replace")]
    pub(crate) tables: Vec<String>,
    /// Do not ask before an existing database is replaced
    #[arg(long, alias = "force", short = 'y')]
    pub(crate) yes: bool,
    /// Take no dump of the existing database before it is replaced
    #[arg(long)]
    pub(crate) no_safety_backup: bool,
    /// Drop the old database at the end instead of leaving it beside the new one
    #[arg(long)]
    pub(crate) drop_old: bool,
    /// Give everything to the connecting user instead of its owner
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// Leave GRANTs out
    #[arg(long)]
    pub(crate) no_privileges: bool,
    /// Restore the rest all the same when something can't be restored, and say what is missing: exit code 6
    #[arg(long)]
    pub(crate) accept_losses: bool,
    /// Connections that load in parallel
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: u8,
    /// Restore a file that nobody vouches for: of another tool, or without a record that counts. Whatever is in it is run
    #[arg(long)]
    pub(crate) untrusted: bool,
    /// Second place that it is read from, by its number in `copies`, from 1
    #[arg(long, value_name = "N")]
    pub(crate) from: Option<usize>,
    /// Wait until an archived file is thawed; hours
    #[arg(long)]
    pub(crate) wait: bool,
    /// Show what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) recovery: wal::RecoveryArgs,
}

/// What `gate` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct GateArgs {
    /// The reason, as a group of the policy has it under `snapshots`
    #[arg(long, default_value = "pre-deploy", value_parser = parse_gate_reason)]
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
    #[arg(long, value_name = "ID", value_parser = parse_request_id)]
    pub(crate) request: Option<String>,
}

fn parse_policy_location(s: &str) -> Result<String, String> {
    let fits = s.strip_prefix("s3://").is_none_or(|rest| {
        rest.split_once('/').is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
    });
    if s.is_empty() {
        return Err("it is empty; write a file's path, or s3://bucket/key".into());
    }
    fits.then(|| s.to_owned()).ok_or_else(|| "write s3://bucket/key".into())
}

fn parse_topic_arn(s: &str) -> Result<TopicArg, String> {
    if s.is_empty() {
        return Ok(TopicArg(None));
    }
    let arn: Arn = s.parse()?;
    let fits = arn.as_str().split(':').nth(2) == Some("sns");
    fits.then(|| TopicArg(Some(s.to_owned())))
        .ok_or_else(|| "it is not the ARN of an SNS topic".into())
}

fn parse_gate_reason(s: &str) -> Result<String, String> {
    if s == shared::request::SCHEDULE_REASON {
        return Err(format!(
            "a gate has a reason of its own; `{}` takes what is due",
            shared::hints::commands::RUN_SNAPSHOT
        ));
    }
    Ok(s.to_owned())
}

fn parse_request_id(s: &str) -> Result<String, String> {
    shared::request::check_request_name(s).map(|()| s.to_owned())
}

#[cfg(test)]
mod hinted;
#[cfg(test)]
mod tests;
