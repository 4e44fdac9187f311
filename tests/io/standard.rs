//! The standard streams of a process: of whatever kind they are, they do not block the loop.

use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_io::AsyncWrite;
use trefoil::io::{stderr, stdin, stdout};
use trefoil::run;
use trefoil::time::{sleep, timeout};

use crate::support::{LONG, count_threads, within_deadline};

const MOMENT: Duration = Duration::from_millis(20);
/// Separates the harness's output from the test's.
const MARK: &str = "<mark>";

/// This test again, alone, with `prelude` in the shell before it.
fn again(test: &str, prelude: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "{prelude}\nexec \"$0\" --exact {test} --nocapture --test-threads 1"
        ))
        .arg(std::env::current_exe().unwrap())
        .env("TREFOIL_ALONE", test)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn is_again(test: &str) -> bool {
    std::env::var("TREFOIL_ALONE").as_deref() == Ok(test)
}

fn passed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
    said
}

#[test]
fn a_waiting_read_delays_no_task_and_takes_nothing() {
    let test = "standard::a_waiting_read_delays_no_task_and_takes_nothing";
    if is_again(test) {
        return within_deadline(|| {
            let clock = Instant::now();
            run(async {
                trefoil::spawn(async { stdin().read(&mut [0; 64]).await }).detach();
                let waiting = timeout(MOMENT, stdin().read(&mut [0; 64])).await;
                assert!(waiting.is_err());
            });
            assert!(clock.elapsed() < Duration::from_secs(10));
            assert_eq!(count_threads("trefoil-helper"), 0, "a pipe needs no thread");
            writeln!(std::io::stdout(), "{MARK}").unwrap();
            // The rest is still there for another reader.
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            assert_eq!(line, "for whoever comes\n");
            run(async {
                // Waiting still when the process ends.
                let mut input = stdin();
                assert!(timeout(MOMENT, input.read(&mut [0; 64])).await.is_err());
            });
        });
    }
    let mut child = again(test, "").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut said = child.stdout.take().unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(MARK) {
        let mut byte = [0];
        assert_eq!(said.read(&mut byte).unwrap(), 1);
        text.push(byte[0]);
    }
    input.write_all(b"for whoever comes\n").unwrap();
    let rest = child.wait_with_output().unwrap();
    assert!(
        rest.status.success(),
        "{}",
        String::from_utf8_lossy(&rest.stderr)
    );
}

#[test]
fn lines_and_ends_of_pipes_files_and_sockets() {
    let test = "standard::lines_and_ends_of_pipes_files_and_sockets";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                let mut input = stdin();
                let mut line = String::new();
                assert_eq!(input.read_line(&mut line).await.unwrap(), 6);
                assert_eq!(line, "first\n");
                // Bytes that were read ahead come first.
                let mut two = [0; 2];
                assert_eq!(input.read(&mut two).await.unwrap(), 2);
                assert_eq!(&two, b"se");
                line.clear();
                input.read_line(&mut line).await.unwrap();
                assert_eq!(line, "cond\n");
                let mut rest = String::new();
                input.read_to_string(&mut rest).await.unwrap();
                assert_eq!(rest, format!("{}\nlast", "x".repeat(5000)));
                assert_eq!(input.read_line(&mut line).await.unwrap(), 0);
                assert_eq!(input.read(&mut two).await.unwrap(), 0);
            });
        });
    }
    let text = format!("first\nsecond\n{}\nlast", "x".repeat(5000));
    // A pipe.
    let mut child = again(test, "").stdin(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    passed(&child.wait_with_output().unwrap());
    // A socket.
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let child = again(test, "").stdin(OwnedFd::from(far)).spawn().unwrap();
    near.write_all(text.as_bytes()).unwrap();
    drop(near);
    passed(&child.wait_with_output().unwrap());
    // A file.
    let path = std::env::temp_dir().join(format!("trefoil-stdin-{}", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    passed(&again(test, "").stdin(file).output().unwrap());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn all_the_lines_of_the_input() {
    let test = "standard::all_the_lines_of_the_input";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                let mut input = stdin();
                let mut first = String::new();
                input.read_line(&mut first).await.unwrap();
                assert_eq!(first, "first\n");
                let mut lines = input.lines();
                let mut lengths = Vec::new();
                while let Some(line) = lines.next().await {
                    lengths.push(line.unwrap().len());
                }
                assert_eq!(lengths, [6, 0, 5000, 4]);
            });
        });
    }
    let text = format!("first\nsecond\n\r\n{}\nlast", "x".repeat(5000));
    let mut child = again(test, "").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    passed(&child.wait_with_output().unwrap());
}

#[test]
fn nothing_to_read_from_and_nowhere_to_write_to() {
    let test = "standard::nothing_to_read_from_and_nowhere_to_write_to";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                // Opened on nothing, or for the other direction, or closed from the start (then
                // the standard library has put nothing in its place).
                match std::env::var("HOW").unwrap().as_str() {
                    "null" | "closed" => {
                        assert_eq!(stdin().read(&mut [0; 8]).await.unwrap(), 0);
                    }
                    "write" => {
                        let error = stdin().read(&mut [0; 8]).await.unwrap_err();
                        assert!(error.to_string().contains("other direction"), "{error}");
                    }
                    how => panic!("{how}"),
                }
                let error = stderr().write_all(&[b'x'; 1_000_000]).await.unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
            });
        });
    }
    for (how, prelude) in [
        ("null", "exec </dev/null 2>/dev/full"),
        ("closed", "exec <&- 2>/dev/full"),
        ("write", "exec 0>/dev/null 2>/dev/full"),
    ] {
        passed(&again(test, prelude).env("HOW", how).output().unwrap());
    }
}

#[test]
fn a_reader_that_does_not_read_delays_only_the_writer() {
    let test = "standard::a_reader_that_does_not_read_delays_only_the_writer";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                let much = vec![b'y'; 1_000_000];
                let mut error = stderr();
                let clock = Instant::now();
                assert!(timeout(MOMENT, error.write_all(&much)).await.is_err());
                sleep(MOMENT).await;
                assert!(clock.elapsed() < Duration::from_secs(10));
                // Standard output is another pipe.
                stdout().write_all(MARK.as_bytes()).await.unwrap();
                // Once the pipe is read, everything is written.
                timeout(LONG, error.write_all(&much))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(count_threads("trefoil-helper"), 0);
            });
        });
    }
    let mut child = again(test, "").stdin(Stdio::null()).spawn().unwrap();
    let mut said = child.stdout.take().unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(MARK) {
        let mut byte = [0];
        assert_eq!(said.read(&mut byte).unwrap(), 1);
        text.push(byte[0]);
    }
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        rest
    });
    let mut errors = Vec::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut errors)
        .unwrap();
    assert!(errors.iter().filter(|byte| **byte == b'y').count() > 1_000_000);
    assert!(child.wait().unwrap().success());
    assert!(rest.join().unwrap().contains("1 passed"));
}

#[test]
fn output_to_a_file_goes_where_the_position_is() {
    let test = "standard::output_to_a_file_goes_where_the_position_is";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                let mut output = stdout();
                output.write_all(b"<one>").await.unwrap();
                std::io::stdout().write_all(b"<two>").unwrap();
                std::io::stdout().flush().unwrap();
                output.write_all(b"<three>").await.unwrap();
                stdout().write_all(b"<four>").await.unwrap();
            });
        });
    }
    let path = std::env::temp_dir().join(format!("trefoil-stdout-{}", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    let status = again(test, "")
        .stdin(Stdio::null())
        .stdout(file)
        .status()
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(
        status.success() && text.contains("<one><two><three><four>"),
        "{text}"
    );
}

/// On each kind of stream, all slices are written in one call.
#[test]
fn all_slices_go_out_at_once() {
    let test = "standard::all_slices_go_out_at_once";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                let slices = [&b"<one>"[..], b"", b"<two>", b"<three>"].map(IoSlice::new);
                let mut output = stdout();
                let count =
                    poll_fn(|cx| Pin::new(&mut output).poll_write_vectored(cx, &slices)).await;
                assert_eq!(count.unwrap(), 17);
                output.flush().await.unwrap();
            });
        });
    }
    let read = |mut from: std::fs::File, mut child: std::process::Child| {
        let mut said = String::new();
        from.read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        assert!(said.contains("<one><two><three>"), "{said}");
    };
    // A pipe, a socket, a file.
    let (reader, writer) = std::io::pipe().unwrap();
    let child = again(test, "").stdout(writer).spawn().unwrap();
    read(OwnedFd::from(reader).into(), child);
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let child = again(test, "").stdout(OwnedFd::from(far)).spawn().unwrap();
    read(OwnedFd::from(near).into(), child);
    let path = std::env::temp_dir().join(format!("trefoil-slices-{}", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    let mut child = again(test, "").stdout(file).spawn().unwrap();
    child.wait().unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    read(file, child);
}

/// Both sides of a new terminal.
#[allow(unsafe_code)]
fn terminal() -> (OwnedFd, std::fs::File) {
    // SAFETY: a plain number.
    let controlling = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) };
    assert!(controlling >= 0);
    // SAFETY: it was just opened, and no other code owns it.
    let controlling = unsafe { OwnedFd::from_raw_fd(controlling) };
    // SAFETY: it is open, and the controlling side of a terminal.
    assert_eq!(unsafe { libc::unlockpt(controlling.as_raw_fd()) }, 0);
    let mut name = [0_u8; 64];
    // SAFETY: as above, and the buffer is as long as it says.
    let named = unsafe {
        libc::ptsname_r(
            controlling.as_raw_fd(),
            name.as_mut_ptr().cast(),
            name.len(),
        )
    };
    assert_eq!(named, 0);
    let name = std::ffi::CStr::from_bytes_until_nul(&name).unwrap();
    let other = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(name.to_str().unwrap())
        .unwrap();
    (controlling, other)
}

#[test]
fn both_sides_of_a_terminal() {
    let test = "standard::both_sides_of_a_terminal";
    if is_again(test) {
        return within_deadline(|| {
            run(async {
                let mut line = String::new();
                timeout(LONG, stdin().read_line(&mut line))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(line.trim_end(), "a line");
            });
        });
    }
    let (controlling, mut other) = terminal();
    other.write_all(b"a line\n").unwrap();
    passed(&again(test, "").stdin(controlling).output().unwrap());
    let (controlling, other) = terminal();
    let mut controlling = std::fs::File::from(controlling);
    controlling.write_all(b"a line\n").unwrap();
    passed(&again(test, "").stdin(other).output().unwrap());
}
