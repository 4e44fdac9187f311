//! How much deeper a recursion on this thread may go.
//!
//! A nested value is decoded recursively, and the bytes determine the depth. Each level reads some
//! of them, so the reader of the bytes checks here: a value that would need more stack than this
//! thread has is a codec error. The first [`SHALLOW`] bytes of stack are not checked.
//!
//! Tests: `tests/process/deep.rs`, `sys::stack`.

use postcard::{Error, Result};

use super::scope;
use crate::sys::stack;

/// So much of the stack is there.
const SHALLOW: usize = 16 << 10;

/// And so much where the end of the stack is unknown.
const ASSUMED_STACK: usize = 32 << 10;

/// The limit of one recursion.
pub(crate) struct Depth {
    /// No deeper without asking.
    floor: usize,
    /// And then where.
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

    /// One level more is possible.
    #[inline(always)]
    pub(crate) fn check(&mut self) -> Result<()> {
        match stack::here() < self.floor {
            true => self.ask(),
            false => Ok(()),
        }
    }

    #[cold]
    fn ask(&mut self) -> Result<()> {
        self.floor = stack::floor().unwrap_or(self.top.saturating_sub(ASSUMED_STACK));
        if stack::here() >= self.floor {
            return Ok(());
        }
        scope::said("it nests more deeply than the stack of the thread that decodes it allows");
        Err(Error::SerdeDeCustom)
    }
}
