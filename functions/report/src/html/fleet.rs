//! The table of all assets, the worst first.

use super::{
    render_state,
    text::{DASH, format_age, format_optional_age, format_size, render_figure},
};
use crate::model::{AssetReport, HealthState, StatusPageData};
use maud::{Markup, html as markup};

/// The fleet at a glance.
pub(super) fn render_overview(page: &StatusPageData) -> Markup {
    markup! {
        section aria-labelledby="fleet" {
            h2 #fleet { "Assets" }
            div.scroll tabindex="0" role="region" aria-labelledby="fleet" {
                table.fleet {
                    caption.hidden { "Every asset, the worst first: its state, newest recovery point, copy elsewhere, last proven restore, and what a loss would cost" }
                    thead { tr {
                        th scope="col" { "Asset" } th scope="col" { "State" }
                        th.n scope="col" { "Newest" } th.n scope="col" { "Size" } th.n scope="col" { "Elsewhere" } th.n scope="col" { "Proven" }
                        th.n scope="col" { "Loss now" } th.n scope="col" { "Restore" }
                    } }
                    tbody { @for (i, asset) in page.assets.iter().enumerate() { (render_asset_row(i, asset)) } }
                }
            }
        }
    }
}

fn render_asset_row(i: usize, a: &AssetReport) -> Markup {
    let blind = a.timeline.iter().any(|l| !l.home && !l.observed);
    let elsewhere = match (a.offsite_age_seconds, a.offsite_wanted) {
        _ if blind => "not seen".to_owned(),
        (Some(seconds), _) => format_age(seconds),
        (None, true) if a.newest.is_some() => "none".to_owned(),
        _ => DASH.to_owned(),
    };
    let proof = match a.proof.map(|proof| proof.age_seconds) {
        Some(Some(seconds)) => format_age(seconds),
        Some(None) => "never".to_owned(),
        None => DASH.to_owned(),
    };
    markup! {
        tr {
            th scope="row" { a href={ "#a" (i) } { (a.asset) } @if a.asset != a.group { small { (a.group) } } }
            td { (render_state(a.state)) }
            td.n { @match &a.newest { Some(n) => (format_age(n.age_seconds)), None => (DASH) } }
            td.n { @match a.newest.as_ref().and_then(|n| n.bytes) { Some(b) => (format_size(b)), None => (DASH) } }
            td.n { (elsewhere) }
            td.n { (proof) }
            td.n { (render_target(&format_optional_age(a.rpo.now_seconds), a.rpo.target_seconds, a.rpo.now_seconds.zip(a.rpo.target_seconds).map(|(n, t)| n <= t))) }
            td.n { (render_target(&format_restore_time(a), a.rto.target_seconds, a.rto.met)) }
        }
        @if a.state != HealthState::Ok && !a.messages.is_empty() {
            tr.why { td colspan="8" { @for why in a.messages.iter().take(3) { p { (why) } } @if a.messages.len() > 3 { p.dim { "and " (a.messages.len() - 3) " more" } } } }
        }
    }
}

fn format_restore_time(a: &AssetReport) -> String {
    a.rto.newest_seconds.map_or_else(|| DASH.to_owned(), super::text::format_elapsed)
}

/// A figure with its target, and a word when it misses it.
fn render_target(is: &str, target: Option<i64>, met: Option<bool>) -> Markup {
    markup! {
        (render_figure(is, met == Some(false)))
        @if let Some(target) = target { small { @if met == Some(false) { "over " } @else { "of " } (format_age(target)) } }
    }
}
