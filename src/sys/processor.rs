//! Processors: where a thread runs, and keeping it off one of them.
//!
//! **Job.** The thread pool sometimes knows better than the kernel where a thread should wake up
//! (`thread/placement.rs` tells when, and why). This file asks the kernel for it: a sleeping thread is
//! told to keep off one processor ([`Thread::keep_off`]), and after it has woken up elsewhere it takes back
//! the set that it had ([`Allowed::take_back`]).
//!
//! A thread under a filter of system calls (seccomp) neither does this nor has it done to it ([`may_move`]): such filters often
//! forbid this call, and some kill whoever tries. A filter may come at any time, and for some threads only, so each is
//! asked each time. A thread that may use only that one processor, or may not use it anyway, is left alone. Where the kernel refuses,
//! or there is no such call, nothing happens: what hangs on it is time only.
//!
//! Rejected: `pthread_setaffinity_np` (it wants a handle of a live thread; an id that is no longer one
//! is an error here).
//!
//! Rejected: rustix's `sched_getcpu` (it reads the tables of the vDSO itself, which are not there under valgrind).
//!
//! - **Y95** `sched_getcpu` of the C library has no precondition, and touches no memory of ours.
//!
//! - **Y96** `prctl`, as it is called here, reads what it is given, which lives as long as the call, and changes the calling
//!   thread only.
//!
//! Tests: below, and `tests/thread/pool.rs`.
#![allow(unsafe_code)]

/// Where the calling thread runs just now, if that is known.
#[inline]
pub(crate) fn current() -> Option<u32> {
    imp::current()
}

/// The calling thread need fear no filter of system calls: it may be kept off a processor. One system call.
pub(crate) fn may_move() -> bool {
    imp::is_free()
}

/// A thread, as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread(u32);

impl Thread {
    /// The calling one.
    pub(crate) fn me() -> Self {
        Self(imp::me())
    }

    /// The thread, which [may move](may_move), may run on every processor that it may run on now, but for one. `None`:
    /// nothing was changed. Three system calls.
    pub(crate) fn keep_off(self, processor: u32) -> Option<Allowed> {
        imp::keep_off(self.0, processor).map(Allowed)
    }
}

/// The processors that a thread was allowed to run on.
#[derive(Debug)]
pub(crate) struct Allowed(imp::Set);

impl Allowed {
    /// The calling thread may run on all of them, from now on. One system call.
    pub(crate) fn take_back(self) {
        imp::take_back(&self.0);
    }
}

#[cfg(all(target_os = "linux", not(any(loom, miri))))]
mod imp {
    use rustix::thread::{
        CpuSet, Pid, SecureComputingMode, gettid, sched_getaffinity, sched_setaffinity,
        secure_computing_mode,
    };

    pub(super) type Set = CpuSet;

    #[inline]
    pub(super) fn current() -> Option<u32> {
        // SAFETY: Y95: nothing to be kept.
        let here = unsafe { libc::sched_getcpu() };
        u32::try_from(here).ok()
    }

    pub(super) fn me() -> u32 {
        gettid().as_raw_nonzero().get().unsigned_abs()
    }

    /// The calling thread has no filter of system calls.
    pub(super) fn is_free() -> bool {
        matches!(secure_computing_mode(), Ok(SecureComputingMode::Disabled))
    }

    pub(super) fn keep_off(thread: u32, processor: u32) -> Option<Set> {
        if !is_free() {
            return None;
        }
        // Zero would be the caller.
        let thread = Some(Pid::from_raw(i32::try_from(thread).ok()?)?);
        let allowed = sched_getaffinity(thread).ok()?;
        let mut others = allowed;
        let at = usize::try_from(processor).ok()?;
        if at >= CpuSet::MAX_CPU || !allowed.is_set(at) || allowed.count() < 2 {
            return None;
        }
        others.unset(at);
        sched_setaffinity(thread, &others).ok().map(|()| allowed)
    }

    pub(super) fn take_back(allowed: &Set) {
        // Refused if none of them is there any more: then the kernel has already chosen others.
        let _ = sched_setaffinity(None, allowed);
    }
}

#[cfg(any(not(target_os = "linux"), loom, miri))]
mod imp {
    pub(super) type Set = ();

    pub(super) fn current() -> Option<u32> {
        None
    }

    pub(super) fn me() -> u32 {
        0
    }

    pub(super) fn is_free() -> bool {
        false
    }

    pub(super) fn keep_off(_: u32, _: u32) -> Option<Set> {
        None
    }

    pub(super) fn take_back((): &Set) {}
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // threads of a test
mod tests {
    use super::*;
    use crate::loom::thread::Builder;

    #[test]
    fn a_thread_keeps_off_and_comes_back() {
        let mine = || rustix::thread::sched_getaffinity(None).unwrap();
        let all = mine();
        let here = current().unwrap();
        match Thread::me().keep_off(here) {
            Some(before) => {
                assert!(!mine().is_set(here as usize));
                assert_ne!(current(), Some(here));
                before.take_back();
            }
            None => assert!(all.count() == 1 || !imp::is_free(), "it may go elsewhere"),
        }
        assert_eq!(mine(), all);
    }

    /// Sandboxes close behind programs that have begun already.
    #[test]
    fn a_filter_that_comes_later_is_seen() {
        let mine = Thread::me();
        if mine.keep_off(u32::MAX).is_some() || !may_move() {
            return; // there is a filter already
        }
        let (tell, told) = std::sync::mpsc::channel();
        let filtered = Builder::new().spawn(move || {
            let filtered = pretend();
            told.recv().unwrap();
            let moved = (0..64).filter_map(|at| mine.keep_off(at));
            (filtered, may_move(), moved.count())
        });
        tell.send(()).unwrap();
        let (filtered, may, moved) = filtered.unwrap().join().unwrap();
        if filtered {
            assert_eq!((may, moved), (false, 0));
        }
    }

    /// From now on `sched_setaffinity` does nothing on this thread, and says that it has. False: the kernel does not
    /// let us.
    fn pretend() -> bool {
        let op = |code: u32, jf: u8, k: u32| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf,
            k,
        };
        let mut ops = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            op(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                1,
                libc::SYS_sched_setaffinity as u32,
            ),
            op(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO),
            op(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog {
            len: 4,
            filter: ops.as_mut_ptr(),
        };
        // SAFETY: Y96: it is given numbers.
        let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: Y96: it is given a filter, of the length that it says.
        let set = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            )
        };
        (alone, set) == (0, 0)
    }

    #[test]
    fn what_cannot_be_is_left_alone() {
        assert!(Thread::me().keep_off(u32::MAX).is_none());
        assert!(Thread::me().keep_off(4096).is_none());
        assert!(Thread(0).keep_off(0).is_none());
        // No thread has this id: they end below it.
        assert!(Thread(i32::MAX.unsigned_abs()).keep_off(0).is_none());
    }
}
