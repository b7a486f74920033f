//! How a backup's key is made, and read back. Pure.
//!
//! A form is text with `{database}`, `{reason}`, `{table}` and strftime fields of a time in UTC. What is made is read
//! back to the same; a key that can be read in two ways tells neither.

mod escape;
mod read;

pub use read::Read;

use crate::{Error, Kind};
use escape::escaped;
use jiff::{SignedDuration, Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};

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
            if form.read(&made, Names::default()).is_some_and(|r| r.holds(sample)) {
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

    /// The same text for all keys of the form at their begin.
    pub fn fixed(&self) -> String {
        match self.tokens.first() {
            Some(Token::Time(form)) => form.split('%').next().unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
