//! The terminal: its other screen, its keys, its end.
//!
//! What was on the terminal before is there again afterwards, whatever ends it: a key, a signal, a
//! terminal that goes away, a failure, a panic.

use super::confirm::Act;
use super::draw::draw;
use super::front::Subject;
use super::known::News;
use super::reader::Reader;
use super::view::{View, Wish};
use crate::cli::App;
use crate::cli::args::Watch;
use crate::cli::exit::{Exit, Failure};
use async_signal::{Signal, Signals};
use crossterm::cursor::Show;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::execute;
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use jiff::tz::TimeZone;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use std::io::{self, Stdout};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Ages and bars move so often without news.
const DRAW_EVERY: Duration = Duration::from_millis(500);
/// Details that are looked at are asked for again so often.
const DETAILS_EVERY: Duration = Duration::from_secs(2);

/// For a key that is there already. Without any time crossterm does not look at all.
const KEY_IS_THERE: Duration = Duration::from_millis(1);

/// What wakes the loop.
enum Input {
    Key(KeyEvent, Instant),
    News(News),
    Details(Subject, String),
    Answer(Act, String),
    /// The terminal has another size.
    Resized,
    /// Time to draw again.
    Tick,
    /// A signal, or a terminal that is gone.
    End,
}

/// Draws until somebody has seen enough.
pub(super) async fn run(app: &App, args: &Watch) -> Result<Exit, Failure> {
    let mut view = View::new(app.out.colour, TimeZone::system(), Instant::now());
    let mut reader = Reader::new(app, args);
    // The first look is made before anything is drawn: where there is no daemon, the terminal stays
    // as it is.
    reader.look(|news| view.news(news, Instant::now())).await?;
    let trouble = |e: io::Error| Failure::Here(format!("the terminal cannot be drawn on: {e}"));
    let ends = [Signal::Int, Signal::Term, Signal::Hup, Signal::Quit];
    let mut signals = Signals::new(ends.into_iter().chain([Signal::Winch])).map_err(trouble)?;
    let (sender, inputs) = smol::channel::unbounded();
    let mut screen = Screen::enter().map_err(trouble)?;
    // What was typed before there was a picture is about none.
    let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
    listen(&reader, &sender);
    let mut session = Session {
        view,
        reader,
        sender,
        looked: Instant::now(),
    };
    loop {
        match session.draw(&mut screen) {
            Ok(()) => {}
            Err(_) if is_gone() => return Ok(Exit::Done),
            Err(e) => return Err(trouble(e)),
        }
        let mut input = Some(next(&inputs, &mut signals).await);
        // What came together is drawn together.
        while let Some(taken) = input {
            if !session.take(taken, &mut screen) {
                return Ok(Exit::Done);
            }
            input = inputs.try_recv().ok();
        }
        if is_gone() {
            return Ok(Exit::Done);
        }
    }
}

/// A view with the ways to the daemon.
struct Session {
    view: View,
    reader: Reader,
    sender: Sender<Input>,
    /// When details were asked for last.
    looked: Instant,
}

impl Session {
    fn draw(&mut self, screen: &mut Screen) -> io::Result<()> {
        let view = &mut self.view;
        let now = Instant::now();
        screen.draw(|frame| draw(view, frame, now))?;
        if view.asks_unseen() {
            // What was typed before the question was there is not an answer to it: what waits in
            // the terminal goes, and what was read before this moment is older.
            let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
            view.drawn(Instant::now());
        }
        Ok(())
    }

    /// Takes an input; `false` where it is the end.
    fn take(&mut self, input: Input, screen: &mut Screen) -> bool {
        let now = Instant::now();
        match input {
            Input::End => return false,
            Input::Resized => {}
            Input::Tick => {
                if self.looked.elapsed() >= DETAILS_EVERY
                    && let Some(subject) = self.view.looks_at().cloned()
                {
                    self.ask_for(subject);
                }
            }
            Input::News(news) => self.view.news(news, now),
            Input::Details(subject, text) => self.view.details(&subject, &text),
            Input::Answer(act, text) => self.view.answer(act, &text),
            Input::Key(key, at) => match self.view.key(key, at) {
                None => {}
                Some(Wish::Quit) => return false,
                Some(Wish::Redraw) => drop(screen.terminal.clear()),
                Some(Wish::Details(subject)) => self.ask_for(subject),
                Some(Wish::Do(action)) => {
                    let (reader, sender) = (self.reader.clone(), self.sender.clone());
                    std::thread::spawn(move || {
                        let text = smol::block_on(reader.carry_out(&action));
                        let _ = sender.send_blocking(Input::Answer(action.act(), text));
                    });
                }
            },
        }
        true
    }

    fn ask_for(&mut self, subject: Subject) {
        if matches!(subject, Subject::Answer(_)) {
            return;
        }
        self.looked = Instant::now();
        let (reader, sender) = (self.reader.clone(), self.sender.clone());
        std::thread::spawn(move || {
            let text = smol::block_on(reader.details(&subject));
            let _ = sender.send_blocking(Input::Details(subject, text));
        });
    }
}

async fn next(inputs: &Receiver<Input>, signals: &mut Signals) -> Input {
    let input = async { inputs.recv().await.unwrap_or(Input::End) };
    let signal = async {
        match signals.next().await {
            Some(Ok(Signal::Winch)) => Input::Resized,
            _ => Input::End,
        }
    };
    let tick = async {
        smol::Timer::after(DRAW_EVERY).await;
        Input::Tick
    };
    signal.or(input).or(tick).await
}

/// Starts the threads that read keys, the rack and its events. They end with the process.
fn listen(reader: &Reader, sender: &Sender<Input>) {
    let tell = |sender: &Sender<Input>| {
        let sender = sender.clone();
        move |news| sender.send_blocking(Input::News(news)).is_ok()
    };
    let (following, told) = (reader.clone(), tell(sender));
    std::thread::spawn(move || smol::block_on(following.follow(told)));
    let (following, told) = (reader.clone(), tell(sender));
    std::thread::spawn(move || smol::block_on(following.events(told)));
    let sender = sender.clone();
    std::thread::spawn(move || keys(&sender));
}

/// Reads keys until there are no more.
fn keys(sender: &Sender<Input>) {
    while wait_for_key() {
        // Taken before the key is read: a key is never held for younger than it is.
        let at = Instant::now();
        while let Ok(true) = event::poll(KEY_IS_THERE) {
            let key = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => key,
                Ok(_) => continue,
                Err(_) => break,
            };
            if sender.send_blocking(Input::Key(key, at)).is_err() {
                return;
            }
        }
    }
    let _ = sender.send_blocking(Input::End);
}

/// Waits until a key was pressed; `false` where the terminal is gone, which crossterm itself would
/// try to read for ever.
fn wait_for_key() -> bool {
    let stdin = io::stdin();
    loop {
        let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return false,
            Ok(_) => {}
        }
        let found = wanted[0].revents().unwrap_or(PollFlags::POLLERR);
        return !found.intersects(GONE);
    }
}

const GONE: PollFlags = PollFlags::POLLHUP
    .union(PollFlags::POLLERR)
    .union(PollFlags::POLLNVAL);

/// Whether the terminal went away.
fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    let polled = poll(&mut wanted, PollTimeout::ZERO);
    polled.is_ok()
        && wanted[0]
            .revents()
            .is_some_and(|found| found.intersects(GONE))
}

/// The terminal's other screen; what was there before is back when this is dropped.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// As large as it is drawn.
    area: Rect,
}

/// The whole terminal. One that does not say how large it is, as on a serial line, is taken for one
/// of 80 columns and 24 lines.
fn area() -> Rect {
    match terminal::size() {
        Ok((width @ 1.., height @ 1..)) => Rect::new(0, 0, width, height),
        Ok(_) | Err(_) => Rect::new(0, 0, 80, 24),
    }
}

/// Whether the terminal is as we made it.
static OURS: AtomicBool = AtomicBool::new(false);

impl Screen {
    fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // What it says is to be read on the terminal as it was.
                give_back();
                before(panic);
            }));
        });
        OURS.store(true, Ordering::SeqCst);
        let entered = terminal::enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen))
            .and_then(|()| {
                let area = area();
                let viewport = Viewport::Fixed(area);
                let backend = CrosstermBackend::new(io::stdout());
                let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
                Ok(Self { terminal, area })
            });
        if entered.is_err() {
            give_back();
        }
        entered
    }

    /// Draws the whole of it, as large as it is now.
    fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let area = area();
        if area != self.area {
            self.area = area;
            self.terminal.resize(area)?;
        }
        self.terminal.draw(picture).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was, once. One that is gone needs nothing any more.
fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use nix::sys::termios::{LocalFlags, tcgetattr};
    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};

    /// Set in the process that is to panic.
    const ON_A_TERMINAL: &str = "PANIC_ON_A_TERMINAL";

    /// A panic has a process of its own, this test in another one, on a terminal of its own.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(ON_A_TERMINAL).is_some() {
            panic_in_a_picture();
        }
        let pty = openpty(None, None).expect("a pty");
        let end = || Stdio::from(pty.slave.try_clone().expect("a handle"));
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(std::env::current_exe().expect("a path"))
            .args(["--exact", "--nocapture"])
            .arg("cli::watch::screen::tests::a_panic_gives_the_terminal_back")
            .env(ON_A_TERMINAL, "1")
            .env("TERM", "xterm");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        let mut child = child.expect("setsid of util-linux");
        // It holds the terminal, too, and nobody must at the end.
        drop(command);
        let mut screen = File::from(pty.master);
        let reader = std::thread::spawn(move || {
            let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                text.extend_from_slice(&bytes[..count]);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        assert!(!child.wait().expect("a child").success());
        let settings = tcgetattr(&pty.slave).expect("a terminal");
        assert!(settings.local_flags.contains(LocalFlags::ECHO));
        drop(pty.slave);
        let text = reader.join().expect("it read");
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place("\x1b[?1049h") < place("\x1b[?1049l"));
        assert!(place("\x1b[?1049l") < place("in the middle of a picture"));
        assert!(place("\x1b[?25h") < place("in the middle of a picture"));
    }

    fn panic_in_a_picture() {
        let mut screen = Screen::enter().expect("a terminal");
        let mut view = View::new(true, TimeZone::UTC, Instant::now());
        let now = Instant::now();
        let drawn = screen.draw(|frame| draw(&mut view, frame, now));
        drawn.expect("drawn");
        panic!("in the middle of a picture");
    }
}
