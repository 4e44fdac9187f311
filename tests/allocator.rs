//! An allocator that makes tasks, while the events of the last seconds are copied.
//!
//! It is a single test, because the allocator is that of the whole program.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols
#![allow(unsafe_code)] // an allocator needs it

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use trefoil::{Completer, trace};

struct MakesTasks;

thread_local! {
    /// Whether an allocation of this thread makes a task.
    static MAKES: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: all calls are passed on to the system's allocator.
unsafe impl GlobalAlloc for MakesTasks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if MAKES.try_with(|makes| makes.replace(false)) == Ok(true) {
            make_task();
            MAKES.set(true);
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: MakesTasks = MakesTasks;

fn make_task() {
    let (completer, _task) = Completer::<u8>::new();
    completer.complete(Ok(1));
}

#[test]
fn an_allocator_may_make_tasks_while_events_are_copied() {
    let recorder = trace::keep_last(Duration::from_secs(3600), 64 << 10).unwrap();
    let (done, is_done) = mpsc::channel();
    let copies = thread::spawn(move || {
        for _ in 0..3000 {
            make_task();
        }
        MAKES.set(true);
        let trace = recorder.trace();
        MAKES.set(false);
        done.send(trace.events()).unwrap();
    });
    let events = is_done.recv_timeout(Duration::from_secs(60));
    assert!(events.is_ok_and(|events| events > 0), "it hangs");
    copies.join().unwrap();
}
