//! Which signal.

/// Which signal: [`Signal::new`](super::Signal::new) and
/// [`Child::send_signal`](super::Child::send_signal) take one. It is made from the signal's number,
/// so [`Signal::TERM`](super::Signal::TERM) and `libc::SIGTERM` do as well.
///
/// ```
/// use trefoil::io::{Signal, SignalKind};
///
/// let kind = SignalKind::from(Signal::TERM);
/// assert_eq!(kind.as_raw(), 15);
/// assert_eq!(kind, 15.into());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// The signal's number.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl From<i32> for SignalKind {
    /// Any number: what takes the kind checks that it is a signal.
    fn from(number: i32) -> Self {
        Self(number)
    }
}
