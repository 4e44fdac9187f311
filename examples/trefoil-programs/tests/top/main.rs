//! `trefoil-top`: what it prints, what it shows in a real terminal, and what it changes.
//!
//! The program that it looks at is this one, started again with the name of a test that only
//! [`watched`] programs run. The terminal is tmux; where that is not installed, its tests say so
//! and pass.

mod once;
mod refused;
mod screen;
#[path = "../support/mod.rs"]
mod support;
mod tmux;
mod watched;

use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const TOP: &str = env!("CARGO_BIN_EXE_trefoil-top");

/// What `look` returns, as soon as `is_right` is true of it.
fn until<T: std::fmt::Display>(mut look: impl FnMut() -> T, is_right: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        let seen = look();
        if is_right(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "it does not come: {seen}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
