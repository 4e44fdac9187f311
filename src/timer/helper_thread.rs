//! Waits for deadlines and descriptors without a loop: on one helper thread for the whole process.
//!
//! **Job.** It is the timekeeper of every thread that has no loop. It also waits for descriptors
//! (`watched.rs`): a future that waits for an item of another process may be polled on any runtime,
//! and a dropped child must be reaped when it ends. A build without descriptors has none of that,
//! and waits at a condition variable (`no_descriptors.rs`).
//!
//! **Protocol.**
//! 1. [`Waiter::enter`] stores the deadline, the waker, and any descriptors under the same key. It
//!    starts the job if it does not run; otherwise it rings the job's bell if there is something
//!    new to poll, or if the job would wake up too late.
//! 2. The job polls all descriptors until the earliest deadline. For each entry that is ready or
//!    late, it removes the timer and calls the waker.
//! 3. Descriptors whose timer is gone are dropped. (The job holds them open while it polls, so
//!    removing an entry rings the bell.)
//! 4. Without entries the job waits [`JOB_LINGERS`] for more, and ends; its thread stays for other
//!    jobs (`blocking_threads`). `running` changes only under the lock, in the same critical
//!    section that checks whether the timers are empty, so no entry is left to a job that has
//!    ended.
//!
//! If the system refuses the thread, the thread that polls the waiting task waits in its place for
//! a moment, at most [`BLIND`], and wakes the task, which reads the clock itself and asks again. So
//! whatever polls it is held up until the system gives a thread, but nothing spins, and nothing
//! waits for ever. Of many tasks one waits in such a moment, and the others pass
//! ([`Waiter::stands_in`]). An entry that nobody polls ([`Waiter::keep`]) stays, and the thread is
//! owed (`blocking_threads`). If the system refuses the bell, the job looks at its entries every
//! [`BLIND`].
//!
//! While it runs, the job also asks for threads that are owed to others. Where no loop runs, it is
//! the only one that does, and is started for that (`timer::asks_again`).
//!
//! Wakers are user code: they are cloned, called and dropped outside the lock, and one that
//! panics does not end the thread.
//!
//! Tests: below; `tests/event_loop/time.rs::{the_timer_thread_starts_on_need_and_ends,
//! deadlines_without_a_loop_where_the_system_gives_no_thread}`, `tests/io/children.rs`,
//! `tests/process/channel.rs`.

use std::sync::Arc;
use std::task::Waker;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::timekeeper::Timekeeper;
use super::timers::{TimerKey, Timers};
use super::watched::{Bell, Watched, WatchedFds, look};
use crate::blocking_threads;
use crate::blocking_threads::contain;
use crate::loom::{Mutex, MutexGuard};
use crate::sys::fork::{self, PerProcess};

/// How long the idle job stays: starting it takes longer than ringing.
const JOB_LINGERS: Duration = Duration::from_millis(200);

/// How often the job looks at its entries if it has no bell, and a task's thread at the clock if
/// there is no job.
const BLIND: Duration = Duration::from_millis(10);

/// The latest deadline: in some thirty years.
pub(super) const FAR: Duration = Duration::from_secs(1 << 30);

pub(super) struct Waiter {
    /// The fork generation of the process that it was made in; see `fork.rs`.
    born: u32,
    state: Mutex<WaiterState>,
}

struct WaiterState {
    timers: Timers<Waker>,
    /// The descriptors that some of the timers also wait for.
    watched: Watched,
    running: bool,
    /// The job that could not be started is owed.
    #[cfg(feature = "__descriptors")]
    is_owed: bool,
    /// Who waited last in place of the job.
    stood_in: Option<StoodIn>,
    /// The bell of the job, while it runs.
    bell: Option<Arc<Bell>>,
    /// Until when the job polls if the bell does not ring.
    until: Instant,
}

/// The waiter of this process.
pub(super) fn waiter() -> &'static Arc<Waiter> {
    // A forked child has none of its parent's threads, and starts one of its own.
    static WAITER: PerProcess<Arc<Waiter>> = PerProcess::new();
    WAITER.get_or_init(|| {
        Arc::new(Waiter {
            born: fork::generation(),
            state: Mutex::new(WaiterState {
                timers: Timers::new(),
                watched: Watched::default(),
                running: false,
                #[cfg(feature = "__descriptors")]
                is_owed: false,
                stood_in: None,
                bell: None,
                until: Instant::now(),
            }),
        })
    })
}

fn ring(bell: Option<Arc<Bell>>) {
    if let Some(bell) = bell {
        bell.ring();
    }
}

impl Waiter {
    /// Whether this is a forked child of the process that made the waiter.
    fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    pub(super) fn enter(
        &self,
        deadline: Instant,
        interest: Option<WatchedFds>,
        waker: Waker,
    ) -> Result<TimerKey, Waker> {
        let mut state = self.state.lock();
        if !state.is_run() {
            return Err(waker);
        }
        Ok(self.add(state, deadline, interest, waker))
    }

    /// The same for what nobody polls: if the system refuses the thread, the entry waits for it.
    #[cfg(feature = "__descriptors")]
    pub(super) fn keep(&self, deadline: Instant, interest: WatchedFds, waker: Waker) {
        let mut state = self.state.lock();
        if !state.is_run() && !state.is_owed {
            state.is_owed = true;
            blocking_threads::owe(|| waiter().run_late());
        }
        self.add(state, deadline, Some(interest), waker);
    }

    fn add(
        &self,
        mut state: MutexGuard<'_, WaiterState>,
        deadline: Instant,
        interest: Option<WatchedFds>,
        waker: Waker,
    ) -> TimerKey {
        let rings = interest.is_some() || deadline < state.until;
        let key = state.timers.insert(deadline, waker);
        if let Some(interest) = interest {
            state.watched.insert(key, interest);
        }
        let bell = state.bell.clone();
        drop(state);
        if rings {
            ring(bell);
        }
        key
    }

    /// For a task that waits for `deadline` and that [`enter`](Self::enter) has refused: until when
    /// this thread should wait in place of the job. `None`: another task does so.
    pub(super) fn stands_in(&self, deadline: Instant) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(last) = &mut state.stood_in
            && last.lets_pass(deadline, now)
        {
            return None;
        }
        let until = deadline.min(now + BLIND);
        state.stood_in = Some(StoodIn {
            deadline,
            until,
            passed: None,
        });
        Some(until)
    }

    /// Runs the job that was owed, unless another has been started since.
    #[cfg(feature = "__descriptors")]
    fn run_late(&self) {
        let mut state = self.state.lock();
        state.is_owed = false;
        if !std::mem::replace(&mut state.running, true) {
            drop(state);
            self.run();
        }
    }

    /// Runs the job.
    fn run(&self) {
        let (mut bell, mut ready, mut lingers) = (None, Vec::new(), false);
        loop {
            if bell.is_none() {
                bell = Bell::new().ok().map(Arc::new);
            }
            let owes = blocking_threads::ask_again();
            let mut state = self.state.lock();
            let WaiterState {
                timers, watched, ..
            } = &mut *state;
            let mut woken = Vec::new();
            for &key in &ready {
                if let Some(waker) = timers.remove(key) {
                    woken.push(waker);
                }
            }
            for waker in timers.due(Instant::now()) {
                woken.push(waker);
            }
            let left = watched.take_ended(|key| timers.get_mut(key).is_none());
            let watched = watched.list();
            let next = timers.next_deadline();
            let idle = next.is_none() && woken.is_empty();
            if idle && lingers && owes.is_none() {
                state.running = false;
                state.bell = None;
                return;
            }
            lingers = idle;
            let most = match (&bell, next) {
                (None, _) => BLIND,
                (Some(_), None) => JOB_LINGERS,
                (Some(_), Some(_)) => FAR,
            };
            let most = Instant::now() + owes.map_or(most, |pause| pause.min(most));
            let until = next.map_or(most, |next| next.min(most));
            (state.until, state.bell) = (until, bell.clone());
            drop(state);
            left.into_iter().for_each(drop); // first: the woken code may use the remaining entries
            for waker in woken {
                blocking_threads::wake(waker);
            }
            ready = look(bell.as_deref(), &watched, until);
        }
    }
}

/// The task that stood in for the job last.
struct StoodIn {
    deadline: Instant,
    /// When its wait was over.
    until: Instant,
    /// The first task that has passed since.
    passed: Option<Instant>,
}

impl StoodIn {
    /// Whether the task that waits for this deadline need not stand in, because the one before
    /// will come again. It will not if it has waited until its own deadline, or if another one's
    /// turn comes twice before.
    fn lets_pass(&mut self, deadline: Instant, now: Instant) -> bool {
        let comes_again = self.deadline != self.until && now < self.until + BLIND;
        if self.deadline == deadline || !comes_again {
            return false;
        }
        let had_a_turn = self.passed == Some(deadline);
        self.passed.get_or_insert(deadline);
        !had_a_turn
    }
}

impl WaiterState {
    /// Whether the job runs, or can be started.
    fn is_run(&mut self) -> bool {
        self.running = self.running || blocking_threads::start(|| waiter().run()).is_ok();
        self.running
    }
}

/// Calls `waker` after this time, on the helper thread, whatever loop runs here. `false`: the
/// system gives no thread for that.
#[cfg(feature = "event-loop")]
pub(crate) fn wake_after(pause: Duration, waker: Waker) -> bool {
    waiter().enter(Instant::now() + pause, None, waker).is_ok()
}

impl Timekeeper for Waiter {
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        match self.enter(deadline, None, waker) {
            Ok(key) => key,
            Err(waker) => {
                if let Some(until) = self.stands_in(deadline) {
                    sleep(until.saturating_duration_since(Instant::now()));
                }
                blocking_threads::wake(waker);
                TimerKey::STALE
            }
        }
    }

    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        if self.is_foreign() {
            return false;
        }
        let waker = waker.clone();
        let replaced = self.state.lock().timers.replace(key, waker);
        replaced.is_ok()
    }

    fn disarm(&self, key: TimerKey) {
        if self.is_foreign() {
            return; // no job runs here, and its lock may be held for ever
        }
        let mut state = self.state.lock();
        let waker = state.timers.remove(key);
        let interest = state.watched.remove(key);
        let bell = state.bell.clone();
        drop(state);
        if interest.is_some() {
            ring(bell);
        }
        contain(|| drop((waker, interest)));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    const TEST_LIMIT: Duration = Duration::from_secs(20);

    struct Report(Sender<()>);

    impl Wake for Report {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    fn waits_until_at_least(until: Instant) {
        let limit = Instant::now() + TEST_LIMIT;
        while waiter().state.lock().until < until {
            assert!(
                Instant::now() < limit,
                "it does not wait for the far deadline"
            );
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_nearer_deadline_ends_the_wait_for_a_farther_one() {
        let (tell, told) = channel();
        let waker = || Waker::from(Arc::new(Report(tell.clone())));
        let far = Instant::now() + Duration::from_secs(3600);
        for _ in 0..100 {
            let key = waiter().arm(far, waker());
            waits_until_at_least(far);
            let near = Instant::now() + Duration::from_micros(100);
            waiter().arm(near, waker());
            assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(()));
            assert!(Instant::now() >= near, "early");
            waiter().disarm(key);
        }
        assert!(told.try_recv().is_err(), "the far one is not due");
    }
}
