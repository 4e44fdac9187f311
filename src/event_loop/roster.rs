//! Live tasks under small numbers, which are used again.
//!
//! An array with the vacant places as a list through it: as the crate `slab` has it, and beside that it can tell
//! the processor which place will be wanted, without reading it. A place takes sixteen bytes, whether it is taken or not.
//!
//! Checked below, and by all of `tests/event_loop/`.

use super::live::Entry;
use crate::sys::prefetch;

#[derive(Default)]
pub(super) struct Roster {
    places: Vec<Place>,
    /// The first vacant place; past the end: none.
    vacant: u32,
    taken: usize,
}

/// More than caches hold close by.
const MANY: usize = 2048;

enum Place {
    Taken(Entry),
    /// The next vacant one.
    Vacant(u32),
}

impl Roster {
    /// The key of the new entry.
    #[inline]
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        self.taken += 1;
        let key = self.vacant;
        match self.places.get_mut(key as usize) {
            Some(place) => {
                if let Place::Vacant(next) = *place {
                    self.vacant = next;
                }
                *place = Place::Taken(entry);
                if self.places.len() > MANY {
                    self.prefetch(self.vacant); // of a burst, vacated in any order
                }
            }
            None => self.grow(entry),
        }
        key
    }

    fn grow(&mut self, entry: Entry) {
        self.places.push(Place::Taken(entry));
        self.vacant = u32::try_from(self.places.len()).expect("fewer than 2^32 tasks");
    }

    #[inline]
    pub(super) fn get(&self, key: u32) -> Option<&Entry> {
        match self.places.get(key as usize)? {
            Place::Taken(entry) => Some(entry),
            Place::Vacant(_) => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut Entry> {
        match self.places.get_mut(key as usize)? {
            Place::Taken(entry) => Some(entry),
            Place::Vacant(_) => None,
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, key: u32) -> Option<Entry> {
        let place = self.places.get_mut(key as usize)?;
        if let Place::Vacant(_) = place {
            return None;
        }
        let taken = std::mem::replace(place, Place::Vacant(self.vacant));
        self.vacant = key;
        self.taken -= 1;
        match taken {
            Place::Taken(entry) => Some(entry),
            Place::Vacant(_) => None,
        }
    }

    /// With their keys, in the order of those.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(key, place)| match place {
            Place::Taken(entry) => Some((key, entry)),
            Place::Vacant(_) => None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// This one will be wanted soon.
    #[inline]
    pub(super) fn prefetch(&self, key: u32) {
        if let Some(place) = self.places.get(key as usize) {
            prefetch::soon(std::ptr::from_ref(place).cast());
        }
    }

    /// Gives memory back, where nobody needs it.
    pub(super) fn shrink(&mut self, capacity: usize) {
        if self.is_empty() && self.places.capacity() > capacity {
            *self = Self::default();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::{self, Runnable};

    fn entry() -> (Entry, Runnable) {
        let (runnable, task) = task::closure(|| (), false);
        task.detach();
        (Entry::new(runnable.task_ref()), runnable)
    }

    #[test]
    fn a_place_takes_sixteen_bytes() {
        assert_eq!(size_of::<Place>(), 16);
    }

    #[test]
    fn numbers_are_used_again() {
        let mut roster = Roster::default();
        let mut entries: Vec<_> = (0..5).map(|_| entry()).collect();
        for (key, (entry, _)) in entries.iter().enumerate() {
            assert_eq!(roster.insert(Entry::new(entry.task.clone())), key as u32);
        }
        for key in [3, 0] {
            let removed = roster.remove(key).unwrap();
            assert!(removed.task.same(&entries[key as usize].0.task));
            assert!(roster.remove(key).is_none() && roster.get(key).is_none());
            assert!(roster.get_mut(key).is_none());
        }
        assert_eq!(roster.len(), 3);
        assert_eq!(
            roster.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            [1, 2, 4]
        );
        for key in [0, 3, 5] {
            roster.prefetch(key);
            assert_eq!(roster.insert(Entry::new(entries[0].0.task.clone())), key);
        }
        for key in 0..6 {
            roster.shrink(0);
            assert!(roster.remove(key).is_some());
        }
        assert!(roster.is_empty());
        roster.shrink(0);
        assert_eq!(roster.insert(entries.pop().unwrap().0), 0);
        entries.drain(..).for_each(|(_, runnable)| {
            runnable.run();
        });
    }
}
