//! In the worker: the task as which an item runs, and how the parent's cancellation reaches it.
//!
//! **Job.** In the parent the item belongs to a task. The worker has a task of its own for it, a
//! promise that nothing waits for. It exists only so that `CancelToken::current()` finds a token on
//! the worker's thread, and so that pools which the item uses pass that token on.
//!
//! **Protocol.**
//! 1. One cell is used for item after item, until an item has asked for its token: then the next
//!    item gets a new cell. An item that does not ask costs nothing.
//! 2. When the rest of a frame is not wanted any more, the parent marks the frame's gate and then
//!    rings the worker's bell. The bell wakes the watcher thread, which looks at the gate of the
//!    frame that runs *now*. If the bell was late, that is another gate, without a mark.
//! 3. A cell that was cancelled is not used after its frame. The watcher decides under the lock and
//!    cancels after releasing it, because cancelling runs user code (wakers). Meanwhile the cell
//!    may have been replaced; it is never one that another item uses.
//!
//! Tests: `tests/process/pool.rs::{a_call_that_sees_its_token_spares_its_worker,
//! every_item_has_a_token_of_its_own, a_pool_inside_a_call_inherits_the_token}`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering}; // no protocol: see `BEGINS_NOTHING`

use crate::loom::Mutex;
use crate::process::pages::gate::Gate;
use crate::process::pages::raw_ledger::Front;
use crate::task::{Completer, Task, panic};

/// No further item begins in this process. It is set under the lock of [`Running`], under which a
/// frame's gate is looked up; otherwise it is read late at worst: no protocol.
static BEGINS_NOTHING: AtomicBool = AtomicBool::new(false);

/// No further item begins in this process. (The caller closes the gate of the frame that runs.)
pub(super) fn begin_nothing() {
    BEGINS_NOTHING.store(true, Ordering::Relaxed);
}

/// Whether no further item begins in this process.
#[inline]
pub(super) fn begins_nothing() -> bool {
    BEGINS_NOTHING.load(Ordering::Relaxed)
}

/// The worker's half of the cell that the running items use.
pub(crate) type ItemTask = Rc<Completer<()>>;

/// The running items' task, for the watcher thread.
struct Running {
    /// The number of the frame's gate.
    gate: usize,
    task: Arc<Task<()>>,
    /// The task was cancelled, or is about to be.
    cancelled: bool,
}

/// The side of the worker's main thread.
pub(crate) struct Calls {
    call: ItemTask,
    running: Arc<Mutex<Running>>,
}

/// The side of the watcher thread, and of an item that ends the use of its process.
#[derive(Clone)]
pub(crate) struct Canceller {
    running: Arc<Mutex<Running>>,
    gates: Front,
}

/// Both sides.
pub(crate) fn calls(gates: Front) -> (Calls, Canceller) {
    let (call, task) = Completer::new();
    let running = Arc::new(Mutex::new(Running {
        gate: 0,
        task: Arc::new(task),
        cancelled: false,
    }));
    let calls = Calls {
        call: Rc::new(call),
        running: running.clone(),
    };
    (calls, Canceller { running, gates })
}

impl Calls {
    /// The cell for the next items of the frame with the number `index`, whose gate is `gate`.
    pub(crate) fn cell(&mut self, index: usize, gate: &Gate) -> ItemTask {
        let mut running = self.running.lock();
        running.gate = index;
        if begins_nothing() {
            gate.close();
        }
        if !running.cancelled && !self.call.has_token() {
            return self.call.clone();
        }
        let (call, task) = Completer::new();
        let before = std::mem::replace(&mut self.call, Rc::new(call));
        let task_before = std::mem::replace(&mut running.task, Arc::new(task));
        // The bell may have rung already, during an earlier item of this frame.
        running.cancelled = gate.is_unwanted();
        if running.cancelled {
            running.task.cancel(); // new: it has no waiter yet
        }
        drop(running);
        if let Some(before) = Rc::into_inner(before) {
            before.complete(Ok(()));
        }
        drop(task_before);
        self.call.clone()
    }
}

/// The seal of a gate that no other process sees: nothing has to be proved to the process itself.
const OWN_SEAL: u64 = 1;

impl Canceller {
    /// In a plain worker: no further item of the frame `sequence` begins. With `cancel`, those that
    /// run are marked as unwanted, and the caller must call [`look`](Self::look) afterwards.
    /// Returns how many items of the frame have begun.
    pub(crate) fn recall(&self, sequence: u64, cancel: bool) -> u64 {
        let gate = self.gates.gate(sequence as usize);
        let end = gate.close();
        if cancel {
            gate.disown();
        }
        end.into()
    }

    /// In a plain worker: opens the gate of a frame of `count` items.
    pub(crate) fn open(&self, sequence: u64, count: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.gates.gate(sequence as usize).open(count, OWN_SEAL);
    }

    /// No further item begins in this process.
    pub(super) fn close_for_good(&self) {
        let running = self.running.lock();
        begin_nothing();
        self.gates.gate(running.gate).close();
    }

    /// After the bell has rung: cancels the items that run, if their frame is unwanted.
    pub(crate) fn look(&self) {
        let task = {
            let mut running = self.running.lock();
            if !self.gates.gate(running.gate).is_unwanted() {
                return;
            }
            running.cancelled = true;
            running.task.clone()
        };
        panic::contain(|| {
            task.cancel();
        });
    }
}
