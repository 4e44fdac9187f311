//! In the worker: when the context of a `map_with` is decoded, and how long it is kept.
//!
//! A context arrives encoded, once, before the first frame of its job, and stays until the parent
//! says that it is no longer needed. It is decoded when the first item asks for it, as part of that
//! item: if the decoder fails, panics or crashes, that is the item's failure. There is only one
//! attempt, because it consumes the context's attachments, which are closed if it fails. Later
//! items end as the first one did; if that was a panic, they end in the same one, without another
//! call of the panic hook.
//!
//! A large context without attachments is sent to another machine only once: the worker that gets
//! it keeps the bytes in a memory file, which other workers there open through `/proc` and compare
//! with a hash ([`Contexts::share`]). Only this user's processes can open it, and when the last of
//! them has ended nothing is left.
//!
//! Tests: below; `tests/process/calls.rs`.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::process::host::memory_file;
use crate::process::value::attachments::{Attachment, Descriptors};
use crate::process::value::codec::decode;
use crate::process::value::mapped::Mapped;
use crate::process::value::scope::{self, Decoding};
use crate::process::value::shared::Shared;
use crate::process::wire::ServedContext;
use crate::task::panic::{self, Panic};

/// One context.
enum ReceivedContext {
    Encoded(Shared<u8>, Descriptors),
    /// The result of the one attempt: the value, why it could not be decoded, or a panic.
    Decoded(Result<Result<Box<dyn Any>, String>, Panic>),
}

/// All contexts of this worker.
#[derive(Default)]
pub(crate) struct Contexts {
    /// Each with its memory, if this worker serves it to others.
    all: HashMap<u64, (ReceivedContext, Option<Arc<Attachment>>)>,
}

impl Contexts {
    /// Keeps an encoded context.
    pub(crate) fn keep(&mut self, id: u64, bytes: &[u8], descriptors: Descriptors) {
        let bytes = Shared::own(bytes.to_vec());
        let context = ReceivedContext::Encoded(bytes, descriptors);
        self.all.insert(id, (context, None));
    }

    /// Drops a context; its destructor is user code.
    pub(crate) fn forget(&mut self, id: u64) {
        let context = self.all.remove(&id);
        panic::contain(|| drop(context));
    }

    /// Fetches a context from another worker; without `from` this worker has it already. Returns
    /// where this worker serves it to others from now on.
    pub(crate) fn share(&mut self, id: u64, from: Option<ServedContext>) -> Option<ServedContext> {
        let memory = match (from, self.all.get(&id)) {
            (Some(from), _) => Attachment::new(memory_file::at(from.place).ok()?),
            (None, Some((ReceivedContext::Encoded(bytes, _), _))) => {
                Mapped::fixed(bytes).ok()?.attachment.clone()
            }
            _ => return None,
        };
        let bytes = Shared::of(memory.clone()).ok()?;
        let mut hasher = DefaultHasher::new(); // the same in all workers: they are one executable
        hasher.write(&bytes);
        let hash = hasher.finish();
        if from.is_some_and(|from| from.hash != hash) {
            return None;
        }
        let place = memory_file::place(&memory.descriptor)?;
        let context = ReceivedContext::Encoded(bytes, Descriptors::default());
        self.all.insert(id, (context, Some(memory)));
        Some(ServedContext { place, hash })
    }

    /// The context `id`, which is decoded once. Resumes the panic of its decoder, if that has
    /// panicked.
    pub(crate) fn get<C: DeserializeOwned + 'static>(&mut self, id: u64) -> Result<&C, String> {
        let context = self.all.get_mut(&id);
        let (context, _) = context.ok_or("the parent has not sent it")?;
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
    use crate::process::value::attachments::{Arrivals, Attachment};
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
        let read = rustix::io::read(&kept, &mut byte[..]);
        assert_eq!(read, Ok(0), "it is closed");
        assert!(scope::attached(7).is_err(), "nothing of it is left here");
        contexts.forget(3);
        assert!(contexts.get::<Fragile>(3).is_err());
    }

    /// (In one process; `crates/trefoil-machines/tests/ssh/` has several.)
    #[test]
    fn what_is_shown_is_found_and_is_the_same() {
        let mut bytes = Vec::new();
        let words = "something that all have in common ".repeat(1000);
        encode(&words, &mut bytes, &mut None).unwrap();
        let (mut first, mut second, mut third) = Default::default();
        let all: [&mut Contexts; 3] = [&mut first, &mut second, &mut third];
        let [first, second, third] = all;
        assert_eq!(first.share(3, None), None, "it is not there");
        first.keep(3, &bytes, Descriptors::default());
        let served = first.share(3, None).unwrap();
        let other = ServedContext {
            hash: served.hash ^ 1,
            ..served
        };
        assert_eq!(second.share(3, Some(other)), None, "it is another one");
        let again = second.share(3, Some(served)).unwrap();
        assert_eq!(again.hash, served.hash);
        assert_ne!(again.place, served.place);
        for contexts in [&mut *first, &mut *second] {
            assert_eq!(contexts.get::<String>(3), Ok(&words));
            assert_eq!(contexts.share(3, None), None, "it is decoded");
        }
        first.forget(3);
        assert_eq!(third.share(3, Some(served)), None, "the first is gone");
        let other = std::fs::File::open("/dev/zero").unwrap();
        let place = memory_file::place(&other).unwrap();
        assert_eq!(
            third.share(3, Some(ServedContext { place, ..served })),
            None,
            "it is no memory"
        );
        assert!(
            third.share(3, Some(again)).is_some(),
            "the second has it still"
        );
        assert_eq!(third.get::<String>(3), Ok(&words));
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
