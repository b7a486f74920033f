//! The suffix of a key whose plain name is taken, or whose form has no date: `-20261120T143015Z`, and `-RUN` after it.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const TIME_FORMAT: &str = "-%Y%m%dT%H%M%SZ";
/// Characters of a time.
const TIME_CHARS: usize = "-20261120T143015Z".len();
/// Characters of a run's name that are taken.
const MAX_RUN_CHARS: usize = 40;

/// Divides the end of a form where the suffix stands: before the ending of the file's name, after all fields.
pub(super) fn split_at_suffix(form: &str) -> (&str, &str) {
    let mut end = 0;
    let mut chars = form.char_indices();
    while let Some((_, c)) = chars.next() {
        if c != '%' {
            continue;
        }
        // Flags and widths stand between the sign and its letter.
        if let Some((at, c)) = chars.find(|(_, c)| c.is_ascii_alphabetic() || *c == '%') {
            end = if c == '%' { end } else { at + 1 };
        }
    }
    let name = form[end..].rfind('/').map_or(end, |at| end + at + 1);
    let at = form[name..].find('.').map_or(form.len(), |at| name + at);
    form.split_at(at)
}

/// The suffix of a time, and of a run.
pub(super) fn time_suffix(at: Timestamp, run: Option<&str>) -> String {
    let mut suffix = at.to_zoned(TimeZone::UTC).strftime(TIME_FORMAT).to_string();
    if let Some(run) = run {
        suffix.push('-');
        let fine = run.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        suffix.extend(fine.map(|c| c.to_ascii_lowercase()).take(MAX_RUN_CHARS));
    }
    suffix
}

/// The longest suffix at the begin of a text, and what follows it.
pub(super) fn take_suffix(text: &str) -> Option<(&str, &str)> {
    let time = text.get(..TIME_CHARS)?;
    self::parse_suffix_time(time)?;
    let rest = &text[TIME_CHARS..];
    let run = rest.strip_prefix('-').map_or(0, |run| {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        1 + run.find(|c| !fine(c)).unwrap_or(run.len())
    });
    Some(text.split_at(TIME_CHARS + run))
}

/// Whether a text ends with a suffix.
pub(super) fn ends_with_suffix(text: &str) -> bool {
    let begins = text.match_indices('-').map(|(at, _)| at);
    begins.into_iter().any(|at| take_suffix(&text[at..]).is_some_and(|(_, rest)| rest.is_empty()))
}

/// The time in a suffix.
pub(super) fn parse_suffix_time(suffix: &str) -> Option<Timestamp> {
    let time = suffix.get(..TIME_CHARS)?;
    let read = DateTime::strptime(TIME_FORMAT, time).ok()?;
    Some(read.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
