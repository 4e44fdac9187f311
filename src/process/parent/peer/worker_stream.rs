//! The stream to one worker: the protocol as it works everywhere.
//!
//! **Protocol.** The socket is one end of a pair; the other becomes the child's standard input
//! (`launch`), so that `std` can start the process without running code between fork and exec. The
//! parent uses its end only with `MSG_DONTWAIT`: the flag belongs to the call, not to the socket,
//! so the worker's end blocks as it should. (Where not every call has the flag, our end is
//! non-blocking: `sys::sockets`.)
//!
//! A frame that the kernel refuses for lack of memory, or because too many descriptors are in
//! transit, stays queued. It is tried again after a pause, because the kernel does not report when
//! it has memory again.
//!
//! Tests: `driver::crowded` (a kernel that refuses), `tests/process/plain.rs`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::process::pages::gate::GATES;
use crate::process::value::attachments::{self, Arrivals, AttachedFile};
use crate::process::value::chunk::Piece;
use crate::process::value::copies::{CopyPart, CopySource};
use crate::process::value::memory_kept_by_worker::MemoryKeptByWorker;
use crate::process::wire::Frame;
use crate::sys::refused::{failed, is_crowded, is_gone, refused};
use crate::sys::sockets::{RECEIVE, SEND};

/// Why a worker is lost that sends what `Arrivals` refuses.
const MANY_DESCRIPTORS: &str = "it has sent more descriptors than a worker may, or than this process \
     can keep";

/// How long to wait until a refused frame is sent again.
pub(crate) const CROWDED: Duration = Duration::from_millis(5);

/// One frame on its way to the worker.
struct Outgoing {
    /// The descriptors that go with the first byte.
    attachments: Vec<Arc<AttachedFile>>,
    head: Vec<u8>,
    body: Body,
    sent: usize,
}

/// The bytes that follow the head of a frame.
pub(super) enum Body {
    Nothing,
    Items(Piece),
    Copy(CopyPart),
}

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Items(piece) => piece.bytes(),
            Self::Copy(part) => part.bytes(),
        }
    }
}

/// The outcome of a receive.
pub(crate) enum Next {
    /// So many bytes came; the first of them, up to the second number, are known already from the
    /// ledger.
    Some(usize, usize),
    /// No bytes at this moment.
    None,
    /// No more bytes, ever.
    End,
}

/// The stream to one worker.
pub(in crate::process::parent) struct WorkerStream {
    pub(in crate::process::parent) socket: Arc<OwnedFd>,
    outgoing: VecDeque<Outgoing>,
    /// The socket has taken bytes of items or copies since `has_taken` was last called. (Questions
    /// are asked at any time, and do not delay these.)
    took: bool,
    /// How many bytes the socket has ever taken.
    pub(super) sent_bytes: u64,
    /// How many bytes of the worker's records have been taken in, from the socket or from the
    /// ledger: more than were received, if some were read from the ledger before they were sent.
    pub(in crate::process::parent) known: u64,
    /// The kernel has refused the first frame, for lack of memory or descriptors: when to try
    /// again.
    pub(in crate::process::parent) crowded_until: Option<Instant>,
    /// For tests: the next answers of the kernel.
    #[cfg(test)]
    pub(in crate::process::parent) faults: VecDeque<Errno>,
    /// The memory that the worker keeps.
    pub(in crate::process::parent) memory: MemoryKeptByWorker,
    /// It has ended with an error: the worker's last records may be lost.
    pub(in crate::process::parent) is_reset: bool,
    /// Why the system refuses it, for the error.
    pub(in crate::process::parent) refusal: Option<String>,
}

impl WorkerStream {
    /// `is_alone`: the worker has no pages, and gets copies of memory instead of its descriptors.
    pub(super) fn new(socket: &Arc<OwnedFd>, is_alone: bool) -> Self {
        Self {
            socket: socket.clone(),
            outgoing: VecDeque::new(),
            took: false,
            sent_bytes: 0,
            known: 0,
            crowded_until: None,
            #[cfg(test)]
            faults: VecDeque::new(),
            memory: MemoryKeptByWorker::new(is_alone),
            is_reset: false,
            refusal: None,
        }
    }

    /// Whether frames wait for room in the socket.
    pub(in crate::process::parent) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the socket has taken bytes since the last call.
    pub(in crate::process::parent) fn has_taken(&mut self) -> bool {
        std::mem::take(&mut self.took)
    }

    /// Appends a frame to the queue for the socket.
    pub(super) fn wait(&mut self, attachments: Vec<Arc<AttachedFile>>, head: Vec<u8>, body: Body) {
        self.outgoing.push_back(Outgoing {
            attachments,
            head,
            body,
            sent: 0,
        });
    }

    /// Appends a frame that is nothing but its head.
    pub(super) fn wait_for(&mut self, frame: &Frame<'_>) {
        self.wait(Vec::new(), frame.head(0), Body::Nothing);
    }

    /// Queues a frame, and what goes ahead of it.
    pub(super) fn post(&mut self, head: Vec<u8>, items: Option<Piece>) {
        if let Some(piece) = items.as_ref().filter(|piece| piece.is_accompanied()) {
            self.go_ahead(piece, false);
        }
        self.wait(Vec::new(), head, items.map_or(Body::Nothing, Body::Items));
    }

    /// Queues what goes ahead of a frame with these items: arrays, and the numbers of attachments,
    /// with their descriptors (`has_descriptors`), or after copies of what the worker does not
    /// have.
    pub(super) fn go_ahead(&mut self, items: &Piece, has_descriptors: bool) {
        for (id, array) in items.ahead() {
            self.copy(id, &array);
        }
        let mut attachments = items.attachments();
        let (new, keep) = self.remember(&attachments);
        for attachment in new.iter().filter(|_| !has_descriptors) {
            // (What cannot be read here is missing in the worker, which is an error of the item.)
            if let Ok(source) = CopySource::of(attachment) {
                self.copy(attachment.id, &source);
            }
        }
        if !attachments.is_empty() {
            let numbers = attachments.iter().map(|one| one.id).collect();
            let head = Frame::Descriptors(numbers).head(0);
            attachments.retain(|_| has_descriptors);
            self.wait(attachments, head, Body::Nothing);
        }
        if !keep.is_empty() {
            self.wait_for(&Frame::Keep(keep));
        }
    }

    /// Sends the worker the numbers of the memory that it need not keep any more. Returns the
    /// memory among `attachments` that the worker does not have and is to keep from now on, and its
    /// numbers.
    pub(super) fn remember(
        &mut self,
        attachments: &[Arc<AttachedFile>],
    ) -> (Vec<Arc<AttachedFile>>, Vec<u64>) {
        let (new, over) = self.memory.send(attachments);
        if !over.is_empty() {
            self.wait_for(&Frame::Release(over));
        }
        let numbers = new.iter().map(|memory| memory.id).collect();
        (new, numbers)
    }

    /// Queues a copy of `source`, in parts.
    fn copy(&mut self, id: u64, source: &CopySource) {
        let (of, bytes) = (source.head(id), &[][..]);
        let copy = Frame::Copy { of, bytes };
        for part in source.parts() {
            let head = copy.head(part.bytes().len());
            self.wait(Vec::new(), head, Body::Copy(part));
        }
    }

    /// Sends the first frame, and `descriptors` with it. If there is no room, it waits, with `any`
    /// of them. (A launcher's input for its process may leave none.)
    pub(super) fn welcome(
        &mut self,
        frame: Vec<u8>,
        descriptors: &[BorrowedFd<'_>],
        any: Option<Arc<AttachedFile>>,
    ) -> io::Result<()> {
        let parts = [IoSlice::new(&frame)];
        match attachments::send(&self.socket, &parts, descriptors, SEND) {
            Ok(sent) => {
                self.sent_bytes += sent as u64;
                self.wait(Vec::new(), frame, Body::Nothing);
                self.sent(sent);
            }
            Err(Errno::AGAIN) => self.wait(any.into_iter().collect(), frame, Body::Nothing),
            // The process is gone already: its death is reported like any other.
            Err(error) if is_gone(error) => self.is_reset |= error == Errno::CONNRESET,
            Err(error) => return Err(failed("sendmsg")(error)),
        }
        Ok(())
    }

    /// Sends what the socket takes, many frames at a time. False: nothing can be sent, ever.
    pub(super) fn send(&mut self) -> bool {
        self.crowded_until = None;
        while !self.outgoing.is_empty() {
            let mut parts: [IoSlice<'_>; 2 * GATES] = std::array::from_fn(|_| IoSlice::new(&[]));
            let mut attachments: &[Arc<AttachedFile>] = &[];
            let mut count = 0;
            for (frame, parts) in self.outgoing.iter().zip(parts.chunks_exact_mut(2)) {
                if !frame.attachments.is_empty() && frame.sent == 0 {
                    if count > 0 {
                        break; // they go with the first byte of a message
                    }
                    attachments = &frame.attachments;
                }
                count += 2;
                let head = frame.sent.min(frame.head.len());
                parts[0] = IoSlice::new(&frame.head[head..]);
                parts[1] = IoSlice::new(&frame.body.bytes()[frame.sent - head..]);
            }
            #[cfg(test)]
            let fault = self.faults.pop_front();
            #[cfg(not(test))]
            let fault = None;
            let send = || attachments::send(&self.socket, &parts[..count], attachments, SEND);
            match fault.map_or_else(send, Err) {
                Ok(sent) => {
                    self.sent_bytes += sent as u64;
                    self.sent(sent);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(error) if is_crowded(error) => {
                    self.crowded_until = Some(Instant::now() + CROWDED);
                    return true;
                }
                // It has closed the stream. Its end is noticed elsewhere, but the kernel reports a
                // reset only once: the next receive looks like an orderly end.
                Err(error) if is_gone(error) => {
                    self.is_reset |= error == Errno::CONNRESET;
                    self.outgoing.clear();
                }
                Err(error) => {
                    // Without this frame the worker would wait for ever.
                    self.outgoing.clear();
                    let why =
                        || format!("nothing can be sent to it: {}", refused("sendmsg")(error));
                    self.refusal.get_or_insert_with(why);
                    return false;
                }
            }
        }
        true
    }

    fn sent(&mut self, mut bytes: usize) {
        while bytes > 0
            && let Some(frame) = self.outgoing.front_mut()
        {
            self.took |= !matches!(frame.body, Body::Nothing);
            let left = frame.head.len() + frame.body.bytes().len() - frame.sent;
            if left > bytes {
                frame.sent += bytes;
                return;
            }
            bytes -= left;
            self.outgoing.pop_front();
        }
    }

    /// Receives records without waiting. `None`: the system refuses that.
    pub(in crate::process::parent) fn next_records(
        &mut self,
        arrivals: &mut Arrivals,
        buffer: &mut [u8],
    ) -> Option<Next> {
        loop {
            match arrivals.receive_from_worker(&self.socket, buffer, RECEIVE) {
                Ok(0) => return Some(Next::End),
                Ok(count) => {
                    let new = arrivals.received.saturating_sub(self.known);
                    self.known = self.known.max(arrivals.received);
                    return Some(Next::Some(count, count.saturating_sub(new as usize)));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(Next::None),
                Err(error) => {
                    self.is_reset = true;
                    if is_gone(error) {
                        return Some(Next::End);
                    }
                    let why = || match error {
                        Errno::TOOMANYREFS => MANY_DESCRIPTORS.to_owned(),
                        error => {
                            let why = refused("recvmsg")(error);
                            format!("nothing can be received from it: {why}")
                        }
                    };
                    self.refusal.get_or_insert_with(why);
                    return None;
                }
            }
        }
    }
}
