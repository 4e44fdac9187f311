//! How a worker has ended, as its holder reports it.
//!
//! It is a line with the exit code and the signal (`-` where there is none), and the end of what
//! the worker has written to standard error.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/slurm/contract.rs::a_death_costs_what_ran_and_says_how`.

/// How many bytes of the end of a worker's output are kept.
pub(super) const TAIL: usize = 4096;

/// How a worker has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// At most [`TAIL`] bytes.
    pub(crate) stderr: String,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let word = |number: Option<i32>| number.map_or("-".to_owned(), |n| n.to_string());
        let (code, signal) = (word(self.code), word(self.signal));
        format!("{code} {signal}\n{}", self.stderr)
    }

    /// Parses [`text`](Self::text)'s.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (line, stderr) = std::str::from_utf8(text).ok()?.split_once('\n')?;
        let (code, signal) = line.split_once(' ')?;
        let number = |word: &str| match word {
            "-" => Some(None),
            word => word.parse().ok().map(Some),
        };
        Some(Self {
            code: number(code)?,
            signal: number(signal)?,
            stderr: stderr.to_owned(),
        })
    }
}

/// The end of this output as text of at most [`TAIL`] bytes. (In place of an invalid byte there are
/// three: U+FFFD.)
pub(super) fn tail(output: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(output).into_owned();
    let mut start = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.drain(..start);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker has written need not be UTF-8.
    #[test]
    fn the_report_of_a_worker_that_wrote_anything_is_read() {
        let ends = [(Some(3), None), (None, Some(9)), (Some(-1), None)];
        for ((code, signal), output) in ends.into_iter().zip([&[0xff; TAIL][..], b"", b"a\nb\n"]) {
            let stderr = tail(output);
            assert!(stderr.len() <= TAIL);
            let report = Report {
                code,
                signal,
                stderr,
            };
            assert_eq!(Report::parse(report.text().as_bytes()), Some(report));
        }
        for wrong in ["", "3 -", "3\n", "3 x\n", "\n"] {
            assert_eq!(Report::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
