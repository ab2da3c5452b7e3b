//! Questions to a person: what is typed is shown, or is not.

use super::exit::Failure;
use super::output::say;
use async_signal::{Signal, Signals};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// Asks for something that nobody must see; what is typed is not echoed.
///
/// # Errors
/// Usage where there is no terminal, or where Ctrl-C is pressed, or the process is told to end.
pub(super) fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "a password is asked for on a terminal: name a file with it instead".to_owned(),
        ));
    }
    let _ = write!(io::stderr(), "{question}");
    // Told to end by others, it would leave the terminal without its echo.
    let signals = Signals::new([Signal::Term, Signal::Hup, Signal::Int, Signal::Quit]);
    let mut signals = signals.map_err(|e| Failure::Here(format!("signals: {e}")))?;
    let hidden = Hidden::now().map_err(|e| Failure::Here(format!("the terminal: {e}")))?;
    let told = async {
        let _ = signals.next().await;
        Err(given_up())
    };
    let typed = smol::block_on(told.or(smol::unblock(read_typed)));
    drop(hidden);
    say!("");
    typed
}

fn given_up() -> Failure {
    Failure::Usage("given up; nothing was done".to_owned())
}

/// Reads to the end of the line. Ctrl-C does not end the process, which would leave the terminal
/// without its echo.
fn read_typed() -> Result<Zeroizing<String>, Failure> {
    let mut typed = Zeroizing::new(Vec::with_capacity(256));
    let mut byte = [0];
    loop {
        match io::stdin().lock().read(&mut byte) {
            Ok(1) => {}
            _ => {
                return Err(Failure::Usage(
                    "nothing was typed; nothing was done".to_owned(),
                ));
            }
        }
        match byte[0] {
            b'\n' | b'\r' => break,
            3 | 4 => return Err(given_up()),
            8 | 127 => drop(typed.pop()),
            other if typed.len() < typed.capacity() => typed.push(other),
            _ => {}
        }
    }
    let text = std::str::from_utf8(&typed).map(str::to_owned);
    let text = text.map_err(|_| Failure::Usage("the password is no text (UTF-8)".to_owned()))?;
    Ok(Zeroizing::new(text))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn now() -> nix::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut settings = before.clone();
        settings
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        // What was typed before the question is dropped.
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &settings)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}

/// Asks for something that may be seen; what is meant where nothing is typed.
///
/// # Errors
/// Usage where nothing can be read.
pub(super) fn text(question: &str, usual: &str) -> Result<String, Failure> {
    let shown = match usual {
        "" => String::new(),
        usual => format!(" [{usual}]"),
    };
    let _ = write!(io::stderr(), "{question}{shown}: ");
    let mut typed = String::new();
    match io::stdin().lock().read_line(&mut typed) {
        Ok(1..) => {}
        _ => {
            return Err(Failure::Usage(
                "nothing was typed; nothing was done".to_owned(),
            ));
        }
    }
    Ok(match typed.trim() {
        "" => usual.to_owned(),
        typed => typed.to_owned(),
    })
}

/// Asks whether to go `on` after log-ins that were refused in a row; where nobody can be asked it
/// does not.
///
/// # Errors
/// Never: no answer is a no.
pub(super) fn goes_on(refused: usize, on: &str) -> Result<bool, Failure> {
    let text =
        format!("{refused} log-ins in a row were refused: more of them may lock the user out");
    if !io::stdin().is_terminal() {
        say!("{text}; nobody can be asked, so no further one is tried");
        return Ok(false);
    }
    yes(&format!("{text}. {on} [y/N] "))
}

/// Asks for a yes; everything else is a no.
///
/// # Errors
/// Never: no answer is a no.
pub(super) fn yes(question: &str) -> Result<bool, Failure> {
    let _ = write!(io::stderr(), "{question}");
    let mut typed = String::new();
    let read = io::stdin().lock().read_line(&mut typed);
    Ok(read.is_ok() && matches!(typed.trim(), "y" | "Y" | "yes"))
}
