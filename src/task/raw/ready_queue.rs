//! Which of many tasks have ended: a queue that their wakers fill.
//!
//! **Job.** Code that waits for several tasks at once gives each a waker with a number. When a task
//! ends, its waker puts the number into the queue. So each completion costs the same, however many
//! tasks there are, and no task is polled twice.
//!
//! **Protocol.** 1. [`ReadyQueue::waker`] makes a waker of the [`ReadyNode`] with that number. 2.
//! Waking puts the number into the queue and takes the consumer's waker out, under one lock, and
//! then wakes it. 3. The consumer takes all numbers at once. 4. Finding none, it leaves its waker,
//! under the same lock, and looks again: a number that came before is seen, one that comes after
//! finds the waker.
//!
//! - **T12** Nodes are in chunks that [`ReadyShared`] owns and never moves or frees before it is
//!   dropped; every waker of a node counts as one owner of its queue. So a node that a waker points
//!   to is alive.
//! - **T13** The waker of a node is in the slot of a task. The task consumes it, by waking or
//!   dropping it, and neither clones it nor wakes it by reference.
//!
//! **Rejected.** One `Arc` per task, as elsewhere: one more allocation and two
//! more counts per task. A lock-free stack of the nodes
//! (`docs/internals/decisions/group-endings.md`).
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{ready_two_completions,
//! ready_consumer_dropped_while_completing, ready_failure_cancels_the_rest}`,
//! `tests/task/combinators.rs`.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, RawWakerVTable, Waker};

use super::consumer::Task;
use crate::blocking_threads;
use crate::loom::{Arc, Mutex};

/// The consumer's side.
#[derive(Default)]
pub(in crate::task) struct ReadyQueue {
    shared: Arc<ReadyShared>,
    /// The numbers that were taken out of the shared queue, oldest first.
    ended: VecDeque<usize>,
}

/// What the wakers and the consumer share.
#[derive(Default)]
pub(in crate::task) struct ReadyShared {
    woken: Mutex<Woken>,
    chunks: Mutex<Vec<Box<[ReadyNode]>>>,
}

#[derive(Default)]
struct Woken {
    /// The numbers of the tasks that have ended, oldest first.
    ended: VecDeque<usize>,
    consumer: Option<Waker>,
}

struct ReadyNode {
    number: usize,
    shared: *const ReadyShared,
}

// SAFETY: T12: a node has a number, which does not change, and a pointer to what is itself shared
// between threads.
unsafe impl Send for ReadyNode {}

/// How many nodes are made at once.
const CHUNK: usize = if cfg!(loom) { 2 } else { 32 };

impl ReadyQueue {
    /// A queue for all of these tasks, whose numbers are their indices.
    pub(in crate::task) fn of<T>(tasks: &mut [Task<T>]) -> Self {
        let mut ready = Self::default();
        for (number, task) in tasks.iter_mut().enumerate() {
            if !task.register(ready.waker(number)) {
                ready.ended.push_back(number);
            }
        }
        ready
    }

    /// A waker that puts `number` into the queue, for a task's slot. Numbers are dense, from 0 on.
    /// A number is used again only after it was taken out of the queue, or its waker was dropped.
    pub(in crate::task) fn waker(&self, number: usize) -> Waker {
        let mut chunks = self.shared.chunks.lock();
        while number >= chunks.len() * CHUNK {
            let first = chunks.len() * CHUNK;
            let shared = Arc::as_ptr(&self.shared);
            let mut nodes = Vec::with_capacity(CHUNK);
            for number in first..first + CHUNK {
                nodes.push(ReadyNode { number, shared });
            }
            chunks.push(nodes.into_boxed_slice());
        }
        let node = &raw const chunks[number / CHUNK][number % CHUNK];
        mem::forget(Arc::clone(&self.shared)); // T12: this is the waker's share
        // SAFETY: T12: the table's functions take a pointer to a live node and own a share.
        unsafe { Waker::new(node.cast(), &NODE) }
    }

    /// The number of the task that has ended first, among those that were not returned yet.
    pub(in crate::task) fn next(&mut self) -> Option<usize> {
        if self.ended.is_empty() {
            mem::swap(&mut self.ended, &mut self.shared.woken.lock().ended);
        }
        self.ended.pop_front()
    }

    /// As [`next`](Self::next); if none has ended, the next one to end wakes the caller.
    pub(in crate::task) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(number) = self.next() {
                return Poll::Ready(number);
            }
            if !self.shared.register(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// For an owner that keeps this queue behind a lock, and registers its waker without that lock.
    pub(in crate::task) fn shared(&self) -> Arc<ReadyShared> {
        self.shared.clone()
    }
}

impl ReadyShared {
    /// Registers `waker` to be woken by the next task that ends. Returns true if one has ended
    /// already; then the caller must check again.
    pub(in crate::task) fn register(&self, waker: &Waker) -> bool {
        // Cloning and dropping a waker run user code, so this is not done under the lock, and
        // before the last check.
        let waker = waker.clone();
        let replaced = self.woken.lock().consumer.replace(waker);
        drop(replaced);
        !self.woken.lock().ended.is_empty()
    }

    /// Notes that the task with this number has ended, or that the future with it was woken.
    pub(in crate::task) fn push(&self, number: usize) {
        let mut woken = self.woken.lock();
        woken.ended.push_back(number);
        let consumer = woken.consumer.take();
        drop(woken);
        blocking_threads::wake(consumer); // a panic must not keep the caller from giving its share back
    }
}

static NODE: RawWakerVTable = RawWakerVTable::new(
    |_| unreachable!("T13: a task's slot is not cloned"),
    wake,
    |_| unreachable!("T13: a task's slot is not woken by reference"),
    drop_waker,
);

/// The number of a waker that is consumed, and the waker's share of its queue.
///
/// # Safety
/// T12: `data` is that of a waker with our table, which is not used again.
unsafe fn consume(data: *const ()) -> (usize, Arc<ReadyShared>) {
    // SAFETY: T12: such data is the address of a node, in what the waker has a share of.
    let node = unsafe { &*data.cast::<ReadyNode>() };
    // SAFETY: T12: the pointer is `Arc`'s, and `ReadyQueue::waker` counted this share for the
    // waker.
    (node.number, unsafe { Arc::from_raw(node.shared) })
}

unsafe fn wake(data: *const ()) {
    // SAFETY: T12: the waker is consumed.
    let (number, queue) = unsafe { consume(data) };
    queue.push(number);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: T12: the waker is consumed.
    drop(unsafe { consume(data) });
}
