//! Indices with one running user each, for pools whose users keep unsynchronized data for each
//! index: those of `crates/rayon-core`.
//!
//! An index is what a thread is in rayon. There a thread that waits may run other work of the pool
//! on top of what waits, and returns from the wait only when that has ended. Here a waiting thread
//! *lends* its index, and another thread may run work with it. When the wait is over, the first
//! one's code continues only after that work has ended, also if it waits itself. (It lends the
//! index further, and so on: threads that have lent an index form a stack, as frames do in rayon.)
//!
//! So what can deadlock here can deadlock in rayon, too: a task may hold a lock across a wait which
//! the work on top of it needs. Nothing else can: a thread without an index has not begun its
//! work, and holds nothing.
//!
//! A thread takes an index before it looks for work, so at most as many work as the pool is wide.
//! Only waits for a pool's work lend one (`park_replaced` in `worker/wait.rs`), and
//! [`yield_now`](crate::thread::yield_now): in rayon, too, nothing else runs other work.
//!
//! Rejected: that the one which waited continues as soon as the other waits (the first may then
//! block for what the second one does later, which on rayon would have ended).
//!
//! Tests: `crates/rayon-core/tests/indices.rs`; loom models in
//! `tests/trefoil-checks/tests/indices.rs`.

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Condvar, Mutex, MutexGuard};

/// Who has the indices of a pool.
pub(in crate::thread) struct ExclusiveIndices {
    state: Mutex<State>,
    /// Notified when something changes for which a thread waits.
    changed: Condvar,
    /// How many lenders are back and wait: read without the lock before each search.
    back: AtomicUsize,
}

struct State {
    indices: Vec<Index>,
    /// How many threads wait for a change.
    waiting: usize,
}

#[derive(Clone, Default)]
struct Index {
    /// A thread runs with it.
    used: bool,
    /// The threads that have lent it, the latest last: whether that one's wait is over.
    lenders: Vec<bool>,
}

impl Index {
    /// Whether new work may begin with it.
    fn is_free(&self) -> bool {
        !self.used && self.lenders.last() != Some(&true)
    }

    /// New work begins with it, if it may.
    fn try_use(&mut self) -> bool {
        let is_free = self.is_free();
        self.used |= is_free;
        is_free
    }
}

/// How many threads have lent an index: this one and those before it.
pub(in crate::thread) type Depth = usize;

impl ExclusiveIndices {
    pub(in crate::thread) fn new(width: usize) -> Self {
        let indices = vec![Index::default(); width];
        Self {
            state: Mutex::new(State {
                indices,
                waiting: 0,
            }),
            changed: Condvar::new(),
            back: AtomicUsize::new(0),
        }
    }

    /// Takes an index for new work: `preferred`, or another one that nobody has lent, or else one
    /// whose lender still waits. Waits until there is one.
    pub(in crate::thread) fn take(&self, preferred: usize) -> usize {
        let mut found = 0;
        self.wait(&mut |state| {
            let is_free = |&index: &usize| state.indices.get(index).is_some_and(Index::is_free);
            let unlent = |index: &usize| is_free(index) && state.indices[*index].lenders.is_empty();
            let all = || std::iter::once(preferred).chain(0..state.indices.len());
            let Some(index) = all().find(unlent).or_else(|| all().find(is_free)) else {
                return false;
            };
            found = index;
            state.indices[index].used = true;
            true
        });
        found
    }

    /// Takes this index for new work, if that may begin with it now.
    pub(in crate::thread) fn try_take_this(&self, index: usize) -> bool {
        self.state.lock().indices[index].try_use()
    }

    /// Takes this index for new work, when that may begin with it.
    pub(in crate::thread) fn take_this(&self, index: usize) {
        self.wait(&mut |state| state.indices[index].try_use());
    }

    /// The thread has ended its work, and has nothing to do with the index any more.
    pub(in crate::thread) fn give_back(&self, index: usize) {
        let mut state = self.state.lock();
        state.indices[index].used = false;
        #[cfg(loom)]
        if fault::is(Fault::Silent) {
            return;
        }
        self.notify(&state);
    }

    /// The thread is about to wait in the middle of its work.
    pub(in crate::thread) fn lend(&self, index: usize) -> Depth {
        let mut state = self.state.lock();
        let this = &mut state.indices[index];
        this.used = false;
        this.lenders.push(false);
        let depth = this.lenders.len();
        self.notify(&state);
        depth
    }

    /// Its wait is over: waits until what was begun meanwhile with the index has ended.
    pub(in crate::thread) fn take_back(&self, index: usize, depth: Depth) {
        self.state.lock().indices[index].lenders[depth - 1] = true;
        self.back.fetch_add(1, Ordering::Relaxed);
        self.wait(&mut |state| {
            let this = &mut state.indices[index];
            let is_used = this.used;
            #[cfg(loom)]
            let is_used = is_used && !fault::is(Fault::InUse);
            let is_next = !is_used && this.lenders.len() == depth;
            if is_next {
                this.lenders.pop();
                this.used = true;
            }
            is_next
        });
        self.back.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a lender waits for this index. (A hint: the thread that has it asks before each
    /// search.)
    #[inline]
    pub(in crate::thread) fn is_awaited(&self, index: usize) -> bool {
        self.back.load(Ordering::Relaxed) > 0 && !self.may_keep(index)
    }

    #[cold]
    fn may_keep(&self, index: usize) -> bool {
        self.state.lock().indices[index].lenders.last() != Some(&true)
    }

    /// Calls `ready` until it is true, each time after a change.
    fn wait(&self, ready: &mut dyn FnMut(&mut State) -> bool) {
        let mut state = self.state.lock();
        while !ready(&mut state) {
            state.waiting += 1;
            state = self.changed.wait(state);
            state.waiting -= 1;
        }
    }

    fn notify(&self, state: &MutexGuard<'_, State>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

/// An injected fault, which the models must catch.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One whose wait is over continues while another thread has its index.
    InUse,
    /// One that gives an index back notifies nobody.
    Silent,
}

#[cfg(loom)]
pub(in crate::thread) mod fault {
    // A switch of the tests: no protocol.
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::Fault;

    pub(in crate::thread) static INJECTED: AtomicUsize = AtomicUsize::new(usize::MAX);

    pub(super) fn is(fault: Fault) -> bool {
        INJECTED.load(SeqCst) == fault as usize
    }
}
