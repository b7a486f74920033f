//! Times, ages, sizes and amounts in words.

use crate::model::{CostLine, CostSummary};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use maud::{Markup, html as markup};

pub(super) use crate::page::words::format_size;

/// What stands where nothing is known.
pub(super) const DASH: &str = "\u{2013}";

/// `2026-11-20 12:05`.
pub(super) fn format_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// `20 Nov`; with its year when that is not this one's.
pub(super) fn format_date(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    at.strftime(if at.year() == now.year() { "%-d %b" } else { "%-d %b %Y" }).to_string()
}

/// `3d 4h`.
pub(super) fn format_age(seconds: i64) -> String {
    shared::time::format_duration(SignedDuration::from_secs(seconds))
}

/// An age that may be unknown.
pub(super) fn format_optional_age(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| DASH.to_owned(), format_age)
}

/// How long something took: `42 s`, `3m`, `1h 20m`.
#[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time that was measured")]
pub(super) fn format_elapsed(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format_age(s as i64),
    }
}

/// `99.95%`, without zeros that tell nothing.
pub(super) fn format_rate(of: f64) -> String {
    let text = format!("{:.2}", of * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

/// A share of a limit: `19%`.
pub(super) fn format_percent(of: f64) -> String {
    format!("{:.0}%", of * 100.0)
}

/// An amount in the costs' currency.
pub(super) fn format_amount(amount: f64, costs: &CostSummary) -> String {
    crate::page::words::format_money(amount, &costs.currency)
}

/// An amount of a line with what is known of it: `at most $3.20`.
pub(super) fn format_cost(amount: Option<f64>, line: &CostLine, costs: &CostSummary) -> String {
    let Some(known) = amount else {
        return if line.bytes == 0 { format_amount(0.0, costs) } else { DASH.to_owned() };
    };
    let bound = match (line.at_most, line.at_least) {
        (true, false) => "\u{2264} ",
        (false, true) => "\u{2265} ",
        (true, true) => "\u{2248} ",
        (false, false) => "",
    };
    format!("{bound}{}", format_amount(known, costs))
}

/// `12,345`.
pub(super) fn format_count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 asset`, `2 assets`.
pub(super) fn format_plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", format_count(n), if n == 1 { one } else { many })
}

/// A figure, marked when it misses what is asked.
pub(super) fn render_figure(is: &str, missed: bool) -> Markup {
    markup! { @if missed { span.missed { (is) } } @else { (is) } }
}

/// Text in which what stands between backquotes is something to type.
pub(super) fn render_code(text: &str) -> Markup {
    markup! {
        @for (i, part) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
