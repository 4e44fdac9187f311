//! What callers do: encode a call, send it to the driver, and hand it out or fetch its result in
//! the driver's place.
//!
//! The arguments are encoded on the caller's thread, many to a chunk. The driver's mailbox takes
//! the job first, then its items, chunk by chunk, while the caller goes on. A job whose items
//! cannot all be encoded fails there.
//!
//! A caller that waits for all results anyway (`map`) encodes only so far ahead of the workers that
//! they have enough to do: then the memory of its chunks is used again, and its size does not
//! depend on the number of items (`limits::chunks_ahead`). Chunks hold the permits of a
//! [`Semaphore`] until they are dropped, after the last answer, or when the job or the driver ends.
//!
//! **The shortcut.** A call goes from its caller to the driver's thread, to the worker, back to the
//! driver and back to the caller: four wake-ups, each of which costs more than everything else. If
//! calls follow one another closely, none of them is needed.
//! 1. *The call.* A caller that finds the driver asleep hands out the new work itself
//!    ([`PoolState::deliver`]), if the engine is free and there is nothing else to do. The driver
//!    is woken only if it must act earlier than it will look by itself.
//! 2. *In between.* A caller that is about to block for a call, which is the only one that its
//!    worker has, polls the worker's ledger for a moment ([`PoolState::help`]), and records that
//!    there. Then the worker need not send the result; it polls for its next frame for a moment,
//!    sends results that have not been read, and goes to sleep as usual (`worker`).
//! 3. *The result.* The caller takes the result out of the ledger, as the driver does when it looks
//!    ahead. When the worker sends it later, it is known and skipped. If it was sent before the
//!    worker knew that a caller polls, the caller receives it, and the driver finds nothing. So if
//!    anything must then be done that the caller may not do, the caller wakes the driver.
//!
//! *Plain workers* have no ledger: of these a caller only hands out its call (1.).
//!
//! **Which user code runs.** Under the engine's lock a caller runs no code of other tasks: in 1. no
//! task can end, in 3. only the one for which it waits. So a lock that the caller holds cannot
//! block another task's callback. If a worker's output is captured, or its events are forwarded,
//! user code would run, so no caller polls then. A caller decodes its own result without the
//! engine's lock (`readers`), and only if it waits without a limit.
//!
//! **Bounds.** Polling takes [`POLL_FOR`] at most, on both sides, after a call or an answer; an
//! idle pool does not poll.
//!
//! Tests: `tests/process/{pool,calls,speed,callers}.rs`,
//! `tests/trefoil-checks/tests/shortcut_models.rs`, `host::ledger`.

use std::any::type_name;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use serde::Serialize;

use super::driver::{ActingDriver, CALLERS_ACTIVE_FOR, CLOCK_CHECK, Driver, PoolState};
use super::link::Link;
use super::mailbox::Mail;
use crate::events;
use crate::loom::hint;
use crate::parking::block_on::block_on;
use crate::process::host::ledger::Ledger;
use crate::process::host::poll_policy::POLL_FOR;
use crate::process::host::shared_clock;
use crate::process::job::results::{Collect, One, is_quick_type};
use crate::process::job::{CallOptions, Context, Initializer, Job, Work};
use crate::process::limits::chunks_ahead;
use crate::process::sched::Feed;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::codec::{codec_error, explain};
use crate::process::value::portable::Portable;
use crate::process::wire::CodeRef;
use crate::sync::Semaphore;
use crate::sys::ticks;
use crate::task::{
    CodecDirection, Completer, Origin, Producer, Task, TaskError, TaskId, TaskRef, panic, promise,
};

/// How many chunks share a permit, so that the caller is woken once for all of them.
const CHUNKS_PER_PERMIT: usize = 4;

impl PoolState {
    /// How far a caller that waits encodes ahead of the workers.
    pub(crate) fn ahead(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(chunks_ahead(self.width)))
    }

    /// One call of a function from `A` to `R` with an argument that is not needed any more.
    #[track_caller]
    pub(crate) fn spawn<A: Portable, R: Portable>(
        self: &Arc<Self>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        arg: &mut A,
    ) -> Task<R> {
        let call = encode(arg, code, self.path.chunk());
        self.submit::<A, R>(options, call)
    }

    /// The same, and the call has been encoded.
    #[track_caller]
    pub(crate) fn submit<A, R: Portable>(
        self: &Arc<Self>,
        options: CallOptions,
        call: Result<Call, TaskError>,
    ) -> Task<R> {
        let (id, completer, task) = self.promise::<R>();
        let task = options.named(task);
        match call {
            Err(error) => completer.complete(Err(error)),
            Ok((code, chunk)) => {
                let sink = Box::new(One::new(completer));
                let work = Work::new::<A, R>(code, sink, options);
                let job = Job::new(work);
                // Refused mail is dropped here, and its task ends in `Closed`.
                let _ = self.deliver([Mail::Submit { id, job }, only(id, chunk)]);
            }
        }
        task
    }

    /// Many calls, one task for all. Waits for a permit of `ahead` now and then.
    #[track_caller]
    pub(crate) fn map_task<I, R>(
        self: &Arc<Self>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        items: I,
        ahead: Option<&Arc<Semaphore>>,
    ) -> Task<Vec<R>>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        let items = items.into_iter();
        let (id, completer, task) = self.promise::<Vec<R>>();
        let task = options.named(task);
        let code = match code {
            Ok(code) => code,
            Err(error) => {
                completer.complete(Err(error));
                return task;
            }
        };
        let sink = Collect::new(completer, items.size_hint().0);
        let mut work = Work::new::<I::Item, R>(code, Box::new(sink), options.clone());
        work.numbered = true;
        let total = items.size_hint().1;
        work.items = events::items("map in processes", task.id().get(), total);
        let job = Job::new(work);
        let submit = Mail::Submit { id, job };
        // The refused promise is dropped: `Closed`.
        if self.mailbox.push([submit]).is_ok()
            && let Err(panic) = self.feed(id, items, &options, ahead, || task.is_finished())
        {
            task.cancel();
            panic.resume_unwind();
        }
        task
    }

    /// The common context of a `map_with`.
    pub(crate) fn common<C: Serialize + 'static>(&self, common: &C) -> Result<Context, TaskError> {
        let mut chunk = self.path.context();
        push(&mut chunk, common)?;
        Ok(Context {
            piece: Piece::whole(Arc::new(chunk), 0),
            type_name: type_name::<C>(),
        })
    }

    /// Encodes and sends `items`, chunk by chunk, until `over` says that no more are wanted.
    /// Returns a panic of their iterator.
    fn feed<A: Portable>(
        &self,
        id: u64,
        items: impl IntoIterator<Item = A>,
        options: &CallOptions,
        ahead: Option<&Arc<Semaphore>>,
        over: impl Fn() -> bool,
    ) -> Result<(), panic::Panic> {
        let (mut base, mut full) = (0, 0);
        let mut send = |chunk: Chunk, sealed, failure| {
            let next = base + chunk.len();
            let _ = self.deliver([Mail::Feed(Feed {
                id,
                base,
                chunk: Arc::new(chunk),
                sealed,
                failure,
            })]);
            base = next;
        };
        let mut chunk = self.path.chunk();
        let frame = options.chunk;
        // The first chunks are small, so that the workers can begin soon. (The later ones are small
        // enough to be still in the cache when they are sent.)
        let limit = if frame.is_some() { 1 << 16 } else { 1 << 14 };
        // (At most half of the limit, so that the limit holds a multiple of it.)
        let frame = frame.unwrap_or(1).clamp(1, 1 << 15);
        let mut most = 64usize.next_multiple_of(frame);
        let encoding = Cell::new(false);
        let fed = panic::catch(|| {
            for mut item in items {
                if over() {
                    return Ok(false);
                }
                encoding.set(true);
                let encoded = chunk.push_own(&mut item);
                encoding.set(false);
                encoded.map_err(unencodable::<A>)?;
                if chunk.len() >= most || chunk.is_full() {
                    let more = if 2 * most <= limit { 2 } else { 1 };
                    most *= more;
                    let mut next = chunk.take(more);
                    if full % CHUNKS_PER_PERMIT == 0 {
                        let permit = ahead.and_then(|ahead| block_on(ahead.acquire_arc()));
                        permit
                            .into_iter()
                            .for_each(|permit| next.keep_permit(permit));
                    }
                    full += 1;
                    send(next, false, None);
                }
            }
            Ok(true)
        });
        let failure = match fed {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => return Ok(()),
            Ok(Err(error)) => Some(error),
            // As in `push`.
            Err(panic) if encoding.get() => Some(panic.into()),
            Err(panic) => return Err(panic),
        };
        send(chunk, true, failure);
        Ok(())
    }

    #[track_caller]
    fn promise<T: Send + 'static>(self: &Arc<Self>) -> (u64, Completer<T>, Task<T>) {
        let id = self.mailbox.id();
        let (completer, task) = promise(CancelCall {
            shared: Arc::downgrade(self),
            id,
            result: PhantomData::<fn() -> T>,
        });
        if let Some(hook) = &self.unobserved {
            completer.set_hook(hook);
        }
        events::called(self.counters.pool, id, task.id().get());
        (id, completer, task)
    }
}

/// Mail with the one item of a job.
fn only(id: u64, item: Chunk) -> Mail {
    Mail::Feed(Feed {
        id,
        base: 0,
        chunk: Arc::new(item.complete()),
        sealed: true,
        failure: None,
    })
}

/// The producer of a call's task: notifies the driver if the task is cancelled.
struct CancelCall<T> {
    shared: Weak<PoolState>,
    id: u64,
    result: PhantomData<fn() -> T>,
}

impl<T: 'static> CancelCall<T> {
    /// The pool, if a caller need stand by: not if the result is decoded where it is received.
    fn stands_by(&self) -> Option<Arc<PoolState>> {
        self.shared.upgrade().filter(|_| !is_quick_type::<T>())
    }
}

impl<T: 'static> Producer for CancelCall<T> {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        if let Some(shared) = self.shared.upgrade() {
            let _ = shared.mailbox.push([Mail::Cancel(self.id)]);
        }
        None
    }

    fn help(&self, patient: bool, done: &dyn Fn() -> bool) {
        if let Some(shared) = self.shared.upgrade() {
            shared.help(self.id, patient, done);
        }
    }

    fn stand_by(&self, caller: &Waker) {
        if let Some(shared) = self.stands_by() {
            shared.stand_by(self.id, caller);
        }
    }

    fn step_back(&self) {
        if let Some(shared) = self.stands_by() {
            shared.step_back(self.id);
        }
    }

    fn origin(&self) -> Origin {
        Origin::Work
    }

    fn is_executors(&self) -> bool {
        true
    }
}

/// One call that has been encoded.
pub(crate) type Call = (CodeRef, Chunk);

/// Encodes one call into an empty chunk. The argument is not needed any more.
pub(crate) fn encode<A: Portable>(
    arg: &mut A,
    code: Result<CodeRef, TaskError>,
    mut chunk: Chunk,
) -> Result<Call, TaskError> {
    let code = code?;
    push_own(&mut chunk, arg)?;
    Ok((code, chunk))
}

/// Appends an argument. A panic in its `Serialize` becomes an error, as one in its `Deserialize`
/// will.
#[inline]
pub(crate) fn push<A: Serialize + 'static>(
    chunk: &mut Chunk,
    argument: &A,
) -> Result<(), TaskError> {
    encoded::<A>(|| chunk.push(argument))
}

/// The same, if the argument is not needed any more.
#[inline]
pub(crate) fn push_own<A: Serialize + 'static>(
    chunk: &mut Chunk,
    argument: &mut A,
) -> Result<(), TaskError> {
    encoded::<A>(|| chunk.push_own(argument))
}

#[inline]
fn encoded<A>(encode: impl FnOnce() -> Result<(), postcard::Error>) -> Result<(), TaskError> {
    match panic::catch(encode) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unencodable::<A>(error)),
        Err(panic) => Err(panic.into()),
    }
}

/// Encodes a call that every worker makes first.
pub(crate) fn initializer<A: Portable>(
    arg: &A,
    code: Result<CodeRef, TaskError>,
) -> Result<Initializer, TaskError> {
    let (code, mut chunk) = (code?, Chunk::default());
    push(&mut chunk, arg)?;
    Ok(Initializer {
        code,
        chunk: Arc::new(chunk),
        type_name: type_name::<A>(),
    })
}

#[cold]
pub(crate) fn unencodable<A>(error: postcard::Error) -> TaskError {
    let way = CodecDirection::EncodeArgument;
    codec_error(type_name::<A>(), way, explain(error))
}

/// For how long a caller announces that it polls, in nanoseconds: [`POLL_FOR`], and some time until
/// the worker reads it.
const WATCH: u64 = 40_000;
/// The same on one processor: there a worker often runs before the caller can announce that it
/// polls, so the last announcement counts for longer.
const WATCH_ONE: u64 = 400_000;

/// How often to look for an end of frame that is about to come.
const SOON: u32 = 50;

impl PoolState {
    /// Delivers new work. If the driver sleeps, and no other caller does its work, this caller
    /// hands the work out.
    pub(crate) fn deliver<const N: usize>(&self, mail: [Mail; N]) -> Result<(), Vec<Mail>> {
        let is_call = matches!(mail.first(), Some(Mail::Submit { .. }));
        let is_fit = self.path.may_hand_out(is_call);
        self.mailbox.deliver(mail, || {
            let mut engine = is_fit.then(|| self.engine.try_lock()).flatten();
            let driver = engine.as_deref_mut().and_then(Option::as_mut);
            driver.is_some_and(Driver::hand_out)
        })
    }

    /// Called by a caller that is about to sleep until the job `id` is `done`: polls for its result
    /// for a moment. `patient`: also decodes it, however long that takes.
    pub(crate) fn help(&self, id: u64, patient: bool, done: &dyn Fn() -> bool) {
        let poll_policy = &self.poll_policy;
        if self.mailbox.is_foreign() || !self.path.may_poll() || poll_policy.is_pausing() {
            return;
        }
        let mut looks = ticks::Looks::new(POLL_FOR);
        let Some((index, ledger, mut known)) = self.sole(id, &mut looks, done) else {
            return;
        };
        let yields = poll_policy.yields;
        let long = if yields { WATCH_ONE } else { WATCH };
        let watch = || ledger.watch(shared_clock::now() + long, yields);
        watch();
        while !looks.are_over() {
            if ledger.has_unsent(known)
                && let Some(mut engine) = self.engine.try_lock()
            {
                // The job may have moved to another worker, and this worker's results may be
                // another job's.
                let is_here = |driver: &&mut Driver| driver.sched.sole(id) == Some(index);
                let Some(driver) = engine.as_mut().filter(is_here) else {
                    return; // another thread was quicker
                };
                let _acting = ActingDriver::new();
                if ledger.has_sent(known) {
                    driver.receive(index, false); // sent before the worker knew that a caller polls
                }
                driver.read_unsent(index);
                let readings = patient.then(|| driver.sched.chores_of(id));
                let readings = readings.unwrap_or_default();
                if !readings.is_empty() {
                    driver.wake_if_needed(); // other work should not wait until this is decoded
                    drop(engine);
                    readings
                        .into_iter()
                        .for_each(|reading| self.carry_out(reading, true));
                    engine = self.engine.lock();
                }
                let Some(driver) = engine.as_mut() else {
                    return;
                };
                known = driver.links[index]
                    .as_ref()
                    .map_or(u64::MAX, |link| link.peer.stream.known);
                let is_over = done();
                if is_over {
                    driver.see_end(index);
                }
                driver.sched.count_busy();
                driver.wake_if_needed(); // it does not know what was received here
                if is_over {
                    watch(); // the next call may follow
                    return;
                }
            }
            if done() {
                return;
            }
            poll_policy.pause();
        }
    }

    /// The worker that has the job `id` and nothing else: see [`Driver::sole`]. Waits a moment for
    /// such a worker.
    fn sole(
        &self,
        id: u64,
        looks: &mut ticks::Looks,
        done: &dyn Fn() -> bool,
    ) -> Option<(usize, Arc<Ledger>, u64)> {
        while !done() && !looks.are_over() {
            if let Some(mut engine) = self.engine.try_lock() {
                let engine = engine.as_mut()?;
                // A driver that is about to read the mailbox would hand it out, too.
                let has_mail = engine.sched.sole(id).is_none() && !self.mailbox.is_empty();
                if has_mail && !engine.hand_out() {
                    self.mailbox.wake();
                }
                return engine.sole(id);
            }
            self.poll_policy.pause();
        }
        None
    }
}

/// Whether user code runs when the worker's records are read: a hook, or a subscriber.
fn runs_hooks(link: &Link) -> bool {
    link.output.is_captured() || link.sends_events
}

impl Driver {
    /// Waits for the end of the frame, which comes right after the result, so that the next call
    /// finds the worker idle.
    fn see_end(&mut self, index: usize) {
        for _ in 0..SOON {
            let link = self.links[index].as_ref();
            if !self.sched.only_ends(index) {
                return;
            }
            if link.is_some_and(|link| link.peer.has_records_ahead()) {
                self.read_unsent(index);
            }
            hint::spin_loop();
        }
    }

    /// Hands out what is in the mailbox, if there is nothing else to do. True: the driver need not
    /// be woken.
    fn hand_out(&mut self) -> bool {
        let now = Instant::now();
        if !self.sched.nothing_is_due(now) {
            return false;
        }
        let Some(mail) = self.shared.mailbox.take_if_only_new_work() else {
            return false;
        };
        let _acting = ActingDriver::new();
        for index in 0..self.links.len() {
            let link = self.links[index].as_ref();
            let more = link.is_some_and(|link| link.peer.has_records_ahead() && !runs_hooks(link));
            if more && self.sched.only_ends(index) {
                self.read_unsent(index);
            }
        }
        self.read_mail(mail, now);
        if !self.sched.dispatch_work(now) {
            return false;
        }
        self.callers_active_until = now + CALLERS_ACTIVE_FOR;
        self.carry_out_actions();
        let sends = self
            .links
            .iter()
            .flatten()
            .any(|link| link.peer.stream.is_sending());
        // (Work that stays in the queue waits for a worker, whose answer will wake the driver.)
        !sends && !self.oversleeps() && !self.sched.needs_driver_thread()
    }

    /// Whether something is due before the driver wakes by itself.
    fn oversleeps(&self) -> bool {
        match (self.sleeps_until, self.sched.deadline()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(until), Some(due)) => until > due + CLOCK_CHECK,
        }
    }

    /// Called after another thread has done some of the driver's work: wakes the driver if needed.
    pub(super) fn wake_if_needed(&self) {
        if self.oversleeps() || self.sched.needs_driver(Instant::now()) {
            self.shared.mailbox.wake();
        }
    }

    /// The worker that has the job `id` and nothing else, its ledger, and how much of its output is
    /// known.
    fn sole(&self, id: u64) -> Option<(usize, Arc<Ledger>, u64)> {
        let index = self.sched.sole(id)?;
        let link = self.links[index].as_ref()?;
        // Without a process descriptor that shows the worker's death, only the end of its output
        // does.
        let watched = !runs_hooks(link) && link.child.process.is_some();
        let ledger = link.peer.polled().filter(|_| watched)?;
        Some((index, ledger, link.peer.stream.known))
    }
}
