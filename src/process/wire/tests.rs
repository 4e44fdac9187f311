//! The protocol's bytes: encoded and decoded, cut short, and invented.

use super::*;
use trefoil_os::host::handover;

#[test]
fn lengths_of_every_size() {
    for length in [0, 1, 127, 128, 254, 255, 300, 1 << 20] {
        let mut out = Vec::new();
        push_length(&mut out, length);
        assert_eq!(out.len(), width(length), "{length}");
        assert_eq!(Reader(&out[..out.len() - 1]).length(), None);
        out.extend(vec![7; length]);
        assert_eq!(Reader(&out[..out.len() - 1]).bytes(), None);
        let mut reader = Reader(&out);
        assert_eq!(reader.bytes(), Some(&vec![7; length][..]));
        assert!(reader.0.is_empty());
    }
}

fn panic(place: Option<(String, u32, u32)>) -> Record<'static> {
    let message = "oh".to_owned();
    Record::Panic { message, place }
}

/// All records except values.
fn messages() -> Vec<Record<'static>> {
    vec![
        Record::Hello { copy: b"copy" },
        Record::Direct,
        Record::Forked(ForkAnswer {
            request: 300,
            pid: 77_000,
            is_final: false,
            why: "no".to_owned(),
        }),
        Record::Tree {
            text: "process 1, 0 tasks",
            json: "{}",
        },
        Record::Event(Event {
            kind: 1,
            at: (3, 300),
            file: "a.rs",
            text: "oh",
            ..Event::default()
        }),
        panic(Some(("a.rs".to_owned(), 1, 2))),
        panic(None),
        Record::Codec {
            of: CodecOf::Result,
            detail: "no".to_owned(),
        },
        Record::End {
            sequence: 1,
            begun: 2,
            nanos: u64::MAX,
        },
        Record::Begun,
        Record::Recalled {
            sequence: 300,
            end: 7,
        },
        Record::Retire { asked: true },
        Record::Heavy,
        Record::Taken,
        Record::Descriptors(vec![7, 300]),
        Record::Lent(vec![[1, 1 << 60, 5]]),
    ]
}

/// A record with a part of a copy.
fn part(bytes: &[u8]) -> Record<'_> {
    let of = CopyHead {
        id: 300,
        length: 1 << 33,
        kind: 14,
    };
    Record::Copy { of, bytes }
}

fn records() -> Vec<Vec<u8>> {
    let values = [vec![7; 3], vec![7; 200]];
    let values = values.map(|value| [value_head(value.len()), value].concat());
    let messages = messages().into_iter().map(|record| record.bytes());
    let copy = [part(&[]).head(4), b"part".to_vec()].concat();
    messages.chain([copy]).chain(values).collect()
}

#[test]
fn records_come_out_as_they_went_in() {
    let all = records().concat();
    let mut rest = &all[..];
    let (mut seen, mut values) = (Vec::new(), Vec::new());
    while let Some(used) = announced(rest).unwrap() {
        for end in 0..used {
            let part = &rest[..end];
            assert_eq!(Record::decode(part), Ok(None), "a part is not an error");
            assert_eq!(value(part), None);
        }
        if let Some((value, length)) = value(rest) {
            assert_eq!(length, used);
            assert_eq!(Record::decode(rest), Err(Broken), "it is no message");
            values.push(value);
        } else {
            let (record, length) = Record::decode(rest).unwrap().unwrap();
            assert_eq!(length, used);
            seen.push(record);
        }
        rest = &rest[used..];
    }
    assert!(rest.is_empty());
    let expected: Vec<_> = messages().into_iter().chain([part(b"part")]).collect();
    assert_eq!(seen, expected);
    assert_eq!(values, [&[7; 3][..], &[7; 200]]);
}

#[test]
fn frames_come_out_as_they_went_in() {
    let code = CodeRef {
        trampoline: 5,
        function: 1 << 40,
    };
    let items = [1, b'x', 2, b'y', b'z'];
    let batch = BatchHead {
        sequence: 9,
        code,
        count: 2,
        limit: 300,
        brief: true,
        ends: true,
        context: 1 << 20,
    };
    let lent = vec![[7, 1 << 40, 3]];
    let frame = |items| Frame::Batch {
        batch,
        lent: lent.clone(),
        items,
    };
    let bytes = [frame(&[]).head(items.len()), items.to_vec()].concat();
    let expected = Ok(Some((frame(&items), bytes.len())));
    assert_eq!(Frame::decode(&bytes), expected);
    let context = |bytes| Frame::Context { id: 300, bytes };
    let bytes = [context(&[]).head(3), b"ctx".to_vec()].concat();
    assert_eq!(
        Frame::decode(&bytes),
        Ok(Some((context(b"ctx"), bytes.len())))
    );
    let of = CopyHead {
        id: 7,
        length: 1 << 40,
        kind: 0,
    };
    let copy = |bytes| Frame::Copy { of, bytes };
    let bytes = [copy(&[]).head(4), b"part".to_vec()].concat();
    assert_eq!(
        Frame::decode(&bytes),
        Ok(Some((copy(b"part"), bytes.len())))
    );
    let (copy, memory) = (&b"copy"[..], 77);
    for frame in [
        Frame::Welcome {
            copy,
            terms: Terms {
                cores: true,
                index: 3,
                memory,
                has_pages: true,
                events: 3,
            },
        },
        Frame::Recall {
            sequence: 300,
            cancel: true,
        },
        Frame::Forget { id: 300 },
        Frame::Descriptors(vec![1, 1 << 40]),
        Frame::Keep(vec![1, 1 << 40]),
        Frame::Release(vec![1, 1 << 40]),
        Frame::Nudge,
        Frame::Home,
        Frame::Tree,
        Frame::Chaos(vec![[1, 2, 3 << 32 | 4]]),
        Frame::Fork(ForkOrder {
            request: 300,
            index: 2,
            captures: true,
            processors: vec![0, 300],
            variables: vec![(b"A".to_vec(), b"\xff".to_vec())],
        }),
        Frame::Bye,
    ] {
        let bytes = frame.head(0);
        assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len()))));
    }
}

/// A small generator: the tests need varied bytes, not good randomness.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn any_bytes_are_survived() {
    let mut seed = 0x5eed_5eed_5eed;
    let valid = records();
    for round in 0..60_000 {
        let mut bytes = if round % 2 == 0 {
            valid[next(&mut seed) as usize % valid.len()].clone()
        } else {
            (0..next(&mut seed) % 40)
                .map(|_| next(&mut seed) as u8)
                .collect()
        };
        for _ in 0..next(&mut seed) % 4 {
            if !bytes.is_empty() {
                let at = next(&mut seed) as usize % bytes.len();
                bytes[at] = next(&mut seed) as u8;
            }
        }
        if let Ok(Some((_, used))) = Record::decode(&bytes) {
            assert!(0 < used && used <= bytes.len());
        }
        if let Some(kind) = bytes.first_mut() {
            *kind = MESSAGE;
        }
        if let Ok(Some((frame, used))) = Frame::decode(&bytes) {
            assert!(0 < used && used <= bytes.len());
            if let Frame::Batch { items, .. } = frame {
                let mut reader = Reader(items);
                while reader.bytes().is_some() {}
            }
        }
    }
}

#[cfg(target_pointer_width = "64")]
#[test]
fn lengths_have_64_bits() {
    const LARGE: u64 = (4 << 30) + 1;
    let code = CodeRef {
        trampoline: 1,
        function: 2,
    };
    let batch = BatchHead {
        sequence: 1,
        code,
        count: 1,
        limit: 0,
        brief: false,
        ends: false,
        context: 0,
    };
    let (lent, items) = (vec![], &[][..]);
    let batch = Frame::Batch { batch, lent, items };
    let context = Frame::Context { id: 1, bytes: &[] };
    for head in [
        batch.head(LARGE as usize),
        context.head(LARGE as usize),
        value_head(LARGE as usize),
    ] {
        let all = announced(&head).unwrap().unwrap() as u64;
        assert!((LARGE..LARGE + 64).contains(&all), "{all}");
        assert_eq!(Record::decode(&head), Ok(None), "not there yet");
    }
}

/// An impossible length is an error at once, whatever else arrives.
#[test]
fn absurd_lengths_are_errors() {
    let forged = |kind: u8, length: u64| [&[kind, LONG][..], &length.to_le_bytes()].concat();
    for kind in [MESSAGE, VALUE] {
        for length in [
            u64::MAX,
            1 << 63,
            i64::MAX as u64,
            LONGEST_FRAME_BYTES as u64 + 1,
        ] {
            let bytes = forged(kind, length);
            assert_eq!(Record::decode(&bytes), Err(Broken), "{length}");
            assert_eq!(Frame::decode(&bytes), Err(Broken));
            assert_eq!(announced(&bytes), Err(Broken));
            for end in 0..bytes.len() {
                assert_eq!(announced(&bytes[..end]), Ok(None), "its head is not there");
                assert_eq!(Record::decode(&bytes[..end]), Ok(None));
            }
        }
        let most = forged(kind, LONGEST_FRAME_BYTES as u64);
        assert_eq!(announced(&most), Ok(Some(LONGEST_FRAME_BYTES + most.len())));
        assert_eq!(Record::decode(&most), Ok(None));
    }
    assert_eq!(announced(&[7, 3]), Err(Broken), "there is no such kind");
}

/// A list takes eight times as much memory as its bytes.
#[test]
fn lists_are_no_longer_than_they_can_mean() {
    for (count, is_valid) in [(1, true), (MOST_LENT, true), (MOST_LENT + 1, false)] {
        let bytes = Record::Lent(vec![[0; 3]; count]).bytes();
        assert_eq!(Record::decode(&bytes).is_ok(), is_valid, "{count}");
    }
    for (count, is_valid) in [
        (handover::MOST_DESCRIPTORS, true),
        (handover::MOST_DESCRIPTORS + 1, false),
    ] {
        let bytes = Record::Descriptors(vec![0; count]).bytes();
        assert_eq!(Record::decode(&bytes).is_ok(), is_valid, "{count}");
    }
}
