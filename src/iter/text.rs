//! Strings, cut where a character, a line or a word ends.
//!
//! **Job.** A text is divided by bytes, so the number of items is not known in advance.
//!
//! Tests: `tests/iter/sources.rs`.

use std::iter;
use std::marker::PhantomData;

use crate::thread::{Producer, Seal, Shape, Source, source};

/// What a string is split into.
pub(super) trait Reading: Send + Sync {
    /// The items.
    type Item<'s>: Send;
    /// Where the string may be cut, at this byte or behind it.
    fn end(text: &str, at: usize) -> usize;
    /// The iterator of std over them.
    fn read(text: &str) -> impl Iterator<Item = Self::Item<'_>>;
}

/// A string as a parallel iterator over the items that `R` defines.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitText<'s, R> {
    text: &'s str,
    reading: PhantomData<fn() -> R>,
}

impl<'s, R> SplitText<'s, R> {
    pub(super) fn new(text: &'s str) -> Self {
        let reading = PhantomData;
        Self { text, reading }
    }
}

source! {
    ['s, R: Reading] SplitText<'s, R>, R::Item<'s>, Self,
    |this| Self::new(this.text), |_| Shape::unknown()
}

impl<'s, R: Reading> Producer for SplitText<'s, R> {
    type Item = R::Item<'s>;
    fn len(&self) -> usize {
        self.text.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let end = match at.min(self.text.len()) {
            0 => 0,
            at => R::end(self.text, at),
        };
        let (near, far) = self.text.split_at(end);
        (Self::new(near), Self::new(far))
    }
    fn forward(self) -> impl Iterator<Item = R::Item<'s>> {
        R::read(self.text)
    }
    fn backward(self) -> impl Iterator<Item = R::Item<'s>> {
        iter::empty()
    }
}

/// The next end of a character.
fn character(text: &str, at: usize) -> usize {
    let ends = |at: &usize| text.is_char_boundary(*at);
    (at..text.len()).find(ends).unwrap_or(text.len())
}

/// Splits as [`str::chars`] does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chars;

impl Reading for Chars {
    type Item<'s> = char;
    fn end(text: &str, at: usize) -> usize {
        character(text, at)
    }
    fn read(text: &str) -> impl Iterator<Item = char> {
        text.chars()
    }
}

/// Splits as [`str::lines`] does.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitLines;

impl Reading for SplitLines {
    type Item<'s> = &'s str;
    fn end(text: &str, at: usize) -> usize {
        let behind = &text.as_bytes()[at - 1..];
        let newline = behind.iter().position(|byte| *byte == b'\n');
        newline.map_or(text.len(), |newline| at + newline)
    }
    fn read(text: &str) -> impl Iterator<Item = &str> {
        text.lines()
    }
}

/// Splits as [`str::split_whitespace`] does.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitWords;

impl Reading for SplitWords {
    type Item<'s> = &'s str;
    fn end(text: &str, at: usize) -> usize {
        let at = character(text, at);
        let space = text[at..].find(char::is_whitespace);
        space.map_or(text.len(), |space| at + space)
    }
    fn read(text: &str) -> impl Iterator<Item = &str> {
        text.split_whitespace()
    }
}
