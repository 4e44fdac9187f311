//! The contenders' pools: two workers each, made when first asked for.
//!
//! A pool that is made while the process is confined to one processor stays there, so the rows that
//! are measured so make their own pools.

use std::sync::LazyLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use trefoil::ProcessPool;

pub const WORKERS: usize = 2;

pub fn new_trefoil() -> ProcessPool {
    ProcessPool::with_workers(WORKERS).expect("trefoil starts processes")
}

pub fn trefoil() -> &'static ProcessPool {
    static POOL: LazyLock<ProcessPool> = LazyLock::new(new_trefoil);
    &POOL
}

/// A pool of plain workers.
pub fn new_plain() -> ProcessPool {
    let builder = ProcessPool::builder().workers(WORKERS).plain_workers(true);
    builder.build().expect("trefoil starts processes")
}

pub fn plain() -> &'static ProcessPool {
    static POOL: LazyLock<ProcessPool> = LazyLock::new(new_plain);
    &POOL
}

/// How rows name it.
pub const PLAIN: &str = "trefoil, plain workers";

/// procspawn's pool, which does not end its processes when it is dropped.
pub struct Procspawn(pub procspawn::Pool);

impl Drop for Procspawn {
    fn drop(&mut self) {
        self.0.kill();
    }
}

pub fn new_procspawn() -> Procspawn {
    Procspawn(procspawn::Pool::new(WORKERS).expect("procspawn starts processes"))
}

pub fn procspawn() -> &'static procspawn::Pool {
    static POOL: LazyLock<Procspawn> = LazyLock::new(new_procspawn);
    &POOL.0
}

pub fn add_one(n: u64) -> u64 {
    n + 1
}

/// While it lives, this thread, and what it starts, runs on one processor.
pub struct Confined(CpuSet);

impl Confined {
    pub fn new() -> Self {
        let all = sched_getaffinity(None).expect("Linux says where we may run");
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu));
        let mut one = CpuSet::new();
        one.set(first.expect("we run somewhere"));
        sched_setaffinity(None, &one).expect("we may run there");
        Self(all)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        sched_setaffinity(None, &self.0).expect("we might before");
    }
}
