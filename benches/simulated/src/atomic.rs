//! Stands for `std::sync::atomic`: each operation is charged for its line, then done.

use std::fmt;
use std::sync::atomic as real;
pub use std::sync::atomic::{Ordering, compiler_fence};

use crate::lines::Access;
use crate::raw_threads::access;

/// A fence; only the full one costs something on this processor.
#[inline]
pub fn fence(order: Ordering) {
    if order == Ordering::SeqCst {
        crate::raw_threads::fence();
    }
    real::fence(order);
}

macro_rules! atomic {
    ($name:ident, $type:ty, [$($generic:tt)*]: $($operation:ident)*) => {
        /// That of the standard library, which is charged for.
        #[repr(transparent)]
        pub struct $name $($generic)* (real::$name $($generic)*);

        impl $($generic)* $name $($generic)* {
            /// A new one, which is in no cache.
            #[inline]
            pub const fn new(value: $type) -> Self {
                Self(real::$name::new(value))
            }

            #[inline]
            fn charge(&self, kind: Access) {
                access((&raw const self.0).addr(), kind);
            }

            /// A load.
            #[inline]
            pub fn load(&self, order: Ordering) -> $type {
                self.charge(Access::Read);
                self.0.load(order)
            }

            /// A store; if it is sequentially consistent, an exchange on this processor.
            #[inline]
            pub fn store(&self, value: $type, order: Ordering) {
                self.charge(match order {
                    Ordering::SeqCst => Access::Change,
                    _ => Access::Write,
                });
                self.0.store(value, order);
            }

            /// An exchange.
            #[inline]
            pub fn swap(&self, value: $type, order: Ordering) -> $type {
                self.charge(Access::Change);
                self.0.swap(value, order)
            }

            /// A compare and exchange.
            ///
            /// # Errors
            /// As the standard library's.
            #[inline]
            pub fn compare_exchange(
                &self,
                is: $type,
                shall: $type,
                order: Ordering,
                failure: Ordering,
            ) -> Result<$type, $type> {
                self.charge(Access::Change);
                self.0.compare_exchange(is, shall, order, failure)
            }

            /// A compare and exchange, which never fails for no reason.
            ///
            /// # Errors
            /// As the standard library's.
            #[inline]
            pub fn compare_exchange_weak(
                &self,
                is: $type,
                shall: $type,
                order: Ordering,
                failure: Ordering,
            ) -> Result<$type, $type> {
                self.compare_exchange(is, shall, order, failure)
            }

            /// A loop of compare and exchange.
            ///
            /// # Errors
            /// As the standard library's.
            pub fn fetch_update(
                &self,
                order: Ordering,
                failure: Ordering,
                mut f: impl FnMut($type) -> Option<$type>,
            ) -> Result<$type, $type> {
                let mut is = self.load(failure);
                while let Some(shall) = f(is) {
                    match self.compare_exchange(is, shall, order, failure) {
                        Ok(was) => return Ok(was),
                        Err(now) => is = now,
                    }
                }
                Err(is)
            }

            $(
                /// A read-modify-write.
                #[inline]
                pub fn $operation(&self, value: $type, order: Ordering) -> $type {
                    self.charge(Access::Change);
                    self.0.$operation(value, order)
                }
            )*

            /// The value; nobody else uses it.
            #[inline]
            pub fn get_mut(&mut self) -> &mut $type {
                self.0.get_mut()
            }

            /// The value.
            #[inline]
            pub fn into_inner(self) -> $type {
                self.0.into_inner()
            }

            /// Where the value is.
            #[inline]
            pub const fn as_ptr(&self) -> *mut $type {
                self.0.as_ptr()
            }
        }

        impl $($generic)* fmt::Debug for $name $($generic)* {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $($generic)* Default for $name $($generic)* {
            fn default() -> Self {
                Self(real::$name::default())
            }
        }

        impl $($generic)* From<$type> for $name $($generic)* {
            fn from(value: $type) -> Self {
                Self::new(value)
            }
        }
    };
}

macro_rules! numbers {
    ($($name:ident $type:ty,)*) => { $(
        atomic!($name, $type, []:
            fetch_add fetch_sub fetch_and fetch_nand fetch_or fetch_xor fetch_max fetch_min);
    )* };
}

numbers! {
    AtomicI8 i8, AtomicU8 u8, AtomicI16 i16, AtomicU16 u16, AtomicI32 i32, AtomicU32 u32,
    AtomicI64 i64, AtomicU64 u64, AtomicIsize isize, AtomicUsize usize,
}
atomic!(AtomicBool, bool, []: fetch_and fetch_nand fetch_or fetch_xor);
atomic!(AtomicPtr, *mut T, [<T>]: );
