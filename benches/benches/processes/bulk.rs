//! Large arguments and results.

use std::hint::black_box;
use std::io::{Read, Write};

use trefoil::{Bulk, Shared};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::ipc::Channel;
use crate::peers;
use crate::pipes::Pipes;
use crate::python;

fn name(size: usize) -> String {
    match (size >> 30, size >> 20) {
        (0, 0) => format!("{} KiB", size >> 10),
        (0, mebi) => format!("{mebi} MiB"),
        (gibi, _) => format!("{gibi} GiB"),
    }
}

fn goals(size: usize) -> &'static [Goal] {
    match size {
        0x1_0000 => &[Goal::AtMost(50e3), Goal::Ahead],
        0x10_0000 => &[Goal::AtMost(300e3), Goal::Ahead],
        _ => &[Goal::AtMost(4e6), Goal::Ahead],
    }
}

/// So many calls a round.
fn calls(bench: &Bench, size: usize) -> u64 {
    let all = bench.pick(1, 16 << 20, 48 << 20);
    (all / size).clamp(1, 1_000) as u64
}

/// `size` bytes through pipes, and back, without a library.
fn bare_pipes(name: &'static str, size: usize, count: u64) -> Entry<'static> {
    let (mut pipes, mut block) = (Pipes::new(size), vec![7_u8; size]);
    Entry::hot(Kind::Floor, name, count, move |count| {
        for _ in 0..count {
            pipes.block(&mut block);
        }
    })
}

/// `size` bytes as an argument, and the same as its result.
pub fn there_and_back(bench: &mut Bench, size: usize) {
    let count = calls(bench, size);
    let bytes = vec![7_u8; size];
    let channel = Channel::new();
    let mut entries = vec![
        Entry::hot(Kind::Ours, "trefoil", count, |count| {
            let mut bulk = Bulk::from(&bytes[..]);
            for _ in 0..count {
                let call = peers::trefoil().spawn(bulk, |bulk: Bulk<u8>| bulk);
                bulk = call.join().expect("it comes back");
            }
            assert_eq!(bulk.len(), size);
        }),
        Entry::hot(Kind::OursToo, "trefoil, changed there", count, |count| {
            let mut bulk = Bulk::from(&bytes[..]);
            for _ in 0..count {
                let change = |mut bulk: Bulk<u8>| {
                    bulk.iter_mut().for_each(|byte| *byte ^= 1);
                    bulk
                };
                bulk = peers::trefoil()
                    .spawn(bulk, change)
                    .join()
                    .expect("it comes back");
            }
            assert_eq!(bulk.len(), size);
        }),
        Entry::hot(Kind::OursToo, peers::PLAIN, count, |count| {
            let mut bulk = Bulk::from(&bytes[..]);
            for _ in 0..count {
                let call = peers::plain().spawn(bulk, |bulk: Bulk<u8>| bulk);
                bulk = call.join().expect("it comes back");
            }
            assert_eq!(bulk.len(), size);
        }),
        Entry::hot(Kind::Peer, "procspawn", count, |count| {
            let mut bytes = bytes.clone();
            for _ in 0..count {
                let call = peers::procspawn().spawn(bytes, |bytes: Vec<u8>| bytes);
                bytes = call.join().expect("it comes back");
            }
            assert_eq!(bytes.len(), size);
        }),
        Entry::hot(Kind::Peer, "ipc-channel by hand", count, |count| {
            let mut bytes = bytes.clone();
            for _ in 0..count {
                bytes = channel.block(&bytes);
            }
            assert_eq!(bytes.len(), size);
        }),
        bare_pipes("bare pipes, 1 MiB buffers", size, count),
    ];
    let pythons = python::all(bench).into_iter();
    entries.extend(pythons.map(|python| python.entry("bulk", size as u64)));
    let measured = bench.measure(bench.few_rounds(), entries);
    let row = format!("{} there and back as `Bulk`", name(size));
    bench.report(Row::new(row, Unit::Us, goals(size)), &measured);
}

/// The same bytes in other ways, without peers.
pub fn ways(bench: &mut Bench) {
    for size in [64 << 10, 1 << 20, 16 << 20] {
        let count = calls(bench, size);
        let numbers: Vec<f64> = (0..size / 8).map(|n| n as f64).collect();
        let shared = Shared::from(&numbers[..]);
        let entries = vec![
            Entry::hot(Kind::Ours, "there, made before each", count, |count| {
                for _ in 0..count {
                    let bulk = Bulk::from(&numbers[..]);
                    let call = peers::trefoil().spawn(bulk, |bulk: Bulk<f64>| bulk[7]);
                    black_box(call.join().expect("it answers"));
                }
            }),
            Entry::hot(Kind::OursToo, "back, made there", count, |count| {
                for _ in 0..count {
                    let make = |len: usize| Bulk::from(vec![1.0; len]);
                    let call = peers::trefoil().spawn(size / 8, make);
                    black_box(call.join().expect("it answers"));
                }
            }),
            Entry::hot(Kind::OursToo, "`Vec` there and back", count, |count| {
                let mut vec = numbers.clone();
                for _ in 0..count {
                    let call = peers::trefoil().spawn(vec, |vec: Vec<f64>| vec);
                    vec = call.join().expect("it comes back");
                }
                black_box(vec);
            }),
            Entry::hot(
                Kind::OursToo,
                "`Shared` there, and looked at",
                count,
                |count| {
                    for _ in 0..count {
                        let look = |s: Shared<f64>| s.iter().step_by(512).sum::<f64>();
                        let call = peers::trefoil().spawn(shared.clone(), look);
                        black_box(call.join().expect("it answers"));
                    }
                },
            ),
        ];
        let measured = bench.measure(bench.few_rounds(), entries);
        let row = format!("{}: `Bulk` there", name(size));
        bench.report(Row::new(row, Unit::Us, &[]).detail(true), &measured);
    }
}

/// Bytes in a `Vec`, as the whole argument and as a part of it.
pub fn bytes(bench: &mut Bench) {
    let size: usize = bench.pick(1 << 10, 1 << 20, 1 << 20);
    let count = calls(bench, size);
    let bytes = vec![7_u8; size];
    let entries = vec![
        Entry::hot(Kind::Ours, "trefoil, in a tuple", count, |count| {
            for n in 0..count {
                let look = |(n, bytes): (u64, Vec<u8>)| n + bytes.len() as u64;
                let call = peers::trefoil().spawn((n, bytes.clone()), look);
                black_box(call.join().expect("it answers"));
            }
        }),
        Entry::hot(Kind::OursToo, "trefoil, the argument", count, |count| {
            for _ in 0..count {
                let look = |bytes: Vec<u8>| bytes.len();
                let call = peers::trefoil().spawn(bytes.clone(), look);
                black_box(call.join().expect("it answers"));
            }
        }),
        Entry::hot(Kind::Peer, "procspawn, in a tuple", count, |count| {
            for n in 0..count {
                let look = |(n, bytes): (u64, Vec<u8>)| n + bytes.len() as u64;
                let call = peers::procspawn().spawn((n, bytes.clone()), look);
                black_box(call.join().expect("it answers"));
            }
        }),
        bare_pipes("bare pipes, there and back", size, count),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    let row = format!("{} there in a `Vec<u8>`", name(size));
    bench.report(Row::new(row, Unit::Us, &[Goal::Ahead]), &measured);
}

/// What is too large to be lent, and is sent ahead through the sockets.
pub fn large(bench: &mut Bench, whole: usize) {
    let size = bench.pick(1 << 20, whole, whole);
    let bytes = vec![7_u8; size];
    let entries = vec![
        Entry::hot(Kind::Ours, "trefoil", 1, |count| {
            for _ in 0..count {
                let bulk = Bulk::from(&bytes[..]);
                let call = peers::trefoil().spawn(bulk, |bulk: Bulk<u8>| bulk.len());
                assert_eq!(call.join().expect("it answers"), size);
            }
        }),
        Entry::hot(Kind::OursToo, "back, made there", 1, |count| {
            for _ in 0..count {
                let call = peers::trefoil().spawn(size, |size| Bulk::from(vec![7_u8; size]));
                assert_eq!(call.join().expect("it comes").len(), size);
            }
        }),
        Entry::hot(Kind::OursToo, peers::PLAIN, 1, |count| {
            for _ in 0..count {
                let bulk = Bulk::from(&bytes[..]);
                let call = peers::plain().spawn(bulk, |bulk: Bulk<u8>| bulk.len());
                assert_eq!(call.join().expect("it answers"), size);
            }
        }),
        Entry::hot(
            Kind::OursToo,
            "plain workers, back, made there",
            1,
            |count| {
                for _ in 0..count {
                    let call = peers::plain().spawn(size, |size| Bulk::from(vec![7_u8; size]));
                    assert_eq!(call.join().expect("it comes").len(), size);
                }
            },
        ),
        Entry::hot(Kind::OursToo, "as a `Vec`", 1, |count| {
            for _ in 0..count {
                let call = peers::trefoil().spawn(bytes.clone(), |bytes: Vec<u8>| bytes.len());
                assert_eq!(call.join().expect("it answers"), size);
            }
        }),
        Entry::hot(
            Kind::Floor,
            "a copy, through a pipe to a thread",
            1,
            |count| {
                for _ in 0..count {
                    assert_eq!(through_a_pipe(bytes.clone()).len(), size);
                }
            },
        ),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    let row = format!("{}: `Bulk` there, made before each", name(whole));
    bench.report(Row::new(row, Unit::Us, &[]), &measured);
}

/// The same bytes in new memory, through a pipe of a mebibyte.
fn through_a_pipe(bytes: Vec<u8>) -> Vec<u8> {
    let (mut from, mut to) = std::io::pipe().expect("there are descriptors");
    let _ = rustix::pipe::fcntl_setpipe_size(&to, 1 << 20);
    let mut copy = vec![0; bytes.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| to.write_all(&bytes).expect("it is read"));
        from.read_exact(&mut copy).expect("it is written");
    });
    copy
}
