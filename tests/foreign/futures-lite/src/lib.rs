//! futures-lite, except that its `block_on` runs a loop of trefoil's.

pub use original::*;

pub mod future {
    pub use original::future::*;
    pub use trefoil::run as block_on;
}
