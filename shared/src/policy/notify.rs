//! Who is told what, on which channel, and when.

use super::{
    dumps::SecretFrom,
    text::{Arn, Cron, Name, Period, Region, ZoneName},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who is told what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Channels by name.
    pub channels: BTreeMap<Name, Channel>,
    /// Routes; every one that fits is used.
    pub routes: Vec<Route>,
    /// Later steps while a problem stays open.
    #[serde(default)]
    pub escalation: Vec<Escalation>,
    /// When the daily digest is sent, and to whom.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Who hears of recoveries.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// A sign of life for a service outside that rings when it stays away.
    #[serde(default)]
    pub heartbeat: Option<Heartbeat>,
    /// Functions whose reports must be heard at least this often; `freshness: 45m` when it is left out.
    #[serde(default)]
    pub expect: BTreeMap<Name, Period>,
    /// A problem that is back within this time goes on as the same one; from its second return on it counts as mended
    /// only after it has been away for so long. 30 minutes when it is left out.
    #[serde(default)]
    pub hold: Option<Period>,
    /// Mail server of every e-mail channel that names none.
    #[serde(default)]
    pub smtp: Option<Smtp>,
    /// Amazon SES for every e-mail channel that names no server.
    #[serde(default)]
    pub ses: Option<Ses>,
}

/// A way to reach people; exactly one of `slack`, `pagerduty`, `email`, `sns`, `http`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Slack incoming webhook.
    #[serde(default)]
    pub slack: Option<SecretFrom>,
    /// PagerDuty Events v2 routing key.
    #[serde(default)]
    pub pagerduty: Option<SecretFrom>,
    /// E-mail addresses.
    #[serde(default)]
    pub email: Vec<String>,
    /// SNS topic.
    #[serde(default)]
    pub sns: Option<Arn>,
    /// Web address that is posted to.
    #[serde(default)]
    pub http: Option<String>,
    /// What is posted to `http`; `full` when it is left out.
    #[serde(default)]
    pub body: Option<Body>,
    /// Headers that go with each post to `http`, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Bearer token that goes with each post to `http`.
    #[serde(default)]
    pub token: Option<SecretFrom>,
    /// Mail server of this channel's e-mails.
    #[serde(default)]
    pub smtp: Option<Smtp>,
    /// Amazon SES for this channel's e-mails.
    #[serde(default)]
    pub ses: Option<Ses>,
    /// Address of the service, when it is not the vendor's own: PagerDuty's European one, or a test's.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// The JSON that is posted to a web address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// The whole message.
    Full,
    /// `{"status", "backup_file", "size"}`, one for each backup.
    Backup,
    /// `{"status", "backup_file", "record_count"}`, one for each verification.
    Verification,
    /// `{"severity", "message"}`.
    Alert,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Host.
    pub host: String,
    /// Port; 465 with `tls: always`, 25 with `tls: never`, else 587.
    #[serde(default)]
    pub port: Option<u16>,
    /// User, when the server wants a login.
    #[serde(default)]
    pub user: Option<String>,
    /// Password.
    #[serde(default)]
    pub password: Option<SecretFrom>,
    /// Sender's address.
    pub from: String,
    /// Encryption of the connection; `start-tls` when it is left out.
    #[serde(default)]
    pub tls: Option<MailTls>,
    /// File with the certificates that the server's is checked against; the system's when it is left out.
    #[serde(default)]
    pub tls_ca: Option<String>,
}

/// Encryption of a connection to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// From the first byte.
    Always,
    /// By STARTTLS, and never without.
    StartTls,
    /// None: for a mail server on this host.
    Never,
}

/// Amazon SES.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ses {
    /// Sender's address, verified in SES.
    pub from: String,
    /// Region of SES; the home region when it is left out.
    #[serde(default)]
    pub region: Option<Region>,
}

/// What goes where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// From this severity on.
    pub severity: RouteSeverity,
    /// Only these groups of assets.
    #[serde(default)]
    pub of: Vec<Name>,
    /// Only these kinds. Without it failures; with `severity: info` successes, verifications and recoveries too.
    #[serde(default)]
    pub events: Vec<On>,
    /// Channels; each is told. What one can't deliver goes to the next.
    pub to: Vec<Name>,
}

/// How bad a thing must be to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteSeverity {
    /// Warnings and worse; and successes, where `on` says nothing else.
    Info,
    /// Warnings and worse.
    Warning,
    /// Failures only.
    Critical,
}

/// A kind of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Something is wrong, still wrong, or mended.
    Failure,
    /// A run made something.
    Success,
    /// A recovery ended.
    Recovery,
    /// A backup was verified, whatever came of it.
    Verification,
}

/// Who is told when a problem stays open.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// Open for this long.
    pub after: Period,
    /// From this severity on; critical when it is left out.
    #[serde(default)]
    pub severity: Option<RouteSeverity>,
    /// Only these groups of assets.
    #[serde(default)]
    pub of: Vec<Name>,
    /// Channels.
    pub to: Vec<Name>,
}

/// The day in one message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Cron fields, in the time zone given here or in the policy's.
    pub cron: Cron,
    /// Time zone of this schedule.
    #[serde(default)]
    pub time_zone: Option<ZoneName>,
    /// Channels; those of the routes without `of` when it is left out.
    #[serde(default)]
    pub to: Vec<Name>,
}

/// Messages about a recovery while it runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Channels that hear of its beginning, of how it goes, and of its end; all when it is left out.
    #[serde(default)]
    pub to: Vec<Name>,
    /// Channels that hear of its end, when they are others.
    #[serde(default)]
    pub complete_to: Vec<Name>,
    /// An update this often; every 15 minutes when it is left out.
    #[serde(default)]
    pub every: Option<Period>,
    /// A recovery whose report is missing after this time is a problem of its own; 24 hours when it is left out.
    #[serde(default)]
    pub report_within: Option<Period>,
}

/// A web address that is asked for while all that is expected was heard. Whoever runs it rings when the asking stops.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The address.
    pub http: SecretFrom,
    /// How often, at most.
    pub every: Period,
}

/// What is not heard of for so long, when the policy does not say.
const EXPECTED: (&str, &str) = ("freshness", "45m");

impl Notify {
    /// The functions whose reports must be heard, and how often.
    pub fn expected(&self) -> BTreeMap<Name, Period> {
        if !self.expect.is_empty() {
            return self.expect.clone();
        }
        let (name, period) = EXPECTED;
        BTreeMap::from([(name.parse().expect("a name"), period.parse().expect("a period"))])
    }
}
