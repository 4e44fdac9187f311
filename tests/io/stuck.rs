//! Calls off the loop that do not end, and what is reported of them.

use std::sync::mpsc;
use std::time::Duration;

use trefoil::io::{self, fs};
use trefoil::time::sleep;
use trefoil::{run, spawn};

use crate::support::{LONG, alone, fifo, wait_until};

const MOMENT: Duration = Duration::from_millis(10);

/// As many calls as may run are stuck. Those that wait are counted, and reported once; and once
/// more when that happens again.
#[test]
fn calls_that_wait_for_stuck_ones_are_counted_and_reported_once() {
    alone(
        "stuck::calls_that_wait_for_stuck_ones_are_counted_and_reported_once",
        "",
        || {
            let (tell, told) = mpsc::channel();
            trefoil::on_unobserved(move |report| {
                assert!(report.is_notice());
                tell.send(report.to_string()).unwrap();
            });
            for round in 0..2 {
                let path = fifo(&format!("stuck-{round}"));
                let most = io::stats().files.most;
                run(async {
                    let open = || spawn(fs::File::open(path.clone()));
                    let mut stuck: Vec<_> = (0..most).map(|_| open()).collect();
                    while io::stats().files.busy < most || io::stats().files.waiting > 0 {
                        sleep(MOMENT).await;
                    }
                    // Calls have waited for their threads to begin, which may have taken a second.
                    while told.try_recv().is_ok() {}
                    stuck.push(open());
                    while io::stats().files.waiting == 0 {
                        sleep(MOMENT).await;
                    }
                    let notice = loop {
                        match told.try_recv() {
                            Ok(notice) => break notice,
                            Err(_) => sleep(MOMENT).await,
                        }
                    };
                    assert_eq!(
                        notice,
                        "all 512 threads for files are in calls of which none has ended for a \
                         second, and 1 more wait (`io::stats` has the numbers)"
                    );
                    stuck.push(open());
                    sleep(Duration::from_millis(1500)).await; // time for another, which must not come
                    assert!(told.try_recv().is_err(), "it was reported");
                    assert_eq!(io::stats().files.waiting, 2);
                    // Each that is opened as a reader lets the next begin.
                    let writer = std::fs::File::options();
                    let _held = writer.clone().read(true).write(true).open(&path).unwrap();
                    for stuck in stuck {
                        trefoil::timeout(LONG, stuck)
                            .await
                            .unwrap()
                            .unwrap()
                            .unwrap();
                    }
                });
                std::fs::remove_file(path).unwrap();
                wait_until("the calls end", || io::stats().files.busy == 0);
            }
        },
    );
}
