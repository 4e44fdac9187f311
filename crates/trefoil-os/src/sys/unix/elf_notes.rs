//! The notes of a module in the ELF format: its build id, by which others know what was linked.
//!
//! Tests: below.

const NT_GNU_BUILD_ID: u32 = 3;

/// The build id among the notes of one note segment.
pub(crate) fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    let padded = |n: u32| (n as usize).checked_next_multiple_of(4);
    let word = |notes: &[u8], at| Some(u32::from_ne_bytes(*notes.get(at..)?.first_chunk()?));
    while notes.len() >= 12 {
        let (name, desc, kind) = (word(notes, 0)?, word(notes, 4)?, word(notes, 8)?);
        let desc_at = padded(name)?.checked_add(12)?;
        let id = notes.get(desc_at..desc_at.checked_add(desc as usize)?)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") && !id.is_empty() {
            return Some(id.to_vec());
        }
        notes = notes.get(desc_at.checked_add(padded(desc)?)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_and_broken_notes_survived() {
        let mut note = Vec::new();
        for word in [4u32, 3, 1] {
            note.extend(word.to_ne_bytes());
        }
        note.extend(*b"GNU\0abc\0");
        for word in [4u32, 2, NT_GNU_BUILD_ID] {
            note.extend(word.to_ne_bytes());
        }
        note.extend(*b"GNU\0xy\0\0");
        assert_eq!(build_id(&note).as_deref(), Some(&b"xy"[..]));
        for end in 0..note.len() {
            let _ = build_id(&note[..end]);
        }
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
