//! Why an item was not sent at once, and the item.
//!
//! Tests: `tests/process/channel.rs`.

use std::fmt;

use crate::task::TaskError;

/// The error of [`Sender::try_send`](super::Sender::try_send). It gives the item back.
///
/// As a [`TaskError`] it has lost the item.
///
/// ```
/// use trefoil::process::channel;
/// use trefoil::process::channel::TrySendError;
///
/// # trefoil::init();
/// let (sender, receiver) = channel(1)?;
/// sender.try_send("first".to_owned())?;
/// match sender.try_send("second".to_owned()) {
///     Err(TrySendError::Full(item)) => assert_eq!(item, "second"),
///     other => panic!("{other:?}"),
/// }
/// drop(receiver);
/// let refused = sender.try_send("third".to_owned()).unwrap_err();
/// assert!(refused.is_closed());
/// assert_eq!(refused.into_inner(), "third");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There is no room now. As a [`TaskError`]: [`WouldBlock`](TaskError::WouldBlock).
    #[error("the channel is full")]
    Full(T),
    /// All receivers are gone. As a [`TaskError`]: [`Closed`](TaskError::Closed).
    #[error("all receivers of the channel are gone")]
    Closed(T),
    /// The item cannot be encoded, or there is no memory for it: [`Codec`](TaskError::Codec), or
    /// the panic of its `Serialize`.
    #[error("{1}")]
    Unsendable(T, #[source] TaskError),
}

impl<T> TrySendError<T> {
    /// The item, which was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) | Self::Unsendable(item, _) => item,
        }
    }

    /// Whether there was no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether all receivers are gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> From<TrySendError<T>> for TaskError {
    fn from(refused: TrySendError<T>) -> Self {
        match refused {
            TrySendError::Full(_) => Self::WouldBlock,
            TrySendError::Closed(_) => Self::Closed,
            TrySendError::Unsendable(_, error) => error,
        }
    }
}

/// Without the item, whose type need not be `Debug`.
impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Unsendable(_, error) => write!(f, "Unsendable(.., {error:?})"),
        }
    }
}
