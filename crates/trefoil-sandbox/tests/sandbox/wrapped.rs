//! Command lines: what they must have, and what they pass on. (That a pool keeps its promises
//! behind them: `tests/process/launcher.rs` of trefoil.)

use crate::support::{Test, tests};

use std::io;
use std::time::Duration;

use trefoil::process::launch::{Capabilities, Launched, Launcher, Program};
use trefoil::{PoolError, ProcessPool, ProcessPoolBuilder, Task};
use trefoil_sandbox::Wrapped;

/// The variables that limit the threads of libraries.
const THREADS: [&str; 5] = [
    "TREFOIL_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
];

/// A command line for a number of workers that follows the work, up to this one.
#[derive(Debug)]
struct Elastic(Wrapped, usize);

impl Launcher for Elastic {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let _own = self.0.prepare(program)?;
        Ok(Capabilities::slots(self.1).elastic(0, Duration::from_secs(9)))
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        self.0.start(index)
    }
}

tests! {
    fn what_cannot_be_is_an_error_that_says_so() {
        let refused = |builder: ProcessPoolBuilder| builder.build().unwrap_err().to_string();
        let wrapped = |words: &[&str]| ProcessPool::builder().launcher(Wrapped::new(words.to_vec()));
        let empty = refused(wrapped(&[]));
        assert!(empty.contains("empty"), "{empty}");
        let none = refused(wrapped(&["env", "exe"]));
        assert!(none.contains("`{exe}`"), "{none}");
        let missing = refused(wrapped(&["no-such-sandbox", "{exe}"]));
        assert!(missing.contains("`no-such-sandbox`") && missing.contains("install"), "{missing}");
        let half = refused(wrapped(&["env", "{env}", "{exe}"]));
        assert!(half.contains("env_option"), "{half}");
    }

    fn the_environment_is_passed_on_in_each_way() {
        let see = |launcher: Wrapped| {
            let procs = ProcessPool::builder().launcher(launcher).workers(1).env("A_B", "b c='");
            let procs = procs.threads_per_worker(None).build().unwrap();
            let see = |()| ["A_B", "PATH"].map(|name| std::env::var(name).ok());
            procs.spawn((), see).join().unwrap()
        };
        let [set, path] = see(Wrapped::new(["env", "{exe}"]));
        assert!(set.as_deref() == Some("b c='") && path.is_some());
        let [set, path] = see(Wrapped::new(["env", "-i", "{env}", "{exe}"]).env_option(""));
        assert!(set.as_deref() == Some("b c='") && path.is_none());
        let script = r#"shift; first=$1; shift 2; exec env -i "$first" "$@""#;
        let words = ["sh", "-c", script, "sh", "{env}", "{exe}"];
        let [set, path] = see(Wrapped::new(words).env_option("-e"));
        assert!(set.as_deref() == Some("b c='") && path.is_none());
    }

    fn the_limits_of_threads_are_passed_on_in_each_way() {
        let processors = std::thread::available_parallelism().unwrap().get();
        let see = |pool: ProcessPoolBuilder| {
            let pool = pool.env("MKL_NUM_THREADS", "m").build().unwrap();
            pool.spawn((), |()| THREADS.map(|name| std::env::var(name).ok())).join().unwrap()
        };
        // Those that this process has are the worker's, too.
        let own = |name: &str, otherwise: usize| {
            Some(std::env::var(name).unwrap_or_else(|_| otherwise.to_string()))
        };
        let passes = || Wrapped::new(["env", "{exe}"]);
        let clears = || Wrapped::new(["env", "-i", "{env}", "{exe}"]).env_option("");
        for launcher in [passes, clears] {
            for workers in [1, 2, processors + 1] {
                // The workers are started one by one, when there is work.
                let pool = ProcessPool::builder().launcher(Elastic(launcher(), processors + 1));
                let seen = see(pool.workers(workers));
                let expected = THREADS.map(|name| own(name, (processors / workers).max(1)));
                assert_eq!(seen[..4], expected[..4], "{workers}");
                assert_eq!(seen[4].as_deref(), Some("m"));
            }
            let pool = || ProcessPool::builder().launcher(launcher());
            let seen = see(pool().leave_free(processors)); // one worker
            assert_eq!(seen[0], own(THREADS[0], processors));
            let seen = see(pool().workers(1).threads_per_worker(Some(7)));
            assert_eq!(seen.map(|value| value.unwrap()), ["7", "7", "7", "7", "m"]);
        }
        let pool = ProcessPool::builder().launcher(clears()).workers(1).threads_per_worker(None);
        assert_eq!(see(pool)[..4], [const { None }; 4]);
    }
}
