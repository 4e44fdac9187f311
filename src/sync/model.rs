//! A condition variable without its lock, and a lock without a value, for the models in
//! `tests/trefoil-checks/`.
//!
//! It exists under `--cfg loom` only.
#![allow(missing_docs)]

use super::condvar::Condvar;
use crate::parking::lock_events::{Access, LockKind};

#[derive(Debug, Default)]
pub struct Notices(Condvar);

impl Notices {
    pub fn new() -> Self {
        Self(Condvar::new())
    }

    pub async fn wait<G, L: Future>(&self, guard: G, lock: impl FnOnce() -> L) -> L::Output {
        self.0.wait_by(guard, lock).await
    }

    pub fn wait_blocking<G, R>(&self, guard: G, lock: impl FnOnce() -> R) -> R {
        self.0.wait_by_blocking(guard, lock)
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Who is in a lock, alone or together with others that share it.
#[derive(Debug)]
pub struct Line(super::line::Line);

impl Default for Line {
    fn default() -> Self {
        Self(super::line::Line::new(LockKind::RwLock))
    }
}

fn access(shares: bool) -> Access {
    if shares {
        Access::Shared
    } else {
        Access::Alone
    }
}

impl Line {
    pub fn try_enter(&self, shares: bool) -> bool {
        self.0.try_enter(access(shares))
    }

    pub async fn enter(&self, shares: bool) {
        self.0.enter(access(shares)).await;
    }

    pub fn leave(&self, shares: bool) {
        self.0.leave(access(shares));
    }

    pub fn share(&self) {
        self.0.share();
    }
}
