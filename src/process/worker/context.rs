//! In the worker: when the context of a `map_with` is decoded, and how long it is kept.
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

use crate::process::value::attachments::Descriptors;
use crate::process::value::codec::decode;
use crate::process::value::scope::{self, Decoding};
use crate::task::panic::{self, Panic};

/// One context.
enum ReceivedContext {
    Encoded(Vec<u8>, Descriptors),
    /// The result of the one attempt: the value, why it could not be decoded, or a panic.
    Decoded(Result<Result<Box<dyn Any>, String>, Panic>),
}

/// All contexts of this worker.
#[derive(Default)]
pub(crate) struct Contexts(HashMap<u64, ReceivedContext>);

impl Contexts {
    /// Keeps an encoded context.
    pub(crate) fn keep(&mut self, id: u64, bytes: &[u8], descriptors: Descriptors) {
        let context = ReceivedContext::Encoded(bytes.to_vec(), descriptors);
        self.0.insert(id, context);
    }

    /// Drops a context; its destructor is user code.
    pub(crate) fn forget(&mut self, id: u64) {
        let context = self.0.remove(&id);
        panic::contain(|| drop(context));
    }

    /// The context `id`, which is decoded once. Resumes the panic of its decoder, if that has
    /// panicked.
    pub(crate) fn get<C: DeserializeOwned + 'static>(&mut self, id: u64) -> Result<&C, String> {
        let context = self.0.get_mut(&id);
        let context = context.ok_or("the parent has not sent it")?;
        if let ReceivedContext::Encoded(bytes, descriptors) = context {
            let mut own = Decoding::new(std::mem::take(descriptors), None);
            let decode = || scope::decoding(&mut own, || decode::<C>(bytes));
            let boxed = |value| Box::new(value) as Box<dyn Any>;
            let decoded = panic::catch(decode).map(|decoded| decoded.map(boxed));
            *context = ReceivedContext::Decoded(decoded);
        }
        match context {
            ReceivedContext::Decoded(Ok(Ok(value))) => {
                Ok(value.downcast_ref().ok_or("it is of another type")?)
            }
            ReceivedContext::Decoded(Ok(Err(detail))) => Err(detail.clone()),
            ReceivedContext::Decoded(Err(panic)) => panic.clone().resume_unwind(),
            ReceivedContext::Encoded(..) => Err("it was not decoded".to_owned()),
        }
    }
}

#[cfg(all(test, target_os = "linux", not(trefoil_port)))]
mod tests {
    use std::io::{IoSlice, PipeReader};
    use std::os::unix::net::UnixStream;

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendFlags};
    use serde::de::{Deserialize, Deserializer, Error};

    use super::*;
    use crate::process::value::attachments;
    use crate::process::value::attachments::{Arrivals, AttachedFile};
    use crate::process::value::codec::encode;

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

    /// A pipe with the number 7, as a worker receives it; and its other end.
    fn descriptors() -> (Descriptors, PipeReader) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (kept, travels) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&kept, true).unwrap();
        let attachments = [AttachedFile::new(travels.into())];
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
        let read = rustix::io::read(&kept, &mut byte[..]);
        assert_eq!(read, Ok(0), "it is closed");
        assert!(scope::attached(7).is_err(), "nothing of it is left here");
        contexts.forget(3);
        assert!(contexts.get::<Fragile>(3).is_err());
    }

    #[test]
    fn unclaimed_descriptors_are_closed_with_the_context() {
        let (descriptors, kept) = descriptors();
        let mut contexts = Contexts::default();
        contexts.keep(3, &[1], descriptors);
        let end = || rustix::io::read(&kept, &mut [0u8; 1][..]);
        assert_eq!(end(), Err(Errno::AGAIN));
        assert_eq!(contexts.get::<u64>(3).copied(), Ok(1));
        assert_eq!(end(), Ok(0));
    }
}
