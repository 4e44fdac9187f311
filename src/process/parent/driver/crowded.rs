//! A kernel that refuses to take messages for a while: nothing is lost, and nothing spins.
//!
//! The driver's link and socket are real; the results of `sendmsg` are injected for a while. The
//! driver does one turn after the other, as its thread would, and a peer reads what arrives in the
//! end.
//!
//! Tests: this is one.

use std::io::Read;
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use rustix::io::Errno;
use serde::ser::{Error, Serialize, Serializer};

use super::hostile::driver;
use super::*;
use crate::process::parent::peer::CROWDED;
use crate::process::value::attachments::AttachedFile;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::scope;
use crate::process::wire::Frame;

/// An argument, perhaps with an attachment.
struct Brings(Option<Arc<AttachedFile>>, Vec<u8>);

impl Serialize for Brings {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if let Some(attachment) = &self.0 {
            scope::attach(attachment).map_err(S::Error::custom)?;
        }
        self.1.serialize(s)
    }
}

/// The head of a frame, and its items.
type HeadAndItems = (Vec<u8>, Option<Piece>);

/// Frames that are too large for the shared ring, the third of which has an attachment; and the
/// bytes that arrive.
fn frames() -> (Vec<HeadAndItems>, Vec<u8>) {
    let mut all = Vec::new();
    let frame = |n: u8| {
        let null = || std::fs::File::open("/dev/null").unwrap();
        let brought = (n == 3).then(|| AttachedFile::new(null().into()));
        if let Some(brought) = &brought {
            all.extend(Frame::Descriptors(vec![brought.id]).head(0));
        }
        let mut chunk = Chunk::default();
        let bytes = vec![n; 5_000 + usize::from(n)];
        chunk.push(&Brings(brought, bytes)).unwrap();
        let head = vec![100 + n; 9];
        all.extend_from_slice(&head);
        all.extend_from_slice(&chunk.bytes);
        (head, Some(Piece::whole(Arc::new(chunk), 0)))
    };
    let frames = (1..6).map(frame).collect();
    (frames, all)
}

#[test]
fn what_the_kernel_refuses_is_sent_later() {
    for fault in [Errno::NOBUFS, Errno::NOMEM, Errno::TOOMANYREFS] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut driver = driver();
        let (mut link, _) = Link::without_process(ours);
        link.peer.stream.faults = [fault, Errno::INTR, fault, fault].into();
        let (frames, expected) = frames();
        for (head, body) in frames {
            link.peer.post(head, body);
        }
        driver
            .sched
            .started(SlotId(0), 1, link.peer.for_sched(false), Instant::now());
        let mut last = Instant::now();
        link.send();
        driver.links[0] = Some(link);
        let crowded = |driver: &Driver| {
            driver.links[0]
                .as_ref()
                .and_then(|link| link.peer.stream.crowded_until)
        };
        let mut tries = 1;
        while let Some(until) = crowded(&driver) {
            assert!(until >= last + CROWDED, "it tries too early");
            let sleep = driver.prepare_sleep();
            let latest = Instant::now() + CROWDED;
            assert!(sleep.until.unwrap() <= latest, "it would oversleep");
            let waits_for_room =
                |(.., events): &(_, _, _, PollFlags)| events.contains(PollFlags::OUT);
            assert!(!sleep.sources.iter().any(waits_for_room), "it spins");
            let news = sleep.sleep();
            let now = Instant::now();
            driver.hear(&news);
            if crowded(&driver) != Some(until) {
                (last, tries) = (now, tries + 1);
            }
            assert!(tries < 20, "it never gets through");
        }
        assert_eq!(tries, 4, "each time once");
        assert!(driver.links[0].as_ref().is_some_and(
            |link| !link.peer.stream.is_sending() && link.peer.stream.refusal.is_none()
        ));
        let mut arrived = vec![0; expected.len()];
        theirs.read_exact(&mut arrived).unwrap();
        assert_eq!(arrived, expected, "{fault}: as it was said");
    }
}

#[test]
fn a_worker_that_can_be_sent_nothing_is_dismissed_with_a_message() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut link, _) = Link::without_process(ours);
    link.peer.stream.faults.push_back(Errno::PERM);
    let (frames, _) = frames();
    for (head, body) in frames {
        link.peer.post(head, body);
    }
    link.send();
    assert!(!link.peer.stream.is_sending());
    assert!(
        link.peer
            .stream
            .refusal
            .unwrap()
            .contains("nothing can be sent")
    );
    drop(theirs);
}
