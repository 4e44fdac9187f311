//! Calls with a limit that includes waiting, and a web handler that rests on it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support::{Dice, Scratch, Test, forever, note, patient, pool, tests, until};

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use trefoil::sync::Semaphore;
use trefoil::{Late, ProcessPool, Shutdown, Task, TaskError, run};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(600);

fn late<T: std::fmt::Debug>(result: Result<T, TaskError>) -> Late {
    match result {
        Err(TaskError::TimedOut(late)) => late,
        other => panic!("it should be late: {other:?}"),
    }
}

/// A pool whose worker is busy.
fn busy(plain: bool) -> (ProcessPool, Task<()>) {
    let builder = ProcessPool::builder().workers(1);
    let procs = builder.plain_workers(plain).build().unwrap();
    let runs = procs.spawn((), |()| forever());
    until(|| procs.stats().busy == 1);
    (procs, runs)
}

/// A server's pool, and how many requests it takes on at a time.
struct Server {
    procs: ProcessPool,
    places: Semaphore,
}

impl Server {
    fn new(workers: usize, places: usize) -> Self {
        let builder = ProcessPool::builder()
            .workers(workers)
            .grace(Duration::ZERO);
        Self {
            procs: builder.build().unwrap(),
            places: Semaphore::new(places),
        }
    }
}

/// The handler of the guides: what a web server answers.
async fn handle(server: &Server, plugin: &str, item: Duration, whole: Duration) -> u16 {
    let Some(_place) = server.places.try_acquire() else {
        return 503;
    };
    let call = server.procs.call(run_plugin).timeout(item).within(whole);
    match call.spawn(plugin.to_owned()).cancel_on_drop().await {
        Ok(_) => 200,
        Err(TaskError::WorkerDied(_)) => 502,
        Err(TaskError::TimedOut(_)) => 504,
        Err(_) => 500,
    }
}

fn keep_busy(micros: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

fn run_plugin(name: String) -> String {
    match &*name {
        "hangs" => forever(),
        _ => name,
    }
}

/// Whether all answers of a load come at most 100 ms after the limit, and are what they should be.
/// (A machine that does other things, too, may be late. But what lets one wait for another does so
/// each time; so one load of some is enough.)
fn in_time(limit: Duration, load: impl Fn() -> (Duration, bool)) {
    let most = limit + Duration::from_millis(100);
    let mut loads = Vec::new();
    let mut is_good = || {
        let (latest, is_right) = load();
        loads.push((latest, is_right));
        latest <= most && is_right
    };
    assert!((0..20).any(|_| is_good()), "{loads:?}");
}

tests! {
    fn what_has_not_begun_in_time_does_not_run() {
        for plain in [false, true] {
            let (procs, runs) = busy(plain);
            let scratch = Scratch::new("within");
            let call = procs.call(|path: String| note(&path, 1)).within(SHORT);
            for _ in 0..20 {
                let late = late(call.spawn(scratch.text()).join());
                assert_eq!((late.limit(), late.worker()), (Some(SHORT), None));
                let text = "the time is up (limit 50ms from the call)";
                match late.ran() {
                    Some(ran) => {
                        assert_eq!(ran, Duration::ZERO);
                        assert_eq!(late.to_string(), format!("{text}, before it began"));
                    }
                    // (A plain worker that was sent it ahead may begin it before it is asked back.)
                    None => assert!(plain && late.to_string() == text, "{late}"),
                }
            }
            let stats = procs.stats();
            assert_eq!((stats.pending, stats.timed_out, stats.failed), (1, 20, 20));
            assert!(runs.cancel());
            assert_eq!(procs.spawn(7, |n: u64| n).join().unwrap(), 7);
            assert!(scratch.notes().is_empty());
        }
    }

    fn what_runs_then_is_stopped() {
        for plain in [false, true] {
            let builder = ProcessPool::builder().workers(1).grace(Duration::ZERO);
            let procs = builder.plain_workers(plain).build().unwrap();
            let pid = procs.worker_pids();
            let begin = Instant::now();
            let call = procs.call(|()| forever::<()>());
            let late = late(call.timeout(LONG).within(4 * SHORT).spawn(()).join());
            let took = begin.elapsed();
            assert_eq!((late.limit(), late.worker()), (Some(4 * SHORT), pid.first().copied()));
            let ran = late.ran().unwrap();
            assert!(Duration::ZERO < ran && ran <= took && took >= 4 * SHORT, "{late}: {took:?}");
            assert_eq!(procs.spawn(7, |n: u64| n).join().unwrap(), 7);
            assert_eq!((procs.stats().died, procs.stats().timed_out), (1, 1));
        }
    }

    /// Of items that begin at about the moment at which the time is over, no error says that they
    /// did not begin if they did, then or later.
    fn what_is_said_not_to_have_begun_does_not_run() {
        for plain in [false, true] {
            let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
            let scratch = Scratch::new("within-moment");
            let (mut denied, mut unknown, mut dice) = (HashSet::new(), 0, Dice(7));
            // (With gates the moment is short.)
            let rounds = if plain { 600 } else { 3_000 };
            for n in 0..sample(rounds) as u64 {
                let before = procs.spawn(600, keep_busy);
                let limit = Duration::from_micros(500 + dice.roll(400));
                let call = procs.call(|(path, n): (String, u64)| note(&path, n)).within(limit);
                if let Err(TaskError::TimedOut(late)) = call.spawn((scratch.text(), n)).join() {
                    let is_denied = late.ran() == Some(Duration::ZERO);
                    assert_eq!(is_denied, late.to_string().contains("before it began"), "{late}");
                    assert!(!is_denied || late.worker().is_none(), "{late}");
                    denied.extend(is_denied.then_some(n));
                    unknown += u32::from(late.ran().is_none());
                }
                before.join().unwrap();
            }
            procs.shutdown(Shutdown::Wait);
            let ran: HashSet<u64> = scratch.notes().into_iter().collect();
            assert!(ran.is_disjoint(&denied), "{plain}: {:?}", ran.intersection(&denied));
            // (Gates say what has begun; a plain worker's frame may be on its way.)
            assert!(plain || unknown == 0, "{unknown}");
        }
    }

    /// Nothing says of what has run that it had not begun.
    fn what_waits_for_a_retry_has_begun() {
        let procs = pool(1);
        let dies = procs.call(|path: String| -> () { note(&path, 1); std::process::abort() });
        let dies = dies.retry(1).backoff(LONG);
        let mut limit = SHORT;
        loop {
            let scratch = Scratch::new("within-retry");
            let late = late(dies.clone().within(limit).spawn(scratch.text()).join());
            let has_run = !scratch.notes().is_empty();
            match late.ran() {
                None => {
                    assert!(has_run && !late.to_string().contains("before it began"), "{late}");
                    return;
                }
                Some(ran) => assert!(ran > Duration::ZERO || !has_run, "{late}"),
            }
            limit *= 2;
        }
    }

    /// With both limits, the one that is over first counts.
    fn a_timeout_beside_it() {
        let procs = pool(1);
        let call = procs.call(|()| forever::<()>());
        let first = late(call.timeout(SHORT).within(LONG).spawn(()).join());
        assert_eq!(first.limit(), Some(SHORT));
        assert!(!first.to_string().contains("from the call"), "{first}");
    }

    fn no_limit_is_too_short_or_too_long() {
        let procs = pool(2);
        let scratch = Scratch::new("no-time");
        let call = procs.call(|(path, n): (String, u64)| { note(&path, n); n });
        let items = || (0..100).map(|n| (scratch.text(), n));
        let never = call.clone().within(Duration::ZERO);
        for _ in 0..100 {
            late(never.spawn((scratch.text(), 7)).join());
        }
        late(never.map(items()));
        assert!(scratch.notes().is_empty());
        for long in [LONG, Duration::MAX] {
            assert!(call.clone().within(long).map(items()).unwrap().into_iter().eq(0..100));
        }
    }

    /// It limits all attempts together, and the pauses between them.
    fn retries_and_pauses_are_included() {
        let procs = pool(1);
        let dies = procs.call(|()| -> () { std::process::abort() }).retry(1).backoff(LONG);
        let hangs = procs.call(|()| forever::<()>()).timeout(SHORT / 10);
        let hangs = hangs.retry(u32::MAX).retry_on_timeout(true);
        for call in [dies, hangs] {
            // (A limit that was over before the item had run once shows nothing.)
            let (before, mut limit) = (procs.stats().retried, SHORT);
            while procs.stats().retried == before {
                limit *= 2;
                let last = late(call.clone().within(limit).spawn(()).join());
                assert_eq!(last.limit(), Some(limit));
            }
        }
    }

    fn a_map_ends_as_a_whole() {
        let procs = patient(1);
        let second = |n: u64| match n { 1 => forever(), n => n };
        let whole = late(procs.call(second).within(4 * SHORT).map(0..3));
        assert_eq!((whole.item(), whole.ran(), whole.limit()), (None, None, Some(4 * SHORT)));
        assert_eq!(whole.to_string(), "the time is up (limit 200ms from the call)");
        let endless = pool(1);
        late(endless.call(|n: u64| n).within(4 * SHORT).map(0..)); // it takes no more
    }

    /// Each item without a result has the error, with its own index.
    fn the_items_of_an_imap_end_one_by_one() {
        const ITEMS: usize = 40_000;
        let procs = ProcessPool::builder().workers(2).build().unwrap();
        let one = |n: usize| match n { 7 => forever(), n => n };
        // (The others have results long before that.)
        let results = procs.call(one).within(Duration::from_secs(2)).map_each(0..ITEMS);
        assert_eq!(results.len(), ITEMS);
        let mut late_ones = 0;
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Ok(n) => assert_eq!(n, index),
                Err(TaskError::TimedOut(late)) => {
                    assert_eq!((late.item(), late.ran()), (Some(index), None));
                    late_ones += 1;
                }
                Err(other) => panic!("{index}: {other:?}"),
            }
        }
        assert!(late_ones >= 1);
        let mut all = procs.call(|n: u64| n).within(SHORT).imap(0..);
        let end = all.by_ref().find_map(Result::err);
        assert!(matches!(end, Some(TaskError::TimedOut(_))), "{end:?}");
        all.for_each(drop); // it takes no more; what another worker had answered comes yet
    }

    /// Requests that hang, more than there are places, and good ones besides: no
    /// answer is later than the limit, and the good ones that were let in have theirs.
    fn a_web_handler_bounds_its_latency() {
        let limit = Duration::from_secs(1);
        in_time(limit, || {
            let server = &Server::new(2, 10);
            run(async {
                // The item's limit keeps the workers free for those that are let in.
                let all = (0..24).map(async |n| {
                    let begin = Instant::now();
                    let code = match n % 2 {
                        0 => handle(server, "hangs", 2 * SHORT, limit).await,
                        _ => handle(server, "good", LONG, limit).await,
                    };
                    (code, begin.elapsed())
                });
                let all = join_all(all).await;
                let (hang, good): (Vec<_>, Vec<_>) =
                    all.chunks(2).map(|pair| (pair[0].0, pair[1].0)).unzip();
                assert!(hang.iter().all(|code| [503, 504].contains(code)), "{hang:?}");
                assert!(hang.contains(&504) && good.contains(&200), "{hang:?} {good:?}");
                assert!(good.iter().all(|code| [200, 503, 504].contains(code)), "{good:?}");
                until(|| server.procs.stats().pending == 0);
                assert_eq!(handle(server, "good", LONG, LONG).await, 200);
                let latest = all.iter().map(|(_, took)| *took).max().unwrap();
                (latest, !good.contains(&504))
            })
        });
    }

    /// Without a limit for each item: 12 that hang, on 2 workers, would take six times the limit.
    fn the_limit_includes_the_queue() {
        let limit = 10 * SHORT;
        in_time(limit, || {
            let server = &Server::new(2, 12);
            let begin = Instant::now();
            run(async {
                let all = (0..12).map(|_| handle(server, "hangs", limit, limit));
                assert_eq!(join_all(all).await, [504; 12]);
            });
            (begin.elapsed(), true)
        });
    }

    /// A client that leaves frees its place and its worker.
    fn a_handler_that_is_dropped_frees_its_worker() {
        let server = Rc::new(Server::new(1, 1));
        run(async {
            let (own, long) = (server.clone(), LONG);
            let left = trefoil::spawn(async move { handle(&own, "hangs", long, long).await });
            while server.procs.stats().busy == 0 {
                trefoil::time::sleep(Duration::from_millis(1)).await;
            }
            left.cancel();
            drop(left.await); // it has left
            assert_eq!(handle(&server, "good", LONG, LONG).await, 200);
        });
    }
}
