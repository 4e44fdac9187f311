//! Descriptors that were refused, and whose close may wait.
//!
//! **Job.** A hostile worker may send what no other sends: a socket that lingers, a file of a slow
//! system. The last close of such a descriptor may wait for minutes, and no thread that serves
//! others may do it. One thread of the process closes all of them in turn.
//!
//! **Bounds.** One thread. A link ends with the first such message, so each life of a worker adds
//! one message's descriptors at most. They count as held (`held_descriptors`) until they are
//! closed, as far as the limit allows: other links then receive fewer. If the system refuses a
//! thread, they stay here until it gives one.
//!
//! Tests: `tests/process/hostile.rs`.

use crate::blocking_threads;
use crate::loom::Mutex;
use crate::process::host::handover;
use crate::process::host::held_descriptors::HeldDescriptors;
use crate::sys::descriptor::OwnedFile;
use crate::sys::fork::PerProcess;

/// What came in one message, and its count.
type Message = (Vec<OwnedFile>, Option<HeldDescriptors>);

#[derive(Default)]
struct Refused {
    waiting: Vec<Message>,
    /// The thread exists, or is owed.
    is_served: bool,
}

/// Closes these on the thread for that.
pub(super) fn close(descriptors: Vec<OwnedFile>) {
    static REFUSED: PerProcess<Mutex<Refused>> = PerProcess::new();
    let refused = REFUSED.get_or_init(Mutex::default);
    let held = HeldDescriptors::count(descriptors.len());
    let mut state = refused.lock();
    state.waiting.push((descriptors, held));
    if !std::mem::replace(&mut state.is_served, true) {
        blocking_threads::start_sometime(|| serve(refused));
    }
}

fn serve(refused: &Mutex<Refused>) {
    loop {
        let mut state = refused.lock();
        let Some((descriptors, _held)) = state.waiting.pop() else {
            state.is_served = false;
            return;
        };
        drop(state);
        descriptors.into_iter().for_each(handover::close_slow);
    }
}
