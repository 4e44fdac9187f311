//! What does the event loop cost? Every question beside its peers, each of them on one thread.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench event_loop -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```
//!
//! The flags are those of `threads`; `benches/src/rows.rs` says how it is measured. For
//! measurements that need a separate process (a server, a million idle tasks), this program is
//! started again, in a role (`roles.rs`). Python's asyncio takes part if there is a `python3`, and
//! uvloop if it is installed (`python.rs`).

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod children;
mod echo;
mod idle;
mod latency;
mod load;
mod peers;
mod python;
mod roles;
mod servers;
mod tasks;
mod timers;
mod wake;

use trefoil_benches::rows::Bench;

fn main() {
    if roles::play() {
        return;
    }
    let mut bench = Bench::from_args();
    bench.group("spawn one by one", tasks::one_by_one);
    bench.group("spawn batches", tasks::batches);
    bench.group("spawn 10^6", tasks::at_once);
    bench.group("yield", tasks::yields);
    bench.group("timers begun and cancelled", timers::cancelled);
    bench.group("timers pending", timers::pending);
    bench.group("timers due", timers::due);
    bench.group("echo 1", |bench| echo::echo(bench, 1));
    bench.group("echo same CPU", echo::same_cpu);
    bench.group("echo 64", |bench| echo::echo(bench, 64));
    bench.group("echo 1000", |bench| echo::echo(bench, 1000));
    bench.group("system calls", echo::system_calls);
    bench.group("wake round trip", wake::round_trips);
    bench.group("wake latency", latency::wakes);
    bench.group("wake messages", wake::messages);
    bench.group("wake spawns", wake::spawns);
    bench.group("children", children::children);
    bench.group("idle tasks", idle::tasks);
    bench.group("idle connections", idle::connections);
    bench.finish();
}
