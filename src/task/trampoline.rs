//! Callbacks of callbacks: at once, and without overflowing the stack.
//!
//! **Job.** A callback that ends a task runs that task's callback, and so on. They are nested, so
//! what one of them starts has happened when that call returns. Two cases would overflow the stack:
//!
//! 1. *A long chain of mapped tasks.* To end the next task is the last thing that a mapped task's
//!    callback does ([`last`]). So the next task's callback is not nested ([`woken`]): it is left
//!    to the [`run`] of the one that has ended, which runs it next. Between the two there is no
//!    code that could see the difference.
//! 2. *Callbacks of the user's that end tasks.* Once they have used half of the stack, the next one
//!    goes to a helper thread, so it runs whatever this thread does meanwhile, even if it waits for
//!    it. One thread's callbacks run one after another there. If the system gives no thread, they
//!    stay until a callback here has returned.
//!
//! (A cancellation that passes from task to task is a loop: `TaskRef::cancel`.)
//!
//! Rejected: a queue that the innermost callback empties before it returns. A callback that waited
//! for what was queued would wait for ever, and there are many ways to wait.
//!
//! Tests: `tests/task/trampoline.rs`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::id::TaskId;
use crate::blocking_threads;
use crate::blocking_threads::contain;
use crate::loom::{Arc, Mutex, per_thread};
use crate::sys::{fork, stack};

/// So many are nested on any stack: they need little.
const FEW: u32 = 16;

/// A callback with all that it needs. Its panics are caught.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// The callbacks of this thread.
struct ThreadCallbacks {
    /// How many run inside one another.
    depth: Cell<u32>,
    /// The task that the innermost callback ends now, as the last thing that it does.
    ending: Cell<Option<TaskId>>,
    /// What the innermost `run` runs next.
    next: RefCell<Option<Callback>>,
    /// What was too deep for this thread.
    deeper: RefCell<Option<Arc<Deeper>>>,
}

per_thread! {
    static HERE: ThreadCallbacks = ThreadCallbacks {
        depth: Cell::new(0),
        ending: Cell::new(None),
        next: RefCell::new(None),
        deeper: RefCell::new(None),
    };
}

/// Runs a callback now.
pub(super) fn run(call: Callback) {
    let mut call = Some(call);
    let _ = HERE.try_with(|here| {
        if let Some(call) = call.take() {
            here.run(call);
        }
    });
    // The thread is ending.
    if let Some(call) = call {
        contain(call);
    }
}

/// Runs the callback of `task`, which has woken it, now or as soon as nothing can see the
/// difference.
pub(super) fn woken(task: TaskId, call: Callback) {
    let mut call = Some(call);
    let _ = HERE.try_with(|here| {
        if here.ending.get() == Some(task) {
            here.ending.set(None);
            *here.next.borrow_mut() = call.take();
        }
    });
    if let Some(call) = call {
        run(call);
    }
}

/// Calls `end`, which ends `task`. The caller is a callback that does nothing afterwards.
pub(super) fn last(task: TaskId, end: impl FnOnce()) {
    /// Also while `end` unwinds: a destructor of the user's.
    struct RestoreEnding(Option<TaskId>);

    impl Drop for RestoreEnding {
        fn drop(&mut self) {
            let _ = HERE.try_with(|here| here.ending.set(self.0));
        }
    }

    let before = HERE.try_with(|here| here.ending.replace(Some(task)));
    let _restore = before.map(RestoreEnding);
    end();
}

impl ThreadCallbacks {
    fn run(&self, call: Callback) {
        let depth = self.depth.get();
        if depth >= FEW && !stack::is_half_left() {
            return self.deeper().push(call);
        }
        self.depth.set(depth + 1);
        // A callback that runs inside another one's last step leaves that one's successor alone.
        let before = self.next.take();
        let mut next = Some(call);
        while let Some(call) = next {
            contain(call);
            next = self.next.take();
            if next.is_none() {
                next = self.left();
            }
        }
        self.next.replace(before);
        self.depth.set(depth);
    }

    fn deeper(&self) -> Arc<Deeper> {
        let mut deeper = self.deeper.borrow_mut();
        match &*deeper {
            Some(own) if own.is_here() => own.clone(),
            _ => {
                let own = Arc::<Deeper>::default();
                *deeper = Some(own.clone());
                own
            }
        }
    }

    /// A callback that was too deep, if no helper thread runs them.
    fn left(&self) -> Option<Callback> {
        match &*self.deeper.borrow() {
            Some(own) if own.is_here() => own.left(),
            _ => None,
        }
    }
}

/// What was too deep for a thread, and is for a helper thread.
struct Deeper {
    queue: Mutex<DeepCallbacks>,
    /// The fork generation of the process that the helper thread is in.
    born: u32,
}

#[derive(Default)]
struct DeepCallbacks {
    calls: VecDeque<Callback>,
    /// Whether a helper thread runs them.
    is_served: bool,
}

impl Default for Deeper {
    fn default() -> Self {
        fork::register_handler();
        Self {
            queue: Mutex::default(),
            born: fork::generation(),
        }
    }
}

impl Deeper {
    /// Whether it is this process's. What a parent process has given to its helper thread runs
    /// there.
    fn is_here(&self) -> bool {
        self.born == fork::generation()
    }

    fn push(self: Arc<Self>, call: Callback) {
        let mut queue = self.queue.lock();
        queue.calls.push_back(call);
        if !queue.is_served {
            let deeper = self.clone();
            queue.is_served = blocking_threads::start(move || deeper.serve()).is_ok();
        }
    }

    fn serve(&self) {
        while let Some(call) = self.next() {
            run(call);
        }
    }

    fn next(&self) -> Option<Callback> {
        let mut queue = self.queue.lock();
        let next = queue.calls.pop_front();
        queue.is_served = next.is_some();
        next
    }

    fn left(&self) -> Option<Callback> {
        let mut queue = self.queue.lock();
        if queue.is_served {
            None
        } else {
            queue.calls.pop_front()
        }
    }
}
