//! On which processor does a thread wake up?
//!
//! **Job.** A thread that wakes another one for the half of a join goes on working itself. So the other one should wake up on another
//! processor. Kernels see to that where they know which processors are idle; in a virtual machine they may not: a processor
//! that has nothing to do has been given back to the host, and looks as if the host had taken it away. Then the
//! woken thread is put into the queue of its waker's processor, and gets its turn
//! when the waker has finished both halves, or some milliseconds later, when the kernel balances its queues. A region of half a
//! millisecond that begins on a sleeping pool gains nothing from a second thread, on any pool.
//!
//! **Protocol.** 1. Who is about to wake a thread for a half notes in its [`Berth`] on which
//! processor that is. 2. The woken thread looks whether it woke up on that one. If it did, the kernel is *distrusted* for
//! the next [`DISTRUST`] wake-ups. 3. Meanwhile the waker does more than note it: it keeps the sleeper off
//! its own processor, so that the kernel has to choose another. 4. The woken thread takes back the set
//! of processors that it had. A sleeper that was distrusted when it lay down has asked then whether it may do so.
//!
//! So where kernels choose well, this costs two looks at a number; and where they do not, five system
//! calls for a wake-up, about one microsecond of the waker's.
//!
//! What a user may notice: between 3 and 4, the thread has another set of processors; one that is given to it from outside in
//! that moment is lost. And what it takes back is a set of its own: processors that its cgroup is given later are not in it. Who pins the pool's threads, each to one processor, in `on_start`, is not affected.
//!
//! - **P34** A thread is kept off a processor only while its berth says that it sleeps, and has not been kept off one
//!   already; once it is awake, and says so, it has taken back what it had. Both are said under the berth's lock. (It may be
//!   awake and have taken its orders before its waker gets here, and even be asleep again.)
//!
//! Rejected: the woken thread moves itself (it is woken, but has no turn to do so); the waker yields (its own half waits
//! meanwhile, and the kernel may not take the hint); to pin all workers (a kernel that balances well no longer can); to do it for spawned tasks as
//! well (who spawns one often waits for it next, and then its own processor is the nearest one).
//!
//! Tests: `tests/thread/pool.rs` (the sets of processors are what they were); `benches/` (a region after 2 ms of idleness).

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU32, Ordering};
use crate::sys::processor::{self, Allowed, Thread};

/// After it has chosen the waker's processor once, so many wake-ups are not left to the kernel.
const DISTRUST: u32 = 64;

/// What a pool knows of its kernel.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// So many wake-ups are not left to it.
    distrust: AtomicU32,
}

/// Where a thread sleeps.
#[derive(Debug, Default)]
pub(super) struct Berth(Mutex<Sleeper>);

#[derive(Debug, Default)]
struct Sleeper {
    /// Who it is, while it sleeps.
    thread: Option<Thread>,
    /// It may be kept off a processor.
    may_move: bool,
    /// The processor that it was called from, if the kernel was to choose.
    caller: Option<u32>,
    /// It is kept off its caller's processor, and has these to take back.
    before: Option<Allowed>,
}

impl Berth {
    /// The calling thread, whose berth this is, lies down.
    pub(super) fn lie_down(&self, placement: &Placement) {
        let distrusted = placement.distrust.load(Ordering::Relaxed) > 0;
        let may_move = distrusted && processor::may_move();
        let mut sleeper = self.0.lock();
        sleeper.thread = Some(Thread::me());
        sleeper.may_move = may_move;
    }
}

impl Placement {
    /// The calling thread wakes the one of `berth` next, and goes on working then.
    pub(super) fn before_wake(&self, berth: &Berth) {
        let Some(here) = processor::current() else {
            return;
        };
        let mut sleeper = berth.0.lock();
        let (Some(thread), None) = (sleeper.thread, &sleeper.before) else {
            return;
        };
        // A hint: lost updates are harmless.
        let distrust = self.distrust.load(Ordering::Relaxed);
        if distrust > 0 && sleeper.may_move {
            self.distrust.store(distrust - 1, Ordering::Relaxed);
            sleeper.before = thread.keep_off(here);
        } else {
            sleeper.caller = Some(here);
        }
    }

    /// The calling thread, which slept in `berth`, has been woken.
    pub(super) fn after_wake(&self, berth: &Berth) {
        let Sleeper { caller, before, .. } = std::mem::take(&mut *berth.0.lock());
        if let Some(allowed) = before {
            allowed.take_back();
        } else if caller.is_some() && caller == processor::current() {
            self.distrust.store(DISTRUST, Ordering::Relaxed);
        }
    }
}
