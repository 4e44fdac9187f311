//! A descriptor that is readable when a socket is readable, unless it is shut: these systems have
//! none. So a caller never receives the bytes of a plain worker in the driver's place.

use std::sync::Arc;

use rustix::fd::OwnedFd;

#[derive(Debug)]
pub(crate) enum Valve {}

impl Valve {
    pub(crate) fn of(_socket: &Arc<OwnedFd>) -> Option<Arc<Self>> {
        None
    }

    pub(crate) fn front(&self) -> &Arc<OwnedFd> {
        match *self {}
    }

    pub(crate) fn shut(self: &Arc<Self>) -> Option<Shut> {
        match **self {}
    }

    pub(crate) fn is_shut(&self) -> bool {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Shut {}

impl Shut {
    pub(crate) fn socket(&self) -> &OwnedFd {
        match *self {}
    }
}
