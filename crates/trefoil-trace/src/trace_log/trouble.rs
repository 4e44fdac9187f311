//! What is wrong, for whoever wants to write down what came before: the flight recorder.
//!
//! Trouble is noticed under locks of those who notice it, so the listener must be short, and must
//! not call back.

use std::fmt;
use std::sync::Arc;

use crate::loom::Mutex;
use crate::switch::Listeners;
use crate::sys::fork::PerProcess;

/// Something that should not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Tasks wait for one another.
    Stuck,
    /// A task blocks its loop for too long.
    SlowPoll,
    /// A worker process has died.
    WorkerDied,
    /// An item in a worker process takes longer than it may.
    LateItem,
}

type Listener = Arc<dyn Fn(Trouble) + Send + Sync>;

static LISTENER: PerProcess<Mutex<Option<Listener>>> = PerProcess::new();

/// Calls this from now on instead of what was given before.
#[cfg_attr(not(feature = "trace"), allow(dead_code))]
pub(crate) fn listen(listener: impl Fn(Trouble) + Send + Sync + 'static) {
    let new: Listener = Arc::new(listener);
    let before = LISTENER.get_or_init(Mutex::default).lock().replace(new);
    drop(before);
}

/// There is trouble. Does nothing unless the events of the last seconds are kept.
pub fn noticed(what: Trouble) {
    if !Listeners::now().kept() {
        return;
    }
    let listener = LISTENER.get().and_then(|listener| listener.lock().clone());
    if let Some(listener) = listener {
        listener(what);
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stuck => "stuck",
            Self::SlowPoll => "slow-poll",
            Self::WorkerDied => "worker-died",
            Self::LateItem => "late-item",
        })
    }
}
