//! How mio waits, and the sockets that it watches.
//!
//! The system reports what is ready now, once for each question. mio asks again for a socket of its
//! own after an operation of *its* has found that it would block. The sockets here are not mio's:
//! so each is lent to a socket of mio's while it is watched, and [`Sources::rearm`] lets that one
//! find what ours has found.
//!
//! - **Y49** A lent number is given back (`into_raw_socket`) and not closed: its owner closes it,
//!   and takes care that it is not watched by then (`Poller::unwatch`).
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawSocket, BorrowedSocket, FromRawSocket, IntoRawSocket, RawSocket};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::loom::Mutex;

/// The system's names of what mio calls: to make a poller, to make its wake-up, to wait.
pub(crate) const CALLS: [&str; 3] = [
    "CreateIoCompletionPort",
    "CreateIoCompletionPort",
    "GetQueuedCompletionStatusEx",
];

/// Waits until something happens, at most for `timeout`, to the millisecond.
pub(crate) fn wait(
    poll: &mut Poll,
    found: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    poll.poll(found, timeout)
}

/// What is watched.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<Lent>);

/// Numbers lent to mio: whatever kind of socket each is, mio asks the system about it alike.
#[derive(Debug, Default)]
struct Lent {
    /// By its token.
    sockets: HashMap<usize, ManuallyDrop<UdpSocket>>,
    tokens: HashMap<RawSocket, usize>,
}

impl Sources {
    /// Watches a socket, both directions.
    pub(crate) fn register(
        &self,
        registry: &Registry,
        socket: BorrowedSocket<'_>,
        token: usize,
    ) -> io::Result<()> {
        let number = socket.as_raw_socket();
        let mut lent = self.0.lock();
        if lent.tokens.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // SAFETY: Y49: it is given back before it could be dropped.
        let mut mio = ManuallyDrop::new(unsafe { UdpSocket::from_raw_socket(number) });
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut *mio, Token(token), both)?;
        lent.tokens.insert(number, token);
        lent.sockets.insert(token, mio);
        Ok(())
    }

    /// A socket is no longer watched. That it never was is no error.
    pub(crate) fn unwatch(&self, registry: &Registry, socket: BorrowedSocket<'_>) {
        let mut lent = self.0.lock();
        if let Some(token) = lent.tokens.remove(&socket.as_raw_socket())
            && let Some(mut mio) = lent.sockets.remove(&token)
        {
            let _ = registry.deregister(&mut *mio);
            give_back(mio);
        }
    }

    /// An operation would have blocked: the system is to be asked again.
    pub(crate) fn rearm(&self, token: usize) {
        if let Some(mio) = self.0.lock().sockets.get(&token) {
            let _ = mio.try_io(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }
}

/// What is still watched at the loop's end is given back, too.
impl Drop for Sources {
    fn drop(&mut self) {
        for (_, mio) in self.0.lock().sockets.drain() {
            give_back(mio);
        }
    }
}

/// The number stays its owner's.
fn give_back(mio: ManuallyDrop<UdpSocket>) {
    let _ = ManuallyDrop::into_inner(mio).into_raw_socket();
}

/// Why a socket is not watched, in words that go on after its number.
pub(crate) fn refusal(error: &io::Error) -> Option<(io::ErrorKind, &'static str)> {
    (error.kind() == io::ErrorKind::AlreadyExists).then_some((
        io::ErrorKind::AlreadyExists,
        "is watched by this event loop already: use the one that was made of it first, or \
         a duplicate of the socket",
    ))
}
