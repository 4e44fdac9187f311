//! Counts the memory that calls take while all workers are busy: how many bytes each call that
//! waits, and how many bytes and allocations each that is cancelled.
//!
//! It has a `main` of its own, which worker processes enter, and a counting allocator.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate
#![allow(unsafe_code)] // an allocator needs it

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

use support::{Test, tests, until};
use trefoil::{ProcessPool, Task};

struct Counting;

/// Bytes that have not been given back, and the most that they have been.
static LIVE: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);
/// How many allocations there have been.
static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);

// SAFETY: all calls are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let size = layout.size() as i64;
        let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
        MOST.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    trefoil::init();
    support::main(&[TESTS]);
}

const CALLS: i64 = 100_000;

fn never_ends((): ()) {
    loop {
        std::thread::park();
    }
}

tests! {
    fn a_call_that_waits_takes_little_memory() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let busy = procs.spawn((), never_ends);
        until(|| procs.stats().busy == 1);
        let mut tasks: Vec<Task<u64>> = Vec::with_capacity(CALLS as usize);
        let before = LIVE.load(Ordering::SeqCst);
        tasks.extend((0..CALLS as u64).map(|n| procs.spawn(n, |n| n)));
        until(|| procs.stats().pending as i64 == CALLS + 1);
        let each = (LIVE.load(Ordering::SeqCst) - before) / CALLS;
        assert!(each <= 400, "{each} bytes for each call that waits");

        let before = LIVE.load(Ordering::SeqCst);
        MOST.store(before, Ordering::SeqCst);
        let allocations = ALLOCATIONS.load(Ordering::SeqCst);
        tasks.iter().for_each(|task| {
            task.cancel();
        });
        until(|| procs.stats().pending == 1);
        let more = (MOST.load(Ordering::SeqCst) - before) / CALLS;
        assert!(more <= 100, "{more} bytes more for each call that is cancelled");
        let more = ALLOCATIONS.load(Ordering::SeqCst) - allocations;
        assert!(more < CALLS / 10, "{more} allocations to cancel {CALLS} calls");
        drop(busy);
        procs.kill();
    }
}
