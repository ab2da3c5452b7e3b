//! The loop's one timer: a descriptor of the kernel that counts by the machine's clock since its
//! boot, as the core does.
//!
//! async-io's own timers are told to the thread that waits for them by a write to a descriptor of
//! its own, which wakes that thread though nothing has happened yet; and they do not count while
//! the machine sleeps.

use super::clock::Clock;
use crate::time::Instant;
use async_io::Async;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// See the head of this file.
pub(super) struct Alarm {
    timer: Rc<Async<TimerFd>>,
    set_for: Option<Instant>,
    rings: Pin<Box<dyn Future<Output = ()>>>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Rc::new(Async::new(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?)?);
        Ok(Self {
            rings: ring(timer.clone()),
            set_for: None,
            timer,
        })
    }

    /// Rings at `at`, and not at the time that was set before.
    pub(super) fn set(&mut self, at: Instant, clock: Clock) {
        if self.set_for.replace(at) == Some(at) {
            return;
        }
        // Zero would disarm it.
        let left = clock.until(at).max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        let set = self.timer.get_ref().set(once, TimerSetTimeFlags::empty());
        set.expect("a time that is left can be waited for");
    }

    /// Waits until it rings; what was waited for in vain before goes on.
    pub(super) async fn rung(&mut self) {
        (&mut self.rings).await;
        self.rings = ring(self.timer.clone());
        self.set_for = None;
    }
}

/// Ends when the timer has rung, which it then has forgotten.
fn ring(timer: Rc<Async<TimerFd>>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let readable = timer.readable().await;
        readable.expect("a timer can be waited for");
        // What it counts is of no interest; it was set anew where there is nothing to be read.
        let _ = nix::unistd::read(timer.get_ref(), &mut [0; 8]);
    })
}
