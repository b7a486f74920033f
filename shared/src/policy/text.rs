//! The policy's typed strings: each is parsed once, and each error says what to write instead.
//!
//! A type here is made by [`text!`]: it keeps what the user wrote, parses from a string and nothing else, and
//! names a JSON Schema `format`, so that the schema check and serde refuse the same texts with the same words.

mod aws;
mod suggest;

pub(super) use aws::{check_db_identifier, check_endpoint, known_region};

use aws::{check_account, check_arn, check_bucket_name, check_region, check_store_region};
use globset::{GlobBuilder, GlobMatcher};
use jiff::{SignedDuration, civil::Time, tz::TimeZone};
use std::{cell::RefCell, collections::BTreeMap, fmt, str::FromStr};

/// Declares a string type with a checked form.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $format:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                $check(s)?;
                Ok(Self(s.to_owned()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(s: String) -> Result<Self, String> {
                $check(&s)?;
                Ok(Self(s))
            }
        }
        impl From<$name> for String {
            fn from(t: $name) -> Self {
                t.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

/// What a schema `format` checks.
pub(super) type FormatCheck = fn(&str) -> Result<(), String>;

/// Every `format` of the policy's schema with what checks it.
pub(super) const FORMAT_CHECKS: &[(&str, FormatCheck)] = &[
    ("holdfast-name", check_name),
    ("holdfast-reason", check_reason),
    ("holdfast-region", check_region),
    ("holdfast-store-region", check_store_region),
    ("holdfast-account", check_account),
    ("holdfast-arn", check_arn),
    ("holdfast-bucket", check_bucket_name),
    ("holdfast-period", check_period),
    ("holdfast-cron", check_cron),
    ("holdfast-time-zone", check_time_zone),
    ("holdfast-window", check_window),
    ("holdfast-glob", check_glob),
    ("holdfast-share", check_percentage),
    ("holdfast-bytes", check_byte_size),
    ("holdfast-threshold", check_threshold),
    ("holdfast-listen", check_listen),
    ("holdfast-metric-prefix", check_metric_prefix),
    ("holdfast-date", check_date),
    ("holdfast-currency", check_currency),
    ("holdfast-signing-key", check_signing_key),
    ("holdfast-databases", super::server::word),
];

text!(
    /// A name in the policy: a lower-case letter, then letters, digits and single hyphens, 40 characters at most.
    Name, "holdfast-name", check_name
);
text!(
    /// Why a recovery point is taken; becomes part of its identifier (`orders-pre-deploy-202611210200`), so 20
    /// characters at most.
    ReasonName, "holdfast-reason", check_reason
);
text!(
    /// An AWS region such as `eu-west-1`.
    Region, "holdfast-region", check_region
);
text!(
    /// A region of AWS or of an S3-compatible store, which has names of its own: `fr-par`, `garage`, `auto`.
    StoreRegion, "holdfast-store-region", check_store_region
);
text!(
    /// A twelve-digit AWS account id.
    AccountId, "holdfast-account", check_account
);
text!(
    /// An Amazon Resource Name.
    Arn, "holdfast-arn", check_arn
);
text!(
    /// An S3 bucket's name.
    BucketName, "holdfast-bucket", check_bucket_name
);
text!(
    /// A length of time with its unit: `90s`, `15m`, `25h`, `35d`, `4w`, `12mo`, `7y`. A month counts 31 days and a
    /// year 366, so that what is kept for a month is never let go early.
    Period, "holdfast-period", check_period
);
text!(
    /// Five cron fields (minute, hour, day of month, month, day of week).
    CronExpression, "holdfast-cron", check_cron
);
text!(
    /// An IANA time zone such as `UTC` or `Europe/London`.
    ZoneName, "holdfast-time-zone", check_time_zone
);
text!(
    /// A daily window in UTC, as RDS writes it: `02:00-03:00`, 30 minutes at least.
    BackupWindow, "holdfast-window", check_window
);
text!(
    /// A public key that signatures are checked with, as `minisign` and `holdfast key new` print it: `RW...`.
    SigningKey, "holdfast-signing-key", check_signing_key
);
text!(
    /// A glob that must match the whole identifier: `lomash-*-prod`.
    GlobPattern, "holdfast-glob", check_glob
);
text!(
    /// A share of a whole: `20%`.
    Percentage, "holdfast-share", check_percentage
);
text!(
    /// A number of bytes with its unit: `64KB`, `100MB`, `5GB` (powers of 1,000) or `64KiB`, `5GiB` (of 1,024).
    ByteSize, "holdfast-bytes", check_byte_size
);
text!(
    /// What an alarm compares with: a length of time (`1h`), a number (`0`) or a share (`20%`).
    Threshold, "holdfast-threshold", check_threshold
);

text!(
    /// A day: `2026-11-20`.
    CalendarDate, "holdfast-date", check_date
);
text!(
    /// Three letters of ISO 4217: `USD`.
    Currency, "holdfast-currency", check_currency
);

text!(
    /// An address with a port to serve on: `127.0.0.1:9090`, `[::1]:9090`.
    ListenAddress, "holdfast-listen", check_listen
);
text!(
    /// What names of metrics begin with: `listings`.
    MetricPrefix, "holdfast-metric-prefix", check_metric_prefix
);

impl ListenAddress {
    /// The address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.0.parse().expect(ALREADY_CHECKED)
    }
}

fn check_listen(s: &str) -> Result<(), String> {
    s.parse::<std::net::SocketAddr>().map(drop).map_err(|_| {
        format!("\"{s}\" is not an address with a port: write one such as \"127.0.0.1:9090\"")
    })
}

fn check_metric_prefix(s: &str) -> Result<(), String> {
    let fits = s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !s.ends_with('_')
        && s.len() <= 40;
    fits.then_some(()).ok_or_else(|| {
        format!("\"{s}\" can't begin a metric's name: write lower-case letters, digits and single underscores, such as \"listings\"")
    })
}

fn check_period(s: &str) -> Result<(), String> {
    parse_period(s).map(drop)
}
fn check_time_zone(s: &str) -> Result<(), String> {
    parse_time_zone(s).map(drop)
}
fn check_window(s: &str) -> Result<(), String> {
    parse_window(s).map(drop)
}
fn check_glob(s: &str) -> Result<(), String> {
    parse_glob(s).map(drop)
}
fn check_percentage(s: &str) -> Result<(), String> {
    parse_percentage(s).map(drop)
}
fn check_byte_size(s: &str) -> Result<(), String> {
    parse_byte_size(s).map(drop)
}
fn check_threshold(s: &str) -> Result<(), String> {
    parse_threshold(s).map(drop)
}

/// A text that was checked when it was made can't fail to parse again.
const ALREADY_CHECKED: &str = "checked when it was read";

impl Period {
    /// The length of time.
    pub fn duration(&self) -> SignedDuration {
        parse_period(&self.0).expect(ALREADY_CHECKED)
    }
}

impl ZoneName {
    /// The zone.
    pub fn zone(&self) -> TimeZone {
        parse_time_zone(&self.0).expect(ALREADY_CHECKED)
    }
}

impl Default for ZoneName {
    fn default() -> Self {
        Self("UTC".into())
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self("USD".into())
    }
}

impl BackupWindow {
    /// Begin and end, both in UTC; a window across midnight ends before it begins.
    pub fn bounds(&self) -> (Time, Time) {
        parse_window(&self.0).expect(ALREADY_CHECKED)
    }
}

/// Compiled patterns that are remembered at most: policies have a few.
const MAX_COMPILED_GLOBS: usize = 256;

thread_local! {
    static COMPILED: RefCell<BTreeMap<String, GlobMatcher>> = const { RefCell::new(BTreeMap::new()) };
}

impl GlobPattern {
    /// What matches it, whole identifiers only. Compiled once: every plan asks it of every database.
    pub fn matcher(&self) -> GlobMatcher {
        COMPILED.with_borrow_mut(|known| {
            if let Some(matcher) = known.get(&self.0) {
                return matcher.clone();
            }
            if known.len() >= MAX_COMPILED_GLOBS {
                known.clear();
            }
            let matcher = parse_glob(&self.0).expect(ALREADY_CHECKED);
            known.insert(self.0.clone(), matcher.clone());
            matcher
        })
    }
}

impl Percentage {
    /// The share as a fraction of one.
    pub fn fraction(&self) -> f64 {
        parse_percentage(&self.0).expect(ALREADY_CHECKED)
    }
}

impl ByteSize {
    /// The number of bytes.
    pub fn byte_count(&self) -> u64 {
        parse_byte_size(&self.0).expect(ALREADY_CHECKED)
    }
}

/// What a [`Threshold`] holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ThresholdValue {
    /// A length of time.
    Time(SignedDuration),
    /// A plain number.
    Number(f64),
    /// A share, as a fraction of one.
    Share(f64),
}

impl Threshold {
    /// The number behind the text, with its kind.
    pub fn value(&self) -> ThresholdValue {
        parse_threshold(&self.0).expect(ALREADY_CHECKED)
    }
}

fn check_name(s: &str) -> Result<(), String> {
    check_word(s, 40)
}

fn check_reason(s: &str) -> Result<(), String> {
    check_word(s, 20)
}

/// RDS takes letters, digits and single hyphens, a letter first and no hyphen last; names here end up in RDS identifiers.
fn check_word(s: &str, longest: usize) -> Result<(), String> {
    let fits = s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !s.ends_with('-')
        && !s.contains("--")
        && s.len() <= longest;
    fits.then_some(()).ok_or_else(|| {
        let example = suggest::suggest_name(s, longest).unwrap_or_else(|| "pre-deploy".into());
        format!(
            "\"{s}\" is not a name: write a lower-case letter, then letters, digits and single hyphens, {longest} \
             characters at most, such as \"{example}\""
        )
    })
}

pub(super) fn parse_period(s: &str) -> Result<SignedDuration, String> {
    let wrong = || {
        let example = suggest::suggest_period(s)
            .map_or("\"35d\" or \"25h\"".into(), |near| format!("\"{near}\""));
        format!(
            "\"{s}\" is not a length of time: write a whole number above zero and a unit (s, m, h, d, w, mo, y), such \
             as {example}"
        )
    };
    let digits = s.chars().take_while(char::is_ascii_digit).count();
    let number: i64 = s[..digits].parse().map_err(|_| wrong())?;
    let unit = match &s[digits..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "mo" => 31 * 86_400,
        "y" => 366 * 86_400,
        _ => return Err(wrong()),
    };
    match number.checked_mul(unit) {
        // A century is beyond any retention and keeps all sums of times inside what a timestamp holds.
        Some(seconds) if number > 0 && seconds <= 100 * 366 * 86_400 => {
            Ok(SignedDuration::from_secs(seconds))
        }
        _ => Err(wrong()),
    }
}

fn check_cron(s: &str) -> Result<(), String> {
    let wrong = |why: String| {
        let example = suggest::suggest_cron(s).unwrap_or_else(|| "0 2 * * *".into());
        format!(
            "\"{s}\" is not a schedule: {why}; write five cron fields (minute hour day month weekday), such as \
             \"{example}\""
        )
    };
    if s.split_whitespace().count() != 5 {
        return Err(wrong("it has not five fields".into()));
    }
    let parsed = cronexpr::parse_crontab(&format!("{s} UTC"))
        .map_err(|e| wrong(e.to_string().lines().last().unwrap_or_default().trim().to_owned()))?;
    parsed.find_next("2000-01-01T00:00:00Z").map(drop).map_err(|_| wrong("it never comes".into()))
}

fn parse_time_zone(s: &str) -> Result<TimeZone, String> {
    TimeZone::get(s).map_err(|_| {
        let example = suggest::suggest_time_zone(s)
            .map_or("\"UTC\" or \"Europe/London\"".into(), |near| format!("\"{near}\""));
        format!("\"{s}\" is not a time zone: write an IANA name such as {example}")
    })
}

fn parse_window(s: &str) -> Result<(Time, Time), String> {
    let parse = || {
        let (from, to) = s.split_once('-')?;
        let time = |t: &str| (t.len() == 5).then(|| Time::strptime("%H:%M", t).ok()).flatten();
        Some((time(from)?, time(to)?))
    };
    let bounds = parse().ok_or_else(|| {
        format!("\"{s}\" is not a window: write begin and end in UTC, such as \"02:00-03:00\"")
    })?;
    let minutes = |t: Time| i32::from(t.hour()) * 60 + i32::from(t.minute());
    // RDS asks for 30 minutes at least (ModifyDBInstance, PreferredBackupWindow).
    if (minutes(bounds.1) - minutes(bounds.0)).rem_euclid(24 * 60) < 30 {
        return Err(format!("\"{s}\" is shorter than 30 minutes, which RDS refuses"));
    }
    Ok(bounds)
}

fn parse_glob(s: &str) -> Result<GlobMatcher, String> {
    if s.chars().all(|c| c == '*' || c == '?') {
        return Err(format!(
            "\"{s}\" would select everything: write a pattern with a fixed part such as \"orders-*\", or select by tags"
        ));
    }
    GlobBuilder::new(s).literal_separator(false).build().map(|g| g.compile_matcher()).map_err(|e| {
        format!(
            "\"{s}\" is not a glob: {}; write one such as \"lomash-*-prod\", which must match the whole identifier",
            e.kind()
        )
    })
}

fn parse_percentage(s: &str) -> Result<f64, String> {
    s.strip_suffix('%')
        .and_then(|n| n.parse::<f64>().ok())
        .filter(|n| (0.0..=100.0).contains(n))
        .map(|n| n / 100.0)
        .ok_or_else(|| {
            let example = suggest::suggest_percentage(s).unwrap_or_else(|| "20%".into());
            format!("\"{s}\" is not a share: write one from 0% to 100%, such as \"{example}\"")
        })
}

fn parse_byte_size(s: &str) -> Result<u64, String> {
    let wrong = || {
        let example = suggest::suggest_byte_size(s)
            .map_or("\"100MB\" or \"5GiB\"".into(), |near| format!("\"{near}\""));
        format!("\"{s}\" is not a size: write a whole number and a unit, such as {example}")
    };
    let digits = s.chars().take_while(char::is_ascii_digit).count();
    let number: u64 = s[..digits].parse().map_err(|_| wrong())?;
    let unit = match &s[digits..] {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

fn check_date(s: &str) -> Result<(), String> {
    let fits = s.len() == 10 && s.parse::<jiff::civil::Date>().is_ok();
    fits.then_some(())
        .ok_or_else(|| format!("\"{s}\" is not a day: write one such as \"2026-11-20\""))
}

fn check_signing_key(s: &str) -> Result<(), String> {
    s.parse::<crate::signing::PublicKey>().map(drop)
}

fn check_currency(s: &str) -> Result<(), String> {
    let fits = s.len() == 3 && s.bytes().all(|b| b.is_ascii_uppercase());
    fits.then_some(())
        .ok_or_else(|| format!("\"{s}\" is not a currency: write three letters such as \"USD\""))
}

fn parse_threshold(s: &str) -> Result<ThresholdValue, String> {
    if let Ok(number) = s.parse::<f64>()
        && number.is_finite()
        && number >= 0.0
    {
        return Ok(ThresholdValue::Number(number));
    }
    if s.ends_with('%') {
        return parse_percentage(s).map(ThresholdValue::Share);
    }
    parse_period(s).map(ThresholdValue::Time).map_err(|_| {
        format!(
            "\"{s}\" is not a threshold: write a length of time (\"1h\"), a number in quotes (\"0\") or a share (\"20%\")"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_takes_its_example_and_says_what_to_write_instead() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("holdfast-name", &["lomash-wood", "a"], &["", "Orders", "a--b", "a-", "9a", "a_b"]),
            ("holdfast-region", &["eu-west-1", "us-gov-east-1"], &["eu", "eu-west", "EU-WEST-1"]),
            ("holdfast-account", &["111122223333"], &["1111", "11112222333x"]),
            ("holdfast-arn", &["arn:aws:sns:eu-west-1:1:t"], &["sns:t", "arn:aws:sns"]),
            ("holdfast-bucket", &["lomash-wood-backups"], &["s3://x", "a/b", "Ab"]),
            ("holdfast-period", &["35d", "12mo"], &["0d", "35", "-1d", "9999999y", "1.5h", "d"]),
            (
                "holdfast-cron",
                &["0 2 * * 0", "*/15 * * * *"],
                &["0 2 * *", "61 * * * *", "0 0 31 2 *"],
            ),
            ("holdfast-time-zone", &["UTC", "Europe/Sofia"], &["Mars", ""]),
            (
                "holdfast-window",
                &["02:00-03:00", "23:45-00:15"],
                &["2-3", "02:00-02:10", "25:00-26:00"],
            ),
            ("holdfast-glob", &["lomash-*-prod"], &["*", "**", "a[", ""]),
            ("holdfast-share", &["20%", "0.1%"], &["20", "120%"]),
            ("holdfast-bytes", &["5GiB", "1MB"], &["5", "x", "99999999999TB"]),
            ("holdfast-threshold", &["1h", "0", "20%"], &["-1", "many", "nan"]),
            (
                "holdfast-listen",
                &["127.0.0.1:9090", "[::]:1"],
                &["9090", "localhost:9090", ":1", "1.2.3.4:99999"],
            ),
            ("holdfast-metric-prefix", &["listings", "a_1"], &["", "Listings", "1a", "a_", "a-b"]),
            ("holdfast-date", &["2026-11-20"], &["2026-02-30", "20 Nov", "20261120"]),
            ("holdfast-currency", &["USD", "EUR"], &["usd", "$", "EURO"]),
            ("holdfast-databases", &["all"], &["*", "orders", "All", ""]),
        ];
        for (format, good, bad) in table {
            let (_, check) = FORMAT_CHECKS.iter().find(|(name, _)| name == format).expect(format);
            for text in *good {
                assert_eq!(check(text), Ok(()), "{format} {text}");
            }
            for text in *bad {
                let message = check(text).expect_err(text);
                assert!(message.contains(&format!("\"{text}\"")), "{format} {text}: {message}");
            }
        }
    }

    #[test]
    fn months_and_years_are_never_shorter_than_the_calendars() {
        let days = |s: &str| s.parse::<Period>().expect(s).duration().as_hours() / 24;
        assert_eq!((days("1mo"), days("1y"), days("4w")), (31, 366, 28));
    }
}
