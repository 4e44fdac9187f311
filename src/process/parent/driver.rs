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
//! It uses `poll` and not `epoll`: there are three descriptors for each of a few workers, and the
//! set changes with every turn.
//!
//! Tests: `tests/process/{unread,undying}.rs`; `hostile` (invalid input), `crowded` (a kernel that
//! lacks memory).

#[cfg(all(test, target_os = "linux", not(trefoil_port)))]
mod crowded;
#[cfg(test)]
mod hostile;

use std::any::TypeId;
use std::cell::Cell;
use std::io;
use std::panic::RefUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;

use super::forks::Forks;
use super::link::{Link, Records};
use super::link_due::LinkDue;
use super::mailbox::{Mail, Mailbox};
use super::peer::{CallerPath, Next};
use super::settings::Settings;
use super::start_child::start_child;
use super::worker_stdout::OutputPipe;
use crate::blocking_threads::standard_error;
use crate::chaos;
use crate::events::{self, AskWorkers, Question};
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Mutex, per_thread};
use crate::process::job::Job;
use crate::process::job::reading::{Chore, DecodedPart, Readers, Reading};
use crate::process::job::results::Values;
use crate::process::launch::Ending;
use crate::process::launch::launched::{Launched, Started};
use crate::process::limits::CHECKED_FROM;
use crate::process::pages::caller_word;
use crate::process::pages::poll_policy::PollPolicy;
use crate::process::sched::back_off::StartFailure;
use crate::process::sched::slot_id::SlotId;
use crate::process::sched::stats::Counters;
use crate::process::sched::verdict::{Evidence, verdict};
use crate::process::sched::workers::earlier;
use crate::process::sched::{Action, Sched};
use crate::process::value::attachments::Watcher;
use crate::process::wire;
use crate::reaper::{Orphan, adopt};
use crate::sys::child::Signal;
use crate::sys::poll::poll_patiently;
use crate::task::{CancelOnDrop, Hook, Task, TaskError, context, panic};
use trefoil_os::host::free_memory;
use trefoil_os::host::kernel_kills;
use trefoil_os::host::shared_clock::{self, Epoch};

/// The most bytes of one receive.
const BUFFER: usize = 256 << 10;

/// How many receives at most read what a process that is gone has left. (Those with
/// descriptors bring one message each.)
const MOST_LEFT: usize = 1024;

per_thread! {
    static DRIVES: Cell<bool> = Cell::new(false);
}

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

    /// The settings of the pool. `None`: it has ended, or belongs to the process that forked this.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let settings = (!self.mailbox.is_foreign()).then(|| self.settings.lock())?;
        settings.as_deref().cloned()
    }
}

impl AskWorkers for PoolState {
    fn ask(&self, question: Question) {
        if !is_a_driver() {
            let _ = self.mailbox.push([Mail::Trees(question)]); // if refused, there is no answer
        }
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
    index: usize,
}

impl Wake for LaunchWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            // (If it is refused, nothing waits for a worker any more.)
            let _ = shared.mailbox.push([Mail::Launched(self.index)]);
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
    stderr_is_full: bool,
    buffer: Vec<u8>,
    /// The records that were read ahead.
    ahead: Vec<u8>,
    /// The workers whose results a caller has left to this thread.
    pub(super) unheard: Vec<usize>,
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

/// Anything with a descriptor that `poll` can wait for.
type Descriptor = dyn AsFd + Send + Sync;

/// The descriptors that the thread sleeps on, while other threads can lock the engine.
pub(super) struct PollSet {
    sources: Vec<(Owner, EventSource, Arc<Descriptor>, PollFlags)>,
    pub(super) timeout: Option<Duration>,
}

impl PollSet {
    /// Sleeps until a source is ready, or the time is up.
    pub(super) fn sleep(self) -> Vec<News> {
        let mut fds = Vec::with_capacity(self.sources.len());
        for (_, _, descriptor, events) in &self.sources {
            fds.push(PollFd::from_borrowed_fd(descriptor.as_fd(), *events));
        }
        poll_patiently(&mut fds, self.timeout);
        let mut ready = Vec::new();
        for (at, fd) in fds.iter().enumerate() {
            if !fd.revents().is_empty() {
                let (owner, source, ..) = self.sources[at];
                ready.push((owner, source, fd.revents()));
            }
        }
        ready
    }
}

/// Whose descriptor it is: that of this driver, or of its fork server's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Pool,
    Server,
}

/// A descriptor that is ready.
pub(super) type News = (Owner, EventSource, PollFlags);

/// What a descriptor belongs to.
#[derive(Clone, Copy)]
pub(super) enum EventSource {
    Bell,
    Socket(usize),
    Process(usize),
    WorkerStderr(usize),
    Output(usize),
    Tree(usize),
}

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
    pub(super) fn work(&mut self, news: Vec<News>) -> Option<PollSet> {
        self.hear(news);
        self.read_mail(self.shared.mailbox.take(), Instant::now());
        for index in std::mem::take(&mut self.unheard) {
            self.receive(index, false);
            self.read_unsent(index);
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
    fn hear(&mut self, news: Vec<News>) {
        let of = |owner| {
            let all = news.iter().filter(move |(whose, ..)| *whose == owner);
            all.map(|(_, source, events)| (*source, *events)).collect()
        };
        if let Some(server) = &mut self.server {
            server.handle(of(Owner::Server));
        }
        self.handle(of(Owner::Pool));
    }

    /// Does everything that is due, and everything that follows from it.
    pub(super) fn turn(&mut self) {
        loop {
            let now = Instant::now();
            for (index, link) in self.links.iter_mut().enumerate() {
                let Some(link) = link else { continue };
                if link.peer.stream.has_taken() {
                    self.sched.takes(index, now);
                }
                if std::mem::take(&mut link.is_condemned) {
                    self.sched.kill(index, now);
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
                Action::Spawn(SlotId(index)) => self.start(index),
                Action::Send(SlotId(index), head, items) => {
                    let link = self.links[index].as_mut();
                    let sends = link.is_some_and(|link| link.peer.post(head, items));
                    to_send.extend(sends.then_some(index));
                }
                Action::Nudge(SlotId(index)) => {
                    let link = self.links[index].as_mut();
                    let sends = link.is_some_and(|link| link.peer.nudge());
                    to_send.extend(sends.then_some(index));
                }
                Action::Ring(SlotId(index)) => {
                    self.links[index].iter().for_each(|link| link.peer.cancel());
                }
                Action::Hear(SlotId(index)) => {
                    self.receive(index, false);
                    self.read_unsent(index);
                }
                Action::Withdraw(SlotId(index)) => {
                    self.launches[index] = None;
                    self.forks.withdraw(index);
                }
                Action::Abandon {
                    slot: SlotId(index),
                    surely,
                } => {
                    let link = self.links[index].as_mut();
                    if link.is_some_and(|link| surely || !link.is_dying()) {
                        self.abandon(index, Instant::now());
                    }
                }
                Action::Kill(SlotId(index)) => {
                    if let Some(launcher) = &self.settings.launcher {
                        panic::contain(|| launcher.kill(index));
                    }
                    self.links[index].iter_mut().for_each(Link::kill);
                }
            }
        }
        // All frames for one worker are sent together.
        for index in to_send {
            if let Some(link) = &mut self.links[index] {
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

    fn start(&mut self, index: usize) {
        self.make_places();
        let number = self.sched.worker(index).number();
        if let Err(refused) = self.sched.chaos.start(index) {
            return self.starts(index, Err(refused));
        }
        if self.server.is_some() {
            return self.ask_for_fork(index);
        }
        let Some(launcher) = &self.settings.launcher else {
            // (`env_for` is user code.)
            let started = panic::catch(|| start_child(number, &self.settings));
            let started =
                started.unwrap_or_else(|panic| Err(io::Error::other(TaskError::from(panic))));
            let link = started.and_then(|started| Link::new_to(number, started, &self.settings));
            return self.starts(index, link);
        };
        // (A failure here is one of the task, too.)
        let task = panic::catch(|| launcher.start(index))
            .unwrap_or_else(|panic| Task::ready(Err(io::Error::other(TaskError::from(panic)))));
        self.launches[index] = Some(task.cancel_on_drop());
        self.take_launched(index);
    }

    /// Takes worker `index`, if the launcher has started it.
    fn take_launched(&mut self, index: usize) {
        let Some(task) = &mut self.launches[index] else {
            return;
        };
        let shared = Arc::downgrade(&self.shared);
        let waker = Waker::from(Arc::new(LaunchWaker { shared, index }));
        let Poll::Ready(result) = Pin::new(task).poll(&mut Context::from_waker(&waker)) else {
            return;
        };
        self.launches[index] = None;
        let started = result.unwrap_or_else(|error| Err(io::Error::other(error)));
        let started = started.map(|Launched(started)| started);
        let link = started.and_then(|started| {
            let pid = match started.pid {
                0 => u32::try_from(index + 1).unwrap_or(u32::MAX),
                pid => pid,
            };
            Link::new_to(index, Started { pid, ..started }, &self.settings)
        });
        self.starts(index, link);
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
                Mail::Trees(question) => {
                    for (index, link) in self.links.iter_mut().enumerate() {
                        if let Some(link) = link
                            && !self.sched.worker(index).is_starting()
                        {
                            link.ask_for_tree(&question);
                        }
                    }
                }
                Mail::Stop(stop) => self.sched.stop(stop, now),
                Mail::Launched(index) => self.take_launched(index),
                Mail::MemoryFreed => {
                    let links = self.links.iter_mut().flatten();
                    links.for_each(Link::forget_freed);
                }
            }
        }
    }

    /// Determines what to sleep on, and for how long.
    fn prepare_sleep(&mut self) -> PollSet {
        let server = self.server.as_mut();
        let theirs = server.map(|server| (server.own_sleep(), server.sleeps_until));
        let mut set = self.own_sleep();
        if let Some((theirs, until)) = theirs {
            self.sleeps_until = earlier(self.sleeps_until, until);
            set.timeout = set.timeout.into_iter().chain(theirs.timeout).min();
            let theirs = theirs.sources.into_iter();
            let of_server = |(_, source, file, events)| (Owner::Server, source, file, events);
            set.sources.extend(theirs.map(of_server));
        }
        set
    }

    /// The same, without the fork server.
    fn own_sleep(&mut self) -> PollSet {
        let asleep = self.shared.mailbox.may_sleep();
        let now = Instant::now();
        let check = (now < self.callers_active_until).then_some(now + CLOCK_CHECK);
        let mut due = earlier(self.sched.deadline(), check);
        for (index, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            let own = link.next_due(self.sched.worker(index).is_starting());
            due = earlier(due, own.map(|(at, _)| at));
        }
        let due = due.map(|due| due.max(now));
        self.sleeps_until = if asleep { due } else { Some(now) };
        let timeout = self.sleeps_until.map(|until| until - now);
        let bell = self.shared.mailbox.bell.clone();
        let mut sources: Vec<(Owner, EventSource, Arc<Descriptor>, PollFlags)> =
            vec![(Owner::Pool, EventSource::Bell, bell, PollFlags::IN)];
        let mut add = |source, descriptor: Arc<Descriptor>, events| {
            sources.push((Owner::Pool, source, descriptor, events));
        };
        for (index, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            if !link.at_end {
                let mut events = PollFlags::IN;
                let sends =
                    link.peer.stream.is_sending() && link.peer.stream.crowded_until.is_none();
                events.set(PollFlags::OUT, sends);
                let socket = link.peer.stream.socket.clone();
                add(EventSource::Socket(index), socket, events);
            }
            if let (Some(stderr), true) = (link.stderr.pipe.descriptor(), !self.stderr_is_full) {
                let source = EventSource::WorkerStderr(index);
                add(source, stderr.clone(), PollFlags::IN);
            }
            let pipes = [&link.output.pipe, &link.events];
            for pipe in pipes.into_iter().filter_map(OutputPipe::descriptor) {
                add(EventSource::Output(index), pipe.clone(), PollFlags::IN);
            }
            if let Some(bell) = link.bell_to_hear() {
                add(EventSource::Tree(index), bell.clone(), PollFlags::IN);
            }
            if let (Some(process), false) = (&link.child.process, link.has_outlived) {
                add(EventSource::Process(index), process.clone(), PollFlags::IN);
            }
        }
        PollSet { sources, timeout }
    }

    /// Processes the events of `news`, and what is due of each worker.
    fn handle(&mut self, news: Vec<(EventSource, PollFlags)>) {
        let now = Instant::now();
        self.shared.mailbox.awake();
        for (source, events) in news {
            match source {
                EventSource::Bell => {
                    self.shared.mailbox.bell.silence();
                    self.stderr_is_full = false;
                }
                EventSource::Output(index) => self.drain(index),
                EventSource::WorkerStderr(index) => {
                    self.stderr_is_full = !standard_error::has_room(&self.shared.mailbox.bell);
                    if let (Some(link), false) = (&mut self.links[index], self.stderr_is_full) {
                        link.stderr.read();
                    }
                }
                EventSource::Socket(index) => {
                    if let (true, Some(link)) =
                        (events.contains(PollFlags::OUT), &mut self.links[index])
                    {
                        link.send();
                    }
                    if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                        self.receive(index, false);
                    }
                }
                EventSource::Process(index) => {
                    let link = self.links[index].as_mut();
                    if link.is_some_and(Link::process_ended) {
                        self.remove(index);
                    }
                }
                EventSource::Tree(index) => {
                    if let Some(link) = &mut self.links[index] {
                        link.read_tree();
                    }
                }
            }
        }
        // (After the news: what has ended meanwhile is not late, however late this thread is.)
        for index in 0..self.links.len() {
            self.do_what_is_due(index, now);
        }
    }

    /// Does what is due with a worker's process.
    fn do_what_is_due(&mut self, index: usize, now: Instant) {
        while let Some(link) = &mut self.links[index] {
            let is_starting = self.sched.worker(index).is_starting();
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
                    self.abandon(index, now);
                    None
                }
            };
            if let Some(why) = failed {
                self.sched.failed_to_start(index, why, now);
            }
        }
    }

    /// Receives and processes records of a worker: some of them, or, if it is gone, `all` of them.
    pub(super) fn receive(&mut self, index: usize, all: bool) {
        let link = self.links[index].as_ref();
        let ends = all && link.is_some_and(|link| link.child.end());
        // (A process that is gone has left no more than a socket holds. What writes more is another
        // process, which it has started.)
        let rounds = if all { MOST_LEFT } else { 9 };
        for _ in 0..rounds {
            match self.receive_once(index) {
                // A full buffer means that there is more; but the other workers must get their
                // turn.
                Next::Some(count, _) if all || count == BUFFER => {}
                Next::None if ends && self.links[index].as_ref().is_some_and(Link::more_comes) => {}
                Next::Some(..) | Next::None => return,
                Next::End => {
                    let is_over = self.links[index].as_mut().is_some_and(Link::stream_ended);
                    if is_over && !all {
                        self.remove(index);
                    }
                    return;
                }
            }
        }
    }

    /// Receives once from a worker, and processes the records. `End`: its stream has ended.
    fn receive_once(&mut self, index: usize) -> Next {
        let Some(link) = &mut self.links[index] else {
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
            self.drain(index);
            let bytes = std::mem::take(&mut self.buffer);
            // (The beginning may be known already, from the ledger.)
            self.process_records(index, bytes.get(known..count).unwrap_or_default());
            self.buffer = bytes;
        }
        next
    }

    /// Processes records that a worker has finished and not yet sent.
    pub(super) fn read_unsent(&mut self, index: usize) {
        let Some(link) = &mut self.links[index] else {
            return;
        };
        let mut ahead = std::mem::take(&mut self.ahead);
        link.peer.records_ahead(&mut ahead);
        self.drain(index);
        self.process_records(index, &ahead);
        self.ahead = ahead;
    }

    /// Passes on what a worker has printed, if that is captured, and its events.
    fn drain(&mut self, index: usize) {
        let Some(link) = &mut self.links[index] else {
            return;
        };
        link.output.drain();
        if link.events.descriptor().is_none() {
            return;
        }
        let mut bytes = std::mem::take(&mut link.partial_event);
        link.events.drain(|more| bytes.extend_from_slice(more));
        match self.sched.receive_events(index, &bytes, &mut link.extras) {
            Ok(used) => drop(bytes.drain(..used)),
            // (Something else of the program has written there.)
            Err(wire::Broken) => link.events = OutputPipe::new(None),
        }
        link.partial_event = bytes;
    }

    fn process_records(&mut self, index: usize, bytes: &[u8]) {
        let Some(link) = &mut self.links[index] else {
            return;
        };
        if link.records != Records::Valid {
            link.extras.arrivals.used(0); // nothing claims what comes with them
            return;
        }
        let was_starting = self.sched.worker(index).is_starting();
        let had_its_length = matches!(wire::announced(&link.partial), Ok(Some(_)));
        let mut joined = std::mem::take(&mut link.partial);
        let mut owner = None;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            owner = Some(Arc::new(joined));
        }
        let whole = owner.as_deref().map_or(bytes, Vec::as_slice);
        let (extras, now) = (&mut link.extras, Instant::now());
        let received = (self.sched).receive(index, whole, owner.as_ref(), extras, now);
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
                let forked = std::mem::take(&mut link.extras.forked);
                if self.settings.serves_forks {
                    self.forks.answers.extend(forked);
                }
                if let Some((text, json)) = link.extras.tree.take() {
                    link.trees.answered((&text, &json));
                }
                let worker = self.sched.worker(index);
                if let Some(launcher) = &self.settings.launcher
                    && was_starting
                    && (worker.is_serving() || worker.is_on_its_way())
                    && !worker.is_starting()
                {
                    panic::contain(|| launcher.began(index));
                }
                if worker.is_serving() && worker.frames.is_empty() {
                    link.stderr.is_idle();
                }
            }
            Err(wire::Broken) => {
                link.records = Records::Broken;
                let is_other = self.settings.launcher.is_some() && was_starting;
                let ours = || wire::Broken.to_string();
                let printed = is_other.then(|| printed(whole));
                link.condemn(Some(printed.unwrap_or_else(ours)));
                if is_other {
                    // (The next one would begin in the same way.)
                    self.sched.cannot_start(index, StartFailure::Foreign);
                }
                self.shared.mailbox.wake(); // this may be a caller's thread
            }
        }
    }

    /// Takes values of `reading` that other threads have decoded. Returns the values that are not
    /// wanted, the job that ends with them, and whether these were all.
    pub(super) fn hand_over(
        &mut self,
        reading: &mut Reading,
        part: DecodedPart,
    ) -> (Option<Values>, Option<Box<Job>>, bool) {
        let now = Instant::now();
        let (unwanted, ended) = self.sched.decoded(reading, part, now);
        let over = reading.is_over() || !self.sched.has(reading.job);
        if over
            && let Some((worker, hold)) = reading.sender.take()
            && let Some(link) = &mut self.links[worker]
            && Arc::ptr_eq(&link.extras.hold, &hold)
        {
            drop(hold);
            link.peer
                .processed_all_but(link.partial.len(), &mut link.extras);
        }
        (unwanted, ended, over)
    }

    /// A job that this thread was given, with results of this type, has been completed;
    /// `unwanted` are its values that are not wanted.
    pub(super) fn has_finished(&mut self, result_type: TypeId, unwanted: Option<Values>) {
        self.finishing -= 1;
        let drop = |values| Chore::Drop(result_type, values);
        self.sched.chores.extend(unwanted.map(drop));
        if self.finishing == 0 && self.sched.is_over() || !self.sched.chores.is_empty() {
            self.shared.mailbox.wake();
        }
    }

    /// Gives up a process that can neither be used nor ended. It can never begin the items that it
    /// has not begun (W3), whatever it does.
    ///
    /// Its memory needs no care, although the process may still write there (the kernel, on its
    /// behalf: one that was killed runs no code of its own any more). Its pages are its own, and no
    /// other worker gets them. What it has lent is copied before anything uses it (W50); what is
    /// borrowed here is sealed against writing (H61). What it was lent, it only reads.
    fn abandon(&mut self, index: usize, now: Instant) {
        self.sched.take_all_back(index, now);
        if let Some(link) = &mut self.links[index] {
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
        self.remove(index);
    }

    /// A process is gone or abandoned: reads its last records and output, reaps it, frees its place
    /// and ends its tasks.
    fn remove(&mut self, index: usize) {
        self.receive(index, true);
        self.read_unsent(index);
        let Some(mut link) = self.links[index].take() else {
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
        let launcher = self.settings.launcher.as_ref();
        let ended = |ending: &mut Ending| {
            if let Some(launcher) = launcher {
                panic::contain(|| launcher.ended(index, ending));
            }
        };
        let (exit, evidence, is_lost) = link.reap(ended);
        let worker = self.sched.worker(index);
        let is_child = launcher.is_none();
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
        self.shared.pids.lock()[index] = 0;
        if self.settings.serves_forks {
            let mut of_no_worker = exit.clone();
            of_no_worker.pid = 0;
            self.forks.last_exit = Some(of_no_worker);
        }
        self.sched.died(index, &exit, broken, Instant::now());
    }
}
