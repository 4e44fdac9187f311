//! The contenders' runtimes, each driven by the thread that asks for it.

use std::cell::RefCell;

use futures::executor::LocalPool;
use monoio::time::TimeDriver;
use monoio::{LegacyDriver, RuntimeBuilder};
use smol::LocalExecutor;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use trefoil::EventLoop;

/// One thread's runtimes.
pub struct Runtimes {
    pub ours: EventLoop,
    pub tokio: Runtime,
    pub set: LocalSet,
    pub smol: LocalExecutor<'static>,
    pub monoio: RefCell<monoio::Runtime<TimeDriver<LegacyDriver>>>,
    pub pool: RefCell<LocalPool>,
}

/// tokio's current-thread runtime, with everything.
pub fn tokio() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("the system gives tokio its descriptors")
}

/// Ours.
pub fn trefoil() -> EventLoop {
    EventLoop::new().expect("the system gives trefoil its descriptors")
}

/// monoio's, on `epoll`: what its tasks cost does not depend on that.
fn monoio() -> monoio::Runtime<TimeDriver<LegacyDriver>> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
    runtime.expect("the system gives monoio its descriptors")
}

/// This thread's.
pub fn runtimes() -> &'static Runtimes {
    thread_local! {
        static HERE: &'static Runtimes = Box::leak(Box::new(Runtimes {
            ours: trefoil(),
            tokio: tokio(),
            set: LocalSet::new(),
            smol: LocalExecutor::new(),
            monoio: RefCell::new(monoio()),
            pool: RefCell::new(LocalPool::new()),
        }));
    }
    HERE.with(|here| *here)
}

impl Runtimes {
    pub fn on_tokio<F: Future>(&self, future: F) -> F::Output {
        self.tokio.block_on(future)
    }

    pub fn on_set<F: Future>(&self, future: F) -> F::Output {
        self.set.block_on(&self.tokio, future)
    }

    /// With async-io's reactor, as smol is used.
    pub fn on_smol<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(self.smol.run(future))
    }

    /// Without it: tasks only.
    pub fn on_bare_smol<F: Future>(&self, future: F) -> F::Output {
        futures::executor::block_on(self.smol.run(future))
    }

    pub fn on_monoio<F: Future>(&self, future: F) -> F::Output {
        self.monoio.borrow_mut().block_on(future)
    }

    pub fn on_pool<F: Future>(&self, future: F) -> F::Output {
        self.pool.borrow_mut().run_until(future)
    }
}
