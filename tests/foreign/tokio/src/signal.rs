//! `signal`: trefoil's `Signal`.

pub use trefoil::io::ctrl_c;

pub mod unix {
    use std::io;
    use std::task::{Context, Poll};

    use trefoil::io::Signal as Inner;

    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct SignalKind(i32);

    /// The kinds of which trefoil has the number.
    macro_rules! kinds {
        ($($name:ident $constant:ident,)*) => {
            impl SignalKind {
                pub const fn from_raw(number: i32) -> Self {
                    Self(number)
                }

                pub const fn as_raw_value(&self) -> i32 {
                    self.0
                }

                $(pub const fn $name() -> Self {
                    Self(Inner::$constant)
                })*
            }
        };
    }

    kinds! {
        alarm ALRM,
        child CHLD,
        hangup HUP,
        interrupt INT,
        pipe PIPE,
        quit QUIT,
        terminate TERM,
        user_defined1 USR1,
        user_defined2 USR2,
        window_change WINCH,
    }

    #[derive(Debug)]
    pub struct Signal(Inner);

    pub fn signal(kind: SignalKind) -> io::Result<Signal> {
        Inner::new(kind.0).map(Signal)
    }

    impl Signal {
        pub async fn recv(&mut self) -> Option<()> {
            self.0.recv().await.ok()
        }

        pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
            self.0.poll_recv(cx).map(Result::ok)
        }
    }
}
