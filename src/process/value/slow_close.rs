//! On which thread a descriptor is closed that came from another process.
//!
//! **Job.** A worker may send a socket that lingers, or a file of a slow system. The last close of
//! such a descriptor may wait for minutes, and no thread that serves others may do it: nor may the
//! thread that decodes a result, and drops it if that fails. So one thread of the process closes
//! all of them in turn, wherever they are dropped. What the program has taken, it closes itself.
//!
//! **Bounds.** One thread. Each of them counts as held (`held_descriptors`) until it is closed or
//! taken. If the system refuses a thread, they stay here until it gives one.
//!
//! Tests: `tests/process/hostile.rs`, `tests/process/attachment.rs`.

use std::fs::File;

use crate::blocking_threads;
use crate::loom::Mutex;
use crate::sys::descriptor::{OwnedFile, any_descriptor};
use crate::sys::fork::PerProcess;
use trefoil_os::host::handover;
use trefoil_os::host::held_descriptors::HeldDescriptors;

/// A descriptor, and where it is closed.
#[derive(Debug)]
pub(crate) struct SlowClose {
    /// `None` once it has been taken.
    file: Option<File>,
    /// It may wait: it is closed on the thread for that.
    waits: Option<HeldDescriptors>,
}

impl SlowClose {
    /// One that is closed where it is dropped: it belongs to this process, or comes from its
    /// parent.
    pub(crate) fn never(file: impl Into<File>) -> Self {
        Self {
            file: Some(file.into()),
            waits: None,
        }
    }

    /// One from a worker. `None`, and closed, if it may wait and too many are held.
    pub(super) fn of_worker(file: OwnedFile) -> Option<Self> {
        let mut own = Self::never(file);
        if !handover::closes_at_once(own.file()) {
            let held = HeldDescriptors::count(1);
            let is_counted = held.is_some();
            own.waits = Some(held.unwrap_or_default());
            return is_counted.then_some(own);
        }
        Some(own)
    }

    /// Whether it counts as held.
    pub(super) fn waits(&self) -> bool {
        self.waits.is_some()
    }

    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("it has not been taken")
    }

    /// The descriptor, for the program. Nothing is left to be closed.
    pub(super) fn take_file(&mut self) -> File {
        self.file.take().expect("it has not been taken")
    }

    /// All of it, if that was not taken.
    pub(super) fn take(&mut self) -> Option<Self> {
        let (file, waits) = (self.file.take()?, self.waits.take());
        let file = Some(file);
        Some(Self { file, waits })
    }
}

any_descriptor! { SlowClose, file() }

impl Drop for SlowClose {
    fn drop(&mut self) {
        if let (Some(file), Some(held)) = (self.file.take(), self.waits.take()) {
            close(file, held);
        }
    }
}

#[derive(Default)]
struct Waiting {
    files: Vec<(File, HeldDescriptors)>,
    /// The thread exists, or is owed.
    is_served: bool,
}

/// Closes it on the thread for that.
fn close(file: File, held: HeldDescriptors) {
    static WAITING: PerProcess<Mutex<Waiting>> = PerProcess::new();
    let waiting = WAITING.get_or_init(Mutex::default);
    let mut state = waiting.lock();
    state.files.push((file, held));
    if !std::mem::replace(&mut state.is_served, true) {
        blocking_threads::start_sometime(|| serve(waiting));
    }
}

fn serve(waiting: &Mutex<Waiting>) {
    loop {
        let mut state = waiting.lock();
        let Some((file, _held)) = state.files.pop() else {
            state.is_served = false;
            return;
        };
        drop(state);
        handover::close_slow(file.into());
    }
}
