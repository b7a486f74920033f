//! Hearing, remembering, sending: what the Lambda and the command do alike.

use crate::{
    channel::{ChannelContext, DeliveryError, HttpClient, send},
    heard::{DetectedProblem, NotificationEvent},
    keep::{ResetReason, StateStore},
    message::{ChannelMessage, MessageKind},
    outbox,
    plan::{
        NOTIFY, NotifyPlanner, OutgoingMessage, clear_incident, enqueue, is_heartbeat_due,
        open_or_update_incident, plan,
    },
    state::{NotifyState, OutboxEntry},
};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::{
    aws::{AwsClients, OperationError, OperationErrorKind as Because},
    catalog::Location,
    plan::{FindingCode, Severity},
    policy::{Policy, notify::NotifyConfig, text::Name},
    secret::SecretResolver,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// Tries of one message in one look, and the pauses between them.
const BACKOFF_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// A service that asks for no more than this is waited for.
const MAX_INLINE_RETRY_AFTER: Duration = Duration::from_secs(5);
/// All sending of one round ends within this time, before the claims do.
const SEND_TIMEOUT: Duration = Duration::from_secs(80);
/// Rounds of one look: what can't be delivered makes new messages.
const MAX_ROUNDS: usize = 3;
/// Tries to write the memory while others write it too.
const MAX_WRITE_ATTEMPTS: usize = 50;
/// The memory was lost.
const STATE_LOST: &str = FindingCode::NotifyStateReset.as_str();

/// What one look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotifySummary {
    /// Messages that were delivered.
    pub delivered: usize,
    /// Tries that failed.
    pub failed: usize,
    /// Problems that are open.
    pub open: usize,
    /// Messages that wait for a later try.
    pub queued: usize,
    /// Why deliveries failed, by channel.
    pub errors: BTreeMap<String, String>,
    /// A sign of life was given.
    pub heartbeat: bool,
}

/// What a look stands on.
#[derive(Debug)]
pub struct NotifyContext<'g> {
    /// The clients.
    pub aws: &'g AwsClients,
    /// The policy.
    pub policy: &'g Policy,
    /// The memory.
    pub state_store: &'g StateStore,
    /// When the look began.
    pub now: Timestamp,
}

/// Takes in what was heard and sends what follows from it. With nothing heard, this is a tick: what time alone brings.
///
/// # Errors
/// If the memory can't be read or written. What can't be delivered is no error: it is remembered, and tried again.
pub async fn process_events(
    ground: &NotifyContext<'_>,
    heard: &[NotificationEvent],
) -> Result<NotifySummary, OperationError> {
    let Some(notify) = &ground.policy.notify else { return Ok(NotifySummary::default()) };
    let clock = RunClock { now: ground.now, began: Instant::now() };
    let home = Location::home_from_policy(ground.policy);
    let secrets = SecretResolver::new(ground.aws, &home);
    let http = HttpClient::new();
    let mut looked = NotifySummary::default();
    let mut heard = heard;
    for _ in 0..MAX_ROUNDS {
        let now = clock.now();
        let claimed = update_state(ground, &clock, |state| {
            let (planned, told) =
                plan(ground.policy, std::mem::replace(state, NotifyState::new(now)), heard, now);
            *state = planned;
            enqueue(state, told, now);
            outbox::claim_due(state, now)
        })
        .await?;
        heard = &[];
        if claimed.is_empty() {
            break;
        }
        let edges = ChannelContext {
            aws: ground.aws,
            home: &home,
            secrets: &secrets,
            http: &http,
            notify,
            now,
        };
        let results = send_all(notify, claimed, &edges, Instant::now() + SEND_TIMEOUT).await;
        for (entry, result) in &results {
            match result {
                Ok(()) => looked.delivered += 1,
                Err(refused) => {
                    looked.failed += 1;
                    tracing::warn!(channel = %entry.channel, id = entry.message.id, "not delivered: {refused}");
                    looked.errors.insert(entry.channel.to_string(), refused.why.clone());
                }
            }
        }
        let now = clock.now();
        update_state(ground, &clock, |state| {
            outbox::record_results(ground.policy, state, &results, now);
        })
        .await?;
    }
    looked.heartbeat = send_heartbeat(ground, &clock, &secrets, &http).await?;
    let found = ground.state_store.load(clock.now()).await?;
    looked.open = found.state.incidents.values().filter(|t| t.is_open()).count();
    looked.queued = found.state.outbox.len();
    Ok(looked)
}

/// Time goes on while messages are sent.
struct RunClock {
    now: Timestamp,
    began: Instant,
}

impl RunClock {
    fn now(&self) -> Timestamp {
        self.now.checked_add(self.began.elapsed()).unwrap_or(self.now)
    }
}

/// Changes the memory, again from what is there when another notifier was faster.
async fn update_state<T>(
    ground: &NotifyContext<'_>,
    clock: &RunClock,
    mut change: impl FnMut(&mut NotifyState) -> T,
) -> Result<T, OperationError> {
    for wait in 0..MAX_WRITE_ATTEMPTS {
        let found = ground.state_store.load(clock.now()).await?;
        let (before, fresh) =
            (found.reset_reason.is_none().then(|| found.state.clone()), found.reset_reason);
        let mut state = found.state;
        handle_state_reset(ground, &mut state, fresh, clock.now());
        let answer = change(&mut state);
        if before.as_ref() == Some(&state)
            || ground.state_store.save(&state, &found.version).await?
        {
            return Ok(answer);
        }
        // Who comes later waits longer, so that not all come again at once.
        sleep(Duration::from_millis(20 + 17 * wait as u64)).await;
    }
    let why = "other notifiers write it all the time";
    Err(OperationError::with_hint(
        Because::Busy,
        format!("write {}", ground.state_store.address()),
        why,
        "the next look tries again",
    ))
}

/// Says that the memory was lost: all that is still wrong is told again.
fn handle_state_reset(
    ground: &NotifyContext<'_>,
    state: &mut NotifyState,
    fresh: Option<ResetReason>,
    now: Timestamp,
) {
    let id = format!("{STATE_LOST} {NOTIFY}");
    match fresh {
        None => {
            let an_hour = SignedDuration::from_hours(1);
            if state.incidents.get(&id).is_some_and(|t| now.duration_since(t.since) >= an_hour) {
                clear_incident(state, NOTIFY, &id, now);
            }
        }
        Some(ResetReason::First) => {
            tracing::info!(at = ground.state_store.address(), "nothing is remembered yet");
        }
        Some(ResetReason::Lost(why)) => {
            tracing::error!(
                at = ground.state_store.address(),
                "the memory can't be read and begins anew: {why}"
            );
            let problem = DetectedProblem {
                asset: NOTIFY.into(),
                group: None,
                code: STATE_LOST.into(),
                severity: Severity::Critical,
                message: format!(
                    "the memory {} can't be read ({}) and begins anew: what is still wrong is told again, and what was \
                     fixed meanwhile is not",
                    ground.state_store.address(),
                    crate::state::truncate_chars(&why, 200)
                ),
                hint: shared::hints::commands::NOTIFY_LIST.into(),
            };
            if let Some(planning) = NotifyPlanner::new(ground.policy, now) {
                open_or_update_incident(&planning, state, NOTIFY, &problem, now);
            }
        }
    }
}

/// Sends messages: the channels at once, the messages of one channel in their order.
async fn send_all(
    notify: &NotifyConfig,
    entries: Vec<OutboxEntry>,
    edges: &ChannelContext<'_>,
    until: Instant,
) -> Vec<(OutboxEntry, Result<(), DeliveryError>)> {
    let mut channels: BTreeMap<Name, Vec<OutboxEntry>> = BTreeMap::new();
    for entry in entries {
        channels.entry(entry.channel.clone()).or_default().push(entry);
    }
    let one = |(name, entries): (Name, Vec<OutboxEntry>)| {
        send_channel(notify, name, entries, edges, until)
    };
    join_all(channels.into_iter().map(one)).await.into_iter().flatten().collect()
}

async fn send_channel(
    notify: &NotifyConfig,
    name: Name,
    entries: Vec<OutboxEntry>,
    edges: &ChannelContext<'_>,
    until: Instant,
) -> Vec<(OutboxEntry, Result<(), DeliveryError>)> {
    let mut results: Vec<(OutboxEntry, Result<(), DeliveryError>)> = Vec::new();
    for entry in entries {
        // One that is down would let each further message wait as long.
        let down =
            results.iter().rev().find_map(|(_, r)| r.as_ref().err()).filter(|r| !r.permanent);
        let result = match down {
            Some(refused) => Err(refused.clone()),
            None => send_with_retry(notify, &name, &entry.message, edges, until).await,
        };
        results.push((entry, result));
    }
    results
}

/// Sends one message, with some quick tries.
async fn send_with_retry(
    notify: &NotifyConfig,
    name: &Name,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
    until: Instant,
) -> Result<(), DeliveryError> {
    let Some(channel) = notify.channels.get(name) else {
        let why = format!("the policy has no channel {name} any more");
        return Err(DeliveryError { why, retry_after: None, permanent: true });
    };
    let late = || DeliveryError {
        why: "it was not taken within the time of one look".into(),
        retry_after: None,
        permanent: false,
    };
    let mut pauses = BACKOFF_DELAYS.into_iter();
    loop {
        let sent = timeout_at(until, Box::pin(send(channel, message, edges))).await;
        let refused = match sent.unwrap_or_else(|_| Err(late())) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let asked = refused.retry_after.unwrap_or_default();
        let Some(pause) = pauses.next().map(|p| p.max(asked)) else { return Err(refused) };
        if refused.permanent || asked > MAX_INLINE_RETRY_AFTER || Instant::now() + pause >= until {
            return Err(refused);
        }
        sleep(pause).await;
    }
}

/// Gives a sign of life when it is due.
async fn send_heartbeat(
    ground: &NotifyContext<'_>,
    clock: &RunClock,
    secrets: &SecretResolver<'_>,
    http: &HttpClient,
) -> Result<bool, OperationError> {
    let Some(notify) = &ground.policy.notify else { return Ok(false) };
    let Some(heartbeat) = &notify.heartbeat else { return Ok(false) };
    let now = clock.now();
    if !is_heartbeat_due(notify, &ground.state_store.load(now).await?.state, now) {
        return Ok(false);
    }
    // Whoever waits for it rings when it does not come: nothing else needs to be said of a failure.
    let asked = match secrets.get(&heartbeat.http).await {
        Ok(address) => http.get(&address, now).await.map_err(|e| e.why),
        Err(e) => Err(e.to_line_with_hint()),
    };
    if let Err(why) = asked {
        tracing::error!("no sign of life could be given: {why}");
        return Ok(false);
    }
    update_state(ground, clock, |state| state.heartbeat = Some(now)).await?;
    Ok(true)
}

/// What would be told now, without telling or remembering it.
///
/// # Errors
/// If the memory can't be read.
pub async fn dry_run(
    ground: &NotifyContext<'_>,
    heard: &[NotificationEvent],
) -> Result<Vec<OutgoingMessage>, OperationError> {
    let found = ground.state_store.load(ground.now).await?;
    let mut state = found.state;
    handle_state_reset(ground, &mut state, found.reset_reason, ground.now);
    let waiting: Vec<OutgoingMessage> = state
        .outbox
        .iter()
        .map(|e| OutgoingMessage {
            channel: e.channel.clone(),
            fallback_channels: e.fallback_channels.clone(),
            message: e.message.clone(),
        })
        .collect();
    let (_, told) = plan(ground.policy, state, heard, ground.now);
    Ok(waiting.into_iter().chain(told).collect())
}

/// Sends a test message to each channel, or to one, and says what came of each.
pub async fn test_channels(
    aws: &AwsClients,
    policy: &Policy,
    only: Option<&Name>,
    now: Timestamp,
) -> Vec<(Name, Result<(), DeliveryError>)> {
    let Some(notify) = &policy.notify else { return Vec::new() };
    let home = Location::home_from_policy(policy);
    let secrets = SecretResolver::new(aws, &home);
    let http = HttpClient::new();
    let edges = ChannelContext { aws, home: &home, secrets: &secrets, http: &http, notify, now };
    let wanted = notify.channels.iter().filter(|(name, _)| only.is_none_or(|o| o == *name));
    let one = async |(name, channel): (&Name, &shared::policy::notify::ChannelConfig)| {
        let message = test_message(policy, name, now);
        (name.clone(), Box::pin(send(channel, &message, &edges)).await)
    };
    join_all(wanted.map(one)).await
}

fn test_message(policy: &Policy, channel: &Name, now: Timestamp) -> ChannelMessage {
    ChannelMessage {
        id: format!("{}-test-{channel}-{}", policy.company, now.as_millisecond()),
        company: policy.company.to_string(),
        kind: MessageKind::Test,
        severity: Severity::Info,
        at: now,
        title: format!("this is a test of the channel {channel}: nothing is wrong"),
        incidents: Vec::new(),
        omitted: 0,
        backups: Vec::new(),
        lines: Vec::new(),
        thread: None,
    }
}
