//! What a text that was not understood most likely means, in the policy's own way of writing it. Never the text itself: what
//! checks it asks here again when it is wrong.

use super::super::structure::suggest_word;

/// `Pre_Deploy` is `pre-deploy`.
pub(super) fn suggest_name(s: &str, longest: usize) -> Option<String> {
    let plain: String = s
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let parts: Vec<_> = plain.split('-').filter(|p| !p.is_empty()).collect();
    Some(parts.join("-")).filter(|near| near != s && super::check_word(near, longest).is_ok())
}

/// Seconds and the policy's letters for a unit of time as people write it.
fn parse_time_unit(word: &str) -> Option<(f64, &'static str)> {
    // One letter is case-sensitive elsewhere: M is a month, m is a minute.
    if word == "M" {
        return Some((31.0 * 86_400.0, "mo"));
    }
    Some(match word.to_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => (1.0, "s"),
        "m" | "min" | "mins" | "minute" | "minutes" => (60.0, "m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => (3_600.0, "h"),
        "d" | "day" | "days" => (86_400.0, "d"),
        "w" | "wk" | "wks" | "week" | "weeks" => (7.0 * 86_400.0, "w"),
        "mo" | "mon" | "mth" | "month" | "months" => (31.0 * 86_400.0, "mo"),
        "y" | "yr" | "yrs" | "year" | "years" => (366.0 * 86_400.0, "y"),
        _ => return None,
    })
}

/// Numbers with the word behind each: `1d 12h`, `2.5GB`.
fn parse_amounts(s: &str) -> Option<Vec<(f64, &str)>> {
    let mut all = Vec::new();
    let mut rest = s.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        all.push((number, &rest[..end]));
        rest = rest[end..].trim_start_matches([',', ' ']);
    }
    Some(all).filter(|all| !all.is_empty())
}

/// `35 days` is `35d`, `1.5h` is `90m`, `P35D` is `35d`.
pub(super) fn suggest_period(s: &str) -> Option<String> {
    let iso = s.strip_prefix(['P', 'p']).map(|rest| rest.replace(['T', 't'], ""));
    let amounts = parse_amounts(iso.as_deref().unwrap_or(s))?;
    let units: Option<Vec<_>> =
        amounts.iter().map(|(n, word)| parse_time_unit(word).map(|unit| (*n, unit))).collect();
    let units = units?;
    let near = match units.as_slice() {
        [(n, (_, letter))] if n.fract() == 0.0 => format!("{n}{letter}"),
        _ => {
            let seconds: f64 = units.iter().map(|(n, (seconds, _))| n * seconds).sum();
            let fits = |each: &&(f64, &str)| (seconds / each.0).fract() == 0.0;
            let each = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "m"), (1.0, "s")];
            let (each, letter) = each.iter().find(fits)?;
            format!("{}{letter}", seconds / each)
        }
    };
    Some(near).filter(|near| near != s && super::parse_period(near).is_ok())
}

/// `5 gb` is `5GB`, `1.5GB` is `1500MB`, `5G` is `5GB`.
pub(super) fn suggest_byte_size(s: &str) -> Option<String> {
    let amounts = parse_amounts(s)?;
    let [(number, word)] = amounts.as_slice() else { return None };
    let lower = word.to_lowercase();
    let known = ["B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"];
    let at = known.iter().position(|unit| {
        let unit = unit.to_lowercase();
        unit == lower || unit.strip_suffix('b').is_some_and(|u| !u.is_empty() && u == lower)
    })?;
    let near = if number.fract() == 0.0 {
        format!("{number}{}", known[at])
    } else {
        let each = if at >= 5 { 1_024.0 } else { 1_000.0 };
        format!("{}{}", number * each, known[at.checked_sub(1)?])
    };
    Some(near).filter(|near| near != s && super::parse_byte_size(near).is_ok())
}

/// `0.2` is `20%`, `20` and `20 %` are `20%`.
pub(super) fn suggest_percentage(s: &str) -> Option<String> {
    let marked = s.trim().ends_with('%');
    let number: f64 = s.trim().trim_end_matches('%').trim_end().parse().ok()?;
    let number = if !marked && number > 0.0 && number <= 1.0 { number * 100.0 } else { number };
    Some(format!("{number}%")).filter(|near| near != s && super::parse_percentage(near).is_ok())
}

/// `@daily` is `0 2 * * *`, `cron(0 2 * * ? *)` is `0 2 * * *`.
pub(super) fn suggest_cron(s: &str) -> Option<String> {
    let plain = s.trim().to_lowercase();
    let word = plain.trim_start_matches('@');
    let near = match word {
        "hourly" | "rate(1 hour)" => "0 * * * *".to_owned(),
        "daily" | "nightly" | "midnight" | "rate(1 day)" => "0 2 * * *".into(),
        "weekly" | "rate(7 days)" => "0 2 * * 0".into(),
        "monthly" => "0 2 1 * *".into(),
        "yearly" | "annually" => "0 2 1 1 *".into(),
        _ => {
            // EventBridge's own form has a year at its end and a question mark for one of the days.
            let inner = word.strip_prefix("cron(")?.strip_suffix(')')?.replace('?', "*");
            inner.split_whitespace().take(5).collect::<Vec<_>>().join(" ")
        }
    };
    Some(near).filter(|near| near != s && super::check_cron(near).is_ok())
}

/// `Europe/Lodnon` is `Europe/London`, `Lisbon` is `Europe/Lisbon`.
pub(super) fn suggest_time_zone(s: &str) -> Option<String> {
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let city = s.trim().replace(' ', "_").to_lowercase();
    let of_city = |name: &&String| {
        name.rsplit_once('/').is_some_and(|(_, end)| !city.is_empty() && end.to_lowercase() == city)
    };
    if let Some(found) = known.iter().find(of_city) {
        return Some(found.clone());
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    suggest_word(s, &known)
        .filter(|near| strsim::damerau_levenshtein(s, near) <= 2)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_said_in_the_policys_own_way() {
        type Suggest = fn(&str) -> Option<String>;
        let table: &[(Suggest, &str, &str)] = &[
            (suggest_period, "35 days", "35d"),
            (suggest_period, "1.5h", "90m"),
            (suggest_period, "1d 12h", "36h"),
            (suggest_period, "1d12h", "36h"),
            (suggest_period, "P35D", "35d"),
            (suggest_period, "PT12H", "12h"),
            (suggest_period, "6M", "6mo"),
            (suggest_period, "35D", "35d"),
            (suggest_period, "2 Weeks", "2w"),
            (suggest_byte_size, "5 gb", "5GB"),
            (suggest_byte_size, "5G", "5GB"),
            (suggest_byte_size, "1.5GB", "1500MB"),
            (suggest_byte_size, "64kib", "64KiB"),
            (suggest_percentage, "0.2", "20%"),
            (suggest_percentage, "20", "20%"),
            (suggest_percentage, "20 %", "20%"),
            (suggest_cron, "@daily", "0 2 * * *"),
            (suggest_cron, "cron(0 3 * * ? *)", "0 3 * * *"),
            (suggest_cron, "rate(1 day)", "0 2 * * *"),
            (suggest_time_zone, "Europe/Lodnon", "Europe/London"),
            (suggest_time_zone, "Lisbon", "Europe/Lisbon"),
            (|s| suggest_name(s, 40), "Pre_Deploy", "pre-deploy"),
            (|s| suggest_name(s, 40), "My Shop", "my-shop"),
        ];
        for (suggest, text, near) in table {
            assert_eq!(suggest(text).as_deref(), Some(*near), "{text}");
        }
        for none in ["", "x", "-1d", "...", "1", "99999999999999d", "1e400d", "٣d"] {
            assert_eq!(suggest_period(none), None, "{none}");
        }
    }
}
