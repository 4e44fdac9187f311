//! What each record of a worker means, and which break the protocol.
//!
//! A record carries no index: it belongs to the first of its worker's frames, and in that to the
//! next item. A record that does not fit breaks the protocol ([`Broken`]). Its worker is then no
//! longer trusted: the worker's items count as begun, and fail.
//!
//! Tests: `src/process/sched/simulated.rs`.

use crate::process::job::job_id::INITIALIZE;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::back_off::StartFailure;
use super::state::Sched;
use super::workers::Stage;
use super::{cancel, finish, retire, retry, rules, shutdown, start, take_back, timeouts};
use crate::events;
use crate::process::job::reading::{Chore, DecodedPart, Extras, Reading};
use crate::process::job::results::{self, DecodingThread};
use crate::process::job::slot_id::SlotId;
use crate::process::value::codec::codec_error;
use crate::process::value::scope::{self, Decoding};
use crate::process::wire::{Broken, CodecOf, Event, Record};
use crate::task::panic::{Panic, PanicLocation};
use crate::task::{CodecDirection, Late, TaskError};
use trefoil_os::host::image::image;

impl Sched {
    /// Takes the whole records at the front of `bytes`, and returns how many bytes these are.
    /// `owner`: a shared buffer with these bytes, if a reference to it may be kept instead of a
    /// copy.
    pub(crate) fn receive(
        &mut self,
        worker: SlotId,
        bytes: &[u8],
        owner: Option<&Arc<Vec<u8>>>,
        extras: &mut Extras,
        now: Instant,
    ) -> Result<usize, Broken> {
        self.now = now;
        let mut used = 0;
        loop {
            let values = values(self, worker, (bytes, used), owner, extras)?;
            if values > 0 {
                used += values;
                continue;
            }
            let Some((record, length)) = Record::decode(&bytes[used..])? else {
                return Ok(used);
            };
            match record {
                Record::Hello { copy } if copy == image().name().as_bytes() => {
                    start::hello(self, worker);
                }
                Record::Hello { .. } => {
                    shutdown::failed_to_start(self, worker, StartFailure::Foreign);
                }
                Record::Descriptors(list) => extras.claim(&list),
                Record::Copy { of, bytes } => {
                    extras.copies.part(of, bytes);
                    if extras.copies.are_too_many() {
                        return Err(Broken);
                    }
                }
                Record::Lent(list) => extras.lending.set(list)?,
                Record::End {
                    sequence,
                    begun,
                    nanos,
                } => frame_end(self, worker, sequence, begun, nanos)?,
                Record::Panic { message, place } => {
                    extras.forget(); // what was sent ahead of the result that it failed to send
                    let place =
                        place.map(|(file, line, column)| PanicLocation::new(file, line, column));
                    let name = self.worker_name(worker);
                    item_failed(self, worker, Panic::remote(message, place, name).into())?;
                }
                Record::Codec { of, detail } => {
                    extras.forget();
                    let error = name_codec_error(self, worker, of, detail);
                    item_failed(self, worker, error)?;
                }
                Record::Late { nanos } => {
                    extras.forget();
                    item_late(self, worker, Duration::from_nanos(nanos))?;
                }
                Record::Begun => item_begins(self, worker)?,
                Record::Recalled { sequence, end } => {
                    take_back::give_back(self, worker, sequence, end)?;
                }
                Record::Taken => rules::opened(self, worker),
                Record::Direct => extras.is_direct = true,
                Record::Event(event) => pass_on_event(self, worker, &event, extras),
                #[cfg(feature = "inspect")]
                Record::Tree { text, json } => extras.tree = Some((text.into(), json.into())),
                #[cfg(not(feature = "inspect"))]
                Record::Tree { .. } => {} // nobody has asked
                Record::Retire { asked } => retire::worker_retires(self, worker, asked),
                Record::Heavy => retire::worker_is_heavy(self, worker),
                Record::Forked(answer) => extras.forked.push(answer),
            }
            used += length;
        }
    }

    /// Takes the whole events at the front of `bytes`, from a worker's pipe for them, and returns
    /// how many bytes these are.
    pub(crate) fn receive_events(
        &self,
        worker: SlotId,
        bytes: &[u8],
        extras: &mut Extras,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        while let Some((record, length)) = Record::decode(&bytes[used..])? {
            let Record::Event(event) = record else {
                return Err(Broken);
            };
            pass_on_event(self, worker, &event, extras);
            used += length;
        }
        Ok(used)
    }

    /// The worker's socket has taken some bytes. A plain worker may not have received yet what was
    /// sent after these, so its answer gets more time.
    pub(crate) fn takes(&mut self, slot: SlotId, now: Instant) {
        self.now = now;
        let by = self.now + self.policy.patience;
        self.workers[slot].frames.moved(self.now, by);
    }
}

#[cfg(not(feature = "tracing"))]
fn pass_on_event(_: &Sched, _: SlotId, _: &Event<'_>, _: &mut Extras) {}

/// Passes an event on, with the call that it belongs to.
#[cfg(feature = "tracing")]
fn pass_on_event(sched: &Sched, worker: SlotId, event: &Event<'_>, extras: &mut Extras) {
    let Some(events) = &mut extras.events else {
        return;
    };
    let (sequence, begun) = event.at;
    let mut frames = sched.workers[worker].frames.iter();
    let frame = frames.find(|frame| frame.sequence == sequence);
    let job = frame.and_then(|frame| Some((frame, sched.jobs.get(frame.job)?)));
    let (function, item) = match (frame, job) {
        (_, Some((frame, job))) => {
            let at = frame.piece.first() + (begun as usize).saturating_sub(1);
            (Some(job.work.label()), (!job.is_one()).then_some(at))
        }
        (Some(frame), None) if frame.job == INITIALIZE => (Some("initializer".into()), None),
        _ => (None, None),
    };
    events.pass_on(event, function.as_deref(), item);
}

/// Passes the values in `bytes` from `at` on to the job that they belong to. Returns how many
/// bytes these are.
fn values(
    sched: &mut Sched,
    slot: SlotId,
    (whole, at_byte): (&[u8], usize),
    owner: Option<&Arc<Vec<u8>>>,
    extras: &mut Extras,
) -> Result<usize, Broken> {
    let bytes = &whole[at_byte..];
    let worker = &mut sched.workers[slot];
    let Some(frame) = worker.frames.front_mut() else {
        return Ok(0);
    };
    let most = (frame.end - frame.done) as usize;
    let at = frame.next_index();
    let job = sched.jobs.get_mut(frame.job).filter(|_| frame.wanted);
    let lent = &extras.lending;
    let (mut here, mut elsewhere) = (None, None);
    let taken = match job.map(|job| (job.work.types.decoder(bytes, lent), job)) {
        Some(((read, DecodingThread::Receiving), _)) => {
            let missing = lent.missing(bytes, &mut extras.copies);
            let mut own =
                missing.and_then(|missing| Decoding::new(Default::default(), Some(missing)));
            let (taken, values) =
                scope::decoding(&mut own, || read(bytes, most, DecodingThread::Receiving));
            here = Some(values);
            taken
        }
        Some(((read, DecodingThread::Other), job)) => {
            elsewhere = Some((read, job));
            results::skip(bytes, most)
        }
        None => results::skip(bytes, most),
    };
    if taken.count == 0 {
        return Ok(0);
    }
    if taken.begun > 0 {
        let nanos = sched.epoch.nanos(sched.now);
        worker.control.begun(frame, taken.begun, nanos)?;
    }
    if let Some((read, job)) = elsewhere {
        job.reads(at);
        let (owner, from) = match owner {
            Some(owner) => (owner.clone(), at_byte),
            None => (Arc::new(bytes[..taken.used].to_vec()), 0),
        };
        let reports = job.work.options.on_failed.is_some() || sched.policy.on_failed.is_some();
        sched.chores.push(Chore::Read(Reading {
            job: frame.job,
            result_type: job.result_type(),
            is_deep: false,
            first: at,
            count: taken.count,
            done: 0,
            read,
            decoding: extras.decoding(&owner[from..]),
            bytes: owner,
            at: from,
            sender: Some((slot, extras.hold.clone())),
            piece: reports.then(|| frame.piece.clone()),
        }));
    }
    extras.forget();
    frame.advance(taken.count as u32, sched.now);
    let (id, used) = (frame.job, taken.used);
    let piece = taken.error.is_some().then(|| frame.piece.clone());
    if id != INITIALIZE {
        worker.bears_fruit();
    }
    if let Some(values) = here {
        let part = DecodedPart {
            first: at,
            taken,
            values,
        };
        drop(finish::add_values(sched, id, part, piece));
    }
    finish::settle(sched, slot, 0);
    Ok(used)
}

/// The worker's current item has failed, and the worker lives.
fn item_failed(sched: &mut Sched, slot: SlotId, error: TaskError) -> Result<(), Broken> {
    let item = sched.running(slot).ok_or(Broken)?;
    let worker = &mut sched.workers[slot];
    let frame = worker.frames.front_mut().ok_or(Broken)?;
    let (wanted, piece) = (frame.wanted, frame.piece.clone());
    frame.advance(1, sched.now);
    worker.bears_fruit();
    if item.job == INITIALIZE {
        shutdown::break_down(sched, &error);
    } else if wanted {
        finish::item_error(sched, item, error, Some(piece));
    }
    finish::settle(sched, slot, 0);
    Ok(())
}

/// The worker's current item has ended, and `ran` for longer than it may.
fn item_late(sched: &mut Sched, slot: SlotId, ran: Duration) -> Result<(), Broken> {
    let item = sched.running(slot).ok_or(Broken)?;
    let frame = sched.workers[slot].frames.front().ok_or(Broken)?;
    let job = sched.jobs.get(item.job).filter(|_| frame.wanted);
    let Some(timeout) = job.map(|job| job.work.options.timeout) else {
        return item_failed(sched, slot, TaskError::Cancelled);
    };
    let timeout = timeout.filter(|timeout| *timeout <= ran).ok_or(Broken)?;
    let at = frame.done as usize;
    let piece = frame.piece.part(at, at + 1);
    if !timeouts::times_out(sched, item) {
        let late = Late::call(timeout, ran, sched.workers[slot].pid());
        return item_failed(sched, slot, TaskError::TimedOut(late));
    }
    retry::run_again(sched, item.job, piece);
    let worker = &mut sched.workers[slot];
    worker.bears_fruit();
    if let Some(frame) = worker.frames.front_mut() {
        frame.advance(1, sched.now);
    }
    finish::settle(sched, slot, 0);
    Ok(())
}

fn name_codec_error(sched: &Sched, worker: SlotId, of: CodecOf, detail: String) -> TaskError {
    let job = sched.running(worker);
    let job = job.and_then(|item| sched.jobs.get(item.job));
    let initializer = || {
        let done = sched.workers[worker].served() as usize;
        let initializer = sched.policy.initializers.get(done);
        // The error of a job that has ended is dropped.
        (initializer.map_or("an argument", |one| one.type_name), "()")
    };
    let (argument, result) = job.map_or_else(initializer, |job| (job.work.types.names)());
    let context = job.and_then(|job| job.work.context());
    let argument = match of {
        CodecOf::Result => return codec_error(result, CodecDirection::EncodeResult, detail),
        CodecOf::Argument => argument,
        CodecOf::Context => context.map_or("a context", |context| context.type_name),
    };
    codec_error(argument, CodecDirection::DecodeArgument, detail)
}

fn frame_end(
    sched: &mut Sched,
    slot: SlotId,
    sequence: u64,
    begun: u64,
    nanos: u64,
) -> Result<(), Broken> {
    take_back::give_back(sched, slot, sequence, begun)?;
    let worker = &mut sched.workers[slot];
    let frame = worker.frames.front().ok_or(Broken)?;
    if frame.sequence != sequence || frame.done != frame.end || u64::from(frame.end) != begun {
        return Err(Broken);
    }
    events::answered(worker.pid(), sequence, begun, nanos);
    let (function, id) = (frame.code.function, frame.job);
    let prepares = worker.stage() == Stage::Preparing && id == INITIALIZE;
    worker.has_served(begun);
    worker.spare_for(sequence);
    sched.costs.learn(function, begun, nanos);
    finish::settle(sched, slot, 0);
    let frames = &mut sched.workers[slot].frames;
    let again = frames.front_mut();
    let again = again.and_then(|frame| frame.watch().again.take());
    frames.pop(sched.now);
    if let Some(piece) = again {
        retry::run_again(sched, id, piece);
    }
    if prepares {
        start::prepare(sched, slot);
    }
    Ok(())
}

/// A plain worker reports that the next item of its first frame begins.
fn item_begins(sched: &mut Sched, slot: SlotId) -> Result<(), Broken> {
    let nanos = sched.epoch.nanos(sched.now);
    let worker = &mut sched.workers[slot];
    worker.has_begun(1, nanos)?;
    let front = worker.frames.front().ok_or(Broken)?;
    if !front.wanted && front.job != INITIALIZE {
        cancel::cancel_running(sched, slot, 0);
    }
    Ok(())
}
