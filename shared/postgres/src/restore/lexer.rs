//! SQL text into statements and COPY data, by the rules of `psql`.
//!
//! Outside of quotes and comments a backslash starts a command of `psql`, anywhere in a line. Such a command could run
//! programs here or go to another database, so all but the two that `pg_dump` itself writes are refused.

use super::{rows::CHUNK_BYTES, source::invalid_data};
use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem, memrchr};
use std::{io, mem::take};

/// The longest statement that is taken, in bytes.
const MAX_STATEMENT_BYTES: usize = 256 << 20;

/// Words behind which CASE begins an expression; behind all others it could be a name.
const BEFORE_CASE: [&[u8]; 32] = [
    b"all",
    b"and",
    b"any",
    b"array",
    b"between",
    b"by",
    b"case",
    b"check",
    b"distinct",
    b"else",
    b"from",
    b"having",
    b"ilike",
    b"in",
    b"limit",
    b"like",
    b"not",
    b"offset",
    b"on",
    b"or",
    b"return",
    b"select",
    b"set",
    b"similar",
    b"some",
    b"then",
    b"to",
    b"using",
    b"values",
    b"when",
    b"where",
    b"default",
];

/// What a plain dump consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScriptItem {
    /// A statement, without its semicolon.
    Statement(Bytes),
    /// `COPY .. FROM stdin`; its data follows.
    Copy(Bytes),
    /// Data of a COPY, not always at the end of a row.
    Data(Bytes),
    /// The end of a COPY's data.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LexerState {
    Sql,
    /// In a string; whether a backslash quotes the next character.
    String(bool),
    /// After a backslash in such a string.
    Escaped,
    Name,
    Dollar,
    Comment,
    /// Nested comments: how deep.
    Block(u32),
    /// A backslash command that is skipped, up to its line's end.
    Command,
    /// After a COPY: the rest of its line.
    BeforeData,
    /// COPY data; whether the text held begins at a line's start.
    Data(bool),
}

/// What came last, behind white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// A sign or a word behind which an expression begins.
    Sign,
    /// A name or a value, behind which CASE is no expression.
    Operand,
    /// `BEGIN`.
    Begin,
}

/// What the text says of itself in the comments that `pg_dump` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DumpMarker {
    Nothing,
    Begun,
    Complete,
}

/// Takes text in pieces and gives [`Item`]s.
pub(crate) struct SqlLexer {
    state: LexerState,
    /// The statement so far, or COPY data that is not given yet.
    held: BytesMut,
    /// The tag of the dollar quote we are in: `$body$`.
    tag: Vec<u8>,
    /// A word, a dollar tag or a command that may go on in the next piece.
    word: Vec<u8>,
    previous: u8,
    /// Whether the string that just ended had backslash escapes.
    escapes: bool,
    parens: u32,
    /// `BEGIN ATOMIC` .. `END` of a function's SQL body, where semicolons end nothing.
    begins: u32,
    last: Last,
    /// First letters of the statement's first words, which tell a function by.
    letters: Vec<u8>,
    plain_backslash: bool,
    /// A string ended, and only white space came since; whether a line ended in it.
    after_string: Option<bool>,
    /// [`SqlLexer::after_string`] before a sign that may begin a comment.
    before_sign: Option<bool>,
    /// Bytes of held COPY data that are known to have no end mark.
    searched: usize,
    claim: DumpMarker,
    /// Bytes of a byte order mark that came, at the very beginning; none once something else came.
    mark: Option<usize>,
}

/// What some editors and tools put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Default for SqlLexer {
    fn default() -> Self {
        Self {
            state: LexerState::Sql,
            held: BytesMut::new(),
            tag: Vec::new(),
            word: Vec::new(),
            previous: b'\n',
            escapes: false,
            parens: 0,
            begins: 0,
            last: Last::Sign,
            letters: Vec::new(),
            plain_backslash: true,
            after_string: None,
            before_sign: None,
            searched: 0,
            claim: DumpMarker::Nothing,
            mark: Some(0),
        }
    }
}

type ItemSink<'a> = dyn FnMut(ScriptItem) -> io::Result<()> + 'a;

impl SqlLexer {
    /// One for text in which a backslash in a plain string is just that, or not.
    pub(crate) fn with_backslash(plain_backslash: bool) -> Self {
        Self { plain_backslash, ..Self::default() }
    }

    /// Whether the text had `pg_dump`'s last line.
    pub(crate) fn is_complete(&self) -> bool {
        self.claim == DumpMarker::Complete
    }

    /// Takes a piece of text.
    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut ItemSink<'_>) -> io::Result<()> {
        if memchr(0, text).is_some() {
            return Err(invalid_data(
                "a NUL byte: it is no SQL text (is the file encrypted or compressed?)",
            ));
        }
        while let Some(seen) = self.mark
            && let Some((first, rest)) = text.split_first()
        {
            if *first != BYTE_ORDER_MARK[seen] {
                self.mark = None;
                // No mark after all: what was taken for one is text.
                for b in &BYTE_ORDER_MARK[..seen] {
                    self.push_byte(*b, out)?;
                }
                break;
            }
            text = rest;
            self.mark = Some(seen + 1).filter(|seen| *seen < BYTE_ORDER_MARK.len());
        }
        while !text.is_empty() {
            if let LexerState::Data(line_start) = self.state {
                self.held.extend_from_slice(text);
                let Some(rest) = self.take_copy_data(line_start, out)? else { return Ok(()) };
                // What is behind the data is SQL again; it is at most what came in this piece.
                text = &text[text.len() - rest..];
                continue;
            }
            let (first, rest) = (text[0], &text[1..]);
            self.push_byte(first, out)?;
            text = rest;
            if self.held.len() > MAX_STATEMENT_BYTES {
                return Err(invalid_data(&format!(
                    "a statement longer than {MAX_STATEMENT_BYTES} bytes"
                )));
            }
        }
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// It ends inside of something, or is `pg_dump`'s and lacks its last line.
    pub(crate) fn finish(&mut self, out: &mut ItemSink<'_>) -> io::Result<()> {
        self.push_byte(b'\n', out)?;
        let inside = !matches!(self.state, LexerState::Sql | LexerState::Comment);
        if inside || !self.held.trim_ascii().is_empty() || self.claim == DumpMarker::Begun {
            let why = "the SQL ends before the dump is complete";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }

    /// Gives COPY data up to its mark; how many bytes come after it, when it is there.
    fn take_copy_data(
        &mut self,
        line_start: bool,
        out: &mut ItemSink<'_>,
    ) -> io::Result<Option<usize>> {
        // A mark may have begun in the last three bytes of what was searched before.
        let from = self.searched.saturating_sub(3);
        for at in memmem::find_iter(&self.held[from..], b"\\.").map(|at| from + at) {
            let begins = if at == 0 { line_start } else { self.held[at - 1] == b'\n' };
            // Text that came through Windows has two characters at each line's end; the server reads rows of that too.
            let end = match &self.held[at + 2..] {
                [b'\n', ..] => 3,
                [b'\r', b'\n', ..] => 4,
                _ => continue,
            };
            if begins {
                let rest = self.held.len() - at - end;
                let data = self.held.split_to(at).freeze();
                (self.held, self.searched) = (BytesMut::new(), 0);
                if !data.is_empty() {
                    out(ScriptItem::Data(data))?;
                }
                out(ScriptItem::End)?;
                (self.state, self.previous) = (LexerState::Sql, b'\n');
                return Ok(Some(rest));
            }
        }
        if self.held.len() >= CHUNK_BYTES / 4 {
            match memrchr(b'\n', &self.held) {
                Some(at) => {
                    out(ScriptItem::Data(self.held.split_to(at + 1).freeze()))?;
                    self.state = LexerState::Data(true);
                }
                None if self.held.len() >= CHUNK_BYTES => {
                    // Inside one long row: its last bytes could be the start of nothing but itself.
                    let most = self.held.len() - 3;
                    out(ScriptItem::Data(self.held.split_to(most).freeze()))?;
                    self.state = LexerState::Data(false);
                }
                None => {}
            }
        }
        self.searched = self.held.len();
        Ok(None)
    }

    fn push_byte(&mut self, b: u8, out: &mut ItemSink<'_>) -> io::Result<()> {
        let previous = std::mem::replace(&mut self.previous, b);
        match self.state {
            LexerState::Sql => return self.push_sql_byte(previous, b, out),
            LexerState::String(escapes) => {
                self.held.extend_from_slice(&[b]);
                match b {
                    b'\'' => {
                        // A doubled one begins the same kind of string again at once.
                        (self.state, self.escapes) = (LexerState::Sql, escapes);
                        self.after_string = Some(false);
                    }
                    b'\\' if escapes => self.state = LexerState::Escaped,
                    _ => {}
                }
            }
            LexerState::Escaped => {
                self.held.extend_from_slice(&[b]);
                self.state = LexerState::String(true);
            }
            LexerState::Name => {
                self.held.extend_from_slice(&[b]);
                if b == b'"' {
                    self.state = LexerState::Sql;
                }
            }
            LexerState::Dollar => {
                self.held.extend_from_slice(&[b]);
                if b == b'$' && self.held.ends_with(&self.tag) && self.word.len() >= self.tag.len()
                {
                    self.state = LexerState::Sql;
                    self.word.clear();
                } else if self.word.len() < self.tag.len() {
                    self.word.push(b); // counts, so that the opening tag does not close itself
                }
            }
            // The server ends a comment at either of them: what comes next would be a statement to it alone.
            LexerState::Comment => {
                if b == b'\n' || b == b'\r' {
                    match self.word.trim_ascii_end() {
                        b" PostgreSQL database dump" => self.claim = DumpMarker::Begun,
                        b" PostgreSQL database dump complete" => self.claim = DumpMarker::Complete,
                        _ => {}
                    }
                    self.word.clear();
                    self.state = LexerState::Sql;
                    self.after_string = self.after_string.map(|_| true);
                    self.held.extend_from_slice(b"\n");
                } else if self.word.len() < 80 {
                    self.word.push(b);
                }
            }
            LexerState::Block(depth) => {
                self.state = match (previous, b) {
                    (b'/', b'*') => LexerState::Block(depth + 1),
                    (b'*', b'/') if depth == 1 => LexerState::Sql,
                    (b'*', b'/') => LexerState::Block(depth - 1),
                    _ => return Ok(()),
                };
                self.previous = 0; // the star of `/*/` ends nothing
                if self.state == LexerState::Sql {
                    self.held.extend_from_slice(b" ");
                }
            }
            LexerState::Command => {
                if b == b'\n' {
                    self.state = LexerState::Sql;
                    let word = take(&mut self.word);
                    let name = word.split(u8::is_ascii_whitespace).next().unwrap_or_default();
                    if !matches!(name, b"restrict" | b"unrestrict") {
                        let name =
                            String::from_utf8_lossy(&name[..name.len().min(20)]).into_owned();
                        return Err(invalid_data(&format!(
                            "it has the psql command \\{name}, which a restore does not run"
                        )));
                    }
                } else if self.word.len() < 200 {
                    self.word.push(b);
                }
            }
            LexerState::BeforeData => {
                if b == b'\n' {
                    self.state = LexerState::Data(true);
                }
            }
            LexerState::Data(_) => {} // handled in whole pieces
        }
        Ok(())
    }

    fn push_sql_byte(&mut self, previous: u8, b: u8, out: &mut ItemSink<'_>) -> io::Result<()> {
        let in_word = !self.word.is_empty();
        if b == b'$' && self.word.first().is_some_and(u8::is_ascii_digit) {
            // Servers before PostgreSQL 16 would read the start of a dollar quote here, later ones an error.
            return Err(invalid_data("a number with a dollar sign in it"));
        }
        // A string that follows another on a new line is the same string to the server.
        let continued = self.after_string == Some(true) && self.escapes;
        match b {
            b'\n' | b'\r' => self.after_string = self.after_string.map(|_| true),
            b' ' | b'\t' | 0x0b | 0x0c => {}
            b'-' if previous == b'-' => {}
            b'*' if previous == b'/' => {}
            _ => {
                self.before_sign = self.after_string.take().filter(|_| matches!(b, b'-' | b'/'));
            }
        }
        if b.is_ascii_alphanumeric()
            || b == b'_'
            || b >= 0x80
            || (b == b'$' && in_word && !self.word.starts_with(b"$"))
        {
            self.word.push(b);
            self.held.extend_from_slice(&[b]);
            return Ok(());
        }
        if b == b'$' {
            self.held.extend_from_slice(&[b]);
            let tag = take(&mut self.word);
            if tag.get(1).is_some_and(u8::is_ascii_digit) && tag.first() == Some(&b'$') {
                // A parameter and a word to some servers, an error to others.
                return Err(invalid_data("a parameter with a dollar sign behind it"));
            }
            if tag.first() == Some(&b'$') {
                self.tag = tag;
                self.tag.push(b'$');
                self.state = LexerState::Dollar;
                self.last = Last::Operand;
            } else {
                self.word.push(b'$');
            }
            return Ok(());
        }
        let word = take(&mut self.word);
        if b == b'\'' && word.first().is_some_and(u8::is_ascii_digit) {
            // To servers before PostgreSQL 15 `1E'` begins a string with backslashes, to later ones it is an error.
            return Err(invalid_data("a number with a string right behind it"));
        }
        self.track_word(&word, b)?;
        match b {
            b'\'' => {
                let again = (previous == b'\'' && self.escapes) || continued;
                let escapes = again || matches!(&word[..], b"E" | b"e") || !self.plain_backslash;
                self.state = LexerState::String(escapes);
            }
            b'"' => self.state = LexerState::Name,
            b'-' if previous == b'-' => {
                self.held.truncate(self.held.len().saturating_sub(1));
                self.state = LexerState::Comment;
                self.last = Last::Operand; // not known: its first sign looked like an operator
                self.after_string = self.before_sign;
                return Ok(());
            }
            b'*' if previous == b'/' => {
                self.held.truncate(self.held.len().saturating_sub(1));
                self.state = LexerState::Block(1);
                self.last = Last::Operand;
                self.after_string = self.before_sign;
                self.previous = 0;
                return Ok(());
            }
            b'\\' => {
                self.state = LexerState::Command;
                return Ok(());
            }
            b'(' => self.parens += 1,
            b')' => self.parens = self.parens.saturating_sub(1),
            b';' if self.parens == 0 && self.begins == 0 => return self.end_statement(out),
            _ => {}
        }
        self.held.extend_from_slice(&[b]);
        Ok(())
    }

    /// Counts the blocks of a function whose body is SQL.
    ///
    /// # Errors
    /// It can't be told whether a CASE begins an expression or is a name, which some places allow.
    fn track_word(&mut self, word: &[u8], next: u8) -> io::Result<()> {
        let before = self.last;
        if !word.is_empty() {
            self.last = if word.eq_ignore_ascii_case(b"begin") {
                Last::Begin
            } else if BEFORE_CASE.iter().any(|w| word.eq_ignore_ascii_case(w)) {
                Last::Sign
            } else {
                Last::Operand
            };
        }
        match next {
            b')' | b']' | b'.' | b'\'' | b'"' => self.last = Last::Operand,
            b if b.is_ascii_whitespace() => {}
            _ => self.last = Last::Sign,
        }
        if word.is_empty() {
            return Ok(());
        }
        if word[0].is_ascii_digit() || word[0] == b'$' {
            // Before PostgreSQL 15 `1END` is two words.
            let unclear = self.begins > 0 && word.to_ascii_lowercase().ends_with(b"end");
            return if unclear {
                Err(invalid_data("a number with a word right behind it"))
            } else {
                Ok(())
            };
        }
        if self.letters.len() < 4 {
            self.letters.push(match &word.to_ascii_lowercase()[..] {
                b"create" => b'c',
                b"or" => b'o',
                b"replace" => b'r',
                b"function" | b"procedure" => b'f',
                _ => b' ',
            });
        }
        let function = self.letters.starts_with(b"cf") || self.letters.starts_with(b"corf");
        if function && self.parens == 0 {
            match &word.to_ascii_lowercase()[..] {
                // A function may be called `begin`: then nothing but a statement's end comes after it.
                b"atomic" if before == Last::Begin => self.begins += 1,
                b"case" if self.begins > 0 && before != Last::Sign => {
                    return Err(invalid_data("a CASE behind a name or a value"));
                }
                b"case" if self.begins > 0 => self.begins += 1,
                b"end" => self.begins = self.begins.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }

    fn end_statement(&mut self, out: &mut ItemSink<'_>) -> io::Result<()> {
        self.letters.clear();
        self.last = Last::Sign;
        let text = take(&mut self.held).freeze();
        let text = text.slice_ref(text.trim_ascii());
        if text.is_empty() {
            return Ok(());
        }
        let upper = text[..text.len().min(60)].to_ascii_uppercase();
        // Only in the words that `judge` lets through, so that the server and this reader agree.
        match &upper[..] {
            b"SET STANDARD_CONFORMING_STRINGS = ON" | b"SET STANDARD_CONFORMING_STRINGS = 'ON'" => {
                self.plain_backslash = true;
            }
            b"SET STANDARD_CONFORMING_STRINGS = OFF"
            | b"SET STANDARD_CONFORMING_STRINGS = 'OFF'" => self.plain_backslash = false,
            _ => {}
        }
        if upper.starts_with(b"COPY ") && is_from_stdin(&text) {
            self.state = LexerState::BeforeData;
            return out(ScriptItem::Copy(text));
        }
        out(ScriptItem::Statement(text))
    }
}

fn is_from_stdin(statement: &[u8]) -> bool {
    let text = statement.to_ascii_uppercase();
    let words: Vec<&[u8]> = text.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
    words.windows(2).any(|w| w == [b"FROM", &b"STDIN"[..]])
}

/// The statements of a text that has no COPY; whether a backslash in a plain string is just that.
pub(crate) fn split_statements(text: &str, plain_backslash: bool) -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut out = |item| match item {
        ScriptItem::Statement(text) => {
            all.push(String::from_utf8_lossy(&text).into_owned());
            Ok(())
        }
        _ => Err(invalid_data("a COPY where there should be none")),
    };
    let mut lexer = SqlLexer::with_backslash(plain_backslash);
    lexer.push(text.as_bytes(), &mut out)?;
    // The last one of an archive's entry may lack its semicolon.
    lexer.push(b"\n;", &mut out)?;
    lexer.finish(&mut out)?;
    Ok(all)
}

/// The name of a table at the start of `text`, quotes and schema included.
pub(crate) fn leading_name(text: &str) -> &str {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        !quoted && (c.is_whitespace() || c == '(')
    });
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(text: &[u8], step: usize) -> io::Result<Vec<ScriptItem>> {
        let mut all: Vec<ScriptItem> = Vec::new();
        let mut lexer = SqlLexer::default();
        {
            let mut out = |item| {
                if let (Some(ScriptItem::Data(so_far)), ScriptItem::Data(more)) =
                    (all.last_mut(), &item)
                {
                    *so_far = [&so_far[..], more].concat().into();
                } else {
                    all.push(item);
                }
                Ok(())
            };
            for piece in text.chunks(step) {
                lexer.push(piece, &mut out)?;
            }
            lexer.finish(&mut out)?;
        }
        Ok(all)
    }

    fn statements(text: &str) -> Vec<String> {
        let show = |item: &ScriptItem| match item {
            ScriptItem::Statement(s) => String::from_utf8_lossy(s).into_owned(),
            other => format!("{other:?}"),
        };
        let reference: Vec<_> =
            items(text.as_bytes(), 1).expect("it is whole").iter().map(show).collect();
        for step in [2, 7, 4096] {
            let again: Vec<_> =
                items(text.as_bytes(), step).expect("it is whole").iter().map(show).collect();
            assert_eq!(again, reference, "in pieces of {step}");
        }
        reference
    }

    #[test]
    fn semicolons_in_quotes_comments_and_bodies_end_nothing() {
        let text = "-- a; comment\nSELECT 'a;''b', \"x;\"\"y\", E'it\\'s;' /* ; /* ; */ ; */;\n\
            CREATE FUNCTION f() AS $b$ x; \\d $$ ; $b$;\n\
            CREATE OR REPLACE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END;\n\
            CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2);\nSELECT a$b, $1 - -2;\nBEGIN; COMMIT;";
        assert_eq!(
            statements(text),
            [
                "SELECT 'a;''b', \"x;\"\"y\", E'it\\'s;'",
                "CREATE FUNCTION f() AS $b$ x; \\d $$ ; $b$",
                "CREATE OR REPLACE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END",
                "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
                "SELECT a$b, $1 - -2",
                "BEGIN",
                "COMMIT",
            ]
        );
    }

    #[test]
    fn copy_data_is_no_sql() {
        let text = b"COPY public.t (a, b) FROM stdin;\n1\t\\N\n2\t\\\\.\n\\.\n\nSELECT 1;\n";
        for step in [1, 5, 1000] {
            let copy = ScriptItem::Copy("COPY public.t (a, b) FROM stdin".into());
            let data = ScriptItem::Data("1\t\\N\n2\t\\\\.\n".into());
            let statement = ScriptItem::Statement("SELECT 1".into());
            assert_eq!(items(text, step).expect("whole"), [copy, data, ScriptItem::End, statement]);
        }
        let empty = items(b"COPY t FROM stdin;\n\\.\nSELECT 1;", 1000).expect("whole");
        assert_eq!(empty.len(), 3);
    }

    #[test]
    fn text_that_came_through_windows_is_read_as_well() {
        let unix = "-- PostgreSQL database dump\n\\restrict x\nCOPY t (a) FROM stdin;\n1\n\\.\nSELECT 'a';\n\
            \\unrestrict x\n-- PostgreSQL database dump complete\n";
        let items_of = |text: &[u8], step| {
            let show = |item: ScriptItem| match item {
                ScriptItem::Data(rows) => String::from_utf8_lossy(&rows).replace("\r\n", "\n"),
                other => format!("{other:?}"),
            };
            items(text, step).expect("whole").into_iter().map(show).collect::<Vec<_>>()
        };
        let expected = items_of(unix.as_bytes(), 1000);
        for step in [1, 2, 3, 1000] {
            let dos = unix.replace('\n', "\r\n");
            assert_eq!(items_of(dos.as_bytes(), step), expected, "CRLF, {step}");
            let marked = format!("\u{feff}{unix}");
            assert_eq!(items_of(marked.as_bytes(), step), expected, "a mark, {step}");
        }
        assert_eq!(statements("\u{fefe}SELECT 1;"), ["\u{fefe}SELECT 1"]);
    }

    #[test]
    fn only_the_commands_that_pg_dump_writes_are_passed_over() {
        assert_eq!(statements("\\restrict abc\nSELECT 1;\n\\unrestrict abc\n"), ["SELECT 1"]);
        for evil in ["\\connect other\n", "SELECT 1 \\! touch /tmp/x\n;", "\\i file\n", "\\.\n"] {
            let refused = items(evil.as_bytes(), 3).expect_err("refused");
            assert!(refused.to_string().contains("psql command"), "{refused}");
        }
        assert_eq!(statements("SELECT '\n\\connect x\n';").len(), 1);
    }

    #[test]
    fn no_statement_can_be_hidden_from_this_reader_that_the_server_would_find() {
        // The server goes on with a string on the next line as it began: with backslashes.
        let continued = "SELECT E'a'\n'\\''; DROP DATABASE x; SELECT '';";
        assert!(statements(continued).contains(&"DROP DATABASE x".to_owned()));
        let commented = "SELECT E'a' -- b\n'\\''; DROP DATABASE x; SELECT '';";
        assert!(statements(commented).contains(&"DROP DATABASE x".to_owned()));
        // On one line they are two strings.
        assert_eq!(statements("SELECT E'a' '\\'; DROP DATABASE x;").len(), 2);
        assert_eq!(statements("SELECT E'a' - \n'\\'; DROP DATABASE x;").len(), 2);
        let called =
            "CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP DATABASE x;";
        assert_eq!(statements(called).len(), 2);
        let called = "CREATE FUNCTION begin.atomic() RETURNS int AS 'SELECT 1'; DROP DATABASE x;";
        assert_eq!(statements(called).len(), 2);
        assert!(items(b"SELECT 1$a$ ' $a$; DROP DATABASE x; --';", 100).is_err());
        assert!(items(b"SELECT $1a$b$; DROP DATABASE x; --$b$;", 100).is_err());
        assert!(items(b"SELECT 1E'\\''; DROP DATABASE x; --';", 100).is_err());
        // The server ends a comment where either kind of line ends.
        assert!(
            statements("SELECT 1; -- a\rDROP DATABASE x;").contains(&"DROP DATABASE x".to_owned())
        );
        // A CASE that is a name begins nothing.
        let body = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT";
        for label in [
            "1 case",
            "a.case",
            "1 AS case",
            "'a' case",
            "$1 case",
            "(1) case",
            "$$a$$ case",
            "1 -- \ncase",
            "1 /**/case",
            "\"a\" case",
            "CASE WHEN true THEN 1END",
            "CASE WHEN true THEN $1END",
        ] {
            let text = format!("{body} {label}; END; ALTER ROLE x SUPERUSER; SELECT 1 AS end;");
            let unclear = items(text.as_bytes(), 100).expect_err(label).to_string();
            assert!(
                unclear.contains("right behind") || unclear.contains("CASE behind"),
                "{unclear}"
            );
        }
        let text = format!(
            "{body} CASE WHEN (CASE a WHEN 1 THEN 2 ELSE CASE 1 WHEN 1 THEN 2 END END) = 1 THEN 1 END; END;"
        );
        assert_eq!(statements(&text).len(), 1);
        // Only the words that both understand switch backslashes on.
        for (set, found) in [("SET standard_conforming_strings = off", 2), ("SET x = off", 3)] {
            let text = format!("{set}; SELECT '\\'; DROP DATABASE x; --';\n");
            assert_eq!(statements(&text).len(), found, "{set}");
        }
    }

    #[test]
    fn long_rows_take_time_and_memory_by_their_length_alone() {
        // A short row before a long one: nothing of what was searched is searched again.
        let mut text = b"COPY t FROM stdin;\nshort\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 64 << 20));
        text.extend(b"\n\\.\n");
        let mut lexer = SqlLexer::default();
        let (mut most, mut all) = (0, 0);
        for piece in text.chunks(1 << 16) {
            let mut out = |item| {
                if let ScriptItem::Data(data) = item {
                    all += data.len();
                }
                Ok(())
            };
            lexer.push(piece, &mut out).expect("it is COPY data");
            most = most.max(lexer.held.len());
        }
        assert!(most <= 2 * CHUNK_BYTES, "{most} bytes were held");
        assert_eq!(all, text.len() - b"COPY t FROM stdin;\n\\.\n".len());
    }

    #[test]
    fn text_that_is_cut_or_not_text_is_an_error() {
        for cut in [
            "SELECT 1",
            "SELECT 'a;",
            "COPY t FROM stdin;\n1\n",
            "CREATE FUNCTION f() AS $$ x;",
            "--\n-- PostgreSQL database dump\n--\nSELECT 1;\n",
        ] {
            assert!(items(cut.as_bytes(), 100).is_err(), "{cut}");
        }
        assert!(items(b"SELECT 1\0;", 100).is_err());
        let whole =
            "-- PostgreSQL database dump\nSELECT 1;\n-- PostgreSQL database dump complete\n";
        assert_eq!(statements(whole), ["SELECT 1"]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_pieces_make_no_difference(
            text in "[a-c$'\"\\\\;()\n \\-/*E.]{0,120}", step in 1_usize..40,
        ) {
            let whole = items(text.as_bytes(), 1000).ok();
            prop_assert_eq!(items(text.as_bytes(), step).ok(), whole);
        }
    }
}
