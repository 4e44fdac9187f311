//! Ctrl-C: how it gets from the console's handler to the subscriptions.
//!
//! 1. The first subscription installs a handler. The system calls it on a new thread.
//! 2. The handler counts, and rings the bell of every subscription.
//! 3. While there is a subscription, Ctrl-C has no other effect. The last one removes the handler,
//!    and the handlers before it count again; without any, Ctrl-C ends the program.
//!
//! - **Y47** A handler is a function of this program with the system's calling convention that may
//!   be called on any thread, at any time.
//!
//! Rejected: the crate `ctrlc`, which never removes its handler: after one wait for Ctrl-C, Ctrl-C
//! could not stop the program any more.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::sync::Arc;

use windows_sys::Win32::System::Console::{CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::sys::bell::Bell;

/// The number of Ctrl-C, the same as in C.
pub(crate) const INT: i32 = 2;

/// What the subscriptions and the handler share.
struct Table {
    bells: Vec<Arc<Bell>>,
    count: u64,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    bells: Vec::new(),
    count: 0,
});

/// Is told of each Ctrl-C until it is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    bell: Arc<Bell>,
    seen: AtomicU64,
}

impl Subscription {
    pub(crate) fn new(signum: i32) -> io::Result<Self> {
        if signum != INT {
            let what = format!("signal {signum} cannot be waited for: this system has Ctrl-C only");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let bell = Arc::new(Bell::new()?);
        let mut table = TABLE.lock();
        if table.bells.is_empty() {
            // SAFETY: Y47: the function is `handle`.
            if unsafe { SetConsoleCtrlHandler(Some(handle), 1) } == 0 {
                return Err(io::Error::last_os_error());
            }
        }
        table.bells.push(bell.clone());
        let seen = AtomicU64::new(table.count);
        Ok(Self { bell, seen })
    }

    /// Whether Ctrl-C has come since the last call.
    pub(crate) fn take(&self) -> bool {
        self.bell.silence();
        let count = TABLE.lock().count;
        self.seen.swap(count, Ordering::Relaxed) != count
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = TABLE.lock();
        table.bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
        if table.bells.is_empty() {
            // SAFETY: Y47: the function is the installed one.
            let _ = unsafe { SetConsoleCtrlHandler(Some(handle), 0) };
        }
    }
}

impl AsSocket for Subscription {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.bell.as_socket()
    }
}

/// The handler. It leaves other events to the handler that was installed before.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    if event != CTRL_C_EVENT {
        return 0;
    }
    let mut table = TABLE.lock();
    if table.bells.is_empty() {
        return 0;
    }
    table.count += 1;
    for bell in &table.bells {
        bell.ring();
    }
    1
}
