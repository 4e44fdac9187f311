//! Which of many tasks have ended: a queue made of their wakers.
//!
//! **Job.** A waiter for several tasks at once gives each a waker with a
//! number. When a task ends, its number is in the queue; so each completion costs the
//! same, however many tasks there are, and none is polled twice.
//!
//! **Protocol.** 1. [`Ready::waker`] makes a [`Node`] and a waker of
//! it. 2. Waking pushes the node on a Treiber stack, and if
//! the stack was empty wakes the consumer. 3. The consumer drains: takes the
//! whole stack and turns it round, so numbers come in the order of completion.
//! 4. Finding nothing, it leaves its waker and looks again: a push before the look is
//! seen, a push after it finds the waker, since both pass through the lock.
//!
//! - **T12** Nodes lie in chunks that [`Shared`] owns and never moves or frees before it
//!   is dropped; every waker of a node counts as one owner of its `Shared`. So a
//!   node that a waker points to is alive.
//! - **T13** A node is in the stack at most once. Its waker is in the slot of a task, which consumes it, by waking or by dropping it,
//!   and neither clones it nor wakes it by reference; and a number gets another waker only once it has been drained.
//!
//! **Rejected.** One `Arc` per task, as elsewhere: one more allocation and two
//! more counts per task. A locked list of numbers: the completing threads meet.
//!
//! Tests: `checks/tests/models.rs::ready_*`, `tests/task/combinators.rs`.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, RawWakerVTable, Waker};

use super::handle::Task;
use crate::helper::contain;
use crate::loom::atomic::{AtomicPtr, Ordering};
use crate::loom::{Arc, Mutex};

/// The consumer's side.
pub(in crate::task) struct Ready {
    shared: Arc<Shared>,
    nodes: usize,
    /// Numbers of tasks that have ended, oldest first.
    ended: VecDeque<usize>,
}

/// Another way to the consumer's place, for an owner that has the queue behind a lock.
pub(in crate::task) struct Watch(Arc<Shared>);

struct Shared {
    newest: AtomicPtr<Node>,
    consumer: Mutex<Option<Waker>>,
    /// Keeps the nodes; the consumer's.
    chunks: Mutex<Vec<Box<[Node]>>>,
}

struct Node {
    next: AtomicPtr<Node>,
    key: usize,
    shared: *const Shared,
}

// SAFETY: T12, T13: all that a node has for other threads is atomic; the pointer is to a
// `Shared`, which is itself shared between threads.
unsafe impl Send for Node {}
// SAFETY: T12, T13: `&Node` gives its atomics, its key, which does not change, and the pointer, as above.
unsafe impl Sync for Node {}

/// The first chunk has this many nodes, each later one twice as many.
const FIRST: usize = if cfg!(loom) { 2 } else { 16 };

impl Ready {
    /// Room for `capacity` tasks at first.
    pub(in crate::task) fn new(capacity: usize) -> Self {
        let shared = Shared {
            newest: AtomicPtr::new(ptr::null_mut()),
            consumer: Mutex::new(None),
            chunks: Mutex::new(Vec::new()),
        };
        let mut ready = Self {
            shared: Arc::new(shared),
            nodes: 0,
            ended: VecDeque::new(),
        };
        while ready.nodes < capacity {
            ready.grow();
        }
        ready
    }

    /// Waits for all of these, whose numbers are their places.
    pub(in crate::task) fn of<T>(tasks: &mut [Task<T>]) -> Self {
        let mut ready = Self::new(tasks.len());
        for (key, task) in tasks.iter_mut().enumerate() {
            if !task.register(ready.waker(key)) {
                ready.ended.push_back(key);
            }
        }
        ready
    }

    fn grow(&mut self) {
        let shared = Arc::as_ptr(&self.shared);
        let mut chunks = self.shared.chunks.lock();
        let length = FIRST << chunks.len();
        let chunk = (self.nodes..self.nodes + length).map(|key| Node {
            next: AtomicPtr::new(ptr::null_mut()),
            key,
            shared,
        });
        chunks.push(chunk.collect());
        self.nodes += length;
    }

    /// A waker that puts `key` into the queue, for a task's slot. Keys are dense: from 0, growing by
    /// one; one that is used again must have been drained or never woken.
    pub(in crate::task) fn waker(&mut self, key: usize) -> Waker {
        while key >= self.nodes {
            self.grow();
        }
        // Chunk `c` begins at FIRST * (2^c - 1).
        let chunk = (key / FIRST + 1).ilog2() as usize;
        let offset = key - FIRST * ((1 << chunk) - 1);
        let node = &raw const self.shared.chunks.lock()[chunk][offset];
        std::mem::forget(Arc::clone(&self.shared)); // T12: the waker's share
        // SAFETY: T12: the table's functions take a pointer to a live node and own a share.
        unsafe { Waker::new(node.cast(), &NODE) }
    }

    /// The number of the task that has ended first, among those that were not given yet.
    pub(in crate::task) fn next(&mut self) -> Option<usize> {
        if self.ended.is_empty() {
            self.drain();
        }
        self.ended.pop_front()
    }

    /// As [`next`](Self::next); where none has ended, the next one to end wakes the caller.
    pub(in crate::task) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(key) = self.next() {
                return Poll::Ready(key);
            }
            if !self.shared.register(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what has been woken since the last call.
    fn drain(&mut self) {
        let shared = &self.shared;
        if shared.newest.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut newest = NonNull::new(shared.newest.swap(ptr::null_mut(), Ordering::AcqRel));
        while let Some(node) = newest {
            // SAFETY: T12: a node of this queue, which `self` has a share of; nodes are only ever shared.
            let node = unsafe { node.as_ref() };
            newest = NonNull::new(node.next.load(Ordering::Relaxed));
            self.ended.push_front(node.key); // the stack gives the newest first
        }
    }

    pub(in crate::task) fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }
}

impl Watch {
    /// Leaves `waker` to be woken by the next task that ends. True: one has ended already; ask for it again.
    pub(in crate::task) fn register(&self, waker: &Waker) -> bool {
        self.0.register(waker)
    }
}

impl Shared {
    fn register(&self, waker: &Waker) -> bool {
        // Cloning and dropping a waker are calls of the user's code: not under the lock.
        let known = |old: &Waker| old.will_wake(waker);
        if !self.consumer.lock().as_ref().is_some_and(known) {
            let clone = waker.clone();
            let replaced = self.consumer.lock().replace(clone);
            drop(replaced);
        }
        !self.newest.load(Ordering::Acquire).is_null()
    }

    /// # Safety
    /// T12, T13: the node is of this queue, not in the stack, and the caller has a share of it.
    unsafe fn push(&self, node: NonNull<Node>) {
        // SAFETY: T12: the caller's share keeps the queue, and so the node, until this returns.
        let fields = unsafe { node.as_ref() };
        let mut newest = ptr::null_mut();
        loop {
            fields.next.store(newest, Ordering::Relaxed);
            match self.newest.compare_exchange_weak(
                newest,
                node.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(actual) => newest = actual,
            }
        }
        if newest.is_null() {
            let consumer = self.consumer.lock().take();
            if let Some(waker) = consumer {
                contain(|| waker.wake()); // our caller's share must be given back
            }
        }
    }
}

static NODE: RawWakerVTable = RawWakerVTable::new(
    |_| unreachable!("T13: a task's slot is not cloned"),
    wake,
    |_| unreachable!("T13: a task's slot is not woken by reference"),
    drop_waker,
);

/// The node of a waker that is consumed, and the waker's share of its queue.
///
/// # Safety
/// T12: `data` is that of a waker with our table, which is not used again.
unsafe fn consume(data: *const ()) -> (NonNull<Node>, Arc<Shared>) {
    // SAFETY: T12: such data is the address of a node, never null.
    let node = unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Node>()) };
    // SAFETY: T12: the node lies in what the waker has a share of.
    let shared = unsafe { node.as_ref() }.shared;
    // SAFETY: T12: the pointer is `Arc`'s, and `Ready::waker` counted this share for the waker.
    (node, unsafe { Arc::from_raw(shared) })
}

unsafe fn wake(data: *const ()) {
    // SAFETY: T12: the waker is consumed.
    let (node, shared) = unsafe { consume(data) };
    // SAFETY: T12, T13: it is the node's own queue, and this is its only waker.
    unsafe { shared.push(node) };
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: T12: the waker is consumed.
    drop(unsafe { consume(data) });
}
