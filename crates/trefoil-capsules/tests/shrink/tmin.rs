//! What a byte-wise minimiser does, as fuzzers have it (AFL's `tmin`): for comparison.

/// The shortest input that this is true of, by AFL's steps: blocks are deleted, each smaller than
/// the last, then each letter of the alphabet, then each byte becomes `0`. And the number of runs,
/// of which there are at most so many; `None` ends it.
pub(crate) fn tmin(
    mut input: Vec<u8>,
    most: usize,
    mut dies: impl FnMut(&[u8]) -> Option<bool>,
) -> (Vec<u8>, usize) {
    let mut runs = 0;
    let attempt = |other: &[u8]| {
        runs += 1;
        if runs > most { None } else { dies(other) }
    };
    let _ = minimise(&mut input, attempt);
    (input, runs.min(most))
}

/// `None`: it was ended.
fn minimise(input: &mut Vec<u8>, mut dies: impl FnMut(&[u8]) -> Option<bool>) -> Option<()> {
    loop {
        let before = input.clone();
        let mut size = (input.len() / 16).next_power_of_two();
        while size > 0 {
            let mut at = 0;
            while at < input.len() {
                let to = input.len().min(at + size);
                let shorter = [&input[..at], &input[to..]].concat();
                if dies(&shorter)? {
                    *input = shorter;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        for letter in 0..=u8::MAX {
            if letter != b'0' && input.contains(&letter) {
                let plain = |byte: &u8| if *byte == letter { b'0' } else { *byte };
                let other: Vec<u8> = input.iter().map(plain).collect();
                if dies(&other)? {
                    *input = other;
                }
            }
        }
        for at in 0..input.len() {
            if input[at] != b'0' {
                let mut other = input.clone();
                other[at] = b'0';
                if dies(&other)? {
                    *input = other;
                }
            }
        }
        if *input == before {
            return Some(());
        }
    }
}
