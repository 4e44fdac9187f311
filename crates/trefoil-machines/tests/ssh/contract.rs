//! What a pool promises, with workers on other machines.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::process::Signal;
use trefoil::process::{WorkerStdout, channel};
use trefoil::{
    Bulk, CancelToken, PoolError, ProcessPool, Shared, SharedAtomics, Shutdown, TaskError,
    TaskGroup, WorkerExit, race,
};

use crate::cluster::{Cluster, clusters};
use crate::support::{self, Test, forever, signal, tests, until};

/// The variable that tells a helper process what to do, and with which cluster.
const CLUSTER: &str = "TREFOIL_TEST_CLUSTER";

pub(crate) fn helpers() {
    support::helper(&[("driver", driver)]);
}

/// Has two running workers there, and prints their process ids; then prints the sum of a third
/// call.
fn driver() {
    let cluster = std::env::var(CLUSTER).unwrap();
    let cluster = Path::new(&cluster);
    let ssh = trefoil_machines::Ssh::hosts(["node1:3"]).directory(cluster.join("cache"));
    let config = cluster.join("config");
    let ssh = match config.exists() {
        true => ssh.config(config),
        false => ssh.client(cluster.join("ssh")),
    };
    let procs = ProcessPool::builder().launcher(ssh).build().unwrap();
    let pids = cluster.join("pids").display().to_string();
    std::fs::write(&pids, "").unwrap();
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            procs.spawn(pids.clone(), |pids: String| -> u32 {
                // A child of a task ends with its worker.
                #[allow(clippy::zombie_processes)]
                let child = Command::new("sleep").arg("1000").spawn().unwrap();
                support::note(&pids, u64::from(child.id()));
                support::note(&pids, u64::from(std::process::id()));
                forever()
            })
        })
        .collect();
    let items = (0..200u64).map(|n| (n, cluster.display().to_string()));
    let sum: u64 = procs.map(items, one_waits).unwrap().into_iter().sum();
    println!("{sum}");
    drop(tasks);
}

/// One of the items notes that it runs, and waits until the test lets it go on.
fn one_waits((n, cluster): (u64, String)) -> u64 {
    if n == 50 {
        let at = |name: &str| Path::new(&cluster).join(name);
        std::fs::write(at("runs"), "").unwrap();
        until(|| at("go-on").exists());
        std::fs::write(at("ran"), "").unwrap();
    }
    n
}

fn slowly(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(5)); // work
    n
}

fn start_driver(cluster: &Cluster) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(support::HELPER, "driver")
        .env(CLUSTER, &cluster.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The processes that run for the driver.
fn under_way(cluster: &Cluster) -> Vec<u32> {
    let path = cluster.directory.join("pids");
    until(|| std::fs::read(&path).is_ok_and(|pids| pids.len() == 4 * 8));
    let pids = std::fs::read(&path).unwrap();
    let pids = pids
        .chunks_exact(8)
        .map(|pid| u64::from_ne_bytes(pid.try_into().unwrap()));
    pids.map(|pid| u32::try_from(pid).unwrap()).collect()
}

/// Whether the process exists and is not a zombie.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn death<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => {
            assert!(exit.to_string().contains("node1"), "{exit}");
            *exit
        }
        other => panic!("{other:?}"),
    }
}

fn is_told<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    let error = result.expect_err("it has travelled");
    assert!(matches!(error, TaskError::Codec(_)), "{error:?}");
    assert!(error.to_string().contains("other machines"), "{error}");
}

tests! {
    fn calls_run_there_on_as_many_workers_as_were_asked_for() {
        for cluster in clusters() {
            let procs = cluster.builder(&["node1:2", "node2:1"]).build().unwrap();
            assert_eq!(procs.num_workers(), 3);
            let squares = procs.map(0..5000u64, |n| n * n).unwrap();
            assert!(squares.iter().enumerate().all(|(n, square)| *square == (n * n) as u64), "{}", cluster.name);
            assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
            assert_eq!(procs.imap(0..100u64, |n| n).map(Result::unwrap).sum::<u64>(), 4950);
            let parents = procs.map(0..9, |_: u32| rustix::process::getppid().unwrap().as_raw_pid()).unwrap();
            assert!(parents.iter().all(|parent| *parent != std::process::id() as i32), "they are shells' children");
            until(|| procs.worker_pids().len() == 3);
            let stats = procs.stats();
            assert_eq!((stats.started, stats.workers), (3, 3), "{stats:?}");
            let mut group = TaskGroup::new();
            for n in 0..20 {
                group.add(procs.spawn(n, |n: u64| n));
            }
            assert!(group.try_join_all().join().unwrap().into_iter().eq(0..20), "{}", cluster.name);
            let never = procs.spawn((), |()| -> u64 { forever() });
            assert_eq!(race([never, procs.spawn(6, |n: u64| n)]).join().unwrap(), 6, "{}", cluster.name);
        }
    }

    fn as_many_as_there_are_processors() {
        let cluster = Cluster::stand_in();
        let procs = cluster.builder(&["node1"]).build().unwrap();
        let there = Command::new("getconf").arg("_NPROCESSORS_ONLN").output().unwrap();
        let there = String::from_utf8(there.stdout).unwrap();
        assert_eq!(procs.num_workers(), there.trim().parse::<usize>().unwrap());
    }

    fn more_workers_than_sshd_takes_connections_at_once() {
        for cluster in clusters() {
            let procs = cluster.builder(&["node1:14"]).build().unwrap();
            until(|| {
                let map = procs.map(0..28u32, |n| { slowly(1); (n, std::process::id()) }).unwrap();
                let mut pids: Vec<u32> = map.into_iter().map(|(_, pid)| pid).collect();
                pids.sort_unstable();
                pids.dedup();
                pids.len() == 14
            });
            assert_eq!(procs.stats().started, 14, "{}: none was turned away", cluster.name);
        }
    }

    fn a_death_costs_what_ran_and_says_how() {
        for cluster in clusters() {
            let procs = cluster.pool(1);
            let exit = death(procs.spawn(3, |code: i32| -> () { std::process::exit(code) }).join());
            assert_eq!((exit.code(), exit.signal()), (Some(3), None), "{}", cluster.name);
            let exit = death(procs.spawn((), |()| -> () { eprintln!("alas"); std::process::abort() }).join());
            assert_eq!((exit.code(), exit.signal()), (None, Some(6)), "{exit}");
            assert!(exit.stderr_tail().contains("alas"), "{exit:?}");
            let kills = |n: u32| -> u32 {
                if n == 20 {
                    signal(std::process::id(), Signal::KILL);
                    forever::<()>();
                }
                n
            };
            let results = procs.map_each(0..50, kills);
            let lost: Vec<usize> = (0..50).filter(|n| results[*n].is_err()).collect();
            assert_eq!(lost, [20], "{}", cluster.name);
            assert_eq!(death(results.into_iter().nth(20).unwrap()).signal(), Some(9));
            let panicked = procs.spawn((), |()| -> () { panic!("oh") }).join().unwrap_err();
            assert!(matches!(&panicked, TaskError::Panicked(_)), "{panicked:?}");
            let again = procs.call(|path: String| {
                support::note(&path, 1);
                if support::noted(&path) < 3 { std::process::abort() }
                support::noted(&path)
            });
            let scratch = support::Scratch::new("ssh-again");
            assert_eq!(again.retry(5).spawn(scratch.text()).join().unwrap(), 3);
        }
    }

    /// It would, because it has standard error open, which sshd waits for; and the stream, if it
    /// was forked.
    #[allow(unsafe_code)] // a fork
    fn no_child_hides_a_death() {
        for cluster in clusters() {
            let procs = cluster.pool(1);
            let scratch = support::Scratch::new("ssh-child");
            let task = procs.spawn(scratch.text(), |path: String| -> () {
                #[allow(clippy::zombie_processes)]
                let child = Command::new("sleep").arg("60").spawn().unwrap();
                support::note(&path, u64::from(child.id()));
                // SAFETY: the child uses nothing that another thread could have locked.
                let forked = unsafe { libc::fork() };
                if forked == 0 {
                    // SAFETY: plain numbers.
                    unsafe { libc::alarm(60) };
                    loop {
                        // SAFETY: it waits for a signal.
                        unsafe { libc::pause() };
                    }
                }
                support::note(&path, u64::from(forked.cast_unsigned()));
                std::process::abort();
            });
            let begin = std::time::Instant::now();
            assert_eq!(death(task.join()).signal(), Some(6), "{}", cluster.name);
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", cluster.name);
            let children = scratch.notes();
            assert_eq!(children.len(), 2);
            until(|| !children.iter().any(|pid| lives(u32::try_from(*pid).unwrap())));
        }
    }

    fn what_is_interrupted_is_told() {
        for cluster in clusters() {
            let procs = cluster.pool(1);
            let task = procs.spawn((), |()| -> () {
                signal(std::process::id(), Signal::INT);
                forever::<()>();
            });
            assert_eq!(death(task.join()).signal(), Some(2), "{}", cluster.name);
        }
    }

    fn a_killed_client_is_a_dead_worker() {
        for cluster in clusters() {
            let procs = cluster.pool(1);
            let scratch = support::Scratch::new("ssh-client");
            let task = procs.spawn(scratch.text(), |path: String| -> () {
                support::note(&path, u64::from(std::process::id()));
                forever::<()>();
            });
            until(|| scratch.notes().len() == 1);
            let there = u32::try_from(scratch.notes()[0]).unwrap();
            assert!(lives(there) && !procs.worker_pids().contains(&there));
            signal(procs.worker_pids()[0], Signal::KILL);
            death(task.join());
            until(|| !lives(there));
            assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42, "{}", cluster.name);
        }
    }

    /// The client exits with 255 then, whatever the worker does.
    fn a_lost_connection_is_told() {
        let cluster = Cluster::stand_in();
        let client = std::fs::read_to_string(cluster.directory.join("ssh")).unwrap();
        let lost = cluster.directory.join("lost");
        let ends = format!("sh -c \"$last\"; s=$?; [ -e {} ] && exit 255; exit $s", lost.display());
        cluster.script("ssh", &client.replace("exec sh -c \"$last\"", &ends));
        let procs = cluster.pool(1);
        let exit = death(procs.spawn(lost, |lost: std::path::PathBuf| -> () {
            std::fs::write(lost, "").unwrap();
            std::process::exit(7)
        }).join());
        assert_eq!((exit.code(), exit.signal()), (None, None), "{exit}");
        assert!(exit.to_string().contains("ssh lost the connection to node1"), "{exit}");
    }

    fn nothing_is_left_when_the_driver_is_killed() {
        for cluster in clusters() {
            let mut driver = start_driver(&cluster);
            let pids = under_way(&cluster);
            driver.kill().unwrap();
            let begin = std::time::Instant::now();
            driver.wait().unwrap();
            until(|| !pids.iter().any(|pid| lives(*pid)));
            print!("({}: {} ms) ", cluster.name, begin.elapsed().as_millis());
            assert!(begin.elapsed() < Duration::from_secs(1));
        }
    }

    fn a_driver_that_was_stopped_goes_on() {
        for cluster in clusters() {
            let driver = start_driver(&cluster);
            let pids = under_way(&cluster);
            let at = |name: &str| cluster.directory.join(name);
            until(|| at("runs").exists());
            signal(driver.id(), Signal::STOP);
            std::fs::write(at("go-on"), "").unwrap();
            until(|| at("ran").exists()); // and its answer goes to a driver that is stopped
            assert!(pids.iter().all(|pid| lives(*pid)));
            signal(driver.id(), Signal::CONT);
            let out = driver.wait_with_output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "19900\n", "{}", cluster.name);
            until(|| !pids.iter().any(|pid| lives(*pid)));
        }
    }

    fn what_is_said_to_the_builder_holds_there() {
        static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
        for cluster in clusters() {
            let procs = cluster
                .builder(&["node1:1"])
                .env("ODD", "a 'quoted'\n%s \\ \"$HOME\"`x`")
                .env("TREFOIL_TEST_NOISE", "1")
                .initializer(5, |size: u64| { let _ = TABLE.set((0..size).map(|n| n * n).collect()); })
                .memory_limit(64 << 20)
                .build()
                .unwrap();
            let odd = procs.spawn((), |()| std::env::var("ODD").unwrap()).join().unwrap();
            assert_eq!(odd, "a 'quoted'\n%s \\ \"$HOME\"`x`", "{}", cluster.name);
            assert_eq!(procs.spawn(3, |n: usize| TABLE.get().unwrap()[n]).join().unwrap(), 9);
            let much = procs.spawn(1usize << 30, |bytes: usize| vec![1u8; bytes].len()).join();
            let exit = death(much);
            assert!(exit.out_of_memory(), "{}: {exit:?}", cluster.name);
            assert_eq!(procs.spawn(1usize << 20, |bytes: usize| vec![1u8; bytes].len()).join().unwrap(), 1 << 20);
            let args = procs.spawn((), |()| std::env::args().skip(1).collect::<Vec<_>>()).join().unwrap();
            assert_eq!(args, std::env::args().skip(1).collect::<Vec<_>>());
        }
    }

    fn workers_share_the_processors_of_their_host() {
        let processors = std::thread::available_parallelism().unwrap().get();
        let threads = |_: u32| {
            let names = ["TREFOIL_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"];
            names.map(|name| std::env::var(name).ok())
        };
        for cluster in clusters() {
            for workers in [1, 2, processors + 1] {
                let host = format!("node1:{workers}");
                let procs = cluster.builder(&[&host]).env("MKL_NUM_THREADS", "m").build().unwrap();
                let share = (processors / workers).max(1).to_string();
                // (The hosts of the tests may have the environment of this process.)
                let own = |name: &str| Some(std::env::var(name).unwrap_or_else(|_| share.clone()));
                let expected = [own("TREFOIL_THREADS"), own("OMP_NUM_THREADS"), Some("m".to_owned())];
                for seen in procs.map(0..20, threads).unwrap() {
                    assert_eq!(seen, expected, "{} {workers}", cluster.name);
                }
            }
            // One of two hosts' workers each, although there is room for more.
            let procs = cluster.builder(&["node1:9", "node2:9"]).workers(2).build().unwrap();
            let share = std::env::var("OMP_NUM_THREADS").unwrap_or_else(|_| processors.to_string());
            assert_eq!(procs.spawn(0, threads).join().unwrap()[1], Some(share));
            let procs = cluster.builder(&["node1:1"]).threads_per_worker(Some(77)).build().unwrap();
            assert_eq!(procs.spawn(0, threads).join().unwrap(), ["77"; 3].map(|n| Some(n.to_owned())));
        }
    }

    fn a_secret_is_on_no_command_line() {
        let cluster = Cluster::stand_in();
        // A program of that name there is this script, which notes its arguments.
        std::fs::create_dir(cluster.directory.join("bin")).unwrap();
        let seen = cluster.directory.join("lines");
        let watch = format!("#!/bin/sh\nprintf '%s\\n' \"$0 $*\" >>{}\nfor d in /usr/bin /bin; do [ ! -x $d/${{0##*/}} ] || exec $d/${{0##*/}} \"$@\"; done\n", seen.display());
        for name in ["env", "nice", "sh", "touch"] {
            cluster.script(&format!("bin/{name}"), &watch);
        }
        let first = format!("PATH={}/bin:$PATH", cluster.directory.display());
        let client = std::fs::read_to_string(cluster.directory.join("ssh")).unwrap().replace("$EXTRA", &first);
        let ssh = cluster.ssh(&["node1:1"]).client(cluster.script("other", &client));
        let procs = ProcessPool::builder().launcher(ssh).env("SONG", "a secret of ours").build().unwrap();
        let song = procs.spawn((), |()| std::env::var("SONG").unwrap());
        assert_eq!(song.join().unwrap(), "a secret of ours");
        let lines = std::fs::read_to_string(seen).unwrap();
        assert!(lines.contains("/touch -c") && !lines.contains("secret"), "{lines}");
    }

    fn what_is_printed_there_is_no_part_of_the_stream() {
        for cluster in clusters() {
            for stdout in [WorkerStdout::Inherit, WorkerStdout::Null] {
                let procs = cluster.builder(&["node1:1"]).worker_stdout(stdout).build().unwrap();
                let prints = |n: u32| { println!("(printed there: {n})"); n };
                assert_eq!(procs.map(0..3, prints).unwrap(), [0, 1, 2], "{}", cluster.name);
                let exit = death(procs.spawn((), |()| -> () { println!("the last"); std::process::abort() }).join());
                let has = exit.stderr_tail().contains("the last");
                assert_eq!(has, stdout == WorkerStdout::Inherit, "{exit:?}");
                let reads = procs.spawn((), |()| std::io::read_to_string(std::io::stdin()).unwrap());
                assert_eq!(reads.join().unwrap(), "", "standard input is empty");
            }
        }
    }

    fn what_runs_can_be_stopped() {
        for cluster in clusters() {
            let procs = cluster.builder(&["node1:1"]).grace(Duration::from_millis(50)).build().unwrap();
            let endless = procs.call(|_: u32| -> u32 { forever() });
            let error = endless.timeout(Duration::from_millis(100)).spawn(1).join().unwrap_err();
            assert!(matches!(error, TaskError::TimedOut(_)), "{error:?}");
            let scratch = support::Scratch::new("ssh-cancel");
            let task = procs.spawn(scratch.text(), |path: String| -> () {
                support::note(&path, u64::from(std::process::id()));
                let token = CancelToken::current();
                until(|| token.is_cancelled());
                support::note(&path, 0);
            });
            until(|| scratch.notes().len() == 1);
            task.cancel();
            until(|| scratch.notes().len() == 2);
            assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42, "{}", cluster.name);
            let endless = procs.spawn((), |()| forever::<()>());
            procs.shutdown_timeout(Shutdown::Wait, Duration::from_millis(200));
            assert!(matches!(endless.join(), Err(TaskError::Cancelled)));
        }
    }

    fn what_travels_and_what_does_not() {
        for cluster in clusters() {
            let procs = cluster.pool(2);
            let numbers: Bulk<u64> = (0..1 << 19).collect::<Vec<u64>>().into();
            let back = procs.spawn(numbers.clone(), |numbers: Bulk<u64>| numbers).join().unwrap();
            assert!(back == numbers, "{}", cluster.name);
            let shared: Shared<u8> = (0..1 << 20).map(|n: u32| (n / 5) as u8).collect();
            let there = procs.spawn(shared.clone(), |shared: Shared<u8>| shared[70_000]).join().unwrap();
            assert_eq!(there, shared[70_000]);
            let words = vec!["zero".to_owned(), "one".to_owned()];
            let named = procs.map_with(&words, 0..2, |words: &Vec<String>, n: usize| words[n].clone());
            assert_eq!(named.unwrap(), words);
            let atomics = SharedAtomics::from(vec![1u64; 9]);
            is_told(procs.spawn(atomics, |atomics: SharedAtomics<AtomicU64>| atomics.len()).join());
            let (sender, receiver) = channel::<u32>(1).unwrap();
            is_told(procs.spawn(sender, drop).join());
            drop(receiver);
            let builder = cluster.builder(&["node1"]).on_output(|_, _| ());
            let error = builder.build().unwrap_err();
            assert!(matches!(&error, PoolError::Launcher(words) if words.contains("on_output")), "{error}");
        }
    }

    fn the_executable_is_copied_once() {
        let cluster = Cluster::stand_in();
        let build = || cluster.builder(&["node1:1"]).build().unwrap();
        let first = build();
        assert_eq!(first.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
        assert_eq!(cluster.calls(), 4, "asked, copied, asked again, started");
        let second = build();
        assert_eq!(second.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
        assert_eq!(cluster.calls(), 6, "asked, started");
        let own = std::env::current_exe().unwrap();
        let place = first.spawn((), |()| std::env::current_exe().unwrap()).join().unwrap();
        assert!(place.starts_with(cluster.directory.join("cache/trefoil")), "{place:?}");
        assert_eq!(place.file_name(), own.file_name());
        // It may also be there already.
        let there = cluster.ssh(&["node1:1"]).executable(&own);
        let procs = ProcessPool::builder().launcher(there).build().unwrap();
        assert_eq!(procs.spawn((), |()| std::env::current_exe().unwrap()).join().unwrap(), own);
    }

    fn a_damaged_copy_is_sent_again() {
        let cluster = Cluster::stand_in();
        let run = || {
            let procs = cluster.builder(&["node1:1"]).build().unwrap();
            procs.spawn((), |()| std::env::current_exe().unwrap()).join().unwrap()
        };
        let place = run();
        let whole = std::fs::read(&place).unwrap();
        let mut other = whole.clone();
        other[whole.len() / 2] ^= 1;
        for damaged in [other, Vec::new()] {
            until(|| std::fs::write(&place, &damaged).is_ok()); // once nothing executes it
            assert_eq!(run(), place);
            assert!(std::fs::read(&place).unwrap() == whole);
        }
    }

    fn a_link_in_the_place_of_the_copies_is_left_alone() {
        let cluster = Cluster::stand_in();
        let (there, cache) = (cluster.directory.join("there"), cluster.directory.join("cache"));
        std::fs::create_dir(&there).unwrap();
        std::fs::create_dir(&cache).unwrap();
        std::fs::set_permissions(&there, Permissions::from_mode(0o775)).unwrap();
        std::os::unix::fs::symlink(&there, cache.join("trefoil")).unwrap();
        let error = cluster.builder(&["node1:1"]).build().unwrap_err().to_string();
        assert!(error.contains("cache/trefoil is no directory of yours"), "{error}");
        let mode = std::fs::metadata(&there).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o775, "its mode is what it was");
    }

    fn the_example_runs_here_and_on_hosts() {
        let cluster = Cluster::stand_in();
        let path = format!("{}:{}", cluster.directory.display(), std::env::var("PATH").unwrap());
        for place in ["processes:2", "ssh:node1:2,node2:1"] {
            let mut command = Command::new(support::example("on_machines"));
            command.env("XDG_CACHE_HOME", &cluster.directory).env("PATH", &path);
            let out = command.arg(place).output().unwrap();
            let text = String::from_utf8_lossy(&out.stdout);
            assert!(text.ends_with("\n78498 primes below a million\n"), "{place}: {out:?}");
        }
        let log = std::fs::read_to_string(cluster.directory.join("log")).unwrap();
        let workers = |host: &str| log.lines().filter(|line| line.contains(host)).count();
        assert!(workers("-- node1 ") > workers("-- node2 "), "{log}");
        let error = trefoil_machines::executor("ssh:node1:0").unwrap_err().to_string();
        assert!(error.contains("`node1:0` is not a host"), "{error}");
    }
}
