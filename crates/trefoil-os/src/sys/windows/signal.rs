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
//!
//! Tests: its own test, `tests/process/host.rs::ctrl_c_reaches_the_program_and_not_its_workers`,
//! under Wine.
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
pub const INT: i32 = 2;

/// What the subscriptions and the handler share.
struct Table {
    bells: Vec<Arc<Bell>>,
    count: u64,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    bells: Vec::new(),
    count: 0,
});

/// Held by the thread that installs or removes the handler. The system holds a lock of its own
/// while it does that, and while it calls the handler, which takes `TABLE`: so `TABLE` is free
/// meanwhile.
static CHANGES: Mutex<()> = Mutex::new(());

/// Not on this system, where Ctrl-C is the only one.
pub fn raise_on(signum: i32, _: &'static AtomicU64, _: u64) -> io::Result<()> {
    let what = format!("signal {signum} raises no flag on this system");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Notices each Ctrl-C until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    bell: Arc<Bell>,
    seen: AtomicU64,
}

impl Subscription {
    /// Subscribes to the signal with this number.
    pub fn new(signum: i32) -> io::Result<Self> {
        if signum != INT {
            let what = format!("signal {signum} cannot be waited for: this system has Ctrl-C only");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let bell = Arc::new(Bell::new()?);
        let _alone = CHANGES.lock();
        if TABLE.lock().bells.is_empty() {
            // SAFETY: Y47: the function is `handle`.
            if unsafe { SetConsoleCtrlHandler(Some(handle), 1) } == 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let mut table = TABLE.lock();
        table.bells.push(bell.clone());
        let seen = AtomicU64::new(table.count);
        Ok(Self { bell, seen })
    }

    /// Whether Ctrl-C has come since the last call.
    pub fn has_come(&self) -> bool {
        self.bell.silence();
        let count = TABLE.lock().count;
        self.seen.swap(count, Ordering::Relaxed) != count
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _alone = CHANGES.lock();
        let mut table = TABLE.lock();
        table.bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
        let last = table.bells.is_empty();
        drop(table);
        if last {
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

#[cfg(all(test, not(loom)))]
#[allow(clippy::disallowed_methods)] // a process and a thread of the test's
mod tests {
    use std::os::windows::process::CommandExt;
    use std::process::Command;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use windows_sys::Win32::System::Console::GenerateConsoleCtrlEvent;
    use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

    use super::*;

    static LAST: Mutex<Option<(Subscription, Sender<()>)>> = Mutex::new(None);

    /// Called before `handle`, as the system calls all of them: with its lock.
    unsafe extern "system" fn first(_event: u32) -> BOOL {
        let (subscription, done) = LAST.lock().take().unwrap();
        let goes = std::thread::spawn(move || drop(subscription));
        while !TABLE.lock().bells.is_empty() {
            std::thread::yield_now();
        }
        drop(goes); // it waits for the system's lock, to take the handler away
        done.send(()).unwrap();
        0
    }

    /// Called after `handle`: this process goes on.
    unsafe extern "system" fn last(_event: u32) -> BOOL {
        1
    }

    fn installs(handler: unsafe extern "system" fn(u32) -> BOOL) {
        // SAFETY: Y47.
        assert_ne!(unsafe { SetConsoleCtrlHandler(Some(handler), 1) }, 0);
    }

    #[test]
    fn the_last_subscription_may_go_while_ctrl_c_comes() {
        const CHILD: &str = "OWN_CONSOLE";
        if std::env::var_os(CHILD).is_none() {
            let (_, module) = module_path!().split_once("::").unwrap();
            let own = format!("{module}::the_last_subscription_may_go_while_ctrl_c_comes");
            let mut child = Command::new(std::env::current_exe().unwrap());
            let child = child.args(["--exact", &own]).env(CHILD, "");
            let output = child.creation_flags(CREATE_NO_WINDOW).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            return;
        }
        installs(last);
        let (done, is_done) = channel();
        *LAST.lock() = Some((Subscription::new(INT).unwrap(), done));
        installs(first);
        // SAFETY: Y47: no function, and a number: it may have been started where Ctrl-C is ignored.
        assert_ne!(unsafe { SetConsoleCtrlHandler(None, 0) }, 0);
        // SAFETY: Y47: numbers alone.
        assert_ne!(unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) }, 0);
        is_done.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}
