//! In the worker: what the items of a `map_with` have in common.
//!
//! A context comes encoded, once, before the first frame of its job, and stays until it is
//! to be forgotten. It is decoded when the first item asks for it, as part of that item:
//! a decoder that fails, panics or crashes is an item's failure and not the
//! worker's. A later item tries again only if the first attempt panicked.
//!
//! Tests: `tests/process_calls.rs`.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;

use serde::de::DeserializeOwned;

use super::baggage::{self, Bag};
use super::sink::decode;
use crate::task::panic;

/// One of them.
enum Context {
    Encoded(Vec<u8>, Bag),
    Value(Box<dyn Any>),
    Broken(String),
}

/// All that this worker has.
#[derive(Default)]
pub(crate) struct Contexts(HashMap<u64, Context>);

impl Contexts {
    /// Keeps an encoded context.
    pub(crate) fn keep(&mut self, id: u64, bytes: &[u8], bag: Bag) {
        self.0.insert(id, Context::Encoded(bytes.to_vec(), bag));
    }

    /// Drops one, whose destructor is the user's.
    pub(crate) fn forget(&mut self, id: u64) {
        let context = self.0.remove(&id);
        panic::contain(|| drop(context));
    }

    /// The context `id`, decoded once.
    pub(crate) fn get<C: DeserializeOwned + 'static>(&mut self, id: u64) -> Result<&C, String> {
        let missing = || "the parent has not sent it".to_owned();
        let context = self.0.get_mut(&id).ok_or_else(missing)?;
        if let Context::Encoded(bytes, bag) = context {
            let (decoded, rest) = baggage::unpacking(std::mem::take(bag), || decode::<C>(bytes));
            *bag = rest;
            *context = match decoded {
                Ok(value) => Context::Value(Box::new(value)),
                Err(detail) => Context::Broken(detail),
            };
        }
        match context {
            Context::Value(value) => value
                .downcast_ref()
                .ok_or_else(|| "it is of another type".to_owned()),
            Context::Broken(detail) => Err(detail.clone()),
            Context::Encoded(..) => Err(missing()),
        }
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
