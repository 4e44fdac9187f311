//! In the fork server of a pool: it runs the initializers, and makes a copy of itself for each
//! worker that its parent asks for.
//!
//! **Job.** The server is started as a worker is (`serve`), with an invitation that says what it
//! is. It has one thread: what a copy finds in memory is whole, and no lock in it is held.
//!
//! **Protocol.**
//! 1. Welcome, hello and batches are those of a worker; each batch is an initializer. Nothing else
//!    runs here, and nothing watches: the kernel kills this process when its parent's thread ends,
//!    and so does its lifeline.
//! 2. `Fork` asks for a worker; its stream and its output come with the frame. The server checks
//!    that it is alone, notes the request where the parent sees it, and makes the copy
//!    (`host::sibling`), which is a child of the parent. It closes what was for the copy, and
//!    answers with `Forked`.
//! 3. In the copy [`serve`] returns. It has closed what was the server's, and has the output and
//!    the environment that were asked for. From there on it is a worker as any other, and begins
//!    with its welcome.
//! 4. `Bye`, the end of the stream: the server ends. Its copies do not notice.
//!
//! A thread that an initializer has left is waited for ([`ALONE_WITHIN`]), because it may be about
//! to end. If it stays, the answer is final: no server could do better.
//!
//! Tests: `tests/process/fork_server.rs`.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;

use super::batch::Serving;
use super::frames::{Kept, NUMBERS, Order, say_hello, work};
use super::parent_stream::{FIRST_FD, ParentStream, Received};
use super::peer::{Inlet, Server, meet_as_server};
use crate::process::limits::ALONE_WITHIN;
use crate::process::value::attachments::AttachedFile;
use crate::process::wire::{ForkAnswer, ForkOrder, Record};
use trefoil_os::host::affinity::pin;
use trefoil_os::host::itself::is_alone;
use trefoil_os::host::sibling;

/// What a copy becomes a worker with.
pub(super) struct Seat {
    pub(super) stream: OwnedFd,
    /// What an actor's server has loaded.
    pub(super) actor: Option<Box<dyn Any>>,
}

/// Why an order cannot be carried out, and whether none ever can.
type Refusal = (String, bool);

/// Serves as fork server until the end of the process. Returns in each copy.
pub(super) fn serve(received: Received, output: ParentStream) -> io::Result<Seat> {
    let (mut inlet, outlet, calls, server) = meet_as_server(received, output)?;
    let mut state = Serving::of_server(outlet, calls);
    say_hello(&mut state.outlet);
    let mut kept = Kept::default();
    loop {
        let order = work(&mut inlet, &mut state, &mut kept);
        let (pid, why, is_final) = match carry_out(&order.0, &state) {
            Ok(None) => return become_worker(order, (inlet, state, server)),
            Ok(Some(pid)) => (pid, String::new(), false),
            Err((why, is_final)) => (0, why, is_final),
        };
        state.outlet.announce(&Record::Forked(ForkAnswer {
            request: order.0.request,
            pid,
            is_final,
            why,
        }));
    }
}

/// Makes the copy. Returns its process id, and in the copy `None`.
fn carry_out(order: &ForkOrder, state: &Serving) -> Result<Option<u32>, Refusal> {
    wait_until_alone().map_err(|why| (why, true))?;
    sibling::flush_streams();
    let processors = &order.processors;
    // (While it lives this thread runs there, and so does what it makes, for ever.)
    let pinned = (!processors.is_empty()).then(|| pin(processors));
    let index = order.index;
    let pinned = pinned.transpose().map_err(|error| {
        let cannot = "cannot be pinned to the processors";
        (
            format!("worker {index} {cannot} {processors:?}: {error}"),
            false,
        )
    })?;
    let number = state.outlet.pages.copy_note().begin(order.request);
    let made = sibling::fork(number).map_err(|error| {
        let is_final = error.kind() == io::ErrorKind::Unsupported;
        (format!("its fork server cannot fork: {error}"), is_final)
    })?;
    match made {
        Some(_) => drop(pinned),
        None => std::mem::forget(pinned), // the copy stays there
    }
    Ok(made)
}

/// Waits until this thread is the only one, for a while.
fn wait_until_alone() -> Result<(), String> {
    let begin = Instant::now();
    loop {
        match is_alone() {
            Some(true) => return Ok(()),
            None => return Err("its fork server cannot fork: /proc is not mounted".to_owned()),
            Some(false) if begin.elapsed() >= ALONE_WITHIN => break,
            Some(false) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    let names = sibling::other_threads().join("`, `");
    Err(format!(
        "an initializer of this pool with a fork server has left a thread running (`{names}`), which \
         a forked worker would not have: join it, or start it in `after_fork`, which each worker \
         calls before its first item"
    ))
}

/// In the copy: closes what is the server's, and takes what is the worker's.
fn become_worker((order, come): Order, server: (Inlet, Serving, Server)) -> io::Result<Seat> {
    let (inlet, mut state, descriptors) = server;
    let actor = state.actor.take();
    drop((inlet, state, descriptors));
    let find = |number: u64| -> io::Result<Arc<AttachedFile>> {
        come.find(number).map_err(io::Error::other)
    };
    let [stream, error, output] = NUMBERS;
    sibling::use_as_error(find(error)?)?;
    if order.captures {
        sibling::use_as_output(find(output)?)?;
    }
    let stream = sibling::duplicate(find(stream)?, FIRST_FD)?;
    sibling::set_variables(order.variables)?;
    Ok(Seat { stream, actor })
}
