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

use std::ffi::CString;
use std::io;
use std::process::exit;

use super::batch::Serving;
use super::fork_server;
use super::frames::{Kept, say_hello, work};
use super::memory_limit::MemoryLimit;
use super::parent_stream::{FIRST_FD, ParentStream, Received, end_process};
use super::peer::{Inlet, meet, start_watcher};
use crate::process::wire::invitation::{ANY, Invitation};
use crate::sys::fork;
use trefoil_os::host::broken_pipe;
use trefoil_os::host::itself;
use trefoil_os::host::lifeline::hold_on;
use trefoil_os::host::worker::{
    close_inherited, discard_output, duplicate, empty_standard_input, is_child_of, is_one_socket,
    is_socket_of, join_output, lead, restore_interrupts, standard_input, unblock_all_signals,
};

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
    if !name.is_empty()
        && let Ok(short) = CString::new(&name[..end])
    {
        itself::set_name(&short);
    }
}

/// Both directions of the stream, on descriptors that no child inherits. Closes all other
/// descriptors that came with `exec`.
fn take_stream(invitation: &Invitation) -> io::Result<(ParentStream, ParentStream)> {
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
        return Ok((ParentStream::new(input?), ParentStream::new(output?)));
    }
    close_inherited();
    let socket = ParentStream::new(standard_input(FIRST_FD)?);
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
    let input = ParentStream::new(seat.stream);
    let output = input.try_clone()?;
    let received = Received::new(input, parents_end);
    let (inlet, mut state) = begin(received, output, true, MemoryLimit::in_copy)?;
    state.actor = seat.actor;
    Ok((inlet, state))
}

/// Waits for the welcome, and answers it.
fn begin(
    received: Received,
    output: ParentStream,
    is_one: bool,
    limited: fn(u64) -> io::Result<MemoryLimit>,
) -> io::Result<(Inlet, Serving)> {
    let (inlet, mut outlet, calls, limit, watcher) = meet(received, output, is_one)?;
    let memory = (limit > 0).then(|| limited(limit)).transpose()?;
    say_hello(&mut outlet);
    // (After the hello: meanwhile the parent prepares the first item. If there can be no thread,
    // that has not begun, and runs elsewhere.)
    watcher.map(start_watcher).transpose()?;
    Ok((inlet, Serving::new(outlet, calls, memory)))
}
