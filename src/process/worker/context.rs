//! In the worker: the contexts that the items of a `map_with` share.
//!
//! A context arrives encoded, once, before the first frame of its job, and stays until the parent
//! says that it is no longer needed. It is decoded when the first item asks for it, as part of that
//! item: if the decoder fails, panics or crashes, that is the item's failure. There is only one
//! attempt, because it consumes the context's attachments, which are closed if it fails. Later
//! items end as the first one did; if that was a panic, they end in the same one, without another
//! call of the panic hook.
//!
//! Tests: below; `tests/process/calls.rs`.

use std::any::Any;
use std::collections::HashMap;

use serde::de::DeserializeOwned;

use crate::process::payload::attachments::Descriptors;
use crate::process::payload::codec::decode;
use crate::process::payload::scope;
use crate::task::panic::{self, Panic};

/// One context.
enum Context {
    Encoded(Vec<u8>, Descriptors),
    /// The result of the one attempt: the value, why it could not be decoded, or a panic.
    Decoded(Result<Result<Box<dyn Any>, String>, Panic>),
}

/// All contexts of this worker.
#[derive(Default)]
pub(crate) struct Contexts(HashMap<u64, Context>);

impl Contexts {
    /// Keeps an encoded context.
    pub(crate) fn keep(&mut self, id: u64, bytes: &[u8], descriptors: Descriptors) {
        self.0
            .insert(id, Context::Encoded(bytes.to_vec(), descriptors));
    }

    /// Drops a context; its destructor is user code.
    pub(crate) fn forget(&mut self, id: u64) {
        let context = self.0.remove(&id);
        panic::contain(|| drop(context));
    }

    /// The context `id`, which is decoded once. Resumes the panic of its decoder, if that has
    /// panicked.
    pub(crate) fn get<C: DeserializeOwned + 'static>(&mut self, id: u64) -> Result<&C, String> {
        let context = self.0.get_mut(&id).ok_or("the parent has not sent it")?;
        if let Context::Encoded(bytes, descriptors) = context {
            let descriptors = std::mem::take(descriptors);
            let decode = || scope::decoding(descriptors, None, || decode::<C>(bytes)).0;
            let boxed = |value| Box::new(value) as Box<dyn Any>;
            let decoded = panic::catch(decode).map(|decoded| decoded.map(boxed));
            *context = Context::Decoded(decoded);
        }
        match context {
            Context::Decoded(Ok(Ok(value))) => {
                Ok(value.downcast_ref().ok_or("it is of another type")?)
            }
            Context::Decoded(Ok(Err(detail))) => Err(detail.clone()),
            Context::Decoded(Err(panic)) => panic.clone().resume_unwind(),
            Context::Encoded(..) => Err("it was not decoded".to_owned()),
        }
    }
}

#[cfg(all(test, not(trefoil_port)))]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixStream;

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendFlags};
    use serde::de::{Deserialize, Deserializer, Error};

    use super::*;
    use crate::process::payload::attachments::{self, Arrivals, Attachment};
    use crate::process::payload::codec::encode;

    /// Takes its attachment, and panics.
    #[derive(Debug)]
    struct Fragile;

    /// Its encoded form.
    #[derive(serde::Serialize)]
    struct Number(u64);

    impl<'de> Deserialize<'de> for Fragile {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = u64::deserialize(deserializer)?;
            let _taken = scope::attached(number).map_err(D::Error::custom)?;
            panic!("reading panics");
        }
    }

    /// A socket with the number 7, as a worker receives it; and its other end.
    fn descriptors() -> (Descriptors, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (kept, travels) = UnixStream::pair().unwrap();
        let attachments = [Attachment::new(travels.into())];
        let sent = attachments::send(
            &ours,
            &[IoSlice::new(b"x")],
            &attachments,
            SendFlags::empty(),
        );
        assert_eq!(sent, Ok(1));
        let mut arrivals = Arrivals::default();
        let received = arrivals.receive(&theirs, &mut [0; 8], RecvFlags::empty());
        assert_eq!(received, Ok(1));
        (arrivals.claim(&[7]), kept)
    }

    #[test]
    fn a_decoder_that_panics_does_so_for_each_item() {
        panic::install_hook();
        let (descriptors, kept) = descriptors();
        let mut contexts = Contexts::default();
        let mut bytes = Vec::new();
        encode(&Number(7), &mut bytes, &mut None).unwrap();
        contexts.keep(3, &bytes, descriptors);
        let panics: Vec<Panic> = (0..3)
            .map(|_| panic::catch(|| contexts.get::<Fragile>(3).map(|_| ())).unwrap_err())
            .collect();
        for panic in &panics {
            assert_eq!(panic.message(), "reading panics");
            assert_eq!(panic.location(), panics[0].location());
        }
        assert!(panics[0].location().is_some());
        let mut byte = [0u8; 1];
        let read = rustix::net::recv(&kept, &mut byte[..], RecvFlags::DONTWAIT);
        assert_eq!(read.map(|(_, count)| count), Ok(0), "it is closed");
        assert!(scope::attached(7).is_err(), "nothing of it is left here");
        contexts.forget(3);
        assert!(contexts.get::<Fragile>(3).is_err());
    }

    #[test]
    fn unclaimed_descriptors_are_closed_with_the_context() {
        let (descriptors, kept) = descriptors();
        let mut contexts = Contexts::default();
        contexts.keep(3, &[1], descriptors);
        let end = || {
            let read = rustix::net::recv(&kept, &mut [0u8; 1][..], RecvFlags::DONTWAIT);
            read.map(|(_, count)| count)
        };
        assert_eq!(end(), Err(Errno::AGAIN));
        assert_eq!(contexts.get::<u64>(3).copied(), Ok(1));
        assert_eq!(end(), Ok(0));
    }
}
