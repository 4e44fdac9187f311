//! What most tasks never have: a name, a hook, a token, a span.
//!
//! One pointer in the header, null until it is asked for. The record is made by
//! the first to ask and freed with the cell.
//!
//! - **T14** The pointer goes from null to one boxed [`Side`] once, and stays until the
//!   cell is freed; a reference to it lives no longer than one to the header.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::OnceLock;

use crate::loom::atomic::{AtomicPtr, Ordering};
use crate::task::cancel_token::CancelToken;
use crate::task::unobserved::Hook;

/// The record.
#[derive(Default)]
pub(in crate::task) struct Side {
    pub(in crate::task) name: OnceLock<Box<str>>,
    /// What is told of a failure that was never taken, instead of the process's hook.
    pub(in crate::task) hook: OnceLock<Hook>,
    /// What the task's own code polls to learn that it should end.
    pub(in crate::task) token: OnceLock<CancelToken>,
    /// While a subscriber listens to it, and the work is there.
    #[cfg(feature = "tracing")]
    pub(in crate::task) span: crate::loom::Mutex<Option<tracing::Span>>,
}

/// Where it hangs.
pub(in crate::task) struct SidePointer(AtomicPtr<Side>);

impl SidePointer {
    #[inline]
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub(in crate::task) fn get(&self) -> Option<&Side> {
        // SAFETY: T14: null, or a record that lives as long as `self`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    pub(super) fn get_or_make(&self) -> &Side {
        if let Some(side) = self.get() {
            return side;
        }
        let made = Box::into_raw(Box::<Side>::default());
        match self
            .0
            .compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: T14: it is ours no more, and lives as long as `self`.
            Ok(_) => unsafe { &*made },
            Err(first) => {
                // SAFETY: T14: no other thread has seen the one that we made.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: T14: not null, and lives as long as `self`.
                unsafe { &*first }
            }
        }
    }
}

impl Drop for SidePointer {
    #[inline(always)]
    fn drop(&mut self) {
        let side = self.0.load(Ordering::Relaxed); // the cell is ours alone (T4)
        if !side.is_null() {
            // SAFETY: T14: it is the record, which goes with the cell, and `self` is not used any more.
            unsafe { drop_side(side) };
        }
    }
}

/// # Safety
/// T14: it came from `get_or_make`, and it is not used any more.
#[cold]
#[inline(never)]
unsafe fn drop_side(side: *mut Side) {
    // SAFETY: T14: `get_or_make` got it from `Box::into_raw`, and it is given back once: here.
    drop(unsafe { Box::from_raw(side) });
}
