//! A fence between two processes for which only one of them pays.
//!
//! **Job.** Two sides each write a word and then look at the other's; at least one must see what the other has
//! written. A full fence in the middle does that, on either side, and costs some twenty cycles. Where one side
//! does it for every item and the other once in a while, the first has a fence for the compiler only
//! ([`light`]), and the second asks the kernel to fence all processors on which the first may be running
//! ([`heavy`]): a few microseconds.
//!
//! **Protocol.** 1. The side with the light fence registers its process ([`register`]) and says so to the other.
//! 2. The other side asks whether the kernel has such fences ([`reaches`]). 3. Only if both is so the light fence
//! counts. 4. A heavy fence may still be refused, by a filter for system calls (seccomp) that somebody has put up
//! since then: then nothing may be concluded from what was read, and nobody begins to rely on heavy fences any more.
//!
//! A thread under a filter does not ask at all, neither for a fence nor to be registered: some filters kill whoever tries.
//!
//! Linux: `membarrier` in its global expedited form, since 4.16. (The private form reaches the threads of one process.)
//!
//! Tests: `sys::gate`; `checks/tests/process_models.rs` (both as full fences, which loom knows).

#[cfg(not(loom))]
mod kernel {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering, compiler_fence}; // a flag: no protocol

    use rustix::thread::{
        MembarrierCommand, MembarrierQuery, SecureComputingMode, membarrier, membarrier_query,
        secure_computing_mode,
    };

    static REFUSED: AtomicBool = AtomicBool::new(false);

    /// The calling thread has no filter of system calls.
    fn is_free() -> bool {
        matches!(secure_computing_mode(), Ok(SecureComputingMode::Disabled))
    }

    /// Heavy fences of other processes reach this one from now on. Before it has a second thread: the kernel waits
    /// for all processors otherwise.
    pub(crate) fn register() -> bool {
        is_free() && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
    }

    /// This process can have heavy fences.
    pub(crate) fn reaches() -> bool {
        static REACHES: OnceLock<bool> = OnceLock::new();
        let has = || membarrier_query().contains(MembarrierQuery::GLOBAL_EXPEDITED);
        *REACHES.get_or_init(|| is_free() && has()) && !REFUSED.load(Ordering::Relaxed)
    }

    /// For the side that has registered: between what it writes and what it looks at.
    #[inline(always)]
    pub(crate) fn light() {
        compiler_fence(Ordering::SeqCst);
    }

    /// For the other side. False: there was none.
    #[must_use]
    pub(crate) fn heavy() -> bool {
        #[cfg(test)]
        if super::is_refused() {
            return false;
        }
        let fenced = is_free() && membarrier(MembarrierCommand::GlobalExpedited).is_ok();
        if !fenced {
            REFUSED.store(true, Ordering::Relaxed);
        }
        fenced
    }
}

#[cfg(loom)]
mod kernel {
    use crate::loom::atomic::{Ordering, fence};
    use crate::sys::gate::model::{Broken, is};

    pub(crate) fn register() -> bool {
        true
    }

    pub(crate) fn reaches() -> bool {
        true
    }

    pub(crate) fn light() {
        if !is(Broken::NoFences) {
            fence(Ordering::SeqCst);
        }
    }

    #[must_use]
    pub(crate) fn heavy() -> bool {
        light();
        true
    }
}

pub(crate) use kernel::{heavy, light, reaches, register};

#[cfg(all(test, not(loom)))]
std::thread_local! {
    static REFUSES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Heavy fences are refused on this thread, or no more.
#[cfg(all(test, not(loom)))]
pub(crate) fn refuse(refuses: bool) {
    REFUSES.with(|cell| cell.set(refuses));
}

#[cfg(all(test, not(loom)))]
fn is_refused() -> bool {
    REFUSES.with(std::cell::Cell::get)
}
