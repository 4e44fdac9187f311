//! In the worker: the task that a running item is there, and how it hears of the end.
//!
//! **Job.** In the parent the item belongs to a task; the worker has a cell of its own for it, a
//! promise that is never waited for. Its one purpose is to be what runs on the worker's thread,
//! so that `CancelToken::current()` finds a token there, and so that a pool which the
//! item makes hands it on.
//!
//! **Protocol.**
//! 1. One cell serves item after item, until an item has asked for its token: then the next gets a
//!    new cell. An item that asks for nothing costs nothing.
//! 2. The parent, when what is left of a frame is not wanted any more, marks the frame's gate and
//!    then rings the worker's bell. The watcher thread hears it, and looks at the gate of the frame
//!    that runs *now*: a late bell finds another gate, without a mark.
//! 3. A cell that was cancelled is done with at the end of its frame. The watcher decides under the
//!    lock and cancels outside it, since that runs user code (wakers); the cell that it then
//!    cancels may be one that serves no more, never one that serves another item.
//!
//! Tests: `tests/process/pool.rs` (tokens).

use std::rc::Rc;
use std::sync::Arc;

use crate::loom::Mutex;
use crate::process::sched::sent_frame::Gated;
use crate::sys::gate::Gate;
use crate::task::{Completer, Task, panic};

/// The cell of the items that run now.
pub(crate) type Call = Rc<Completer<()>>;

/// What the watcher sees.
#[derive(Debug)]
struct Running {
    /// The frame's gate.
    gate: usize,
    task: Arc<Task<()>>,
    /// The task was, or is just being, cancelled.
    cancelled: bool,
}

/// The worker's thread's side.
#[derive(Debug)]
pub(crate) struct Calls {
    call: Call,
    running: Arc<Mutex<Running>>,
}

/// The watcher's side.
pub(crate) struct Canceller {
    running: Arc<Mutex<Running>>,
    gates: Arc<dyn Gated>,
}

/// Both sides.
pub(crate) fn calls(gates: Arc<dyn Gated>) -> (Calls, Canceller) {
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
    /// The cell of the next items of the frame with the number `index`, whose gate is `gate`.
    pub(crate) fn cell(&mut self, index: usize, gate: &Gate) -> Call {
        let mut running = self.running.lock();
        running.gate = index;
        if !running.cancelled && !self.call.has_token() {
            return self.call.clone();
        }
        let (call, task) = Completer::new();
        let before = std::mem::replace(&mut self.call, Rc::new(call));
        let task_before = std::mem::replace(&mut running.task, Arc::new(task));
        // The bell may have been heard already, for an item of this frame.
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

impl Canceller {
    /// Of a plain worker: nothing more of the frame `sequence` begins; `cancel`: and what runs of
    /// it is unwanted, which the caller has [looked](Self::look) at then. How many of its items
    /// have begun.
    pub(crate) fn recall(&self, sequence: u64, cancel: bool) -> u64 {
        let gate = self.gates.gate(sequence as usize);
        let end = gate.recall(0);
        if cancel {
            gate.disown();
        }
        end.into()
    }

    /// Of a plain worker: a frame of `count` items comes.
    pub(crate) fn open(&self, sequence: u64, count: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.gates.gate(sequence as usize).open(count);
    }

    /// The bell was rung: cancels what runs, if it is meant.
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
