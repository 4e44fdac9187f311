//! Names that test programs import together with others, and that trefoil has no counterpart of.
//! They have no methods, so tests that use them do not compile, and are listed.

use std::panic::AssertUnwindSafe;

pub enum Interest {}
pub enum LocalSet {}
pub enum Notify {}
pub enum TcpSocket {}
pub enum UnixSocket {}

/// Of senders that reserve room for a message.
pub struct OwnedPermit<T>(pub AssertUnwindSafe<T>);
pub struct Permit<'a, T>(pub AssertUnwindSafe<&'a T>);
pub struct PermitIterator<'a, T>(pub AssertUnwindSafe<&'a T>);

/// Of `broadcast`.
pub struct WeakSender<T>(pub AssertUnwindSafe<T>);
