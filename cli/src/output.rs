//! What a command says. The only file that writes to stdout, so that `--json` keeps it clean, and a reader that has seen
//! enough (`holdfast status | head -1`) is no error.

use crate::table::TerminalStyle;
use serde::Serialize;
use shared::words::escape_control_chars;
use std::{
    borrow::Cow,
    io::{self, ErrorKind, Write},
};

/// A command's answer, for people and for programs.
pub(crate) trait CommandOutput: Serialize {
    /// For people.
    fn render_text(&self, look: TerminalStyle) -> String;
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputWriter {
    json: bool,
    look: TerminalStyle,
}

impl OutputWriter {
    /// To stdout, as JSON or as text that fits the terminal.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, look: TerminalStyle::for_stdout() }
    }

    /// Whether answers are JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// If stdout can't be written, such as on a full disk.
    pub(crate) fn print_output(self, answer: &impl CommandOutput) -> io::Result<()> {
        if self.json {
            write_line(
                &mut io::stdout().lock(),
                &escape_json(&serde_json::to_string_pretty(answer)?),
            )
        } else {
            write_line(
                &mut io::stdout().lock(),
                &escape_except_colours(&answer.render_text(self.look)),
            )
        }
    }
}

fn write_line(to: &mut impl Write, text: &str) -> io::Result<()> {
    match to
        .write_all(text.trim_end().as_bytes())
        .and_then(|()| to.write_all(b"\n"))
        .and_then(|()| to.flush())
    {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes text in a format of somebody else's.
///
/// # Errors
/// As for [`OutputWriter::print_output`].
pub(crate) fn print_stdout(text: &str) -> io::Result<()> {
    write_line(&mut io::stdout().lock(), &escape_control_chars(text))
}

/// Says something on stderr; when nobody listens there, nothing can be done about it.
pub(crate) fn print_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape_control_chars(text));
}

/// An answer without anything that steers a terminal but the table's own colours. Cells are made printable before they are
/// coloured ([`crate::table`]), so what stands between two colours comes from here alone.
pub(crate) fn escape_except_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out += &escape_control_chars(&rest[..at]);
        rest = &rest[at..];
        let colour = COLOUR_SEQUENCES.iter().find(|colour| rest.starts_with(**colour));
        let length = colour.map_or(1, |colour| colour.len());
        out += &colour.map_or_else(|| escape_control_chars(&rest[..1]), |colour| (*colour).into());
        rest = &rest[length..];
    }
    out += &escape_control_chars(rest);
    out
}

/// The sequences with which tables are coloured (crossterm's): bold, red, yellow and green, and their ends.
const COLOUR_SEQUENCES: &[&str] = &[
    "\u{1b}[1m",
    "\u{1b}[22m",
    "\u{1b}[0m",
    "\u{1b}[38;5;9m",
    "\u{1b}[38;5;10m",
    "\u{1b}[38;5;11m",
    "\u{1b}[39m",
    "\u{1b}[m",
];

/// JSON has control characters of ASCII as escapes already; the others that steer a terminal can stand in strings alone,
/// where an escape means the same.
fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let mut utf8 = [0; 4];
        if c.is_ascii()
            || matches!(escape_control_chars(c.encode_utf8(&mut utf8)), Cow::Borrowed(_))
        {
            out.push(c);
        } else {
            out += &format!("\\u{:04x}", u32::from(c));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refuses(ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_comes_from_outside_never_steers_a_terminal_and_colours_stay() {
        let hostile = "a\u{1b}]0;owned\u{7}b\u{1b}[2J\u{9b}2Jc\u{202e}d\re";
        let shown = escape_except_colours(hostile);
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
        assert!(shown.contains("\\u{1b}]0;owned"), "{shown}");
        let coloured = "\u{1b}[38;5;9m\u{1b}[1mCRITICAL\u{1b}[0m\nnext\tline";
        assert_eq!(escape_except_colours(coloured), coloured);
        let json = serde_json::to_string(hostile).expect("json");
        let shown = escape_json(&json);
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).expect("json"), hostile);
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        assert!(write_line(&mut Refuses(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write_line(&mut Refuses(ErrorKind::StorageFull), "x").is_err());
    }
}
