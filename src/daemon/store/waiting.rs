//! Waiting on the journal's thread, for a while at most, by that thread alone.
//!
//! async-io's timers are kept by the thread that waits for sockets, which is the loop's: each time
//! that the journal looks after its file, that thread would wake as well, to hand the moment on.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

thread_local! {
    /// When this thread has to look again, though nobody has woken it.
    static LOOK_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Ends after so long, on a thread that waits by [`block_on`].
pub(super) async fn sleep(duration: Duration) {
    let until = Instant::now() + duration;
    poll_fn(|_| {
        if Instant::now() >= until {
            return Poll::Ready(());
        }
        let first = LOOK_AT.get().map_or(until, |at| at.min(until));
        LOOK_AT.set(Some(first));
        Poll::Pending
    })
    .await;
}

/// Carries a future to its end on this thread, asleep meanwhile.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Sleeper(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        LOOK_AT.set(None);
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        match LOOK_AT.get() {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

/// The thread that waits.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future;

    #[test]
    fn what_comes_from_another_thread_and_what_is_over_both_end_the_wait() {
        let (sender, receiver) = smol::channel::bounded(1);
        let thread = thread::spawn(move || sender.send_blocking(1));
        let never = || async {
            sleep(Duration::from_secs(3600)).await;
            Ok(0)
        };
        assert_eq!(block_on(future::or(receiver.recv(), never())), Ok(1));
        thread.join().expect("no panic").expect("it was received");
        let soon = async {
            sleep(Duration::from_millis(1)).await;
            Ok(2)
        };
        let wait = async { future::or(future::pending(), soon).await };
        let first: Result<i32, smol::channel::RecvError> = block_on(future::or(never(), wait));
        assert_eq!(first, Ok(2));
    }
}
