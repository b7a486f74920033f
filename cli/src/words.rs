//! How figures and findings are written for people.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use shared::{
    plan::{Finding, Severity},
    time::format_duration,
};

pub(crate) use shared::words::format_size;

/// What stands where there is nothing.
pub(crate) const PLACEHOLDER: &str = "-";

/// Text from outside without what would steer a terminal.
pub(crate) fn escape_control_chars(text: &str) -> String {
    shared::words::escape_control_chars(text).into_owned()
}

/// A time, to the minute, in UTC.
pub(crate) fn format_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// An age in seconds.
pub(crate) fn format_age(seconds: i64) -> String {
    format_duration(SignedDuration::from_secs(seconds))
}

/// A verdict: critical shouts, so that it is found in a long table.
pub(crate) fn severity_label(worst: Option<Severity>) -> &'static str {
    match worst {
        Some(Severity::Critical) => "CRITICAL",
        Some(Severity::Warning) => "warning",
        Some(Severity::Info) | None => "ok",
    }
}

/// A finding, and below it what to do.
pub(crate) fn format_finding(f: &Finding) -> String {
    let Finding { severity, asset, code: what, message: why, hint, .. } = f;
    let severity = match severity {
        Severity::Info => "info",
        severity => severity_label(Some(*severity)),
    };
    let hint = if hint.is_empty() { String::new() } else { format!("\n    do: {hint}") };
    escape_control_chars(&format!("{severity} {asset} ({what}): {why}{hint}"))
}

/// A count with its word.
pub(crate) fn pluralize(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// Names that are near `asked`, nearest first, five at most.
pub(crate) fn suggest_names(asked: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut near: Vec<(f64, String)> = names
        .into_iter()
        .map(|n| {
            let within = n.contains(asked) || asked.contains(&n);
            (strsim::jaro_winkler(asked, &n) + if within { 1.0 } else { 0.0 }, n)
        })
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().map(|(_, n)| n).take(5).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        let names = ["lomash-orders-prod", "lomash-auth-prod", "media"].map(str::to_owned);
        assert_eq!(suggest_names("lomash-order-prod", names.clone())[0], "lomash-orders-prod");
        assert_eq!(suggest_names("orders", names)[0], "lomash-orders-prod");
    }
}
