//! What notify remembers between two looks: one small document, bounded in size.

use crate::message::{BackupInfo, ChannelMessage};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::{plan::Severity, policy::text::Name};
use std::collections::{BTreeMap, VecDeque};

/// Incidents that are remembered at most; what is beyond is counted, and said.
pub const MAX_TRACKED_INCIDENTS: usize = 500;
/// Assets whose newest point is remembered at most.
pub(crate) const MAX_ASSETS: usize = 1000;
/// Functions and alarms that are remembered at most.
pub(crate) const MAX_REPORTERS: usize = 500;
/// Messages that wait to be sent at most; of more, the oldest go into the digest.
pub const MAX_OUTBOX_MESSAGES: usize = 200;
/// Runs of a function that are known again at most.
const MAX_REMEMBERED_RUNS: usize = 24;
/// Version of the document.
pub(crate) const STATE_VERSION: u32 = 1;

/// What notify remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotifyState {
    /// Version of this document.
    pub version: u32,
    /// When the first look was.
    pub created_at: Timestamp,
    /// Counts the messages: part of each one's id.
    #[serde(default)]
    pub messages: u64,
    /// Functions and alarms, by name.
    #[serde(default)]
    pub sources: BTreeMap<String, ReporterState>,
    /// What is wrong, or was a moment ago.
    #[serde(default)]
    pub incidents: BTreeMap<String, TrackedIncident>,
    /// Problems beyond [`MOST_INCIDENTS`], by function.
    #[serde(default)]
    pub untracked: BTreeMap<String, usize>,
    /// The newest point of each asset.
    #[serde(default)]
    pub assets: BTreeMap<String, LatestAssetPoint>,
    /// Recoveries that run.
    #[serde(default)]
    pub recoveries: BTreeMap<String, ActiveRestore>,
    /// Messages that wait to be sent.
    #[serde(default)]
    pub outbox: Vec<OutboxEntry>,
    /// The newest digest's time by the schedule.
    #[serde(default)]
    pub digest: Option<Timestamp>,
    /// The newest storage report's time by the schedule.
    #[serde(default)]
    pub storage_report: Option<Timestamp>,
    /// What happened since the digest.
    #[serde(default)]
    pub day: DigestCounters,
    /// The newest heartbeat.
    #[serde(default)]
    pub heartbeat: Option<Timestamp>,
}

/// A function or an alarm that speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReporterState {
    /// The end of the newest run that was heard of.
    pub last_heard_at: Timestamp,
    /// The end of the newest run that looked at everything: what it did not find is fixed.
    #[serde(default)]
    pub last_full_run_at: Option<Timestamp>,
    /// The newest runs, to know one that is heard twice.
    #[serde(default)]
    pub runs: VecDeque<String>,
}

/// Something that is wrong, or was a moment ago.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackedIncident {
    /// The same for as long as it is one incident, and after a loss of this document too.
    pub key: String,
    /// The asset.
    pub asset: String,
    /// Its group.
    pub group: Option<String>,
    /// A fixed word.
    pub code: String,
    /// Who says so.
    pub reported_by: BTreeMap<String, ReportedSeverity>,
    /// How bad it is, or was at last.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Since when.
    pub since: Timestamp,
    /// Since when it is as bad as it is.
    pub severity_since: Timestamp,
    /// Since when nobody says so any more.
    #[serde(default)]
    pub cleared_at: Option<Timestamp>,
    /// When it counted as fixed.
    #[serde(default)]
    pub resolved_at: Option<Timestamp>,
    /// How often it came back.
    #[serde(default)]
    pub flaps: u32,
    /// Steps of the escalation that it has taken.
    #[serde(default)]
    pub step: u32,
    /// When another incident last said the same: of alarms.
    #[serde(default)]
    pub inhibited_at: Option<Timestamp>,
    /// The channels that were told, and how bad it was then.
    #[serde(default)]
    pub notified: BTreeMap<Name, Severity>,
    /// The backup that it is about.
    #[serde(default)]
    pub backup: Option<BackupInfo>,
}

/// Who says that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedSeverity {
    /// How bad.
    pub severity: Severity,
    /// When, at last.
    pub last_seen_at: Timestamp,
}

impl TrackedIncident {
    /// Whether it is wrong now, or counts as it.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }
}

/// An asset's newest good point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestAssetPoint {
    /// Its group.
    pub group: String,
    /// The point.
    pub newest: Option<String>,
    /// The time of the data in it.
    pub data: Option<Timestamp>,
    /// The age that the policy allows, in seconds.
    pub max_age_seconds: Option<i64>,
}

/// A recovery that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRestore {
    /// What is recovered.
    pub asset: String,
    /// What is restored, in words.
    pub description: String,
    /// Since when.
    pub since: Timestamp,
    /// Its phase.
    pub phase: String,
    /// The newest sign of life.
    pub last_heard_at: Timestamp,
    /// The newest message about it.
    pub last_update_at: Timestamp,
    /// When it ended; remembered for a day, so that what is heard late does not begin it again.
    #[serde(default)]
    pub ended: Option<Timestamp>,
}

/// A message that waits to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// The message.
    pub message: ChannelMessage,
    /// Where it goes.
    pub channel: Name,
    /// Where it may go instead, in order.
    pub fallback_channels: Vec<Name>,
    /// Tries so far.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this time.
    pub next: Timestamp,
    /// Another notifier is sending it until this time.
    #[serde(default)]
    pub claimed_until: Option<Timestamp>,
    /// It went to another channel as well.
    #[serde(default)]
    pub forwarded: bool,
}

/// What happened since the digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DigestCounters {
    /// Incidents that were opened.
    pub opened: u64,
    /// Incidents that were fixed.
    pub resolved: u64,
    /// Points that were made.
    pub backups_made: u64,
    /// Bytes of them, where known.
    pub bytes: u64,
    /// The newest of them.
    pub newest: VecDeque<BackupInfo>,
    /// Messages that could not be delivered in a day.
    pub dropped: u64,
    /// What they were.
    pub dropped_titles: Vec<String>,
    /// Tries to deliver that failed.
    pub failed_attempts: u64,
}

impl NotifyState {
    /// A memory that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            version: STATE_VERSION,
            created_at: now,
            messages: 0,
            sources: BTreeMap::new(),
            incidents: BTreeMap::new(),
            untracked: BTreeMap::new(),
            assets: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            outbox: Vec::new(),
            digest: None,
            storage_report: None,
            day: DigestCounters::default(),
            heartbeat: None,
        }
    }

    /// Takes back what a clock that ran ahead has written: nothing was before now.
    pub(crate) fn clamp_future_timestamps(&mut self, now: Timestamp) {
        let back = |t: &mut Timestamp| *t = (*t).min(now);
        back(&mut self.created_at);
        for source in self.sources.values_mut() {
            back(&mut source.last_heard_at);
            source.last_full_run_at.iter_mut().for_each(back);
        }
        for t in self.incidents.values_mut() {
            back(&mut t.since);
            back(&mut t.severity_since);
            [&mut t.cleared_at, &mut t.resolved_at, &mut t.inhibited_at]
                .into_iter()
                .flatten()
                .for_each(back);
            t.reported_by.values_mut().for_each(|s| back(&mut s.last_seen_at));
        }
        for r in self.recoveries.values_mut() {
            [&mut r.since, &mut r.last_heard_at, &mut r.last_update_at].into_iter().for_each(back);
            r.ended.iter_mut().for_each(back);
        }
        for newest in self.assets.values_mut() {
            newest.data.iter_mut().for_each(back);
        }
        let soon = now + SignedDuration::from_hours(6);
        for entry in &mut self.outbox {
            back(&mut entry.message.at);
            // What was put off by a clock that ran ahead is not put off for longer than any delay.
            if entry.next > soon {
                entry.next = now;
            }
            // Another notifier's clock may be a little ahead of ours; its claim holds all the same.
            entry.claimed_until =
                entry.claimed_until.filter(|c| *c <= now + crate::outbox::CLAIM_TTL * 2);
        }
        self.heartbeat.iter_mut().for_each(back);
    }

    /// The source of this name, heard of at a time.
    pub(crate) fn reporter_mut(&mut self, name: &str, at: Timestamp) -> &mut ReporterState {
        if !self.sources.contains_key(name) && self.sources.len() >= MAX_REPORTERS {
            let oldest =
                self.sources.iter().min_by_key(|(_, s)| s.last_heard_at).map(|(n, _)| n.clone());
            oldest.and_then(|n| self.sources.remove(&n));
        }
        let new =
            || ReporterState { last_heard_at: at, last_full_run_at: None, runs: VecDeque::new() };
        self.sources.entry(name.to_owned()).or_insert_with(new)
    }
}

impl ReporterState {
    /// Notes a run; false when it is known already.
    pub(crate) fn record_run(&mut self, run: String, end: Timestamp) -> bool {
        if self.runs.contains(&run) {
            return false;
        }
        self.runs.push_back(run);
        while self.runs.len() > MAX_REMEMBERED_RUNS {
            self.runs.pop_front();
        }
        self.last_heard_at = self.last_heard_at.max(end);
        true
    }
}

/// A text within so many characters.
pub(crate) fn truncate_chars(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.push('…');
    out
}
