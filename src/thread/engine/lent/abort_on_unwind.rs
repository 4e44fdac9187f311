//! A stack frame that has lent something to other threads: it must not unwind.
//!
//! **Job.** A caller lends a closure, or what its closures borrow, to threads of the pool, and
//! waits until none of them has it any more. A panic in between, which would be a mistake of this
//! crate, would free the frame while they use it. So it ends the process; the panic hook has shown
//! why. In a forked child there is no other thread that could have it, and such a panic is how a
//! wait for those threads ends there.
//!
//! Tests: below; `tests/forks/thread.rs`.

use std::process::abort;

use crate::sys::fork;

/// Made when something is about to be lent; [ended](Self::end) when it is back.
#[must_use]
pub(in crate::thread) struct AbortOnUnwind {
    /// The process whose threads may have it; see `fork.rs`.
    born: u32,
}

impl AbortOnUnwind {
    #[inline]
    pub(in crate::thread) fn begin() -> Self {
        let born = fork::generation();
        Self { born }
    }

    /// Nothing is lent any more.
    #[inline]
    pub(in crate::thread) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        if self.born == fork::generation() {
            abort();
        }
    }
}

#[cfg(all(test, unix, not(loom), not(miri)))]
pub(in crate::thread) mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::AbortOnUnwind;

    /// Runs `f` in a process of its own, by running this `test` of a `module` again there; returns
    /// its signal.
    pub(in crate::thread) fn alone(module: &str, test: &str, f: impl FnOnce()) -> Option<i32> {
        const ALONE: &str = "A_TEST_ALONE";
        if std::env::var(ALONE).as_deref() == Ok(test) {
            f();
            std::process::exit(0);
        }
        let name = format!("{}::{test}", module.split_once("::").unwrap().1);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(ALONE, test)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().signal()
    }

    #[test]
    fn a_panic_while_something_is_lent_ends_the_process() {
        let test = "a_panic_while_something_is_lent_ends_the_process";
        let signal = alone(module_path!(), test, || {
            let _ = std::panic::catch_unwind(|| {
                let _frame = AbortOnUnwind::begin();
                panic!("a mistake of this crate");
            });
        });
        assert_eq!(signal, Some(libc::SIGABRT));
    }
}
