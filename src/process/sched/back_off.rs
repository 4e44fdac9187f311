//! How long the slot of a dead worker stays empty, and when it is given up.
//!
//! **Back-off.** A death of a worker that has completed nothing, not even a failed item, is
//! *fruitless*. After the first, the slot is filled again at once, and after each further one later
//! and later, up to a second. After five in a row the slot is abandoned until there is work; when
//! all are, waiting calls fail. Two workers in a row that never reach `init` also abandon the slot,
//! and so does one that computes for ten seconds before it. More kills are tolerated, because
//! they do not show that the program cannot start; but not those for want of memory, since the next
//! worker would get the same item. (One weight counts both kinds, so if
//! kills and own deaths alternate, the pause does not follow from the number of deaths.)
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Duration;

use crate::process::limits::{
    ENDED_WEIGHT, GIVE_UP, KILLED_WEIGHT, LATE_WEIGHT, LONGEST_PAUSE, LONGEST_PAUSE_AFTER_KILLS,
    STARTUP_SECONDS,
};

const NEVER: &str = "it did not reach `trefoil::init()`: the code before it in `main`, or a library \
    that is loaded with the program,";

/// Why a worker that never reached `init` is given up. (How long it may take: `limits`.
/// `parent::startup_watch` finds out whether it waits or computes.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error("{} waits for something", NEVER)]
    Waits,
    #[error("{} has computed for {} seconds", NEVER, STARTUP_SECONDS)]
    Computes,
    #[error("{} takes too long", NEVER)]
    Slow,
    /// It answered, and is another build or another program.
    #[error("it runs another build of this program")]
    Foreign,
    /// Nothing can make it.
    #[error("the pool's fork server has ended too often")]
    Unforked,
    /// Its stream had ended, and the process lived on.
    #[error("it closed its connection to the pool before it had begun, and lived on")]
    Closed,
}

/// The weight of one fruitless death; `failed_start`: why the worker never reached `init`.
pub(super) fn weight(failed_start: Option<StartFailure>, killed: bool) -> u32 {
    match failed_start {
        Some(StartFailure::Computes | StartFailure::Unforked) => GIVE_UP,
        Some(_) => LATE_WEIGHT,
        None if killed => KILLED_WEIGHT,
        None => ENDED_WEIGHT,
    }
}

/// Whether the slot is given up, if the fruitless deaths in a row have that weight.
pub(super) fn is_given_up(fruitless_weight: u32) -> bool {
    fruitless_weight >= GIVE_UP
}

/// How long after a death the slot stays empty, if the fruitless deaths in a row have that weight.
pub(super) fn pause(fruitless_weight: u32, killed: bool) -> Duration {
    let (deaths, most) = if killed {
        (fruitless_weight / KILLED_WEIGHT, LONGEST_PAUSE_AFTER_KILLS)
    } else {
        (fruitless_weight / ENDED_WEIGHT, LONGEST_PAUSE)
    };
    match deaths {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(4u64.saturating_pow(n - 1).min(most)),
    }
}
