//! Who is told what, by the policy's table.

use super::{NotifyPlanner, hear::NOT_VERIFIED};
use crate::state::TrackedIncident;
use shared::{
    plan::Severity,
    policy::{
        notify::{MinSeverity, NotifyEventKind, NotifyRoute},
        text::Name,
    },
};
use std::cmp::Ordering;

/// Whether something is bad enough.
pub(super) fn meets_min_severity(least: MinSeverity, severity: Severity) -> bool {
    match least {
        MinSeverity::Info | MinSeverity::Warning => severity >= Severity::Warning,
        MinSeverity::Critical => severity >= Severity::Critical,
    }
}

/// Whether a list of groups has this one; an empty list has all.
pub(super) fn matches_group(groups: &[Name], group: Option<&str>) -> bool {
    groups.is_empty() || group.is_some_and(|g| groups.iter().any(|n| n.as_str() == g))
}

/// Whether a route is for this kind of news.
pub(super) fn accepts_event(route: &NotifyRoute, on: NotifyEventKind) -> bool {
    if !route.events.is_empty() {
        return route.events.contains(&on);
    }
    on == NotifyEventKind::Failure || route.severity == MinSeverity::Info
}

/// The channels of an incident, in the policy's order. What is critical always has one.
pub(super) fn channels_for_incident(
    planning: &NotifyPlanner<'_>,
    t: &TrackedIncident,
) -> Vec<Name> {
    let broken = undelivered_channel(&t.asset);
    let fits = |r: &&NotifyRoute| {
        let verified = t.code == NOT_VERIFIED && r.events.contains(&NotifyEventKind::Verification);
        verified
            || (meets_min_severity(r.severity, t.severity)
                && accepts_event(r, NotifyEventKind::Failure))
    };
    let routes = &planning.notify.routes;
    let group = t.group.as_deref();
    let to = collect_channels(
        routes.iter().filter(fits).filter(|r| matches_group(&r.of, group)),
        broken,
    );
    if !to.is_empty() || t.severity < Severity::Critical {
        return to;
    }
    // What no route names concerns everybody who hears of failures.
    let to = collect_channels(routes.iter().filter(fits), broken);
    if !to.is_empty() {
        return to;
    }
    planning.notify.channels.keys().filter(|c| Some(c.as_str()) != broken).cloned().collect()
}

/// The channels of good news about an asset of a group.
pub(super) fn channels_for_event(
    planning: &NotifyPlanner<'_>,
    on: NotifyEventKind,
    group: Option<&str>,
) -> Vec<Name> {
    let routes = planning.notify.routes.iter();
    let fits = |r: &&NotifyRoute| {
        accepts_event(r, on)
            && matches_group(&r.of, group)
            && (on != NotifyEventKind::Success || r.severity == MinSeverity::Info)
    };
    collect_channels(routes.filter(fits), None)
}

/// The channel that an incident says can't be reached.
fn undelivered_channel(asset: &str) -> Option<&str> {
    asset.strip_prefix("notify/")
}

fn collect_channels<'r>(
    routes: impl Iterator<Item = &'r NotifyRoute>,
    but: Option<&str>,
) -> Vec<Name> {
    let mut to: Vec<Name> = Vec::new();
    for channel in routes.flat_map(|r| &r.to) {
        if Some(channel.as_str()) != but && !to.contains(channel) {
            to.push(channel.clone());
        }
    }
    to
}

/// Worst first, then oldest first.
pub(crate) fn by_severity_desc(a: &TrackedIncident, b: &TrackedIncident) -> Ordering {
    b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)).then_with(|| a.key.cmp(&b.key))
}
