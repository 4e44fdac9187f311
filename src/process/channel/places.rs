//! How many places a channel has left: counters and marks in memory that all its processes share.
//!
//! **Job.** A channel holds no more items than its capacity. Who sends takes a place before, who has
//! received gives one back; the two counters only grow. A process that is killed between two of these steps
//! leaves them too far apart, and [`mend`](Places::mend) finds out by how much.
//!
//! **Protocol.**
//! 1. Sending: mark a slot with one's own name; take a place (`taken` + 1, if there is one); write the
//!    record; clear the mark. If the record cannot be written, give the place back.
//! 2. Receiving: mark; read a record; give the place back (`freed` + 1); clear the mark.
//! 3. Mending, where the counters say that there is no place: read both; look who has marked; ask the
//!    pipe how many records there are; look again who has marked; each taken place that is neither a
//!    record's nor a living marker's is a dead one's and is given back, unless the counters have moved
//!    meanwhile.
//! 4. Waiting: count oneself in; quiet the bell; look for a place once more; sleep. Who gives a place back
//!    looks afterwards whether anybody is counted, and rings. Counting in and giving back are
//!    each followed by a full fence before the look: one of the two sees the other.
//!
//! Why two looks: whoever sends was marked before he took, so before the counters were read. At the first
//! look he is still marked, or his record is in the pipe. A receiver may since have taken it out: then
//! he was marked before the pipe was asked, and still is at the second look, or he has given the
//! place back, and the counters have moved. Whoever is counted in both ways makes the sum too
//! large, and nothing is mended that should not be.
//!
//! Marks of the dead are cleared by whoever finds them. Should all slots be taken one goes on
//! without: he may be taken for dead if he pauses for long at the wrong moment, and there will be one
//! item more than the capacity, until the channel is empty once.
//!
//! **Invariants.**
//! - **W23** `taken` and `freed` never decrease, and `freed` passes `taken` never.
//! - **W24** While a process is between taking a place and its record, or between a record and giving its
//!   place back, it is marked: as long as it lives, nobody gives that place back for it.
//!
//! **Rejected.** Time alone: who has not moved for ten milliseconds is not dead, on a busy machine. A robust
//! mutex: who is stopped while holding it stops all.
//!
//! Tests: below; `checks/tests/channel_models.rs` (under loom); `tests/process/channel.rs`.

use std::collections::HashMap;

use crate::loom::atomic::{AtomicU64, Ordering, fence};

/// How many places were ever taken.
const TAKEN: usize = 0;
/// How many were given back.
const FREED: usize = 1;
/// How many wait for a place; more than do, if some were killed.
const WAITING: usize = 2;
/// Where the next payload goes; not used here.
pub(super) const TAIL: usize = 3;
/// From here on: who is at it.
pub(super) const MARKS: usize = 8;

/// The counters and marks, wherever they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    words: &'a [AtomicU64],
    capacity: u64,
}

/// The counters, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    taken: u64,
    freed: u64,
}

impl Count {
    /// How many places are taken.
    pub(super) fn held(self) -> u64 {
        self.taken.saturating_sub(self.freed)
    }
}

/// A slot with somebody's name, cleared when dropped.
struct Mark<'a>(Option<&'a AtomicU64>);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(0, Ordering::Release);
        }
    }
}

/// Somebody is counted as waiting until this is dropped.
#[derive(Debug)]
pub(super) struct Waits<'a>(Places<'a>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let less = |count: u64| count.checked_sub(1);
        let waiting = &self.0.words[WAITING];
        let _ = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

impl<'a> Places<'a> {
    pub(super) fn new(words: &'a [AtomicU64], capacity: u64) -> Self {
        Self { words, capacity }
    }

    fn marks(&self) -> &'a [AtomicU64] {
        &self.words[MARKS..]
    }

    pub(super) fn count(&self) -> Count {
        // In this order, so that the difference is not too small.
        let freed = self.words[FREED].load(Ordering::Acquire);
        let taken = self.words[TAKEN].load(Ordering::Acquire);
        Count { taken, freed }
    }

    /// There is no place, by the counters.
    pub(super) fn seem_full(&self) -> bool {
        self.count().held() >= self.capacity
    }

    /// Takes a place and has `write` fill it, as `owner`. `None`: there is no place.
    pub(super) fn send<E>(
        &self,
        owner: u64,
        write: impl FnOnce() -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let mark = self.mark(owner);
        if !self.take() {
            return None;
        }
        let written = write();
        if written.is_err() {
            self.give_back();
        }
        drop(mark);
        Some(written)
    }

    /// Has `read` take something out, and gives its place back, as `owner`.
    pub(super) fn receive<T, E>(
        &self,
        owner: u64,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mark = self.mark(owner);
        let read = read()?;
        self.give_back();
        drop(mark);
        Ok(read)
    }

    /// Writes one's name into a free slot, if there is one.
    fn mark(&self, owner: u64) -> Mark<'a> {
        let marks = self.marks();
        let first = (owner >> 32) as usize * 7;
        let slots = (0..marks.len()).map(|n| &marks[(first + n) % marks.len()]);
        let (yes, no) = (Ordering::AcqRel, Ordering::Relaxed);
        let mut free = slots.filter(|slot| slot.load(Ordering::Relaxed) == 0);
        Mark(free.find(|slot| slot.compare_exchange(0, owner, yes, no).is_ok()))
    }

    fn take(&self) -> bool {
        let take = |taken: u64| {
            let freed = self.words[FREED].load(Ordering::Acquire);
            (taken.saturating_sub(freed) < self.capacity).then(|| taken.wrapping_add(1))
        };
        let word = &self.words[TAKEN];
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    fn give_back(&self) {
        let more = |freed: u64| {
            let taken = self.words[TAKEN].load(Ordering::Acquire);
            (freed < taken).then(|| freed + 1) // not if peers gone wild have written here
        };
        let word = &self.words[FREED];
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Gives back the places of the dead, if the counters are still as they were `then`. `records`: how
    /// many there are in the pipe. `lives`: whether the owner of a mark does. True if there is a place now.
    pub(super) fn mend(
        &self,
        then: Count,
        records: impl FnOnce() -> u64,
        lives: impl Fn(u64) -> bool,
    ) -> bool {
        let mut known = HashMap::new();
        let mut held = vec![false; self.marks().len()];
        self.look(&mut held, &mut known, &lives);
        let records = records();
        self.look(&mut held, &mut known, &lives);
        let accounted = records + held.into_iter().filter(|held| *held).count() as u64;
        let lost = then.held().saturating_sub(accounted);
        if lost == 0 || self.words[TAKEN].load(Ordering::Acquire) != then.taken {
            return false;
        }
        let (yes, no) = (Ordering::AcqRel, Ordering::Acquire);
        let (from, to) = (then.freed, then.freed + lost);
        self.words[FREED]
            .compare_exchange(from, to, yes, no)
            .is_ok()
    }

    /// Who has marked and lives; clears the marks of others.
    fn look(
        &self,
        held: &mut [bool],
        known: &mut HashMap<u64, bool>,
        lives: &impl Fn(u64) -> bool,
    ) {
        for (slot, held) in self.marks().iter().zip(held) {
            let owner = slot.load(Ordering::Acquire);
            if owner == 0 {
                continue;
            }
            if *known.entry(owner).or_insert_with(|| lives(owner)) {
                *held = true;
            } else {
                let (yes, no) = (Ordering::AcqRel, Ordering::Relaxed);
                let _ = slot.compare_exchange(owner, 0, yes, no);
            }
        }
    }

    /// From now on somebody waits for a place. He must look once more before he sleeps.
    pub(super) fn wait(self) -> Waits<'a> {
        self.words[WAITING].fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst); // pairs with the one in `are_awaited`
        Waits(self)
    }

    /// Somebody waits for a place; asked after one has become free.
    pub(super) fn are_awaited(&self) -> bool {
        fence(Ordering::SeqCst); // pairs with the one in `wait`
        self.words[WAITING].load(Ordering::Relaxed) > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn words(marks: usize) -> Vec<AtomicU64> {
        (0..MARKS + marks).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn places_are_as_many_as_the_capacity() {
        let words = words(2);
        let places = Places::new(&words, 2);
        let sent = || places.send(1 << 32, || Ok::<_, ()>(()));
        assert_eq!([sent(), sent(), sent()], [Some(Ok(())), Some(Ok(())), None]);
        assert_eq!(places.receive(1 << 32, || Ok::<_, ()>(5)), Ok(5));
        assert!(places.receive(1 << 32, || Err::<(), _>(())).is_err());
        assert_eq!(places.send(1 << 32, || Err(3)), Some(Err(3)));
        assert_eq!([sent(), sent()], [Some(Ok(())), None]);
        assert!(
            words[MARKS..]
                .iter()
                .all(|mark| mark.load(Ordering::Relaxed) == 0)
        );
        assert_eq!(places.count(), Count { taken: 4, freed: 2 });
    }

    #[test]
    fn only_what_the_dead_have_left_is_mended() {
        let words = words(3);
        let places = Places::new(&words, 3);
        let records = Cell::new(0);
        // One has sent, one has paused before, one has died there.
        assert!(places.send(1 << 32, || Ok::<_, ()>(())).is_some());
        records.set(1);
        let paused = places.mark(2 << 32);
        assert!(places.take() && places.take());
        std::mem::forget(places.mark(3 << 32));
        let lives = |owner| owner != 3 << 32;
        let all_live = |_| true;
        let then = places.count();
        assert_eq!(then.held(), 3);
        assert!(!places.mend(then, || records.get(), all_live));
        assert!(places.mend(then, || records.get(), lives));
        assert_eq!(places.count().held(), 2);
        assert!(!places.mend(then, || records.get(), lives), "it is too old");
        let now = places.count();
        assert!(
            !places.mend(now, || records.get(), lives),
            "nothing is wrong"
        );
        let marks: Vec<u64> = words[MARKS..]
            .iter()
            .map(|w| w.load(Ordering::Relaxed))
            .collect();
        assert_eq!(
            marks.iter().filter(|mark| **mark != 0).count(),
            1,
            "the dead one's is gone"
        );
        drop(paused);
        assert!(places.mend(now, || records.get(), lives));
        assert_eq!(places.count().held(), 1);
    }

    #[test]
    fn without_a_slot_one_goes_on() {
        let words = words(1);
        let places = Places::new(&words, 1);
        let _other = places.mark(1 << 32);
        assert_eq!(places.send(2 << 32, || Ok::<_, ()>(())), Some(Ok(())));
        assert!(places.seem_full());
        words[FREED].store(99, Ordering::Relaxed);
        assert!(!places.seem_full(), "numbers from elsewhere break nothing");
        places.give_back();
        assert_eq!(places.count().held(), 0);
    }
}
