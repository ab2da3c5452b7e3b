//! Deadlines of clients: each request has three or four of them, and hardly one ever comes.
//!
//! A timer of async-io for each would be told to the thread that waits for sockets by a write to a
//! descriptor of its own, which ends that wait though nothing has happened yet. Here one timer is
//! set for the first of all deadlines; another one that is later costs no system call, and one that
//! is dropped before it comes leaves nothing behind.

use hyper::rt::{Sleep, Timer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The deadlines of the connections of one listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// Who waits for which moment, with a number that tells equal moments apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    /// When the timer rings, and how to have it set anew.
    rings_at: Option<Instant>,
    keeper: Option<Waker>,
}

/// Ends at a moment.
#[derive(Debug)]
pub(super) struct Deadline {
    key: (Instant, u64),
    deadlines: Deadlines,
}

impl Deadlines {
    /// Ends after so long.
    pub(super) fn after(&self, patience: Duration) -> Deadline {
        self.at(Instant::now() + patience)
    }

    fn at(&self, at: Instant) -> Deadline {
        let mut kept = self.kept();
        kept.last += 1;
        Deadline {
            key: (at, kept.last),
            deadlines: self.clone(),
        }
    }

    /// Wakes each one when its moment comes, for as long as this is polled: once for all of them.
    pub(super) async fn keep(self) -> Infallible {
        let mut timer = smol::Timer::never();
        poll_fn(move |context| {
            loop {
                let (due, rings_at) = self.kept().take_due(context.waker());
                due.into_values().for_each(Waker::wake);
                match rings_at {
                    Some(at) => timer.set_at(at),
                    None => timer = smol::Timer::never(),
                }
                if Pin::new(&mut timer).poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Those whose moment has come, and when to ask for the next ones.
    fn take_due(&mut self, keeper: &Waker) -> (BTreeMap<(Instant, u64), Waker>, Option<Instant>) {
        let later = self.waiting.split_off(&(Instant::now(), u64::MAX));
        let due = std::mem::replace(&mut self.waiting, later);
        self.rings_at = self.waiting.keys().next().map(|(at, _)| *at);
        self.keeper = Some(keeper.clone());
        (due, self.rings_at)
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (at, _) = self.key;
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        let mut kept = self.deadlines.kept();
        kept.waiting.insert(self.key, context.waker().clone());
        if kept.rings_at.is_none_or(|rings_at| at < rings_at)
            && let Some(keeper) = kept.keeper.take()
        {
            // It looks at all of them again.
            drop(kept);
            keeper.wake();
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.deadlines.kept().waiting.remove(&self.key);
    }
}

impl Sleep for Deadline {}

impl Timer for Deadlines {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.at(deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{self, FutureExt};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn each_ends_at_its_own_time_and_one_that_is_dropped_is_forgotten() {
        let deadlines = Deadlines::default();
        let long = deadlines.after(LONG);
        let ended = async {
            // The later one is waited for when the earlier one is set.
            let mut long = std::pin::pin!(long);
            assert!(future::poll_once(long.as_mut()).await.is_none());
            future::yield_now().await;
            let began = Instant::now();
            deadlines.after(SHORT).await;
            assert!(began.elapsed() >= SHORT);
            deadlines.after(SHORT).await;
            assert!(began.elapsed() >= SHORT * 2);
            assert_eq!(deadlines.kept().waiting.len(), 1);
        };
        let keeping = async { match deadlines.clone().keep().await {} };
        smol::block_on(ended.or(keeping));
        assert!(deadlines.kept().waiting.is_empty());
    }

    #[test]
    fn the_timer_is_set_anew_for_an_earlier_one_only() {
        let deadlines = Deadlines::default();
        let looks = async {
            let set_anew = || deadlines.kept().keeper.is_none();
            future::yield_now().await;
            let mut first = deadlines.after(LONG);
            assert!(future::poll_once(&mut first).await.is_none());
            assert!(set_anew(), "there was none before");
            future::yield_now().await;
            let mut later = deadlines.after(LONG * 2);
            assert!(future::poll_once(&mut later).await.is_none());
            assert!(!set_anew());
            let mut earlier = deadlines.after(LONG / 2);
            assert!(future::poll_once(&mut earlier).await.is_none());
            assert!(set_anew());
        };
        let keeping = async { match deadlines.clone().keep().await {} };
        smol::block_on(looks.or(keeping));
    }
}
