//! One GPU, worker processes: a kernel that writes to a wild address costs one item, and one that
//! never ends is stopped at its limit. Where there is no CUDA driver, a simulated device does the
//! same.
//!
//! `cargo run --release -p trefoil-adapters --example one_gpu`, and with `-- times` at its end for
//! what each step costs.

mod raw_cuda;

use std::cell::Cell;
use std::time::{Duration, Instant};

use raw_cuda::Cuda;
use serde::{Deserialize, Serialize};
use trefoil::process::retire;
use trefoil::{ProcessPool, TaskError};

/// What a worker's items compute on.
enum Device {
    Real(Cuda),
    /// As a real one, a context that has seen a bad access fails every later call.
    Simulated {
        poisoned: Cell<bool>,
    },
}

#[derive(Serialize, Deserialize)]
enum Kernel {
    Square(u32),
    Wild,
    Endless,
}

impl Device {
    fn open() -> Self {
        let simulated = |_| Self::Simulated {
            poisoned: Cell::new(false),
        };
        Cuda::open().map_or_else(simulated, Self::Real)
    }

    fn run(&self, kernel: Kernel) -> Result<u32, String> {
        match (self, kernel) {
            (Self::Real(cuda), Kernel::Square(number)) => cuda.square(number),
            (Self::Real(cuda), Kernel::Wild) => cuda.wild(),
            (Self::Real(cuda), Kernel::Endless) => cuda.endless(),
            (Self::Simulated { .. }, Kernel::Endless) => loop {
                std::thread::park();
            },
            (Self::Simulated { poisoned }, Kernel::Wild) => {
                poisoned.set(true);
                Err("CUDA error 700".to_owned())
            }
            (Self::Simulated { poisoned }, Kernel::Square(_)) if poisoned.get() => {
                Err("CUDA error 700".to_owned())
            }
            (Self::Simulated { .. }, Kernel::Square(number)) => Ok(number * number),
        }
    }
}

thread_local! {
    static DEVICE: Device = Device::open(); // once in each worker
}

/// One item: a failed kernel is an error, and costs its process, whose context is of no more use.
fn compute(kernel: Kernel) -> Result<u32, String> {
    let result = DEVICE.with(|device| device.run(kernel));
    if result.is_err() {
        retire(); // the error still arrives; the next item gets a new process
    }
    result
}

/// Many kernels, one item: what they cost without a call.
fn many(count: u32) -> Result<(), String> {
    (0..count).try_for_each(|n| DEVICE.with(|device| device.run(Kernel::Square(n)).map(drop)))
}

/// What the steps of this program cost on this device.
fn times(procs: &ProcessPool) -> Result<(), Box<dyn std::error::Error>> {
    const COUNT: u32 = 2_000;
    let timed = |name: &str, count: u32, work: &mut dyn FnMut() -> Result<(), TaskError>| {
        let began = Instant::now();
        work()?;
        println!("{name}: {:.1?}", began.elapsed() / count);
        Ok::<_, TaskError>(())
    };
    let mut first = || procs.spawn(Kernel::Square(1), compute).join().map(drop);
    timed(
        "the first answer of a new pool, its device opened",
        1,
        &mut first,
    )?;
    procs.spawn(10, many).join()??;
    timed("a kernel, and its result copied", COUNT, &mut || {
        procs.spawn(COUNT, many).join().map(drop)
    })?;
    timed("the same in a call of its own", COUNT, &mut || {
        (0..COUNT).try_for_each(|n| procs.spawn(Kernel::Square(n), compute).join().map(drop))
    })?;
    timed(
        "the same as an item of a `map`, two workers",
        COUNT,
        &mut || procs.map((0..COUNT).map(Kernel::Square), compute).map(drop),
    )?;
    timed("a wild kernel, and then an answer", 1, &mut || {
        procs.spawn(Kernel::Wild, compute).join().map(drop)?;
        procs.spawn(Kernel::Square(1), compute).join().map(drop)
    })?;
    let limit = Duration::from_millis(500);
    let began = Instant::now();
    let endless = procs.call(compute).timeout(limit).spawn(Kernel::Endless);
    let ended = endless.join().is_err();
    let late = began.elapsed().saturating_sub(limit);
    println!("an endless kernel ended: {ended}, {late:.1?} after its limit");
    timed("and then an answer", 1, &mut first)?;
    Ok(())
}

fn is_simulated((): ()) -> bool {
    DEVICE.with(|device| matches!(device, Device::Simulated { .. }))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // before anything touches the driver: a worker makes its own context
    let procs = ProcessPool::builder()
        .workers(2)
        .env_for(|_| [("CUDA_VISIBLE_DEVICES", "0")]) // with more devices: `index % devices`
        .build()?;
    let asked = std::env::args().nth(1);
    if asked.as_deref() == Some("times") {
        return times(&procs);
    }
    if procs.spawn((), is_simulated).join()? {
        println!("no CUDA driver here: a simulated device");
    }

    // 1. One wild kernel among sixty.
    let kernels = (0..60).map(|n| {
        if n == 30 {
            Kernel::Wild
        } else {
            Kernel::Square(n)
        }
    });
    let results = procs.map_each(kernels, compute);
    let good = results
        .iter()
        .filter(|result| matches!(result, Ok(Ok(_))))
        .count();
    println!("{good} of 60 kernels answered");
    if let Some(Ok(Err(error))) = results.get(30) {
        println!("the wild one: {error}");
    }

    // 2. One that never ends. Only the end of its process stops a kernel.
    let limited = procs.call(compute).timeout(Duration::from_millis(500));
    match limited.spawn(Kernel::Endless).join() {
        Err(TaskError::TimedOut(_)) => println!("the endless one: stopped at its limit"),
        other => println!("the endless one: {other:?}"),
    }
    println!(
        "and the next call: {:?}",
        procs.spawn(Kernel::Square(12), compute).join()?
    );
    println!("processes that retired: {}", procs.stats().retired);
    Ok(())
}
