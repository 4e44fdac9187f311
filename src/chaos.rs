//! Accidents on purpose, for the tests of programs: a hook for each thing that can go wrong.
//!
//! **Job.** With the feature `chaos`, and a seed in [`VARIABLE`], worker processes die, answers are
//! late, starts of workers are refused, and threads take other work than they would. Without the
//! feature the hooks are the empty ones below: the compiler leaves nothing of them.
//!
//! **Protocol.** The parent decides which items of a frame are hit, because it knows how often each
//! was started. It sends the worker the plan ahead of the frame (`Frame::Chaos`). The worker kills
//! itself at that place of its protocol, so the item that was to die dies, however fast the machine
//! is; its parent sees a worker that was killed, and nothing else.
//!
//! **Rules.**
//! 1. A decision is a hash of the seed, of its kind, and of numbers that no timing changes: for an
//!    item, the name of the thread that called, and which call of threads with this name it is; its
//!    index, and how often it was started; for a start, the same of its pool, the slot, and which
//!    start of the slot it is; for a thread, its slot and how much it has taken. Threads with
//!    different names count apart. (A test's thread has the test's name.)
//! 2. Programs end: the nth item of a call, the nth call and the nth task of a thread are hit
//!    `OFTEN / n` times as often as the first ones, so a million of them are hit some three times
//!    as often in all as a thousand. No more than two starts of a slot in a row are refused, and
//!    never the first, without which there is no pool.
//! 3. What a worker process makes is left alone: which worker runs an item depends on time.
//!
//! Tests: below; `tests/chaos/faults.rs::some_seed_finds_each_fault`,
//! `tests/chaos/seeds.rs::the_same_value_decides_the_same`.

#[cfg(not(feature = "chaos"))]
pub(crate) use nothing::*;
#[cfg(feature = "chaos")]
#[allow(unused_imports)] // of executors that are left out
pub(crate) use something::*;

use crate::sys::stderr;

/// Whether there are accidents at all.
#[allow(dead_code)] // without worker processes
pub(crate) const ENABLED: bool = cfg!(feature = "chaos");

/// Where the seed is: `TREFOIL_CHAOS=7`, or with probabilities, `TREFOIL_CHAOS=7,kill=0.1,delay=0`.
const VARIABLE: &str = "TREFOIL_CHAOS";

/// The plan of a frame: its number, which of its items, counted from 1, and what happens to it,
/// with a time in microseconds in the lower half.
type Plan = Vec<[u64; 3]>;

/// The value in the environment, if there is one.
fn asked() -> Option<String> {
    let value = std::env::var_os(VARIABLE)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

/// Prints a line, whether or not anybody reads it.
fn say(line: &str) {
    stderr::write_now(format!("trefoil: {VARIABLE}{line}\n").as_bytes());
}

#[cfg(feature = "chaos")]
#[allow(dead_code)] // of executors that are left out
mod something {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::io;
    use std::thread::sleep;
    use std::time::Duration;

    use super::{Plan, VARIABLE, asked, say};
    use crate::loom::{Mutex, per_thread, thread};
    use crate::sys::fork::PerProcess;

    /// So many items of a call, calls of a pool and tasks of a thread are hit with the whole
    /// probability (rule 2).
    const OFTEN: f64 = 64.0;

    /// The longest delay of an answer, and of a thread, in microseconds.
    const LATEST: u64 = 20_000;
    const LONGEST_PAUSE: u64 = 2_000;
    /// How long an item runs at most before it is killed in the middle.
    const LONGEST_LIFE: u64 = 5_000;

    /// What happens to an item. (It is hashed as it is, and so is the kind of a decision.)
    const DIES: u64 = 0;
    const IS_LATE: u64 = 1;
    const HOW: u64 = 2;
    const IS_REFUSED: u64 = 3;
    const LOOKS: u64 = 4;
    const PAUSES: u64 = 5;
    const VICTIMS: u64 = 6;

    /// Where an item dies: before its function is called, while it runs, when it has returned and
    /// nothing of its result was sent, or when that was sent and the next has not begun.
    const BEFORE: u64 = 0;
    const INSIDE: u64 = 1;
    const AFTER: u64 = 2;
    const BETWEEN: u64 = 3;
    /// It lives, and its answer is late.
    const LATE: u64 = 4;

    #[derive(Debug, PartialEq)]
    struct Settings {
        seed: u64,
        kill: f64,
        delay: f64,
        refuse: f64,
        shuffle: f64,
    }

    static SETTINGS: PerProcess<Option<Settings>> = PerProcess::new();

    fn settings() -> Option<&'static Settings> {
        let read = || {
            let text = asked()?;
            let settings = parse(&text);
            match &settings {
                Ok(Settings {
                    seed,
                    kill,
                    delay,
                    refuse,
                    shuffle,
                }) => say(&format!(
                    "={seed},kill={kill},delay={delay},refuse={refuse},shuffle={shuffle}: there \
                     are accidents on purpose, and this value repeats them"
                )),
                Err(why) => say(&format!(" is ignored: {why}")),
            }
            settings.ok()
        };
        SETTINGS.inherit_or_init(read).as_ref()
    }

    fn parse(text: &str) -> Result<Settings, String> {
        let mut parts = text.split(',').map(str::trim);
        let seed = parts.next().unwrap_or_default();
        let mut settings = Settings {
            seed: seed
                .parse()
                .map_err(|_| format!("`{}` is not a seed, a whole number", seed.escape_debug()))?,
            kill: 0.05,
            delay: 0.1,
            refuse: 0.2,
            shuffle: 0.5,
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let place = match name {
                "kill" => &mut settings.kill,
                "delay" => &mut settings.delay,
                "refuse" => &mut settings.refuse,
                "shuffle" => &mut settings.shuffle,
                _ => {
                    let part = part.escape_debug();
                    return Err(format!(
                        "`{part}` is not kill=, delay=, refuse= or shuffle="
                    ));
                }
            };
            let share = value
                .parse()
                .ok()
                .filter(|share| (0.0..=1.0).contains(share));
            *place = share.ok_or_else(|| {
                format!("`{}`: a probability is from 0 to 1", part.escape_debug())
            })?;
        }
        Ok(settings)
    }

    impl Settings {
        /// The hash of a decision of this kind about what these numbers name (rule 1).
        fn decide(&self, kind: u64, name: &[u64]) -> u64 {
            let names = [kind].into_iter().chain(name.iter().copied());
            names.fold(self.seed, |hash, name| {
                let mut x = (hash ^ name).wrapping_add(0x9E37_79B9_7F4A_7C15);
                x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                x ^ (x >> 31)
            })
        }

        fn happens(&self, kind: u64, name: &[u64], probability: f64) -> bool {
            const BITS: u32 = f64::MANTISSA_DIGITS;
            let share = (self.decide(kind, name) >> (u64::BITS - BITS)) as f64;
            share < probability * (1u64 << BITS) as f64
        }

        /// Whether this start of a slot of a pool is refused (rule 2).
        fn refuses(&self, name: [u64; 4]) -> bool {
            !name[3].is_multiple_of(3) && self.happens(IS_REFUSED, &name, self.refuse)
        }
    }

    /// How many times as often as the first the `n`th is hit, counted from 1 (rule 2).
    fn rarely(n: u64) -> f64 {
        (OFTEN / n as f64).min(1.0)
    }

    /// Prints that there will be accidents, or why not.
    pub(crate) fn executor_made() {
        settings();
    }

    /// This process is a worker (rule 3).
    pub(crate) fn in_worker() {
        SETTINGS.inherit_or_init(|| None);
    }

    /// The name of this thread, hashed, and which of the pools or calls of threads with this name
    /// one is, counted from 1.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Number([u64; 2]);

    fn next(kind: usize) -> Number {
        /// How many pools and how many calls the threads with a name have made.
        static MADE: PerProcess<Mutex<HashMap<u64, [u64; 2]>>> = PerProcess::new();
        let thread = thread::current();
        let bytes = thread.name().unwrap_or_default().bytes();
        let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        let name = bytes.fold(0, fold);
        let mut made = MADE.get_or_init(Mutex::default).lock();
        let nth = &mut made.entry(name).or_default()[kind];
        *nth += 1;
        Number([name, *nth])
    }

    pub(crate) fn next_pool() -> Number {
        next(0)
    }

    pub(crate) fn next_call() -> Number {
        next(1)
    }

    /// What decides about a process pool.
    #[derive(Debug)]
    pub(crate) struct Pool {
        number: Number,
        /// How many processes each slot was to have.
        starts: Vec<u64>,
    }

    impl Pool {
        pub(crate) fn new(number: Number, slots: usize) -> Self {
            let starts = vec![0; slots];
            Self { number, starts }
        }

        /// A process for this slot is about to be started.
        pub(crate) fn start(&mut self, slot: usize) -> io::Result<()> {
            let Number([thread, pool]) = self.number;
            if slot >= self.starts.len() {
                self.starts.resize(slot + 1, 0); // the pool has become wider
            }
            let name = [thread, pool, slot as u64, self.starts[slot]];
            self.starts[slot] += 1;
            if settings().is_some_and(|settings| settings.refuses(name)) {
                Err(io::Error::other(format!("{VARIABLE} has refused it")))
            } else {
                Ok(())
            }
        }

        /// What happens to the items of a call from the index `first` on, which a worker gets as
        /// its frame `sequence`; `starts` says how often one was started before.
        pub(crate) fn plan(
            &self,
            Number([caller, call]): Number,
            sequence: u64,
            (first, count): (usize, usize),
            starts: impl Fn(usize) -> u64,
        ) -> Option<Plan> {
            let settings = settings()?;
            let mut plan = Vec::new();
            for (at, nth) in (first..).zip(1..=count as u64) {
                let name = [caller, call, at as u64, starts(at)];
                let share = rarely(call) * rarely(at as u64 + 1);
                let how = settings.decide(HOW, &name);
                let mut add = |what: u64, micros| plan.push([sequence, nth, what << 32 | micros]);
                if settings.happens(IS_LATE, &name, settings.delay * share) {
                    add(LATE, how % LATEST);
                }
                if settings.happens(DIES, &name, settings.kill * share) {
                    add(how >> 62, how % LONGEST_LIFE);
                }
            }
            (!plan.is_empty()).then_some(plan)
        }
    }

    per_thread! {
        /// In a worker: what is left of the plan of the frame that runs.
        static PLAN: RefCell<Plan> = RefCell::new(Vec::new());
    }

    pub(crate) fn planned(plan: Plan) {
        PLAN.with(|own| *own.borrow_mut() = plan);
    }

    /// Takes `what` out of the plan, if this item of this frame has it: for how long.
    fn takes(item: (u64, u64), what: u64) -> Option<Duration> {
        PLAN.with(|own| {
            let mut plan = own.borrow_mut();
            let is_it =
                |&[sequence, nth, fault]: &[u64; 3]| (sequence, nth) == item && fault >> 32 == what;
            let at = plan.iter().position(is_it)?;
            let [.., fault] = plan.swap_remove(at);
            Some(Duration::from_micros(fault & u64::from(u32::MAX)))
        })
    }

    /// In a worker: the item of this frame and place begins, and its function has not been called.
    pub(crate) fn begins(sequence: u64, nth: u64) {
        if takes((sequence, nth), BEFORE).is_some() {
            die();
        }
        if let Some(life) = takes((sequence, nth), INSIDE) {
            // (If the item is faster, or there is no thread, it dies at its end.)
            PLAN.with(|own| own.borrow_mut().push([sequence, nth, AFTER << 32]));
            let killer = thread::Builder::new().name("trefoil-chaos".to_owned());
            let _ = killer.spawn(move || {
                sleep(life);
                die();
            });
        }
    }

    /// Its function has returned; nothing of its answer was sent.
    pub(crate) fn returned(sequence: u64, nth: u64) {
        if let Some(delay) = takes((sequence, nth), LATE) {
            sleep(delay);
        }
        if takes((sequence, nth), AFTER).is_some() {
            die();
        }
    }

    /// Its answer counts once `send` has been called; the next item has not begun.
    pub(crate) fn answered(sequence: u64, nth: u64, send: impl FnOnce()) {
        if takes((sequence, nth), BETWEEN).is_some() {
            send();
            die();
        }
    }

    /// Ends this process as if another had killed it.
    fn die() -> ! {
        #[cfg(feature = "processes")]
        trefoil_os::host::worker::end_all();
        #[cfg(not(feature = "processes"))]
        unreachable!("there are no workers")
    }

    /// Where a thread's random victims begin.
    pub(crate) fn victims(slot: usize) -> u32 {
        settings().map_or(0, |settings| {
            settings.decide(VICTIMS, &[slot as u64]) as u32
        })
    }

    /// Where the thread in this slot begins to look for more, if not where it would.
    pub(crate) fn looks(slot: usize, taken: impl Fn() -> u64) -> Option<u64> {
        let (settings, name) = (settings()?, [slot as u64, taken()]);
        let odd = settings.happens(LOOKS, &name, settings.shuffle);
        odd.then(|| settings.decide(HOW, &name))
    }

    /// The thread in this slot is about to run what it has found.
    pub(crate) fn took(slot: usize, taken: impl Fn() -> u64) {
        let Some(settings) = settings() else { return };
        let name = [slot as u64, taken()];
        let share = rarely(name[1] + 1);
        if settings.happens(PAUSES, &name, settings.delay * share) {
            sleep(Duration::from_micros(
                settings.decide(HOW, &name) % LONGEST_PAUSE,
            ));
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn seeded(seed: u64) -> Settings {
            parse(&seed.to_string()).unwrap()
        }

        #[test]
        fn a_value_is_read_or_the_error_says_why_not() {
            let all = parse("7, kill=0.25,delay=0,refuse=1,shuffle=0.5").unwrap();
            let [kill, delay, refuse, shuffle] = [0.25, 0.0, 1.0, 0.5];
            let seed = 7;
            assert_eq!(
                all,
                Settings {
                    seed,
                    kill,
                    delay,
                    refuse,
                    shuffle
                }
            );
            assert_eq!(
                seeded(7),
                Settings {
                    seed,
                    kill: 0.05,
                    delay: 0.1,
                    refuse: 0.2,
                    shuffle
                }
            );
            for (bad, why) in [
                ("x", "`x` is not a seed"),
                ("-1", "`-1` is not a seed"),
                ("1,kil=0", "`kil=0` is not kill="),
                ("1,", "`` is not kill="),
                ("1,kill", "`kill`: a probability"),
                ("1,kill=2", "`kill=2`: a probability"),
                ("1,delay=NaN", "`delay=NaN`: a probability"),
            ] {
                let error = parse(bad).unwrap_err();
                assert!(error.starts_with(why), "{bad}: {error}");
            }
        }

        #[test]
        fn decisions_follow_from_the_seed_and_the_numbers() {
            let hits = |seed, call| -> Vec<u64> {
                let name = |at| [1, call, at, 0];
                let hit = |at: &u64| seeded(seed).happens(DIES, &name(*at), 0.1);
                (0..10_000).filter(hit).collect()
            };
            assert_eq!(hits(1, 1), hits(1, 1));
            assert!(
                (800..1200).contains(&hits(1, 1).len()),
                "{}",
                hits(1, 1).len()
            );
            assert_ne!(hits(1, 1), hits(2, 1));
            assert_ne!(hits(1, 1), hits(1, 2));
            let settings = seeded(1);
            assert!((0..1000).all(|at| settings.happens(DIES, &[at], 1.0)));
            assert!((0..1000).all(|at| !settings.happens(DIES, &[at], 0.0)));
            let always = Settings {
                refuse: 1.0,
                ..settings
            };
            let refused: Vec<u64> = (0..7)
                .filter(|start| always.refuses([0, 1, 0, *start]))
                .collect();
            assert_eq!(refused, [1, 2, 4, 5]);
        }
    }
}

#[cfg(not(feature = "chaos"))]
#[allow(dead_code)] // of executors that are left out
mod nothing {
    use std::io;
    use std::sync::atomic::{AtomicBool as Hint, Ordering}; // no protocol

    use super::{Plan, asked, say};

    /// Says once that nothing goes wrong on purpose, although the environment asks for that.
    #[allow(clippy::disallowed_types)] // no protocol depends on it
    pub(crate) fn executor_made() {
        static ASKED: Hint = Hint::new(false);
        if !ASKED.swap(true, Ordering::Relaxed) && asked().is_some() {
            say(" is ignored: the program is built without the feature `chaos`");
        }
    }

    #[inline(always)]
    pub(crate) fn in_worker() {}

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Number(());

    #[inline(always)]
    pub(crate) fn next_pool() -> Number {
        Number(())
    }

    #[inline(always)]
    pub(crate) fn next_call() -> Number {
        Number(())
    }

    #[derive(Debug)]
    pub(crate) struct Pool(());

    impl Pool {
        #[inline(always)]
        pub(crate) fn new(_: Number, _: usize) -> Self {
            Self(())
        }

        #[inline(always)]
        pub(crate) fn start(&mut self, _: usize) -> io::Result<()> {
            Ok(())
        }

        #[inline(always)]
        pub(crate) fn plan(
            &self,
            _: Number,
            _: u64,
            _: (usize, usize),
            _: impl Fn(usize) -> u64,
        ) -> Option<Plan> {
            None
        }
    }

    #[inline(always)]
    pub(crate) fn planned(_: Plan) {}

    #[inline(always)]
    pub(crate) fn begins(_: u64, _: u64) {}

    #[inline(always)]
    pub(crate) fn returned(_: u64, _: u64) {}

    #[inline(always)]
    pub(crate) fn answered(_: u64, _: u64, _: impl FnOnce()) {}

    #[inline(always)]
    pub(crate) fn victims(_: usize) -> u32 {
        0
    }

    #[inline(always)]
    pub(crate) fn looks(_: usize, _: impl Fn() -> u64) -> Option<u64> {
        None
    }

    #[inline(always)]
    pub(crate) fn took(_: usize, _: impl Fn() -> u64) {}
}
