//! `pin!`: std's, for several variables.

/// Pins variables to the stack.
#[macro_export]
macro_rules! pin {
    ($($name:ident),* $(,)?) => { $(let mut $name = ::std::pin::pin!($name);)* };
    ($(let $name:ident = $value:expr;)*) => { $(let mut $name = ::std::pin::pin!($value);)* };
}
