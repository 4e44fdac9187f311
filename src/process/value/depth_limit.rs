//! Limits the depth of a recursive encoding or decoding by the stack that is left.
//!
//! A nested value is encoded and decoded recursively, and the value or the bytes determine the
//! depth. Each level writes a tag, or reads some bytes, and this makes the check: a value that
//! would need more stack than this thread has is a codec error. The first [`SHALLOW`] bytes of
//! stack are not checked.
//!
//! Tests: `tests/process/deep.rs`, `sys::stack`.

use std::cell::Cell;

use postcard::{Error, Result};
use postcard_described::Limit;

use super::reason;
use super::scope;
use crate::loom::per_thread;
use crate::sys::stack;

/// How many bytes of stack are assumed to be left, without a check.
const SHALLOW: usize = 16 << 10;

/// How many bytes may be used where the end of the stack is unknown.
const ASSUMED_STACK: usize = 32 << 10;

per_thread! {
    static WAS_REACHED: Cell<bool> = Cell::new(false);
}

/// Whether a recursion on this thread has reached its limit since this was asked last.
pub(crate) fn was_reached() -> bool {
    WAS_REACHED.try_with(Cell::take).unwrap_or(false)
}

/// The limit of one recursion.
pub(crate) struct Depth {
    /// Below this address the end of the stack must be checked.
    floor: usize,
    /// Where the recursion began.
    top: usize,
}

impl Depth {
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let top = stack::here();
        Self {
            floor: top.saturating_sub(SHALLOW),
            top,
        }
    }

    /// An error if there is not enough stack for another level.
    #[inline(always)]
    pub(crate) fn check(&mut self) -> Result<()> {
        if stack::here() < self.floor {
            self.ask()
        } else {
            Ok(())
        }
    }

    #[cold]
    fn ask(&mut self) -> Result<()> {
        self.floor = stack::floor().unwrap_or(self.top.saturating_sub(ASSUMED_STACK));
        if stack::here() >= self.floor {
            return Ok(());
        }
        let _ = WAS_REACHED.try_with(|was| was.set(true));
        reason::set("it nests more deeply than the stack of this thread allows");
        Err(Error::SerdeDeCustom)
    }
}

impl Limit for Depth {
    #[inline(always)]
    fn check(&mut self) -> std::result::Result<(), postcard_described::Error> {
        Ok(Self::check(self)?)
    }

    fn buffers(&mut self, bytes: &[u8]) {
        scope::keep(bytes);
    }
}
