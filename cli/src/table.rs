//! Tables: one look for all of them.

use crate::words::escape_control_chars;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use std::env;

/// What the reader's screen can show.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TerminalStyle {
    width: Option<u16>,
    colour: bool,
}

impl TerminalStyle {
    /// As wide as the terminal, in colours unless `NO_COLOR` is set; plain and unwrapped into a file or pipe.
    pub(crate) fn for_stdout() -> Self {
        let table = Table::new();
        let no_colour = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { width: table.width(), colour: table.is_tty() && !no_colour }
    }

    /// A table with a head. Words that shout are coloured.
    pub(crate) fn render_table(
        self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> String {
        let mut table = Table::new();
        table.force_no_tty().load_style(presets::NOTHING);
        if let Some(width) = self.width {
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        if self.colour {
            table.enforce_styling();
        }
        table.set_header(head.iter().map(|h| Cell::new(h.to_uppercase())));
        table.add_rows(
            rows.into_iter().map(|row| row.iter().map(|c| self.styled_cell(c)).collect::<Vec<_>>()),
        );
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }

    fn styled_cell(self, text: &str) -> Cell {
        let cell = Cell::new(escape_control_chars(text));
        if !self.colour {
            return cell;
        }
        match text {
            "CRITICAL" | "ALARM" | "MISSING" | "FAILED" => {
                cell.fg(Color::Red).add_attribute(Attribute::Bold)
            }
            "warning" | "INSUFFICIENT_DATA" | "unfinished" => cell.fg(Color::Yellow),
            "ok" | "OK" | "done" => cell.fg(Color::Green),
            _ => cell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![
            row([
                "orders",
                "CRITICAL",
                "its newest good point is 2d old, over the objective of 25h",
            ]),
            row(["auth", "ok", ""]),
        ]
    }

    #[test]
    fn a_table_is_one_line_a_row_in_a_pipe_and_wraps_on_a_terminal() {
        let head = ["asset", "verdict", "why"];
        insta::assert_snapshot!(TerminalStyle::default().render_table(&head, rows()), @"
        ASSET   VERDICT   WHY
        orders  CRITICAL  its newest good point is 2d old, over the objective of 25h
        auth    ok
        ");
        insta::assert_snapshot!(TerminalStyle { width: Some(50), colour: false }.render_table(&head, rows()), @"
        ASSET   VERDICT   WHY
        orders  CRITICAL  its newest good point is 2d
                          old, over the objective of 25h
        auth    ok
        ");
    }

    #[test]
    fn only_colour_adds_escapes_and_what_comes_from_outside_never_does() {
        let coloured = TerminalStyle { width: None, colour: true }.render_table(&["v"], rows());
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(
            crate::output::escape_except_colours(&coloured),
            coloured,
            "the output knows its colours"
        );
        let hostile = vec![vec!["a\u{1b}[2Jb\u{7}".to_owned()]];
        assert!(!TerminalStyle::default().render_table(&["v"], hostile).contains('\u{1b}'));
    }
}
