//! The errors of a worker that never reached `init`, which `parent::stuck` detects.

use std::fmt;

/// How many seconds a worker may compute before `init`.
pub(crate) const STARTUP_SECONDS: u64 = 10;

/// Why a worker that never reached `init` is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartFailure {
    Waits,
    Computes,
    Slow,
    /// It answered, and is another program.
    Foreign,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Foreign = self {
            return f.write_str("it runs another build of this program");
        }
        f.write_str(
            "it did not get to `trefoil::init()`: what stands before that in `main`, or a library that is loaded with the program, ",
        )?;
        match self {
            Self::Waits => f.write_str("waits for something"),
            Self::Computes => write!(f, "has computed for {STARTUP_SECONDS} seconds"),
            Self::Slow | Self::Foreign => f.write_str("takes too long"),
        }
    }
}
