//! What the files use and what is not looked at here.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::Mutex;

/// A oneshot channel.
pub(crate) struct Reply<R>(Mutex<Inner<R>>);

struct Inner<R> {
    value: Option<R>,
    over: bool,
    waker: Option<Waker>,
}

impl<R> Reply<R> {
    pub(crate) fn new() -> Self {
        Reply(Mutex::new(Inner {
            value: None,
            over: false,
            waker: None,
        }))
    }

    /// The value, or nothing if there will be none.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<R>> {
        let mut inner = self.0.lock().expect("no panic");
        if inner.over {
            return Poll::Ready(inner.value.take());
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The side of the channel that answers.
pub(crate) struct Answer<R>(pub(crate) Arc<Reply<R>>);

impl<R> Answer<R> {
    pub(crate) fn give(self, value: R) {
        self.0.0.lock().expect("no panic").value = Some(value);
    }
}

impl<R> Drop for Answer<R> {
    fn drop(&mut self) {
        let mut inner = self.0.0.lock().expect("no panic");
        inner.over = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// How long to look before sleeping: so many times.
pub(crate) mod pace {
    use std::task::Context;

    pub(crate) struct Yields;

    pub(crate) const LOOKS: () = ();
    pub(crate) const LOOKS_AT_ONCE: u32 = 2;

    #[derive(Clone, Copy)]
    pub(crate) struct Patience {
        looks: u32,
        left: u32,
    }

    impl Patience {
        /// Each wait looks so often.
        pub(crate) fn of(looks: u32) -> Self {
            Patience { looks, left: looks }
        }

        pub(crate) fn is_worthwhile(&self) -> bool {
            self.left > 0
        }

        pub(crate) fn goes_on(&mut self, _: &Yields, (): ()) -> bool {
            self.left -= 1;
            self.left > 0
        }

        pub(crate) fn gave_up(&mut self) {
            self.left = 0;
        }

        pub(crate) fn rewarded(&mut self) {
            self.left = self.looks;
        }
    }

    pub(crate) fn come_again(cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

/// tokio's.
pub(crate) mod task {
    pub(crate) mod coop {
        use std::task::{Context, Poll};

        pub(crate) struct Budget;

        impl Budget {
            pub(crate) fn made_progress(&self) {}
        }

        pub(crate) fn poll_proceed(_: &mut Context<'_>) -> Poll<Budget> {
            Poll::Ready(Budget)
        }
    }
}

pub(crate) mod error {
    use crate::Tid;

    pub(crate) type Result<T> = std::result::Result<T, Error>;

    #[derive(Debug)]
    #[allow(dead_code)]
    pub(crate) enum Error {
        Running(Tid),
        Gone(Tid),
        Detached(Tid),
        Shutdown,
        Forked,
    }
}

pub(crate) mod command {
    #[derive(Clone, Copy, Debug)]
    #[allow(dead_code)]
    pub(crate) enum Follow {
        Everything,
    }
}

pub(crate) mod limit {
    pub(crate) struct Seat;
}

pub(crate) mod observe {
    use crate::Tid;
    use crate::event::Event;
    use crate::slot::Action;

    /// Nobody looks.
    pub(crate) struct Observed;

    impl Observed {
        pub(crate) fn new(_: Tid) -> Self {
            Observed
        }

        pub(crate) fn is_wanted(&self) -> bool {
            false
        }

        pub(crate) fn resume(&self, _: Action) {}

        pub(crate) fn end(&self, _: &Event) {}
    }
}
