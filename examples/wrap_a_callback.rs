//! The callback API of another library, turned into a `Task`.
//!
//! `Completer` is the promise side: keep it in the callback. If the callback is dropped uncalled,
//! the task ends in `Closed`, so that no caller waits for ever; if the task is cancelled, the
//! library can see it and stop.

use std::thread;
use std::time::Duration;

use trefoil::{Completer, Task, TaskError};

/// The other library: calls back on a separate thread, or drops the callback.
fn measure_temperature(sensor: u32, callback: impl FnOnce(Result<f64, String>) + Send + 'static) {
    thread::spawn(move || match sensor {
        0 => callback(Ok(21.5)),
        1 => callback(Err("no such sensor".to_owned())),
        _ => drop(callback),
    });
}

/// The same as a task.
fn temperature(sensor: u32) -> Task<Result<f64, String>> {
    let (completer, task) = Completer::new();
    measure_temperature(sensor, move |reading| completer.complete(Ok(reading)));
    task
}

fn main() {
    assert_eq!(temperature(0).join().unwrap(), Ok(21.5));
    println!("sensor 0: 21.5 degrees, joined from plain code");

    trefoil::run(async {
        let reading = temperature(1).await.unwrap();
        println!("sensor 1: {}, awaited on the loop", reading.unwrap_err());
        let gone = temperature(2).await;
        assert!(matches!(gone, Err(TaskError::Closed)));
        println!("sensor 2: the callback was dropped, so the task is closed");
    });

    // A producer that checks whether its result is still wanted.
    let (completer, task) = Completer::<u32>::new();
    let producer = thread::spawn(move || {
        while !completer.is_cancelled() {
            thread::sleep(Duration::from_millis(1)); // produce a bit
        }
    });
    task.cancel();
    producer.join().unwrap();
    println!("cancelled: the producer noticed and stopped");
}
