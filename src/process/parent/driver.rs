//! The driver: a pool's one thread in the parent, which carries out the scheduler's decisions.
//!
//! **Job.** Starts, feeds, reads from, kills and reaps the workers, and sleeps while there is
//! nothing to do. Its thread (`driving`) lives as long as the pool's processes: the kernel's
//! parent-death signal comes when the *thread* that started a child ends.
//!
//! **Protocol.** One turn: take the messages; let the scheduler do what is due; carry out its
//! actions; sleep in `poll` on the bell, the sockets, the process descriptors and the workers'
//! standard error; process what has arrived. Nothing else here waits, whatever workers, terminals
//! and readers do:
//!
//! | calls | why they do not wait |
//! |---|---|
//! | `poll` | this is where the thread sleeps, with the time of what is due next |
//! | `sendmsg`, `recvmsg` | each asks not to wait (`MSG_DONTWAIT`), or our end is non-blocking |
//! | `read` of pipes; of and to bells | our ends are non-blocking |
//! | `write` to standard error | not here: `standard_error::push` only appends |
//! | `pidfd_send_signal`, `kill`, `shutdown` | they leave a note; what a signal does is not waited for |
//! | `waitid` | with `WNOHANG`; who has not ended is left to `reaper` |
//! | `ioctl(FIONREAD)`, `fcntl`, `getsockname` | they read or set a number |
//! | `socketpair`, `pipe2`, `eventfd2`, `memfd_create`, `pidfd_open`, `mmap` | new things of memory |
//! | `munmap`, `close` | of memory, sockets and pipes without `SO_LINGER`: they free, and do not flush |
//! | reads of `/proc` and control groups | of `stat`, `status` and counts, for which the kernel takes no lock that a stuck process holds |
//! | `futex` | locks that other threads hold for calls of this list at most, and not while other tasks' code runs; and, once the pool is over, a second for standard error |
//! | `clone` of a helper thread | it is made of memory |
//! | start of a worker (`clone`, `exec`) | **it waits** until the program is loaded, as it was for this process; no other thread can do it (the parent-death signal) |
//! | hooks, launchers, destructors and callbacks | **they may**: they are the user's, and documented as short (the message of a panic in one is written by the panic hook, which waits for standard error) |
//!
//! On Windows, [`Link::more_comes`] waits for a dead worker's last bytes, for a second at most.
//!
//! While it runs, blocking waits on this thread are refused: callbacks of tasks (`on_done`,
//! destructors of results) run here, and a pool cannot wait for itself.
//!
//! Everything here is behind one lock ([`PoolState::engine`]), which is free while the thread
//! sleeps: then a caller may do some of it (`shortcut`). Only this thread starts and reaps workers.
//! After a caller has done some of its work it wakes up once in a [`CLOCK_CHECK`] for a while, so
//! that callers need not wake it because of its clock.
//!
//! This file has the turn; what is slept on is in `poll_set`, what follows from what has arrived in
//! `news`.
//!
//! Tests: `tests/process/{unread,undying}.rs`; `hostile` (invalid input), `crowded` (a kernel that
//! lacks memory).

#[cfg(all(test, target_os = "linux", not(trefoil_port)))]
mod crowded;
#[cfg(test)]
mod hostile;

use std::cell::Cell;
use std::io;
use std::panic::RefUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::forks::Forks;
use super::link::Link;
use super::mailbox::{Mail, Mailbox};
use super::peer::CallerPath;
use super::poll_set::{News, Owner, PollSet};
use super::settings::Settings;
use super::start_child::start_child;
use crate::chaos;
use crate::events;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Mutex, per_thread};
use crate::process::job::reading::Readers;
use crate::process::job::slot_id::SlotId;
use crate::process::launch::launched::{Launched, Started};
use crate::process::pages::poll_policy::PollPolicy;
use crate::process::sched::stats::Counters;
use crate::process::sched::workers::earlier;
use crate::process::sched::{Action, Sched};
use crate::process::value::attachments::Watcher;
use crate::task::{CancelOnDrop, Hook, Task, TaskError, context, panic};
use trefoil_os::host::shared_clock::{self, Epoch};

/// The most bytes of one receive.
pub(super) const BUFFER: usize = 256 << 10;

per_thread! {
    static DRIVES: Cell<bool> = Cell::new(false);
}

/// Whether this thread is the driver of a pool. A driver never waits for a pool to end: neither for
/// its own nor for another, whose driver may be waiting for this one.
pub(crate) fn is_a_driver() -> bool {
    DRIVES.try_with(Cell::get).unwrap_or(false)
}

/// While it lives, this thread counts as a driver.
pub(super) struct ActingDriver {
    was_driver: bool,
    _refuses_to_block: context::RefuseGuard,
}

impl ActingDriver {
    pub(super) fn new() -> Self {
        let before = DRIVES.try_with(|drives| drives.replace(true));
        Self {
            was_driver: before.unwrap_or(false),
            _refuses_to_block: context::refuse_blocking(),
        }
    }
}

impl Drop for ActingDriver {
    fn drop(&mut self) {
        let _ = DRIVES.try_with(|drives| drives.set(self.was_driver));
    }
}

/// The state that the driver and the pool's handle share.
pub(crate) struct PoolState {
    pub(crate) mailbox: Mailbox,
    pub(crate) counters: Arc<Counters>,
    /// How many workers the pool should have at most.
    pub(crate) width: AtomicUsize,
    /// Who sets it holds this, until its message is on its way: so the number of the last message
    /// stays.
    resizes: Mutex<()>,
    /// The process ids of the workers, by slot; 0: the slot has no process.
    pub(crate) pids: Mutex<Vec<u32>>,
    /// The driver; `None` before it has begun and after it has ended.
    pub(crate) engine: Mutex<Option<Driver>>,
    pub(crate) readers: Readers,
    /// The hook for failures that are never taken; `None`: the hook of the process.
    pub(crate) unobserved: Option<Hook>,
    pub(crate) path: CallerPath,
    pub(crate) poll_policy: PollPolicy,
    /// `None`: the driver has ended.
    pub(crate) settings: Mutex<Option<Arc<Settings>>>,
}

// A panic of user code leaves no part of a pool half changed.
impl RefUnwindSafe for PoolState {}

impl PoolState {
    pub(crate) fn new(settings: &Arc<Settings>) -> io::Result<Self> {
        chaos::executor_made();
        events::executor_made();
        Ok(Self {
            settings: Mutex::new(Some(settings.clone())),
            mailbox: Mailbox::new()?,
            counters: Arc::new(Counters::new(&settings.unenforced)),
            width: AtomicUsize::new(settings.workers),
            resizes: Mutex::new(()),
            pids: Mutex::new(vec![0; settings.workers]),
            engine: Mutex::new(None),
            readers: Readers::default(),
            unobserved: settings.unobserved.clone(),
            path: CallerPath::new(settings),
            poll_policy: PollPolicy::new(),
        })
    }

    /// How many workers the pool should have at most.
    pub(crate) fn width(&self) -> usize {
        self.width.load(Ordering::Relaxed) // a number
    }

    /// From now on there are from `least` to `most` workers.
    pub(crate) fn set_workers(&self, least: usize, most: usize) {
        if self.mailbox.is_foreign() {
            return; // the lock may be held, for ever, by a thread that a fork has left behind
        }
        let _one = self.resizes.lock();
        if self.mailbox.push([Mail::SetWorkers(least, most)]).is_ok() {
            self.width.store(most, Ordering::Relaxed); // a number
        }
    }

    /// The settings of the pool. `None`: it has ended, or belongs to the process that forked this.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let settings = (!self.mailbox.is_foreign()).then(|| self.settings.lock())?;
        settings.as_deref().cloned()
    }
}

impl Watcher for PoolState {
    fn gone(&self) {
        let _ = self.mailbox.push([Mail::MemoryFreed]); // if refused, the workers are gone already
    }
}

/// Has the driver look at a launcher's task.
struct LaunchWaker {
    shared: Weak<PoolState>,
    slot: SlotId,
}

impl Wake for LaunchWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            // (If it is refused, nothing waits for a worker any more.)
            let _ = shared.mailbox.push([Mail::Launched(self.slot)]);
        }
    }
}

/// The driver's state.
pub(crate) struct Driver {
    pub(super) shared: Arc<PoolState>,
    pub(super) settings: Arc<Settings>,
    pub(super) sched: Sched,
    pub(super) links: Vec<Option<Link>>,
    /// What the launcher was asked for, by slot.
    launches: Vec<Option<CancelOnDrop<io::Result<Launched>>>>,
    /// There was no room for more standard error: until the bell rings none is read.
    pub(super) stderr_is_full: bool,
    pub(super) buffer: Vec<u8>,
    /// The records that were read ahead.
    pub(super) ahead: Vec<u8>,
    /// The workers whose results a caller has left to this thread.
    pub(super) unheard: Vec<SlotId>,
    /// How many tasks are being completed at this moment, without the engine's lock.
    pub(super) finishing: usize,
    /// The fork server, if the pool has one, and what it was asked for (`forking`).
    pub(super) server: Option<Box<Driver>>,
    pub(super) forks: Forks,
    /// Why the last process could not be started.
    pub(super) refused: Option<io::Error>,
    /// While the thread sleeps: when it wakes up at the latest.
    pub(super) sleeps_until: Option<Instant>,
    /// Until when callers are expected to do some of the driver's work.
    pub(super) callers_active_until: Instant,
}

/// How often the driver checks its clock while callers do its work, and how long it goes on with
/// that after the last one. (Each check may cost a call a time slice, if other programs compute.)
const CLOCK_CHECK: Duration = Duration::from_millis(8);
pub(super) const CALLERS_ACTIVE_FOR: Duration = Duration::from_millis(16);
/// How much later than due the driver may look, before a caller wakes it for that.
pub(super) const LATENESS: Duration = Duration::from_millis(1);

impl Driver {
    pub(crate) fn new(shared: Arc<PoolState>, settings: Arc<Settings>) -> Self {
        let workers = settings.workers;
        let epoch = Epoch {
            instant: Instant::now(),
            nanos: shared_clock::now(),
        };
        let (policy, counters) = (settings.policy.clone(), shared.counters.clone());
        let sched = Sched::new(workers, policy, counters, epoch);
        Self {
            sched,
            shared,
            settings,
            links: (0..workers).map(|_| None).collect(),
            launches: (0..workers).map(|_| None).collect(),
            stderr_is_full: false,
            buffer: vec![0; BUFFER],
            ahead: Vec::new(),
            unheard: Vec::new(),
            finishing: 0,
            server: None,
            forks: Forks::default(),
            refused: None,
            sleeps_until: None,
            callers_active_until: epoch.instant,
        }
    }

    /// Does everything that is due. Returns what to sleep on; `None`: the pool is over.
    pub(super) fn work(&mut self, news: &[News]) -> Option<PollSet> {
        self.hear(news);
        self.read_mail(self.shared.mailbox.take(), Instant::now());
        for slot in std::mem::take(&mut self.unheard) {
            self.receive(slot, false);
            self.read_unsent(slot);
        }
        self.turn();
        // (A task that is just being completed has not ended; the thread that completes it wakes
        // this one afterwards.)
        let is_over = self.sched.is_over() && (self.finishing == 0 || self.sched.is_killed());
        if is_over && self.server_is_over() {
            return None;
        }
        Some(self.prepare_sleep())
    }

    /// Processes what has happened to the workers, and to the fork server.
    fn hear(&mut self, news: &[News]) {
        if let Some(server) = &mut self.server {
            server.handle(news, Owner::Server);
        }
        self.handle(news, Owner::Pool);
    }

    /// Does everything that is due, and everything that follows from it.
    pub(super) fn turn(&mut self) {
        loop {
            let now = Instant::now();
            for (slot, link) in (0..).map(SlotId).zip(&mut self.links) {
                let Some(link) = link else { continue };
                if link.peer.stream.has_taken() {
                    self.sched.takes(slot, now);
                }
                if std::mem::take(&mut link.is_condemned) {
                    self.sched.kill(slot, now);
                }
            }
            self.sched.tick(now);
            let acts = self.carry_out_actions();
            if !self.serve_forks() && !acts {
                return;
            }
        }
    }

    /// Carries out the scheduler's actions. False: there were none.
    pub(super) fn carry_out_actions(&mut self) -> bool {
        let actions = self.sched.actions();
        let some = !actions.is_empty();
        let mut to_send = Vec::new();
        for action in actions {
            match action {
                Action::Spawn(slot) => self.start(slot),
                Action::Send(slot, head, items) => {
                    let link = self.links[slot.0].as_mut();
                    let sends = link.is_some_and(|link| link.peer.post(head, items));
                    to_send.extend(sends.then_some(slot));
                }
                Action::Nudge(slot) => {
                    let link = self.links[slot.0].as_mut();
                    let sends = link.is_some_and(|link| link.peer.nudge());
                    to_send.extend(sends.then_some(slot));
                }
                Action::Ring(slot) => {
                    self.links[slot.0]
                        .iter()
                        .for_each(|link| link.peer.cancel());
                }
                Action::Hear(slot) => {
                    self.receive(slot, false);
                    self.read_unsent(slot);
                }
                Action::Withdraw(slot) => {
                    self.launches[slot.0] = None;
                    self.forks.withdraw(slot);
                }
                Action::Abandon { slot, surely } => {
                    let link = self.links[slot.0].as_mut();
                    if link.is_some_and(|link| surely || !link.is_dying()) {
                        self.abandon(slot, Instant::now());
                    }
                }
                Action::Kill(slot) => {
                    if let Some(launcher) = &self.settings.launcher {
                        panic::contain(|| launcher.kill(slot.0));
                    }
                    self.links[slot.0].iter_mut().for_each(Link::kill);
                }
            }
        }
        // All frames for one worker are sent together.
        for slot in to_send {
            if let Some(link) = &mut self.links[slot.0] {
                link.send();
                if link.is_condemned {
                    self.shared.mailbox.wake(); // this may be a caller's thread
                }
            }
        }
        some
    }

    /// There is a place for each of the scheduler's slots.
    fn make_places(&mut self) {
        let slots = self.sched.slots();
        self.links.resize_with(slots, || None);
        self.launches.resize_with(slots, || None);
        self.shared.pids.lock().resize(slots, 0);
    }

    fn start(&mut self, slot: SlotId) {
        self.make_places();
        let number = self.sched.worker(slot).number();
        if let Err(refused) = self.sched.chaos.start(slot.0) {
            return self.starts(slot, Err(refused));
        }
        if self.server.is_some() {
            return self.ask_for_fork(slot);
        }
        let Some(launcher) = &self.settings.launcher else {
            // (`env_for` is user code.)
            let started = panic::catch(|| start_child(number, &self.settings));
            let started =
                started.unwrap_or_else(|panic| Err(io::Error::other(TaskError::from(panic))));
            let link = started.and_then(|started| Link::new_to(number, started, &self.settings));
            return self.starts(slot, link);
        };
        // (A failure here is one of the task, too.)
        let task = panic::catch(|| launcher.start(slot.0))
            .unwrap_or_else(|panic| Task::ready(Err(io::Error::other(TaskError::from(panic)))));
        self.launches[slot.0] = Some(task.cancel_on_drop());
        self.take_launched(slot);
    }

    /// Takes worker `slot`, if the launcher has started it.
    fn take_launched(&mut self, slot: SlotId) {
        let Some(task) = &mut self.launches[slot.0] else {
            return;
        };
        let shared = Arc::downgrade(&self.shared);
        let waker = Waker::from(Arc::new(LaunchWaker { shared, slot }));
        let Poll::Ready(result) = Pin::new(task).poll(&mut Context::from_waker(&waker)) else {
            return;
        };
        self.launches[slot.0] = None;
        let started = result.unwrap_or_else(|error| Err(io::Error::other(error)));
        let started = started.map(|Launched(started)| started);
        let link = started.and_then(|started| {
            let pid = match started.pid {
                0 => u32::try_from(slot.0 + 1).unwrap_or(u32::MAX),
                pid => pid,
            };
            Link::new_to(slot.0, Started { pid, ..started }, &self.settings)
        });
        self.starts(slot, link);
    }

    pub(super) fn read_mail(&mut self, mail: Vec<Mail>, now: Instant) {
        for mail in mail {
            match mail {
                Mail::Submit { id, job } => self.sched.submit(id, job, now),
                Mail::Feed(feed) => self.sched.feed(feed, now),
                Mail::Cancel(id) => self.sched.cancel(id, now),
                Mail::Replace(pid) => self.sched.replace(pid, now),
                Mail::SetWorkers(least, most) => {
                    self.sched.set_workers(least, most, now);
                    self.make_places();
                }
                #[cfg(feature = "inspect")]
                Mail::Trees(question) => self.ask_for_trees(&question),
                Mail::Stop(stop) => self.sched.stop(stop, now),
                Mail::Launched(slot) => self.take_launched(slot),
                Mail::MemoryFreed => {
                    let links = self.links.iter_mut().flatten();
                    links.for_each(Link::forget_freed);
                }
            }
        }
    }

    /// Determines what to sleep on, and for how long.
    fn prepare_sleep(&mut self) -> PollSet {
        let mut set = self.own_sleep();
        if let Some(theirs) = self.server.as_deref().map(Self::own_sleep) {
            set.until = earlier(set.until, theirs.until);
            let theirs = theirs.sources.into_iter();
            let of_server = |(_, source, file, events)| (Owner::Server, source, file, events);
            set.sources.extend(theirs.map(of_server));
        }
        self.sleeps_until = set.until;
        set
    }

    /// The same, without the fork server.
    fn own_sleep(&self) -> PollSet {
        let asleep = self.shared.mailbox.may_sleep();
        let now = Instant::now();
        let check = (now < self.callers_active_until).then_some(now + CLOCK_CHECK);
        let mut due = earlier(self.sched.next_due(), check);
        let mut set = PollSet::new(self.shared.mailbox.bell.clone());
        for (slot, link) in (0..).map(SlotId).zip(&self.links) {
            let Some(link) = link else { continue };
            let own = link.next_due(self.sched.worker(slot).is_starting());
            due = earlier(due, own.map(|(at, _)| at));
            set.add(slot, link, !self.stderr_is_full);
        }
        set.until = if asleep { due } else { Some(now) };
        set
    }
}
