//! What a key tells: every division of it over the form's pieces is tried.

use super::{
    KeyPlaceholder, KeyTemplate, KnownNames, TemplatePart,
    escape::{escape_name, unescape_name},
    suffix,
};
use jiff::{SignedDuration, Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};
use std::{borrow::Cow, collections::BTreeSet};

/// What a key tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParsedKey {
    /// The database, if the form has it and the key tells it.
    pub database: Option<String>,
    /// The reason, likewise.
    pub reason: Option<String>,
    /// The table or query, likewise.
    pub table: Option<String>,
    /// The earliest time that the key can mean.
    pub earliest: Timestamp,
    /// The time meant is before `at` and this.
    pub precision: SignedDuration,
}

/// The longest key that is read, in bytes: S3's longest.
const MAX_KEY_BYTES: usize = 1024;
/// Divisions of one key that are tried. A key of ours takes some dozens; whoever adds objects could make one take hours.
const MAX_MATCH_ATTEMPTS: u32 = 10_000;

#[derive(Clone, Debug, Default)]
struct PartialMatch {
    attempts: u32,
    database: Option<String>,
    reason: Option<String>,
    table: Option<String>,
    suffix: Option<String>,
}

impl PartialMatch {
    fn field_mut(&mut self, field: KeyPlaceholder) -> &mut Option<String> {
        match field {
            KeyPlaceholder::Database => &mut self.database,
            KeyPlaceholder::Reason => &mut self.reason,
            KeyPlaceholder::Table => &mut self.table,
        }
    }
}

impl KeyTemplate {
    /// What a key tells, if it is of this form. Where its names can be divided in more than one way, only what all ways
    /// agree on is told; where there are too many ways to try them all, nothing is.
    pub fn parse_key(&self, key: &str, names: KnownNames<'_>) -> Option<ParsedKey> {
        if key.len() > MAX_KEY_BYTES {
            return None;
        }
        let (mut all, mut found) = (BTreeSet::new(), PartialMatch::default());
        self.match_parts(0, key, key, &mut String::new(), &mut found, names, &mut all);
        if found.attempts > MAX_MATCH_ATTEMPTS {
            return None;
        }
        let mut all = all.into_iter();
        let mut read = all.next()?;
        for other in all {
            let agree = |a: &mut Option<String>, b: Option<String>| {
                if *a != b {
                    *a = None;
                }
            };
            agree(&mut read.database, other.database);
            agree(&mut read.reason, other.reason);
            agree(&mut read.table, other.table);
            if read.earliest != other.earliest {
                return None;
            }
        }
        Some(read)
    }

    /// Tries every division of `rest` over the tokens from `index` on. `form` is the form so far with names in place of
    /// fields, whose time the whole key is read by at the end.
    #[expect(clippy::too_many_arguments, reason = "the state of a search")]
    fn match_parts(
        &self,
        index: usize,
        key: &str,
        rest: &str,
        form: &mut String,
        found: &mut PartialMatch,
        names: KnownNames<'_>,
        all: &mut BTreeSet<ParsedKey>,
    ) {
        found.attempts += 1;
        if found.attempts > MAX_MATCH_ATTEMPTS {
            return;
        }
        let Some(token) = self.parts.get(index) else {
            if rest.is_empty() {
                all.extend(self.confirm_match(key, form, found));
            }
            return;
        };
        let length = form.len();
        match token {
            TemplatePart::Time(time) => {
                if let Ok((_, end)) = BrokenDownTime::parse_prefix(time, rest)
                    && let Some(rest) = rest.get(end..)
                {
                    *form += time;
                    self.match_parts(index + 1, key, rest, form, found, names, all);
                }
            }
            TemplatePart::Suffix => {
                if !self.dateless {
                    self.match_parts(index + 1, key, rest, form, found, names, all);
                }
                if let Some((suffix, rest)) = suffix::take_suffix(rest) {
                    *form += suffix;
                    found.suffix = Some(suffix.to_owned());
                    self.match_parts(index + 1, key, rest, form, found, names, all);
                    found.suffix = None;
                }
            }
            TemplatePart::Placeholder(field) => {
                let known = found.field_mut(*field).clone();
                let list = match field {
                    KeyPlaceholder::Database => names.databases,
                    KeyPlaceholder::Reason => names.reasons,
                    KeyPlaceholder::Table => &[],
                };
                let candidates: Box<dyn Iterator<Item = Cow<'_, str>>> = match &known {
                    Some(name) => Box::new(std::iter::once(escape_name(name).into())),
                    // A suffix right behind a name is no part of it.
                    None if list.is_empty() => Box::new(
                        candidate_names(rest)
                            .filter(|t| !suffix::ends_with_suffix(t))
                            .map(Cow::Borrowed),
                    ),
                    None => Box::new(list.iter().map(|n| escape_name(n).into())),
                };
                for text in candidates {
                    let Some(rest) = rest.strip_prefix(&*text) else { continue };
                    let Some(name) = unescape_name(&text) else { continue };
                    *form += &text.replace('%', "%%");
                    *found.field_mut(*field) = Some(name);
                    self.match_parts(index + 1, key, rest, form, found, names, all);
                    found.field_mut(*field).clone_from(&known);
                    form.truncate(length);
                }
            }
        }
        form.truncate(length);
    }

    /// The reading, if making a key of it gives the very key: parsing alone is laxer than writing.
    fn confirm_match(&self, key: &str, form: &str, found: &PartialMatch) -> Option<ParsedKey> {
        let read = BrokenDownTime::parse(form, key).ok()?;
        let civil = || {
            let part = |p: Option<i8>| p.unwrap_or(0);
            let time = [read.hour(), read.minute(), read.second()].map(part);
            let civil = read.to_date().ok()?.at(time[0], time[1], time[2], 0);
            Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
        };
        let (at, precision) = match &found.suffix {
            Some(suffix) => (suffix::parse_suffix_time(suffix)?, SignedDuration::from_secs(1)),
            // Seconds of the epoch, or a time with its offset, stand for themselves.
            None => (read.to_timestamp().ok().or_else(civil)?, self.precision),
        };
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let (database, reason, table) =
            (text(&found.database), text(&found.reason), text(&found.table));
        let again = self
            .render_with_suffix(&database, &reason, &table, at, found.suffix.as_deref())
            .ok()?;
        (again == key).then(|| ParsedKey {
            database: found.database.clone(),
            reason: found.reason.clone(),
            table: found.table.clone(),
            earliest: at,
            precision,
        })
    }
}

impl ParsedKey {
    /// The latest time that the key can mean.
    pub fn latest_time(&self) -> Timestamp {
        let last = self.precision.checked_sub(SignedDuration::from_secs(1));
        self.earliest.checked_add(last.unwrap_or_default()).unwrap_or(self.earliest)
    }

    /// Whether a time is one that the key can mean.
    pub fn contains_time(&self, at: Timestamp) -> bool {
        self.earliest <= at && self.earliest.checked_add(self.precision).is_ok_and(|end| at < end)
    }
}

/// Texts that a name at the begin of `rest` can be: none is empty, none has a slash.
fn candidate_names(rest: &str) -> impl Iterator<Item = &str> {
    let free = rest.split('/').next().unwrap_or_default();
    let ends = free.char_indices().map(|(i, _)| i).skip(1);
    ends.chain((!free.is_empty()).then_some(free.len())).map(|end| &free[..end])
}
