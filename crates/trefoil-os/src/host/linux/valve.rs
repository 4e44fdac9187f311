//! A descriptor that is readable when a socket is readable, unless it is shut.
//!
//! Two threads may wait for one socket. The first waits for the valve, the second for the socket
//! itself. While the second keeps the valve shut, arriving bytes wake only the second thread. (An
//! error, and the end of both directions, pass through a shut valve, too.) A valve is an `epoll` of
//! that one socket.
//!
//! Tests: below; `tests/process/plain.rs`.

use std::sync::Arc;

use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create, modify};
use rustix::fd::OwnedFd;

use crate::loom::Mutex;

const NAMELESS: EventData = EventData::new_u64(0);

/// What stands for a socket, and can be shut.
#[derive(Debug)]
pub struct Valve {
    front: Arc<OwnedFd>,
    socket: Arc<OwnedFd>,
    /// How many [`Shut`]s exist.
    shut: Mutex<usize>,
}

impl Valve {
    /// `None`: the system refuses it.
    pub fn of(socket: &Arc<OwnedFd>) -> Option<Arc<Self>> {
        let front = Arc::new(create(CreateFlags::CLOEXEC).ok()?);
        add(&front, socket, NAMELESS, EventFlags::IN).ok()?;
        Some(Arc::new(Self {
            front,
            socket: socket.clone(),
            shut: Mutex::new(0),
        }))
    }

    /// The descriptor to wait for in place of the socket.
    pub fn front(&self) -> &Arc<OwnedFd> {
        &self.front
    }

    /// Shuts it until the last [`Shut`] is dropped. `None`: it stays open.
    pub fn shut(self: &Arc<Self>) -> Option<Shut> {
        let mut shut = self.shut.lock();
        if *shut == 0 {
            modify(&self.front, &self.socket, NAMELESS, EventFlags::empty()).ok()?;
        }
        *shut += 1;
        drop(shut);
        Some(Shut(self.clone()))
    }

    /// Whether it is shut.
    pub fn is_shut(&self) -> bool {
        *self.shut.lock() > 0
    }
}

/// Keeps a valve shut.
#[derive(Debug)]
pub struct Shut(Arc<Valve>);

impl Shut {
    /// The socket behind it.
    pub fn socket(&self) -> &OwnedFd {
        &self.0.socket
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        let Valve {
            front,
            socket,
            shut,
        } = &*self.0;
        let mut shut = shut.lock();
        *shut -= 1;
        if *shut == 0 {
            // (This needs no memory, and was allowed when the valve was shut.) Bytes that have
            // arrived meanwhile wake the threads that wait for the valve.
            let _ = modify(front, socket, NAMELESS, EventFlags::IN);
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::event::{PollFd, PollFlags, Timespec};

    use crate::sys::poll::poll;

    fn passes(valve: &Valve) -> bool {
        let mut front = [PollFd::new(valve.front(), PollFlags::IN)];
        poll(&mut front, Some(&Timespec::default())) == Ok(1)
    }

    #[test]
    fn what_comes_passes_unless_it_is_shut() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut reads = near.try_clone().unwrap();
        let valve = Valve::of(&Arc::new(near.into())).unwrap();
        assert!(!passes(&valve) && !valve.is_shut());
        let (one, other) = (valve.shut().unwrap(), valve.shut().unwrap());
        far.write_all(b"x").unwrap();
        assert!(!passes(&valve) && valve.is_shut());
        drop(one);
        assert!(!passes(&valve) && valve.is_shut());
        drop(other);
        assert!(passes(&valve) && !valve.is_shut());
        reads.read_exact(&mut [0]).unwrap();
        assert!(!passes(&valve));
        let _shut = valve.shut().unwrap();
        drop(far);
        assert!(passes(&valve), "the end");
    }
}
