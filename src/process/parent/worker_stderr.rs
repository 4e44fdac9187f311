//! The workers' standard error, on its way to the parent's; its end is kept for the error of a
//! death.
//!
//! It goes through the parent so that the last output of a worker that died can be part of the
//! error. The driver does not wait for the reader of the parent's standard error: another thread
//! writes (`standard_error`). While too much is queued the driver stops reading from the workers,
//! which then block as they would without a pool; what a dead one has left is queued or dropped.
//! The end of the pool gives a slow reader a second ([`standard_error::LAST`]).
//!
//! **Which item wrote it.** Output of a finished item must not be blamed on the next. Writes cannot
//! be counted directly, since C libraries and child processes write, too. But the kernel says how
//! many bytes are in a pipe. So a worker, between two items, adds that number to what its parent
//! has read, and stores the sum in the ledger (`Ledger::marked`); after its death the output
//! before that mark is left out. It asks the kernel only after items that took long enough to have
//! written something. (If the first thousand of a frame took less than a microsecond each, the
//! others share one mark.) The ledger says when the parent is reading; then the worker asks again.
//! A plain worker's ledger is not shared with its parent. There the parent computes the same sum
//! each time that the worker has nothing to do ([`WorkerStderr::is_idle`]), so that only output of
//! items of one frame may be mixed.
//!
//! Tests: below; `tests/process/pool.rs::last_words_are_those_of_the_item`.

use super::peer::Mark;
use super::worker_stdout::OutputPipe;
use crate::blocking_threads::standard_error;
use crate::process::limits::STDERR_TAIL;
use crate::sys::pipe_end::PipeEnd;

/// The beginning of `std`'s message that there is no more memory, before it aborts.
const RAN_OUT: &[u8] = b"memory allocation of ";

/// The end of this output as text of at most [`STDERR_TAIL`] bytes. (In place of an invalid byte
/// there are three: U+FFFD.)
pub(crate) fn text(output: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(output).into_owned();
    let mut start = text.len().saturating_sub(STDERR_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.drain(..start);
    text
}

/// Whether this output says that the allocator had no more memory.
pub(crate) fn says_out_of_memory(text: &str) -> bool {
    text.as_bytes()
        .windows(RAN_OUT.len())
        .any(|window| window == RAN_OUT)
}

/// One worker's standard error.
#[derive(Debug)]
pub(crate) struct WorkerStderr {
    pub(crate) pipe: OutputPipe,
    mark: Mark,
    /// How many bytes have been read.
    count: u64,
    tail: Vec<u8>,
    /// The position of `std`'s message that there is no more memory; a long backtrace may follow
    /// it.
    ran_out: Option<u64>,
}

impl WorkerStderr {
    pub(super) fn new(pipe: Option<PipeEnd>, mark: Mark) -> Self {
        Self {
            pipe: OutputPipe::new(pipe),
            mark,
            count: 0,
            tail: Vec::new(),
            ran_out: None,
        }
    }

    /// Reads available output, at most one buffer. False: there was none.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 8192];
        self.mark.reads(self.count, true);
        let count = self.pipe.read(&mut buffer);
        self.count += count as u64;
        self.mark.reads(self.count, false);
        let bytes = &buffer[..count];
        let seam = self.tail.len().saturating_sub(RAN_OUT.len());
        self.tail.extend_from_slice(bytes);
        let windows = self.tail[seam..].windows(RAN_OUT.len()).rev();
        let behind = windows.zip(0..).find(|(window, _)| *window == RAN_OUT);
        let found = behind.map(|(_, behind)| self.count - RAN_OUT.len() as u64 - behind);
        self.ran_out = found.or(self.ran_out);
        let excess = self.tail.len().saturating_sub(STDERR_TAIL);
        self.tail.drain(..excess);
        if count > 0 {
            standard_error::push(bytes);
        }
        count > 0
    }

    /// The worker is idle: its output so far belongs to no later item.
    pub(crate) fn is_idle(&mut self) {
        let (count, pipe) = (self.count, &self.pipe);
        self.mark.is_idle(|| count + pipe.waiting());
    }

    /// The worker is gone: returns the last output of the items that it ran, and whether they ran
    /// out of memory.
    pub(crate) fn last(&mut self) -> (String, bool) {
        // A pipe holds 64 KiB; children of the worker may go on writing for ever.
        for _ in 0..32 {
            if !self.read() {
                break;
            }
        }
        let mark = self.mark.get();
        let own = usize::try_from(self.count.saturating_sub(mark)).unwrap_or(usize::MAX);
        let others = self.tail.len().saturating_sub(own);
        let tail = text(&self.tail[others..]);
        (tail, self.ran_out.is_some_and(|at| at >= mark))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_end_is_short_whatever_the_bytes_are() {
        assert_eq!(text(b"a\xffb"), "a\u{fffd}b");
        let text_of = |bytes: &[u8]| {
            let text = text(bytes);
            assert!(text.len() <= STDERR_TAIL, "{}", text.len());
            text
        };
        assert_eq!(
            text_of(&[0xff; STDERR_TAIL]),
            "\u{fffd}".repeat(STDERR_TAIL / 3)
        );
        // It begins in the middle of a character.
        let cut = "\u{1f340}".repeat(STDERR_TAIL / 4) + "x";
        assert!(text_of(&cut.as_bytes()[1..]).ends_with("\u{1f340}x"));
        assert_eq!(text_of(&[b'x'; STDERR_TAIL]).len(), STDERR_TAIL);
    }
}
