//! The words of a statement, as PostgreSQL's own reader parts them.

/// A word of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlToken<'a> {
    /// A word without quotes.
    Word(&'a str),
    /// A name in double quotes, quotes included.
    Name(&'a str),
    /// What is between the quotes of a string; of a dollar-quoted one with them.
    Text(&'a str),
    /// Anything else.
    Sign(char),
}

impl SqlToken<'_> {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, SqlToken::Word(w) if w.eq_ignore_ascii_case(word))
    }

    pub(super) fn among(&self, words: &[&str]) -> bool {
        words.iter().any(|w| self.is(w))
    }

    /// The identifier that it is to the server.
    pub(crate) fn to_identifier(self) -> Option<String> {
        match self {
            SqlToken::Word(word) => Some(word.to_ascii_lowercase()),
            SqlToken::Name(name) => {
                let inside = name.strip_prefix('"')?.strip_suffix('"')?;
                Some(inside.replace("\"\"", "\""))
            }
            _ => None,
        }
    }
}

/// The words of a statement that has no comments.
pub(crate) fn tokenize(statement: &str) -> Vec<SqlToken<'_>> {
    read(statement, false)
}

/// The words of a statement to a server on which `standard_conforming_strings` is off.
pub(super) fn escaped(statement: &str) -> Vec<SqlToken<'_>> {
    read(statement, true)
}

/// White space between words; every other character that is not ASCII is part of a word.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

fn read(statement: &str, always_escapes: bool) -> Vec<SqlToken<'_>> {
    let mut all = Vec::new();
    let mut rest = statement.trim_start_matches(is_space);
    // Of the string that came last: whether a backslash quotes in it.
    let mut escapes = false;
    let mut space = "";
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' => {
                let length = quoted_length(rest, '"', false);
                (SqlToken::Name(&rest[..length]), length)
            }
            '\'' => {
                escapes = always_escapes
                    || match all.last() {
                        // Only where it stands right before the string.
                        Some(SqlToken::Word("E" | "e")) => space.is_empty(),
                        // One that follows on a new line is the same string.
                        Some(SqlToken::Text(_)) => escapes && space.contains(['\n', '\r']),
                        _ => false,
                    };
                let length = quoted_length(rest, '\'', escapes);
                (
                    SqlToken::Text(rest[1..].get(..length.saturating_sub(2)).unwrap_or_default()),
                    length,
                )
            }
            '$' => match dollar_quoted_length(rest) {
                Some(length) => (SqlToken::Text(&rest[..length]), length),
                None => (SqlToken::Sign('$'), 1),
            },
            c if in_word(c) => {
                let end = |c: char| !(in_word(c) || c == '$');
                let length = rest.find(end).unwrap_or(rest.len());
                (SqlToken::Word(&rest[..length]), length)
            }
            c => (SqlToken::Sign(c), c.len_utf8()),
        };
        all.push(token);
        let after = &rest[length..];
        rest = after.trim_start_matches(is_space);
        space = &after[..after.len() - rest.len()];
    }
    all
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// Bytes of what begins with this quote, both quotes included.
fn quoted_length(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => drop(chars.next()),
                _ => return at + c.len_utf8(),
            }
        }
    }
    text.len()
}

/// Bytes of a dollar-quoted text, if this is one.
fn dollar_quoted_length(text: &str) -> Option<usize> {
    let end = text[1..].find(|c: char| !in_word(c))? + 1;
    let tag = text.get(..=end).filter(|t| t.ends_with('$'))?;
    if tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(text[tag.len()..].find(tag).map_or(text.len(), |at| at + 2 * tag.len()))
}
