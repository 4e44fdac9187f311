//! The first of a few futures, of different types: the macro `select!`.

/// Waits for the first of a few futures, inside one task, drops the others, and then continues with
/// the expression of the first.
///
/// Each branch is `pattern = future => expression`. All expressions have one type, and are code of
/// the calling function: `?`, `break`, `return` and `.await` are allowed. Use it in async code, on
/// any runtime.
///
/// ```
/// use std::time::Duration;
/// use trefoil::sync::channel;
/// use trefoil::time::sleep;
///
/// let (sender, numbers) = channel::bounded(8);
/// let sum = trefoil::run(async {
///     for n in [1, 2, 3] {
///         sender.send(n).await.unwrap();
///     }
///     drop(sender);
///     let mut sum = 0;
///     loop {
///         trefoil::select! {
///             Ok(n) = numbers.recv() => sum += n,
///             _ = sleep(Duration::from_secs(3600)), if sum < 6 => break 0,
///             else => break sum, // nothing more to receive, and all have come
///         }
///     }
/// });
/// assert_eq!(sum, 6);
/// ```
///
/// - If several are ready, the first as written wins. (tokio takes any, unless it is asked
///   `biased;`, which is allowed here, too.) So write first what must not be kept waiting.
/// - In a loop, a branch that is always ready does not keep those behind it waiting forever if it
///   goes through the event loop: a socket, a signal, an interval is refused after 128 operations
///   in one poll of the task, and then the next branch is asked. Other futures are not refused:
///   behind a channel that is never empty, no branch is reached, and no other task runs (put a
///   [`yield_now`](crate::yield_now) into such a loop).
/// - A branch with `, if condition` takes part only if the condition holds when the wait begins.
///   Its future is made anyway, but not polled.
/// - A branch whose output does not match its pattern takes no further part, and the others are
///   still waited for. A pattern must not contain `ref` or `&`, and `mut` only as the whole: `mut
///   line = lines.next()`, but `Ok(line) = ..` and then `let mut line = line`.
/// - `else => expression`, as the last branch, is for the case that no branch takes part any more.
/// - A [`Task`](crate::Task) that loses is detached and continues. To cancel the losers, use
///   [`race`](crate::race) or [`cancel_on_drop`](crate::Task::cancel_on_drop). To continue with a
///   task in the next round, write `&mut task`.
///
/// # Panics
/// If no branch takes part any more, and there is no `else`.
///
/// # Cancel safety
/// The futures that lose are dropped; their own documentation says what that means. `recv` of a
/// channel loses nothing; a future that has read half a line into itself loses it.
#[macro_export]
macro_rules! select {
    (@ [$({
        $output:ident $future:ident $waits:ident
        $pattern:pat, $what:expr, ($($condition:expr)?), $then:expr
    })*] @ $else:expr) => {{
        $(let mut $output = ::std::option::Option::None;)*
        {
            $(let mut $waits = true $(&& $condition)?;)*
            // Bound first, so that `&mut make()` borrows from what lives as long as the wait.
            $(let $future = $what;)*
            $(let mut $future = ::std::pin::pin!(::std::future::IntoFuture::into_future($future));)*
            ::std::future::poll_fn(|cx| {
                // A future whose output is `!` never gets beyond its poll.
                $(#[allow(unreachable_code)] if $waits {
                    let polled = ::std::future::Future::poll($future.as_mut(), cx);
                    if let ::std::task::Poll::Ready(output) = polled {
                        #[allow(unused_variables, unused_mut)]
                        let matches = match &output {
                            $pattern => true,
                            _ => false,
                        };
                        if matches {
                            $output = ::std::option::Option::Some(output);
                            return ::std::task::Poll::Ready(());
                        }
                        $waits = false;
                    }
                })*
                if false $(|| $waits)* { ::std::task::Poll::Pending } else { ::std::task::Poll::Ready(()) }
            })
            .await;
        }
        $(if let ::std::option::Option::Some($pattern) = $output { $then } else)* { $else }
    }};
    (@ [$($before:tt)*]) => {
        $crate::select!(@ [$($before)*] @ ::std::panic!(
            "trefoil::select!: no branch takes part any more, and there is no `else`"
        ))
    };
    // This is a separate rule: as an expression it would have braces that the compiler calls
    // unnecessary.
    (@ [$($before:tt)*] else => $else:block $(,)?) => {
        $crate::select!(@ [$($before)*] @ $else)
    };
    (@ [$($before:tt)*] else => $else:expr $(,)?) => {
        $crate::select!(@ [$($before)*] @ $else)
    };
    // Each round makes new variables, because these three names are different in each.
    (@ [$($before:tt)*]
        $pattern:pat = $what:expr $(, if $condition:expr)? => $then:block, $($rest:tt)*) => {
        $crate::select!(@ [$($before)* {
            output future waits $pattern, $what, ($($condition)?), $then
        }] $($rest)*)
    };
    (@ [$($before:tt)*]
        $pattern:pat = $what:expr $(, if $condition:expr)? => $then:block $($rest:tt)*) => {
        $crate::select!(@ [$($before)* {
            output future waits $pattern, $what, ($($condition)?), $then
        }] $($rest)*)
    };
    (@ [$($before:tt)*]
        $pattern:pat = $what:expr $(, if $condition:expr)? => $then:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@ [$($before)* {
            output future waits $pattern, $what, ($($condition)?), $then
        }] $($($rest)*)?)
    };
    (@ $($wrong:tt)*) => {
        ::std::compile_error!("a branch of `select!` is `pattern = future => expression`, with `, if condition` before the `=>` where wanted; the last may be `else => expression`")
    };
    (biased; $($branches:tt)+) => {
        $crate::select!(@ [] $($branches)+)
    };
    ($($branches:tt)+) => {
        $crate::select!(@ [] $($branches)+)
    };
}
