//! One asset: its points over time, its sizes, what a loss and a restore would cost.

use super::{
    badge,
    text::{DASH, age, amount, day, figure, known_age, plural, size, took, when},
};
use crate::{
    model::{Asset, Page, State},
    plot,
};
use jiff::Timestamp;
use maud::{Markup, html as markup};
use shared::report::AssetCoverage;

/// Every asset.
pub(super) fn assets(page: &Page) -> Markup {
    markup! {
        section.assets aria-labelledby="each" {
            h2 #each { "Each asset" }
            p.legend {
                span.key.covered {} " a point was young enough \u{b7} " span.key.point {} " recovery points \u{b7} "
                span.key.gap {} " no point was young enough"
            }
            @for (i, a) in page.assets.iter().enumerate() { (asset(i, a, page)) }
        }
    }
}

fn asset(i: usize, a: &Asset, page: &Page) -> Markup {
    markup! {
        details.asset id={ "a" (i) } open[a.state != State::Ok || page.assets.len() <= 12] {
            summary { span.name { (a.asset) } " " @if a.asset != a.group { small { (a.group) } " " } (badge(a.state)) }
            @for why in &a.why { p.because { (why) } }
            @if a.lanes.is_empty() {
                p.dim { @if a.coverage == AssetCoverage::NotRun { "Nothing runs this part of the policy." } @else if a.points_wanted { "No recovery point of it is known." } @else { "It is compared with its copy in place and has no recovery points of its own." } }
                @if a.bytes > 0 { p { "Stored: " (size(a.bytes)) ", a month of it " (amount(a.cost.month, &a.cost, &page.costs)) } }
            } @else {
                (timeline(a, page.at))
                div.pair {
                    (trend(a, page.at))
                    (measures(a, page))
                }
                (data(a))
            }
        }
    }
}

fn timeline(a: &Asset, now: Timestamp) -> Markup {
    let restores = a.proofs.iter().filter(|p| p.restore && p.done).count();
    let failed = a.proofs.iter().filter(|p| !p.done).count();
    let checks = a.proofs.len() - restores - failed;
    markup! {
        figure.timeline {
            @for lane in &a.lanes {
                div.lane {
                    span.at { (lane.place) @if !lane.home { small { " copies" } } }
                    @if lane.seen {
                        (plot::lane(lane, a.since, now, (a.max_age_seconds, a.dense_seconds), &spoken(lane, now)))
                    } @else { span.blind { "could not be seen" } }
                }
            }
            @if !a.proofs.is_empty() {
                div.lane {
                    span.at { "proofs" }
                    (plot::proofs(&a.proofs, a.since, now, &format!("{checks} checked, {restores} restored, {failed} failed")))
                }
            }
            figcaption.axis { span { (day(a.since, now)) } span { "now" } }
        }
    }
}

/// A lane in words.
fn spoken(lane: &crate::model::Lane, now: Timestamp) -> String {
    let newest = lane.newest.map(|n| age(now.duration_since(n).as_secs().max(0)));
    match newest {
        Some(newest) => {
            format!("{}, the newest {newest} old", plural(lane.points, "point", "points"))
        }
        None => "no point".to_owned(),
    }
}

fn trend(a: &Asset, now: Timestamp) -> Markup {
    let median = a.deviation.map(|d| d.median);
    let newest = a.sizes.last().map_or_else(|| DASH.to_owned(), |s| size(s.bytes));
    let told = match a.deviation {
        Some(d) => format!(
            "{newest}, {:+.0}% against the median of {} before it",
            d.share * 100.0,
            d.compared
        ),
        None => newest,
    };
    markup! {
        figure.trend {
            figcaption {
                "Size " b { (a.sizes.last().map_or_else(|| DASH.to_owned(), |s| size(s.bytes))) }
                @if let Some(d) = a.deviation {
                    " " (figure(&format!("{:+.0}%{}", d.share * 100.0, if d.over { " \u{25b2}" } else { "" }), d.over))
                    small { " against the median" @if d.over { ", over " (format!("{:.0}%", d.allowed * 100.0)) } }
                }
            }
            @match plot::sizes(&a.sizes, median, &told) {
                Some(plot) => { (plot) div.axis { span { (a.sizes.first().map_or_else(String::new, |s| day(s.at, now))) } span { (a.sizes.last().map_or_else(String::new, |s| day(s.at, now))) } } }
                None => p.dim { "Too few points for a trend." }
            }
        }
    }
}

fn measures(a: &Asset, page: &Page) -> Markup {
    let (rpo, rto) = (&a.rpo, &a.rto);
    let missed = |met: Option<bool>| met == Some(false);
    let over = |n: Option<i64>| n.zip(rpo.target_seconds).map(|(n, t)| n <= t);
    markup! {
        dl.measures {
            div { dt { "Loss if it were lost now" } dd { (figure(&known_age(rpo.now_seconds), missed(over(rpo.now_seconds)))) small { @match rpo.target_seconds { Some(t) => { " of " (age(t)) @if a.max_age_derived { ", derived from its schedule" } } None => " no objective" } @if rpo.continuous { ", continuous" } } } }
            @if let Some(longest) = rpo.longest_seconds {
                div { dt { "Longest gap" } dd { (figure(&age(longest), missed(over(Some(longest))) && !rpo.continuous)) small { @if let Some(s) = rpo.measured_since { " since " (day(s, page.at)) } } } }
            }
            div { dt { "Restore took" } dd { @match rto.newest_seconds { Some(s) => (figure(&took(s), missed(rto.met))), None => "not measured" } small { @match rto.target_seconds { Some(t) => { " of " (age(t)) } None => " no objective" } @if let Some(at) = rto.newest_at { ", " (day(at, page.at)) } } } }
            div { dt { "Stored" } dd { (size(a.bytes)) small { " in " (plural(a.points, "point", "points")) } } }
            div { dt { "A month of it" } dd { (amount(a.cost.month, &a.cost, &page.costs)) } }
        }
    }
}

/// The same as a table, for whoever reads or copies figures.
fn data(a: &Asset) -> Markup {
    let newest = a.newest.as_ref().and_then(|n| n.name.as_deref());
    markup! {
        details.data {
            summary { "Figures" }
            div.scroll {
                table {
                    caption { @if let Some(name) = newest { "Newest: " code { (name) } } @else { "Recovery points by place" } }
                    tr { th scope="col" { "Place" } th scope="col" { "Points" } th scope="col" { "Newest" } th scope="col" { "Oldest" } }
                    @for lane in &a.lanes {
                        tr {
                            th scope="row" { (lane.place) }
                            td { @if lane.seen { (lane.points) } @else { "not seen" } }
                            td { @match lane.newest { Some(t) => (when(t)), None => (DASH) } }
                            td { @match lane.oldest { Some(t) => (when(t)), None => (DASH) } }
                        }
                    }
                }
            }
        }
    }
}
