//! What the page says in sentences.

use crate::model::{AssetReport, CostSummary, HealthState, QuotaUsage, SuccessRate};
use shared::{
    hints::commands,
    plan::{Finding, FindingCode, Severity},
};

/// One sentence that tells whether to sleep.
///
/// `gaps` places could not be seen; `elsewhere` directories are a host's own, which is no fault and must be said.
pub(crate) fn summary_sentence(
    assets: &[AssetReport],
    findings: &[Finding],
    gaps: usize,
    elsewhere: usize,
) -> String {
    let of = |state| assets.iter().filter(|a| a.state == state).collect::<Vec<_>>();
    let (critical, unknown, warning) =
        (of(HealthState::Critical), of(HealthState::Unknown), of(HealthState::Warning));
    let all = assets.len();
    let mut blind = match gaps {
        0 => String::new(),
        1 => " One place could not be seen.".to_owned(),
        n => format!(" {n} places could not be seen."),
    };
    if elsewhere > 0 {
        blind += " What lies in directories of hosts is not seen from here.";
    }
    if all == 0 {
        return format!("Nothing was seen that the policy protects.{blind}");
    }
    if !critical.is_empty() {
        let are = if critical.len() == 1 { "is" } else { "are" };
        return format!(
            "{} of {all} {} {are} not protected: {}.{blind}",
            critical.len(),
            asset_noun(all),
            list_names(&critical)
        );
    }
    if !unknown.is_empty() {
        return format!(
            "{} of {all} {} can't be judged: {}.{blind}",
            unknown.len(),
            asset_noun(all),
            list_names(&unknown)
        );
    }
    let protected = match all {
        1 => "The one asset is protected".to_owned(),
        n => format!("All {n} assets are protected"),
    };
    let elsewhere = findings.iter().filter(|f| f.severity == Severity::Critical).count();
    match (elsewhere, warning.len()) {
        (0, 0) => format!("{protected}.{blind}"),
        (0, n) => {
            let (need, it) = if n == 1 { ("needs", "1") } else { ("need", &*n.to_string()) };
            format!("{protected}; {it} {need} a look: {}.{blind}", list_names(&warning))
        }
        (n, _) => {
            let are = if n == 1 { "one thing is" } else { "other things are" };
            format!("{protected}, but {are} wrong: {}.{blind}", first_critical(findings))
        }
    }
}

fn first_critical(findings: &[Finding]) -> String {
    let critical = findings.iter().find(|f| f.severity == Severity::Critical);
    critical.map_or_else(String::new, |f| format!("{} ({})", f.asset, f.message))
}

fn asset_noun(n: usize) -> &'static str {
    if n == 1 { "asset" } else { "assets" }
}

fn list_names(assets: &[&AssetReport]) -> String {
    const MAX_SHOWN_NAMES: usize = 3;
    let shown: Vec<_> = assets.iter().take(MAX_SHOWN_NAMES).map(|a| a.asset.as_str()).collect();
    match assets.len().saturating_sub(MAX_SHOWN_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Storage over the warning or critical share of its quota.
pub(crate) fn quota_finding(company: &str, quota: &QuotaUsage, at_most: bool) -> Option<Finding> {
    let severity = match quota.state {
        // Snapshots that are counted whole may be far less.
        HealthState::Critical if !at_most => Severity::Critical,
        HealthState::Critical | HealthState::Warning => Severity::Warning,
        HealthState::Ok | HealthState::Unknown => return None,
    };
    let most = if at_most { "at most " } else { "" };
    let why = format!(
        "storage is {most}{:.0}% of its quota: {} of {}",
        quota.used * 100.0,
        format_size(quota.bytes),
        format_size(quota.quota)
    );
    let hint = "let older points go sooner, move them to a colder class, or raise costs.quota";
    Some(Finding::new(severity, company, FindingCode::QuotaExceeded, why, hint))
}

/// A month that costs more than its budget, or will.
pub(crate) fn budget_finding(company: &str, costs: &CostSummary) -> Option<Finding> {
    let budget = costs.budget?;
    let (so_far, forecast) = (costs.total.so_far?, costs.total.forecast?);
    let most = if costs.total.at_most { "at most " } else { "" };
    let money = |m| format_money(m, &costs.currency);
    let why = if so_far > budget {
        format!(
            "this month cost {most}{} so far, over its budget of {}",
            money(so_far),
            money(budget)
        )
    } else if forecast > budget {
        let (forecast, budget) = (money(forecast), money(budget));
        format!("this month will cost {most}{forecast}, over its budget of {budget}")
    } else {
        return None;
    };
    let hint = if costs.total.at_most {
        "write costs.snapshot_change for a truer figure; then keep fewer points, or raise costs.monthly_budget"
    } else {
        "keep fewer points, move them to a colder class, or raise costs.monthly_budget"
    };
    Some(Finding::new(Severity::Warning, company, FindingCode::OverBudget, why, hint))
}

/// Too many backups failed.
pub(crate) fn success_rate_finding(company: &str, success: &SuccessRate) -> Option<Finding> {
    let rate = success.rate.filter(|r| *r < success.alert)?;
    let why = format!(
        "{} of {} backups of the last {} days failed: {:.2}% went well, under {:.0}%",
        success.failed,
        success.failed + success.succeeded,
        success.days,
        rate * 100.0,
        success.alert * 100.0
    );
    let hint = format!("{} and see what failed", commands::run(commands::AUDIT_LIST));
    Some(Finding::new(Severity::Warning, company, FindingCode::SuccessRate, why, hint))
}

/// The storage report, line by line.
pub(crate) fn storage_report(costs: &CostSummary, quota: Option<&QuotaUsage>) -> String {
    let known =
        |m: Option<f64>| m.map_or("unknown".to_owned(), |m| format_money(m, &costs.currency));
    let most = if costs.total.at_most { "at most " } else { "" };
    let budget =
        costs.budget.map(|b| format!(" of a budget of {}", format_money(b, &costs.currency)));
    let quota = quota.map(|q| format!("; {:.0}% of the quota", q.used * 100.0));
    let mut lines = vec![format!(
        "storage is {most}{}; this month cost {most}{} so far and will cost {}{}{}",
        format_size(costs.total.bytes),
        known(costs.total.so_far),
        known(costs.total.forecast),
        budget.unwrap_or_default(),
        quota.unwrap_or_default()
    )];
    lines.extend(costs.classes.iter().map(|c| {
        format!(
            "{}: {}, {} a month",
            c.class.label(),
            format_size(c.line.bytes),
            known(c.line.month)
        )
    }));
    let requests = costs.requests.iter();
    lines.extend(requests.map(|r| {
        format!(
            "{} requests of this month: {} or more, {}",
            r.kind.as_str(),
            r.count,
            known(r.cost)
        )
    }));
    let transfer = costs.transfer;
    lines.push(format!(
        "transfer to other regions in this month: {} or more, {}",
        format_size(transfer.bytes),
        known(transfer.cost)
    ));
    lines.join("\n")
}

/// An amount: `$12.30`, `EUR 1,204`.
pub(crate) fn format_money(amount: f64, currency: &str) -> String {
    let sign = if currency == "USD" { "$".to_owned() } else { format!("{currency} ") };
    match amount {
        a if a != 0.0 && a.abs() < 0.01 => format!("<{sign}0.01"),
        a if a.abs() >= 1000.0 => format!("{sign}{}", group_thousands(&format!("{a:.0}"))),
        a => format!("{sign}{a:.2}"),
    }
}

fn group_thousands(digits: &str) -> String {
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in powers of 1,024: `20 GiB`, `1.5 TiB`.
#[expect(clippy::cast_precision_loss, reason = "a size for people")]
pub(crate) fn format_size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut n, mut unit) = (bytes as f64, 0);
    while n >= 1023.95 && unit + 1 < units.len() {
        (n, unit) = (n / 1024.0, unit + 1);
    }
    match n {
        n if unit == 0 || n >= 99.95 || (n - n.round()).abs() < 0.05 => {
            format!("{n:.0} {}", units[unit])
        }
        n => format!("{n:.1} {}", units[unit]),
    }
}
