//! One worker process, as the driver holds it, and when it counts as ended.
//!
//! What carries frames to it, and records back, is its `peer`.
//!
//! **Death.** The process descriptor becomes readable; then everything that is still in the socket
//! is read, the rest is read from the ledger, and only then the process is reaped, by this
//! descriptor alone: children that the program itself has started are left alone. Just before, what
//! the worker has started is ended (W58). A process whose stream ends first gets a second to die or
//! to report how it ended; then it is killed. (It has executed another program, say.)
//!
//! **Condemned.** Who finds that a worker must die calls [`Link::condemn`]; the driver has it
//! killed in its next turn, and the reason becomes the note of its `WorkerExit`.
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
//! control group, or a tracer holds it): `limits::DEATH_LIMIT`. It takes one descriptor and
//! its entry in the kernel's table until it ends; then it is reaped, even if the pool is gone
//! (`reaper`), and nothing waits for it.
//!
//! Tests: `tests/process/pool.rs::a_worker_that_breaks_the_protocol_is_replaced`.

#![allow(clippy::clone_on_copy)] // the name of a child is not a number on every system

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, Shutdown, getsockname, shutdown};

use super::peer::Peer;
use super::settings::Settings;
use super::startup_watch::StartupWatch;
use super::worker_process::WorkerProcess;
use super::worker_stderr::{self, WorkerStderr};
use super::worker_stdout::{Output, OutputPipe};
use crate::process::job::reading::Extras;
use crate::process::launch::Ending;
use crate::process::launch::launched::{Born, Started};
use crate::process::limits::LEAVE_LIMIT;
#[cfg(feature = "inspect")]
use crate::process::observe::trees::Trees;
#[cfg(test)]
use crate::process::pages::raw_ledger::Ledger;
use crate::process::sched::verdict::{CLOSED, Evidence, KILLED, Memory};
use crate::process::value::attachments::AttachedFile;
use crate::reaper::STATUS_IS_LOST;
use crate::sys::child::{self, Handle, Signal, is_lost};
use crate::sys::descriptor::{AsFile, OwnedFile, waitable};
use crate::sys::pipe_end::PipeEnd;
use crate::sys::poll::poll;
use crate::sys::refused::failed;
use crate::task::WorkerExit;
use trefoil_os::host::activity::{Activity, wants_processor};
use trefoil_os::host::handover::CARRIES;

/// One worker process.
pub(crate) struct Link {
    pub(crate) child: Arc<WorkerProcess>,
    /// Received bytes that are not a whole record yet.
    pub(crate) partial: Vec<u8>,
    /// What accompanies the bytes of the worker's records.
    pub(crate) extras: Extras,
    pub(crate) stderr: WorkerStderr,
    pub(crate) output: Output,
    /// Its events, unless they come with its records; and what was read of them and is not a whole
    /// one yet.
    pub(crate) events: OutputPipe,
    pub(crate) partial_event: Vec<u8>,
    /// A subscriber listens to its events.
    pub(super) sends_events: bool,
    pub(crate) peer: Peer,
    #[cfg(feature = "inspect")]
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
    pub(crate) records: Records,
    /// Why the pool has killed it, if it has.
    killed: Option<&'static str>,
    /// Why it must die, for the error: the first reason counts.
    pub(crate) note: Option<String>,
    /// It must die: the driver has the scheduler kill it in its next turn.
    pub(super) is_condemned: bool,
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

impl Link {
    /// A link to a test instead of a process.
    #[cfg(test)]
    pub(crate) fn without_process(socket: crate::sys::sockets::Stream) -> (Self, Arc<Ledger>) {
        let socket = Arc::new(socket.into());
        let (peer, ledger) = Peer::with_pages(&socket);
        let child = WorkerProcess {
            pid: 1,
            process: None,
            group: None,
            socket,
            kept: None,
            lifeline: None,
        };
        let stderr = WorkerStderr::new(None, peer.mark());
        let output = Output::new(None, 1, None);
        (Self::new(child, peer, stderr, output), ledger)
    }

    fn new(child: WorkerProcess, peer: Peer, stderr: WorkerStderr, output: Output) -> Self {
        Self {
            child: Arc::new(child),
            partial: Vec::new(),
            extras: Extras::new(peer.view()),
            stderr,
            output,
            events: OutputPipe::new(None),
            partial_event: Vec::new(),
            sends_events: false,
            peer,
            #[cfg(feature = "inspect")]
            trees: Trees::default(),
            is_shut: false,
            used: None,
            abandon_at: None,
            has_outlived: false,
            status: None,
            finish_at: None,
            startup: Some(StartupWatch::new(Instant::now())),
            at_end: false,
            records: Records::Valid,
            killed: None,
            note: None,
            is_condemned: false,
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
        } = started;
        let child = newborn.0.as_ref();
        let group = child.map(Born::group).transpose()?.flatten();
        let id = child.map(Born::id).transpose();
        let id = id.map_err(failed(child::CALLS[0]))?;
        let process = match id.clone().map(Handle::open) {
            // (If other code has reaped the child, its number may be another process's.)
            Some(Ok(process)) => process.has_its_number().then(|| Arc::new(process)),
            None => None,
            Some(Err(error)) if child::is_gone(&error) => None,
            Some(Err(error)) => return Err(failed(child::CALLS[0])(error)),
        };
        let socket = Arc::new(socket);
        let peer = Peer::new(&socket, settings)?;
        let known = id.zip(process.as_ref());
        let tied = known.map(|(id, process)| peer.tie(id, process));
        let (lifeline, theirs) = tied.transpose()?.flatten().unzip();
        let stderr = WorkerStderr::new(stderr, peer.mark());
        let output = Output::new(output, pid, settings.on_output.clone());
        let child = WorkerProcess {
            pid,
            process,
            group,
            socket,
            kept,
            lifeline,
        };
        let mut link = Self::new(child, peer, stderr, output);
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
        let is_local = || {
            let own = getsockname(&self.child.socket);
            own.is_ok_and(|own| own.address_family() == AddressFamily::UNIX)
        };
        let asks = CARRIES && self.is_launched() && is_local();
        let any = asks.then(io::pipe).transpose().map_err(failed("pipe2"))?;
        let any = any.map(|(end, _)| AttachedFile::new(end.into()));
        let own = lifeline.map(|end| waitable(end.as_file()));
        let one = any.as_ref().map(|end| waitable(end.as_file()));
        let pipe = pipe.as_ref().map(|end| waitable(end.as_file()));
        let place = (index, events);
        (self.peer).welcome(place, settings, [own, one, pipe], any.clone())
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
        if level > 0
            && let Some((ours, theirs)) = self.peer.pipe_for_events()?
        {
            self.events = OutputPipe::new(Some(PipeEnd::reader(ours)?));
            return Ok((level, Some(theirs)));
        }
        Ok((level, None))
    }

    /// Sends the worker the numbers of the memory that it need not keep any more.
    pub(crate) fn forget_freed(&mut self) {
        if self.peer.forget_freed() {
            self.send();
        }
    }

    /// Whether a launcher has started it.
    pub(super) fn is_launched(&self) -> bool {
        self.startup.is_none()
    }

    /// Sends what the socket takes, many frames at a time.
    pub(crate) fn send(&mut self) {
        if !self.peer.send() {
            self.condemn(None);
        }
    }

    /// It must die, for this reason; `None`: the system has given one, or its end will.
    pub(super) fn condemn(&mut self, why: Option<String>) {
        if let Some(why) = why {
            self.note.get_or_insert(why);
        }
        self.is_condemned = true;
    }

    /// The system refuses to receive more from it.
    pub(super) fn cannot_be_read(&mut self) {
        self.condemn(None);
        // (The reports that are lost may say that items have begun.)
        if !self.peer.has_gates() {
            self.records = Records::Broken;
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

    /// Whether the process, which was killed, dies: it has used processor time since, to free its
    /// memory, or waits for a processor.
    pub(super) fn is_dying(&mut self) -> bool {
        self.has_computed() || wants_processor(self.child.pid)
    }

    /// Whether it has used processor time since the last call.
    fn has_computed(&mut self) -> bool {
        let used = Activity::of(self.child.pid).map(|now| now.used());
        std::mem::replace(&mut self.used, used) < used
    }

    /// Kills the process and its children, as far as that is possible (`child`).
    pub(crate) fn kill(&mut self) {
        self.has_computed();
        self.killed.get_or_insert(KILLED);
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

    /// The record that the worker has begun to send cannot be received: keeps the reason `why` for
    /// the error, and has the worker killed. (The earlier records are valid: the item whose result
    /// this is gets the blame.)
    pub(super) fn refuse(&mut self, why: String) {
        self.records = Records::TooLong;
        self.condemn(Some(why));
    }

    fn cut(&mut self) {
        let _ = shutdown(&self.child.socket, Shutdown::Both);
        self.child.cut();
        self.abandon_at.get_or_insert(Instant::now() + LEAVE_LIMIT);
    }

    /// Kills a worker that cannot send any more, and has not ended by itself in time.
    pub(crate) fn finish_off(&mut self) {
        self.killed.get_or_insert(CLOSED);
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
        self.child.end_group();
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
        if is_over {
            self.finish_at = None;
        } else {
            // (Each look at the stream sees its end again, which gives it no more time.)
            let limit = || Instant::now() + LEAVE_LIMIT;
            self.finish_at.get_or_insert_with(limit);
        }
        is_over
    }

    /// The process is gone: reaps it, and returns what is known of its end, and whether its last
    /// records may be lost; the launcher's `ended` may correct that.
    pub(crate) fn reap(&mut self, ended: impl FnOnce(&mut Ending)) -> (WorkerExit, Evidence, bool) {
        let mut ending = Ending::default();
        self.child.end_group();
        let process = self.child.process.as_ref();
        let mut status_is_lost = false;
        let fetched = || match process?.fetch() {
            Ok(None) => process?.traced_status(self.child.pid),
            Err(error) => {
                status_is_lost = is_lost(&error);
                None
            }
            Ok(status) => status,
        };
        if let Some(status) = self.status.or_else(fetched) {
            (ending.code, ending.signal) = (status.code(), child::signal_of(status));
        }
        // What a dead process wrote to our socket can be read; what forwards the stream may have
        // held records when it ended.
        ending.loses_records = !self.extras.is_direct;
        ending.was_reset = self.peer.stream.is_reset;
        self.output.drain();
        let ran_out;
        (ending.stderr, ran_out) = self.stderr.last();
        ended(&mut ending);
        let memory = if ending.out_of_memory {
            Memory::KernelKilled
        } else if ran_out || worker_stderr::says_out_of_memory(&ending.stderr) {
            Memory::AllocationFailed
        } else {
            Memory::Unknown
        };
        let evidence = Evidence {
            killed: self.killed,
            memory,
            note: ending
                .note
                .or_else(|| status_is_lost.then(|| STATUS_IS_LOST.to_owned())),
            ..Evidence::default()
        };
        let mut exit = WorkerExit::new(self.child.pid);
        (exit.code, exit.signal) = (ending.code, ending.signal);
        exit.note = self.note.take().or_else(|| self.peer.stream.refusal.take());
        exit.stderr_tail = worker_stderr::text(ending.stderr.as_bytes());
        #[cfg(feature = "backtrace")]
        {
            exit.backtrace = self.peer.backtrace(ending.signal);
        }
        (exit, evidence, self.is_launched() && ending.loses_records)
    }
}
