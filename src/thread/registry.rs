//! What the threads of one pool share: queues, slots, sleepers, handles.
//!
//! **Job.** [`Registry`] puts work where it will be found, and wakes or starts a thread for it. Each thread holds a
//! counted reference to it, and so does the `ThreadPool`. How threads start, and how many there are, is in `threads.rs`;
//! how they end in `shutdown.rs`.
//!
//! **In a forked child** the pool's threads are not there, and its locks may be held for ever.
//! So every way in goes through [`Registry::present`]: in a child it is a registry
//! without threads that stands in for the lost one, as if the pool had been shut down: what is spawned is refused, what had
//! been spawned has ended in `Closed`, a region runs in the caller. A wait that had begun for something that another
//! thread was to do panics ([`Registry::assert_not_forked`]).
//!
//! Tests: `tests/thread/pool.rs`, `tests/forks/thread.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use super::config::Config;
use super::futures::Futures;
use super::indices::Indices;
use super::join::wake_policy::WakePolicy;
use super::places::Threads;
use super::queue::{Injector, Mode, Slots, Work};
use super::sleep::{Need, Sleep};
use super::slot::{Seat, Slot};
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sys::fork;
use crate::task::context::OUTSIDERS;

/// A number for each pool, not 0. After half a billion pools it may meet an older one:
/// then a worker may run a task of another pool that it waits for itself.
#[allow(clippy::disallowed_types)] // a counter that no protocol depends on
fn next_tag() -> u32 {
    // A counter: no protocol.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    const NOT_ZERO: u32 = OUTSIDERS >> 1;
    (NEXT.fetch_add(1, Ordering::Relaxed) & (NOT_ZERO - 1)) | NOT_ZERO
}

/// All pools that this process has made, by their tags.
type All = Mutex<BTreeMap<u32, Weak<Registry>>>;

fn all() -> &'static All {
    static ALL: fork::PerProcess<All> = fork::PerProcess::new();
    ALL.get_or_init(Mutex::default)
}

/// Stands for the index of an outside thread, which has none in the pool.
pub(super) const NO_PLACE: usize = usize::MAX;

/// Starts one more thread of a pool, or a watch over it. False: the system has refused the thread.
pub(super) type Start = fn(&Arc<Registry>, Need) -> bool;

/// What every spawn and every worker writes has cache lines of its own: beside what all of them read, a
/// spawn from outside takes twice as long while the workers run.
pub(super) struct Registry {
    /// What marks this pool's tasks and workers as belonging together; not 0, and without [`OUTSIDERS`].
    pub(super) tag: u32,
    /// The process that made it; see `fork.rs`.
    born: u32,
    pub(super) config: Config,
    start: Start,
    pub(super) sleep: CachePadded<Sleep>,
    pub(super) wake_policy: WakePolicy,
    pub(super) injector: CachePadded<Injector>,
    /// The futures that have not ended.
    pub(super) futures: Futures,
    slots: Mutex<Slots<Slot>>,
    num_slots: AtomicUsize,
    pub(super) threads: Threads,
    pub(super) indices: Indices,
    /// Seats that outside threads have used.
    outside_seats: Mutex<Vec<Seat>>,
    /// The system has given no thread for work that is queued.
    refused: AtomicBool,
}

impl Registry {
    /// Of a pool whose `config.threads` threads are about to start.
    pub(super) fn new(config: Config, start: Start) -> Arc<Self> {
        let sleep = Sleep::new(config.threads);
        let injector = Injector::new(config.caller_helps, sleep.urgent());
        let registry = Arc::new(Self {
            sleep: CachePadded::new(sleep),
            wake_policy: WakePolicy::default(),
            injector: CachePadded::new(injector),
            futures: Futures::new(),
            slots: Mutex::new(Arc::new([])),
            num_slots: AtomicUsize::new(0),
            threads: Threads::default(),
            indices: Indices::default(),
            outside_seats: Mutex::new(Vec::new()),
            refused: AtomicBool::new(false),
            tag: next_tag(),
            born: fork::generation(),
            config,
            start,
        });
        let weak = Arc::downgrade(&registry);
        all().lock().insert(registry.tag, weak);
        registry
    }

    /// The pool of this process that has this tag, if it has not ended.
    pub(super) fn by_tag(tag: u32) -> Option<Arc<Self>> {
        all().lock().get(&tag)?.upgrade()
    }

    /// A parent of this process made it: its threads are not here.
    #[inline]
    pub(super) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// Called before a wait for what another thread of the pool is to do.
    ///
    /// # Panics
    /// In a forked child there is none: it would wait for ever.
    #[inline]
    pub(super) fn assert_not_forked(&self) {
        assert!(
            !self.is_foreign(),
            "trefoil: a forked child waits for what a thread of its parent's runs; take such results before the fork, and make a pool of the child's own after it"
        );
    }

    /// This registry, or if it is a parent's, the one without threads that stands in for all such.
    #[inline]
    pub(super) fn present(self: &Arc<Self>) -> &Arc<Self> {
        static STAND_IN: fork::PerProcess<Arc<Registry>> = fork::PerProcess::new();
        if !self.is_foreign() {
            return self;
        }
        STAND_IN.get_or_init(|| {
            let registry = Self::new(Config::default(), self.start);
            // It has no thread, but a region wants to know how wide it is.
            let _none = registry.sleep.resize(1);
            registry.injector.set_mode(Mode::Closed);
            let _none = registry.sleep.wait_quiet(|| true, || ());
            registry
        })
    }

    /// The tag of a task that its waiters may run: if the pool lets its callers help, outside threads
    /// may, too.
    pub(super) fn claim_tag(&self) -> u32 {
        match self.config.caller_helps {
            true => self.tag | OUTSIDERS,
            false => self.tag,
        }
    }

    // ---- slots -----------------------------------------------------------

    pub(super) fn slots(&self) -> Slots<Slot> {
        Arc::clone(&self.slots.lock())
    }

    /// Slots are only added: a worker whose copy is as long has them all.
    #[inline]
    pub(super) fn num_slots(&self) -> usize {
        self.num_slots.load(Ordering::Acquire)
    }

    /// Seats with new slots, in these places.
    pub(super) fn new_seats(&self, places: impl Iterator<Item = usize>) -> Vec<Seat> {
        let mut slots = self.slots.lock();
        let seats: Vec<Seat> = (slots.len()..)
            .zip(places)
            .map(|(number, index)| Seat::new(self.tag, number, index))
            .collect();
        let new = seats.iter().map(|seat| &seat.slot);
        *slots = slots.iter().chain(new).cloned().collect();
        self.num_slots.store(slots.len(), Ordering::Release);
        seats
    }

    /// A seat for an outside thread, used before or new.
    pub(super) fn take_outside_seat(&self) -> Seat {
        let used = self.outside_seats.lock().pop();
        used.unwrap_or_else(|| self.new_seats(std::iter::once(NO_PLACE)).remove(0))
    }

    pub(super) fn put_outside_seat(&self, seat: Seat) {
        if self.is_foreign() {
            // The lock may be held for ever.
            std::mem::forget(seat);
        } else {
            self.outside_seats.lock().push(seat);
        }
    }

    // ---- what is queued --------------------------------------------------

    /// Something is queued that any worker may take.
    pub(super) fn has_work(&self) -> bool {
        self.has_tasks() || self.has_jobs()
    }

    /// Something that its owner does not take back is queued.
    pub(super) fn has_tasks(&self) -> bool {
        !self.injector.is_empty() || self.slots().iter().any(|slot| slot.public.has_tasks())
    }

    /// A half of a join is on offer.
    pub(super) fn has_jobs(&self) -> bool {
        self.slots().iter().any(|slot| slot.public.has_jobs())
    }

    /// How many threads would take a half of a join that is offered now.
    #[inline]
    pub(super) fn takers(&self) -> u32 {
        self.sleep.idlers(self.wake_policy.stand_ins()) + self.wake_policy.waiters()
    }

    /// Shares lie in mailboxes.
    pub(super) fn has_mail(&self) -> bool {
        self.slots().iter().any(|slot| !slot.mailbox.is_empty())
    }

    /// How much has been taken from the queues so far.
    pub(super) fn progress(&self) -> u64 {
        self.slots().iter().map(|slot| slot.taken()).sum()
    }

    // ---- work ------------------------------------------------------------

    /// Queues work from outside; a pool that has been shut down gives it back.
    pub(super) fn inject(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        self.injector.push(work)?;
        self.published();
        Ok(())
    }

    /// After a push.
    #[inline]
    pub(super) fn published(self: &Arc<Self>) {
        if let Some(need) = self.sleep.need_after_push() {
            self.wake_or_start(need);
        }
    }

    /// Where the protocol asks for one more look into the queues.
    pub(super) fn recheck(self: &Arc<Self>) {
        if self.has_something_to_take() {
            self.published();
        }
    }

    fn has_something_to_take(&self) -> bool {
        self.has_tasks() || (self.takers() > 0 && self.has_jobs())
    }

    /// If it `is_away`, the thread of a place has gone away: any worker may take what lies in its mailbox.
    pub(super) fn close_mailbox(self: &Arc<Self>, slot: &Slot, is_away: impl FnOnce() -> bool) {
        let shares = slot.mailbox.close(is_away);
        if !shares.is_empty() {
            // One that no thread will take any more is dropped: its caller runs it.
            shares
                .into_iter()
                .for_each(|share| drop(self.injector.push_woken(share)));
            self.published();
        }
    }

    /// A worker parks in a wait: another thread runs in its stead if there is work.
    pub(super) fn block(self: &Arc<Self>) {
        self.sleep.block();
        self.ask_again();
    }

    /// For one that has blocked: another thread runs in its stead if there is work, unless the system refuses it.
    pub(super) fn ask_again(self: &Arc<Self>) {
        if self.has_something_to_take() {
            self.published();
        } else {
            self.refused.store(false, Ordering::Relaxed);
        }
    }

    /// The system has refused a thread for work that is queued.
    pub(super) fn lacks_threads(&self) -> bool {
        // A hint: it stays until a thread was given, or nothing is queued.
        self.refused.load(Ordering::Relaxed)
    }

    /// Wakes or starts what is needed for what is queued.
    #[cold]
    pub(super) fn wake_or_start(self: &Arc<Self>, need: Need) {
        if self.is_foreign() {
            return;
        }
        let missing = match need {
            Need::Runner => self.sleep.recruit(),
            Need::Watch => self.sleep.begin_watch(),
        };
        if missing {
            self.start(need);
        }
    }

    /// Nothing moves: one thread more runs than should.
    pub(super) fn recruit_more(self: &Arc<Self>) {
        if self.sleep.recruit_more() {
            self.start(Need::Runner);
        }
    }

    fn start(self: &Arc<Self>, need: Need) {
        let refused = !(self.start)(self, need);
        // A watch may have a helper thread that was there already: that says nothing of the pool's own.
        if refused || need == Need::Runner {
            self.refused.store(refused, Ordering::Relaxed);
        }
    }

    // ---- identity --------------------------------------------------------

    /// What distinguishes it from the other pools of this moment.
    #[inline]
    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    pub(super) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        all().lock().remove(&self.tag);
    }
}
