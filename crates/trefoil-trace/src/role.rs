//! Which executor this thread serves: kept at all times, so that a recording or a tree of tasks
//! that begins later knows it.

use std::cell::Cell;

use crate::event::Role;
use crate::loom::per_thread;

per_thread! {
    static ROLE: Cell<Role> = Cell::new(Role::Outside);
}

/// Sets this thread's role; returns the previous one.
pub(crate) fn replace(role: Role) -> Role {
    let before = ROLE.try_with(|own| own.replace(role));
    before.unwrap_or(Role::Outside)
}

/// This thread's role.
pub(crate) fn current() -> Role {
    ROLE.try_with(Cell::get).unwrap_or(Role::Outside)
}
