//! In the worker: one direction of the stream to the parent, and the end of the process when the
//! parent is gone.
//!
//! A worker that is a child of its parent has one socket for both directions. One that was started
//! on another machine has two pipes or sockets, which it was given there.
//!
//! Tests: below; `crates/trefoil-machines/tests/ssh/`.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::process::host::worker;
use crate::process::host::worker::{end_all, is_socket};
use crate::process::value::attachments;
use crate::process::value::attachments::{Arrivals, Attachment};
use crate::process::value::reason;
use crate::sys::refused::{is_crowded, is_refusal, refused};
use crate::sys::sockets::QUIET;

/// The pause before the next attempt to send, if the kernel has no memory or takes no descriptors;
/// and the number of attempts if there are descriptors.
const CROWDED: Duration = Duration::from_millis(2);
const ATTEMPTS: u32 = 1000;

/// One direction of the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    descriptor: OwnedFd,
    is_socket: bool,
}

impl Stream {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self {
            is_socket: is_socket(&descriptor),
            descriptor,
        }
    }

    /// A stream whose bytes nobody reads.
    pub(crate) fn to_nobody() -> io::Result<Self> {
        Ok(Self::new(worker::stream_to_nobody()?))
    }

    /// The same stream, on another descriptor.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            descriptor: self.descriptor.try_clone()?,
            is_socket: self.is_socket,
        })
    }

    /// The descriptor alone.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    /// Waits for bytes, and for descriptors that come with them. 0: the parent is gone.
    pub(crate) fn receive(
        &self,
        arrivals: &mut Arrivals,
        room: &mut [u8],
        flags: RecvFlags,
    ) -> rustix::io::Result<usize> {
        if self.is_socket {
            arrivals.receive(&self.descriptor, room, flags)
        } else {
            worker::read(&self.descriptor, room)
        }
    }

    /// Sends some bytes. (`SIGPIPE` is ignored: `settle_in`.)
    pub(crate) fn send(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        if self.is_socket {
            rustix::net::send(&self.descriptor, bytes, QUIET)
        } else {
            worker::write(&self.descriptor, bytes)
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Sends all of `bytes`, and `attachments` with the first of them. It waits as long as it takes,
/// because the parent always reads. After an error nothing was sent: the kernel took no descriptors
/// for too long.
pub(crate) fn send(
    stream: &Stream,
    mut bytes: &[u8],
    mut attachments: &[Arc<Attachment>],
) -> Result<(), postcard::Error> {
    let mut patience = ATTEMPTS;
    while !bytes.is_empty() {
        let sent = match attachments {
            [] => stream.send(bytes),
            _ => attachments::send(stream.as_fd(), &[IoSlice::new(bytes)], attachments, QUIET),
        };
        match sent {
            Ok(sent) => (bytes, attachments) = (&bytes[sent..], &[]),
            Err(Errno::INTR) => {}
            // No event reports when other processes have received their descriptors, or when the
            // kernel has memory again, so this tries again after a pause. (If the parent ends
            // meanwhile, the thread that watches the socket ends this process.)
            Err(error) if is_crowded(error) => {
                std::thread::sleep(CROWDED);
                patience = patience.saturating_sub(1);
                if patience == 0 && !attachments.is_empty() {
                    reason::set(
                        "too many descriptors are in transit between processes (RLIMIT_NOFILE), or \
                         the system is out of memory",
                    );
                    return Err(postcard::Error::SerdeSerCustom);
                }
            }
            Err(error) if is_refusal(error) => ends("answer", &refused("sendto")(error)),
            // The parent is gone.
            Err(_) => die(),
        }
    }
    Ok(())
}

/// Ends a process that should be a worker and cannot. It prints why to standard error, because the
/// protocol has not begun or cannot be used.
pub(in crate::process) fn ends(before: &str, why: &dyn std::fmt::Display) -> ! {
    let _ = io::Write::write_fmt(
        &mut io::stderr(),
        format_args!("trefoil: a worker could not {before}: {why}\n"),
    );
    std::process::exit(1)
}

/// Kills this process group at once, because the parent is gone. No destructor, exit handler or
/// item can delay it.
pub(super) fn die() -> ! {
    end_all()
}

#[cfg(all(test, unix, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_sockets_carry_the_same() {
        let (input, output) = io::pipe().unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        for (input, output) in [
            (OwnedFd::from(input), OwnedFd::from(output)),
            (one.into(), other.into()),
        ] {
            let (input, output) = (Stream::new(input), Stream::new(output));
            assert_eq!(output.try_clone().unwrap().send(b"abc"), Ok(3));
            drop(output);
            let (mut arrivals, mut room) = (Arrivals::default(), [0; 8]);
            let mut hear = || input.receive(&mut arrivals, &mut room, RecvFlags::empty());
            assert_eq!((hear(), hear()), (Ok(3), Ok(0)));
            assert_eq!(&room[..3], b"abc");
        }
    }
}
