//! What follows from news of a worker: from its records, its output, its end.
//!
//! **Protocol.** A descriptor is ready (`poll_set`), or somebody knows that the worker has answered
//! in its pages. What it has printed is read first, then its records: the scheduler reads those,
//! and what is left of them is for the link, the launcher and the forks. A process that is gone or
//! given up is removed: its last records and output are read, it is reaped, its place is free. What
//! is due with a link (`link_due`) is done after the news: what has ended meanwhile is not late.
//!
//! It all happens under the engine's lock: mostly on the driver's thread, records also on a
//! caller's (`shortcut`), which then wakes the driver if a worker is condemned.
//!
//! Tests: `parent/driver/hostile.rs` (invalid input), `tests/process/{unread,undying,deaths}.rs`.

use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;

use super::driver::{BUFFER, Driver};
use super::link::{Link, Records};
use super::link_due::LinkDue;
use super::peer::Next;
use super::poll_set::{EventSource, News, Owner};
use super::worker_stdout::OutputPipe;
use crate::blocking_threads::standard_error;
use crate::process::job::slot_id::SlotId;
use crate::process::launch::Ending;
use crate::process::limits::CHECKED_FROM;
use crate::process::pages::caller_word;
use crate::process::sched::back_off::StartFailure;
use crate::process::sched::verdict::{Evidence, verdict};
use crate::process::wire;
use crate::reaper::{Orphan, adopt};
use crate::sys::child::Signal;
use crate::task::panic;
use trefoil_os::host::{free_memory, kernel_kills};

/// How many receives at most read what a process that is gone has left. (Those with
/// descriptors bring one message each.)
const MOST_LEFT: usize = 1024;

/// The error for a record whose announced length exceeds the available memory.
fn too_much(begin: &[u8]) -> Option<String> {
    let length = wire::announced(begin).ok().flatten()?;
    let rest = length.saturating_sub(begin.len());
    if rest < CHECKED_FROM {
        return None;
    }
    let error = free_memory::check(rest).err()?;
    Some(format!("a result of {length} bytes is announced: {error}"))
}

/// The error for a stream that does not begin as a worker's.
fn printed(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
    format!(
        "its stream begins with \"{}\", and not with a worker's hello: nothing may print on \
         standard output before `trefoil::init()`",
        text.escape_debug()
    )
}

impl Driver {
    /// Processes the news of this driver, and what is due of each worker.
    pub(super) fn handle(&mut self, news: &[News], own: Owner) {
        let now = Instant::now();
        self.shared.mailbox.awake();
        for &(_, source, events) in news.iter().filter(|(owner, ..)| *owner == own) {
            match source {
                EventSource::Bell => {
                    self.shared.mailbox.bell.silence();
                    self.stderr_is_full = false;
                }
                EventSource::Output(slot) => self.drain(slot),
                EventSource::WorkerStderr(slot) => {
                    self.stderr_is_full = !standard_error::has_room(&self.shared.mailbox.bell);
                    if !self.stderr_is_full
                        && let Some(link) = &mut self.links[slot.0]
                    {
                        link.stderr.read();
                    }
                }
                EventSource::Socket(slot) => {
                    if events.contains(PollFlags::OUT)
                        && let Some(link) = &mut self.links[slot.0]
                    {
                        link.send();
                    }
                    if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                        self.receive(slot, false);
                    }
                }
                EventSource::Process(slot) => {
                    let link = self.links[slot.0].as_mut();
                    if link.is_some_and(Link::process_ended) {
                        self.remove(slot);
                    }
                }
                #[cfg(feature = "inspect")]
                EventSource::Tree(slot) => {
                    if let Some(link) = &mut self.links[slot.0] {
                        link.read_tree();
                    }
                }
            }
        }
        // (After the news: what has ended meanwhile is not late, however late this thread is.)
        for slot in (0..self.links.len()).map(SlotId) {
            self.do_what_is_due(slot, now);
        }
    }

    /// Does what is due with a worker's process.
    fn do_what_is_due(&mut self, slot: SlotId, now: Instant) {
        while let Some(link) = &mut self.links[slot.0] {
            let is_starting = self.sched.worker(slot).is_starting();
            let due = link.next_due(is_starting).filter(|(at, _)| *at <= now);
            let failed = match due {
                None => return,
                Some((_, LinkDue::Send)) => {
                    link.send();
                    None
                }
                Some((_, LinkDue::LookAtStart)) => {
                    let pid = link.child.pid;
                    let watch = link.startup.as_mut();
                    watch.and_then(|watch| watch.look(pid, now))
                }
                Some((_, LinkDue::FinishOff)) => {
                    link.finish_at = None;
                    link.finish_off();
                    is_starting.then_some(StartFailure::Closed)
                }
                Some((_, LinkDue::Abandon)) => {
                    self.abandon(slot, now);
                    None
                }
            };
            if let Some(why) = failed {
                self.sched.failed_to_start(slot, why, now);
            }
        }
    }

    /// Receives and processes records of a worker: some of them, or, if it is gone, `all` of them.
    pub(super) fn receive(&mut self, slot: SlotId, all: bool) {
        let link = self.links[slot.0].as_ref();
        let is_at_end = all && link.is_some_and(|link| link.child.end());
        // (A process that is gone has left no more than a socket holds. What writes more is another
        // process, which it has started.)
        let rounds = if all { MOST_LEFT } else { 9 };
        for _ in 0..rounds {
            match self.receive_once(slot) {
                // A full buffer means that there is more; but the other workers must get their
                // turn.
                Next::Some(count, _) if all || count == BUFFER => {}
                Next::None
                    if is_at_end && self.links[slot.0].as_ref().is_some_and(Link::more_comes) => {}
                Next::Some(..) | Next::None => return,
                Next::End => {
                    let is_over = self.links[slot.0].as_mut().is_some_and(Link::stream_ended);
                    if is_over && !all {
                        self.remove(slot);
                    }
                    return;
                }
            }
        }
    }

    /// Receives once from a worker, and processes the records. `End`: its stream has ended.
    fn receive_once(&mut self, slot: SlotId) -> Next {
        let Some(link) = &mut self.links[slot.0] else {
            return Next::End;
        };
        let arrivals = &mut link.extras.arrivals;
        let next = link.peer.stream.next_records(arrivals, &mut self.buffer);
        let next = next.unwrap_or_else(|| {
            link.cannot_be_read();
            Next::End
        });
        if let Next::Some(count, known) = next {
            // What an item has printed comes before its result; so do its events.
            self.drain(slot);
            let bytes = std::mem::take(&mut self.buffer);
            // (The beginning may be known already, from the ledger.)
            self.process_records(slot, bytes.get(known..count).unwrap_or_default());
            self.buffer = bytes;
        }
        next
    }

    /// Processes records that a worker has finished and not yet sent.
    pub(super) fn read_unsent(&mut self, slot: SlotId) {
        let Some(link) = &mut self.links[slot.0] else {
            return;
        };
        let mut ahead = std::mem::take(&mut self.ahead);
        link.peer.records_ahead(&mut ahead);
        self.drain(slot);
        self.process_records(slot, &ahead);
        self.ahead = ahead;
    }

    /// Passes on what a worker has printed, if that is captured, and its events.
    fn drain(&mut self, slot: SlotId) {
        let Some(link) = &mut self.links[slot.0] else {
            return;
        };
        link.output.drain();
        if link.events.descriptor().is_none() {
            return;
        }
        let mut bytes = std::mem::take(&mut link.partial_event);
        link.events.drain(|more| bytes.extend_from_slice(more));
        match self.sched.receive_events(slot, &bytes, &mut link.extras) {
            Ok(used) => drop(bytes.drain(..used)),
            // (Something else of the program has written there.)
            Err(wire::Broken) => link.events = OutputPipe::new(None),
        }
        link.partial_event = bytes;
    }

    /// Has the scheduler read the records in `bytes`, which follow those before.
    pub(super) fn process_records(&mut self, slot: SlotId, bytes: &[u8]) {
        let Some(link) = &mut self.links[slot.0] else {
            return;
        };
        if link.records != Records::Valid {
            link.extras.arrivals.used(0); // nothing claims what comes with them
            return;
        }
        let was_starting = self.sched.worker(slot).is_starting();
        let had_its_length = matches!(wire::announced(&link.partial), Ok(Some(_)));
        let mut joined = std::mem::take(&mut link.partial);
        let mut owner = None;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            owner = Some(Arc::new(joined));
        }
        let whole = owner.as_deref().map_or(bytes, Vec::as_slice);
        let (extras, now) = (&mut link.extras, Instant::now());
        let received = (self.sched).receive(slot, whole, owner.as_ref(), extras, now);
        match received {
            Ok(used) => {
                let rest = (used > 0).then(|| whole[used..].to_vec());
                // (An incomplete long record is not copied each time another piece of it arrives.)
                let all = || owner.map_or_else(|| bytes.to_vec(), Arc::unwrap_or_clone);
                link.partial = rest.unwrap_or_else(all);
                // (Checked once for each record, since it asks the system.)
                if (used > 0 || !had_its_length)
                    && let Some(why) = too_much(&link.partial)
                {
                    link.refuse(why);
                }
                if link.records != Records::Valid {
                    self.shared.mailbox.wake(); // this may be a caller's thread
                    return;
                }
                link.peer
                    .processed_all_but(link.partial.len(), &mut link.extras);
                self.after_records(slot, was_starting);
            }
            Err(wire::Broken) => {
                link.records = Records::Broken;
                let is_other = link.is_launched() && was_starting;
                let ours = || wire::Broken.to_string();
                let printed = is_other.then(|| printed(whole));
                link.condemn(Some(printed.unwrap_or_else(ours)));
                if is_other {
                    // (The next one would begin in the same way.)
                    self.sched.cannot_start(slot, StartFailure::Foreign);
                }
                self.shared.mailbox.wake(); // this may be a caller's thread
            }
        }
    }

    /// Does what follows from records besides what the scheduler has them do.
    fn after_records(&mut self, slot: SlotId, was_starting: bool) {
        let Some(link) = &mut self.links[slot.0] else {
            return;
        };
        let forked = std::mem::take(&mut link.extras.forked);
        if self.settings.serves_forks {
            self.forks.answers.extend(forked);
        }
        #[cfg(feature = "inspect")]
        link.pass_tree_on();
        let worker = self.sched.worker(slot);
        if let Some(launcher) = &self.settings.launcher
            && was_starting
            && (worker.is_serving() || worker.is_on_its_way())
            && !worker.is_starting()
        {
            panic::contain(|| launcher.began(slot.0));
        }
        if worker.is_serving() && worker.frames.is_empty() {
            link.stderr.is_idle();
        }
    }

    /// Gives up a process that can neither be used nor ended. It can never begin the items that it
    /// has not begun (W3), whatever it does.
    ///
    /// Its memory needs no care, although the process may still write there (the kernel, on its
    /// behalf: one that was killed runs no code of its own any more). Its pages are its own, and no
    /// other worker gets them. What it has lent is copied before anything uses it (W50); what is
    /// borrowed here is sealed against writing (H61). What it was lent, it only reads.
    pub(super) fn abandon(&mut self, slot: SlotId, now: Instant) {
        self.sched.take_all_back(slot, now);
        if let Some(link) = &mut self.links[slot.0] {
            let note = if link.child.signal(Signal::KILL) {
                "it was killed, has not ended, and was given up: the process may still exist"
            } else {
                "it may not be signalled, lives on, and was given up"
            };
            link.note.get_or_insert_with(|| note.to_owned());
            // (Otherwise all items that it has count as begun.)
            if !link.peer.has_gates() {
                link.records = Records::Broken;
            }
        }
        self.remove(slot);
    }

    /// A process is gone or abandoned: reads its last records and output, reaps it, frees its place
    /// and ends its tasks.
    pub(super) fn remove(&mut self, slot: SlotId) {
        self.receive(slot, true);
        self.read_unsent(slot);
        let Some(mut link) = self.links[slot.0].take() else {
            return;
        };
        if let Some(ledger) = link.peer.ledger() {
            ledger.caller().dismiss(None, caller_word::wake);
        }
        if let Some(own) = &self.settings.own {
            *own.child.lock() = None; // it is about to be reaped
        }
        #[cfg(not(loom))]
        (link.peer).release_permits(&self.settings.permits, link.child.pid);
        let ended = |ending: &mut Ending| {
            if let Some(launcher) = &self.settings.launcher {
                panic::contain(|| launcher.ended(slot.0, ending));
            }
        };
        let (exit, evidence, is_lost) = link.reap(ended);
        let worker = self.sched.worker(slot);
        let is_child = !link.is_launched();
        let evidence = Evidence {
            was_starting: is_child && worker.is_starting(),
            failed_start: worker.failed_start(),
            ..evidence
        };
        let exit = verdict(exit, &evidence, || is_child && kernel_kills::claim());
        let broken = link.records == Records::Broken || is_lost;
        // (It may live on, or a debugger may keep its status.)
        if let Some(process) = link.child.process.clone() {
            adopt(Orphan::Held(process));
        }
        drop(link);
        self.shared.pids.lock()[slot.0] = 0;
        if self.settings.serves_forks {
            let mut of_no_worker = exit.clone();
            of_no_worker.pid = 0;
            self.forks.last_exit = Some(of_no_worker);
        }
        self.sched.died(slot, &exit, broken, Instant::now());
    }
}
