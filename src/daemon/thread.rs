//! The loop's thread: tasks run on the very thread that waits for sockets and timers.
//!
//! async-io has a thread that waits for them while nobody else does. A loop on another thread
//! (`async_io::block_on`) competes with it for that wait: they take turns, and each event that the
//! other one found costs a futex call and a second wake-up. So the loop is polled by async-io's own
//! thread, right where an event was found. What another thread has for the loop (the journal's, a
//! look-up) rings a bell: one more descriptor to wait for.
//!
//! Events that are found together wake the loop one after the other. The first is carried out at
//! once; the rest waits for the bell and is carried out together, with one commit and one send for
//! all of it, where a hundred clients had a turn of the loop each.
//!
//! Nothing in this process may call `async_io::block_on` beside it, or that thread would begin to
//! take turns again.

use async_io::Async;
use nix::sys::eventfd::{EfdFlags, EventFd};
use smol::LocalExecutor;
use smol::future::FutureExt;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Where tasks of the loop's thread are spawned.
pub(super) type Executor = Rc<LocalExecutor<'static>>;

/// Runs what `start` makes on the loop's thread, and waits, asleep, for what comes of it.
///
/// # Errors
/// The system has no descriptor left.
pub(super) fn run<T, F>(start: impl FnOnce(Executor) -> F + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    // It has been rung: that makes async-io's thread wake the starter.
    let descriptor = Arc::new(Async::new(EventFd::from_value_and_flags(1, flags)?)?);
    let (sender, outcome) = mpsc::channel();
    let bell = descriptor.clone();
    let begin = move || {
        let bell = Arc::new(Bell {
            thread: std::thread::current().id(),
            rung: AtomicBool::new(false),
            descriptor: bell,
        });
        let heard = bell.clone();
        let work = async move {
            let executor = Executor::default();
            let hears = Waker::from(Arc::new(Heard(heard.clone())));
            let mut listening = Box::pin(async { match heard.listen().await {} });
            let listening = poll_fn(|_| listening.as_mut().poll(&mut Context::from_waker(&hears)));
            let working = async {
                let main = executor.spawn(start(executor.clone()));
                executor.run(main).await
            };
            // The bell is heard first: what it was rung for is then looked at.
            let ended = AssertUnwindSafe(listening.or(working)).catch_unwind().await;
            // Nobody waits any more where this fails.
            let _ = sender.send(ended);
        };
        LOOP.set(Some(Box::pin(work)));
        Waker::from(bell).wake();
    };
    let starter = Waker::from(Arc::new(Starter(Mutex::new(Some(Box::new(begin))))));
    let _ = descriptor.poll_readable(&mut Context::from_waker(&starter));
    match outcome.recv() {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(gone) => Err(io::Error::other(gone)),
    }
}

thread_local! {
    /// The loop, on its own thread only.
    static LOOP: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
}

/// Begins the loop on the thread that wakes it.
struct Starter(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Starter {
    fn wake(self: Arc<Self>) {
        let begin = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begin) = begin {
            begin();
        }
    }
}

thread_local! {
    /// When the loop went back to wait, on its own thread only.
    static POLLED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// An event so soon after that was found together with the one before: the kernel was not asked
/// for more meanwhile.
const TOGETHER: Duration = Duration::from_micros(5);

/// Wakes the loop.
struct Bell {
    thread: ThreadId,
    rung: AtomicBool,
    descriptor: Arc<Async<EventFd>>,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let rung = self.descriptor.get_ref().write(1);
            rung.expect("an eventfd takes a one when it was emptied");
        }
    }

    async fn listen(&self) -> Infallible {
        loop {
            let readable = self.descriptor.readable().await;
            readable.expect("an eventfd can be waited for");
            // Emptied before it may be rung anew: a ring between the two would be lost the other
            // way round.
            let _ = self.descriptor.get_ref().read();
            self.rung.store(false, Ordering::Release);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let elsewhere = std::thread::current().id() != self.thread;
        let in_company = || POLLED_AT.get().is_some_and(|at| at.elapsed() < TOGETHER);
        match elsewhere || self.rung.load(Ordering::Acquire) || in_company() {
            true => self.ring(),
            false => self.poll_loop(),
        }
    }
}

/// Wakes the loop for the bell, which is not rung for that.
struct Heard(Arc<Bell>);

impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.0.poll_loop();
    }
}

impl Bell {
    fn poll_loop(self: &Arc<Self>) {
        LOOP.with(|running| {
            // It is being polled, and woke itself: sockets and timers have their turn before it
            // goes on.
            let Ok(mut running) = running.try_borrow_mut() else {
                return self.ring();
            };
            let Some(work) = running.as_mut() else { return };
            let waker = Waker::from(self.clone());
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                *running = None;
            }
            POLLED_AT.set(Some(Instant::now()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_io::Timer;
    use smol::future;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    /// Runs a test in a process of its own: other tests call `block_on`.
    fn alone(name: &str, test: impl FnOnce()) {
        if std::env::var_os("ALONE").is_some() {
            return test();
        }
        let this = std::env::current_exe().expect("the program of the tests");
        let name = format!("daemon::thread::tests::{name}");
        let mut again = Command::new(this);
        again.args(["--exact", &name]).env("ALONE", "1");
        let output = again.output().expect("started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    fn timers_tasks_and_other_threads_all_reach_the_loop() {
        alone("timers_tasks_and_other_threads_all_reach_the_loop", || {
            let sum = run(|executor| async move {
                let (sender, receiver) = smol::channel::bounded(1);
                let from_thread = sender.clone();
                let thread = std::thread::spawn(move || from_thread.send_blocking(1));
                let later = executor.spawn(async move {
                    Timer::after(Duration::from_millis(1)).await;
                    sender.send(10).await
                });
                // More than the executor runs at once before it lets others have a turn.
                let mut busy = 0;
                for _ in 0..1000 {
                    future::yield_now().await;
                    busy += 1;
                }
                let mut sum = smol::unblock(|| 100).await + busy;
                while let Ok(found) = receiver.recv().await {
                    sum += found;
                }
                later.await.expect("it was received");
                thread.join().expect("no panic").expect("it was received");
                sum
            });
            assert_eq!(sum.expect("descriptors"), 1111);
        });
    }

    #[test]
    fn events_that_are_found_together_are_carried_out_together() {
        alone(
            "events_that_are_found_together_are_carried_out_together",
            || {
                let turns = run(|executor| async move {
                    let (sender, receiver) = smol::channel::unbounded();
                    let pair = || UnixStream::pair().expect("descriptors");
                    let (near, mut far): (Vec<_>, Vec<_>) = (0..CLIENTS).map(|_| pair()).unzip();
                    for end in near {
                        let end = Async::new(end).expect("not waited for elsewhere");
                        let sender = sender.clone();
                        let heard = async move {
                            end.readable().await.expect("readable");
                            sender.send(()).await
                        };
                        executor.spawn(heard).detach();
                    }
                    // All of them wait.
                    Timer::after(Duration::from_millis(5)).await;
                    // The loop stands still meanwhile.
                    for end in &mut far {
                        end.write_all(b"x").expect("somebody is there");
                    }
                    let (mut turns, mut heard) = (0, 0);
                    while heard < CLIENTS {
                        receiver.recv().await.expect("it is said");
                        heard += 1;
                        while receiver.try_recv().is_ok() {
                            heard += 1;
                        }
                        turns += 1;
                    }
                    turns
                });
                let turns = turns.expect("descriptors");
                // One, then the others; on a busy machine now and then one more.
                assert!(turns < CLIENTS / 2, "{turns}");
            },
        );
    }

    const CLIENTS: usize = 40;

    #[test]
    fn a_panic_of_the_loop_is_a_panic_of_the_one_who_waits() {
        alone(
            "a_panic_of_the_loop_is_a_panic_of_the_one_who_waits",
            || {
                let ended = std::panic::catch_unwind(|| {
                    run::<(), _>(|_| async {
                        future::yield_now().await;
                        panic!("on purpose")
                    })
                });
                assert!(ended.is_err());
            },
        );
    }
}
