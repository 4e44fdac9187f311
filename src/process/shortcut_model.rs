//! Callers, the driver and one worker for the models: who does what, and who is woken for it.
//!
//! What they drive is `mailbox.rs` as it is, and beside them the order in which a driver takes its
//! turns and a caller looks for its result. The engine is a number of jobs that wait, and of those
//! that the worker has; its ledger is a number of results, and how many of them are heard. What
//! wakes a driver rings its bell. It sleeps at first. Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use crate::process::job::job_id::JobId;
use std::sync::Arc;

use super::parent::mailbox::{Mail, Mailbox};
use super::sched::Feed;
use super::value::chunk::Chunk;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Condvar, Mutex};

/// A step that a broken twin of a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// A caller that finds the engine locked does not wake the driver.
    NoWake,
    /// A caller that has taken a result does not report that the worker could get the next job.
    Silent,
}

#[derive(Default)]
struct Engine {
    waiting: u64,
    out: u64,
    /// The same number as `Pool::heard`, because a load before the store would hide orders from
    /// loom.
    heard: u64,
    over: bool,
}

pub struct Pool {
    mailbox: Mailbox,
    engine: Mutex<Option<Engine>>,
    /// Frames for the worker, and whether there will be no more.
    frames: (Mutex<(u64, bool)>, Condvar),
    results: AtomicU64,
    heard: AtomicU64,
    /// How many jobs have ended.
    ended: (Mutex<u64>, Condvar),
    /// How many jobs the worker may have, and how many it needs before it ends any.
    width: u64,
    broken: Broken,
}

impl Pool {
    pub fn new(broken: Broken, width: u64) -> Self {
        let mailbox = Mailbox::new().expect("a bell");
        assert!(mailbox.may_sleep());
        Self {
            mailbox,
            engine: Mutex::new(Some(Engine::default())),
            frames: (Mutex::new((0, false)), Condvar::new()),
            results: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            ended: (Mutex::new(0), Condvar::new()),
            width,
            broken,
        }
    }

    fn read_mail(engine: &mut Engine, mail: Vec<Mail>) {
        for mail in mail {
            match mail {
                Mail::Feed(_) => engine.waiting += 1,
                _ => engine.over = true,
            }
        }
    }

    fn dispatch(&self, engine: &mut Engine) {
        while engine.waiting > 0 && engine.out < self.width {
            (engine.waiting, engine.out) = (engine.waiting - 1, engine.out + 1);
            self.frames.0.lock().0 += 1;
            self.frames.1.notify_one();
        }
    }

    /// Takes the results that are there, each once.
    fn hear(&self, engine: &mut Engine) {
        let results = self.results.load(Ordering::Acquire);
        let new = results - engine.heard;
        if new > 0 {
            assert!(engine.out >= new, "heard twice");
            (engine.out, engine.heard) = (engine.out - new, results);
            self.heard.store(results, Ordering::Release);
            *self.ended.0.lock() += new;
            self.ended.1.notify_all();
        }
    }

    /// A caller: submits a job.
    pub fn call(&self) {
        let mut chunk = Chunk::default();
        chunk.push(&0u8).expect("a byte");
        let mail = Mail::Feed(Feed {
            id: JobId::new(1),
            base: 0,
            chunk: Arc::new(chunk),
            sealed: true,
            failure: None,
        });
        // Like `PoolState::leave`.
        let hand_out = || match self.engine.try_lock().as_deref_mut() {
            Some(Some(engine)) => {
                let mail = self.mailbox.take_if_only_new_work();
                let plain = mail.is_some();
                Self::read_mail(engine, mail.unwrap_or_default());
                self.dispatch(engine);
                plain
            }
            _ => self.broken == Broken::NoWake,
        };
        assert!(self.mailbox.deliver([mail], hand_out).is_ok());
    }

    /// A caller: looks for a result.
    pub fn help(&self) {
        if let Some(mut engine) = self.engine.try_lock()
            && let Some(engine) = engine.as_mut()
        {
            self.hear(engine);
            if engine.waiting > 0 && self.broken != Broken::Silent {
                self.mailbox.wake();
            }
        }
    }

    /// A caller: sleeps until `jobs` jobs have ended.
    pub fn wait(&self, jobs: u64) {
        let mut ended = self.ended.0.lock();
        while *ended < jobs {
            ended = self.ended.1.wait(ended);
        }
    }

    /// Closes the pool: there are no more jobs.
    pub fn close(&self) {
        assert!(self.mailbox.push([Mail::Cancel(JobId::new(1))]).is_ok());
    }

    /// The driver's turns.
    pub fn driver(&self) {
        self.mailbox.sleep();
        loop {
            let mut engine = self.engine.lock();
            let Some(state) = engine.as_mut() else { return };
            self.mailbox.awake();
            self.hear(state);
            Self::read_mail(state, self.mailbox.take());
            self.dispatch(state);
            if state.over {
                self.frames.0.lock().1 = true;
                self.frames.1.notify_one();
                return;
            }
            let asleep = self.mailbox.may_sleep();
            drop(engine);
            if asleep {
                self.mailbox.sleep();
            }
        }
    }

    /// The worker: sends only results that have not been read.
    pub fn worker(&self) {
        loop {
            let mut frames = self.frames.0.lock();
            while frames.0 < self.width {
                if frames.1 {
                    return;
                }
                frames = self.frames.1.wait(frames);
            }
            let new = std::mem::take(&mut frames.0);
            drop(frames);
            let position = self.results.fetch_add(new, Ordering::AcqRel) + new;
            if self.heard.load(Ordering::Acquire) < position {
                self.mailbox.ring();
            }
        }
    }
}
