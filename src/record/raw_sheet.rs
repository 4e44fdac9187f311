//! A sheet that one thread writes on, line after line, while others may read what is written.
//!
//! **Job.** A thread's notes, without a lock: [`Pen`] is the writer's end, [`Page`] the readers'.
//!
//! **Protocol.** 1. The writer puts a value into the next line. 2. It stores the new number of lines, which releases the
//! line. 3. A reader loads that number, which acquires all lines below it, and copies them.
//!
//! - **R1** There is one [`Pen`] for a sheet, and it writes under `&mut`: so one thread at a time writes, and the lines
//!   from the published number on, which the pen keeps for itself as well, are its own.
//! - **R2** A line below the published number holds a value and is never written again. Values are `Copy`, so
//!   nobody has to drop them.
//!
//! Rejected: asking the atomic for the number of lines (a load more, and loom then looks at no other order); a
//! vector behind a mutex for each thread (two more atomic operations an event, and a thread that is
//! preempted inside holds up the one that stops the recording).
//!
//! Tests: `checks/tests/sheet_models.rs` (loom), below.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, UnsafeCell};

struct Sheet<T> {
    written: AtomicUsize,
    lines: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: R1, R2: a line is written by one thread before it is published, and only read after that;
// values move from one thread to others as copies (`Send`).
unsafe impl<T: Copy + Send> Sync for Sheet<T> {}

/// Writes.
pub(super) struct Pen<T> {
    sheet: Arc<Sheet<T>>,
    /// How many lines it has written.
    at: usize,
}

/// Reads.
pub(super) struct Page<T>(Arc<Sheet<T>>);

/// An empty sheet with room for so many lines.
pub(super) fn sheet<T: Copy + Send>(room: usize) -> (Pen<T>, Page<T>) {
    let lines = (0..room).map(|_| UnsafeCell::new(MaybeUninit::uninit()));
    let sheet = Arc::new(Sheet {
        written: AtomicUsize::new(0),
        lines: lines.collect(),
    });
    let pen = Pen {
        sheet: Arc::clone(&sheet),
        at: 0,
    };
    (pen, Page(sheet))
}

impl<T: Copy + Send> Pen<T> {
    /// Adds a line; false: there is no room.
    #[inline]
    pub(super) fn write(&mut self, value: T) -> bool {
        let Some(line) = self.sheet.lines.get(self.at) else {
            return false;
        };
        // SAFETY: R1: the line is not published (`at` is the published number), and `&mut self` is the only pen.
        line.with_mut(|line| unsafe { line.write(MaybeUninit::new(value)) });
        // Release: pairs with the load in `read`.
        let order = Ordering::Release;
        #[cfg(loom)]
        let order = fault::weaken(order);
        self.at += 1;
        self.sheet.written.store(self.at, order);
        true
    }
}

impl<T: Copy + Send> Page<T> {
    /// What is written by now.
    pub(super) fn read(&self) -> Vec<T> {
        // Acquire: pairs with the store in `write`.
        let written = self.0.written.load(Ordering::Acquire);
        let lines = self.0.lines[..written].iter();
        lines
            .map(|line| {
                // SAFETY: R2: published, and acquired above.
                let value = line.with(|line| unsafe { *line });
                // SAFETY: R2: it holds a value.
                unsafe { value.assume_init() }
            })
            .collect()
    }
}

/// A fault to inject, so that the models can be seen to catch it.
#[cfg(loom)]
pub(super) mod fault {
    use super::Ordering;
    // A switch of the tests: no protocol.
    use std::sync::atomic::AtomicBool;

    static WEAK: AtomicBool = AtomicBool::new(false); // no protocol

    pub(crate) fn set() {
        WEAK.store(true, Ordering::SeqCst);
    }

    pub(super) fn weaken(order: Ordering) -> Ordering {
        if WEAK.load(Ordering::SeqCst) {
            Ordering::Relaxed
        } else {
            order
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_sheet_says_so_and_keeps_what_it_has() {
        let (mut pen, page) = sheet(3);
        assert!(page.read().is_empty());
        assert!((0..3).all(|n| pen.write(n)));
        assert!(!pen.write(3));
        assert_eq!(page.read(), [0, 1, 2]);
        drop(pen);
        assert_eq!(page.read(), [0, 1, 2]);
    }
}
