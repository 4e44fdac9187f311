//! The slots of a pool: those of its places, and those that outside threads borrow.
//!
//! Every search looks at all of them. So there are about as many of the second kind as outside
//! threads take part at once: when all are lent, half as many more are added; when fewer than a
//! quarter are, half of them are removed. So a change of the list, which is copied, is paid by the
//! threads that have come or gone since the last one: N threads cost O(N), where slots do not have
//! to stay. A pool that ends lists none of them any more: its threads see only one another's.
//!
//! - Until then a slot is in the list before it is lent. One that is removed is empty, and stays
//!   so, because nobody has its owner's half any more: a thread with an older copy of the list
//!   misses nothing.
//!
//! Rejected: a slot for each outside thread as long as it lives (most come once); numbers that are
//! indices (a slot that is removed would move the others).

use std::ops::Range;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Mutex, MutexGuard};
use crate::thread::engine::queue::Slots;
use crate::thread::engine::slot::{NO_PLACE, OUTSIDE, OwnedSlot, Slot};

/// So many slots for outside threads are kept.
const KEPT: usize = 8;

pub(in crate::thread) struct SlotList {
    /// The tag of the pool.
    tag: u32,
    /// In the order of their numbers.
    slots: CachePadded<Mutex<Slots<Slot>>>,
    /// How many times the list has changed. Written under its lock.
    version: AtomicUsize,
    outside: CachePadded<Mutex<OutsideSlots>>,
}

/// The slots that outside threads borrow.
#[derive(Default)]
struct OutsideSlots {
    /// Those that are not lent.
    free: Vec<OwnedSlot>,
    /// How many are in the list.
    listed: usize,
    /// How many there have been.
    made: usize,
    /// The pool ends: none is in the list.
    unlisted: bool,
}

/// Makes the new list of the old one.
type MakesList<'a> = dyn Fn(&[Arc<Slot>], &mut Vec<Arc<Slot>>) + 'a;

impl SlotList {
    pub(in crate::thread) fn new(tag: u32) -> Self {
        Self {
            tag,
            slots: CachePadded::new(Mutex::new(Arc::new([]))),
            version: AtomicUsize::new(0),
            outside: CachePadded::default(),
        }
    }

    /// All slots now, in the order of their numbers: first those with places.
    pub(in crate::thread) fn all(&self) -> Slots<Slot> {
        Arc::clone(&self.slots.lock())
    }

    /// A number that changes with the list: a copy that was made after this was read is up to date
    /// as long as it is the same.
    #[inline]
    pub(in crate::thread) fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }

    /// New slots with these places, which follow those that there are.
    pub(in crate::thread) fn add_places(&self, places: Range<usize>) -> Vec<OwnedSlot> {
        self.add(places, |place| place)
    }

    /// A slot for an outside thread.
    pub(in crate::thread) fn take_outside(&self) -> OwnedSlot {
        let mut outside = self.outside.lock();
        match outside.free.pop() {
            Some(free) => free,
            None if outside.unlisted => {
                outside.made += 1;
                OwnedSlot::new(self.tag, OUTSIDE + outside.made - 1, NO_PLACE)
            }
            None => self.add_outside(&mut outside),
        }
    }

    /// From now on the slots of outside threads are not in the list. Returns those that were.
    pub(in crate::thread) fn unlist_outside(&self) -> Vec<Arc<Slot>> {
        let mut outside = self.outside.lock();
        outside.unlisted = true;
        let all = self.all();
        self.change(&|before, changed| changed.extend_from_slice(of_places(before)));
        all[of_places(&all).len()..].to_vec()
    }

    #[cold]
    fn add_outside(&self, outside: &mut OutsideSlots) -> OwnedSlot {
        let more = (outside.listed / 2).max(1);
        let first = OUTSIDE + outside.made;
        let mut new = self.add(first..first + more, |_| NO_PLACE);
        outside.listed += more;
        outside.made += more;
        let taken = new.swap_remove(0);
        outside.free.append(&mut new);
        taken
    }

    /// Gives back what [`take_outside`](Self::take_outside) has lent.
    pub(in crate::thread) fn put_outside(&self, owned: OwnedSlot) {
        let mut outside = self.outside.lock();
        if outside.unlisted && outside.free.len() >= KEPT {
            drop(outside);
            return drop(owned);
        }
        outside.free.push(owned);
        if outside.unlisted {
            return;
        }
        let lent = outside.listed - outside.free.len();
        if outside.listed > KEPT && lent < outside.listed / 4 {
            self.retire_half(outside);
        }
    }

    #[cold]
    fn retire_half(&self, mut outside: MutexGuard<'_, OutsideSlots>) {
        let half = outside.listed / 2;
        let (mut removed, mut at) = (Vec::new(), 0);
        while removed.len() < half
            && let Some(OwnedSlot { slot, .. }) = outside.free.get(at)
        {
            if slot.public.is_empty() && !slot.is_unattended() {
                removed.push(outside.free.swap_remove(at));
            } else {
                at += 1;
            }
        }
        if removed.is_empty() {
            return; // the list is not copied in vain
        }
        outside.listed -= removed.len();
        self.change(&|before, changed| {
            let mut stays = vec![true; before.len()];
            for owned in &removed {
                stays[position(before, owned.slot.number).expect("it is listed")] = false;
            }
            for at in 0..before.len() {
                if stays[at] {
                    changed.push(Arc::clone(&before[at]));
                }
            }
        });
        drop(outside);
        drop(removed);
    }

    /// Adds slots with these numbers, which follow those that there are of the kind, and with these
    /// places.
    fn add(&self, numbers: Range<usize>, place: fn(usize) -> usize) -> Vec<OwnedSlot> {
        let first = numbers.start;
        let mut owned_slots = Vec::with_capacity(numbers.len());
        for number in numbers {
            owned_slots.push(OwnedSlot::new(self.tag, number, place(number)));
        }
        self.change(&|before, changed| {
            let (lower, higher) = before.split_at(count_below(before, first));
            changed.extend_from_slice(lower);
            for owned in &owned_slots {
                changed.push(Arc::clone(&owned.slot));
            }
            changed.extend_from_slice(higher);
        });
        owned_slots
    }

    fn change(&self, change: &MakesList<'_>) {
        let mut slots = self.slots.lock();
        let mut changed = Vec::new();
        change(&slots, &mut changed);
        let before = std::mem::replace(&mut *slots, changed.into());
        self.version.fetch_add(1, Ordering::Release);
        drop(slots);
        drop(before);
    }
}

/// The slots with places: the index of each is its number and its place.
pub(in crate::thread) fn of_places(slots: &[Arc<Slot>]) -> &[Arc<Slot>] {
    &slots[..count_below(slots, OUTSIDE)]
}

/// How many slots have lower numbers than this one.
fn count_below(slots: &[Arc<Slot>], number: usize) -> usize {
    slots.partition_point(|slot| slot.number < number)
}

/// The slot with this number.
pub(in crate::thread) fn numbered(slots: &[Arc<Slot>], number: usize) -> Option<&Arc<Slot>> {
    position(slots, number).map(|at| &slots[at])
}

fn position(slots: &[Arc<Slot>], number: usize) -> Option<usize> {
    let place = count_below(slots, number);
    let is_it = slots.get(place).is_some_and(|slot| slot.number == number);
    is_it.then_some(place)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn len(list: &SlotList) -> usize {
        list.all().len()
    }

    #[test]
    fn after_a_burst_of_outside_threads_few_slots_are_left() {
        let list = SlotList::new(1);
        let _own = list.add_places(0..2);
        let mut lent: Vec<OwnedSlot> = (0..1000).map(|_| list.take_outside()).collect();
        assert!((1002..=1502).contains(&len(&list)), "{}", len(&list));
        // Each change copies the list: in sum no more than some times its length.
        assert!(list.version() < 30, "{} changes", list.version());
        // Those that stay longest may have come at any time.
        for left in [300, 30, 3, 0] {
            while lent.len() > left {
                list.put_outside(lent.swap_remove(lent.len() / 2));
            }
            let most = 2 + (4 * left + 4).max(KEPT);
            assert!(len(&list) <= most, "{} for {left}", len(&list));
            let all = list.all();
            for owned in &lent {
                let found = numbered(&all, owned.slot.number).unwrap();
                assert!(Arc::ptr_eq(found, &owned.slot));
            }
        }
        assert!(list.version() < 60, "{} changes", list.version());
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // threads of the test
    fn thousands_of_threads_that_have_come_and_gone_leave_few_slots() {
        let list = SlotList::new(1);
        for _wave in 0..20 {
            std::thread::scope(|s| {
                for _ in 0..100 {
                    s.spawn(|| list.put_outside(list.take_outside()));
                }
            });
            assert!(len(&list) <= KEPT, "a search looks at {}", len(&list));
        }
    }

    #[test]
    fn slots_that_must_stay_do_not_cost_each_thread_a_copy_of_the_list() {
        let list = SlotList::new(1);
        let lent: Vec<OwnedSlot> = (0..40).map(|_| list.take_outside()).collect();
        for owned in lent {
            owned.local.push_task(crate::task::closure(|| (), false).0);
            list.put_outside(owned);
        }
        let (len, version) = (len(&list), list.version());
        assert!(len >= 40);
        (0..9).for_each(|_| list.put_outside(list.take_outside()));
        assert_eq!(list.version(), version);
        let tasks = list.all();
        let tasks = tasks.iter().filter_map(|slot| slot.public.steal_task());
        tasks.for_each(|task| _ = task.run());
    }

    #[test]
    fn one_outside_thread_after_the_other_uses_the_same_slot() {
        let list = SlotList::new(1);
        for _ in 0..100 {
            let lent = list.take_outside();
            list.put_outside(lent);
        }
        assert_eq!((len(&list), list.version()), (1, 1));
    }

    #[test]
    fn places_come_first_and_a_slot_with_something_in_it_stays() {
        let list = SlotList::new(1);
        let lent: Vec<OwnedSlot> = (0..100).map(|_| list.take_outside()).collect();
        let (runnable, task) = crate::task::closure(|| 7, false);
        let number = lent[0].slot.number;
        lent[0].local.push_task(runnable);
        let _own = list.add_places(0..3);
        lent.into_iter().for_each(|owned| list.put_outside(owned));
        let all = list.all();
        let places = of_places(&all).iter().map(|slot| slot.place());
        assert!(places.eq(0..3));
        let full = numbered(&all, number).unwrap();
        let _ran = full.public.steal_task().unwrap().run();
        assert_eq!(task.join().unwrap(), 7);
    }
}
