//! One asset: its points over time, its sizes, what a loss and a restore would cost.

use super::{
    render_state,
    text::{
        DASH, format_age, format_cost, format_date, format_elapsed, format_optional_age,
        format_plural, format_size, format_time, render_figure,
    },
};
use crate::{
    model::{AssetReport, HealthState, StatusPageData},
    plot,
};
use jiff::Timestamp;
use maud::{Markup, html as markup};
use shared::report::AssetCoverage;

/// Every asset.
pub(super) fn render_assets(page: &StatusPageData) -> Markup {
    markup! {
        section.assets aria-labelledby="each" {
            h2 #each { "Each asset" }
            p.legend {
                span.key.covered {} " a point was young enough \u{b7} " span.key.point {} " recovery points \u{b7} "
                span.key.gap {} " no point was young enough"
            }
            @for (i, a) in page.assets.iter().enumerate() { (render_asset(i, a, page)) }
        }
    }
}

fn render_asset(i: usize, a: &AssetReport, page: &StatusPageData) -> Markup {
    markup! {
        details.asset id={ "a" (i) } open[a.state != HealthState::Ok || page.assets.len() <= 12] {
            summary { span.name { (a.asset) } " " @if a.asset != a.group { small { (a.group) } " " } (render_state(a.state)) }
            @for why in &a.messages { p.because { (why) } }
            @if a.timeline.is_empty() {
                p.dim { @if a.coverage == AssetCoverage::NotRun { "Nothing runs this part of the policy." } @else if a.has_recovery_points { "No recovery point of it is known." } @else { "It is compared with its copy in place and has no recovery points of its own." } }
                @if a.bytes > 0 { p { "Stored: " (format_size(a.bytes)) ", a month of it " (format_cost(a.cost.month, &a.cost, &page.costs)) } }
            } @else {
                (render_timeline(a, page.at))
                div.pair {
                    (render_size_trend(a, page.at))
                    (render_objectives(a, page))
                }
                (render_data_table(a))
            }
        }
    }
}

fn render_timeline(a: &AssetReport, now: Timestamp) -> Markup {
    let restores = a.verifications.iter().filter(|p| p.restore && p.succeeded).count();
    let failed = a.verifications.iter().filter(|p| !p.succeeded).count();
    let checks = a.verifications.len() - restores - failed;
    markup! {
        figure.timeline {
            @for lane in &a.timeline {
                div.lane {
                    span.at { (lane.location) @if !lane.home { small { " copies" } } }
                    @if lane.observed {
                        (plot::timeline_svg(lane, a.since, now, (a.max_age_seconds, a.full_density_seconds), &describe_row(lane, now)))
                    } @else { span.blind { "could not be seen" } }
                }
            }
            @if !a.verifications.is_empty() {
                div.lane {
                    span.at { "proofs" }
                    (plot::verification_svg(&a.verifications, a.since, now, &format!("{checks} checked, {restores} restored, {failed} failed")))
                }
            }
            figcaption.axis { span { (format_date(a.since, now)) } span { "now" } }
        }
    }
}

/// A lane in words.
fn describe_row(lane: &crate::model::TimelineRow, now: Timestamp) -> String {
    let newest = lane.newest.map(|n| format_age(now.duration_since(n).as_secs().max(0)));
    match newest {
        Some(newest) => {
            format!("{}, the newest {newest} old", format_plural(lane.points, "point", "points"))
        }
        None => "no point".to_owned(),
    }
}

fn render_size_trend(a: &AssetReport, now: Timestamp) -> Markup {
    let median = a.deviation.map(|d| d.median);
    let newest = a.sizes.last().map_or_else(|| DASH.to_owned(), |s| format_size(s.bytes));
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
                "Size " b { (a.sizes.last().map_or_else(|| DASH.to_owned(), |s| format_size(s.bytes))) }
                @if let Some(d) = a.deviation {
                    " " (render_figure(&format!("{:+.0}%{}", d.share * 100.0, if d.exceeded { " \u{25b2}" } else { "" }), d.exceeded))
                    small { " against the median" @if d.exceeded { ", over " (format!("{:.0}%", d.allowed * 100.0)) } }
                }
            }
            @match plot::size_trend_svg(&a.sizes, median, &told) {
                Some(plot) => { (plot) div.axis { span { (a.sizes.first().map_or_else(String::new, |s| format_date(s.at, now))) } span { (a.sizes.last().map_or_else(String::new, |s| format_date(s.at, now))) } } }
                None => p.dim { "Too few points for a trend." }
            }
        }
    }
}

fn render_objectives(a: &AssetReport, page: &StatusPageData) -> Markup {
    let (rpo, rto) = (&a.rpo, &a.rto);
    let missed = |met: Option<bool>| met == Some(false);
    let over = |n: Option<i64>| n.zip(rpo.target_seconds).map(|(n, t)| n <= t);
    markup! {
        dl.measures {
            div { dt { "Loss if it were lost now" } dd { (render_figure(&format_optional_age(rpo.now_seconds), missed(over(rpo.now_seconds)))) small { @match rpo.target_seconds { Some(t) => { " of " (format_age(t)) @if a.max_age_derived { ", derived from its schedule" } } None => " no objective" } @if rpo.continuous { ", continuous" } } } }
            @if let Some(longest) = rpo.longest_seconds {
                div { dt { "Longest gap" } dd { (render_figure(&format_age(longest), missed(over(Some(longest))) && !rpo.continuous)) small { @if let Some(s) = rpo.measured_since { " since " (format_date(s, page.at)) } } } }
            }
            div { dt { "Restore took" } dd { @match rto.newest_seconds { Some(s) => (render_figure(&format_elapsed(s), missed(rto.met))), None => "not measured" } small { @match rto.target_seconds { Some(t) => { " of " (format_age(t)) } None => " no objective" } @if let Some(at) = rto.newest_at { ", " (format_date(at, page.at)) } } } }
            div { dt { "Stored" } dd { (format_size(a.bytes)) small { " in " (format_plural(a.points, "point", "points")) } } }
            div { dt { "A month of it" } dd { (format_cost(a.cost.month, &a.cost, &page.costs)) } }
        }
    }
}

/// The same as a table, for whoever reads or copies figures.
fn render_data_table(a: &AssetReport) -> Markup {
    let newest = a.newest.as_ref().and_then(|n| n.name.as_deref());
    markup! {
        details.data {
            summary { "Figures" }
            div.scroll {
                table {
                    caption { @if let Some(name) = newest { "Newest: " code { (name) } } @else { "Recovery points by place" } }
                    tr { th scope="col" { "Place" } th scope="col" { "Points" } th scope="col" { "Newest" } th scope="col" { "Oldest" } }
                    @for lane in &a.timeline {
                        tr {
                            th scope="row" { (lane.location) }
                            td { @if lane.observed { (lane.points) } @else { "not seen" } }
                            td { @match lane.newest { Some(t) => (format_time(t)), None => (DASH) } }
                            td { @match lane.oldest { Some(t) => (format_time(t)), None => (DASH) } }
                        }
                    }
                }
            }
        }
    }
}
