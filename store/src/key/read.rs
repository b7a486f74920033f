//! What a key tells: every division of it over the form's pieces is tried.

use super::{
    Field, KeyForm, Names, Token,
    escape::{escaped, plain},
    suffix,
};
use jiff::{SignedDuration, Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};
use std::{borrow::Cow, collections::BTreeSet};

/// What a key tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// The database, if the form has it and the key tells it.
    pub database: Option<String>,
    /// The reason, likewise.
    pub reason: Option<String>,
    /// The table or query, likewise.
    pub table: Option<String>,
    /// The earliest time that the key can mean.
    pub at: Timestamp,
    /// The time meant is before `at` and this.
    pub precision: SignedDuration,
}

/// The longest key that is read, in bytes: S3's longest.
const LONGEST: usize = 1024;
/// Divisions of one key that are tried. A key of ours takes some dozens; whoever adds objects could make one take hours.
const MOST_TRIED: u32 = 10_000;

#[derive(Clone, Debug, Default)]
struct Found {
    tried: u32,
    database: Option<String>,
    reason: Option<String>,
    table: Option<String>,
    suffix: Option<String>,
}

impl Found {
    fn of(&mut self, field: Field) -> &mut Option<String> {
        match field {
            Field::Database => &mut self.database,
            Field::Reason => &mut self.reason,
            Field::Table => &mut self.table,
        }
    }
}

impl KeyForm {
    /// What a key tells, if it is of this form. Where its names can be divided in more than one way, only what all ways
    /// agree on is told; where there are too many ways to try them all, nothing is.
    pub fn read(&self, key: &str, names: Names<'_>) -> Option<Read> {
        if key.len() > LONGEST {
            return None;
        }
        let (mut all, mut found) = (BTreeSet::new(), Found::default());
        self.walk(0, key, key, &mut String::new(), &mut found, names, &mut all);
        if found.tried > MOST_TRIED {
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
            if read.at != other.at {
                return None;
            }
        }
        Some(read)
    }

    /// Tries every division of `rest` over the tokens from `index` on. `form` is the form so far with names in place of
    /// fields, whose time the whole key is read by at the end.
    #[expect(clippy::too_many_arguments, reason = "the state of a search")]
    fn walk(
        &self,
        index: usize,
        key: &str,
        rest: &str,
        form: &mut String,
        found: &mut Found,
        names: Names<'_>,
        all: &mut BTreeSet<Read>,
    ) {
        found.tried += 1;
        if found.tried > MOST_TRIED {
            return;
        }
        let Some(token) = self.tokens.get(index) else {
            if rest.is_empty() {
                all.extend(self.settled(key, form, found));
            }
            return;
        };
        let length = form.len();
        match token {
            Token::Time(time) => {
                if let Ok((_, end)) = BrokenDownTime::parse_prefix(time, rest)
                    && let Some(rest) = rest.get(end..)
                {
                    *form += time;
                    self.walk(index + 1, key, rest, form, found, names, all);
                }
            }
            Token::Suffix => {
                if !self.dateless {
                    self.walk(index + 1, key, rest, form, found, names, all);
                }
                if let Some((suffix, rest)) = suffix::at_begin(rest) {
                    *form += suffix;
                    found.suffix = Some(suffix.to_owned());
                    self.walk(index + 1, key, rest, form, found, names, all);
                    found.suffix = None;
                }
            }
            Token::Field(field) => {
                let known = found.of(*field).clone();
                let list = match field {
                    Field::Database => names.databases,
                    Field::Reason => names.reasons,
                    Field::Table => &[],
                };
                let candidates: Box<dyn Iterator<Item = Cow<'_, str>>> = match &known {
                    Some(name) => Box::new(std::iter::once(escaped(name).into())),
                    // A suffix right behind a name is no part of it.
                    None if list.is_empty() => {
                        Box::new(texts(rest).filter(|t| !suffix::ends(t)).map(Cow::Borrowed))
                    }
                    None => Box::new(list.iter().map(|n| escaped(n).into())),
                };
                for text in candidates {
                    let Some(rest) = rest.strip_prefix(&*text) else { continue };
                    let Some(name) = plain(&text) else { continue };
                    *form += &text.replace('%', "%%");
                    *found.of(*field) = Some(name);
                    self.walk(index + 1, key, rest, form, found, names, all);
                    found.of(*field).clone_from(&known);
                    form.truncate(length);
                }
            }
        }
        form.truncate(length);
    }

    /// The reading, if making a key of it gives the very key: parsing alone is laxer than writing.
    fn settled(&self, key: &str, form: &str, found: &Found) -> Option<Read> {
        let read = BrokenDownTime::parse(form, key).ok()?;
        let civil = || {
            let part = |p: Option<i8>| p.unwrap_or(0);
            let time = [read.hour(), read.minute(), read.second()].map(part);
            let civil = read.to_date().ok()?.at(time[0], time[1], time[2], 0);
            Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
        };
        let (at, precision) = match &found.suffix {
            Some(suffix) => (suffix::time(suffix)?, SignedDuration::from_secs(1)),
            // Seconds of the epoch, or a time with its offset, stand for themselves.
            None => (read.to_timestamp().ok().or_else(civil)?, self.precision),
        };
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let (database, reason, table) =
            (text(&found.database), text(&found.reason), text(&found.table));
        let again = self.write(&database, &reason, &table, at, found.suffix.as_deref()).ok()?;
        (again == key).then(|| Read {
            database: found.database.clone(),
            reason: found.reason.clone(),
            table: found.table.clone(),
            at,
            precision,
        })
    }
}

impl Read {
    /// The latest time that the key can mean.
    pub fn latest(&self) -> Timestamp {
        let last = self.precision.checked_sub(SignedDuration::from_secs(1));
        self.at.checked_add(last.unwrap_or_default()).unwrap_or(self.at)
    }

    /// Whether a time is one that the key can mean.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.at <= at && self.at.checked_add(self.precision).is_ok_and(|end| at < end)
    }
}

/// Texts that a name at the begin of `rest` can be: none is empty, none has a slash.
fn texts(rest: &str) -> impl Iterator<Item = &str> {
    let free = rest.split('/').next().unwrap_or_default();
    let ends = free.char_indices().map(|(i, _)| i).skip(1);
    ends.chain((!free.is_empty()).then_some(free.len())).map(|end| &free[..end])
}
