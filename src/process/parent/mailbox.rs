//! What callers tell the driver: a queue behind a lock, and a bell.
//!
//! 1. A caller pushes under the lock. Only if the driver sleeps does it also write to the bell,
//!    once: a burst of calls costs one wake-up.
//! 2. The driver, before it sleeps, looks under the same lock: the queue is empty and from now on
//!    it counts as asleep, or there is mail and it stays awake.
//!
//! A caller that finds the driver asleep may also do its work for once (`shortcut`), if all of
//! the mail is new work ([`Mailbox::take_if_only_new_work`]); then it is not woken.
//!
//! So no mail waits for a driver that sleeps, and an awake one is not disturbed.
//! In a forked child, which has no driver and maybe locks that are held for ever, everything is
//! handed back to the caller. After [`Mailbox::close`] nothing new is accepted; what belongs to a
//! job that was accepted before still is.
//!
//! Tests: `tests/process/pool.rs`; `tests/forks/process.rs`.

use std::io;
use std::sync::Arc;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::process::job::Work;
use crate::process::sched::{Feed, Stop};
use crate::sys::bell::{self, Bell};
use crate::sys::fork;
use crate::sys::refused::refused;
use crate::task::context;

/// One thing to tell the driver.
pub(crate) enum Mail {
    /// A new job.
    Submit { id: u64, work: Work },
    /// Items of a job.
    Feed(Feed),
    /// The task of a job was cancelled.
    Cancel(u64),
    /// The pool is to end.
    Stop(Stop),
    /// Memory of which plain workers have copies is gone here.
    Gone,
    /// The engine has workers that wait.
    #[cfg(feature = "__machines")]
    Come,
}

#[derive(Default)]
struct Queue {
    mail: Vec<Mail>,
    asleep: bool,
    /// No new jobs.
    closed: bool,
    /// No driver.
    over: bool,
}

pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    next_id: AtomicU64,
    bell: Arc<Bell>,
    /// What a model's driver sleeps on.
    #[cfg(loom)]
    rung: (Mutex<bool>, crate::loom::Condvar),
    born: u32,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = Bell::new().map_err(refused(bell::CALL))?;
        fork::watch();
        context::watch_forks();
        Ok(Self {
            queue: Mutex::default(),
            next_id: AtomicU64::new(1),
            bell: Arc::new(bell),
            #[cfg(loom)]
            rung: (Mutex::new(false), crate::loom::Condvar::new()),
            born: fork::generation(),
        })
    }

    /// A parent of this process made it: the driver is there, and so are the workers.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// An id for a new job.
    pub(crate) fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) // a counter
    }

    /// Delivers all of `mail`, or none if it begins a job after the pool was closed: then
    /// it comes back, to be dropped outside the lock.
    pub(crate) fn push<const N: usize>(&self, mail: [Mail; N]) -> Result<(), Vec<Mail>> {
        self.leave(mail, || false)
    }

    /// As [`push`](Self::push). If the driver sleeps, `hand_out` may do its work instead; false: it
    /// must be woken.
    pub(crate) fn leave<const N: usize>(
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

    /// All mail there is, if it is new work and nothing else.
    pub(crate) fn take_if_only_new_work(&self) -> Option<Vec<Mail>> {
        let mut queue = self.queue.lock();
        let is_new_work = |mail: &Mail| match mail {
            Mail::Submit { .. } => true,
            Mail::Feed(feed) => feed.failure.is_none() && !feed.chunk.is_empty(),
            Mail::Cancel(_) | Mail::Stop(_) | Mail::Gone => false,
            #[cfg(feature = "__machines")]
            Mail::Come => false,
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

    /// A model's driver: until the bell is rung.
    #[cfg(loom)]
    pub(crate) fn sleep(&self) {
        let mut rung = self.rung.0.lock();
        while !std::mem::take(&mut *rung) {
            rung = self.rung.1.wait(rung);
        }
    }

    /// Accepts no new jobs from now on.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// Driver, at its end, however it comes: all mail is handed back to its callers from now on.
    pub(crate) fn abandon(&self) {
        let mut queue = self.queue.lock();
        (queue.closed, queue.over) = (true, true);
        let unread = std::mem::take(&mut queue.mail);
        drop(queue);
        drop(unread);
    }

    /// Driver: all mail there is.
    pub(crate) fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.queue.lock().mail)
    }

    /// Driver: true if there is no mail, and then the next will ring the bell.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.asleep = queue.mail.is_empty();
        queue.asleep
    }

    /// Driver: awake again, for whatever reason.
    pub(crate) fn awake(&self, rung: bool) {
        self.queue.lock().asleep = false;
        if cfg!(not(loom)) && rung {
            self.bell.silence();
        }
    }

    /// Driver: readable when the bell was rung.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}
