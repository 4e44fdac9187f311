//! Connects to the first of several addresses that answers (RFC 8305).
//!
//! 1. The addresses of a name are ordered so that the families alternate, beginning with the
//!    system's first; a given list of addresses keeps its order.
//! 2. The first is tried. After [`STAGGER`], or as soon as an attempt has failed, the next one
//!    starts.
//! 3. The first that is connected wins; the rest are dropped, which closes them. Once all have
//!    failed, the last failure is the result.
//!
//! One address needs no race and no timer.
//!
//! Rejected: separate queries for the two families, as the RFC would have them. The
//! system's resolver asks both at once and knows its own rules of preference.
//!
//! Tests: below;
//! `tests/io/sockets.rs::connecting_tries_every_address_and_names_are_looked_up_off_the_loop`,
//! `tests/io/connecting.rs::one_that_never_answers_does_not_hold_up_the_others`.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use super::lookup::{LookupSeal, LookupTarget, ToSocketAddrs, no_address};
use super::source::this_loop;
use crate::timer::Alarm;

/// The "Connection Attempt Delay" of the RFC.
const STAGGER: Duration = Duration::from_millis(250);

/// The result of `connect` for the first address of `host` that answers.
pub(super) async fn first_to_answer<A, S, F>(host: A, connect: fn(SocketAddr) -> F) -> io::Result<S>
where
    A: ToSocketAddrs,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    this_loop()?; // before a name is looked up
    let target = host.target(LookupSeal)?;
    let named = matches!(target, LookupTarget::Name(..));
    let mut addresses = target.addresses().await?;
    if named {
        addresses = interleaved(addresses);
    }
    if let [address] = addresses[..] {
        return connect(address).await;
    }
    let mut addresses = addresses.into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    // Whether the next attempt starts now, or when it does.
    let (mut due, mut next) = (true, None);
    let mut failed = None;
    poll_fn(move |cx| {
        loop {
            if std::mem::take(&mut due) {
                running.extend(addresses.next().map(connect).map(Box::pin));
                let more = !addresses.as_slice().is_empty();
                next = more.then(|| Alarm::after(STAGGER));
            }
            let mut at = 0;
            while at < running.len() {
                match running[at].as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        drop(running.remove(at));
                        failed = Some(error);
                        due = true;
                    }
                }
            }
            match &mut next {
                Some(_) if due => {} // an attempt has failed
                Some(alarm) => ready!(alarm.poll_elapsed(cx)),
                None if running.is_empty() => {
                    return Poll::Ready(Err(failed.take().unwrap_or_else(no_address)));
                }
                None => return Poll::Pending,
            }
            due = true;
        }
    })
    .await
}

/// Alternates the families. The first address stays first, and each family keeps its order.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, theirs): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
    let mut order = Vec::with_capacity(ours.len() + theirs.len());
    while ours.len() + theirs.len() > 0 {
        order.extend(ours.next());
        order.extend(theirs.next());
    }
    order
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn parse(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns() {
        let mixed = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let order = parse(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(mixed), order);
        let one = parse(&["1.0.0.1:1", "1.0.0.2:1"]);
        assert_eq!(interleaved(one.clone()), one);
        assert_eq!(interleaved(Vec::new()), []);
    }
}
