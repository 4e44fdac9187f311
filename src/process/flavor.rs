//! Where the codec writes: the end of a vector, or the front of a slice.
//!
//! **Job.** The codec hands over numbers as words (`encoder`), of which both outputs here store all eight bytes and keep
//! those that count; and texts and the like as slices, of which short ones are copied byte by byte, which costs a
//! cycle for each.
//!
//! **Rejected.** The codec's own outputs: a call of `memcpy` for three bytes costs more than all the rest of
//! encoding them.
//!
//! Tests: below; every test that sends something.

use postcard::ser_flavors::Flavor;

use super::baggage;
use super::encoder::Out;
use crate::sys::{large_pages, room};

/// Slices from this length on are copied by `memcpy`.
const LONG: usize = 16;

/// Pieces of this size are not copied before it is known that there is room.
const LARGE: usize = 64 << 20;

/// The end of a vector.
pub(crate) struct Tail<'a> {
    out: &'a mut Vec<u8>,
    asks: bool,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, asks: false }
    }

    /// Asks for room before a large piece: what does not fit is an error.
    pub(crate) fn careful(out: &'a mut Vec<u8>) -> Self {
        Self { out, asks: true }
    }

    /// Room for so many bytes more: here once, and in the worker as often again, if it comes to that.
    #[cold]
    fn large(&mut self, length: usize) -> postcard::Result<()> {
        let refused = |words: &str| {
            baggage::said(&format!("{length} bytes of it in one piece: {words}"));
            postcard::Error::SerializeBufferFull
        };
        room::find(length).map_err(|error| refused(&error.to_string()))?;
        let reserved = self.out.try_reserve(length);
        reserved.map_err(|error| refused(&error.to_string()))
    }
}

impl Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.out.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() >= LONG {
            if self.asks && bytes.len() >= LARGE {
                self.large(bytes.len())?;
            }
            self.out.reserve(bytes.len());
            large_pages::advise(self.out);
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        for byte in bytes {
            self.out.push(*byte);
        }
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Out for Tail<'_> {
    fn position(&self) -> usize {
        self.out.len()
    }

    #[inline]
    fn some(&mut self, word: [u8; 8], length: usize) -> postcard::Result<()> {
        let end = self.out.len() + length;
        self.out.extend_from_slice(&word);
        self.out.truncate(end);
        Ok(())
    }
}

/// The front of a slice; gives how much was written.
pub(crate) struct Front<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Front<'a> {
    #[inline]
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }
}

impl Flavor for Front<'_> {
    type Output = usize;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let place = self.out.get_mut(self.at);
        *place.ok_or(postcard::Error::SerializeBufferFull)? = byte;
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() >= LONG {
            let room = self.out.get_mut(self.at..);
            let room = room.and_then(|room| room.get_mut(..bytes.len()));
            let room = room.ok_or(postcard::Error::SerializeBufferFull)?;
            room.copy_from_slice(bytes);
            self.at += bytes.len();
            return Ok(());
        }
        for byte in bytes {
            self.try_push(*byte)?;
        }
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.at)
    }
}

impl Out for Front<'_> {
    fn position(&self) -> usize {
        self.at
    }

    #[inline]
    fn some(&mut self, word: [u8; 8], length: usize) -> postcard::Result<()> {
        let room = self.out.get_mut(self.at..);
        let Some(room) = room.and_then(<[u8]>::first_chunk_mut) else {
            return self.try_extend(&word[..length]);
        };
        *room = word;
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_whole() {
        let bytes: Vec<u8> = (1..=40).collect();
        for length in 0..bytes.len() {
            let from = &bytes[..length];
            let mut vec = vec![99];
            Tail::new(&mut vec).try_extend(from).unwrap();
            assert_eq!((vec[0], &vec[1..]), (99, from));
            let mut room = [0; 64];
            let mut front = Front::new(&mut room[..length + 1]);
            front.try_push(99).unwrap();
            front.try_extend(from).unwrap();
            assert!(front.try_push(1).is_err(), "it is full");
            assert_eq!(front.finalize(), Ok(length + 1));
            assert_eq!((room[0], &room[1..=length]), (99, from));
            assert!(room[length + 1..].iter().all(|byte| *byte == 0));
            let mut short = Front::new(&mut room[..length]);
            assert!(short.try_extend(&bytes[..=length]).is_err());
            assert!(short.finalize().unwrap() <= length);
        }
    }
}
