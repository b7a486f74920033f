//! What storage costs, and how much of the quota is used.

use super::{
    badge,
    text::{DASH, amount, count, figure, money, percent, size},
};
use crate::{
    model::{Costs, Page, Quota},
    plot,
    prices::Asked,
};
use maud::{Markup, html as markup};

/// The dearest assets are listed; the others are in report.json.
const LISTED: usize = 10;

/// Costs and quota.
pub(super) fn costs(page: &Page) -> Markup {
    let costs = &page.costs;
    markup! {
        section aria-labelledby="costs" {
            h2 #costs { "Costs" }
            (month(costs))
            @if let Some(q) = &page.quota { (quota(q, costs.total.at_most)) }
            div.pair { div.scroll tabindex="0" role="region" aria-label="Costs by storage class" { (classes(costs)) } div.scroll tabindex="0" role="region" aria-label="Costs by asset" { (dearest(page)) } }
            (notes(costs))
        }
    }
}

fn month(costs: &Costs) -> Markup {
    let total = &costs.total;
    let told = format!(
        "{} so far in {}, {} at its end{}",
        amount(total.so_far, total, costs),
        costs.month,
        amount(total.forecast, total, costs),
        costs.budget.map_or_else(String::new, |b| format!(", budget {}", money(b, costs)))
    );
    let plot = plot::month(costs, &told);
    let over = |m: Option<f64>| m.zip(costs.budget).is_some_and(|(m, b)| m > b);
    markup! {
        dl.facts {
            div { dt { (costs.month) " so far" } dd { (figure(&amount(total.so_far, total, costs), over(total.so_far))) } }
            div { dt { "At its end" } dd { (figure(&amount(total.forecast, total, costs), over(total.forecast))) small { "if it grows as it does" } } }
            @if let Some(b) = costs.budget { div { dt { "Budget" } dd { (money(b, costs)) @if let Some(f) = total.forecast { small { (percent(f / b.max(0.01))) " of it forecast" } } } } }
        }
        @if let Some(plot) = plot {
            figure.month {
                div.chart { div.y { span { (money(plot.top, costs)) } span { (money(plot.top / 2.0, costs)) } span { "0" } } (plot.plot) }
                div.axis { span { "1" } span { (costs.days_in_month) } }
                figcaption.legend { span.key.line {} " so far \u{b7} " span.key.ahead {} " forecast" @if costs.budget.is_some() { " \u{b7} " span.key.budget {} " budget" } }
            }
        }
    }
}

fn quota(q: &Quota, at_most: bool) -> Markup {
    markup! {
        p.quota {
            "Quota " b { @if at_most { "\u{2264} " } (percent(q.used)) } " " (badge(q.state)) " "
            meter min="0" max="1" low=(q.warn_at) high=(q.critical_at) optimum="0" value=(format!("{:.3}", q.used.min(1.0))) { (percent(q.used)) }
            small { (size(q.bytes)) " of " (size(q.quota)) "; a warning from " (percent(q.warn_at)) ", critical from " (percent(q.critical_at)) }
        }
    }
}

fn classes(costs: &Costs) -> Markup {
    markup! {
        table {
            caption { "By storage class" }
            thead { tr { th scope="col" { "Class" } th.n scope="col" { "Stored" } th.n scope="col" { "So far" } th.n scope="col" { "A month" } } }
            tbody {
                @for c in &costs.classes {
                    tr { th scope="row" { (c.class.words()) } td.n { (size(c.line.bytes)) } td.n { (amount(c.line.so_far, &c.line, costs)) } td.n { (amount(c.line.month, &c.line, costs)) } }
                }
                @for r in costs.requests.iter().filter(|r| r.count > 0) {
                    tr { th scope="row" { (kind(r.kind)) } td.n { (count(usize::try_from(r.count).unwrap_or(usize::MAX))) } td.n { @match r.cost { Some(c) => (money(c, costs)), None => (DASH) } } td.n { (DASH) } }
                }
                @if costs.transfer.bytes > 0 {
                    tr { th scope="row" { "transfer to other regions" } td.n { (size(costs.transfer.bytes)) } td.n { @match costs.transfer.cost { Some(c) => (money(c, costs)), None => (DASH) } } td.n { (DASH) } }
                }
            }
            tfoot { tr { th scope="row" { "Together" } td.n { (size(costs.total.bytes)) } td.n { (amount(costs.total.so_far, &costs.total, costs)) } td.n { (amount(costs.total.month, &costs.total, costs)) } } }
        }
    }
}

fn kind(asked: Asked) -> &'static str {
    match asked {
        Asked::Put => "requests: writing",
        Asked::Get => "requests: reading back",
        Asked::List => "requests: listing",
    }
}

fn dearest(page: &Page) -> Markup {
    let costs = &page.costs;
    let mut assets: Vec<_> = page.assets.iter().filter(|a| a.bytes > 0).collect();
    assets.sort_by(|a, b| {
        let price = |a: &crate::model::Asset| a.cost.month.unwrap_or(f64::MAX);
        price(b).total_cmp(&price(a))
    });
    markup! {
        table {
            caption { "By asset, the dearest first" }
            thead { tr { th scope="col" { "Asset" } th.n scope="col" { "Stored" } th.n scope="col" { "A month" } } }
            tbody {
                @for a in assets.iter().take(LISTED) {
                    tr { th scope="row" { (a.asset) } td.n { (size(a.bytes)) } td.n { (amount(a.cost.month, &a.cost, costs)) } }
                }
                @if costs.unowned.bytes > 0 {
                    tr { th scope="row" { "of no asset" } td.n { (size(costs.unowned.bytes)) } td.n { (amount(costs.unowned.month, &costs.unowned, costs)) } }
                }
            }
            @if assets.len() > LISTED { tfoot { tr { td.dim colspan="3" { "and " (assets.len() - LISTED) " more in report.json" } } } }
        }
    }
}

fn notes(costs: &Costs) -> Markup {
    markup! {
        @if costs.total.at_most {
            p.dim { "\u{2264}: snapshots are counted whole. RDS bills only what changed and gives a fleet's size free, and tells neither; with " code { "costs.snapshot_change" } " in the policy the figure is nearer." }
        }
        @if !costs.unpriced.is_empty() {
            p.dim { "No price is known for " (costs.unpriced.iter().map(|c| c.words()).collect::<Vec<_>>().join(", ")) ", so sums are more than what stands here; write it under " code { "costs.prices" } "." }
        }
    }
}
