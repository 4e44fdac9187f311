//! Whether this process is a forked child, and what each process has for itself.
//!
//! **Job.** `fork` copies memory, and one thread. The work of the other threads is never
//! done in the child, and the locks that they held at that moment stay locked.
//! So code that relies on threads must know, *before* it takes a lock or waits, that they are not
//! here. [`generation`] tells: it is another number in a child than in its parent.
//!
//! **Protocol.** 1. Code that starts threads calls [`watch`] first: once in a process, it
//! registers a handler that `fork` calls in the child. 2. The handler adds one to the
//! generation. 3. Anything served by threads stores the generation that it was made in; if
//! that differs from the current one, those threads belong to a parent process.
//!
//! A child has one thread when the handler runs, so a relaxed counter is enough: every thread that
//! reads it was started later, or is that one.
//!
//! What a process has once ([`PerProcess`]) is kept in a table with a place for each
//! generation: a child does not look at its parent's place, which may have been
//! half made when the fork came. The table is small, because generations are forks
//! *inside of* forks, not children of one parent. Beyond it, places are used again:
//! what is found there is known to be of another generation by what it remembers itself.
//!
//! A child made by the bare system call, around the C library, is not noticed.
//!
//! - **Y30** What runs in the child before `fork` returns touches plain memory only: no lock, no
//!   allocation.
//!
//! Rejected: asking for the process's id at every call (a system call each); making what a
//! child needs in the handler (it may not allocate there).
//!
//! Tests: `tests/forks/thread.rs`.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering}; // a counter and a flag: no protocol

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between the first process that looked and this one.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// From now on [`generation`] tells a child from its parent.
pub(crate) fn watch() {
    // A second thread may go on before the first has registered the handler.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.load(Ordering::Relaxed) && !WATCHED.swap(true, Ordering::Relaxed) {
        in_child(count);
    }
}

extern "C" fn count() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Has `handler` called in each child, on its one thread, before `fork` returns (Y30).
pub(crate) fn in_child(handler: extern "C" fn()) {
    // SAFETY: Y30: the handler is a function of this program, safe to call, for ever there. If
    // there is no memory to note it, children go unnoticed.
    let _ = unsafe { libc::pthread_atfork(None, None, Some(handler)) };
}

/// How many forks inside forks have places of their own.
const PLACES: usize = 32;

/// What a process has once, and a forked child anew.
pub(crate) struct PerProcess<T>([OnceLock<T>; PLACES]);

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self([const { OnceLock::new() }; PLACES])
    }

    /// This process's, if it is made.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.place().get()
    }

    /// This process's; made now, by one thread, if it is not.
    #[inline]
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let place = self.place();
        match place.get() {
            Some(made) => made,
            None => {
                watch();
                place.get_or_init(make)
            }
        }
    }

    fn place(&self) -> &OnceLock<T> {
        &self.0[generation() as usize % PLACES]
    }
}
