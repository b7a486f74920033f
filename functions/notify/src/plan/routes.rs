//! Who is told what, by the policy's table.

use super::{Planning, hear::NOT_VERIFIED};
use crate::state::Tracked;
use shared::{
    plan::Severity,
    policy::{
        notify::{NotifyEventKind, NotifyRoute, MinSeverity},
        text::Name,
    },
};
use std::cmp::Ordering;

/// Whether something is bad enough.
pub(super) fn bad_enough(least: MinSeverity, severity: Severity) -> bool {
    match least {
        MinSeverity::Info | MinSeverity::Warning => severity >= Severity::Warning,
        MinSeverity::Critical => severity >= Severity::Critical,
    }
}

/// Whether a list of groups has this one; an empty list has all.
pub(super) fn of(groups: &[Name], group: Option<&str>) -> bool {
    groups.is_empty() || group.is_some_and(|g| groups.iter().any(|n| n.as_str() == g))
}

/// Whether a route is for this kind of news.
pub(super) fn takes(route: &NotifyRoute, on: NotifyEventKind) -> bool {
    if !route.events.is_empty() {
        return route.events.contains(&on);
    }
    on == NotifyEventKind::Failure || route.severity == MinSeverity::Info
}

/// The channels of an incident, in the policy's order. What is critical always has one.
pub(super) fn of_incident(planning: &Planning<'_>, t: &Tracked) -> Vec<Name> {
    let broken = broken(&t.asset);
    let fits = |r: &&NotifyRoute| {
        let verified = t.what == NOT_VERIFIED && r.events.contains(&NotifyEventKind::Verification);
        verified || (bad_enough(r.severity, t.severity) && takes(r, NotifyEventKind::Failure))
    };
    let routes = &planning.notify.routes;
    let group = t.group.as_deref();
    let to = collect(routes.iter().filter(fits).filter(|r| of(&r.of, group)), broken);
    if !to.is_empty() || t.severity < Severity::Critical {
        return to;
    }
    // What no route names concerns everybody who hears of failures.
    let to = collect(routes.iter().filter(fits), broken);
    if !to.is_empty() {
        return to;
    }
    planning.notify.channels.keys().filter(|c| Some(c.as_str()) != broken).cloned().collect()
}

/// The channels of good news about an asset of a group.
pub(super) fn of_news(planning: &Planning<'_>, on: NotifyEventKind, group: Option<&str>) -> Vec<Name> {
    let routes = planning.notify.routes.iter();
    let fits = |r: &&NotifyRoute| {
        takes(r, on) && of(&r.of, group) && (on != NotifyEventKind::Success || r.severity == MinSeverity::Info)
    };
    collect(routes.filter(fits), None)
}

/// The channel that an incident says can't be reached.
fn broken(asset: &str) -> Option<&str> {
    asset.strip_prefix("notify/")
}

fn collect<'r>(routes: impl Iterator<Item = &'r NotifyRoute>, but: Option<&str>) -> Vec<Name> {
    let mut to: Vec<Name> = Vec::new();
    for channel in routes.flat_map(|r| &r.to) {
        if Some(channel.as_str()) != but && !to.contains(channel) {
            to.push(channel.clone());
        }
    }
    to
}

/// Worst first, then oldest first.
pub(crate) fn worst_first(a: &Tracked, b: &Tracked) -> Ordering {
    b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)).then_with(|| a.key.cmp(&b.key))
}
