//! Reading into memory that was not written yet.
//!
//! hyper and tokio give their readers a buffer whose bytes have no value so far. Filling it with
//! zeros first, so that it can be read into as other buffers are, costs as much as a copy
//! of what could have arrived. The system writes into such memory as into any other, and
//! rustix hands back the part that has been written, as bytes.
//!
//! - **I1** `poll_read_uninit` gives a count only after the system has written that many
//!   bytes to the front of the buffer.
//!
//! One system call each, the same as in `bytes`.
//!
//! Checked by `adapters/tests/tokio_io.rs`, `adapters/tests/http1.rs`.

use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use super::bytes::{Stream, read_of, receive};
use crate::event_loop::Direction;

/// A stream that can be read so.
pub(crate) trait ReadUninit {
    /// As `poll_read` (I1).
    fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>>;
}

impl<S: Stream> ReadUninit for S {
    #[inline]
    fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        if wanted == 0 {
            return Poll::Ready(self.source().nothing());
        }
        self.source().poll(cx, Direction::Read, |io| {
            let (filled, _) = receive(io, &mut *buffer)?;
            Ok(read_of::<S::Io>(wanted, filled.len()))
        })
    }
}
