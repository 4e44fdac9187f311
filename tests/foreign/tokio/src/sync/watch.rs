//! `watch`: trefoil's own.

pub use trefoil::sync::watch::{Receiver, Ref, Sender, channel};

pub mod error {
    pub use trefoil::sync::watch::{RecvError, SendError};
}
