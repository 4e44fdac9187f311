//! `map` in worker processes: tiny items, items of 20 µs, and items of a millisecond.

use std::hint::black_box;

use trefoil::ProcessPool;
use trefoil_benches::rows::{Bench, Entry, Kind, Unit};
use trefoil_benches::work::{chain, links_per_us};

use crate::{row, widths};

/// procspawn's pool, which does not end its processes when it is dropped.
struct Procspawn(procspawn::Pool);

impl Drop for Procspawn {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn one(links: u64) -> u64 {
    chain(1, links)
}

fn many(items: Vec<u64>) -> Vec<u64> {
    items.into_iter().map(one).collect()
}

pub fn maps(bench: &mut Bench) {
    let us = links_per_us();
    for (name, us, n) in [
        (
            "of 2·10^6 tiny items",
            0.0,
            bench.pick(100, 200_000, 2_000_000),
        ),
        (
            "of 2,000 items of 20 µs",
            20.0 * us,
            bench.pick(10, 500, 2_000),
        ),
        ("of 64 items of 1 ms", 1e3 * us, bench.pick(4, 32, 64)),
    ] {
        let links = us as u64;
        let items = vec![links; n];
        for workers in widths(bench) {
            let ours = ProcessPool::with_workers(workers).expect("trefoil starts processes");
            let pool = procspawn::Pool::new(workers).expect("procspawn starts processes");
            let theirs = Procspawn(pool);
            // procspawn has no `map`; this is what its users write.
            let chunk = (n / (8 * workers)).clamp(1, 12_500);
            let mut entries = vec![
                Entry::whole(Kind::Ours, "trefoil", n as u64, || {
                    let results = ours.map(items.iter().copied(), one);
                    drop(black_box(results.expect("they answer")));
                }),
                Entry::whole(Kind::Peer, "procspawn, by hand in chunks", n as u64, || {
                    let chunks = items.chunks(chunk);
                    let calls = chunks.map(|items| theirs.0.spawn(items.to_vec(), many));
                    for call in calls.collect::<Vec<_>>() {
                        black_box(call.join().expect("it answers"));
                    }
                }),
            ];
            if links > 0 {
                entries.push(Entry::whole(
                    Kind::Sequential,
                    "sequential",
                    n as u64,
                    || {
                        drop(black_box(many(black_box(items.clone()))));
                    },
                ));
            }
            let measured = bench.measure(bench.pick(1, 3, 5), entries);
            let name = format!("`map` in processes {name}");
            bench.report(row(&name, workers, Unit::Ns), &measured);
        }
    }
}
