//! The program at the head of the README: a worker process that aborts costs one item.
//!
//! ```text
//! cargo run --example crash
//! ```
#![allow(clippy::print_stdout)] // a program, not the crate

fn main() {
    trefoil::init(); // worker processes begin here
    let square = |n: u32| if n == 3 { std::process::abort() } else { n * n };
    let procs = trefoil::ProcessPool::new().unwrap();
    println!("{:?}", procs.map_each(1..=4, square));
}
