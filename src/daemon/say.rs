//! What the commands of `rackbmcd` that only look say to whoever typed them. A line that nobody
//! takes (a full disk, `| head`) is no reason to panic: the exit code tells what was found, also
//! then.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to standard output. Whether it was taken.
pub(super) fn out(text: impl Display) -> bool {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// Writes a line to standard error.
pub(super) fn err(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
