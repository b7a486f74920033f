//! How a backup's key is made, and read back. Pure.
//!
//! A form is text with `{database}`, `{reason}`, `{table}` and strftime fields of a time in UTC. What is made is read
//! back to the same; a key that can be read in two ways tells neither. A name that is taken gets the time as a suffix
//! before its ending (`shop_20261120-20261120T143015Z.dump`), and one whose form has no date always has it.

mod escape;
mod read;
mod suffix;

pub use escape::escape_name;
pub use read::ParsedKey;

use crate::{StoreError, StoreErrorKind};
use jiff::{SignedDuration, Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};

/// Key of a dump where the policy has none.
pub const DEFAULT_KEY_TEMPLATE: &str = "{database}/{database}_{reason}_%Y%m%d_%H%M%S";
/// Key of a dump with one file for each table, where the policy has none.
pub const DEFAULT_TABLE_KEY_TEMPLATE: &str = "{database}/{database}_{reason}_{table}_%Y%m%d_%H%M%S";

/// The form of keys, below a store's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    parts: Vec<TemplatePart>,
    precision: SignedDuration,
    /// It has no date of its own, so that every key has the suffix.
    dateless: bool,
}

/// A piece of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    /// Text and strftime fields.
    Time(String),
    Placeholder(KeyPlaceholder),
    /// Where the suffix stands, if there is one.
    Suffix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyPlaceholder {
    Database,
    Reason,
    Table,
}

/// Names that a key can have; of an empty list any text is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownNames<'a> {
    /// Databases.
    pub databases: &'a [String],
    /// Reasons.
    pub reasons: &'a [String],
}

impl KeyTemplate {
    /// A form from its text; `ending` is added where the text does not end with it.
    ///
    /// # Errors
    /// If it has a placeholder that is none, or a field that is none.
    pub fn new(text: &str, ending: &str) -> Result<Self, StoreError> {
        let refused = |why: String, hint: &str| {
            Err(StoreError::new(
                StoreErrorKind::Refused,
                format!("read the key \"{text}\""),
                why,
                hint,
            ))
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
                "database" => KeyPlaceholder::Database,
                "reason" => KeyPlaceholder::Reason,
                "table" => KeyPlaceholder::Table,
                _ => {
                    let hint = "write {database}, {reason} or {table}";
                    return refused(format!("{{{name}}} is no placeholder"), hint);
                }
            };
            if !head.is_empty() {
                tokens.push(TemplatePart::Time(head.to_owned()));
            }
            tokens.push(TemplatePart::Placeholder(field));
            rest = tail;
        }
        let (head, tail) = suffix::split_at_suffix(rest);
        if !head.is_empty() {
            tokens.push(TemplatePart::Time(head.to_owned()));
        }
        tokens.push(TemplatePart::Suffix);
        if !tail.is_empty() {
            tokens.push(TemplatePart::Time(tail.to_owned()));
        }
        // Read back what is made of a time in which no two fields are alike.
        let mut form = Self { parts: tokens, precision: SignedDuration::ZERO, dateless: false };
        let sample = jiff::civil::date(2031, 11, 24).at(17, 48, 59, 0);
        let sample = sample.to_zoned(TimeZone::UTC).expect("UTC has every time").timestamp();
        for (precision, dateless) in
            [(1, false), (60, false), (3_600, false), (86_400, false), (1, true)]
        {
            form.precision = SignedDuration::from_secs(precision);
            form.dateless = dateless;
            let Ok(made) = form.render_key("d", "r", "t", sample) else {
                let hint = "write strftime fields, as in %Y%m%d_%H%M%S";
                return refused("it has a time field that is none".into(), hint);
            };
            if form.parse_key(&made, KnownNames::default()).is_some_and(|r| r.contains_time(sample))
            {
                return Ok(form);
            }
        }
        refused(
            "its time can't be read back, so backups would not be told apart".into(),
            "write the date, as in %Y%m%d, or no time at all",
        )
    }

    /// The form of a store's keys: the policy's, or the usual one with the ending of the dump's format (`.dump.zst`).
    ///
    /// # Errors
    /// As for [`KeyTemplate::new`].
    pub fn for_store(
        store: &shared::policy::StoreConfig,
        ending: &str,
        tables: bool,
    ) -> Result<Self, StoreError> {
        let usual = if tables { DEFAULT_TABLE_KEY_TEMPLATE } else { DEFAULT_KEY_TEMPLATE };
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
    pub fn render_key(
        &self,
        database: &str,
        reason: &str,
        table: &str,
        at: Timestamp,
    ) -> Result<String, StoreError> {
        let suffix = self.dateless.then(|| suffix::time_suffix(at, None));
        self.render_with_suffix(database, reason, table, at, suffix.as_deref())
    }

    /// The keys that a backup may get, in the order in which they are tried: the plain one, with its time, and with its
    /// time and the run's name, which nobody can know before.
    ///
    /// # Errors
    /// As for [`KeyTemplate::render_key`].
    pub fn candidate_keys(
        &self,
        database: &str,
        reason: &str,
        table: &str,
        at: Timestamp,
        run: &str,
    ) -> Result<Vec<String>, StoreError> {
        let mut all = vec![self.render_key(database, reason, table, at)?];
        for suffix in [suffix::time_suffix(at, None), suffix::time_suffix(at, Some(run))] {
            let key = self.render_with_suffix(database, reason, table, at, Some(&suffix))?;
            if !all.contains(&key) {
                all.push(key);
            }
        }
        Ok(all)
    }

    fn render_with_suffix(
        &self,
        database: &str,
        reason: &str,
        table: &str,
        at: Timestamp,
        suffix: Option<&str>,
    ) -> Result<String, StoreError> {
        let time = BrokenDownTime::from(&at.to_zoned(TimeZone::UTC));
        let refused = |why: String| {
            let doing = format!("make a key for {database}");
            StoreError::new(
                StoreErrorKind::Refused,
                doing,
                why,
                "fix the store's key in the policy",
            )
        };
        let mut key = String::new();
        for token in &self.parts {
            let (name, value) = match token {
                TemplatePart::Time(form) => {
                    key += &time.to_string(form).map_err(|e| refused(e.to_string()))?;
                    continue;
                }
                TemplatePart::Suffix => {
                    key += suffix.unwrap_or_default();
                    continue;
                }
                TemplatePart::Placeholder(KeyPlaceholder::Database) => ("database", database),
                TemplatePart::Placeholder(KeyPlaceholder::Reason) => ("reason", reason),
                TemplatePart::Placeholder(KeyPlaceholder::Table) => ("table", table),
            };
            if value.is_empty() {
                return Err(refused(format!("the key has {{{name}}}, and there is none")));
            }
            key += &escape_name(value);
        }
        Ok(key)
    }

    /// The same text for all keys of the form at their begin.
    pub fn static_prefix(&self) -> String {
        match self.parts.first() {
            Some(TemplatePart::Time(form)) => form.split('%').next().unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
