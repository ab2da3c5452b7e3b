//! Which thread allocates from which of the two heaps that the C library keeps for us.

use nix::sys::signal::SigSet;
use std::convert::Infallible;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

/// A thread that has taken the second heap, so that the loop's does not: the first one grows in
/// large steps, the others by a system call for each page. Dropped, it gives its heap to the thread
/// that is started next.
pub(super) struct Holder {
    thread: Option<(Sender<Infallible>, JoinHandle<()>)>,
}

impl Holder {
    pub(super) fn new() -> Self {
        let ((holds, held), (alive, over)) = (mpsc::channel(), mpsc::channel());
        let hold = move || {
            // They are the main thread's, as long as nobody else waits for them.
            let masked = SigSet::all().thread_block();
            // A thread takes its heap when it allocates first.
            let _ = holds.send(Box::new(masked));
            let _ = over.recv();
        };
        let started = thread::Builder::new().name("heap".to_owned()).spawn(hold);
        let thread = started.ok().map(|thread| (alive, thread));
        // Nothing comes where there is no thread.
        let _ = held.recv();
        Self { thread }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some((alive, thread)) = self.thread.take() {
            drop(alive);
            let _ = thread.join();
        }
    }
}
