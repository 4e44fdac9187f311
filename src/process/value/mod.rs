//! What a call carries: arguments and results as bytes, and what travels with the bytes.
//!
//! `chunk` holds the encoded arguments of calls. `codec` encodes and decodes, and adds a
//! description for some types (the crate `postcard-described`); a `vector` of bytes is copied. What
//! does not fit into bytes goes with them (`scope`): descriptors (`attachments`), some of which
//! stand for memory (`mapped`, `shared`), or are sent as a copy (`copies`), and which a worker
//! keeps (`memory_kept_by_worker`); and large arrays of numbers (`bulk`), which are lent
//! (`lent_arrays`).

/// The traits that all types which hold numbers share: they can be used as slices.
macro_rules! as_slice {
    ($name:ident<$element:ident: $kind:ident>) => {
        impl<$element: $kind> std::ops::Deref for $name<$element> {
            type Target = [$element];

            fn deref(&self) -> &[$element] {
                &self.0
            }
        }

        impl<'a, $element: $kind> IntoIterator for &'a $name<$element> {
            type Item = &'a $element;
            type IntoIter = std::slice::Iter<'a, $element>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }

        impl<$element: $kind> FromIterator<$element> for $name<$element> {
            fn from_iter<I: IntoIterator<Item = $element>>(elements: I) -> Self {
                Vec::from_iter(elements).into()
            }
        }

        impl<$element: $kind> AsRef<[$element]> for $name<$element> {
            fn as_ref(&self) -> &[$element] {
                self
            }
        }

        impl<$element: $kind> std::fmt::Debug for $name<$element> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&**self, f)
            }
        }
    };
}

#[cfg(unix)]
pub(super) mod attachment;
pub(super) mod attachments;
pub(super) mod bulk;
pub(super) mod chunk;
pub(super) mod codec;
pub(super) mod copies;
pub(super) mod depth_limit;
pub(super) mod lent_arrays;
pub(super) mod mapped;
pub(super) mod memory_kept_by_worker;
#[cfg(not(loom))] // shared memory has the standard library's atomics
pub(super) mod permits;
pub(super) mod portable;
pub(super) mod raw_plain;
pub(super) mod reason;
pub(super) mod scope;
pub(super) mod shared;
mod slow_close;
pub(super) mod vector;
