//! One worker process, as the driver holds it: descriptors and buffers.
//!
//! **Protocol.** The socket is one end of a pair; the other becomes the child's standard input
//! (`launch`), so that `std` can start the process without running code between fork and exec. The
//! parent uses its end only with `MSG_DONTWAIT`: the flag belongs to the call, not to the socket,
//! so the worker's end blocks as it should. (Where not every call has the flag, our end is
//! non-blocking: `sys::sockets`.) Small frames for a worker that is awake go another way
//! (`carrier`).
//!
//! A frame that the kernel refuses for lack of memory, or because too many descriptors are in
//! transit, stays queued. The link tries again after a pause, because the kernel does not report
//! when it has memory again.
//!
//! **Death.** The process descriptor becomes readable; then everything that is still in the socket
//! is read, the rest is read from the ledger, and only then the process is reaped, by this
//! descriptor alone: children that the program itself has started are left alone. Just before, what
//! the worker has started is ended (W58). A process whose stream ends first gets a second to die or
//! to report how it ended; then it is killed. (It has executed another program, say.)
//!
//! **Launched.** Where a launcher has started the worker, the process here may be another one,
//! which may end earlier or later than the worker. There the end of the stream is the worker's end.
//! When the process ends first, its group is killed, because what is left of it may hold the stream
//! open; and the stream is shut down, unless the process has ended well.
//!
//! **Refusal.** A process that may not be signalled is ended in other ways (`child`): the first
//! `kill` shuts the stream down; a second one, if the process still lives, cuts the lifeline. A
//! process that survives this, too (it has executed another program, of another user), is given up
//! after a second. So is one that was killed and does not end (it waits for a disk, is in a frozen
//! control group, or a tracer holds it): `sched::workers::DEATH_LIMIT`. It takes one descriptor and
//! its entry in the kernel's table until it ends; then it is reaped, even if the pool is gone
//! (`reaper`), and nothing waits for it.
//!
//! Tests: `tests/process/pool.rs`; `driver::crowded` (a kernel that refuses).

#![allow(clippy::clone_on_copy)] // the name of a child is not a number on every system

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, getsockname, shutdown};

use super::carrier::Carrier;
#[cfg(test)]
use super::carrier::ParentPages;
use super::child::Child;
use super::settings::Settings;
use super::startup_watch::StartupWatch;
use super::trees::Trees;
use super::worker_stderr::{self, WorkerStderr};
use super::worker_stdout::{Output, StdoutPipe};
use crate::events::Question;
use crate::loom::atomic::{Ordering, fence};
use crate::process::host::activity::{Activity, peak_memory};
use crate::process::host::family::Family;
use crate::process::host::gate::GATES;
use crate::process::host::handover::CARRIES;
use crate::process::host::image::image;
use crate::process::host::shared_ring::Posted;
use crate::process::job::reading::Extras;
use crate::process::launch::Ending;
use crate::process::launch::launched::Started;
use crate::process::sched::verdict::{Evidence, Killed, Memory};
use crate::process::sched::workers::LEAVE_LIMIT;
use crate::process::value::attachments;
use crate::process::value::attachments::Attachment;
use crate::process::value::chunk::Piece;
use crate::process::value::copies::{CopyPart, CopySource};
use crate::process::value::lent_arrays::took;
use crate::process::value::memory_kept_by_worker::MemoryKeptByWorker;
use crate::process::wire::Frame;
use crate::sys::child::{self, Handle, Signal};
use crate::sys::descriptor::{AsFile, OwnedFile, waitable};
use crate::sys::pipe_end::PipeEnd;
use crate::sys::poll::poll;
use crate::sys::refused::{failed, is_crowded, is_gone, refused};
use crate::sys::sockets::{RECEIVE, SEND, Stream};

/// How long to wait until a refused frame is sent again.
pub(super) const CROWDED: Duration = Duration::from_millis(5);

/// One frame on its way to the worker.
struct Outgoing {
    /// The descriptors that go with the first byte.
    attachments: Vec<Arc<Attachment>>,
    head: Vec<u8>,
    body: Body,
    sent: usize,
}

/// The bytes that follow the head of a frame.
enum Body {
    Nothing,
    Items(Piece),
    Copy(CopyPart),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Items(piece) => piece.bytes(),
            Self::Copy(part) => part.bytes(),
        }
    }
}

/// One worker process.
pub(crate) struct Link {
    pub(crate) child: Arc<Child>,
    /// Received bytes that are not a whole record yet.
    pub(crate) partial: Vec<u8>,
    /// How many bytes of its records have been taken in, from the socket or from the ledger: more
    /// than were received, if some were read from the ledger before the worker sent them.
    pub(super) known: u64,
    outgoing: VecDeque<Outgoing>,
    /// The socket has taken bytes of items or copies since `has_taken` was last called. (Questions
    /// are asked at any time, and do not delay these.)
    took: bool,
    /// How many bytes the socket has ever taken.
    sent_bytes: u64,
    /// The kernel has refused the first frame, for lack of memory or descriptors: when to try
    /// again.
    pub(super) crowded_until: Option<Instant>,
    /// For tests: the next answers of the kernel.
    #[cfg(test)]
    pub(crate) faults: VecDeque<Errno>,
    /// The descriptor of the pool's home was sent, or is queued.
    has_home: bool,
    /// The memory that the worker keeps.
    pub(super) memory: MemoryKeptByWorker,
    /// What accompanies the bytes of the worker's records.
    pub(crate) extras: Extras,
    pub(crate) stderr: WorkerStderr,
    pub(crate) output: Output,
    /// Its events, unless they come with its records; and what was read of them and is not a whole
    /// one yet.
    pub(crate) events: StdoutPipe,
    pub(crate) partial_event: Vec<u8>,
    /// A subscriber listens to its events.
    sends_events: bool,
    pub(crate) carrier: Carrier,
    pub(super) trees: Trees,
    /// The stream was shut down to end it.
    is_shut: bool,
    /// When it was last killed: its processor time.
    used: Option<Duration>,
    /// Every way to end it has been tried: when to abandon it.
    pub(crate) abandon_at: Option<Instant>,
    /// The process that stands for it has ended, and its stream has not.
    pub(crate) has_outlived: bool,
    /// How that process has ended.
    status: Option<ExitStatus>,
    /// Its stream has ended, and the process that stands for it has not: when to kill that.
    pub(crate) finish_at: Option<Instant>,
    /// Watches the process until it says hello. `None`: a launcher has started it, so the process
    /// here, if there is one, does not show how far the worker is.
    pub(super) startup: Option<StartupWatch>,
    /// The worker will send nothing more.
    pub(crate) at_end: bool,
    /// Its stream has ended with an error: its last records may be lost.
    pub(crate) is_reset: bool,
    pub(crate) records: Records,
    /// Whether the pool has killed it.
    killed: Option<Killed>,
    /// Why it was killed, for the error.
    pub(crate) note: Option<String>,
    /// It is of no use any more: the driver has the scheduler kill it.
    pub(super) is_useless: bool,
}

/// Whether the driver goes on reading a worker's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    Valid,
    /// There is no memory for the next one.
    TooLong,
    /// One was not the protocol's, or those of a plain worker are lost, or the worker cannot be
    /// stopped: all items that it has count as begun.
    Broken,
}

/// The outcome of a `receive`.
pub(crate) enum ReceiveOutcome {
    /// So many bytes came; the first of them, up to the second number, are known already from the
    /// ledger.
    Some(usize, usize),
    /// No bytes at this moment.
    None,
    /// No more bytes, ever.
    End,
}

impl Link {
    /// A link to a test instead of a process.
    #[cfg(test)]
    pub(crate) fn without_process(socket: Stream) -> Self {
        let carrier = Carrier::Pages(ParentPages::new().unwrap());
        let child = Child {
            pid: 1,
            process: None,
            family: None,
            socket: Arc::new(socket.into()),
            kept: None,
            lifeline: None,
        };
        let stderr = WorkerStderr::new(None, carrier.mark());
        let output = Output::new(None, 1, None);
        Self::new(child, carrier, stderr, output)
    }

    fn new(child: Child, carrier: Carrier, stderr: WorkerStderr, output: Output) -> Self {
        Self {
            child: Arc::new(child),
            partial: Vec::new(),
            known: 0,
            outgoing: VecDeque::new(),
            took: false,
            sent_bytes: 0,
            crowded_until: None,
            #[cfg(test)]
            faults: VecDeque::new(),
            has_home: false,
            memory: carrier.memory_kept_by_worker(),
            extras: Extras::new(carrier.view()),
            stderr,
            output,
            events: StdoutPipe::new(None),
            partial_event: Vec::new(),
            sends_events: false,
            carrier,
            trees: Trees::default(),
            is_shut: false,
            used: None,
            abandon_at: None,
            has_outlived: false,
            status: None,
            finish_at: None,
            startup: Some(StartupWatch::new(Instant::now())),
            at_end: false,
            is_reset: false,
            records: Records::Valid,
            killed: None,
            note: None,
            is_useless: false,
        }
    }

    /// The link to a worker that has been started, which is sent its welcome. After an error the
    /// process is killed: it is of no use without its descriptors, and nothing would end it later.
    pub(crate) fn new_to(index: usize, started: Started, settings: &Settings) -> io::Result<Self> {
        // (The process is waited for last, after its stream has ended.)
        let Started {
            child: mut newborn,
            socket,
            kept,
            pid,
            output,
            stderr,
            machine: _,
        } = started;
        let child = newborn.0.as_ref();
        let family = child.map(Family::of).transpose()?.flatten();
        let id = child.map(child::id).transpose();
        let id = id.map_err(failed(child::CALLS[0]))?;
        let process = match id.clone().map(Handle::open) {
            // (If other code has reaped the child, its number may be another process's.)
            Some(Ok(process)) => process.has_its_number().then(|| Arc::new(process)),
            None => None,
            Some(Err(error)) if child::is_gone(&error) => None,
            Some(Err(error)) => return Err(failed(child::CALLS[0])(error)),
        };
        let socket = Arc::new(socket);
        let carrier = Carrier::new(&socket, settings)?;
        let known = id.zip(process.as_ref());
        let tied = known.map(|(id, process)| carrier.tie(id, process));
        let (lifeline, theirs) = tied.transpose()?.flatten().unzip();
        let stderr = WorkerStderr::new(stderr, carrier.mark());
        let output = Output::new(output, pid, settings.on_output.clone());
        let child = Child {
            pid,
            process,
            family,
            socket,
            kept,
            lifeline,
        };
        let mut link = Self::new(child, carrier, stderr, output);
        link.startup.take_if(|_| settings.launcher.is_some());
        link.welcome(index, settings, theirs.as_ref())?;
        newborn.0 = None;
        Ok(link)
    }

    /// Sends the first frame, and with it the descriptors of the pages and the worker's end of
    /// the lifeline; or any descriptor, by which a launcher's worker sees that nothing forwards the
    /// stream to it.
    fn welcome(
        &mut self,
        index: usize,
        settings: &Settings,
        lifeline: Option<&OwnedFile>,
    ) -> io::Result<()> {
        let (events, pipe) = self.listen(settings)?;
        let welcome = Frame::Welcome {
            copy: image().name().as_bytes(),
            index: index as u64,
            memory: settings.memory.unwrap_or(0),
            cores: settings.cores,
            plain: self.carrier.is_plain(),
            events,
        };
        let frame = welcome.head(0);
        let is_local = || {
            let own = getsockname(&self.child.socket);
            own.is_ok_and(|own| own.address_family() == AddressFamily::UNIX)
        };
        let asks = CARRIES && self.is_launched() && is_local();
        let any = asks.then(io::pipe).transpose().map_err(failed("pipe2"))?;
        let any = any.map(|(end, _)| Attachment::new(end.into()));
        let pages = self.carrier.descriptors();
        let descriptors: Vec<_> = pages
            .chain(lifeline.map(|end| waitable(end.as_file())))
            .chain(any.iter().map(|end| waitable(end.as_file())))
            .chain(pipe.iter().map(|end| waitable(end.as_file())))
            .collect();
        let parts = [IoSlice::new(&frame)];
        let sent = attachments::send(&self.child.socket, &parts, &descriptors, SEND);
        self.carrier.is_handed_over();
        match sent {
            // (A launcher's input for it may leave no room for all of it in the socket.)
            Ok(sent) => {
                self.sent_bytes += sent as u64;
                self.wait(Vec::new(), frame, Body::Nothing);
                self.sent(sent);
                Ok(())
            }
            Err(Errno::AGAIN) => {
                self.wait(any.into_iter().collect(), frame, Body::Nothing);
                Ok(())
            }
            // The process is gone already: its death is reported like any other.
            Err(error) if is_gone(error) => {
                self.is_reset |= error == Errno::CONNRESET;
                Ok(())
            }
            Err(error) => Err(failed("sendmsg")(error)),
        }
    }

    /// Determines the most verbose level of the events that the worker is to send, and makes the
    /// pipe for them, if there is to be one: the worker's end.
    fn listen(&mut self, settings: &Settings) -> io::Result<(u8, Option<io::PipeWriter>)> {
        #[cfg(not(feature = "tracing"))]
        let (level, _) = (0, settings);
        #[cfg(feature = "tracing")]
        let level = {
            let listener = settings.events.as_ref();
            let heard = listener
                .map(|one| (one.level(), one))
                .filter(|(level, _)| *level > 0);
            self.extras.events = heard.map(|(_, one)| one.worker(self.child.pid));
            heard.map_or(0, |(level, _)| level)
        };
        self.sends_events = level > 0;
        if level == 0 || self.carrier.is_plain() {
            return Ok((level, None));
        }
        let (ours, theirs) = io::pipe().map_err(failed("pipe2"))?;
        self.events = StdoutPipe::new(Some(PipeEnd::reader(ours)?));
        Ok((level, Some(theirs)))
    }

    /// Whether user code runs when its records are read: a hook, or a subscriber.
    pub(super) fn runs_hooks(&self) -> bool {
        self.output.is_captured() || self.sends_events
    }

    /// Reads the events that are there, after `partial_event`. (A pipe holds 64 KiB.)
    pub(super) fn read_events(&mut self) {
        let mut buffer = [0; 8192];
        for _ in 0..16 {
            let count = self.events.read(&mut buffer);
            self.partial_event.extend_from_slice(&buffer[..count]);
            if count == 0 {
                return;
            }
        }
    }

    /// Puts a frame into the shared ring, where the worker looks, or into the queue for the socket.
    /// True if the queue was empty and is not now, because of the frame or of a nudge to wake the
    /// worker: `send` it.
    pub(crate) fn queue(&mut self, mut head: Vec<u8>, items: Option<Piece>) -> bool {
        let first = self.outgoing.is_empty();
        let attachments = items.as_ref().map_or_else(Vec::new, Piece::attachments);
        if let (Some(home), false) = (items.as_ref().and_then(Piece::home), self.has_home) {
            self.has_home = true;
            self.wait(vec![home.clone()], Frame::Home.head(0), Body::Nothing);
        }
        for (id, array) in items.iter().flat_map(Piece::ahead) {
            self.copy(id, &array);
        }
        let numbers: Vec<u64> = attachments.iter().map(|one| one.id).collect();
        let keep = self.remember(&attachments);
        let descriptors = self.carrier.as_descriptors(attachments); // copies have gone ahead
        if !numbers.is_empty() {
            self.wait(
                descriptors,
                Frame::Descriptors(numbers).head(0),
                Body::Nothing,
            );
        }
        if !keep.is_empty() {
            self.wait(Vec::new(), Frame::Keep(keep).head(0), Body::Nothing);
        }
        let mut body = items.map_or(Body::Nothing, Body::Items);
        if self.outgoing.is_empty() {
            match (self.carrier).post(self.sent_bytes, [&head, body.bytes()]) {
                Posted::Yes => return false,
                Posted::Asleep => (head, body) = (Frame::Nudge.head(0), Body::Nothing),
                Posted::No => {}
            }
        }
        self.wait(Vec::new(), head, body);
        first
    }

    /// Sends the worker the numbers of the memory that it need not keep any more, and queues copies
    /// of what a plain one does not have. Returns the numbers of the memory among `attachments`
    /// that the worker is to keep from now on.
    fn remember(&mut self, attachments: &[Arc<Attachment>]) -> Vec<u64> {
        let (new, over) = self.memory.send(attachments);
        if !over.is_empty() {
            self.wait(Vec::new(), Frame::Release(over).head(0), Body::Nothing);
        }
        for attachment in self.carrier.copied(&new) {
            // (What cannot be read here is missing in the worker, which is an error of the item.)
            if let Ok(source) = CopySource::of(attachment) {
                self.copy(attachment.id, &source);
            }
        }
        new.iter().map(|memory| memory.id).collect()
    }

    /// Queues a copy of `source`, in parts.
    fn copy(&mut self, id: u64, source: &CopySource) {
        let (length, kind) = source.shape();
        let copy = Frame::Copy {
            id,
            length,
            kind,
            bytes: &[],
        };
        for part in source.parts() {
            let head = copy.head(part.bytes().len());
            self.wait(Vec::new(), head, Body::Copy(part));
        }
    }

    /// Sends the worker the numbers of the memory that it need not keep any more.
    pub(crate) fn release_memory(&mut self) {
        let first = self.outgoing.is_empty();
        self.remember(&[]);
        if first {
            self.send();
        }
    }

    /// Asks the worker for its own tree, unless it has been asked already.
    pub(super) fn ask_for_tree(&mut self, question: &Question) {
        let peak = (!self.is_launched()).then(|| peak_memory(self.child.pid));
        let question = question.to_worker(self.child.pid, peak.flatten());
        if !self.trees.add(question) {
            return;
        }
        match self.carrier.ask_for_tree() {
            Some(true) => {}
            Some(false) => self.trees.refused(),
            None => {
                let first = self.outgoing.is_empty();
                self.wait(Vec::new(), Frame::Tree.head(0), Body::Nothing);
                if first {
                    self.send();
                }
            }
        }
    }

    /// Where the answer will come, if it was asked there.
    pub(super) fn bell_to_hear(&self) -> Option<&Arc<Stream>> {
        self.carrier.bell().filter(|_| self.trees.is_asked())
    }

    /// Reads what has come there.
    pub(super) fn read_tree(&mut self) {
        if let Some(bell) = self.carrier.bell() {
            self.trees.read(bell);
        }
    }

    /// Appends a frame to the queue for the socket.
    fn wait(&mut self, attachments: Vec<Arc<Attachment>>, head: Vec<u8>, body: Body) {
        self.outgoing.push_back(Outgoing {
            attachments,
            head,
            body,
            sent: 0,
        });
    }

    /// Queues a nudge for a worker that has not begun its frames, and may be asleep although the
    /// ledger says that it is awake. True: `send` it.
    pub(crate) fn nudge(&mut self) -> bool {
        // (A queued frame will wake it.)
        if !self.outgoing.is_empty() || !self.carrier.remind() {
            return false;
        }
        self.wait(Vec::new(), Frame::Nudge.head(0), Body::Nothing);
        true
    }

    /// Whether a launcher has started it.
    fn is_launched(&self) -> bool {
        self.startup.is_none()
    }

    /// Whether frames wait for room in the socket.
    pub(crate) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Sends what the socket takes, many frames at a time.
    pub(crate) fn send(&mut self) {
        self.crowded_until = None;
        while !self.outgoing.is_empty() {
            let mut parts: [IoSlice<'_>; 2 * GATES] = std::array::from_fn(|_| IoSlice::new(&[]));
            let mut attachments: &[Arc<Attachment>] = &[];
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
            let send = || attachments::send(&self.child.socket, &parts[..count], attachments, SEND);
            match fault.map_or_else(send, Err) {
                Ok(sent) => {
                    self.sent_bytes += sent as u64;
                    self.carrier.has_sent();
                    self.sent(sent);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) if is_crowded(error) => {
                    self.crowded_until = Some(Instant::now() + CROWDED);
                    return;
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
                    let note =
                        || format!("nothing can be sent to it: {}", refused("sendmsg")(error));
                    self.note.get_or_insert_with(note);
                    self.is_useless = true;
                }
            }
        }
    }

    /// Whether the socket has taken bytes of items or copies since the last call.
    pub(crate) fn has_taken(&mut self) -> bool {
        std::mem::take(&mut self.took)
    }

    fn sent(&mut self, mut bytes: usize) {
        while let Some(frame) = self.outgoing.front_mut() {
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

    /// Receives without waiting.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> ReceiveOutcome {
        let arrivals = &mut self.extras.arrivals;
        loop {
            match arrivals.receive_from_worker(&self.child.socket, buffer, RECEIVE) {
                Ok(0) => return ReceiveOutcome::End,
                Ok(count) => {
                    let new = arrivals.received.saturating_sub(self.known);
                    self.known = self.known.max(arrivals.received);
                    return ReceiveOutcome::Some(count, count.saturating_sub(new as usize));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return ReceiveOutcome::None,
                Err(error) if is_gone(error) => {
                    self.is_reset = true;
                    return ReceiveOutcome::End;
                }
                Err(error) => {
                    self.is_reset = true;
                    let why = refused("recvmsg")(error);
                    let note = || format!("nothing can be received from it: {why}");
                    self.note.get_or_insert_with(note);
                    self.is_useless = true;
                    // (The reports that are lost may say that items have begun.)
                    if !self.carrier.can_close_gates() {
                        self.records = Records::Broken;
                    }
                    return ReceiveOutcome::End;
                }
            }
        }
    }

    /// The process is dead, and its end of the stream was kept: waits until more bytes arrive, or
    /// the end.
    pub(crate) fn more_comes(&self) -> bool {
        let mut socket = [PollFd::new(&self.child.socket, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        poll(&mut socket, Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Reads records that the worker has finished and not yet sent, from the ledger: after its
    /// death, once the socket is empty; before, to look ahead.
    pub(crate) fn read_unsent(&mut self, rest: &mut Vec<u8>) {
        self.carrier.read_unsent(&mut self.known, rest);
    }

    /// Everything that was received has been processed, except for `partial`: closes the
    /// descriptors that came with it and were not claimed, and returns to the worker the memory
    /// that it has lent with it.
    pub(crate) fn records_processed(&mut self) {
        self.extras.arrivals.used(self.partial.len());
        if Arc::strong_count(&self.extras.hold) == 1
            && let Carrier::Pages(pages) = &self.carrier
            && let Some(taken) = pages.ledger.taken()
        {
            // Pairs with the drop of the last other `hold`: its copies were made before the worker
            // writes there again.
            fence(Ordering::Acquire);
            took(taken, self.known.saturating_sub(self.partial.len() as u64));
        }
    }

    /// Whether the worker has finished records that were not read yet. (Cheap.)
    pub(crate) fn has_unsent(&self) -> bool {
        self.carrier.has_unsent(self.known)
    }

    /// Whether the process, which was killed, has used processor time since: it frees its memory.
    pub(super) fn is_dying(&mut self) -> bool {
        let used = Activity::of(self.child.pid).map(|now| now.used());
        std::mem::replace(&mut self.used, used) < used
    }

    /// Kills the process and its children, as far as that is possible (`child`).
    pub(crate) fn kill(&mut self) {
        self.is_dying();
        self.killed.get_or_insert(Killed::Asked);
        if self.child.kill() && !self.is_launched() {
            return;
        }
        let is_shut = std::mem::replace(&mut self.is_shut, true);
        match &self.child.process {
            // If there is no process here, the one at the other end of the stream kills it, and
            // closes that end. Until then its records are read, so an item that it begins meanwhile
            // is not run again.
            _ if !is_shut => self.child.shut(),
            Some(_) if !self.is_launched() => self.cut(),
            // The process at the other end did not do that in time: all items that it has count as
            // begun.
            process => {
                self.records = Records::Broken;
                match process {
                    Some(_) => self.cut(),
                    None => drop(shutdown(&self.child.socket, Shutdown::Both)),
                }
            }
        }
    }

    /// If there is a reason `why` the record that the worker has begun to send cannot be received,
    /// keeps it for the error and has the worker killed. (The earlier records are valid: the item
    /// whose result this is gets the blame.)
    pub(super) fn refuse(&mut self, why: Option<String>) {
        if let Some(why) = why {
            self.records = Records::TooLong;
            self.note.get_or_insert(why);
            self.is_useless = true;
        }
    }

    fn cut(&mut self) {
        let _ = shutdown(&self.child.socket, Shutdown::Both);
        self.child.cut();
        self.abandon_at.get_or_insert(Instant::now() + LEAVE_LIMIT);
    }

    /// Kills a worker that cannot send any more, and has not ended by itself in time.
    pub(crate) fn finish_off(&mut self) {
        self.killed.get_or_insert(Killed::Closed);
        if self.child.process.is_some() && !self.child.signal(Signal::KILL) {
            self.cut();
        }
    }

    /// The process of a launcher's worker has ended. True: so has the stream. Otherwise what else
    /// is left of the process's group is killed, since it may hold the stream; and the worker,
    /// unless the process has ended well, and so has handed it over.
    pub(crate) fn process_ended(&mut self) -> bool {
        if !self.is_launched() || self.at_end {
            return true;
        }
        self.has_outlived = true;
        self.child.end_family();
        let process = self.child.process.as_ref();
        self.status = process.and_then(|process| process.fetch().ok().flatten());
        if !self.status.is_some_and(|status| status.success()) {
            self.child.shut();
            self.abandon_at.get_or_insert(Instant::now() + LEAVE_LIMIT);
        }
        false
    }

    /// Its stream has ended. True: so has its process, or it has none here. Otherwise that gets
    /// some time to end, and is killed then: one that is dying closes its stream first, and its
    /// status says why.
    pub(crate) fn stream_ended(&mut self) -> bool {
        self.at_end = true;
        let is_over = self.child.process.is_none() || self.has_outlived;
        self.finish_at = (!is_over).then(|| Instant::now() + LEAVE_LIMIT);
        is_over
    }

    /// The process is gone: reaps it, and returns what is known of its end, and whether its last
    /// records may be lost; the launcher's `ended` may correct that.
    pub(crate) fn reap(&mut self, ended: impl FnOnce(&mut Ending)) -> (Evidence, bool) {
        let mut ending = Ending::default();
        self.child.end_family();
        let process = self.child.process.as_ref();
        let fetched = || match process?.fetch() {
            Ok(None) => process?.traced_status(self.child.pid),
            status => status.ok()?,
        };
        if let Some(status) = self.status.or_else(fetched) {
            (ending.code, ending.signal) = (status.code(), child::signal_of(status));
        }
        // What a dead process wrote to our socket can be read; what forwards the stream may have
        // held records when it ended.
        ending.loses_records = !self.extras.is_direct;
        ending.was_reset = self.is_reset;
        self.output.drain();
        let ran_out;
        (ending.stderr, ran_out) = self.stderr.last();
        ended(&mut ending);
        let memory = match ran_out || worker_stderr::says_out_of_memory(&ending.stderr) {
            true => Memory::AllocationFailed,
            false => Memory::Unknown,
        };
        let evidence = Evidence {
            pid: self.child.pid,
            code: ending.code,
            signal: ending.signal,
            killed: self.killed,
            memory,
            note: self.note.take().or(ending.note),
            stderr_tail: worker_stderr::text(ending.stderr.as_bytes()),
            backtrace: self.carrier.backtrace(ending.signal),
            ..Evidence::default()
        };
        (evidence, self.is_launched() && ending.loses_records)
    }
}
