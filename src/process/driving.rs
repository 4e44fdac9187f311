//! The driver's thread, as whoever has started it holds it.
//!
//! A forked child has the handle and not the thread: there, nothing may be waited for or given back, since
//! the thread's stack, and with it what the handle stands for, is anybody's.
//!
//! Tests: `tests/forks/process.rs`.

use std::io;

use crate::helper::STACK;
use crate::loom::thread::{Builder, JoinHandle};
use crate::sys::fork;

/// A handle to join the driver's thread.
pub(crate) struct Driving {
    thread: Option<JoinHandle<()>>,
    born: u32,
}

impl Driving {
    /// Starts a driver's thread.
    pub(crate) fn start(run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        fork::watch();
        let thread = Builder::new().name("trefoil-proc".to_owned());
        Ok(Self {
            thread: Some(thread.stack_size(STACK).spawn(run)?),
            born: fork::generation(),
        })
    }

    /// Waits for the thread's end, if it is this process's.
    pub(crate) fn join(mut self) {
        if self.born == fork::generation()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        if self.born != fork::generation() {
            std::mem::forget(self.thread.take());
        }
    }
}
