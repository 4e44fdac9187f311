//! Why a process that was started is not waited for: it has not got to `init`. What tells so looks at it (`parent::stuck`).

use std::fmt;

/// How many seconds it may compute.
pub(crate) const MOST: u64 = 10;

/// Why a worker that has not got to `init` is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Waits,
    Computes,
    Slow,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it did not get to `trefoil::init()`: what stands before that in `main`, or a library that is loaded with the program, ",
        )?;
        match self {
            Self::Waits => f.write_str("waits for something"),
            Self::Computes => write!(f, "has computed for {MOST} seconds"),
            Self::Slow => f.write_str("takes too long"),
        }
    }
}
