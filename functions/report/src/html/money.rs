//! What storage costs, and how much of the quota is used.

use super::{
    render_state,
    text::{
        DASH, format_amount, format_cost, format_count, format_percent, format_size, render_figure,
    },
};
use crate::{
    model::{CostSummary, QuotaUsage, StatusPageData},
    plot,
    prices::RequestKind,
};
use maud::{Markup, html as markup};

/// The dearest assets are listed; the others are in report.json.
const MAX_LISTED_ASSETS: usize = 10;

/// Costs and quota.
pub(super) fn render_costs(page: &StatusPageData) -> Markup {
    let costs = &page.costs;
    markup! {
        section aria-labelledby="costs" {
            h2 #costs { "Costs" }
            (render_month(costs))
            @if let Some(q) = &page.quota { (render_quota(q, costs.total.at_most)) }
            div.pair { div.scroll tabindex="0" role="region" aria-label="Costs by storage class" { (render_storage_classes(costs)) } div.scroll tabindex="0" role="region" aria-label="Costs by asset" { (render_top_costs(page)) } }
            (render_cost_notes(costs))
        }
    }
}

fn render_month(costs: &CostSummary) -> Markup {
    let total = &costs.total;
    let told = format!(
        "{} so far in {}, {} at its end{}",
        format_cost(total.so_far, total, costs),
        costs.month,
        format_cost(total.forecast, total, costs),
        costs.budget.map_or_else(String::new, |b| format!(", budget {}", format_amount(b, costs)))
    );
    let plot = plot::cost_svg(costs, &told);
    let over = |m: Option<f64>| m.zip(costs.budget).is_some_and(|(m, b)| m > b);
    markup! {
        dl.facts {
            div { dt { (costs.month) " so far" } dd { (render_figure(&format_cost(total.so_far, total, costs), over(total.so_far))) } }
            div { dt { "At its end" } dd { (render_figure(&format_cost(total.forecast, total, costs), over(total.forecast))) small { "if it grows as it does" } } }
            @if let Some(b) = costs.budget { div { dt { "Budget" } dd { (format_amount(b, costs)) @if let Some(f) = total.forecast { small { (format_percent(f / b.max(0.01))) " of it forecast" } } } } }
        }
        @if let Some(plot) = plot {
            figure.month {
                div.chart { div.y { span { (format_amount(plot.top, costs)) } span { (format_amount(plot.top / 2.0, costs)) } span { "0" } } (plot.plot) }
                div.axis { span { "1" } span { (costs.days_in_month) } }
                figcaption.legend { span.key.line {} " so far \u{b7} " span.key.ahead {} " forecast" @if costs.budget.is_some() { " \u{b7} " span.key.budget {} " budget" } }
            }
        }
    }
}

fn render_quota(q: &QuotaUsage, at_most: bool) -> Markup {
    markup! {
        p.quota {
            "Quota " b { @if at_most { "\u{2264} " } (format_percent(q.used)) } " " (render_state(q.state)) " "
            meter min="0" max="1" low=(q.warn_at) high=(q.critical_at) optimum="0" value=(format!("{:.3}", q.used.min(1.0))) { (format_percent(q.used)) }
            small { (format_size(q.bytes)) " of " (format_size(q.quota)) "; a warning from " (format_percent(q.warn_at)) ", critical from " (format_percent(q.critical_at)) }
        }
    }
}

fn render_storage_classes(costs: &CostSummary) -> Markup {
    markup! {
        table {
            caption { "By storage class" }
            thead { tr { th scope="col" { "Class" } th.n scope="col" { "Stored" } th.n scope="col" { "So far" } th.n scope="col" { "A month" } } }
            tbody {
                @for c in &costs.classes {
                    tr { th scope="row" { (c.class.label()) } td.n { (format_size(c.line.bytes)) } td.n { (format_cost(c.line.so_far, &c.line, costs)) } td.n { (format_cost(c.line.month, &c.line, costs)) } }
                }
                @for r in costs.requests.iter().filter(|r| r.count > 0) {
                    tr { th scope="row" { (request_label(r.kind)) } td.n { (format_count(usize::try_from(r.count).unwrap_or(usize::MAX))) } td.n { @match r.cost { Some(c) => (format_amount(c, costs)), None => (DASH) } } td.n { (DASH) } }
                }
                @if costs.transfer.bytes > 0 {
                    tr { th scope="row" { "transfer to other regions" } td.n { (format_size(costs.transfer.bytes)) } td.n { @match costs.transfer.cost { Some(c) => (format_amount(c, costs)), None => (DASH) } } td.n { (DASH) } }
                }
            }
            tfoot { tr { th scope="row" { "Together" } td.n { (format_size(costs.total.bytes)) } td.n { (format_cost(costs.total.so_far, &costs.total, costs)) } td.n { (format_cost(costs.total.month, &costs.total, costs)) } } }
        }
    }
}

fn request_label(asked: RequestKind) -> &'static str {
    match asked {
        RequestKind::Put => "requests: writing",
        RequestKind::Get => "requests: reading back",
        RequestKind::List => "requests: listing",
    }
}

fn render_top_costs(page: &StatusPageData) -> Markup {
    let costs = &page.costs;
    let mut assets: Vec<_> = page.assets.iter().filter(|a| a.bytes > 0).collect();
    assets.sort_by(|a, b| {
        let price = |a: &crate::model::AssetReport| a.cost.month.unwrap_or(f64::MAX);
        price(b).total_cmp(&price(a))
    });
    markup! {
        table {
            caption { "By asset, the dearest first" }
            thead { tr { th scope="col" { "Asset" } th.n scope="col" { "Stored" } th.n scope="col" { "A month" } } }
            tbody {
                @for a in assets.iter().take(MAX_LISTED_ASSETS) {
                    tr { th scope="row" { (a.asset) } td.n { (format_size(a.bytes)) } td.n { (format_cost(a.cost.month, &a.cost, costs)) } }
                }
                @if costs.unowned.bytes > 0 {
                    tr { th scope="row" { "of no asset" } td.n { (format_size(costs.unowned.bytes)) } td.n { (format_cost(costs.unowned.month, &costs.unowned, costs)) } }
                }
            }
            @if assets.len() > MAX_LISTED_ASSETS { tfoot { tr { td.dim colspan="3" { "and " (assets.len() - MAX_LISTED_ASSETS) " more in report.json" } } } }
        }
    }
}

fn render_cost_notes(costs: &CostSummary) -> Markup {
    markup! {
        @if costs.total.at_most {
            p.dim { "\u{2264}: snapshots are counted whole. RDS bills only what changed and gives a fleet's size free, and tells neither; with " code { "costs.snapshot_change" } " in the policy the figure is nearer." }
        }
        @if !costs.unpriced.is_empty() {
            p.dim { "No price is known for " (costs.unpriced.iter().map(|c| c.label()).collect::<Vec<_>>().join(", ")) ", so sums are more than what stands here; write it under " code { "costs.prices" } "." }
        }
    }
}
