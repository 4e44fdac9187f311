//! How deeply values may nest, and how much of them may be empty.

use crate::{Error, MOST_EMPTY};

/// Limits how deeply a value may nest, and how many empty parts it may have.
///
/// A value is written and read recursively, and the value or the bytes decide how deeply. Each
/// level asks [`check`](Self::check), so that a value that would need more stack than there is
/// becomes an error.
pub trait Limit {
    /// Whether another level may follow.
    ///
    /// # Errors
    /// If not, an error such as [`Error::TooDeep`], which ends the writing or reading.
    fn check(&mut self) -> Result<(), Error>;

    /// How many parts that take no bytes a value may have that is read, counted as [`MOST_EMPTY`]
    /// is, which is the default. A reader that trusts its bytes may allow more.
    fn most_empty(&self) -> usize {
        MOST_EMPTY
    }

    /// A byte string of the data was read without being asked for as one: serde may keep `bytes`,
    /// and look at them several times, as it does for the variants of an untagged enum. For a
    /// reader that replaces byte strings by something else. Default: nothing.
    fn buffers(&mut self, _bytes: &[u8]) {}
}

/// A [`Limit`] of some bytes of stack, counted from where it was made.
///
/// ```
/// use postcard_described::{Limit, StackLimit};
///
/// let mut limit = StackLimit::bytes(64 << 10);
/// assert!(limit.check().is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StackLimit {
    top: usize,
    most: usize,
}

impl StackLimit {
    /// A limit of `most` bytes of stack below the caller.
    #[must_use]
    #[inline(always)]
    pub fn bytes(most: usize) -> Self {
        Self { top: here(), most }
    }
}

impl Default for StackLimit {
    /// 256 KiB: of the 2 MiB that std gives a thread, or of the 512 KiB of some systems.
    #[inline(always)]
    fn default() -> Self {
        Self::bytes(256 << 10)
    }
}

impl Limit for StackLimit {
    #[inline(always)]
    fn check(&mut self) -> Result<(), Error> {
        // Miri places local variables anywhere: their addresses do not show how much stack is used.
        if self.top.abs_diff(here()) > self.most && !cfg!(miri) {
            Err(Error::TooDeep)
        } else {
            Ok(())
        }
    }
}

/// Roughly where the stack ends now: the address of a local variable.
#[inline(always)]
fn here() -> usize {
    let local = 0u8;
    std::ptr::from_ref(&local).addr()
}
