//! The mailbox: messages from callers to the driver, in a queue behind a lock, and a bell.
//!
//! 1. A caller pushes under the lock. Only if the driver sleeps does it also write to the bell,
//!    once: a burst of calls costs one wake-up.
//! 2. Before the driver sleeps it looks under the same lock: if the queue is empty it counts as
//!    asleep from then on, otherwise it stays awake.
//!
//! A caller that finds the driver asleep may also do its work (`shortcut`), if all messages are new
//! work ([`Mailbox::take_if_only_new_work`]); then the driver is not woken.
//!
//! So no message waits for a sleeping driver, and an awake one is not disturbed. In a forked child,
//! which has no driver and perhaps locks that are held for ever, all messages are returned to the
//! caller. After [`Mailbox::close`] no new job is accepted, but messages about earlier jobs still
//! are.
//!
//! Tests: `tests/process/pool.rs::shut_down_in_three_ways`; `tests/forks/process.rs`.

use crate::process::job::job_id::JobId;
use std::io;
use std::sync::Arc;

#[cfg(feature = "inspect")]
use crate::events::Question;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::process::job::Job;
use crate::process::job::slot_id::SlotId;
use crate::process::sched::{Feed, Stop};
use crate::sys::bell::{self, Bell};
use crate::sys::fork;
use crate::sys::refused::failed;
use crate::task::context;

/// One message to the driver.
pub(crate) enum Mail {
    /// A new job.
    Submit { id: JobId, job: Box<Job> },
    /// Items of a job.
    Feed(Feed),
    /// The task of a job was cancelled.
    Cancel(JobId),
    /// The worker with this process id is to be killed.
    Replace(u32),
    /// From now on there are from so many to so many workers.
    SetWorkers(usize, usize),
    /// Somebody wants the workers' own trees.
    #[cfg(feature = "inspect")]
    Trees(Question),
    /// The pool must end.
    Stop(Stop),
    /// Memory that workers keep was freed in this process.
    MemoryFreed,
    /// The launcher's task for this worker has made progress.
    Launched(SlotId),
}

#[derive(Default)]
struct Unread {
    mail: Vec<Mail>,
    asleep: bool,
    /// No new jobs are accepted.
    closed: bool,
    /// There is no driver any more.
    over: bool,
}

pub(crate) struct Mailbox {
    queue: Mutex<Unread>,
    next_id: AtomicU64,
    /// Readable after it was rung.
    pub(super) bell: Arc<Bell>,
    /// A model's driver sleeps on this instead.
    #[cfg(loom)]
    rung: (Mutex<bool>, crate::loom::Condvar),
    born: u32,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = Bell::new().map_err(failed(bell::CALL))?;
        fork::register_handler();
        context::register_fork_handler();
        Ok(Self {
            queue: Mutex::default(),
            next_id: AtomicU64::new(1),
            bell: Arc::new(bell),
            #[cfg(loom)]
            rung: (Mutex::new(false), crate::loom::Condvar::new()),
            born: fork::generation(),
        })
    }

    /// Whether a parent of this process made the mailbox: then the driver and the workers belong to
    /// that process.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// An id for a new job.
    pub(crate) fn id(&self) -> JobId {
        JobId::new(self.next_id.fetch_add(1, Ordering::Relaxed)) // a counter
    }

    /// Delivers all of `mail`, or none if it begins a job after the pool was closed: then it is
    /// returned, to be dropped outside the lock.
    pub(crate) fn push<const N: usize>(&self, mail: [Mail; N]) -> Result<(), Vec<Mail>> {
        self.deliver(mail, || false)
    }

    /// Like [`push`](Self::push). If the driver sleeps, `hand_out` may do its work instead; if that
    /// returns false, the driver is woken.
    pub(crate) fn deliver<const N: usize>(
        &self,
        mail: [Mail; N],
        hand_out: impl FnOnce() -> bool,
    ) -> Result<(), Vec<Mail>> {
        if self.is_foreign() {
            return Err(mail.into());
        }
        let mut queue = self.queue.lock();
        if queue.over || queue.closed && matches!(mail.first(), Some(Mail::Submit { .. })) {
            drop(queue);
            return Err(mail.into());
        }
        queue.mail.extend(mail);
        let asleep = queue.asleep;
        drop(queue);
        if asleep && !hand_out() {
            self.wake();
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().mail.is_empty()
    }

    /// Wakes the driver, if it sleeps.
    pub(crate) fn wake(&self) {
        let asleep = std::mem::take(&mut self.queue.lock().asleep);
        if asleep {
            self.ring();
        }
    }

    /// Takes all messages, if they are only new work.
    pub(crate) fn take_if_only_new_work(&self) -> Option<Vec<Mail>> {
        let mut queue = self.queue.lock();
        let is_new_work = |mail: &Mail| match mail {
            Mail::Feed(feed) => feed.failure.is_none() && !feed.chunk.is_empty(),
            other => matches!(other, Mail::Submit { .. }),
        };
        let all = queue.mail.iter().all(is_new_work);
        all.then(|| std::mem::take(&mut queue.mail))
    }

    pub(crate) fn ring(&self) {
        #[cfg(loom)]
        {
            *self.rung.0.lock() = true;
            return self.rung.1.notify_one();
        }
        #[cfg(not(loom))]
        self.bell.ring();
    }

    /// For a model's driver: sleeps until the bell is rung.
    #[cfg(loom)]
    pub(crate) fn sleep(&self) {
        let mut rung = self.rung.0.lock();
        while !std::mem::take(&mut *rung) {
            rung = self.rung.1.wait(rung);
        }
    }

    /// From now on no new jobs are accepted.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// For the driver, at its end: from now on all messages are returned to their callers.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut queue = self.queue.lock();
        queue.over = true;
        let unread = std::mem::take(&mut queue.mail);
        drop(queue);
        drop(unread);
    }

    /// For the driver: takes all messages.
    pub(crate) fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.queue.lock().mail)
    }

    /// For the driver: true if there is no message; then the next one will ring the bell.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.asleep = queue.mail.is_empty();
        queue.asleep
    }

    /// For the driver: it is awake again, for whatever reason.
    pub(crate) fn awake(&self) {
        self.queue.lock().asleep = false;
    }
}
