//! Records what your program's executors do: for the standard viewer, and as a table.
//!
//! With the feature `trace`. Use it when a program is slower than it should be, to find out which
//! thread waits for which task. [`start`] begins to record, for the whole process;
//! [`Recording::stop`] returns a [`Trace`]:
//!
//! ```
//! use trefoil::{ThreadPool, trace};
//!
//! let recording = trace::start()?;
//! let pool = ThreadPool::with_threads(2);
//! pool.spawn(|| (1..1000_u64).sum::<u64>()).named("sum").join()?;
//! let trace = recording.stop();
//!
//! let mut json = Vec::new(); // or a `File`
//! trace.write_json(&mut json)?;
//! println!("{}", trace.summary());
//! # assert!(String::from_utf8(json)?.contains("\"sum\""));
//! # assert!(trace.summary().to_string().contains("sum"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The file opens in <https://ui.perfetto.dev> and in `chrome://tracing`: each thread and each
//! worker process is a line.
//!
//! | on a line | it means |
//! |---|---|
//! | a slice with a task's name, or where it was spawned | its code runs: the call of a closure, or one poll of a future |
//! | `part of a join or map`, `part of a scope`, `broadcast`, `region`, `blocking` | a thread does a part of such a call; or it has said that it blocks |
//! | `waits` | a blocking wait of this crate, which has parked the thread; with the task that is waited for, if it is a `join` |
//! | `asleep`, `waits for events` | a worker, or a loop, has nothing to do |
//! | `call`, `frame` on a worker process | one item, or many of one job: from the moment at which it was sent and those before it were done, until the parent has the result; the time that the worker itself has measured is in `ran_us` |
//! | `spawn`, `wake`, `steal`, `wake thread`, `call`, `cancelled` … | this happened at that moment; arrows lead to what it has caused |
//!
//! Arrows lead from a spawn to the first run of the code, from a wake-up to the poll, from a call
//! to its frames, and from the wake-up of a thread to the end of its sleep.
//!
//! # Cost
//! While nothing is recorded: a load and a branch at each event, three to six for a task. While
//! recording: 12 to 23 ns and 32 bytes for each event, in the thread's own buffer. A task that does
//! nothing takes half as long again; one of ten microseconds about one percent longer. Beyond a
//! limit ([`start_limited`]) events are counted
//! but not kept.
//!
//! # What is not in it
//! Tasks inside a worker process: it is another process, which can make its own recording. Waits
//! outside this crate: locks of `std`, sleeps, blocking reads. Joins and items of a `map` that no
//! other worker has stolen: they are plain calls, and cost a nanosecond.
//!
//! # Read next
//! [This page](crate::_documentation::observe) says how to read such a picture. For spans in your own
//! logs, use the feature `tracing`; for the current state of all tasks,
//! [`inspect::tasks`](crate::inspect::tasks).

// The crate `trefoil-trace` (`crates/trefoil-trace/`) has it all. Tests:
// `tests/trace/main.rs::a_task_is_spawned_runs_and_ends`, `tests/trace/keep.rs`; of the cost,
// `benches/benches/trace.rs`.

#[doc(inline)]
pub use trefoil_trace::recording::{
    AlreadyRecording, ExecutorSummary, Recorder, Recording, SlowTask, Summary, Trace, keep_last,
    start, start_limited,
};
