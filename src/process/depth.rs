//! Bytes to decode, that are not decoded deeper than the stack.
//!
//! **Job.** A value that nests is decoded by a recursion, and how deep that becomes is said by the bytes. Each level reads
//! some of them, so whoever hands them out ([`Bytes`]) sees how deep it is: where the stack ends now. What would need more of it
//! than this thread has is the codec's error: in a worker the item's, in the parent the result's.
//!
//! The first [`SHALLOW`] bytes of stack are not asked for, and of a value of [`SHORT`] bytes, which are no more levels,
//! nothing is.
//!
//! **Rejected.** A number of levels: one level takes tens of bytes or thousands, and stacks differ. A stack that grows
//! (`stacker`): then the destructor of the value overflows another one.
//!
//! Tests: `tests/process/deep.rs`, `sys::stack`.

use postcard::de_flavors::{Flavor, Slice};
use postcard::{Error, Result};

use super::baggage;
use crate::sys::stack;

/// What is no longer is decoded without a look, as most items of a large `map` are.
pub(crate) const SHORT: usize = 8;

/// So much of the stack is there.
const SHALLOW: usize = 16 << 10;

/// And so much where nobody knows.
const UNKNOWN: usize = 32 << 10;

/// Some bytes, for a recursion on this thread.
pub(crate) struct Bytes<'de> {
    bytes: Slice<'de>,
    /// No deeper without asking.
    floor: usize,
    /// And then where.
    top: usize,
}

impl<'de> Bytes<'de> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'de [u8]) -> Self {
        let top = stack::here();
        Self {
            bytes: Slice::new(bytes),
            floor: top.saturating_sub(SHALLOW),
            top,
        }
    }

    #[cold]
    fn ask(&mut self) -> Result<()> {
        self.floor = stack::floor().unwrap_or(self.top.saturating_sub(UNKNOWN));
        if stack::here() >= self.floor {
            return Ok(());
        }
        baggage::said("it nests more deeply than the stack of the thread that decodes it allows");
        Err(Error::SerdeDeCustom)
    }
}

impl<'de> Flavor<'de> for Bytes<'de> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    #[inline(always)]
    fn pop(&mut self) -> Result<u8> {
        if stack::here() < self.floor {
            self.ask()?;
        }
        self.bytes.pop()
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.bytes.size_hint()
    }

    #[inline(always)]
    fn try_take_n(&mut self, count: usize) -> Result<&'de [u8]> {
        self.bytes.try_take_n(count)
    }

    #[inline(always)]
    fn finalize(self) -> Result<&'de [u8]> {
        self.bytes.finalize()
    }
}
