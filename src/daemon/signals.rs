//! Signals as something to wait for: SIGTERM and SIGINT end the daemon, SIGHUP reloads.

use async_io::Async;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;

/// Our signals, blocked everywhere and read from a descriptor.
pub(super) struct Signals(Async<SignalFd>);

impl Signals {
    /// To be made before any other thread is, so that none of them gets the signals.
    pub(super) fn new() -> io::Result<Self> {
        let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        set.thread_block()?;
        let descriptor =
            SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self(Async::new(descriptor)?))
    }

    /// The next one.
    pub(super) async fn next(&self) -> io::Result<Signal> {
        loop {
            self.0.readable().await?;
            if let Some(info) = self.0.get_ref().read_signal()? {
                let number = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
                return Signal::try_from(number).map_err(io::Error::from);
            }
        }
    }
}
