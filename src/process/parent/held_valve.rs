//! The valve of a plain worker, kept shut for a caller that will probably wait for its call.
//!
//! **Job.** A caller shuts the valve of its worker when it waits for its call (`shortcut`). By then
//! the worker has often reported that the call has begun, and the driver is awake. So the valve
//! stays shut after a call that its caller has waited for, and if the caller of the last one has,
//! it is shut before the next one is sent.
//!
//! **Bounds.** The valve is opened as soon as anything but a blocked caller waits for the call
//! ([`Producer::awaited`](crate::task::Producer::awaited)), when another call needs the valve of
//! another worker, and whenever the driver wakes. It is kept shut only if the driver will wake by
//! itself within a `BEAT`: so late is the end of a call seen that nothing waits for, once. The next
//! call is then sent with the valve open.
//!
//! Tests: below; `tests/process/plain.rs`, `tests/process/callers.rs` (with plain workers).

use crate::loom::Mutex;
use crate::sys::valve::Shut;

/// The worker's slot, its valve, and the call for which it is shut; `None`: the next one.
#[derive(Debug)]
struct Held {
    call: Option<u64>,
    worker: usize,
    shut: Shut,
}

#[derive(Debug, Default)]
pub(crate) struct HeldValve(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// The caller of the last call has waited for it.
    waits: bool,
}

impl HeldValve {
    /// Whether it is worth while to shut a valve before the next call.
    pub(super) fn may_hold(&self) -> bool {
        self.0.lock().waits
    }

    /// Holds the valve for this call, or for the next one, whichever it is.
    pub(super) fn hold(&self, call: Option<u64>, worker: usize, shut: Shut) {
        let mut state = self.0.lock();
        state.waits = true;
        let before = state.held.replace(Held { call, worker, shut });
        drop(state); // before a system call
        drop(before);
    }

    /// For the caller that waits for this call.
    pub(super) fn take(&self, call: u64) -> Option<(usize, Shut)> {
        let held = self.0.lock().held.take_if(|held| held.call == Some(call));
        held.map(|held| (held.worker, held.shut))
    }

    /// Opens the valve if it is held for this call.
    pub(super) fn open(&self, call: u64) {
        if let Some(held) = self.take(call) {
            self.0.lock().waits = false;
            drop(held);
        }
    }

    /// Opens the valve, whatever it is held for.
    pub(super) fn open_any(&self) {
        let mut state = self.0.lock();
        let held = state.held.take();
        state.waits &= held.as_ref().is_none_or(|held| held.call.is_none());
        drop(state);
        drop(held);
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri, trefoil_port))))]
mod tests {
    use super::*;
    use crate::loom::Arc;
    use crate::sys::valve::Valve;
    use std::os::unix::net::UnixStream;

    #[test]
    fn it_is_open_once_nothing_holds_it() {
        let (near, _far) = UnixStream::pair().unwrap();
        let valve = Valve::of(&Arc::new(near.into())).unwrap();
        let held = HeldValve::default();
        let hold = |call| held.hold(call, 3, valve.shut().unwrap());
        assert!(!held.may_hold());
        hold(Some(1));
        held.open(2);
        assert!(valve.is_shut(), "something else is awaited");
        held.open(1);
        assert!(!valve.is_shut() && !held.may_hold());
        hold(Some(1));
        hold(None);
        assert!(
            valve.is_shut() && held.take(1).is_none(),
            "another call may come"
        );
        hold(Some(2));
        let (worker, shut) = held.take(2).unwrap();
        assert!(worker == 3 && valve.is_shut());
        drop(shut);
        assert!(!valve.is_shut());
        hold(None);
        held.open_any();
        assert!(!valve.is_shut() && held.may_hold());
        hold(Some(4));
        held.open_any();
        assert!(!held.may_hold(), "nothing has waited for it");
    }
}
