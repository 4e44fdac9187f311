//! How a pool gets its workers from a fork server.
//!
//! **Job.** The server is the one process of a small pool within the pool: a [`Driver`] with one
//! slot, whose initializers are those of the pool, and which has no items. So it is started,
//! watched, read, killed and reaped as a worker is, with the same pauses after deaths, and its
//! initializers fail in the same words. This driver does that one's work between its own, on its
//! own thread: the workers, like the server, are children of that thread, whoever has made them.
//!
//! **Protocol.**
//! 1. The scheduler wants a worker (`Action::Spawn`): [`Driver::ask_for_fork`]. Its slot stays
//!    `Asked`, as with a launcher, until there is a process.
//! 2. The server has run its initializers: [`Driver::serve_forks`] sends it a request for each slot
//!    that waits.
//! 3. Its answer has the process id. From here on the worker is one like any other: a link, a
//!    welcome, a hello.
//! 4. The server ends before it has answered: its pages say whether it had made the worker of the
//!    first request (`ledger::CopyNote`). If so, that worker is taken as if the answer had come, so
//!    no process is left that nobody knows. The other requests wait for the next server. (What is
//!    left of the server's process group is killed. So is a worker that was just made and has not
//!    begun a session of its own; it has run nothing, and is replaced.)
//! 5. An initializer fails, or the answer is final: the pool breaks down with that error. The
//!    server ends again and again before it is ready: the slots that wait are given up, as if their
//!    own workers had died so often, until there is work again.
//! 6. The pool is over when its workers are gone; then the server is dismissed.
//!
//! Tests: `tests/process/fork_server.rs`.

use std::io;
use std::time::Instant;

use super::driver::Driver;
use super::forks::{Sent, Waiting};
use super::link::Link;
use super::start_child::{pin_to, variables_of};
use crate::process::job::slot_id::SlotId;
use crate::process::launch::launched::{Born, Newborn, Started, stream};
use crate::process::sched::How;
use crate::process::sched::back_off::StartFailure;
use crate::process::sched::workers::Stage;
use crate::process::value::attachments::AttachedFile;
use crate::process::wire::{ForkAnswer, ForkOrder, Frame};
use crate::sys::child::Id;
use crate::sys::{pipe_end, sockets};
use crate::task::panic::{self, Panic};
use crate::task::{TaskError, WorkerExit};

impl Driver {
    /// This slot is to have a worker.
    pub(super) fn ask_for_fork(&mut self, slot: SlotId) {
        // (`env_for` and `pin_to` are user code.)
        let asked = panic::catch(|| self.request(slot))
            .unwrap_or_else(|panic| Err(io::Error::other(TaskError::from(panic))));
        match asked {
            Ok(waiting) => self.forks.waiting.push_back(waiting),
            Err(error) => return self.starts(slot, Err(error)),
        }
        // A server that was given up is tried again.
        if let Some(server) = &mut self.server {
            server.sched.try_again(SlotId(0), Instant::now());
        }
    }

    fn request(&self, slot: SlotId) -> io::Result<Waiting> {
        let number = self.sched.worker(slot).number();
        let mut processors = Vec::new();
        if let Some(of) = &self.settings.processors_for {
            processors = of(number);
            // (The server does it. What is impossible there is so here, and known at once.)
            drop(pin_to(number, &processors)?);
        }
        let bytes = |text: std::ffi::OsString| text.into_encoded_bytes();
        let variables = variables_of(number, &self.settings)?.into_iter();
        let order = ForkOrder {
            request: 0,
            index: number as u64,
            captures: self.settings.stdout.is_captured(),
            processors,
            variables: variables
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
        };
        Ok(Waiting { id: slot, order })
    }

    /// Does the server's work, and what follows from it. False: nothing did.
    pub(super) fn serve_forks(&mut self) -> bool {
        let Some(mut server) = self.server.take() else {
            return false;
        };
        let now = Instant::now();
        server.turn();
        let mut some = false;
        for answer in std::mem::take(&mut server.forks.answers) {
            let Some(sent) = self.forks.answered(answer.request) else {
                continue; // it is the server that breaks the protocol
            };
            if answer.pid > 0 {
                server.sched.bears_fruit(SlotId(0));
            }
            some = true;
            self.has_forked(sent, answer, now);
        }
        let link = server.links[0].as_ref();
        if self
            .forks
            .were_sent_to_another(link.and_then(|link| link.peer.ledger().cloned()))
            && let Some((sent, answer)) = self.forks.server_ended()
        {
            some = true;
            self.has_forked(sent, answer, now);
        }
        if let (Some(error), None) = (server.sched.failure(), self.sched.failure()) {
            self.sched.break_down(error, now);
            some = true;
        }
        let slot = server.sched.worker(SlotId(0));
        if slot.stage() == Stage::Ready {
            while let Some(slot) = self.forks.waiting.pop_front() {
                let id = slot.id;
                if let Err(error) = self.send_request(&mut server, slot) {
                    some = true;
                    self.starts(id, Err(error));
                }
            }
        } else if slot.stage().is_down() && slot.is_given_up() {
            let exit = server.forks.last_exit.clone();
            let exit = exit.unwrap_or_else(|| WorkerExit::new(0));
            for slot in std::mem::take(&mut self.forks.waiting) {
                some = true;
                self.sched.cannot_start(slot.id, StartFailure::Unforked);
                self.sched.died(slot.id, &exit, false, now);
            }
        }
        self.server = Some(server);
        some
    }

    /// Asks the server for the worker of a slot.
    fn send_request(&mut self, server: &mut Self, mut slot: Waiting) -> io::Result<()> {
        let Some(link) = &mut server.links[0] else {
            self.forks.waiting.push_back(slot); // it is about to be noticed
            return Ok(());
        };
        let (ours, theirs) = stream()?;
        let (stderr, their_error) = pipe_end::pair()?;
        let mut files = vec![sockets::to_child(theirs)?, their_error];
        let mut output = None;
        if slot.order.captures {
            let (ours, theirs) = pipe_end::pair()?;
            files.push(theirs);
            output = Some(ours);
        }
        self.forks.count += 1;
        slot.order.request = self.forks.count;
        let frame = Frame::Fork(slot.order.clone());
        let files = files.into_iter().map(AttachedFile::new).collect();
        link.peer.ask_to_fork(files, &frame);
        link.send();
        if self.forks.ledger.is_none() {
            self.forks.ledger = link.peer.ledger().cloned();
        }
        self.forks.sent.push_back(Sent {
            number: self.forks.count,
            slot: Some(slot),
            socket: ours.into(),
            stderr,
            output,
        });
        Ok(())
    }

    /// The server has made the worker of a request, or could not.
    fn has_forked(&mut self, sent: Sent, answer: ForkAnswer, now: Instant) {
        let started = match Id::from_raw(answer.pid.cast_signed()) {
            Some(id) => Ok(Started {
                child: Newborn(Some(Born::Forked(id))),
                socket: sent.socket,
                kept: None,
                pid: answer.pid,
                output: sent.output,
                stderr: Some(sent.stderr),
            }),
            None if answer.is_final => {
                let name = "fork server".to_owned();
                let error = Panic::remote(answer.why, None, name).into();
                return self.sched.break_down(&error, now);
            }
            None => Err(io::Error::other(answer.why)),
        };
        // (A worker that nobody wants is killed as it is dropped.)
        let Some(Waiting { id, .. }) = sent.slot else {
            return;
        };
        let number = self.sched.worker(id).number();
        let link = started.and_then(|started| Link::new_to(number, started, &self.settings));
        self.starts(id, link);
    }

    /// The workers are gone: whether the server is, too. If not, it is dismissed.
    pub(super) fn server_is_over(&mut self) -> bool {
        let how = if self.sched.is_killed() {
            How::Kill
        } else {
            How::CancelPending
        };
        let Some(server) = &mut self.server else {
            return true;
        };
        if !server.sched.is_over() {
            server.sched.stop(how.into(), Instant::now());
            server.turn();
        }
        let is_over = server.sched.is_over();
        if is_over {
            self.serve_forks(); // what it had still made
        }
        is_over
    }
}
