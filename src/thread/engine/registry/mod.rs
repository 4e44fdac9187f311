//! What the threads of one pool share: queues, slots, sleepers, handles.
//!
//! **Job.** [`Registry`] queues work, and wakes or starts a thread for it. Each thread holds a
//! counted reference to it, and so does the `ThreadPool`. How threads start, and how many there
//! are, is in `start_and_resize.rs`; how they end in `shutdown.rs`.
//!
//! **In a forked child** the pool's threads are not there, and its locks may be held for ever. So
//! every way in goes through [`Registry::present`]: in a child it returns a registry without
//! threads in place of the lost one, as if the pool had been shut down: spawns are refused, tasks
//! spawned before have ended in `Closed`, a region runs in the caller. A wait that had begun for
//! another thread's work panics ([`Registry::assert_not_forked`]).
//!
//! Tests: `tests/thread/pool.rs::{wait_runs_everything_and_then_refuses,
//! a_hundred_pools_leave_no_thread_behind}`, `tests/forks/thread.rs`.

pub(in crate::thread) mod enter;
pub(in crate::thread) mod exclusive_indices;
pub(in crate::thread) mod futures;
pub(in crate::thread) mod indices;
mod no_thread;
pub(in crate::thread) mod shutdown;
pub(in crate::thread) mod slot_list;
mod spawn;
pub(in crate::thread) mod start_and_resize;
pub(in crate::thread) mod thread_list;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool as Hint, AtomicU32 as Counter}; // no protocol
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use super::config::Config;
use super::lent::raw_scope_counter::ErasedEntry;
use super::queue::{Injector, Mode, Slots, Work};
use super::sleep::{Afterwards, Need, ProcessWaiters, Recruited, SleepState};
use super::slot::{OwnedSlot, Slot};
use super::wake_policy::WakePolicy;
use crate::blocking_threads::contain;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sys::fork;
use crate::task::context::OUTSIDERS;
use exclusive_indices::ExclusiveIndices;
use futures::Futures;
use indices::Indices;
use slot_list::SlotList;
use thread_list::ThreadList;

/// A number for each pool, not 0. After half a billion pools a number may be reused while in use:
/// then a worker may itself run a task of another pool that it waits for.
#[allow(clippy::disallowed_types)] // a counter that no protocol depends on
fn next_tag() -> u32 {
    // A counter: no protocol.
    static NEXT: Counter = Counter::new(0);
    const NOT_ZERO: u32 = OUTSIDERS >> 1;
    (NEXT.fetch_add(1, Ordering::Relaxed) & (NOT_ZERO - 1)) | NOT_ZERO
}

/// All pools that this process has made, sorted by their tags.
type All = Mutex<Vec<(u32, Weak<Registry>)>>;

fn all() -> &'static All {
    static ALL: fork::PerProcess<All> = fork::PerProcess::new();
    ALL.get_or_init(Mutex::default)
}

/// Where the pool with this tag is in the list, or else would be.
fn find(tag: u32, pools: &[(u32, Weak<Registry>)]) -> Result<usize, usize> {
    pools.binary_search_by_key(&tag, |(tag, _)| *tag)
}

/// The waits of all threads of this process.
pub(in crate::thread) fn waiters() -> &'static Arc<ProcessWaiters> {
    static WAITERS: fork::PerProcess<Arc<ProcessWaiters>> = fork::PerProcess::new();
    WAITERS.get_or_init(|| Arc::new(ProcessWaiters::new()))
}

/// A thread has begun to wait, and some pool may have work queued for which no thread is free: each
/// such pool is monitored from now on.
#[cold]
pub(in crate::thread) fn look_into_all() {
    let mut pools = all_pools();
    while let Some(registry) = pools.pop() {
        registry.recheck();
        release(registry);
    }
}

/// Drops what may be the last reference to a pool, whose hooks go with it.
pub(in crate::thread) fn release(registry: Arc<Registry>) {
    contain(|| drop(registry));
}

/// All pools, the oldest last.
fn all_pools() -> Vec<Arc<Registry>> {
    let mut pools = Vec::new();
    for (_, pool) in all().lock().iter().rev() {
        if let Some(pool) = pool.upgrade() {
            pools.push(pool);
        }
    }
    pools
}

/// A hint, for all pools together: the system may have refused a thread for work that is queued.
static REFUSED: Hint = Hint::new(false);

/// Whether some pool may lack threads for what is queued. Then every wait of this crate asks again
/// from time to time: the work may be what it waits for, and all of that pool's own threads may
/// have parked before.
#[inline]
pub(in crate::thread) fn some_lack_threads() -> bool {
    REFUSED.load(Ordering::Relaxed)
}

/// Asks the system again for the threads that pools lack.
#[cold]
pub(in crate::thread) fn ask_for_all() {
    REFUSED.store(false, Ordering::Relaxed);
    let mut pools = all_pools();
    while let Some(registry) = pools.pop() {
        if registry.lacks_threads() {
            registry.ask_again();
        }
        if registry.lacks_threads() {
            REFUSED.store(true, Ordering::Relaxed);
        }
        release(registry);
    }
}

/// While fewer threads than this search, each that finds work wakes another: a pool wakes up like a
/// tree. More would only find the queues empty.
const WAKING: usize = 4;

/// Starts one more thread of a pool, or a stall monitor over it. False: the system has refused the
/// thread.
pub(in crate::thread) type StartThread = fn(&Arc<Registry>, Need) -> bool;

/// Fields that every spawn and every worker write have their own cache lines: next to fields that
/// all of them read, a spawn from outside takes twice as long while the workers run.
pub(in crate::thread) struct Registry {
    /// Identifies this pool's tasks and workers; not 0, and without [`OUTSIDERS`].
    pub(in crate::thread) tag: u32,
    /// The process that made the pool; see `fork.rs`.
    born: u32,
    pub(in crate::thread) config: Config,
    start: StartThread,
    pub(in crate::thread) sleep: CachePadded<SleepState>,
    pub(in crate::thread) wake_policy: WakePolicy,
    pub(in crate::thread) injector: CachePadded<Injector>,
    /// The unfinished futures.
    pub(in crate::thread) futures: Futures,
    pub(in crate::thread) slots: SlotList,
    /// How many slots are [unattended](Slot::unattended), at most.
    unattended: AtomicUsize,
    pub(in crate::thread) threads: ThreadList,
    pub(in crate::thread) indices: Indices,
    /// In their place, in a pool where no two running threads have the same one.
    pub(in crate::thread) exclusive: Option<ExclusiveIndices>,
    /// Whether the system has refused a thread for work that is queued.
    refused: AtomicBool,
}

impl Registry {
    /// The registry of a pool whose `config.threads` threads are about to start.
    pub(in crate::thread) fn new(config: Config, start: StartThread) -> Arc<Self> {
        let sleep = SleepState::new(config.threads, Arc::clone(waiters()));
        let tag = next_tag();
        let injector = Injector::new(config.caller_helps, sleep.urgent());
        let exclusive = config.exclusive_indices.then(|| {
            // Such a pool is never resized.
            ExclusiveIndices::new(config.threads)
        });
        let registry = Arc::new(Self {
            sleep: CachePadded::new(sleep),
            wake_policy: WakePolicy::default(),
            injector: CachePadded::new(injector),
            futures: Futures::new(),
            slots: SlotList::new(tag),
            unattended: AtomicUsize::new(0),
            threads: ThreadList::default(),
            indices: Indices::default(),
            exclusive,
            refused: AtomicBool::new(false),
            tag,
            born: fork::generation(),
            config,
            start,
        });
        let mut pools = all().lock();
        let (Ok(place) | Err(place)) = find(tag, &pools);
        pools.insert(place, (tag, Arc::downgrade(&registry)));
        registry
    }

    /// The pool of this process that has this tag, if it has not ended.
    pub(in crate::thread) fn by_tag(tag: u32) -> Option<Arc<Self>> {
        let pools = all().lock();
        let place = find(tag, &pools).ok()?;
        pools[place].1.upgrade()
    }

    /// Whether a parent of this process made it: its threads do not exist here.
    #[inline]
    pub(in crate::thread) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// Called before a wait for another thread of the pool.
    ///
    /// # Panics
    /// In a forked child, where the wait would never end.
    #[inline]
    pub(in crate::thread) fn assert_not_forked(&self) {
        assert!(
            !self.is_foreign(),
            "trefoil: a forked child waits for work on a thread that only its parent has; take \
             such results before the fork, and make a new pool in the child"
        );
    }

    /// This registry; or, if a parent process made it, the one without threads that replaces all
    /// such registries.
    #[inline]
    pub(in crate::thread) fn present(self: &Arc<Self>) -> &Arc<Self> {
        static REPLACEMENT: fork::PerProcess<Arc<Registry>> = fork::PerProcess::new();
        if !self.is_foreign() {
            return self;
        }
        REPLACEMENT.get_or_init(|| {
            let registry = Self::new(Config::default(), self.start);
            // It has no thread, but a region needs its width.
            let _none = registry.sleep.resize(1);
            registry.injector.set_mode(Mode::Closed);
            let _none = registry.sleep.wait_quiet(&|| true, &|| ());
            registry
        })
    }

    /// The tag of a task that its waiters may run: if the pool lets its callers help, outside
    /// threads may, too.
    pub(in crate::thread) fn claim_tag(&self) -> u32 {
        if self.config.caller_helps {
            self.tag | OUTSIDERS
        } else {
            self.tag
        }
    }

    // ---- slots -----------------------------------------------------------

    pub(in crate::thread) fn slots(&self) -> Slots<Slot> {
        self.slots.all()
    }

    pub(in crate::thread) fn put_outside_slot(&self, owned: OwnedSlot) {
        if self.is_foreign() {
            // The lock may be held for ever.
            std::mem::forget(owned);
        } else {
            self.slots.put_outside(owned);
        }
    }

    // ---- unattended queues -----------------------------------------------

    /// The thread of this slot will not look into its deques soon: if they hold something, other
    /// threads look there first, as if it were their own.
    pub(in crate::thread) fn leave_queues(&self, slot: &Slot) {
        if !slot.public.is_empty() {
            // Before the flag, so that the count is never too small.
            self.unattended.fetch_add(1, Ordering::Relaxed);
            if slot.unattended.swap(true, Ordering::Relaxed) {
                self.unattended.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The thread of this slot looks into its deques again, or they are empty.
    pub(in crate::thread) fn attend_to_queues(&self, slot: &Slot) {
        if slot.unattended.load(Ordering::Relaxed) && slot.unattended.swap(false, Ordering::Relaxed)
        {
            self.unattended.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether some slot is unattended: a hint.
    pub(in crate::thread) fn some_unattended(&self) -> bool {
        self.unattended.load(Ordering::Relaxed) > 0
    }

    // ---- what is queued --------------------------------------------------

    /// Whether something is queued that any worker may take.
    pub(in crate::thread) fn has_work(&self) -> bool {
        self.has_work_in(&self.slots(), true)
    }

    /// Whether something is queued that its owner does not take back.
    pub(in crate::thread) fn has_tasks(&self) -> bool {
        self.has_work_in(&self.slots(), false)
    }

    /// Whether there is a task, or, if they count, a half of a join, in these slots, which are all,
    /// or something in the injector.
    #[inline(never)] // it is long, and called from ten places
    pub(in crate::thread) fn has_work_in(&self, slots: &[Arc<Slot>], halves: bool) -> bool {
        let has_work =
            |slot: &Arc<Slot>| slot.public.has_tasks() || halves && slot.public.has_jobs();
        !self.injector.is_empty() || slots.iter().any(has_work)
    }

    /// Whether there is something in these slots, which are all, or in the injector, that some
    /// thread would take.
    pub(in crate::thread) fn has_something_in(&self, slots: &[Arc<Slot>]) -> bool {
        self.has_work_in(slots, self.takers() > 0)
    }

    /// How many threads would take a half of a join that is offered now.
    #[inline]
    pub(in crate::thread) fn takers(&self) -> u32 {
        self.sleep.idlers(self.wake_policy.replaced_sleepers()) + self.wake_policy.waiters()
    }

    /// Whether there are shares in mailboxes.
    pub(in crate::thread) fn has_mail(&self) -> bool {
        let slots = self.slots();
        slots.iter().any(|slot| !slot.mailbox.is_empty())
    }

    /// How many entries have been taken from the queues so far.
    pub(in crate::thread) fn progress(&self) -> u64 {
        let mut taken = 0;
        for slot in &*self.slots() {
            taken += slot.taken_entries();
        }
        taken
    }

    // ---- work ------------------------------------------------------------

    /// Queues work from outside; a pool that has been shut down returns it.
    pub(in crate::thread) fn inject(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        let pushed = self.injector.push(work);
        self.published(); // also after a refusal: entries behind it may have waited for it
        pushed
    }

    /// Puts a task of a scope into the injector that was taken from a deque.
    pub(in crate::thread) fn inject_scoped(&self, lent: ErasedEntry) {
        lent.enqueue(|ticket| self.injector.put_back(Work::Ticket(ticket)));
    }

    /// Wakes or starts a thread for work that was just pushed, if one is needed.
    #[inline]
    pub(in crate::thread) fn published(self: &Arc<Self>) {
        self.published_and(Afterwards::MayWait);
    }

    /// The same, if it is known what the thread that has pushed the work does afterwards.
    #[inline]
    pub(in crate::thread) fn published_and(self: &Arc<Self>, then: Afterwards) {
        if let Some(need) = self.sleep.need_after_push() {
            self.wake_or_start(need, then);
        }
    }

    /// A searcher has found work, while `others` search: whether it must look for more.
    #[inline]
    pub(in crate::thread) fn looks_for_more(&self, others: usize) -> bool {
        others == 0 || self.lacks_searchers(WAKING)
    }

    /// A searcher has found work, and seen more: wakes one thread more.
    pub(in crate::thread) fn found_more(self: &Arc<Self>) {
        match self.sleep.need_after_push() {
            Some(need) => self.wake_or_start(need, Afterwards::Computes),
            None if self.lacks_searchers(WAKING) => self.wake_another(WAKING),
            None => {}
        }
    }

    /// Whether one thread more should be woken although some search, but fewer than `few`.
    #[inline]
    pub(in crate::thread) fn lacks_searchers(&self, few: usize) -> bool {
        let replaced = self.wake_policy.replaced_sleepers();
        self.sleep.lacks_searchers(replaced, few)
    }

    /// Wakes or starts that thread.
    #[cold]
    pub(in crate::thread) fn wake_another(self: &Arc<Self>, few: usize) {
        if self.may_recruit() && self.sleep.recruit_another(few) == Recruited::Missing {
            self.start(Need::Runner);
        }
    }

    /// Looks into the queues once more, where the protocol asks for it.
    pub(in crate::thread) fn recheck(self: &Arc<Self>) {
        if self.has_something_in(&self.slots()) {
            self.published();
        }
    }

    /// Marks the thread of a place as away if `is_away`: any worker may take the contents of its
    /// mailbox.
    pub(in crate::thread) fn close_mailbox(
        self: &Arc<Self>,
        slot: &Slot,
        is_away: &dyn Fn() -> bool,
    ) {
        let shares = slot.mailbox.close(is_away);
        if !shares.is_empty() {
            self.inject_shares(shares);
        }
    }

    #[cold]
    fn inject_shares(self: &Arc<Self>, mut shares: VecDeque<Work>) {
        while let Some(share) = shares.pop_front() {
            // One that no thread will take any more is dropped: its caller runs it.
            drop(self.injector.push_woken(share));
        }
        self.published();
    }

    /// A worker parks in a wait: another thread replaces it if there is work.
    pub(in crate::thread) fn block(self: &Arc<Self>) {
        self.sleep.block();
        self.ask_again();
    }

    /// Another thread runs if there is work for one, unless the system refuses it.
    fn ask_again(self: &Arc<Self>) {
        if self.has_something_in(&self.slots()) {
            self.published();
        } else {
            self.refused.store(false, Ordering::Relaxed);
        }
    }

    /// The system has refused a thread for work that is queued.
    pub(in crate::thread) fn lacks_threads(&self) -> bool {
        // A hint: it stays until the system gives a thread, or nothing is queued.
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether nothing is queued in a pool that ends.
    pub(in crate::thread) fn is_idle(&self) -> bool {
        let has_tasks = |slot: &Arc<Slot>| slot.public.has_tasks();
        self.injector.is_idle() && !self.slots().iter().any(has_tasks) && !self.has_mail()
    }

    /// Whether threads may be woken for what is queued. In a pool that ends it may lie where only
    /// an outside thread takes it, which could wake them all the time.
    fn may_recruit(&self) -> bool {
        let queued = || self.has_something_in(&self.slots());
        !self.is_foreign() && (!self.sleep.counts().is_closing() || queued())
    }

    /// Wakes or starts the threads needed for the queued work.
    #[cold]
    pub(in crate::thread) fn wake_or_start(self: &Arc<Self>, need: Need, then: Afterwards) {
        if !self.may_recruit() {
            return;
        }
        let mut need = need;
        loop {
            let recruited = match need {
                Need::Runner => self.sleep.recruit(then),
                Need::Monitor => self.sleep.begin_monitor(),
            };
            match recruited {
                Recruited::Missing => return self.start(need),
                Recruited::Done => return,
                // Something else may be needed now, or a note of what may be needed later.
                Recruited::Changed => match self.sleep.need_after_push() {
                    Some(next) => need = next,
                    None => return,
                },
            }
        }
    }

    /// There is no progress: one more thread runs than should, if it can get an index.
    pub(in crate::thread) fn recruit_more(self: &Arc<Self>) {
        if self.exclusive.is_none() && self.sleep.recruit_more() == Recruited::Missing {
            self.start(Need::Runner);
        }
    }

    fn start(self: &Arc<Self>, need: Need) {
        let refused = !(self.start)(self, need);
        // A stall monitor may run on an existing helper thread, so its start does not show that the
        // system gives threads.
        if refused || need == Need::Runner {
            self.refused.store(refused, Ordering::Relaxed);
        }
        if refused {
            REFUSED.store(true, Ordering::Relaxed);
        }
    }

    // ---- identity --------------------------------------------------------

    /// An address that distinguishes the pools that exist now.
    #[inline]
    pub(in crate::thread) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    pub(in crate::thread) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut pools = all().lock();
        // (Not that of a parent process.)
        if let Ok(place) = find(self.tag, &pools) {
            pools.remove(place);
        }
    }
}
