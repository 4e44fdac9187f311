//! A condition variable without its lock, for the models in `checks/`.
//!
//! It exists under `--cfg loom` only.
#![allow(missing_docs)]

use super::condvar::Condvar;

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
