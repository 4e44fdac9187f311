//! Parallel iterators: every source, adaptor and consumer compared with std's, on pools of several
//! widths; drops; panics.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate
// The tests use the same calls on both sides.
#![allow(
    clippy::almost_complete_range,
    clippy::filter_map_bool_then,
    clippy::manual_is_multiple_of,
    clippy::needless_borrows_for_generic_args,
    clippy::redundant_closure,
    clippy::redundant_closure_for_method_calls,
    clippy::semicolon_if_nothing_returned,
    clippy::unnecessary_fold,
    clippy::useless_vec
)]

mod adaptors;
mod collect;
#[path = "../deadline/mod.rs"]
mod deadline;
mod drops;
mod ends;
mod from_rayon;
mod sort;
mod sources;
mod speculation;
mod until;

use deadline::within_deadline;
use trefoil::ThreadPool;

/// Runs `f` on pools of several widths, and on the global pool.
fn everywhere(f: impl Fn() + Send + Sync + Clone + 'static) {
    within_deadline(move || {
        for threads in [1, 2, 5] {
            ThreadPool::with_threads(threads).install(&f);
        }
        f(); // on the global pool
    });
}

/// Numbers without an order, the same ones each time.
fn mixed(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Some((z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16)
    })
}
