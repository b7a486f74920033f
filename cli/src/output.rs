//! What a command says. The only file that writes to stdout, so that `--json` keeps it clean, and a reader that has seen
//! enough (`holdfast status | head -1`) is no error.

use crate::table::Look;
use serde::Serialize;
use std::io::{self, ErrorKind, Write};

/// A command's answer, for people and for programs.
pub(crate) trait Answer: Serialize {
    /// For people.
    fn text(&self, look: Look) -> String;
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    look: Look,
}

impl Output {
    /// To stdout, as JSON or as text that fits the terminal.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, look: Look::of_stdout() }
    }

    /// Whether answers are JSON.
    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// If stdout can't be written, such as on a full disk.
    pub(crate) fn answer(self, answer: &impl Answer) -> io::Result<()> {
        if self.json {
            write(&mut io::stdout().lock(), &serde_json::to_string_pretty(answer)?)
        } else {
            write(&mut io::stdout().lock(), &answer.text(self.look))
        }
    }
}

fn write(to: &mut impl Write, text: &str) -> io::Result<()> {
    match to
        .write_all(text.trim_end().as_bytes())
        .and_then(|()| to.write_all(b"\n"))
        .and_then(|()| to.flush())
    {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes text as it is, such as a format of somebody else's.
///
/// # Errors
/// As for [`Output::answer`].
pub(crate) fn print(text: &str) -> io::Result<()> {
    write(&mut io::stdout().lock(), text)
}

/// Says something on stderr; when nobody listens there, nothing can be done about it.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
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
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        assert!(write(&mut Refuses(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write(&mut Refuses(ErrorKind::StorageFull), "x").is_err());
    }
}
