//! In the worker: the stream from and to the parent, and the end when the parent is gone.
//!
//! Bytes that have arrived on it, and have not been used yet, are here, too.
//!
//! A worker that is a child of its parent has one socket for both directions. One that was started
//! on another machine has two pipes or sockets, which it was given there.
//!
//! Tests: below; `crates/trefoil-machines/tests/ssh/contract.rs::{a_lost_connection_is_told,
//! nothing_is_left_when_the_driver_is_killed}`.

use std::io::{self, IoSlice, Write};
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::process::value::attachments::{self, Arrivals, AttachedFile};
use crate::process::value::reason;
use crate::process::wire;
use crate::sys::child::Handle;
use crate::sys::large_pages;
use crate::sys::poll::poll;
use crate::sys::refused::{is_crowded, is_refusal, refused};
use crate::sys::sockets::QUIET;
use trefoil_os::host::worker::{self, end_all, is_socket};

/// Descriptors below this one are left to the program, which may expect certain numbers there.
pub(super) const FIRST_FD: i32 = 10;

/// The pause before the next attempt to send, if the kernel has no memory or takes no descriptors;
/// and the number of attempts if there are descriptors.
const CROWDED: Duration = Duration::from_millis(2);
const ATTEMPTS: u32 = 1000;

/// One direction of the stream.
pub(crate) struct ParentStream {
    descriptor: OwnedFd,
    is_socket: bool,
}

impl ParentStream {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self {
            is_socket: is_socket(&descriptor),
            descriptor,
        }
    }

    /// The same stream, on another descriptor.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            descriptor: self.descriptor.try_clone()?,
            is_socket: self.is_socket,
        })
    }

    /// Whether what is sent can have no reader any more.
    pub(super) fn has_no_reader(&self) -> bool {
        let mut output = [PollFd::new(self, PollFlags::empty())];
        poll(&mut output, Some(&Timespec::default())).is_ok()
            && output[0]
                .revents()
                .intersects(PollFlags::ERR | PollFlags::HUP)
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

impl AsFd for ParentStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Sends all of `bytes`, and `attachments` with the first of them. It waits as long as it takes,
/// because the parent always reads. After an error nothing was sent: the kernel took no descriptors
/// for too long.
pub(crate) fn send(
    stream: &ParentStream,
    mut bytes: &[u8],
    mut attachments: &[Arc<AttachedFile>],
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
            Err(error) if is_refusal(error) => end_process("answer", &refused("sendto")(error)),
            // The parent is gone.
            Err(_) => die(),
        }
    }
    Ok(())
}

/// Ends a process that should be a worker and cannot. It prints why to standard error, because the
/// protocol has not begun or cannot be used.
pub(in crate::process) fn end_process(before: &str, why: &dyn std::fmt::Display) -> ! {
    say(&format!("could not {before}: {why}"));
    exit(1)
}

/// Prints a line in one piece: workers may share a file or a terminal.
fn say(why: &str) {
    let line = format!("trefoil: a worker {why}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Kills this process group at once, because the parent is gone. No destructor, exit handler or
/// item can delay it.
pub(super) fn die() -> ! {
    end_all()
}

/// How much is received at once, unless a frame has announced that it is larger; and how much of a
/// large one. (The room is zeroed first, so this is less than what the processor caches.)
const ROOM: usize = 8 << 10;
const MORE: usize = 512 << 10;
/// How much of the buffer is kept after a large frame.
const KEPT: usize = 4 << 20;

/// For a frame of up to this many bytes, memory is allocated as soon as its length is known; for a
/// larger one, [`GROWTH`] times as much as has arrived.
const BELIEVED: usize = 64 << 20;
const GROWTH: usize = 16;

/// The length of the frame at the front of `bytes`, if its head is there.
fn announced(bytes: &[u8]) -> Option<usize> {
    match wire::announced(bytes) {
        Ok(length) => length,
        Err(wire::Broken) => exit(1),
    }
}

/// The bytes from `start` to `end` have not been used yet.
pub(super) struct Received {
    pub(super) stream: ParentStream,
    /// Readable when the parent is gone, on systems whose kernel does not kill this process then.
    parents_end: Option<Handle>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    pub(super) arrivals: Arrivals,
    /// How many bytes have been used.
    pub(super) position: u64,
}

impl Received {
    pub(super) fn new(stream: ParentStream, parents_end: Option<Handle>) -> Self {
        Self {
            stream,
            parents_end,
            bytes: vec![0; ROOM],
            start: 0,
            end: 0,
            arrivals: Arrivals::default(),
            position: 0,
        }
    }

    /// What has not been used.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The length of the first frame, if it is complete.
    pub(super) fn whole(&self) -> Option<usize> {
        let rest = self.rest();
        announced(rest).filter(|length| *length <= rest.len())
    }

    /// Waits for the first frame. Returns its length, and whether it had to be waited for.
    pub(super) fn wait_for_frame(&mut self) -> (usize, bool) {
        let mut waited = false;
        loop {
            if let Some(length) = self.whole() {
                return (length, waited);
            }
            waited = true;
            self.make_room();
            self.receive_or_end(RecvFlags::empty());
        }
    }

    /// Uses the first `length` bytes.
    pub(super) fn consume(&mut self, length: usize) -> &[u8] {
        self.start += length;
        self.position += length as u64;
        &self.bytes[self.start - length..self.start]
    }

    /// Uses the first `length` bytes, which replace those in `frame`. A large frame is not copied.
    pub(super) fn move_to(&mut self, frame: &mut Vec<u8>, length: usize) {
        if length > ROOM && self.rest().len() == length && self.start == 0 {
            *frame = std::mem::replace(&mut self.bytes, vec![0; ROOM]);
            frame.truncate(length);
            (self.end, self.position) = (0, self.position + length as u64);
            return;
        }
        frame.clear();
        frame.extend_from_slice(self.consume(length));
    }

    /// Moves what has not been used to the front of the buffer, and makes room for more of the
    /// first frame. True: nothing is there.
    pub(super) fn make_room(&mut self) -> bool {
        self.tidy();
        let length = announced(&self.bytes[..self.end]).unwrap_or(0).max(ROOM);
        let want = length.min(self.end + MORE);
        if want > self.bytes.capacity() || self.end == 0 && self.bytes.capacity() > KEPT {
            // The memory grows with what has arrived, so that a wrong length does not allocate
            // much; and by a factor, so that no byte is copied often. It is never more than the
            // frame needs, so that the memory of one large frame is not kept forever.
            let most = length.min(BELIEVED.max(GROWTH * self.end));
            let mut bytes = Vec::with_capacity(most);
            large_pages::advise(&mut bytes);
            bytes.extend_from_slice(&self.bytes[..self.end]);
            self.bytes = bytes;
        }
        if want > self.bytes.len() {
            self.bytes.resize(want, 0);
        }
        self.end == 0
    }

    /// Removes the used bytes from the buffer. True: no others are there.
    pub(super) fn tidy(&mut self) -> bool {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.arrivals.used(self.end);
        self.end == 0
    }

    /// Waits until there is something to receive. Ends this process if the parent is gone.
    fn wait(&self, parents_end: &Handle) {
        let mut fds = [
            PollFd::new(&self.stream, PollFlags::IN),
            PollFd::new(parents_end, PollFlags::IN),
        ];
        // After any other error, the next read of the stream fails.
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        if !fds[1].revents().is_empty() {
            die();
        }
    }

    /// Waits for more bytes, unless the flags say otherwise. False: there are none now. If the
    /// system refuses, this process reports it and ends.
    pub(super) fn receive_or_end(&mut self, flags: RecvFlags) -> bool {
        self.receive(flags).unwrap_or_else(|error| {
            let why = refused("recvmsg")(error);
            say(&format!("could not read from its parent: {why}"));
            die()
        })
    }

    /// Appends received bytes to the buffer. False: there are none now.
    pub(super) fn receive(&mut self, flags: RecvFlags) -> rustix::io::Result<bool> {
        loop {
            if let Some(parents_end) = &self.parents_end {
                self.wait(parents_end);
            }
            let room = &mut self.bytes[self.end..];
            let received = self.stream.receive(&mut self.arrivals, room, flags);
            match received {
                Ok(0) => die(),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(all(test, unix, not(any(loom, miri))))]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::loom::thread::Builder;
    use crate::process::wire::{CopyHead, Frame};

    #[test]
    fn pipes_and_sockets_carry_the_same() {
        let (input, output) = io::pipe().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        for (input, output) in [
            (OwnedFd::from(input), OwnedFd::from(output)),
            (one.into(), other.into()),
        ] {
            let (input, output) = (ParentStream::new(input), ParentStream::new(output));
            assert_eq!(output.try_clone().unwrap().send(b"abc"), Ok(3));
            drop(output);
            let (mut arrivals, mut room) = (Arrivals::default(), [0; 8]);
            let mut hear = || input.receive(&mut arrivals, &mut room, RecvFlags::empty());
            assert_eq!((hear(), hear()), (Ok(3), Ok(0)));
            assert_eq!(&room[..3], b"abc");
        }
    }

    /// The buffer grows with what has arrived: seldom, and never far beyond it, whatever the head
    /// of the frame says.
    #[test]
    fn a_large_frame_is_moved_seldom_and_believed_as_it_comes() {
        const SENT: usize = 24 << 20;
        let (mut parent, worker) = UnixStream::pair().unwrap();
        let mut received = Received::new(ParentStream::new(worker.into()), None);
        let sends = move || {
            let of = CopyHead {
                id: 1,
                length: 1 << 40,
                kind: 0,
            };
            let copy = Frame::Copy { of, bytes: &[] };
            parent.write_all(&copy.head(1 << 40)).unwrap();
            let bytes = vec![7; 1 << 20];
            let mut sent = 0;
            while sent < SENT {
                parent.write_all(&bytes).unwrap();
                sent += bytes.len();
            }
            parent // open until then, because its end would end this process
        };
        let sender = Builder::new().spawn(sends).unwrap();
        let mut places = Vec::new();
        while received.end < SENT {
            received.make_room();
            places.push(received.bytes.as_ptr());
            let most = BELIEVED.max(GROWTH * received.end);
            assert!(received.bytes.capacity() <= most, "{}", received.end);
            assert!(received.bytes.len() - received.end <= MORE);
            assert!(received.receive(RecvFlags::empty()).unwrap());
        }
        places.dedup();
        assert!(places.len() <= 4, "{} moves", places.len());
        assert!(received.rest()[20..].iter().all(|byte| *byte == 7));
        drop(sender.join().unwrap());
    }
}
