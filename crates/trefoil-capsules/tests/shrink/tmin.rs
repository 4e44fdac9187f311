//! What a byte-wise minimiser does, as fuzzers have it (AFL's `tmin`): for comparison.

/// The shortest input that this is true of, by AFL's steps: blocks are deleted, each smaller than
/// the last, then each letter of the alphabet, then each byte becomes `0`. And the number of runs,
/// of which there are at most so many;
/// `None` ends it.
pub(crate) fn tmin(
    mut input: Vec<u8>,
    most: usize,
    mut dies: impl FnMut(&[u8]) -> Option<bool>,
) -> (Vec<u8>, usize) {
    let (mut runs, mut is_over) = (0, false);
    let mut attempt = |input: &mut Vec<u8>, other: Vec<u8>| {
        if is_over || runs >= most || other == *input {
            return (false, runs);
        }
        runs += 1;
        match dies(&other) {
            Some(true) => *input = other,
            Some(false) => return (false, runs),
            None => is_over = true,
        }
        (!is_over, runs)
    };
    loop {
        let before = input.clone();
        let mut size = (input.len() / 16).next_power_of_two().max(1);
        loop {
            let mut at = 0;
            while at < input.len() {
                let to = input.len().min(at + size);
                let shorter = [&input[..at], &input[to..]].concat();
                if !attempt(&mut input, shorter).0 {
                    at += size;
                }
            }
            if size == 1 {
                break;
            }
            size /= 2;
        }
        for letter in 0..=u8::MAX {
            if input.contains(&letter) && letter != b'0' {
                let other = input
                    .iter()
                    .map(|byte| if *byte == letter { b'0' } else { *byte });
                let other = other.collect();
                attempt(&mut input, other);
            }
        }
        for at in 0..input.len() {
            let mut other = input.clone();
            other[at] = b'0';
            attempt(&mut input, other);
        }
        let (_, runs) = attempt(&mut input, before.clone());
        if input == before || runs >= most {
            return (input, runs);
        }
    }
}
