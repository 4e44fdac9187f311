//! The one thread of a pool in the parent, which drives it: when it starts, and when it ends.
//!
//! It starts with the pool, and ends when all processes have been reaped; the task of a
//! [`Process`](crate::process::Process) ends then, and not before.
//!
//! A forked child has the handle but not the thread: there the handle must be neither joined nor
//! dropped, because the thread's stack, and with it the handle's contents, may have been reused.
//!
//! Tests: `tests/forks/process.rs`, `tests/process/pool.rs::shut_down_in_three_ways`.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};

use super::driver::{ActingDriver, Driver, PoolState};
use super::settings::Settings;
use crate::blocking_threads::{STACK, standard_error};
use crate::events;
use crate::loom::thread::{Builder, JoinHandle};
use crate::process::job::Job;
use crate::process::launch::pool_error::PoolError;
use crate::process::sched::How;
use crate::process::sched::workers::earlier;
use crate::sys::fork;
use crate::sys::refused::failed;
use crate::task::panic;
use trefoil_os::host::{kernel_kills, standard_streams};

/// A handle to join the driver's thread.
pub(crate) struct Driving {
    thread: Option<JoinHandle<()>>,
    born: u32,
}

impl Driving {
    /// Whether this is a forked child of the process that has the thread.
    pub(crate) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// Waits for the thread's end, if it is this process's.
    pub(crate) fn join(mut self) {
        if !self.is_foreign()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        if self.is_foreign() {
            std::mem::forget(self.thread.take());
        }
    }
}

/// Starts the processes, and the thread that serves them. After an error nothing is left.
pub(crate) fn start(settings: Settings) -> Result<(Arc<PoolState>, Driving), PoolError> {
    panic::install_hook();
    fork::register_handler();
    standard_streams::fill();
    let (workers, server) = settings.of_processes();
    let shared = Arc::new(PoolState::new(&Arc::new(settings))?);
    let server = server.map(Arc::new);
    let server = server.map(|own| Ok((Arc::new(PoolState::new(&own)?), own)));
    let server: Option<(Arc<PoolState>, Arc<Settings>)> =
        server.transpose().map_err(PoolError::Start)?;
    #[cfg(feature = "inspect")]
    super::worker_trees::register(&shared);
    let (ready, started) = bounded(1);
    let theirs = shared.clone();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        let _acting = ActingDriver::new();
        let deferred = panic::catch(|| {
            let mut driver = Driver::new(theirs.clone(), Arc::new(workers));
            let server = server.map(|(state, own)| Box::new(Driver::new(state, own)));
            driver.server = server;
            run(driver, &ready)
        });
        // The driver has ended, for whatever reason: no caller may wait for it any more.
        theirs.mailbox.abandon();
        let driver = theirs.engine.lock().take();
        drop(driver); // without the lock: it wakes callers that encode ahead
        drop(theirs.settings.lock().take());
        // Callbacks, and the destructor of an unwanted result, are user code.
        panic::contain(|| drop(deferred.ok().flatten().and_then(|job| job.finish())));
    });
    let thread = Builder::new().name("trefoil-proc".to_owned());
    let thread = thread.stack_size(STACK).spawn(work);
    let thread = thread.map_err(failed("pthread_create"))?;
    let driving = Driving {
        thread: Some(thread),
        born: fork::generation(),
    };
    // If the driver ends without a message, it has panicked.
    let result = started
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    if let Err(error) = result {
        driving.join();
        return Err(error.into());
    }
    Ok((shared, driving))
}

/// Serves until the pool has ended. First reports whether all workers could be started. Returns the
/// job of a `Process`, which ends only now.
fn run(mut driver: Driver, ready: &Sender<io::Result<()>>) -> Option<Box<Job>> {
    let shared = driver.shared.clone();
    let pool = shared.counters.pool;
    let _role = events::role(events::Role::Driver { pool });
    driver.turn();
    let missing = driver.links.iter().any(Option::is_none);
    let server = driver.server.as_mut();
    let server = server.and_then(|server| server.refused.take());
    let refused = driver.refused.take().or(server).filter(|_| missing);
    if refused.is_some() {
        shared.mailbox.close();
        driver.sched.stop(How::Kill.into(), Instant::now());
        driver.turn();
    }
    let _ = ready.send(refused.map_or(Ok(()), Err));
    kernel_kills::forget(); // those before, while the workers start
    *shared.engine.lock() = Some(driver);
    let mut news = Vec::new();
    loop {
        let mut engine = shared.engine.lock();
        let driver = engine.as_mut()?;
        let sleep = driver.work(&news);
        driver.dismiss_callers();
        let chores = std::mem::take(&mut driver.sched.chores);
        let deferred = driver.sched.deferred_job.take_if(|_| sleep.is_none());
        let lost = driver.sched.lost.take_if(|_| sleep.is_none());
        drop(engine);
        shared.add_chores(chores);
        let Some(mut sleep) = sleep else {
            if let Some((first, count)) = lost {
                first.deliver_lost(count, shared.unobserved.clone());
            }
            standard_error::settle(standard_error::LAST); // nothing waits for this thread any more
            return deferred;
        };
        sleep.until = earlier(sleep.until, shared.readers.0.lock().next_due());
        news = sleep.sleep();
    }
}
