//! Writes to standard error.

use std::io::{self, Write};

/// Writes all of `words` to standard error, however long that takes: on a thread that may block.
pub fn write_all(words: &[u8]) -> io::Result<()> {
    write_words(&mut io::stderr(), words)
}

/// Writes `words` to standard error, from a thread that should not block. (No standard error is
/// non-blocking here.)
pub fn write_now(words: &[u8]) {
    let _ = write_all(words);
}

/// Writes all of `words`. A console takes valid UTF-8 only: once it refuses bytes, invalid ones are
/// replaced.
fn write_words(to: &mut impl Write, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        match to.write(words) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => words = &words[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return to.write_all(String::from_utf8_lossy(words).as_bytes());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Takes what `std` lets a console take: a few bytes, whole characters.
    struct Console(String);

    impl Write for Console {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let some = &bytes[..bytes.len().min(8)];
            let whole = match std::str::from_utf8(some) {
                Ok(whole) => whole,
                Err(error) if error.valid_up_to() == 0 => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Err(error) => std::str::from_utf8(&some[..error.valid_up_to()]).unwrap(),
            };
            self.0.push_str(whole);
            Ok(whole.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_that_are_no_characters_lose_none_of_the_others() {
        let mut console = Console(String::new());
        write_words(&mut console, b"nine bytes \xff\xfe and more, \xc3\xa4\n").unwrap();
        assert_eq!(console.0, "nine bytes \u{fffd}\u{fffd} and more, \u{e4}\n");
    }
}
