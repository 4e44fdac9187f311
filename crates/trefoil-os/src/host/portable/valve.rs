//! A descriptor that is readable when a socket is readable, unless it is shut: these systems have
//! none. So a caller never receives the bytes of a plain worker in the driver's place.

use std::sync::Arc;

use rustix::fd::OwnedFd;

/// What would stand for a socket: there is none.
#[derive(Debug)]
pub enum Valve {}

impl Valve {
    /// `None`: a worker's caller waits for the driver.
    pub fn of(_socket: &Arc<OwnedFd>) -> Option<Arc<Self>> {
        None
    }

    /// What a caller would wait for.
    pub fn front(&self) -> &Arc<OwnedFd> {
        match *self {}
    }

    /// Would shut it.
    pub fn shut(self: &Arc<Self>) -> Option<Shut> {
        match **self {}
    }

    /// Whether it is shut.
    pub fn is_shut(&self) -> bool {
        match *self {}
    }
}

/// What would be left of a valve that is shut.
#[derive(Debug)]
pub enum Shut {}

impl Shut {
    /// The socket behind it.
    pub fn socket(&self) -> &OwnedFd {
        match *self {}
    }
}
