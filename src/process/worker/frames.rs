//! What a worker, or a fork server, does with the frames that it gets.
//!
//! Each is done whole before the next is looked at. A request for a copy of the process is handed
//! to the caller, because only a fork server gets one (`fork_server`).
//!
//! Tests: `tests/process/pool.rs::a_worker_that_breaks_the_protocol_is_replaced`,
//! `tests/process/fork_server.rs`.

use std::collections::HashMap;
use std::process::exit;
use std::sync::Arc;
use std::time::Instant;

use super::batch::{Batch, QUICK, Serving};
use super::cancel::begins_nothing;
use super::peer::Inlet;
use super::peer::outlet::Outlet;
use super::raw_call;
use crate::chaos;
use crate::process::value::attachments::Descriptors;
use crate::process::value::copies::Copies;
use crate::process::value::lent_arrays::{Missing, View};
use crate::process::value::mapped::Mapped;
use crate::process::value::scope::{self, Decoding};
use crate::process::wire::{BatchHead, ForkOrder, Frame, Reader, Record};
use trefoil_os::host::image::image;

/// What the parent asks for, and what came with it.
pub(super) type Order = (ForkOrder, Descriptors);

/// The descriptors of a request, as it numbers them: the stream, standard error, standard output.
pub(super) const NUMBERS: [u64; 3] = [0, 1, 2];

/// Says that this process is ready for its first batch.
pub(super) fn say_hello(outlet: &mut Outlet) {
    outlet.mark(); // what `main` has written so far belongs to no item
    let copy = image().name().as_bytes();
    outlet.record(&Record::Hello { copy }.bytes());
    outlet.flush();
}

/// What stays from frame to frame, besides what items use.
#[derive(Default)]
pub(super) struct Kept {
    home: Option<Arc<View>>,
    /// The attachments of the next frame.
    next_descriptors: Descriptors,
    copies: Copies,
    /// The memory that stays mapped between the items that need it (`memory_kept_by_worker`): an
    /// item that asks for it finds that mapping. What cannot be mapped now, each item maps itself.
    mappings: HashMap<u64, Arc<Mapped>>,
}

/// Does what the frames ask for, until one asks a fork server for a worker.
pub(super) fn work(inlet: &mut Inlet, state: &mut Serving, kept: &mut Kept) -> Order {
    loop {
        let descriptors = std::mem::take(&mut kept.next_descriptors);
        match inlet.next() {
            Frame::Descriptors(numbers) => {
                kept.next_descriptors = inlet.claim(&numbers, &kept.copies);
            }
            Frame::Keep(numbers) => {
                let map = |id| Some((id, Mapped::open(descriptors.find(id).ok()?, 0).ok()?));
                kept.mappings.extend(numbers.into_iter().filter_map(map));
                kept.next_descriptors = descriptors;
            }
            Frame::Copy { of, bytes } => kept.copies.part(of, bytes),
            Frame::Release(numbers) => {
                kept.copies.release(&numbers);
                numbers.iter().for_each(|id| drop(kept.mappings.remove(id)));
            }
            Frame::Nudge | Frame::Tree => {}
            Frame::Chaos(plan) => chaos::planned(plan),
            Frame::Home => {
                kept.home = inlet.claim(&[0], &kept.copies).find(0).ok().map(View::of);
            }
            Frame::Welcome { .. } | Frame::Recall { .. } => exit(1),
            Frame::Bye => exit(0),
            Frame::Fork(order) => {
                let numbers = &NUMBERS[..2 + usize::from(order.captures)];
                return (order, inlet.claim(numbers, &Copies::default()));
            }
            Frame::Context { id, bytes } => {
                let bytes = Reader(bytes).bytes().unwrap_or_default();
                state.contexts.keep(id, bytes, descriptors);
            }
            Frame::Forget { id } => state.contexts.forget(id),
            Frame::Batch { batch, lent, items } => {
                state.outlet.release();
                let begin = Instant::now();
                let BatchHead { sequence, code, .. } = batch;
                let missing = Missing::new(&lent, items, kept.home.as_ref(), &mut kept.copies);
                let arrived = missing.as_ref().map_or(0, Missing::here);
                let mut batch = Batch::new(batch, items, arrived, state);
                let mut own = Decoding::new(descriptors, missing);
                if !scope::decoding(&mut own, || raw_call::call(code, &mut batch)) {
                    exit(1);
                }
                if begins_nothing() {
                    batch.asks_to_retire(true);
                }
                let begun = batch.begun;
                let nanos = begin.elapsed().as_nanos().min(u64::MAX.into()) as u64;
                #[cfg(feature = "tracing")]
                crate::process::observe::send_events::report_dropped();
                let end = Record::End {
                    sequence,
                    begun,
                    nanos,
                };
                state.outlet.record(&end.bytes());
                if nanos >= QUICK {
                    state.outlet.mark();
                }
                if !inlet.has_more(&state.outlet) {
                    state.outlet.flush();
                }
            }
        }
    }
}
