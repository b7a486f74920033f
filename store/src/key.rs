//! How a backup's key is made, and read back. Pure.
//!
//! A form is text with `{database}`, `{reason}`, `{table}` and strftime fields of a time in UTC. What is made is read
//! back to the same; a key that can be read in two ways tells neither.

mod escape;

use crate::{Error, Kind};
use escape::{escaped, plain};
use jiff::{SignedDuration, Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};
use std::collections::BTreeSet;

/// Key of a dump where the policy has none.
pub const USUAL: &str = "{database}/{database}_{reason}_%Y%m%d_%H%M%S";
/// Key of a dump with one file for each table, where the policy has none.
pub const USUAL_OF_TABLES: &str = "{database}/{database}_{reason}_{table}_%Y%m%d_%H%M%S";

/// The form of keys, below a store's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyForm {
    tokens: Vec<Token>,
    precision: SignedDuration,
}

/// A piece of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Text and strftime fields.
    Time(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Database,
    Reason,
    Table,
}

/// Names that a key can have; of an empty list any text is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Databases.
    pub databases: &'a [String],
    /// Reasons.
    pub reasons: &'a [String],
}

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

#[derive(Clone, Debug, Default)]
struct Found {
    database: Option<String>,
    reason: Option<String>,
    table: Option<String>,
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
    /// A form from its text; `ending` is added where the text does not end with it.
    ///
    /// # Errors
    /// If it has a placeholder that is none, a field that is none, or no time that can be read back.
    pub fn new(text: &str, ending: &str) -> Result<Self, Error> {
        let refused = |why: String, mend: &str| {
            Err(Error::new(Kind::Refused, format!("read the key \"{text}\""), why, mend))
        };
        let ending = if text.ends_with(ending) { "" } else { ending };
        let whole = format!("{text}{}", ending.replace('%', "%%"));
        let mut tokens = Vec::new();
        let mut rest = whole.as_str();
        while let Some((head, tail)) = rest.split_once('{') {
            let Some((name, tail)) = tail.split_once('}') else {
                return refused(
                    "a brace is not closed".into(),
                    "write {database}, {reason} or {table}",
                );
            };
            let field = match name {
                "database" => Field::Database,
                "reason" => Field::Reason,
                "table" => Field::Table,
                _ => {
                    let mend = "write {database}, {reason} or {table}";
                    return refused(format!("{{{name}}} is no placeholder"), mend);
                }
            };
            if !head.is_empty() {
                tokens.push(Token::Time(head.to_owned()));
            }
            tokens.push(Token::Field(field));
            rest = tail;
        }
        if !rest.is_empty() {
            tokens.push(Token::Time(rest.to_owned()));
        }
        // Read back what is made of a time in which no two fields are alike.
        let mut form = Self { tokens, precision: SignedDuration::ZERO };
        let sample = jiff::civil::date(2031, 11, 24).at(17, 48, 59, 0);
        let sample = sample.to_zoned(TimeZone::UTC).expect("UTC has every time").timestamp();
        let mend = "write the date at least, as in %Y%m%d";
        let Ok(made) = form.make("d", "r", "t", sample) else {
            return refused("it has a time field that is none".into(), mend);
        };
        for precision in [1, 60, 3_600, 86_400].map(SignedDuration::from_secs) {
            form.precision = precision;
            if form.read_text(&made, Names::default()).is_some_and(|r| r.holds(sample)) {
                return Ok(form);
            }
        }
        refused("its time can't be read back, so backups would not be told apart".into(), mend)
    }

    /// The form of a store's keys: the policy's, or the usual one with the ending of the dump's format (`.dump.zst`).
    ///
    /// # Errors
    /// As for [`KeyForm::new`].
    pub fn of(store: &shared::policy::Store, ending: &str, tables: bool) -> Result<Self, Error> {
        let usual = if tables { USUAL_OF_TABLES } else { USUAL };
        match (&store.key, store.suffix.as_str()) {
            (Some(key), suffix) => Self::new(key, suffix),
            (None, "") => Self::new(usual, ending),
            (None, suffix) => Self::new(usual, suffix),
        }
    }

    /// The key of a backup. Names are escaped, so that none can leave its place in the key.
    ///
    /// # Errors
    /// If the form needs a name that is empty, or a field of its time can't be written.
    pub fn make(
        &self,
        database: &str,
        reason: &str,
        table: &str,
        at: Timestamp,
    ) -> Result<String, Error> {
        let time = BrokenDownTime::from(&at.to_zoned(TimeZone::UTC));
        let refused = |why: String| {
            let doing = format!("make a key for {database}");
            Error::new(Kind::Refused, doing, why, "mend the store's key in the policy")
        };
        let mut key = String::new();
        for token in &self.tokens {
            match token {
                Token::Time(form) => {
                    key += &time.to_string(form).map_err(|e| refused(e.to_string()))?;
                }
                Token::Field(field) => {
                    let (name, value) = match field {
                        Field::Database => ("database", database),
                        Field::Reason => ("reason", reason),
                        Field::Table => ("table", table),
                    };
                    if value.is_empty() {
                        return Err(refused(format!("the key has {{{name}}}, and there is none")));
                    }
                    key += &escaped(value);
                }
            }
        }
        Ok(key)
    }

    /// What a key tells, if it is of this form. Where its names can be divided in more than one way, only what all ways
    /// agree on is told.
    pub fn read(&self, key: &str, names: Names<'_>) -> Option<Read> {
        self.read_text(key, names)
    }

    /// The same text for all keys of the form at their begin.
    pub fn fixed(&self) -> String {
        match self.tokens.first() {
            Some(Token::Time(form)) => form.split('%').next().unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }

    fn read_text(&self, key: &str, names: Names<'_>) -> Option<Read> {
        let mut all = BTreeSet::new();
        self.walk(0, key, key, &mut String::new(), &mut Found::default(), names, &mut all);
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
            Token::Field(field) => {
                let known = found.of(*field).clone();
                let list = match field {
                    Field::Database => names.databases,
                    Field::Reason => names.reasons,
                    Field::Table => &[],
                };
                let candidates: Vec<String> = match &known {
                    Some(name) => vec![escaped(name)],
                    None if list.is_empty() => texts(rest).map(str::to_owned).collect(),
                    None => list.iter().map(|n| escaped(n)).collect(),
                };
                for text in candidates {
                    let Some(rest) = rest.strip_prefix(text.as_str()) else { continue };
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
        // Seconds of the epoch, or a time with its offset, stand for themselves.
        let at = read.to_timestamp().ok().or_else(civil)?;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let again = self
            .make(&text(&found.database), &text(&found.reason), &text(&found.table), at)
            .ok()?;
        (again == key).then(|| Read {
            database: found.database.clone(),
            reason: found.reason.clone(),
            table: found.table.clone(),
            at,
            precision: self.precision,
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

#[cfg(test)]
mod tests;
