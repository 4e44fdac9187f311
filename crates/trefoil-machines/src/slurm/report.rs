//! How a worker has ended, as its holder reports it.
//!
//! It is a line with the exit code, the signal (`-` where there is none) and the length of what
//! follows: the end of what the worker has written to standard error.
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/`.

use std::io::Read;

/// How many bytes of the end of a worker's output are kept.
pub(super) const TAIL: usize = 4096;

/// The most bytes of a report: its line is short.
const LONGEST: u64 = TAIL as u64 + 64;

/// How a worker has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// At most [`TAIL`] bytes.
    pub(super) stderr: String,
}

impl Report {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let word = |number: Option<i32>| number.map_or("-".to_owned(), |n| n.to_string());
        let (code, signal) = (word(self.code), word(self.signal));
        let (length, stderr) = (self.stderr.len(), &self.stderr);
        format!("{code} {signal} {length}\n{stderr}").into_bytes()
    }

    /// Reads one, up to the end of the stream. `None`: not all of it has come.
    pub(super) fn read(from: impl Read) -> Option<Self> {
        let mut text = Vec::new();
        // (What has come may be all, whatever happens after it.)
        let _ = from.take(LONGEST).read_to_end(&mut text);
        let (line, stderr) = std::str::from_utf8(&text).ok()?.split_once('\n')?;
        let mut words = line.split(' ');
        let mut number = || {
            let word = words.next()?;
            (word == "-")
                .then_some(None)
                .or(word.parse().ok().map(Some))
        };
        let (code, signal) = (number()?, number()?);
        let length: usize = words.next()?.parse().ok()?;
        (stderr.len() == length).then(|| Self {
            code,
            signal,
            stderr: stderr.to_owned(),
        })
    }
}

/// The end of this output as text of at most [`TAIL`] bytes. (In place of an invalid byte there are
/// three: U+FFFD.)
pub(super) fn text(output: &[u8]) -> String {
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
            let stderr = text(output);
            assert!(stderr.len() <= TAIL);
            let report = Report {
                code,
                signal,
                stderr,
            };
            let bytes = report.bytes();
            assert_eq!(Report::read(&bytes[..]), Some(report));
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(Report::read(cut), None, "not all of it has come");
        }
        assert_eq!(Report::read(&b"3 x 0\n"[..]), None);
    }
}
