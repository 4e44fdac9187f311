//! When the system refuses threads, and when a peer is silent.

use std::io::ErrorKind;
use std::sync::mpsc;
use std::time::Duration;

use trefoil::io::{TcpListener, TcpStream, fs, lookup_host};
use trefoil::time::timeout;
use trefoil::{TaskError, run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, count_threads};

/// Operations that need a thread fail with a message that says why there is none.
#[test]
fn files_and_names_without_threads_say_so() {
    alone("limits::files_and_names_without_threads_say_so", "", || {
        // There is no room for another stack.
        let used = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
        let room = pages * rustix::param::page_size() as u64 + (1 << 20);
        let limit = rustix::process::Rlimit {
            current: Some(room),
            maximum: None,
        };
        rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
        let (tell, reports) = mpsc::channel();
        trefoil::on_unobserved(move |report| tell.send(report.to_string()).unwrap());
        run(async {
            let mut file = fs::File::from_std(std::fs::File::open("/proc/self/stat").unwrap());
            for error in [
                fs::read("/proc/self/stat").await.unwrap_err(),
                file.read(&mut [0; 8]).await.unwrap_err(),
                lookup_host("localhost:80").await.unwrap_err(),
            ] {
                let said = error.to_string();
                assert!(said.contains("refused to start"), "{said}");
                assert!(said.contains("os error"), "{said}");
                // Not `WouldBlock`: futures-io's traits forbid that.
                assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{said}");
            }
        });
        // A caller that gets the error needs no report beside it.
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), [""; 0]);
    });
}

#[test]
fn a_silent_peer_is_given_up_and_leaves_nothing() {
    alone(
        "limits::a_silent_peer_is_given_up_and_leaves_nothing",
        "",
        || {
            let before = count_fds();
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                // A queue that is full: the system lets further callers wait.
                rustix::net::listen(&listener, 0).unwrap();
                let address = listener.local_addr().unwrap();
                let mut queued = Vec::new();
                let open = loop {
                    let open = count_fds();
                    match timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
                        Ok(stream) => queued.push(stream.unwrap()),
                        Err(error) => {
                            assert!(matches!(error, TaskError::TimedOut));
                            break open;
                        }
                    }
                    assert!(queued.len() < 100);
                };
                assert_eq!(count_fds(), open);
                // A `connect` that waits in a task is cancelled.
                let waiting = spawn(TcpStream::connect(address));
                yield_now().await;
                assert_eq!(count_fds(), open + 1);
                waiting.cancel();
                yield_now().await;
                assert_eq!(count_fds(), open);
                // The listener of another is closed meanwhile.
                let waiting = spawn(TcpStream::connect(address));
                yield_now().await;
                drop(listener);
                let end = timeout(LONG, waiting).await.unwrap().unwrap();
                let kind = end.unwrap_err().kind();
                assert_eq!(kind, ErrorKind::ConnectionRefused);
                assert_eq!(count_threads("trefoil-helper"), 0);
            });
            assert_eq!(count_fds(), before);
        },
    );
}
