//! `#[tokio::main]` in a program that has worker processes: the feature `auto`.

use trefoil::ProcessPool;

#[tokio::main]
async fn main() {
    assert!(tokio::runtime::Handle::current().metrics().num_workers() > 0);
    let procs = ProcessPool::with_workers(2).unwrap();
    let worker = procs.spawn((), |()| std::process::id()).await.unwrap();
    assert_ne!(worker, std::process::id());
    let squares = procs.call(|n: u64| n * n).map_task(0..1000).await.unwrap();
    assert_eq!(squares[999], 998_001);
}
