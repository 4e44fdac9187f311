//! An end of the program by `exit` that no item has called forgives what is under way.
//!
//! A handler of the C library writes the record [`Forgiven`](super::record::Record::Forgiven) to
//! the journals that are open. It does not if the thread that calls `exit` may be running an item:
//! a thread of a pool, or the one that maps.
//!
//! - **J1** The handler is a function of this program without state of its own. It does not unwind.
//!
//! Tests: `crates/trefoil-cache/tests/journal.rs::an_exit_counts`.
#![allow(unsafe_code)]

use std::fs::File;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use super::record::{Record, push};
use crate::regular::write_at;

/// A journal that is open.
struct Open {
    id: u64,
    file: File,
    /// Where the record of its session is.
    session: u64,
    /// The process and the thread that map. (A forked child has this list, too.)
    process: u32,
    thread: ThreadId,
}

/// No code of users runs while it is locked.
static OPEN: Mutex<(u64, Vec<Open>)> = Mutex::new((0, Vec::new()));

/// Until it is dropped, its journal is forgiven at an orderly exit.
#[derive(Debug)]
pub(super) struct Registered(u64);

pub(super) fn register(file: File, session: u64) -> Registered {
    static ONCE: Once = Once::new();
    // SAFETY: J1: the C library keeps the pointer to a function of this program. (If there is no
    // memory to note it, an exit counts as a death.)
    ONCE.call_once(|| _ = unsafe { libc::atexit(forgive_all) });
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.0 += 1;
    let id = open.0;
    open.1.push(Open {
        id,
        file,
        session,
        process: std::process::id(),
        thread: thread::current().id(),
    });
    Registered(id)
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.1.retain(|one| one.id != self.0);
    }
}

extern "C" fn forgive_all() {
    if trefoil::thread::current_index().is_some() {
        return;
    }
    let mut record = Vec::new();
    push(&mut record, &Record::Forgiven);
    let own = (std::process::id(), thread::current().id());
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for one in &open.1 {
        if one.process == own.0 && one.thread != own.1 {
            // (If it fails, what is under way counts as a death.)
            let _ = write_at(&one.file, &record, one.session);
        }
    }
}
