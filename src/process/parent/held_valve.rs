//! The valve of a plain worker, kept shut for a caller that will probably wait for its call.
//!
//! **Job.** A caller shuts the valve of its worker when it waits for its call (`shortcut`). By then
//! the worker has often reported that the call has begun, and the driver is awake. So the valve is
//! shut before the call is sent, and stays shut after one that its caller has waited for.
//!
//! **Bounds.** The valve is opened as soon as anything but a blocked caller waits for the call
//! ([`Producer::awaited`](crate::task::Producer::awaited)), when another call needs the valve of
//! another worker, and whenever the driver wakes. It is kept shut only if the driver will wake by
//! itself within a `BEAT`: so late is the end of a call seen that nothing waits for.
//!
//! Tests: `tests/process/plain.rs`, `tests/process/speed.rs`.

use crate::loom::Mutex;
use crate::sys::valve::Shut;

/// The worker's slot, its valve, and the call, if there is one.
#[derive(Debug)]
struct Held {
    call: Option<u64>,
    worker: usize,
    shut: Shut,
}

#[derive(Debug, Default)]
pub(crate) struct HeldValve(Mutex<Option<Held>>);

impl HeldValve {
    pub(super) fn hold(&self, call: Option<u64>, worker: usize, shut: Shut) {
        let before = self.0.lock().replace(Held { call, worker, shut });
        drop(before); // without the lock, since it may be a system call
    }

    /// For the caller that waits for this call.
    pub(super) fn take(&self, call: u64) -> Option<(usize, Shut)> {
        let held = self.0.lock().take_if(|held| held.call == Some(call));
        held.map(|held| (held.worker, held.shut))
    }

    /// Opens the valve if it is held for this call.
    pub(super) fn open(&self, call: u64) {
        drop(self.take(call));
    }

    /// Opens the valve, whatever it is held for.
    pub(super) fn open_any(&self) {
        let held = self.0.lock().take();
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
        hold(Some(1));
        held.open(2);
        assert!(valve.is_shut(), "something else is awaited");
        held.open(1);
        assert!(!valve.is_shut());
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
        assert!(!valve.is_shut());
    }
}
