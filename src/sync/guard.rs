//! What the guards of all locks can do, and how a lock is shown.

use std::fmt;

/// Implements what a guard is: `Deref`, with `mut` also `DerefMut`, and `Debug` and `Display` of
/// the value.
macro_rules! guard {
    (mut $name:ident < $($life:lifetime)? >) => {
        guard!($name < $($life)? >);

        impl<T: ?Sized> std::ops::DerefMut for $name<$($life,)? T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }
    };
    ($name:ident < $($life:lifetime)? >) => {
        impl<T: ?Sized> std::ops::Deref for $name<$($life,)? T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T: std::fmt::Debug + ?Sized> std::fmt::Debug for $name<$($life,)? T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: std::fmt::Display + ?Sized> std::fmt::Display for $name<$($life,)? T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

pub(super) use guard;

/// Shows a lock whose value is this; `None`: it is locked.
pub(super) fn debug_lock<T: fmt::Debug + ?Sized>(
    name: &str,
    value: Option<&T>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut shown = f.debug_struct(name);
    match &value {
        Some(value) => shown.field("data", value),
        None => shown.field("data", &format_args!("<locked>")),
    };
    shown.finish()
}
