//! The errors of a worker that does not reach `init`. (How long it may take: `limits`.)
//! (`parent::startup_watch` finds out earlier whether it waits or computes.)

use crate::process::limits::STARTUP_SECONDS;
const NEVER: &str = "it did not reach `trefoil::init()`: the code before it in `main`, or a library \
    that is loaded with the program,";

/// Why a worker that never reached `init` is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error("{} waits for something", NEVER)]
    Waits,
    #[error("{} has computed for {} seconds", NEVER, STARTUP_SECONDS)]
    Computes,
    #[error("{} takes too long", NEVER)]
    Slow,
    /// It answered, and is another program.
    #[error("it runs another build of this program")]
    Foreign,
}
