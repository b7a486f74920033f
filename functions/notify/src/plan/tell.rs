//! Changes become messages: opened or worse, still open, mended; and what was made.

use super::{
    ByChannel, Planning,
    hear::ALARM,
    routes::{bad_enough, of, of_incident, of_news, worst_first},
};
use crate::{
    message::{AtRisk, Incident, Kind, MOST, Made},
    state::{State, Tracked},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::Severity,
    policy::{
        Policy, StoreConfig,
        notify::{EscalationStep, NotifyEventKind, MinSeverity},
        text::Name,
    },
    time::format_duration,
};

/// How long an alarm that said the same as an incident may ring on after it: two of its periods, and CloudWatch's delay.
const AFTERGLOW: SignedDuration = SignedDuration::from_mins(45);
/// From this flap on, a problem must stay away before it counts as mended.
const FLAPPING: u32 = 2;

/// What one channel is told now.
#[derive(Default)]
struct News {
    opened: Vec<Tracked>,
    undelivered: Vec<Tracked>,
    still: Vec<Tracked>,
    resolved: Vec<Tracked>,
    others: Vec<Name>,
}

/// Makes messages of all that changed.
pub(super) fn tell(planning: &mut Planning<'_>, state: &mut State) {
    let mut news: ByChannel<News> = ByChannel::new();
    close(planning, state, &mut news);
    cover(planning, state);
    for t in state.incidents.values_mut() {
        if t.closed.is_some() || t.gone.is_some() || silent_alarm(planning, t) {
            continue;
        }
        open(planning, t, &mut news);
        escalate(planning, t, &mut news);
    }
    for (channel, news) in news {
        say(planning, state, &channel, news);
    }
    made(planning, state);
}

/// What nobody says any more counts as mended: at once, or after a while when it comes and goes.
fn close(planning: &Planning<'_>, state: &mut State, news: &mut ByChannel<News>) {
    let (now, hold) = (planning.now, planning.hold);
    for t in state.incidents.values_mut() {
        let Some(gone) = t.gone.filter(|_| t.closed.is_none()) else { continue };
        if t.flaps >= FLAPPING && now.duration_since(gone) < hold {
            continue;
        }
        t.closed = Some(now);
        state.day.resolved += 1;
        for channel in std::mem::take(&mut t.told).into_keys() {
            news.entry(channel).or_default().resolved.push(t.clone());
        }
    }
    state.incidents.retain(|_, t| t.closed.is_none_or(|c| now.duration_since(c) < hold));
}

/// Notes of each alarm whether another incident says the same: of its group, and no less bad.
fn cover(planning: &Planning<'_>, state: &mut State) {
    let said: Vec<(Option<String>, Severity)> = state
        .incidents
        .values()
        .filter(|t| t.what != ALARM && t.gone.is_none() && t.closed.is_none())
        .filter(|t| !t.told.is_empty() || !of_incident(planning, t).is_empty())
        .map(|t| (t.group.clone(), t.severity))
        .collect();
    // Of an alarm that is not the policy's, such as one on a function that is silent, nothing else says the same.
    let ours = |t: &&mut Tracked| t.what == ALARM && planning.policy.alarms.contains_key(&t.asset);
    for t in state.incidents.values_mut().filter(ours).filter(|t| t.told.is_empty()) {
        let same = |(group, severity): &(Option<String>, Severity)| {
            *severity >= t.severity && group.is_some() && (t.group.is_none() || t.group == *group)
        };
        if said.iter().any(same) {
            t.covered = Some(planning.now);
        }
    }
}

/// Whether an alarm is not told because another incident says the same, or did a moment ago.
fn silent_alarm(planning: &Planning<'_>, t: &Tracked) -> bool {
    let a_moment = |c: Timestamp| planning.now.duration_since(c) < AFTERGLOW;
    t.what == ALARM && t.told.is_empty() && t.covered.is_some_and(a_moment)
}

fn open(planning: &Planning<'_>, t: &mut Tracked, news: &mut ByChannel<News>) {
    let to = of_incident(planning, t);
    for channel in &to {
        if t.told.get(channel).is_some_and(|told| *told >= t.severity) {
            continue;
        }
        t.told.insert(channel.clone(), t.severity);
        let news = news.entry(channel.clone()).or_default();
        let list =
            if t.asset.starts_with("notify/") { &mut news.undelivered } else { &mut news.opened };
        list.push(t.clone());
        add(&mut news.others, Planning::others(&to, channel));
    }
}

fn escalate(planning: &Planning<'_>, t: &mut Tracked, news: &mut ByChannel<News>) {
    let age = planning.now.duration_since(t.risen);
    let steps = &planning.notify.escalation;
    let reached = steps.iter().take_while(|s| s.after.duration() <= age).count();
    let before = t.step as usize;
    if reached <= before {
        return;
    }
    t.step = u32::try_from(reached).unwrap_or(u32::MAX);
    let fits = |s: &&EscalationStep| {
        bad_enough(s.severity.unwrap_or(MinSeverity::Critical), t.severity)
            && of(&s.of, t.group.as_deref())
    };
    let mut to: Vec<Name> = Vec::new();
    add(&mut to, steps[before..reached].iter().filter(fits).flat_map(|s| s.to.clone()).collect());
    to.retain(|c| t.asset.strip_prefix("notify/") != Some(c.as_str()));
    for channel in &to {
        let news = news.entry(channel.clone()).or_default();
        if news.opened.iter().chain(&news.undelivered).any(|o| o.key == t.key) {
            continue;
        }
        t.told.insert(channel.clone(), t.severity);
        news.still.push(t.clone());
        add(&mut news.others, Planning::others(&to, channel));
    }
}

/// Adds names that are not there yet.
pub(super) fn add(to: &mut Vec<Name>, more: Vec<Name>) {
    for name in more {
        if !to.contains(&name) {
            to.push(name);
        }
    }
}

/// The messages for one channel: what is mended first, so that what is wrong is read last.
fn say(planning: &mut Planning<'_>, state: &mut State, channel: &Name, news: News) {
    let News { opened, undelivered, still, resolved, others } = news;
    // A service that counts incidents one by one must hear of each that ends.
    let pages = planning.notify.channels.get(channel).is_some_and(|c| c.pagerduty.is_some());
    let each = if pages { MOST } else { usize::MAX };
    let mut resolved = resolved;
    resolved.sort_by(worst_first);
    let resolved =
        resolved.chunks(each.min(resolved.len().max(1))).map(|c| (Kind::Resolved, c.to_vec()));
    let mut lists: Vec<(Kind, Vec<Tracked>)> = resolved.collect();
    lists.extend([
        (Kind::StillOpen, still),
        (Kind::Undelivered, undelivered),
        (Kind::Opened, opened),
    ]);
    for (kind, mut list) in lists.into_iter().filter(|(_, l)| !l.is_empty()) {
        list.sort_by(worst_first);
        let worst = list[0].severity;
        let mut message = planning.message(kind, worst, &title(kind, &list, planning.now));
        message.incidents = list.iter().take(MOST).map(|t| incident(planning, state, t)).collect();
        message.more = list.len().saturating_sub(MOST);
        message.made = list.iter().filter_map(|t| t.made.clone()).take(MOST).collect();
        planning.say(state, channel, others.clone(), message);
    }
}

/// One line: how bad, how many, what the worst is.
fn title(kind: Kind, list: &[Tracked], now: Timestamp) -> String {
    let worst = &list[0];
    let first = format!("{}: {}", worst.asset, worst.what);
    let more = list.len() - 1;
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    let lasted = |t: &Tracked| format_duration(t.gone.unwrap_or(now).duration_since(t.since));
    match kind {
        Kind::Resolved => format!("resolved after {}: {first}{rest}", lasted(worst)),
        Kind::StillOpen => format!("still open after {}: {first}{rest}", lasted(worst)),
        Kind::Undelivered => {
            let channel = worst.asset.trim_start_matches("notify/");
            format!("the channel {channel} can't be reached{rest}")
        }
        _ => format!("{}: {first}{rest}", worst.severity),
    }
}

/// An incident as it is told.
pub(super) fn incident(planning: &Planning<'_>, state: &State, t: &Tracked) -> Incident {
    Incident {
        key: t.key.clone(),
        asset: t.asset.clone(),
        group: t.group.clone(),
        what: t.what.clone(),
        severity: t.severity,
        why: t.why.clone(),
        mend: t.mend.clone(),
        since: t.since,
        until: t.gone,
        at_risk: at_risk(planning, state, t),
        step: t.step,
    }
}

/// What could be lost: the age of the newest good point against what the policy allows, and where that point is.
fn at_risk(planning: &Planning<'_>, state: &State, t: &Tracked) -> Option<AtRisk> {
    let newest = state.assets.get(&t.asset)?;
    let age = newest.data.map(|data| planning.now.duration_since(data).as_secs());
    newest.newest.as_ref()?;
    Some(AtRisk {
        newest: newest.newest.clone(),
        age_seconds: age,
        max_age_seconds: newest.max_age_seconds,
        place: place(planning.policy, &newest.group),
    })
}

/// Where the points of a group are.
fn place(policy: &Policy, group: &str) -> Option<String> {
    let group: Name = group.parse().ok()?;
    let stored = |s: &StoreConfig| {
        let azure = || s.azure.as_ref().map(|a| format!("azure://{}/{}/", a.account, a.container));
        let base = s.directory.clone().map(|d| format!("{}/", d.trim_end_matches('/')));
        let base =
            base.or_else(|| s.bucket.as_ref().map(|b| format!("s3://{b}/"))).or_else(azure)?;
        Some(format!("{base}{}", s.prefix))
    };
    if policy.databases.contains_key(&group) {
        return Some(format!("RDS in {}", policy.home_or_placeholder().region));
    }
    let store = policy.postgres.get(&group).map(|g| &g.stored);
    let store = store.or_else(|| policy.redis.get(&group).map(|g| &g.stored));
    let store = store.or_else(|| policy.kubernetes.get(&group).map(|g| &g.stored));
    let store = store.or_else(|| policy.files.get(&group).map(|g| &g.stored));
    store.and_then(stored)
}

/// Tells of what was made and verified, where the policy asks for it.
fn made(planning: &mut Planning<'_>, state: &mut State) {
    let made = std::mem::take(&mut planning.made);
    let mut news: ByChannel<(Vec<Made>, Vec<Name>, bool)> = ByChannel::new();
    for (made, group, on) in made {
        if on == NotifyEventKind::Success {
            count(state, &made);
        }
        let to = of_news(planning, on, group.as_deref());
        for channel in &to {
            let (list, others, verified) = news.entry(channel.clone()).or_default();
            list.push(made.clone());
            *verified |= on == NotifyEventKind::Verification;
            add(others, Planning::others(&to, channel));
        }
    }
    for (channel, (made, others, verified)) in news {
        let what = if verified { "verified" } else { "made" };
        let first = &made[0];
        let title = match made.len() {
            1 => format!("{what} {} of {}", first.what, first.asset),
            n => {
                format!("{what} {n} backups: {} of {} and {} more", first.what, first.asset, n - 1)
            }
        };
        let mut message = planning.message(Kind::Success, Severity::Info, &title);
        message.more = made.len().saturating_sub(MOST);
        message.made = made.into_iter().take(MOST).collect();
        planning.say(state, &channel, others, message);
    }
}

fn count(state: &mut State, made: &Made) {
    let day = &mut state.day;
    day.made += 1;
    day.bytes = day.bytes.saturating_add(made.bytes.unwrap_or(0));
    day.newest.push_back(made.clone());
    while day.newest.len() > MOST {
        day.newest.pop_front();
    }
}
