//! Who is told what, on which channel, and when.

use super::{
    dumps::SecretSource,
    text::{Arn, CronExpression, Name, Period, Region, ZoneName},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who is told what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Channels by name.
    pub channels: BTreeMap<Name, ChannelConfig>,
    /// Routes; every one that fits is used.
    pub routes: Vec<NotifyRoute>,
    /// Later steps while a problem stays open.
    #[serde(default)]
    pub escalation: Vec<EscalationStep>,
    /// When the daily digest is sent, and to whom.
    #[serde(default)]
    pub digest: Option<DigestConfig>,
    /// Who hears of recoveries.
    #[serde(default)]
    pub recovery: Option<RestoreNotifications>,
    /// A sign of life for a service outside that rings when it stays away.
    #[serde(default)]
    pub heartbeat: Option<HeartbeatConfig>,
    /// Functions whose reports must be heard at least this often; `freshness: 45m` when it is left out.
    #[serde(default)]
    pub expect: BTreeMap<Name, Period>,
    /// A problem that is back within this time goes on as the same one; from its second return on it counts as fixed
    /// only after it has been away for so long. 30 minutes when it is left out.
    #[serde(default)]
    pub hold: Option<Period>,
    /// Mail server of every e-mail channel that names none.
    #[serde(default)]
    pub smtp: Option<SmtpConfig>,
    /// Amazon SES for every e-mail channel that names no server.
    #[serde(default)]
    pub ses: Option<SesConfig>,
}

/// A way to reach people; exactly one of `slack`, `pagerduty`, `email`, `sns`, `http`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Slack incoming webhook.
    #[serde(default)]
    pub slack: Option<SecretSource>,
    /// PagerDuty Events v2 routing key.
    #[serde(default)]
    pub pagerduty: Option<SecretSource>,
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
    pub body: Option<WebhookBody>,
    /// Headers that go with each post to `http`, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Bearer token that goes with each post to `http`.
    #[serde(default)]
    pub token: Option<SecretSource>,
    /// Mail server of this channel's e-mails.
    #[serde(default)]
    pub smtp: Option<SmtpConfig>,
    /// Amazon SES for this channel's e-mails.
    #[serde(default)]
    pub ses: Option<SesConfig>,
    /// Address of the service, when it is not the vendor's own: PagerDuty's European one, or a test's.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// The JSON that is posted to a web address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookBody {
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
pub struct SmtpConfig {
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
    pub password: Option<SecretSource>,
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
pub struct SesConfig {
    /// Sender's address, verified in SES.
    pub from: String,
    /// Region of SES; the home region when it is left out.
    #[serde(default)]
    pub region: Option<Region>,
}

/// What goes where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyRoute {
    /// From this severity on.
    pub severity: MinSeverity,
    /// Only these groups of assets.
    #[serde(default)]
    pub of: Vec<Name>,
    /// Only these kinds. Without it failures; with `severity: info` successes, verifications and recoveries too.
    #[serde(default)]
    pub events: Vec<NotifyEventKind>,
    /// Channels; each is told. What one can't deliver goes to the next.
    pub to: Vec<Name>,
}

/// How bad a thing must be to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MinSeverity {
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
pub enum NotifyEventKind {
    /// Something is wrong, still wrong, or fixed.
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
pub struct EscalationStep {
    /// Open for this long.
    pub after: Period,
    /// From this severity on; critical when it is left out.
    #[serde(default)]
    pub severity: Option<MinSeverity>,
    /// Only these groups of assets.
    #[serde(default)]
    pub of: Vec<Name>,
    /// Channels.
    pub to: Vec<Name>,
}

/// The day in one message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestConfig {
    /// Cron fields, in the time zone given here or in the policy's.
    pub cron: CronExpression,
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
pub struct RestoreNotifications {
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
    pub report_deadline: Option<Period>,
}

/// A web address that is asked for while all that is expected was heard. Whoever runs it rings when the asking stops.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// The address.
    pub http: SecretSource,
    /// How often, at most.
    pub every: Period,
}

/// What is not heard of for so long, when the policy does not say.
const DEFAULT_EXPECTED_REPORT: (&str, &str) = ("freshness", "45m");

impl NotifyConfig {
    /// The functions whose reports must be heard, and how often.
    pub fn expected_reports(&self) -> BTreeMap<Name, Period> {
        if !self.expect.is_empty() {
            return self.expect.clone();
        }
        let (name, period) = DEFAULT_EXPECTED_REPORT;
        BTreeMap::from([(name.parse().expect("a name"), period.parse().expect("a period"))])
    }
}
