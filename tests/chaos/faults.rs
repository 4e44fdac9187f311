//! Ten programs with a fault that only an accident shows: some seed shows each.

use crate::programs::FAULTY;
use crate::support::{Test, tests};
use crate::{run, text};

/// Some of so many seeds finds each fault.
const SEEDS: u64 = 40;

/// With these programs are right that have no fault: with all if `TREFOIL_FULL` is set.
fn some_seeds() -> std::ops::RangeInclusive<u64> {
    let all = std::env::var_os("TREFOIL_FULL").is_some();
    1..=if all { SEEDS } else { 3 }
}

tests! {
    fn some_seed_finds_each_fault() {
        assert_eq!(FAULTY.len(), 10);
        for (name, _) in FAULTY {
            let finds = |seed: &u64| !run(name, Some(&seed.to_string()), false).status.success();
            let found = (1..=SEEDS).find(finds);
            println!("{name}: seed {found:?}");
            assert!(found.is_some(), "{name} passes with {SEEDS} seeds");
        }
    }

    fn without_chaos_there_is_no_fault() {
        for (name, _) in FAULTY {
            for _ in 0..2 {
                let out = run(name, None, false);
                assert!(out.status.success(), "{name}: {}", text(&out.stderr));
            }
        }
    }

    fn what_is_mended_has_no_fault() {
        for (name, _) in FAULTY {
            for seed in some_seeds() {
                let out = run(name, Some(&seed.to_string()), true);
                let told = text(&out.stderr);
                assert!(out.status.success(), "{name} with seed {seed}: {told}");
            }
        }
    }
}
