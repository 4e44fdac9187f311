//! Reading, writing and seeking in a file off the loop, one call after the other.
//!
//! A call runs on another thread, so it has buffers of its own, and there is at most one at a
//! time: a file has one position.
//!
//! 1. A read is begun with a buffer as long as the caller's (within [`MOST`]). What it gives stays
//!    here until it is taken: so a read whose future is dropped loses nothing, and the next
//!    read begins with it.
//! 2. A write copies its bytes, of however many slices, begins, and is accepted at once. Its error is the result of the
//!    next write, flush or seek. The inherent methods of [`File`](super::File) flush, so that
//!    they tell their own.
//! 3. Whatever begins waits for what runs. Before a write, or a seek from the current position,
//!    the position is put back by what was read and not taken.
//!
//! Nothing is read ahead of what was asked for: others may share the position (a child that
//! has inherited it).
//!
//! Checked by `tests/event_loop/`.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::offload;
use crate::task::Task;

/// How many bytes are moved by one call, at most.
const MOST: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Cursor {
    file: Arc<File>,
    /// A call that has the bytes while it runs, and gives them back with its result.
    running: Option<(Call, Task<(Vec<u8>, io::Result<u64>)>)>,
    /// Read and not yet taken, from `taken` on.
    bytes: Vec<u8>,
    taken: usize,
    /// Of a write that was accepted.
    failed: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Read,
    Write,
    Seek(SeekFrom),
}

impl Cursor {
    pub(crate) fn new(file: Arc<File>) -> Self {
        Self {
            file,
            running: None,
            bytes: Vec::new(),
            taken: 0,
            failed: None,
        }
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(crate) fn into_file(self) -> Arc<File> {
        self.file
    }

    fn begin(
        &mut self,
        call: Call,
        f: impl FnOnce(&File, &mut Vec<u8>) -> io::Result<u64> + Send + 'static,
    ) {
        let (file, mut bytes) = (self.file.clone(), std::mem::take(&mut self.bytes));
        self.taken = 0;
        let task = offload::run(move || {
            let result = f(&file, &mut bytes);
            (bytes, result)
        });
        self.running = Some((call, task));
    }

    /// Waits for the call that runs. The result of a read or a seek.
    fn poll_settle(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(Call, io::Result<u64>)>>> {
        let Some((call, running)) = &mut self.running else {
            return Poll::Ready(Ok(None));
        };
        let call = *call;
        let done = ready!(Pin::new(running).poll(cx)).map_err(offload::in_words);
        self.running = None;
        let (bytes, result) = done?;
        self.bytes = bytes;
        if call == Call::Write {
            self.bytes.clear();
            self.failed = self.failed.take().or(result.err());
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some((call, result))))
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let ended = match ready!(self.poll_settle(cx))? {
                Some((Call::Read, result)) => result.map(|_| true)?,
                _ => false,
            };
            let count = self.left().min(buffer.len());
            if count > 0 {
                let end = self.taken + count;
                buffer[..count].copy_from_slice(&self.bytes[self.taken..end]);
                self.taken = end;
                return Poll::Ready(Ok(count));
            }
            if ended {
                return Poll::Ready(Ok(0));
            }
            let wanted = buffer.len().min(MOST);
            self.begin(Call::Read, move |mut file, bytes| {
                bytes.resize(wanted, 0);
                let result = loop {
                    match file.read(bytes) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        result => break result,
                    }
                };
                bytes.truncate(*result.as_ref().unwrap_or(&0));
                result.map(|count| count as u64)
            });
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let back = self.give_back();
        for slice in slices {
            let room = MOST - self.bytes.len();
            self.bytes
                .extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let count = self.bytes.len();
        self.begin(Call::Write, move |mut file, bytes| {
            if back != 0 {
                file.seek(SeekFrom::Current(-back))?;
            }
            file.write_all(bytes).map(|()| 0)
        });
        Poll::Ready(Ok(count))
    }

    /// Forgets what was read and not taken; gives its length.
    fn give_back(&mut self) -> i64 {
        let left = self.left() as i64;
        self.bytes.clear();
        self.taken = 0;
        left
    }

    /// Until what was accepted is written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The error of a read whose future was dropped is not reported: the next read meets it.
        ready!(self.poll_settle(cx))?;
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }

    pub(crate) fn poll_seek(
        &mut self,
        cx: &mut Context<'_>,
        position: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        loop {
            // A seek to somewhere else was given up by its caller.
            if let Some((call, result)) = ready!(self.poll_settle(cx))?
                && call == Call::Seek(position)
            {
                return Poll::Ready(result);
            }
            ready!(self.poll_flush(cx))?;
            let back = self.give_back();
            let target = match position {
                SeekFrom::Current(by) => SeekFrom::Current(by.saturating_sub(back)),
                absolute => absolute,
            };
            self.begin(Call::Seek(position), move |mut file, _| file.seek(target));
        }
    }
}
