//! The worker's side: a process that runs items until it is told to leave.
//!
//! **Protocol.**
//! 1. Start ([`serve`]): all signals are unblocked, whatever the thread that started this process
//!    had blocked. Other inherited descriptors are closed. The socket moves from standard input to
//!    a descriptor that no child inherits, and `/dev/null` takes its place. The kernel is asked to
//!    kill this process when the thread that started it ends, no core files are written, and a
//!    thread begins to watch the socket and the bell. (On another machine the stream is two
//!    descriptors.)
//! 2. The parent's first frame is `WELCOME`, and the descriptors of the ledger, of the bell and of
//!    the lifeline (`sys::lifeline`) come with it. Answer `HELLO`.
//! 3. For each frame, from the socket or, while this process is awake, from the shared ring: run
//!    the items, send their results, then `End`. If the next frame is there and brief, both are
//!    sent with its results. If a caller polls the ledger for results (`shortcut`), look for the
//!    next frame for a moment before sending them. Keep the contexts of batches until `Forget`. (An
//!    initializer is simply the first batch.)
//! 4. `Bye`: exit, and run the program's exit handlers.
//!
//! **Orphans.** However the parent dies, the kernel kills this process at once, even in the middle
//! of an item. Before this process has asked for that, in code that runs before `init`, the
//! lifeline does the same. Where the request was undone (the kernel forgets it when an item changes
//! its user), the parent's end of the socket closes, and the watcher kills this process group. A
//! parent that kills its worker kills the processes which its items have started, too; if the
//! parent itself is gone these may go on, as the children of any killed process do.
//!
//! The protocol's own code cannot panic while an item runs. Anything unexpected (a closed socket,
//! an invalid frame) ends the process, and the parent notices.
//!
//! Tests: `tests/process/pool.rs` (orphans, standard streams, descriptors).

use std::ffi::CString;
use std::io::{self, Write};
use std::process::exit;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::batch::{Batch, Outlet, QUICK, WorkerState, send};
use super::call::{Calls, Canceller, calls};
use super::context::Contexts;
use super::memory::MemoryLimit;
use super::raw_call;
use super::stream::{Stream, die, ends};
use crate::loom::{Mutex, hint, thread};
use crate::process::fast::look::LOOK;
use crate::process::fast::shared_ring::SharedRing;
use crate::process::payload::attachments::{Arrivals, Attachment, Descriptors};
use crate::process::payload::copies::Copies;
use crate::process::payload::scope::{self, Decoding};
use crate::process::payload::shared_buffer::{Missing, View};
use crate::process::wire::invitation::Invitation;
use crate::process::wire::{self, BatchHead, Frame, Reader, Record};
use crate::sys::broken_pipe;
use crate::sys::child::Handle;
use crate::sys::fork;
use crate::sys::image::image;
use crate::sys::itself;
use crate::sys::large_pages;
use crate::sys::ledger::{Front, Pages};
use crate::sys::lifeline::hold_on;
use crate::sys::poll::poll;
use crate::sys::refused::refused;
use crate::sys::sockets::{ENDS, RECEIVE};
use crate::sys::ticks;
use crate::sys::transfer;
use crate::sys::worker::{
    close_inherited, duplicate, empty_standard_input, hear_all_signals, hear_interrupts,
    is_child_of, is_socket_of, lead, leave_no_core, standard_input,
};
use crate::task::panic;

/// Descriptors below this one are left to the program, which may expect certain numbers there.
const FIRST_FD: i32 = 10;

/// How much is received at once, unless a frame has announced that it is larger.
const ROOM: usize = 8 << 10;
/// How much of the buffer for frames is kept after a large frame.
const KEPT: usize = 4 << 20;

/// For a frame of up to so many bytes, memory is allocated as soon as its length is known; for a
/// larger one, as its bytes arrive.
const BELIEVED: usize = 64 << 20;

/// The stack of the watcher thread: it wakes tasks that await a token, and wakers are user code.
const WATCHER_STACK: usize = 256 << 10;

/// Serves the parent that has sent this invitation, until the end of this process.
pub(crate) fn serve(invitation: &Invitation) -> ! {
    hear_all_signals();
    set_name(&invitation.name);
    match settle_in(invitation) {
        Ok((mut inlet, mut state)) => work(&mut inlet, &mut state),
        Err(error) => ends("begin", &error),
    }
}

/// Sets the name that process lists show: as much of `name` as the kernel takes, or of the
/// program's name if `name` is empty, because the lists would show `exe` otherwise.
fn set_name(name: &str) {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = std::path::Path::new(&program)
        .file_name()
        .unwrap_or_default();
    let program = program.to_string_lossy();
    let name = if name.is_empty() { &program } else { name };
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let short = CString::new(&name[..end]);
    if let (Ok(short), false) = (short, name.is_empty()) {
        itself::set_name(&short);
    }
}

/// Both directions of the stream, on descriptors that no child inherits. Closes all other
/// descriptors that came with `exec`.
fn take_stream(invitation: &Invitation) -> io::Result<(Stream, Stream)> {
    if let Some(ends) = invitation.stream {
        let [hears, says] = ends.map(|end| duplicate(end, FIRST_FD));
        close_inherited(&invitation.handed_on);
        // On another machine the worker makes its own process group, so that what its items start
        // dies with it; and the shell that started it in the background made it ignore `SIGINT`.
        lead();
        hear_interrupts();
        return Ok((Stream::new(hears?), Stream::new(says?)));
    }
    close_inherited(&invitation.handed_on);
    let socket = Stream::new(standard_input(FIRST_FD)?);
    let output = socket.try_clone()?;
    Ok((socket, output))
}

fn settle_in(invitation: &Invitation) -> io::Result<(Inlet, WorkerState)> {
    let (input, output) = take_stream(invitation)?;
    empty_standard_input()?;
    // On another machine the parent process may be a shell. Then this process ends at the end of
    // the stream, together with the processes that its items have started.
    let is_shells = invitation.stream.is_some() && !is_socket_of(&input, invitation.parent);
    let parents_end = match is_shells {
        true => None,
        false => hold_on(invitation.parent),
    };
    if !is_child_of(invitation.parent) {
        exit(1); // the parent ended before it could be watched
    }
    leave_no_core();
    broken_pipe::ignore();
    fork::watch();

    let mut inlet = Inlet::new(input);
    let first = inlet.take(RecvFlags::empty());
    first.map_err(refused("recvmsg"))?; // a refusal of the system can still be reported here
    let copy = image().name().as_bytes();
    let (limit, plain) = match inlet.frame() {
        Frame::Welcome {
            copy: parents_copy,
            memory,
            plain,
        } if copy == parents_copy => (memory, plain),
        _ => return Err(io::Error::other("the parent's first word was no welcome")),
    };
    let whole = plain.then(Arc::<Mutex<()>>::default);
    let (inlet, pages, calls) = match &whole {
        Some(whole) => plain_worker(inlet, output.try_clone()?, whole.clone(), parents_end)?,
        None => fast_worker(inlet)?,
    };
    panic::install_hook();
    let mut outlet = Outlet::new(output, pages, whole);
    let memory = (limit > 0).then(|| MemoryLimit::new(limit)).transpose()?;
    outlet.mark(); // what `main` has written so far belongs to no item
    outlet.record(&Record::Hello { copy }.bytes());
    outlet.flush();
    let state = WorkerState {
        outlet,
        calls,
        contexts: Contexts::default(),
        memory,
        retiring: false,
    };
    Ok((inlet, state))
}

/// Sets up the fast path, whose descriptors came with the first frame.
fn fast_worker(mut inlet: Inlet) -> io::Result<(Inlet, Pages, Calls)> {
    let come = inlet.arrivals.claim(&[0, 1, 2]);
    let [memory, bell, lifeline] = [0, 1, 2].map(|n| come.find(n).map_err(io::Error::other));
    std::mem::forget(lifeline?); // it must stay open, and nothing else (`sys::lifeline`)
    let pages = Pages::map(&*memory?)?;
    inlet.front = Some((*pages).clone());
    let (calls, canceller) = calls((*pages).clone());
    watch(
        inlet.stream.try_clone()?.into_descriptor(),
        bell?,
        canceller,
    )?;
    Ok((inlet, pages, calls))
}

/// Sets up a plain worker: a thread reads the stream at any time, handles the frames that cannot
/// wait, and passes on the others. It answers on `output`.
fn plain_worker(
    mut inlet: Inlet,
    output: Stream,
    whole: Arc<Mutex<()>>,
    parents_end: Option<Handle>,
) -> io::Result<(Inlet, Pages, Calls)> {
    let pages = Pages::own();
    let (calls, canceller) = calls((*pages).clone());
    let (hand_on, relayed) = mpsc::channel();
    let mut own = Inlet::new(inlet.stream.try_clone()?);
    own.relayed = Some(relayed);
    inlet.parents_end = parents_end;
    start_watcher(move || {
        loop {
            let frame = inlet.next().to_vec();
            match Frame::decode(&frame) {
                Ok(Some((Frame::Recall { sequence, cancel }, _))) => {
                    let end = canceller.recall(sequence, cancel);
                    let record = Record::Recalled { sequence, end }.bytes();
                    let one = whole.lock();
                    let _ = send(&output, &record, &[]); // without attachments nothing is refused
                    drop(one);
                    if cancel {
                        canceller.look(); // last, because wakers are user code and may take long
                    }
                    continue;
                }
                Ok(Some((Frame::Batch { batch, .. }, _))) => {
                    canceller.open(batch.sequence, batch.count);
                }
                _ => {}
            }
            if hand_on.send(frame).is_err() {
                return;
            }
        }
    })?;
    Ok((own, pages, calls))
}

fn work(inlet: &mut Inlet, state: &mut WorkerState) -> ! {
    let mut home = None;
    // The attachments of the next frame.
    let mut next_descriptors = Descriptors::default();
    let mut copies = Copies::default();
    loop {
        let descriptors = std::mem::take(&mut next_descriptors);
        match inlet.frame() {
            Frame::Descriptors(numbers) => {
                next_descriptors = match inlet.is_plain() {
                    true => copies.find(&numbers),
                    false => inlet.arrivals.claim(&numbers),
                };
            }
            Frame::Copy { id, length, bytes } => copies.part(id, length, bytes),
            Frame::Release(numbers) => copies.release(&numbers),
            Frame::Nudge | Frame::Terms { .. } => {}
            Frame::Home => home = inlet.arrivals.claim(&[0]).find(0).ok().map(View::of),
            Frame::Welcome { .. } | Frame::Recall { .. } => exit(1),
            Frame::Bye => exit(0),
            Frame::Context { id, bytes } => {
                let bytes = Reader(bytes).bytes().unwrap_or_default();
                state.contexts.keep(id, bytes, descriptors);
            }
            Frame::Forget { id } => state.contexts.forget(id),
            Frame::Share { id, from } => {
                let served = state.contexts.share(id, from);
                state.outlet.announce(&Record::Serves { id, served });
            }
            Frame::Batch { batch, lent, items } => {
                state.outlet.release();
                let begin = Instant::now();
                let BatchHead { sequence, code, .. } = batch;
                let mut batch = Batch::new(batch, items, state);
                let missing = Missing::new(&lent, items, home.as_ref());
                let mut own = Decoding::new(descriptors, missing);
                if !scope::decoding(&mut own, || raw_call::call(code, &mut batch)) {
                    exit(1);
                }
                let begun = batch.begun;
                let nanos = begin.elapsed().as_nanos().min(u64::MAX.into()) as u64;
                let end = Record::End {
                    sequence,
                    begun,
                    nanos,
                };
                state.outlet.record(&end.bytes());
                if nanos >= QUICK {
                    state.outlet.mark();
                }
                let later = inlet.has_brief() || inlet.lingers(&state.outlet);
                if !later {
                    state.outlet.flush();
                }
            }
        }
    }
}

/// Starts the watcher of the fast path. It kills this process and its group as soon as the parent's
/// end of `socket` closes, and cancels unwanted items when `bell` rings.
fn watch(socket: OwnedFd, bell: Arc<Attachment>, canceller: Canceller) -> io::Result<()> {
    start_watcher(move || {
        loop {
            let mut fds = [
                PollFd::new(&socket, ENDS),
                PollFd::new(&bell, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                Err(_) => die(),
                Ok(_) => {}
            }
            if !fds[0].revents().is_empty() {
                die();
            }
            match fds[1].revents() {
                PollFlags::IN => {
                    // Silences the bell before it looks, so that a later ring wakes it again.
                    let _ = transfer::receive(bell.as_fd(), false, &mut [0; 8][..]);
                    canceller.look();
                }
                nothing if nothing.is_empty() => {}
                _ => die(), // an item has closed our descriptor
            }
        }
    })
}

/// Starts the thread that handles messages which cannot wait.
fn start_watcher(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let watcher = thread::Builder::new()
        .name("trefoil-watch".to_owned())
        .stack_size(WATCHER_STACK);
    let watcher = watcher.spawn(work);
    let watcher = watcher.map_err(|error| {
        let words = format!("the thread that watches its parent could not be started: {error}");
        io::Error::new(error.kind(), words)
    });
    watcher.map(drop)
}

/// Waits until there is something to receive. Ends this process if the parent is gone.
fn until_some_or_orphaned(socket: &Stream, parents_end: &Handle) {
    let mut fds = [
        PollFd::new(socket, PollFlags::IN),
        PollFd::new(parents_end, PollFlags::IN),
    ];
    // After any other error, the next read of the stream fails.
    while poll(&mut fds, None) == Err(Errno::INTR) {}
    if !fds[1].revents().is_empty() {
        die();
    }
}

/// The length of the frame at the front of `bytes`, if its head is there.
fn announced(bytes: &[u8]) -> Option<usize> {
    match wire::announced(bytes) {
        Ok(length) => length,
        Err(wire::Broken) => exit(1),
    }
}

/// The incoming frames.
struct Inlet {
    stream: Stream,
    /// The receive buffer: the bytes from `start` to `end` have not been used yet.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    arrivals: Arrivals,
    /// The parent's count of sends, when this was last read.
    deliveries: u64,
    /// The pages with the shared ring; `None`: the worker is plain.
    front: Option<Front>,
    /// A frame that was copied out of the shared ring, or relayed; and whether it is the next
    /// frame.
    copied: Vec<u8>,
    has_frame: bool,
    /// How many bytes from the socket have been used.
    place: u64,
    /// The position of the next frame in the shared ring.
    head: u64,
    /// In a plain worker: the frames that the watcher thread has passed on.
    relayed: Option<mpsc::Receiver<Vec<u8>>>,
    /// Readable when the parent is gone, on systems whose kernel does not kill this process then.
    parents_end: Option<Handle>,
}

impl Inlet {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            bytes: vec![0; ROOM],
            start: 0,
            end: 0,
            arrivals: Arrivals::default(),
            deliveries: 0,
            front: None,
            copied: Vec::new(),
            has_frame: false,
            place: 0,
            head: 0,
            relayed: None,
            parents_end: None,
        }
    }

    /// Whether the next frame is here, and is a brief batch: then the records that wait can be sent
    /// after it. (In a plain worker any batch will do: its first item is reported at once, together
    /// with everything before it.)
    fn has_brief(&mut self) -> bool {
        let next = match self.finds_frame() {
            true => Frame::decode(&self.copied),
            false => Frame::decode(&self.bytes[self.start..self.end]),
        };
        matches!(next, Ok(Some((Frame::Batch { batch, .. }, _))) if batch.brief || self.is_plain())
    }

    /// If a caller polls for the results: looks for the next frame for a moment. True: it is here,
    /// and the caller has read the results.
    fn lingers(&mut self, outlet: &Outlet) -> bool {
        let Some(yields) = outlet.watched() else {
            return false;
        };
        let pages = &outlet.pages;
        self.tidy();
        let mut looks = ticks::Looks::new(LOOK);
        while self.end == 0 && !self.finds_frame() {
            let deliveries = pages.deliveries();
            if deliveries != self.deliveries {
                self.deliveries = deliveries;
                self.take(RECEIVE).unwrap_or_else(|_| die());
            }
            if looks.are_over() {
                break;
            }
            match yields {
                true => thread::yield_now(),
                false => hint::spin_loop(),
            }
        }
        (self.end > 0 || self.has_frame) && pages.is_heard()
    }

    /// Whether this worker is plain: only bytes arrive.
    fn is_plain(&self) -> bool {
        self.relayed.is_some()
    }

    fn ring(&self) -> Option<SharedRing<'_>> {
        self.front
            .as_ref()
            .map(|front| SharedRing::new(front.ring()))
    }

    /// Whether the next frame is in the shared ring, or was relayed; then it is in `copied`.
    #[inline]
    fn finds_frame(&mut self) -> bool {
        if self.has_frame {
            return true;
        }
        if let Some(front) = &self.front {
            let ring = SharedRing::new(front.ring());
            self.has_frame = ring.read(&mut self.head, self.place, &mut self.copied);
        } else if let Some(Ok(frame)) = self.relayed.as_ref().map(mpsc::Receiver::try_recv) {
            (self.copied, self.has_frame) = (frame, true);
        }
        self.has_frame
    }

    /// The next frame, whole.
    fn frame(&mut self) -> Frame<'_> {
        let Ok(Some((frame, _))) = Frame::decode(self.next()) else {
            exit(1)
        };
        frame
    }

    /// The bytes of the next frame, whole.
    fn next(&mut self) -> &[u8] {
        if let (Some(relayed), false) = (&self.relayed, self.has_frame) {
            self.copied = Vec::new(); // the memory of a large frame is freed before the wait
            self.copied = relayed.recv().unwrap_or_else(|_| exit(1));
            return &self.copied;
        }
        loop {
            if self.finds_frame() {
                self.has_frame = false;
                return &self.copied;
            }
            let here = &self.bytes[self.start..self.end];
            match announced(here).filter(|length| *length <= here.len()) {
                Some(length) => {
                    self.start += length;
                    self.place += length as u64;
                    return &self.bytes[self.start - length..self.start];
                }
                None => self.receive(),
            }
        }
    }

    /// Waits for more bytes.
    fn receive(&mut self) {
        self.tidy();
        // The room grows with what has arrived, so that a wrong length does not allocate much
        // memory.
        let want = announced(&self.bytes[..self.end]).unwrap_or(0);
        let want = want.min(BELIEVED.max(4 * self.end));
        if want > self.bytes.len() || self.end == 0 && self.bytes.len() > KEPT {
            // Exactly as much room as is needed, so that the memory of one large frame is not kept
            // for ever.
            let mut exact = Vec::with_capacity(want.max(ROOM));
            large_pages::advise(&mut exact);
            exact.extend_from_slice(&self.bytes[..self.end]);
            exact.resize(want.max(ROOM), 0);
            self.bytes = exact;
        }
        // The worker does not sleep in the middle of a frame, because the rest is on its way.
        let sleeps = self.end == 0 && self.ring().is_none_or(|ring| ring.falls_asleep(self.head));
        let mut flags = RecvFlags::empty();
        if self.end == 0 && !sleeps {
            if self.finds_frame() {
                return;
            }
            // A frame in the shared ring whose turn has not come follows bytes that have already
            // been sent.
            flags = RECEIVE;
        }
        match self.take(flags) {
            Ok(true) => {}
            Ok(false) => exit(1), // an item has overwritten the shared pages
            Err(error) => {
                let why = refused("recvmsg")(error);
                let _ = writeln!(
                    io::stderr(),
                    "trefoil: a worker could not hear its parent: {why}"
                );
                die()
            }
        }
        if let (true, Some(ring)) = (sleeps, self.ring()) {
            ring.wakes();
        }
    }

    /// Appends received bytes to the buffer. False: there are none now.
    fn take(&mut self, flags: RecvFlags) -> rustix::io::Result<bool> {
        loop {
            if let Some(parents_end) = &self.parents_end {
                until_some_or_orphaned(&self.stream, parents_end);
            }
            let room = &mut self.bytes[self.end..];
            match self.stream.receive(&mut self.arrivals, room, flags) {
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

    /// Removes the used bytes from the buffer.
    fn tidy(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.arrivals.used(self.end);
    }
}
