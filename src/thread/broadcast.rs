//! `broadcast`: a closure called once on each worker.
//!
//! For per-worker caches, counters and thread-locals.
//!
//! **What a worker is.** One of the pool's *own* places, 0 to n-1 in a pool of width n. Spares get
//! no share. A place's share lies in its `ShareMailbox` until its thread takes it,
//! between two turns. Two workers that broadcast at the same time wait for each other, and another
//! worker may wait for a task that broadcasts. If only the place's own thread could run a share,
//! these would be deadlocks that the sequential program does not have. So any worker may take the
//! share of a place whose thread is *away* (parked in a wait of this crate, ended, refused by the
//! system, or replaced because it is stuck: `engine/standing.rs`), and then acts for that place. A
//! thread that is merely busy is waited for.
//!
//! **Protocol.** 1. The caller puts each share into its mailbox; or, if the place's thread is away,
//! into the injector. 2. It wakes each place's thread if that is asleep (`sleep`). 3. It checks the
//! injector, and recruits as for a push. 4. A thread that goes away marks its mailbox as away, and
//! moves its contents to the injector.
//! 5. A thread that comes back first removes that mark. It checks its own mailbox before every
//!    turn, except after a share (they may never run out), and again when it goes to sleep.
//! 6. A caller that is a worker runs its own share itself, and is replaced while it waits, as in
//!    any other wait.
//!
//! The caller runs a share that no worker can take any more because the pool has ended: after
//! shutdown the caller acts for all workers.
//!
//! Rejected: a share for each *thread*, waited for until it comes (deadlocks, as above); shares run
//! inside waits (unrelated code, under the waiter's locks); taking over the share of a busy thread
//! after a moment (its cache would stay empty because of one long task).
//!
//! Tests: below, `tests/thread/resize.rs`; 4 in `tests/trefoil-checks/tests/pool.rs`.

use std::panic::resume_unwind;

use super::engine::queue::Work;
use super::engine::raw_current as current;
use super::engine::registry::Registry;
use super::engine::slot::Slot;
use super::engine::worker::Worker;
use super::scope::raw_scope::open;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, Mutex};
use crate::task::panic::{Panic, catch, contain};
use crate::task::{
    self, Completer, Origin, PromiseSource, Task, TaskError, TaskId, TaskRef, cancel_each,
};
use crate::thread::engine::registry::enter::as_outside_worker;

/// The result of one worker, if it has returned.
type Returned<R> = Mutex<Option<Result<R, Panic>>>;

/// See [`ThreadPool::broadcast`](super::ThreadPool::broadcast).
pub(super) fn broadcast<F, R>(registry: &Arc<Registry>, f: &F) -> Vec<R>
where
    F: Fn(usize) -> R + Sync,
    R: Send,
{
    // In a forked child there are none of its threads.
    let slots = (!registry.is_foreign()).then(|| registry.own_slots());
    let width = slots.as_ref().map_or(registry.sleep.width(), Vec::len);
    let results: Vec<Returned<R>> = (0..width).map(|_| Mutex::new(None)).collect();
    let take = |index: usize| {
        as_place(registry, index, || {
            *results[index].lock() = Some(catch(|| f(index)));
        });
    };
    if let Some(slots) = slots {
        ask_all(registry, &slots, &take);
    }
    // The shares that no worker could take.
    for (index, result) in results.iter().enumerate() {
        if result.lock().is_none() {
            registry.present().as_worker(&mut |_| take(index));
        }
    }
    gather(&results)
}

/// See [`ThreadPool::spawn_broadcast`](super::ThreadPool::spawn_broadcast).
#[track_caller]
pub(super) fn spawn_broadcast<F, R>(registry: &Arc<Registry>, f: F) -> Task<Vec<R>>
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    let (slots, f) = (registry.own_slots(), Arc::new(f));
    let (mut shares, mut tasks) = (Vec::new(), Vec::new());
    for place in 0..slots.len() {
        let (home, f) = (Arc::clone(registry), Arc::clone(&f));
        let take = move || {
            let mut result = None;
            as_place(&home, place, || result = Some(catch(|| f(place))));
            match result {
                Some(Ok(value)) => value,
                Some(Err(panic)) => {
                    contain(|| drop(f)); // perhaps the last: its destructor does not run meanwhile
                    panic.resume_unwind()
                }
                None => unreachable!("it has been called"),
            }
        };
        // (Not in a closure, which does not know our caller.)
        let (share, task) = task::closure(take, false);
        registry.set_hook(&share);
        shares.push((place, Work::Task(share)));
        tasks.push(task);
    }
    drop(f); // From now on it is the calls', and its destructor never runs here.
    let calls: Arc<[TaskRef]> = tasks.iter().map(Task::task_ref).collect();
    let (completer, all) = task::promise(CancelCalls(Arc::clone(&calls)));
    if let Some(hook) = &registry.config.unobserved {
        completer.set_hook(hook);
    }
    let gathering = Arc::new(Gathering {
        results: tasks.iter().map(|_| Mutex::new(None)).collect(),
        left: AtomicUsize::new(tasks.len()),
        completer: Mutex::new(Some(completer)),
        calls,
    });
    for (place, task) in tasks.into_iter().enumerate() {
        let gathering = Arc::clone(&gathering);
        task.on_done(move |result| gathering.ended(place, result));
    }
    put_shares(registry, registry.is_home(), &slots, shares);
    all
}

/// The producer of a broadcast's task: workers make its calls.
struct CancelCalls(Arc<[TaskRef]>);

impl PromiseSource for CancelCalls {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        cancel_each(self.0.to_vec());
        None
    }

    fn origin(&self) -> Origin {
        Origin::Work
    }

    fn is_executors(&self) -> bool {
        true
    }
}

/// What the calls of one broadcast have returned.
struct Gathering<R> {
    results: Vec<Returned<R>>,
    /// The number of calls that have not ended.
    left: AtomicUsize,
    /// `None`: the task has ended.
    completer: Mutex<Option<Completer<Vec<R>>>>,
    calls: Arc<[TaskRef]>,
}

impl<R: Send + 'static> Gathering<R> {
    /// The call for this place has ended.
    fn ended(&self, place: usize, result: Result<R, TaskError>) {
        match result {
            Ok(value) => *self.results[place].lock() = Some(Ok(value)),
            Err(TaskError::Panicked(panic)) => *self.results[place].lock() = Some(Err(*panic)),
            // It was cancelled, or the pool has ended: the task ends with the same error.
            Err(error) => {
                let completer = self.completer.lock().take();
                if let Some(completer) = completer {
                    completer.complete(Err(error));
                    cancel_each(self.calls.to_vec());
                }
            }
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_ended();
        }
    }

    fn all_ended(&self) {
        let completer = self.completer.lock().take();
        if let Some(completer) = completer.filter(|completer| !completer.is_cancelled()) {
            let gathered = catch(|| gather(&self.results));
            return completer.complete(gathered.map_err(TaskError::from));
        }
        for (result, call) in self.results.iter().zip(&*self.calls) {
            match result.lock().take() {
                Some(Err(panic)) => call.report(panic.into()),
                unwanted => contain(|| drop(unwanted)),
            }
        }
    }
}

/// Calls `f`, which does not unwind, with the index of this place, if this is a thread of its pool.
fn as_place(registry: &Arc<Registry>, place: usize, f: impl FnOnce()) {
    current::with_home(|home| match home {
        Some(home) if registry.is(home.registry()) => home.with_index(place, f),
        _ => f(),
    });
}

/// The place whose share a worker runs in the middle of its work: its own. Where no two running
/// threads may have the same index, that with its index, which it may keep while it waits.
fn acts_for(worker: &Worker) -> Option<usize> {
    match worker.registry().exclusive {
        Some(_) => Some(worker.index()),
        None => worker.is_counted().then(|| worker.place()),
    }
}

/// Returns when each worker has had its turn, or the pool has refused the round.
fn ask_all(registry: &Arc<Registry>, slots: &[Arc<Slot>], take: &(impl Fn(usize) + Sync)) {
    let (counted, mine) = current::with_home(|home| {
        let home = home.filter(|home| registry.is(home.registry()));
        (
            home.is_some_and(Worker::is_counted),
            home.and_then(acts_for),
        )
    });
    let mine = mine.filter(|&index| index < slots.len());
    let mut ask = |waiter: &Worker| {
        let (asked, _) = open(
            waiter,
            |scope| {
                let lend = |index| scope.alone(move || take(index)).lend(Some(&waiter.ended));
                let share = |index| (index, Work::Share(lend(index)));
                let others = (0..slots.len()).filter(|&index| Some(index) != mine);
                put_shares(registry, counted, slots, others.map(share).collect());
                if let Some(index) = mine {
                    take(index);
                }
            },
            |_| (),
            |_, latch| waiter.wait_for(latch),
        );
        asked.unwrap_or_else(|payload| resume_unwind(payload));
    };
    if counted {
        registry.as_worker(&mut ask);
    } else {
        as_outside_worker(registry, &mut ask);
    }
}

/// Puts shares into the mailboxes of the places in `slots`, and wakes their threads; drops the
/// shares if the pool does not accept them. `counted`: the caller is a running worker.
fn put_shares(
    registry: &Arc<Registry>,
    counted: bool,
    slots: &[Arc<Slot>],
    mut shares: Vec<(usize, Work)>,
) {
    let mut places = Vec::with_capacity(shares.len());
    for (place, _) in &shares {
        places.push(*place);
    }
    registry.injector.admit(counted, &mut || {
        let mut refused = Vec::new();
        while let Some((place, share)) = shares.pop() {
            if let Err(share) = slots[place].mailbox.put(share) {
                refused.push(share);
            }
        }
        refused
    });
    if !shares.is_empty() {
        return; // refused
    }
    for &place in &places {
        registry.sleep.wake_for_mail(&slots[place].sleeper);
    }
    // Step 3.
    registry.recheck();
}

/// All results, or the first panic, before which the other results are dropped.
fn gather<R>(results: &[Returned<R>]) -> Vec<R> {
    let mut values = Vec::with_capacity(results.len());
    let mut first = None;
    for result in results {
        match result.lock().take() {
            Some(Ok(value)) if first.is_none() => values.push(value),
            Some(Err(panic)) if first.is_none() => first = Some(panic),
            late => contain(|| drop(late)),
        }
    }
    let Some(panic) = first else { return values };
    for value in values {
        contain(|| drop(value));
    }
    panic.resume_unwind()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::{self, TryRecvError};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::ThreadPool;
    use super::super::engine::queue::Mode;
    use super::{Arc, Registry, Slot};
    use crate::task::Shutdown;

    /// A broadcast whose one share lies in its worker's mailbox; `lose` takes it from there into a
    /// closing pool, so that no thread will run it. Then its caller must be notified, and run it
    /// itself.
    fn lost_share(lose: impl FnOnce(&Arc<Registry>, &Slot)) {
        const LONG: Duration = Duration::from_secs(20);
        let pool = Arc::new(ThreadPool::with_threads(1));
        let (go, gate) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let busy = pool.spawn(move || {
            began.send(()).unwrap();
            // It computes: during a call that sleeps, the pool would start another thread.
            while gate.try_recv() == Err(TryRecvError::Empty) {
                thread::yield_now();
            }
        });
        begun.recv().unwrap();
        let (tell, told) = mpsc::channel();
        let theirs = Arc::clone(&pool);
        let caller = move || {
            let ran_on = theirs.broadcast(|_| thread::current().id());
            tell.send((ran_on, thread::current().id())).unwrap();
        };
        let caller = thread::Builder::new().spawn(caller).unwrap();
        let (registry, deadline) = (pool.registry(), Instant::now() + LONG);
        while !registry.has_mail() {
            assert!(Instant::now() < deadline, "it lies in the mailbox");
            thread::yield_now();
        }
        lose(registry, &registry.own_slots()[0]);
        let told = told.recv_timeout(LONG);
        let (ran_on, caller_id) = told.expect("the caller still waits for its share");
        assert_eq!(ran_on, [caller_id]);
        caller.join().unwrap();
        go.send(()).unwrap();
        busy.join().unwrap();
    }

    #[test]
    fn a_share_between_its_mailbox_and_a_closed_injector_is_the_callers() {
        lost_share(|registry, slot| {
            registry.injector.set_mode(Mode::Closed);
            registry.close_mailbox(slot, &|| true);
        });
    }

    #[test]
    fn a_share_in_an_injector_that_closes_is_the_callers() {
        lost_share(|registry, slot| {
            registry.close_mailbox(slot, &|| true); // the only worker is busy, and does not look
            registry.injector.set_mode(Mode::Closed);
            registry.futures.close(&registry.injector, Shutdown::Wait);
        });
    }
}
