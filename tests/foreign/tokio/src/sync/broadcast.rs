//! `broadcast`: trefoil's own.

pub use crate::absent::WeakSender;
pub use trefoil::sync::broadcast::{Receiver, Sender, channel};

pub mod error {
    pub use trefoil::sync::broadcast::{RecvError, SendError, TryRecvError};
}
