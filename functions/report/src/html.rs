//! The page for people: one file that stands on its own. Made by `maud`, whose templates are checked by the compiler and
//! escape whatever they are given; only the plots and the style sheet go in as they are.
//!
//! - `fleet`: the table of all assets; `asset`: one asset; `money`: costs and quota; `past`: proofs, alarms, audit
//! - `text`: times, ages and sizes in words

mod asset;
mod fleet;
mod money;
mod past;
mod text;

use crate::model::{HealthState, StatusPageData};
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use text::{format_count, format_plural, format_time};

const STYLE: &str = include_str!("html/style.css");
/// Says when the page is old. An old page that looks good is the one lie that this page could tell, and no server is
/// there to say it; without scripts its time stands there all the same.
const SCRIPT: &str = include_str!("html/old.js");
/// SHA-256 of the script, by which the page's own policy lets it run and nothing else.
const SCRIPT_HASH: &str = "sha256-vZqbQcOmQhShnzosMi5xDqgfzxnnQKIDCrRwR7gW2Cw=";

/// The page as HTML.
pub fn render_html(page: &StatusPageData) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'; img-src data:; \
         base-uri 'none'; form-action 'none'"
    );
    let title = format!("{}: backups {}", page.policy, page.summary.state.as_str());
    markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex, nofollow";
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content=(policy);
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (render_header(page))
                main {
                    (render_recommendations(page))
                    (render_unobserved(page))
                    (fleet::render_overview(page))
                    (money::render_costs(page))
                    (past::render_verification(page))
                    (asset::render_assets(page))
                }
                (render_footer(page))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// A state by word and shape, so that no colour is needed to read it. The shapes are in the style sheet: on a large page
/// there are hundreds, and a screen reader says the word alone.
fn render_state(state: HealthState) -> Markup {
    markup! { span class={ "state " (state.as_str()) } { (state.as_str()) } }
}

fn render_header(page: &StatusPageData) -> Markup {
    let s = &page.summary;
    let tally = [
        (HealthState::Critical, s.critical),
        (HealthState::Unknown, s.unknown),
        (HealthState::Warning, s.warning),
        (HealthState::Ok, s.ok),
    ];
    markup! {
        header class={ "top " (s.state.as_str()) } {
            p.kicker { (page.policy) " \u{b7} backups" }
            h1 { (s.headline) }
            p #old hidden { "This page is old: nothing wrote it for " span #hours {} ". Trust nothing on it; see why " code { (shared::hints::commands::REPORT) } " does not run." }
            p.written { "Looked at " time #written datetime=(page.at.to_string()) { (format_time(page.at)) " UTC" } "." }
            ul.tally aria-label="Assets by state" {
                @for (state, n) in tally.into_iter().filter(|(state, n)| *n > 0 || *state == HealthState::Ok) {
                    li { strong { (n) } " " (render_state(state)) }
                }
            }
            dl.facts {
                @if let Some(newest) = &s.newest {
                    div { dt { "Newest backup" } dd { (text::format_age(newest.age_seconds)) " ago" small { (s.newest_asset.as_deref().unwrap_or_default()) @if let Some(b) = newest.bytes { ", " (text::format_size(b)) } } } }
                }
                div { dt { "Recovery points" } dd { (format_count(s.points)) small { (text::format_size(s.bytes)) " stored" } } }
                @if let Some(cost) = page.costs.total.so_far {
                    div { dt { "This month" } dd { (text::format_amount(cost, &page.costs)) small { @if let Some(f) = page.costs.total.forecast { (text::format_amount(f, &page.costs)) " forecast" } @if page.costs.total.at_most { ", at most" } } } }
                }
                @if let Some(success) = page.success {
                    div { dt { "Success, 30 days" } dd { @match success.rate { Some(r) => (text::format_rate(r)), None => "\u{2013}" } small { @if success.succeeded + success.failed == 0 { "nothing was recorded" } @else { (success.succeeded) " of " (success.succeeded + success.failed) } } } }
                }
            }
        }
    }
}

/// The most things to do that are listed; whoever has more begins with these.
const MAX_RECOMMENDATIONS: usize = 25;
/// Names of one thing to do.
const MAX_NAMES: usize = 12;

fn render_recommendations(page: &StatusPageData) -> Markup {
    if page.recommendations.is_empty() {
        return markup! {};
    }
    let state = |s| match s {
        shared::plan::Severity::Critical => HealthState::Critical,
        shared::plan::Severity::Warning => HealthState::Warning,
        shared::plan::Severity::Info => HealthState::Ok,
    };
    markup! {
        section aria-labelledby="fixes" {
            h2 #fixes { "What to do" }
            ol.mends {
                @for hint in page.recommendations.iter().take(MAX_RECOMMENDATIONS) {
                    li {
                        (render_state(state(hint.severity))) " "
                        strong { (hint.assets.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ")) @if hint.assets.len() > MAX_NAMES { " and " (hint.assets.len() - MAX_NAMES) " more" } }
                        p { (hint.message) @if hint.assets.len() > 1 { span.dim { " (the first of them)" } } }
                        p.hint { (text::render_code(&hint.hint)) }
                    }
                }
            }
            @if page.recommendations.len() > MAX_RECOMMENDATIONS { p.dim { "And " (page.recommendations.len() - MAX_RECOMMENDATIONS) " more in report.json." } }
        }
    }
}

fn render_unobserved(page: &StatusPageData) -> Markup {
    if page.unobserved.is_empty() && page.host_directories.is_empty() {
        return markup! {};
    }
    markup! {
        section aria-labelledby="unseen" {
            h2 #unseen { "Not seen" }
            @if !page.unobserved.is_empty() {
                p { "Nothing is concluded about these places; what lies there may be good or gone." }
                ul.unseen { @for gap in page.unobserved.iter().take(MAX_RECOMMENDATIONS) { li { strong { (gap.location) } ": " (gap.message) @if !gap.hint.is_empty() { p.hint { (text::render_code(&gap.hint)) } } } } }
            }
            @if !page.host_directories.is_empty() {
                p { (format_plural(page.host_directories.len(), "directory", "directories")) " of hosts can only be seen there, by a page of their own: " (page.host_directories.join(", ")) "." }
            }
        }
    }
}

fn render_footer(page: &StatusPageData) -> Markup {
    let costs = &page.costs;
    markup! {
        footer {
            p {
                "Ages are those of the data, not of the files. A dash means that it is not known. Costs are list prices of "
                (costs.as_of) ", unless the policy has its own. The same data: " a href="report.json" { "report.json" } "."
            }
            p.dim { "Holdfast " (env!("CARGO_PKG_VERSION")) }
        }
    }
}

#[cfg(test)]
mod tests;
