//! The one place that cleans texts for terminals and logs of what these would obey.
//!
//! **Job.** Names of tasks and threads, and words of other processes, may have anything in them.
//! What is printed of them goes through [`Printable`] or [`Lines`]; in JSON the same characters are
//! escaped (`json`), so that nothing is lost there.
//!
//! Tests: `tests/trace/hostile.rs`.

use std::fmt::{self, Display, Formatter, Write};

/// Whether this moves a terminal's cursor, begins a line, or changes the direction of what follows.
pub fn is_command(c: char) -> bool {
    let directs = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || directs || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// A text of one line: each such character is shown as `\u{fffd}`.
#[derive(Debug)]
pub struct Printable<T>(pub T);

/// A text of several lines: those after the first are indented, so that none looks like another
/// report.
#[derive(Debug)]
pub struct Lines<T>(pub T);

struct Cleans<'a, 'b> {
    to: &'a mut Formatter<'b>,
    line_break: &'static str,
}

impl Write for Cleans<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(is_command) {
            let rest = piece.trim_end_matches(is_command);
            self.to.write_str(rest)?;
            match piece[rest.len()..].chars().next() {
                Some('\n') => self.to.write_str(self.line_break)?,
                Some(_) => self.to.write_char('\u{fffd}')?,
                None => {}
            }
        }
        Ok(())
    }
}

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let line_break = "\u{fffd}";
        write!(Cleans { to, line_break }, "{}", self.0)
    }
}

impl<T: Display> Display for Lines<T> {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let line_break = "\n    ";
        write!(Cleans { to, line_break }, "{}", self.0)
    }
}
