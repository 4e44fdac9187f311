//! A test, here and in its process.
//!
//! 1. The body is sent to a worker process that has run nothing, and runs nothing more
//!    (`max_tasks_per_worker(1)`). Workers are the same program, so a body needs nothing but its
//!    address; they begin before the harness does (trefoil's feature `auto`). Where a fork server
//!    is possible they are copies of one, because a copy takes less time than a start.
//! 2. What it prints goes to a file ([`output`]), and is printed here at its end.
//! 3. A panic of the body is one here, with the same message; another end is one that this crate
//!    explains. A test that should panic, and whose process died, must fail all the same: it
//!    returns.

use std::collections::HashMap;
use std::panic::panic_any;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use parking_lot::Mutex;
use trefoil::process::StartMethod;
use trefoil::{PoolError, ProcessPool, TaskError};

use crate::job::{__Settings, End, Job};
use crate::output::{self, Output};
use crate::threads::Threads;

/// One for each limit of memory. They end with this process.
static POOLS: Mutex<Option<HashMap<u64, ProcessPool>>> = Mutex::new(None);

/// Whether this process runs one test, as each of `nextest`'s does.
fn is_one() -> bool {
    std::env::args().any(|arg| arg == "--exact")
}

/// How many tests run at once, as far as is known.
fn width() -> usize {
    let mut args = std::env::args().skip_while(|arg| !arg.starts_with("--test-threads"));
    let given = args.next().and_then(|arg| match arg.split_once('=') {
        Some((_, number)) => number.parse().ok(),
        None => args.next()?.parse().ok(),
    });
    let variable = || std::env::var("RUST_TEST_THREADS").ok()?.parse().ok();
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    given.or_else(variable).unwrap_or_else(all).clamp(1, 64)
}

fn pool(memory: u64) -> Result<ProcessPool, PoolError> {
    let mut pools = POOLS.lock();
    let pools = pools.get_or_insert_default();
    if let Some(pool) = pools.get(&memory) {
        return Ok(pool.clone());
    }
    // For one test, a server would be a second start.
    let copied = if is_one() { None } else { copies(memory) };
    let pool = match copied {
        Some(pool) => pool,
        None => started(memory, StartMethod::Spawn)?,
    };
    pools.insert(memory, pool.clone());
    Ok(pool)
}

/// A pool whose workers are copies, unless there is no fork server here: on another system, or
/// because a library starts a thread before `main`.
fn copies(memory: u64) -> Option<ProcessPool> {
    let pool = started(memory, StartMethod::ForkServer).ok()?;
    pool.spawn((), |()| ()).join().ok()?;
    Some(pool)
}

fn started(memory: u64, method: StartMethod) -> Result<ProcessPool, PoolError> {
    // One more than run at once: it starts while a test ends.
    let workers = if is_one() { 1 } else { width() + 1 };
    let mut builder = ProcessPool::builder().workers(workers).start_method(method);
    builder = builder.max_tasks_per_worker(1).threads_per_worker(None);
    if memory > 0 {
        builder = builder.memory_limit(memory);
    }
    builder.build()
}

/// In the harness: runs the body elsewhere, and fails if it does.
#[doc(hidden)]
#[track_caller]
#[allow(clippy::print_stdout)] // what the test has printed
pub fn __run(settings: __Settings, body: fn(Job) -> End) {
    let mut left = settings.retries;
    let failure = loop {
        let (failure, text) = attempt(&settings, body);
        print!("{text}");
        match failure {
            None => return,
            // (A test that should panic has passed.)
            Some(Failure::Panicked(_)) if settings.should_panic => break failure,
            Some(_) if left > 0 => {
                left -= 1;
                println!(
                    "trefoil-isolated: `{}` failed, and runs again",
                    settings.name
                );
            }
            _ => break failure,
        }
    };
    match failure {
        Some(Failure::Panicked(message)) => std::panic::resume_unwind(Box::new(message)),
        Some(Failure::Other(why)) if settings.should_panic => {
            println!("{why}\n(It should have panicked.)");
        }
        Some(Failure::Other(why)) => panic!("{why}"),
        None => {}
    }
}

enum Failure {
    /// The body did.
    Panicked(String),
    Other(String),
}

/// Runs the body once. Returns what it has printed, too.
fn attempt(settings: &__Settings, body: fn(Job) -> End) -> (Option<Failure>, String) {
    let other = |why: String| (Some(Failure::Other(why)), String::new());
    let output = match output::is_shown_at_once() {
        true => None,
        false => match Output::new() {
            Ok(output) => Some(output),
            Err(error) => return other(format!("no file for its output: {error}")),
        },
    };
    let procs = match pool(settings.memory) {
        Ok(procs) => procs,
        Err(error) => return other(format!("no process for the test could be started: {error}")),
    };
    let job = Job {
        output: output
            .as_ref()
            .map(|output| output.path.to_string_lossy().into_owned()),
        may_leak: settings.may_leak,
    };
    let mut call = procs.call(body).name(settings.name);
    if settings.timeout > 0 {
        call = call.timeout(Duration::from_millis(settings.timeout));
    }
    let result = call.spawn(job).join();
    let text = output.map(Output::text).unwrap_or_default();
    let failure = match result {
        Ok(End::Passed) => None,
        // (The harness's own words.)
        Ok(End::Failed) => Some(Failure::Other(
            "the test returned a termination value with a non-zero status code (1) which indicates \
             a failure"
                .to_owned(),
        )),
        Ok(End::Leaked(names)) => Some(Failure::Other(format!(
            "it has ended, and {} of its threads run on: {} (`leaks = \"allow\"` lets them)",
            names.len(),
            names.join(", ")
        ))),
        Err(TaskError::Panicked(panic)) => Some(Failure::Panicked(panic.message().to_owned())),
        Err(error) => Some(Failure::Other(explained(&error, &text))),
    };
    (failure, text)
}

/// How its process died: the signal, the backtrace, the last words.
fn explained(error: &TaskError, text: &str) -> String {
    let mut why = format!("the process of the test did not survive it: {error}");
    if let TaskError::TimedOut(_) = error {
        why = format!("the test was stopped at its time limit: {error}");
    }
    if let TaskError::WorkerDied(exit) = error
        && let Some(backtrace) = exit.backtrace()
    {
        why.push_str(&format!("\n{backtrace}"));
    }
    let words = output::last_words(text);
    if !words.is_empty() {
        why.push_str(&format!("\nits last words:\n{words}"));
    }
    why
}

/// In the process of the test.
#[doc(hidden)]
pub fn __inside<R: Termination>(job: Job, body: impl FnOnce() -> R) -> End {
    if let Some(path) = &job.output
        && let Err(error) = output::redirect(path)
    {
        panic_any(format!("the test has no output: {error}"));
    }
    let before = (!job.may_leak).then(Threads::now);
    let code = body().report(); // prints an error
    if code != ExitCode::SUCCESS {
        return End::Failed;
    }
    let leaked = before.map(|before| before.more()).unwrap_or_default();
    if leaked.is_empty() {
        End::Passed
    } else {
        End::Leaked(leaked)
    }
}

/// Runs the body of an `async fn`.
#[doc(hidden)]
pub fn __on_loop<F: Future>(body: F) -> F::Output {
    trefoil::run(body)
}
