//! The worker's side: a process that runs items until it is dismissed.
//!
//! **Protocol.**
//! 1. Start ([`serve`]): all signals are unblocked, whatever the thread that started this process
//!    had blocked. Other inherited descriptors are closed. The socket moves from standard input to
//!    a descriptor that no child inherits, and `/dev/null` takes its place. The kernel is asked to
//!    kill this process when the thread that started it ends (not where that is a shell or a
//!    holder, on other machines), a session without a terminal begins, crashes are noted in the
//!    ledger (`host::crash_handler`), and a thread begins to watch the socket and the bell.
//! 2. The parent's first frame is `WELCOME`, and the descriptors of the ledger, of the bell and of
//!    the lifeline (`host::lifeline`) come with it. From here on no core files are written, unless
//!    it says otherwise. Answer `HELLO`.
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
//! its user) or not made, the parent's end of the stream closes, and this process group ends. When
//! this process has ended, however it did, its parent ends the processes which its items have
//! started, too (W58); if the parent itself is gone these may go on, as the children of any killed
//! process do.
//!
//! The protocol's own code cannot panic while an item runs. Anything unexpected (a closed socket,
//! an invalid frame) ends the process, and the parent notices.
//!
//! Tests: `tests/process/pool.rs` (orphans, standard streams, descriptors).

use std::ffi::CString;
use std::io;
use std::process::exit;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};

use super::batch::{Batch, Outlet, QUICK, WorkerState};
use super::call::{Calls, Canceller, calls, retires};
use super::context::Contexts;
use super::index::INDEX;
use super::inlet::{FastInlet, Inlet};
use super::memory_limit::MemoryLimit;
use super::own_tree;
use super::plain_inlet::PlainInlet;
use super::raw_call;
use super::received::ParentStream;
use super::retire;
use super::stream::{Stream, die, ends};
use crate::loom::{Mutex, thread};
use crate::process::host::broken_pipe;
use crate::process::host::crash_handler::note_crashes;
use crate::process::host::image::image;
use crate::process::host::itself;
use crate::process::host::ledger::Pages;
use crate::process::host::lifeline::hold_on;
use crate::process::host::worker::{
    close_inherited, discard_output, duplicate, empty_standard_input, is_child_of, is_one_socket,
    is_socket_of, join_output, lead, leave_no_core, restore_interrupts, standard_input,
    unblock_all_signals,
};
use crate::process::host::worker_bell::QUESTION;
use crate::process::value::attachments::{Attachment, Descriptors};
use crate::process::value::copies::Copies;
use crate::process::value::extras::Decoding;
use crate::process::value::kept_mappings::KeptMappings;
use crate::process::value::lent_arrays::{Missing, View};
use crate::process::value::scope;
use crate::process::wire::invitation::{ANY, Invitation};
use crate::process::wire::{BatchHead, Frame, Reader, Record};
use crate::sys::fork;
use crate::sys::poll::poll_patiently;
use crate::sys::refused::refused;
use crate::sys::sockets::ENDS;
use crate::sys::transfer;
use crate::task::panic;

/// Descriptors below this one are left to the program, which may expect certain numbers there.
const FIRST_FD: i32 = 10;

/// The stack of the watcher thread: it wakes tasks that await a token, and wakers are user code.
const WATCHER_STACK: usize = 256 << 10;

/// Serves the parent that has sent this invitation, until the end of this process.
pub(crate) fn serve(invitation: &Invitation) -> ! {
    unblock_all_signals();
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
        let [input, output] = ends.map(|end| duplicate(end, FIRST_FD));
        close_inherited();
        match invitation.discards {
            true => discard_output()?,
            false if ends.contains(&1) => join_output()?,
            false => {}
        }
        // (A shell that started it in the background has made it ignore `SIGINT`.)
        restore_interrupts();
        return Ok((Stream::new(input?), Stream::new(output?)));
    }
    close_inherited();
    let socket = Stream::new(standard_input(FIRST_FD)?);
    let output = socket.try_clone()?;
    Ok((socket, output))
}

fn settle_in(invitation: &Invitation) -> io::Result<(Inlet, WorkerState)> {
    let (input, output) = take_stream(invitation)?;
    empty_standard_input()?;
    // A launcher's worker may be the child of anything. It ends at the end of the stream, together
    // with the processes that its items have started.
    let has_parent = invitation.parent != ANY;
    let ends_with_it =
        has_parent && (invitation.stream.is_none() || is_socket_of(&input, invitation.parent));
    let is_one = is_one_socket(&input, &output);
    let parents_end = match ends_with_it {
        true => hold_on(invitation.parent),
        false => None,
    };
    if has_parent && is_child_of(invitation.parent) == Some(false) {
        exit(1); // the parent ended before it could be watched
    }
    // (Where the system does not say whose child this is, the end of the stream shows it.)
    lead();
    broken_pipe::ignore();
    fork::register_handler();

    let mut inlet = FastInlet::new(ParentStream {
        stream: input,
        parents_end,
    });
    let copy = image().name().as_bytes();
    let (limit, plain, _events) = match inlet.begin().map_err(refused("recvmsg"))? {
        Frame::Welcome {
            copy: parents_copy,
            index,
            memory,
            cores,
            plain,
            events,
        } if copy == parents_copy => {
            let _ = INDEX.set(index as usize);
            if !cores {
                leave_no_core();
            }
            (memory, plain, events)
        }
        _ => {
            return Err(io::Error::other(
                "the parent's first message is not a welcome",
            ));
        }
    };
    let whole = plain.then(Arc::<Mutex<()>>::default);
    // A descriptor arrives only if nothing forwards what the parent sends. Then nothing forwards
    // what this process sends either, if that goes through the same stream.
    let is_direct = plain && is_one && inlet.received.arrivals.claim(&[0]).find(0).is_ok();
    let (inlet, pages, calls, _pipe) = match &whole {
        Some(whole) => plain_worker(inlet, output.try_clone()?, whole.clone())?,
        None => fast_worker(inlet)?,
    };
    panic::install_hook();
    #[cfg(feature = "tracing")]
    super::tracing_events::begin(_events, &output, _pipe, whole.as_ref())?;
    let mut outlet = Outlet::new(output, pages, whole);
    let memory = (limit > 0).then(|| MemoryLimit::new(limit)).transpose()?;
    if is_direct {
        outlet.record(&Record::Direct.bytes());
    }
    outlet.mark(); // what `main` has written so far belongs to no item
    outlet.record(&Record::Hello { copy }.bytes());
    outlet.flush();
    let state = WorkerState {
        outlet,
        calls,
        contexts: Contexts::default(),
        actor: None,
        memory,
        retiring: false,
        replays: None,
    };
    Ok((inlet, state))
}

/// What the two kinds of workers differ in; last, the pipe for events, if there is one.
type Parts = (Inlet, Pages, Calls, Option<Arc<Attachment>>);

/// Sets up the fast path, whose descriptors came with the first frame.
fn fast_worker(mut inlet: FastInlet) -> io::Result<Parts> {
    let come = inlet.received.arrivals.claim(&[0, 1, 2, 3]);
    let [memory, bell, lifeline] = [0, 1, 2].map(|n| come.find(n).map_err(io::Error::other));
    std::mem::forget(lifeline?); // it must stay open, and nothing else (`host::lifeline`)
    let pages = Pages::map(&*memory?)?;
    note_crashes(&pages);
    inlet.front = Some((*pages).clone());
    let (calls, canceller) = calls((*pages).clone());
    retire::prepare(canceller.clone());
    let socket = inlet.received.source.stream.try_clone()?;
    watch(socket.into_descriptor(), bell?, canceller)?;
    Ok((Inlet::Fast(inlet), pages, calls, come.find(3).ok()))
}

/// Sets up a plain worker, which answers on `output`.
fn plain_worker(inlet: FastInlet, output: Stream, whole: Arc<Mutex<()>>) -> io::Result<Parts> {
    let pages = Pages::own();
    let (calls, canceller) = calls((*pages).clone());
    retire::prepare(canceller.clone());
    let inlet = PlainInlet::new(inlet.received, canceller, output, whole);
    let inlet = Arc::new(inlet);
    let watched = inlet.clone();
    start_watcher(move || watched.watch())?;
    Ok((Inlet::Plain(inlet, Vec::new()), pages, calls, None))
}

pub(super) fn work(inlet: &mut Inlet, state: &mut WorkerState) -> ! {
    let mut home = None;
    // The attachments of the next frame.
    let mut next_descriptors = Descriptors::default();
    let mut copies = Copies::default();
    let mut mappings = KeptMappings::default();
    loop {
        let descriptors = std::mem::take(&mut next_descriptors);
        match inlet.frame() {
            Frame::Descriptors(numbers) => {
                next_descriptors = match inlet.is_plain() {
                    true => copies.find(&numbers),
                    false => inlet.claim(&numbers),
                };
            }
            Frame::Keep(numbers) => {
                mappings.keep(&numbers, &descriptors);
                next_descriptors = descriptors;
            }
            Frame::Copy {
                id,
                length,
                kind,
                bytes,
            } => copies.part(id, length, kind, bytes),
            Frame::Release(numbers) => {
                copies.release(&numbers);
                mappings.release(&numbers);
            }
            Frame::Nudge | Frame::Tree => {}
            Frame::Home => home = inlet.claim(&[0]).find(0).ok().map(View::of),
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
                let missing = Missing::new(&lent, items, home.as_ref(), &mut copies);
                let arrived = missing.as_ref().map_or(0, Missing::here);
                let mut batch = Batch::new(batch, items, arrived, state);
                let mut own = Decoding::new(descriptors, missing);
                if !scope::decoding(&mut own, || raw_call::call(code, &mut batch)) {
                    exit(1);
                }
                if retires() {
                    batch.retires(true);
                }
                let begun = batch.begun;
                let nanos = begin.elapsed().as_nanos().min(u64::MAX.into()) as u64;
                #[cfg(feature = "tracing")]
                super::tracing_events::report_dropped();
                let end = Record::End {
                    sequence,
                    begun,
                    nanos,
                };
                state.outlet.record(&end.bytes());
                if nanos >= QUICK {
                    state.outlet.mark();
                }
                if !inlet.has_more(&state.outlet) {
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
            poll_patiently(&mut fds, None);
            if !fds[0].revents().is_empty() || !PollFlags::IN.contains(fds[1].revents()) {
                die(); // or an item has closed our descriptor
            }
            // Listens even if nothing is known: if an item has set the limit on descriptors to
            // zero, the kernel polls none. Silences the bell before it looks, so that a later ring
            // wakes it again.
            let mut heard = [0; 64];
            let count = match transfer::receive(bell.as_fd(), true, &mut heard[..]) {
                Ok(0) => die(), // the parent is gone
                result => result.unwrap_or(0),
            };
            canceller.look();
            if heard[..count].contains(&QUESTION) {
                own_tree::answer_to(&*bell);
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
        let message = format!("the thread that watches its parent could not be started: {error}");
        io::Error::new(error.kind(), message)
    });
    watcher.map(drop)
}
