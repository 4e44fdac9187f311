//! Run code that crashes, and continue: the program at the head of the README.
//!
//! ```text
//! cargo run --example survive_a_crash
//! ```
//!
//! Four items are squared in worker processes. One aborts its process, which costs that item only.

fn main() {
    trefoil::init(); // worker processes begin here
    let square = |n: u32| if n == 2 { std::process::abort() } else { n * n };
    let procs = trefoil::ProcessPool::new().unwrap();
    for result in procs.map_each(0..4, square) {
        println!("{result:?}");
    }
}
