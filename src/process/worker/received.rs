//! In the worker: the bytes that have arrived on the stream and have not been used yet.

use std::io::{self, Write};
use std::process::exit;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::stream::{Stream, die};
use crate::process::value::attachments::Arrivals;
use crate::process::wire;
use crate::sys::child::Handle;
use crate::sys::large_pages;
use crate::sys::poll::poll;
use crate::sys::refused::refused;

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

/// Where bytes come from, and where the end of the parent is seen.
#[derive(Debug)]
pub(super) struct ParentStream {
    pub(super) stream: Stream,
    /// Readable when the parent is gone, on systems whose kernel does not kill this process then.
    pub(super) parents_end: Option<Handle>,
}

impl ParentStream {
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
}

/// The length of the frame at the front of `bytes`, if its head is there.
fn announced(bytes: &[u8]) -> Option<usize> {
    match wire::announced(bytes) {
        Ok(length) => length,
        Err(wire::Broken) => exit(1),
    }
}

/// The bytes from `start` to `end` have not been used yet.
pub(super) struct Received {
    pub(super) source: ParentStream,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    pub(super) arrivals: Arrivals,
    /// How many bytes have been used.
    pub(super) place: u64,
}

impl Received {
    pub(super) fn new(source: ParentStream) -> Self {
        Self {
            source,
            bytes: vec![0; ROOM],
            start: 0,
            end: 0,
            arrivals: Arrivals::default(),
            place: 0,
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

    /// Uses the first `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        self.start += length;
        self.place += length as u64;
        &self.bytes[self.start - length..self.start]
    }

    /// Uses the first `length` bytes, which replace those in `frame`. A large frame is not copied.
    pub(super) fn move_to(&mut self, frame: &mut Vec<u8>, length: usize) {
        if length > ROOM && self.rest().len() == length && self.start == 0 {
            *frame = std::mem::replace(&mut self.bytes, vec![0; ROOM]);
            frame.truncate(length);
            (self.end, self.place) = (0, self.place + length as u64);
            return;
        }
        frame.clear();
        frame.extend_from_slice(self.take(length));
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

    /// Waits for more bytes, unless the flags say otherwise. False: there are none now. If the
    /// system refuses, this process reports it and ends.
    pub(super) fn receive_or_end(&mut self, flags: RecvFlags) -> bool {
        self.receive(flags).unwrap_or_else(|error| {
            let why = refused("recvmsg")(error);
            let _ = writeln!(
                io::stderr(),
                "trefoil: a worker could not read from its parent: {why}"
            );
            die()
        })
    }

    /// Appends received bytes to the buffer. False: there are none now.
    pub(super) fn receive(&mut self, flags: RecvFlags) -> rustix::io::Result<bool> {
        loop {
            if let Some(parents_end) = &self.source.parents_end {
                self.source.wait(parents_end);
            }
            let room = &mut self.bytes[self.end..];
            let received = self.source.stream.receive(&mut self.arrivals, room, flags);
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
    use crate::process::wire::Frame;

    /// The buffer grows with what has arrived: seldom, and never far beyond it, whatever the head
    /// of the frame says.
    #[test]
    fn a_large_frame_is_moved_seldom_and_believed_as_it_comes() {
        const SENT: usize = 24 << 20;
        let (mut parent, worker) = UnixStream::pair().unwrap();
        let mut received = Received::new(ParentStream {
            stream: Stream::new(worker.into()),
            parents_end: None,
        });
        let sends = move || {
            let copy = Frame::Copy {
                id: 1,
                length: 1 << 40,
                kind: 0,
                bytes: &[],
            };
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
