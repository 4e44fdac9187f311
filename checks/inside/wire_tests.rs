//! The protocol's bytes: there and back, cut short, and made up.

use super::*;

#[test]
fn numbers_of_every_size() {
    for shift in 0..64 {
        for number in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(out.len(), width(number), "{number}");
            assert_eq!(Reader(&out).number(), Some(number));
            assert_eq!(Reader(&out[..out.len() - 1]).number(), None);
        }
    }
    assert_eq!(Reader(&[0xff; 10]).long_number(), Err(Broken));
}

#[test]
fn a_prefix_moves_what_is_long() {
    for (left, length) in [0, 1, 127, 128, 300, 20_000]
        .into_iter()
        .flat_map(|n| [(1, n), (2, n), (5, n)])
    {
        let mut out = vec![0; left + length + 9];
        for (index, byte) in out[left..left + length].iter_mut().enumerate() {
            *byte = index as u8;
        }
        let end = prefix(&mut out, 0, left, length);
        let mut reader = Reader(&out[..end]);
        let bytes = reader.bytes().unwrap();
        assert_eq!(bytes.len(), length);
        assert!(
            bytes
                .iter()
                .enumerate()
                .all(|(index, byte)| *byte == index as u8)
        );
        assert!(reader.0.is_empty());
    }
}

fn records() -> Vec<Vec<u8>> {
    vec![
        hello("copy"),
        [value_head(3), b"abc".to_vec()].concat(),
        [value_head(200), vec![7; 200]].concat(),
        panic("oh", Some(("a.rs", 1, 2))),
        panic("oh", None),
        codec(CodecOf::Result, "no"),
        end(1, 2, u64::MAX),
        retire(),
        taken(),
        lent(&[1, 1 << 60, 5]),
    ]
}

#[test]
fn records_come_out_as_they_went_in() {
    let all = records().concat();
    let mut rest = &all[..];
    let mut seen = Vec::new();
    while let Some((record, used)) = Record::decode(rest).unwrap() {
        for end in 0..used {
            assert_eq!(
                Record::decode(&rest[..end]),
                Ok(None),
                "a part is not an error"
            );
        }
        assert_eq!(announced(rest), Some(used));
        seen.push(record);
        rest = &rest[used..];
    }
    assert!(rest.is_empty());
    assert_eq!(seen[0], Record::Hello { copy: b"copy" });
    assert_eq!(seen[1], Record::Value(b"abc"));
    assert_eq!(seen[2], Record::Value(&[7; 200]));
    let place = Some(("a.rs".to_owned(), 1, 2));
    assert_eq!(
        seen[3],
        Record::Panic {
            message: "oh".to_owned(),
            place
        }
    );
    assert_eq!(
        seen[4],
        Record::Panic {
            message: "oh".to_owned(),
            place: None
        }
    );
    assert_eq!(
        seen[5],
        Record::Codec {
            of: CodecOf::Result,
            detail: "no".to_owned()
        }
    );
    assert_eq!(
        seen[6],
        Record::End {
            sequence: 1,
            begun: 2,
            nanos: u64::MAX
        }
    );
    assert_eq!(seen[7], Record::Retire);
    assert_eq!(seen[9], Record::Lent(vec![1, 1 << 60, 5]));
}

#[test]
fn frames_come_out_as_they_went_in() {
    let code = CodeRef {
        trampoline: 5,
        function: 1 << 40,
        check: u64::MAX,
    };
    let items = [1, b'x', 2, b'y', b'z'];
    let batch = BatchHead {
        sequence: 9,
        code,
        count: 2,
        timed: true,
        brief: true,
        ends: true,
        context: 1 << 20,
    };
    let lent = vec![7, 1 << 40, 3];
    let head = batch_head(&batch, &lent, 0..items.len());
    let bytes = [head, items.to_vec()].concat();
    let (frame, used) = Frame::decode(&bytes).unwrap().unwrap();
    let items = &items[..];
    let expected = Frame::Batch { batch, lent, items };
    assert_eq!((frame, used), (expected, bytes.len()));
    assert_eq!(Frame::decode(&bye()), Ok(Some((Frame::Bye, 2))));
    assert_eq!(
        Frame::decode(&forget(300)),
        Ok(Some((Frame::Forget { id: 300 }, 4)))
    );
    let bytes = [context_head(300, 3), b"ctx".to_vec()].concat();
    let context = Frame::Context {
        id: 300,
        bytes: b"ctx",
    };
    assert_eq!(Frame::decode(&bytes), Ok(Some((context, bytes.len()))));
    let bytes = welcome("copy", 77);
    assert!(matches!(
        Frame::decode(&bytes),
        Ok(Some((
            Frame::Welcome {
                copy: b"copy",
                memory: 77,
            },
            _
        )))
    ));
}

/// A small generator: the tests need bytes, not randomness of quality.
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
        if let Ok(Some((frame, used))) = Frame::decode(&bytes) {
            assert!(0 < used && used <= bytes.len());
            if let Frame::Batch { items, .. } = frame {
                let mut reader = Reader(items);
                while reader.bytes().is_some() {}
            }
        }
    }
}

#[test]
fn lengths_have_64_bits() {
    const LARGE: u64 = (4 << 30) + 1;
    let code = CodeRef {
        trampoline: 1,
        function: 2,
        check: 3,
    };
    let batch = BatchHead {
        sequence: 1,
        code,
        count: 1,
        timed: false,
        brief: false,
        ends: false,
        context: 0,
    };
    for head in [
        batch_head(&batch, &[], 0..LARGE as usize),
        context_head(1, LARGE as usize),
        value_head(LARGE as usize),
    ] {
        let all = announced(&head).unwrap() as u64;
        assert!((LARGE..LARGE + 64).contains(&all), "{all}");
        assert_eq!(Frame::decode(&head), Ok(None), "not there yet");
        assert_eq!(Record::decode(&head), Ok(None));
    }
    // And no more than that: what nobody can send is not waited for.
    let endless = [&[1][..], &[0xff; 9], &[1]].concat();
    assert_eq!(Record::decode(&endless), Ok(None));
    assert_eq!(announced(&endless), None);
    let nonsense = [&[1][..], &[0xff; 9], &[2]].concat();
    assert_eq!(Record::decode(&nonsense), Err(Broken));
}
