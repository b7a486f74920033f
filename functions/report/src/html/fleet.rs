//! The table of all assets, the worst first.

use super::{
    badge,
    text::{DASH, age, figure, known_age, size},
};
use crate::model::{Asset, Page, State};
use maud::{Markup, html as markup};

/// The fleet at a glance.
pub(super) fn fleet(page: &Page) -> Markup {
    markup! {
        section aria-labelledby="fleet" {
            h2 #fleet { "Assets" }
            div.scroll tabindex="0" role="region" aria-labelledby="fleet" {
                table.fleet {
                    caption.hidden { "Every asset, the worst first: its state, newest recovery point, copy elsewhere, and what a loss would cost" }
                    thead { tr {
                        th scope="col" { "Asset" } th scope="col" { "State" }
                        th.n scope="col" { "Newest" } th.n scope="col" { "Size" } th.n scope="col" { "Elsewhere" }
                        th.n scope="col" { "Loss now" } th.n scope="col" { "Restore" }
                    } }
                    tbody { @for (i, asset) in page.assets.iter().enumerate() { (row(i, asset)) } }
                }
            }
        }
    }
}

fn row(i: usize, a: &Asset) -> Markup {
    let blind = a.lanes.iter().any(|l| !l.home && !l.seen);
    let elsewhere = match (a.offsite_age_seconds, a.offsite_wanted) {
        _ if blind => "not seen".to_owned(),
        (Some(seconds), _) => age(seconds),
        (None, true) if a.newest.is_some() => "none".to_owned(),
        _ => DASH.to_owned(),
    };
    markup! {
        tr {
            th scope="row" { a href={ "#a" (i) } { (a.asset) } @if a.asset != a.group { small { (a.group) } } }
            td { (badge(a.state)) }
            td.n { @match &a.newest { Some(n) => (age(n.age_seconds)), None => (DASH) } }
            td.n { @match a.newest.as_ref().and_then(|n| n.bytes) { Some(b) => (size(b)), None => (DASH) } }
            td.n { (elsewhere) }
            td.n { (against(&known_age(a.rpo.now_seconds), a.rpo.target_seconds, a.rpo.now_seconds.zip(a.rpo.target_seconds).map(|(n, t)| n <= t))) }
            td.n { (against(&restore(a), a.rto.target_seconds, a.rto.met)) }
        }
        @if a.state != State::Ok && !a.why.is_empty() {
            tr.why { td colspan="7" { @for why in a.why.iter().take(3) { p { (why) } } @if a.why.len() > 3 { p.dim { "and " (a.why.len() - 3) " more" } } } }
        }
    }
}

fn restore(a: &Asset) -> String {
    a.rto.newest_seconds.map_or_else(|| DASH.to_owned(), super::text::took)
}

/// A figure with its target, and a word when it misses it.
fn against(is: &str, target: Option<i64>, met: Option<bool>) -> Markup {
    markup! {
        (figure(is, met == Some(false)))
        @if let Some(target) = target { small { @if met == Some(false) { "over " } @else { "of " } (age(target)) } }
    }
}
