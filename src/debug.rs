//! `Debug` for types whose fields say nothing to a reader, and the messages of errors.
//!
//! A derived `Debug` would show locks, pointers and counts, and would ask for `T: Debug` wherever a
//! type is over a `T` that it does not show.

/// Implements `Debug`: the type's name, and what is given of it by name.
///
/// `debug!(impl<T> Group<T>, self, members = self.len())` shows `Group { members: 3, .. }`.
macro_rules! debug {
    (
        impl $(<$($generic:ident $(: $bound:path)?),*>)? $name:ident $(<$($argument:tt),*>)?,
        $this:ident $(, $field:ident = $value:expr)* $(,)?
    ) => {
        impl $(<$($generic $(: $bound)?),*>)? std::fmt::Debug for $name $(<$($argument),*>)? {
            fn fmt(&$this, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(shown.field(stringify!($field), &$value);)*
                shown.finish_non_exhaustive()
            }
        }
    };
}

/// Implements `Display`, by an expression that writes to the given formatter, and `Error`, which
/// has no source.
///
/// `impl_error!(impl<T> SendError<T>, self, f, f.write_str("nobody receives"))`
macro_rules! impl_error {
    (
        impl $(<$generic:ident>)? $name:ident $(<$argument:ident>)?,
        $this:ident, $f:ident, $written:expr $(,)?
    ) => {
        impl $(<$generic>)? std::fmt::Display for $name $(<$argument>)? {
            fn fmt(&$this, $f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $written
            }
        }

        impl $(<$generic>)? std::error::Error for $name $(<$argument>)? {}
    };
}
