//! What each record of a worker means, and which break the protocol.
//!
//! A record carries no index: it belongs to the first of its worker's frames, and in that to the
//! next item. A record that does not fit breaks the protocol ([`Broken`]). Its worker is then no
//! longer trusted: the worker's items count as begun, and fail.
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sched;
use super::back_off::StartFailure;
use super::workers::{INITIALIZE, Stage};
use crate::events;
use crate::process::job::reading::{Chore, DecodedPart, Extras, Forked, Reading};
use crate::process::job::results::{self, DecodingThread};
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
        worker: usize,
        bytes: &[u8],
        owner: Option<&Arc<Vec<u8>>>,
        extras: &mut Extras,
        now: Instant,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        loop {
            let values = self.values(worker, (bytes, used), owner, extras, now)?;
            if values > 0 {
                used += values;
                continue;
            }
            let Some((record, length)) = Record::decode(&bytes[used..])? else {
                return Ok(used);
            };
            match record {
                Record::Hello { copy } if copy == image().name().as_bytes() => {
                    self.hello(worker, now);
                }
                Record::Hello { .. } => self.failed_to_start(worker, StartFailure::Foreign, now),
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
                } => self.frame_end(worker, sequence, begun, nanos, now)?,
                Record::Panic { message, place } => {
                    extras.forget(); // what was sent ahead of the result that it failed to send
                    let place =
                        place.map(|(file, line, column)| PanicLocation::new(file, line, column));
                    let name = self.worker_name(worker);
                    self.item_failed(worker, Panic::remote(message, place, name).into(), now)?;
                }
                Record::Codec { of, detail } => {
                    extras.forget();
                    let error = self.codec_error(worker, of, detail);
                    self.item_failed(worker, error, now)?;
                }
                Record::Late { nanos } => {
                    extras.forget();
                    self.item_late(worker, Duration::from_nanos(nanos), now)?;
                }
                Record::Begun => self.item_begins(worker, now)?,
                Record::Recalled { sequence, end } => {
                    self.give_back(worker, sequence, end, now)?;
                }
                Record::Taken => self.on_taken(worker),
                Record::Direct => extras.is_direct = true,
                Record::Event(event) => self.event(worker, &event, extras),
                Record::Tree { text, json } => extras.tree = Some((text.into(), json.into())),
                Record::Retire { asked } => self.worker_retires(worker, asked, now),
                Record::Forked {
                    request,
                    pid,
                    is_final,
                    why,
                } => extras.forked.push(Forked {
                    request,
                    made: if pid > 0 {
                        Ok(pid)
                    } else {
                        Err((why.to_owned(), is_final))
                    },
                }),
            }
            used += length;
        }
    }

    /// Takes the whole events at the front of `bytes`, from a worker's pipe for them, and returns
    /// how many bytes these are.
    pub(crate) fn receive_events(
        &self,
        worker: usize,
        bytes: &[u8],
        extras: &mut Extras,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        while let Some((record, length)) = Record::decode(&bytes[used..])? {
            let Record::Event(event) = record else {
                return Err(Broken);
            };
            self.event(worker, &event, extras);
            used += length;
        }
        Ok(used)
    }

    #[cfg(not(feature = "tracing"))]
    fn event(&self, _: usize, _: &Event<'_>, _: &mut Extras) {}

    /// Passes an event on, with the call that it belongs to.
    #[cfg(feature = "tracing")]
    fn event(&self, worker: usize, event: &Event<'_>, extras: &mut Extras) {
        let Some(events) = &mut extras.events else {
            return;
        };
        let (sequence, begun) = event.at;
        let mut frames = self.workers[worker].frames.iter();
        let frame = frames.find(|frame| frame.sequence == sequence);
        let job = frame.and_then(|frame| Some((frame, self.jobs.get(&frame.job)?)));
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
        &mut self,
        index: usize,
        (whole, at_byte): (&[u8], usize),
        owner: Option<&Arc<Vec<u8>>>,
        extras: &mut Extras,
        now: Instant,
    ) -> Result<usize, Broken> {
        let bytes = &whole[at_byte..];
        let worker = &mut self.workers[index];
        let Some(frame) = worker.frames.front_mut() else {
            return Ok(0);
        };
        let most = (frame.end - frame.done) as usize;
        let at = frame.next_index();
        let job = self.jobs.get_mut(&frame.job).filter(|_| frame.wanted);
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
            let nanos = self.epoch.nanos(now);
            worker.peer.begun(frame, taken.begun, nanos)?;
        }
        if let Some((read, job)) = elsewhere {
            job.reads(at);
            let (owner, from) = match owner {
                Some(owner) => (owner.clone(), at_byte),
                None => (Arc::new(bytes[..taken.used].to_vec()), 0),
            };
            let reports = job.work.options.on_failed.is_some() || self.policy.on_failed.is_some();
            self.chores.push(Chore::Read(Reading {
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
                sender: Some((index, extras.hold.clone())),
                piece: reports.then(|| frame.piece.clone()),
            }));
        }
        extras.forget();
        worker.fruitful |= frame.job != INITIALIZE;
        frame.done += taken.count as u32;
        let (id, used) = (frame.job, taken.used);
        if let Some(values) = here {
            let failed = taken.error.is_some();
            let piece = failed.then(|| frame.piece.clone());
            let part = DecodedPart {
                first: at,
                taken,
                values,
            };
            drop(self.add_values(id, part, piece, now));
        }
        self.settle(index, 0, now);
        Ok(used)
    }

    /// The worker's current item has failed, and the worker lives.
    fn item_failed(&mut self, index: usize, error: TaskError, now: Instant) -> Result<(), Broken> {
        let worker = &mut self.workers[index];
        let frame = worker.frames.front_mut().ok_or(Broken)?;
        if frame.done >= frame.end {
            return Err(Broken);
        }
        let (id, at, wanted) = (frame.job, frame.next_index(), frame.wanted);
        let piece = Some(frame.piece.clone());
        frame.done += 1;
        worker.fruitful = true;
        if id == INITIALIZE {
            self.break_down(&error, now);
        } else if wanted {
            self.item_error(id, at, error, piece, now);
        }
        self.settle(index, 0, now);
        Ok(())
    }

    /// The worker's current item has ended, and `ran` for longer than it may.
    fn item_late(&mut self, index: usize, ran: Duration, now: Instant) -> Result<(), Broken> {
        let frame = self.workers[index].frames.front().ok_or(Broken)?;
        if frame.done >= frame.end {
            return Err(Broken);
        }
        let (id, at, item) = (frame.job, frame.next_index(), frame.done as usize);
        let job = self.jobs.get(&id).filter(|_| frame.wanted);
        let Some(timeout) = job.map(|job| job.work.options.timeout) else {
            return self.item_failed(index, TaskError::Cancelled, now);
        };
        let timeout = timeout.filter(|timeout| *timeout <= ran).ok_or(Broken)?;
        let piece = frame.piece.part(item, item + 1);
        if !self.times_out(id, at) {
            let late = Late::call(timeout, ran, self.workers[index].pid);
            return self.item_failed(index, TaskError::TimedOut(late), now);
        }
        self.run_again(id, piece, now);
        let worker = &mut self.workers[index];
        worker.fruitful = true;
        if let Some(frame) = worker.frames.front_mut() {
            frame.done += 1;
        }
        self.settle(index, 0, now);
        Ok(())
    }

    /// The name of a worker, for messages.
    pub(super) fn worker_name(&self, worker: usize) -> String {
        let pid = self.workers[worker].pid;
        match &self.policy.one_process {
            Some(name) => format!("{name} (process {pid})"),
            None => format!("process {pid}"),
        }
    }

    fn codec_error(&self, worker: usize, of: CodecOf, detail: String) -> TaskError {
        let frame = self.workers[worker].frames.front();
        let job = frame.and_then(|frame| self.jobs.get(&frame.job));
        let initializer = || {
            let done = self.workers[worker].served as usize;
            let initializer = self.policy.initializers.get(done);
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
        &mut self,
        index: usize,
        sequence: u64,
        begun: u64,
        nanos: u64,
        now: Instant,
    ) -> Result<(), Broken> {
        self.give_back(index, sequence, begun, now)?;
        let worker = &mut self.workers[index];
        let frame = worker.frames.front().ok_or(Broken)?;
        if frame.sequence != sequence || frame.done != frame.end || u64::from(frame.end) != begun {
            return Err(Broken);
        }
        events::answered(worker.pid, sequence, begun, nanos);
        worker.served += begun;
        let (function, id) = (frame.function, frame.job);
        let prepares = worker.stage == Stage::Preparing && id == INITIALIZE;
        worker.kill_at.take_if(|(_, frame)| *frame == sequence);
        self.learn_cost(function, begun, nanos);
        self.settle(index, 0, now);
        let again = self.workers[index].frames.front_mut();
        let again = again.and_then(|frame| frame.watch.again.take());
        self.workers[index].pop_frame(now);
        if let Some(piece) = again {
            self.run_again(id, piece, now);
        }
        if prepares {
            self.prepare(index, now);
        }
        Ok(())
    }
}
