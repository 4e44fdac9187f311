//! What frames reach this worker by, and its records leave by.
//!
//! There are two paths to a worker, and nothing outside of the `peer` directories asks on which of
//! them this one is reached:
//! - `stream`, the protocol as it works everywhere.
//! - `pages`, its optimisation on one machine: memory that both processes map, besides a stream.
//!
//! [`Outlet`] sends records on both.
//!
//! Tests: `tests/process/pool.rs::{map_is_ordered, large_things_both_ways_at_once}`, also with
//! `TREFOIL_PLAIN_WORKERS=1`; `tests/process/plain.rs`.

pub(super) mod outlet;
mod pages_inlet;
mod stream_inlet;

use std::io;
use std::process::exit;
use std::sync::Arc;

use rustix::net::RecvFlags;

use self::outlet::Outlet;
use self::pages_inlet::PagesInlet;
use self::stream_inlet::StreamInlet;
use super::cancel::{Calls, Canceller, calls};
use super::index::INDEX;
#[cfg(feature = "tracing")]
use super::parent_stream::send;
use super::parent_stream::{ParentStream, Received};
use super::retire;
use crate::loom::thread;
#[cfg(feature = "tracing")]
use crate::process::observe::send_events;
use crate::process::pages::raw_ledger::Pages;
use crate::process::value::attachments::{AttachedFile, Descriptors};
use crate::process::value::copies::Copies;
use crate::process::wire::{Frame, Record, Terms};
use crate::sys::refused::refused;
use crate::task::panic;
#[cfg(feature = "backtrace")]
use trefoil_os::host::crash_handler::note_crashes;
use trefoil_os::host::image::image;
use trefoil_os::host::worker::leave_no_core;

/// The stack of the watcher thread: it wakes tasks that await a token, and wakers are user code.
const WATCHER_STACK: usize = 256 << 10;

/// The incoming frames.
pub(super) struct Inlet(InletPath);

enum InletPath {
    /// That of a plain worker, and its current frame.
    Stream(Arc<StreamInlet>, Vec<u8>),
    Pages(PagesInlet),
}

impl Inlet {
    /// The next complete frame.
    pub(super) fn next(&mut self) -> Frame<'_> {
        let bytes = match &mut self.0 {
            InletPath::Stream(inlet, frame) => {
                inlet.next(frame);
                frame
            }
            InletPath::Pages(inlet) => inlet.next(),
        };
        whole(bytes)
    }

    /// The attachments with these numbers: descriptors that came with the last frame, or `copies`.
    pub(super) fn claim(&mut self, numbers: &[u64], copies: &Copies) -> Descriptors {
        match &mut self.0 {
            InletPath::Stream(..) => copies.find(numbers),
            InletPath::Pages(inlet) => inlet.received.arrivals.claim(numbers),
        }
    }

    /// Whether the records that wait can be sent after the next frame.
    pub(super) fn has_more(&mut self, outlet: &Outlet) -> bool {
        match &mut self.0 {
            InletPath::Stream(inlet, _) => inlet.has_batch(),
            InletPath::Pages(inlet) => inlet.has_more(outlet),
        }
    }
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    let Ok(Some((frame, _))) = Frame::decode(bytes) else {
        exit(1)
    };
    frame
}

/// How this worker is reached: its frames, its records, its calls; the limit to its memory; and its
/// watcher, if that is to be started once the parent knows that this worker is ready.
pub(super) type Parts = (Inlet, Outlet, Calls, u64, Option<Watcher>);

/// What the thread does that handles messages which cannot wait.
type Watcher = Box<dyn FnOnce() + Send>;

/// Waits for the first frame, and sets up the path on which this worker is reached, with its
/// watcher and the forwarding of events. Its answers go to `output`; `is_one`: that is the socket
/// from which the frames come.
pub(super) fn meet(
    mut received: Received,
    output: ParentStream,
    is_one: bool,
) -> io::Result<Parts> {
    let terms = welcome(&mut received)?;
    let _ = INDEX.set(terms.index as usize);
    if !terms.has_pages {
        let (inlet, outlet, calls) = on_stream(received, output, is_one, terms.events)?;
        return Ok((inlet, outlet, calls, terms.memory, None));
    }
    let socket = received.stream.try_clone()?.into_descriptor();
    let (inlet, outlet, calls, server) = on_pages(received, output, terms.events, true)?;
    std::mem::forget(server.lifeline); // it must stay open, and nothing else (`host::lifeline`)
    let (bell, canceller) = (server.bell, server.canceller);
    let watcher: Watcher = Box::new(move || pages_inlet::watch(&socket, &bell, &canceller));
    Ok((inlet, outlet, calls, terms.memory, Some(watcher)))
}

/// What a fork server keeps open for its parent, and closes in its copies; and what cancels calls.
pub(super) struct Server {
    bell: Arc<AttachedFile>,
    lifeline: Arc<AttachedFile>,
    canceller: Canceller,
}

/// The same for a fork server: it has pages, and no watcher.
pub(super) fn meet_as_server(
    mut received: Received,
    output: ParentStream,
) -> io::Result<(Inlet, Outlet, Calls, Server)> {
    let terms = welcome(&mut received)?;
    on_pages(received, output, terms.events, false)
}

/// Waits for the first frame.
fn welcome(received: &mut Received) -> io::Result<Terms> {
    let first = received.receive(RecvFlags::empty());
    first.map_err(refused("recvmsg"))?; // a refusal of the system can still be reported here
    let (length, _) = received.wait_for_frame();
    let own_copy = image().name().as_bytes();
    match whole(received.consume(length)) {
        Frame::Welcome { copy, terms } if copy == own_copy => {
            if !terms.cores {
                leave_no_core();
            }
            Ok(terms)
        }
        _ => Err(io::Error::other(
            "the parent's first message is not a welcome",
        )),
    }
}

/// Sets up the stream alone.
fn on_stream(
    mut received: Received,
    output: ParentStream,
    is_one: bool,
    _level: u8,
) -> io::Result<(Inlet, Outlet, Calls)> {
    // A descriptor arrives only if nothing forwards what the parent sends. Then nothing forwards
    // what this process sends either, if that goes through the same stream.
    let is_direct = is_one && received.arrivals.claim(&[0]).find(0).is_ok();
    let (pages, lock) = (Pages::own(), Arc::default());
    let (calls, canceller) = watched_calls(&pages);
    let inlet = StreamInlet::new(received, canceller, output.try_clone()?, Arc::clone(&lock));
    let inlet = Arc::new(inlet);
    let watched = inlet.clone();
    start_watcher(Box::new(move || watched.watch()))?;
    panic::install_hook();
    #[cfg(feature = "tracing")]
    if _level > 0 {
        let (stream, whole) = (output.try_clone()?, Arc::clone(&lock));
        let descriptor = rustix::fd::AsFd::as_fd(&stream).try_clone_to_owned()?;
        send_events::start(_level, descriptor, move |record| {
            let _whole = whole.lock();
            send_events::has_room(&stream, std::time::Duration::ZERO)
                && send(&stream, record, &[]).is_ok()
        });
    }
    let mut outlet = Outlet::new(output, pages, Some(lock));
    if is_direct {
        outlet.record(&Record::Direct.bytes());
    }
    Ok((Inlet(InletPath::Stream(inlet, Vec::new())), outlet, calls))
}

/// Sets up the pages, whose descriptors came with the first frame.
fn on_pages(
    mut received: Received,
    output: ParentStream,
    _level: u8,
    sleeps_on_word: bool,
) -> io::Result<(Inlet, Outlet, Calls, Server)> {
    let come = received.arrivals.claim(&[0, 1, 2, 3]);
    let find = |number| come.find(number).map_err(io::Error::other);
    let (memory, bell, lifeline) = (find(0)?, find(1)?, find(2)?);
    let pages = Pages::map(&*memory)?;
    #[cfg(feature = "backtrace")]
    note_crashes((*pages).clone());
    let (calls, canceller) = watched_calls(&pages);
    let inlet = PagesInlet::new(received, (*pages).clone(), sleeps_on_word);
    panic::install_hook();
    #[cfg(feature = "tracing")]
    if let Ok(pipe) = come.find(3) {
        send_events::start_with_pipe(_level, pipe)?;
    }
    let outlet = Outlet::new(output, pages, None);
    let server = Server {
        bell,
        lifeline,
        canceller,
    };
    Ok((Inlet(InletPath::Pages(inlet)), outlet, calls, server))
}

/// The calls of this process, and what cancels them.
fn watched_calls(pages: &Pages) -> (Calls, Canceller) {
    let (calls, canceller) = calls((**pages).clone());
    retire::prepare(canceller.clone());
    (calls, canceller)
}

/// Starts the thread that handles messages which cannot wait.
pub(super) fn start_watcher(work: Watcher) -> io::Result<()> {
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
