//! How mio waits, and which sockets it watches.
//!
//! The system reports an event once for each question. mio asks again when an operation on one of
//! *its* sockets would block, but the sockets here are not mio's. So each socket is lent to a
//! socket of mio while it is watched, and [`Sources::rearm`] makes mio's socket see that the
//! operation would block, so that mio asks again.
//!
//! - **Y49** A lent number is given back (`into_raw_socket`) and not closed. Its owner closes it,
//!   and stops watching it first (`Poller::unwatch`).
//!
//! Tests: `tests/io/sockets.rs`, under Wine.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawSocket, BorrowedSocket, FromRawSocket, IntoRawSocket, RawSocket};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::loom::Mutex;

/// The system calls behind mio: the one that makes a poller, the one that makes its wake-up, the
/// one that waits.
pub const CALLS: [&str; 3] = [
    "CreateIoCompletionPort",
    "CreateIoCompletionPort",
    "GetQueuedCompletionStatusEx",
];

/// Waits until something happens, at most for `timeout`, with a resolution of a millisecond.
pub fn wait(poll: &mut Poll, found: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    poll.poll(found, timeout)
}

/// The sockets that are watched.
#[derive(Debug, Default)]
pub struct Sources(Mutex<Lent>);

/// Sockets lent to mio. mio asks the system the same question about every kind of socket, so all of
/// them are lent as UDP sockets.
#[derive(Debug, Default)]
struct Lent {
    /// mio's socket for each token.
    sockets: HashMap<usize, ManuallyDrop<UdpSocket>>,
    tokens: HashMap<RawSocket, usize>,
}

impl Sources {
    /// Watches a socket in both directions.
    pub fn register(
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
        // SAFETY: Y49: the number is given back before the socket could be dropped.
        let mut mio = ManuallyDrop::new(unsafe { UdpSocket::from_raw_socket(number) });
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut *mio, Token(token), both)?;
        lent.tokens.insert(number, token);
        lent.sockets.insert(token, mio);
        Ok(())
    }

    /// Stops watching a socket. If it was not watched, this does nothing.
    pub fn unwatch(&self, registry: &Registry, socket: BorrowedSocket<'_>) {
        let mut lent = self.0.lock();
        if let Some(token) = lent.tokens.remove(&socket.as_raw_socket())
            && let Some(mut mio) = lent.sockets.remove(&token)
        {
            let _ = registry.deregister(&mut *mio);
            give_back(mio);
        }
    }

    /// Makes mio ask the system again, after an operation would have blocked.
    pub fn rearm(&self, token: usize) {
        if let Some(mio) = self.0.lock().sockets.get(&token) {
            let _ = mio.try_io(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }
}

/// Gives back the sockets that are still watched when the loop ends.
impl Drop for Sources {
    fn drop(&mut self) {
        for (_, mio) in self.0.lock().sockets.drain() {
            give_back(mio);
        }
    }
}

/// Gives a lent number back to its owner.
fn give_back(mio: ManuallyDrop<UdpSocket>) {
    let _ = ManuallyDrop::into_inner(mio).into_raw_socket();
}

/// Why a socket is not watched, as the rest of a sentence that begins with its number.
pub fn refusal(error: &io::Error) -> Option<(io::ErrorKind, &'static str)> {
    (error.kind() == io::ErrorKind::AlreadyExists).then_some((
        io::ErrorKind::AlreadyExists,
        "is already watched by this event loop: use the object that was made from it first, or a \
         duplicate of the socket",
    ))
}
