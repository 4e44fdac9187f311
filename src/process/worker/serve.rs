//! How a worker process begins and ends: its signals, session, descriptors and exit.
//!
//! **Protocol.**
//! 1. Start ([`serve`]): all signals are unblocked, whatever the thread that started this process
//!    had blocked. Other inherited descriptors are closed. The socket moves from standard input to
//!    a descriptor that no child inherits, and `/dev/null` takes its place. The kernel is asked to
//!    kill this process when the thread that started it ends (not where that is a shell or a
//!    holder, on other machines), a session without a terminal begins (Ctrl-C does not reach it),
//!    with the feature `backtrace` crashes are noted in the ledger (`host::crash_handler`), and a
//!    thread begins to watch the socket and the bell.
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
//! Tests: `tests/process/pool.rs::{no_worker_outlives_its_parent, printing_corrupts_nothing,
//! a_worker_is_a_clean_place}`.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::process::exit;
use std::sync::Arc;
use std::time::Instant;

use super::batch::{Batch, QUICK, Serving};
use super::cancel::begins_nothing;
use super::fork_server::{self, NUMBERS, Order};
use super::memory_limit::MemoryLimit;
use super::peer::outlet::Outlet;
use super::peer::{Inlet, meet};
use super::raw_call;
use super::stream::{Received, Stream, end_process};
use crate::chaos;
use crate::process::value::attachments::Descriptors;
use crate::process::value::copies::Copies;
use crate::process::value::lent_arrays::{Missing, View};
use crate::process::value::mapped::Mapped;
use crate::process::value::scope::{self, Decoding};
use crate::process::wire::invitation::{ANY, Invitation};
use crate::process::wire::{BatchHead, Frame, Reader, Record};
use crate::sys::fork;
use trefoil_os::host::broken_pipe;
use trefoil_os::host::image::image;
use trefoil_os::host::itself;
use trefoil_os::host::lifeline::hold_on;
use trefoil_os::host::worker::{
    close_inherited, discard_output, duplicate, empty_standard_input, is_child_of, is_one_socket,
    is_socket_of, join_output, lead, restore_interrupts, standard_input, unblock_all_signals,
};

/// Descriptors below this one are left to the program, which may expect certain numbers there.
pub(super) const FIRST_FD: i32 = 10;

/// Serves the parent that has sent this invitation, until the end of this process.
pub(crate) fn serve(invitation: &Invitation) -> ! {
    unblock_all_signals();
    set_name(&invitation.name);
    match settle_in(invitation) {
        Ok((mut inlet, mut state)) => {
            work(&mut inlet, &mut state, &mut Kept::default());
            exit(1) // a worker is asked for no other
        }
        Err(error) => end_process("begin", &error),
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
        let (input, output) = (duplicate(ends[0], FIRST_FD), duplicate(ends[1], FIRST_FD));
        close_inherited();
        if invitation.discards {
            discard_output()?;
        } else if ends.contains(&1) {
            join_output()?;
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

fn settle_in(invitation: &Invitation) -> io::Result<(Inlet, Serving)> {
    let (input, output) = take_stream(invitation)?;
    empty_standard_input()?;
    // A launcher's worker may be the child of anything. It ends at the end of the stream, together
    // with the processes that its items have started.
    let has_parent = invitation.parent != ANY;
    let ends_with_it =
        has_parent && (invitation.stream.is_none() || is_socket_of(&input, invitation.parent));
    let is_one = is_one_socket(&input, &output);
    let parents_end = ends_with_it.then(|| hold_on(invitation.parent));
    let parents_end = parents_end.flatten();
    if has_parent && is_child_of(invitation.parent) == Some(false) {
        exit(1); // the parent ended before it could be watched
    }
    // (Where the system does not say whose child this is, the end of the stream shows it.)
    lead();
    broken_pipe::ignore();
    fork::register_handler();

    let received = Received::new(input, parents_end);
    if !invitation.forks {
        return begin(received, output, is_one, MemoryLimit::new);
    }
    let seat = fork_server::serve(received, output)?; // from here on, this is a copy of the server
    let parents_end = hold_on(invitation.parent);
    if is_child_of(invitation.parent) == Some(false) {
        exit(1);
    }
    lead();
    let input = Stream::new(seat.stream);
    let output = input.try_clone()?;
    let received = Received::new(input, parents_end);
    let (inlet, mut state) = begin(received, output, true, MemoryLimit::in_copy)?;
    state.actor = seat.actor;
    Ok((inlet, state))
}

/// Waits for the welcome, and answers it.
fn begin(
    received: Received,
    output: Stream,
    is_one: bool,
    limited: fn(u64) -> io::Result<MemoryLimit>,
) -> io::Result<(Inlet, Serving)> {
    let (inlet, mut outlet, calls, limit) = meet(received, output, is_one)?;
    let memory = (limit > 0).then(|| limited(limit)).transpose()?;
    say_hello(&mut outlet);
    Ok((inlet, Serving::new(outlet, calls, memory)))
}

/// Says that this process is ready for its first batch.
pub(super) fn say_hello(outlet: &mut Outlet) {
    outlet.mark(); // what `main` has written so far belongs to no item
    let copy = image().name().as_bytes();
    outlet.record(&Record::Hello { copy }.bytes());
    outlet.flush();
}

/// What stays from frame to frame, besides what items use.
#[derive(Default)]
pub(super) struct Kept {
    home: Option<Arc<View>>,
    /// The attachments of the next frame.
    next_descriptors: Descriptors,
    copies: Copies,
    /// The memory that stays mapped between the items that need it (`memory_kept_by_worker`): an
    /// item that asks for it finds that mapping. What cannot be mapped now, each item maps itself.
    mappings: HashMap<u64, Arc<Mapped>>,
}

/// Does what the frames ask for, until one asks a fork server for a worker.
pub(super) fn work(inlet: &mut Inlet, state: &mut Serving, kept: &mut Kept) -> Order {
    let Kept {
        home,
        next_descriptors,
        copies,
        mappings,
    } = kept;
    loop {
        let descriptors = std::mem::take(next_descriptors);
        match inlet.next() {
            Frame::Descriptors(numbers) => {
                *next_descriptors = inlet.claim(&numbers, copies);
            }
            Frame::Keep(numbers) => {
                let map = |id| Some((id, Mapped::open(descriptors.find(id).ok()?, 0).ok()?));
                mappings.extend(numbers.into_iter().filter_map(map));
                *next_descriptors = descriptors;
            }
            Frame::Copy { of, bytes } => copies.part(of, bytes),
            Frame::Release(numbers) => {
                copies.release(&numbers);
                numbers.iter().for_each(|id| drop(mappings.remove(id)));
            }
            Frame::Nudge | Frame::Tree => {}
            Frame::Chaos(plan) => chaos::planned(plan),
            Frame::Home => *home = inlet.claim(&[0], copies).find(0).ok().map(View::of),
            Frame::Welcome { .. } | Frame::Recall { .. } => exit(1),
            Frame::Bye => exit(0),
            Frame::Fork {
                request,
                index,
                captures,
                processors,
                variables,
            } => {
                let come = inlet.claim(&NUMBERS[..2 + usize::from(captures)], copies);
                return Order {
                    request,
                    index,
                    captures,
                    processors,
                    variables,
                    come,
                };
            }
            Frame::Context { id, bytes } => {
                let bytes = Reader(bytes).bytes().unwrap_or_default();
                state.contexts.keep(id, bytes, descriptors);
            }
            Frame::Forget { id } => state.contexts.forget(id),
            Frame::Batch { batch, lent, items } => {
                state.outlet.release();
                let begin = Instant::now();
                let BatchHead { sequence, code, .. } = batch;
                let missing = Missing::new(&lent, items, home.as_ref(), copies);
                let arrived = missing.as_ref().map_or(0, Missing::here);
                let mut batch = Batch::new(batch, items, arrived, state);
                let mut own = Decoding::new(descriptors, missing);
                if !scope::decoding(&mut own, || raw_call::call(code, &mut batch)) {
                    exit(1);
                }
                if begins_nothing() {
                    batch.asks_to_retire(true);
                }
                let begun = batch.begun;
                let nanos = begin.elapsed().as_nanos().min(u64::MAX.into()) as u64;
                #[cfg(feature = "tracing")]
                crate::process::observe::send_events::report_dropped();
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
