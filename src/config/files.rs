//! The files beside the configuration: passwords, keys, users. Read through [`Files`], so that
//! tests need no disk.

use super::complaint::{At, Findings};
use crate::session::secret::{BmcKey, Password};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Group, User, getegid, geteuid};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Where files come from.
pub trait Files {
    /// The content of a file and its permission bits.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<Content>;

    /// The permission bits of the directory that a file is in, where they are known.
    fn directory_mode(&self, _path: &Path) -> Option<u32> {
        None
    }

    /// `$CREDENTIALS_DIRECTORY`, where systemd puts credentials.
    fn credentials(&self) -> Option<PathBuf>;

    /// Whether a configuration is only looked at, maybe by somebody who may not see the service's
    /// credentials.
    fn checks_only(&self) -> bool {
        false
    }

    /// `$STATE_DIRECTORY`, where systemd has made a place for what is remembered.
    fn state_directory(&self) -> Option<PathBuf> {
        None
    }

    /// What is where this is to be made, or above it, and is something else.
    fn obstacle(&self, _path: &Path, _wanted: Wanted) -> Option<PathBuf> {
        None
    }

    /// The number of a user of this host.
    fn user_id(&self, name: &str) -> Option<u32>;

    /// The number of a group of this host.
    fn group_id(&self, name: &str) -> Option<u32>;
}

/// What the daemon makes where it is not there yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Socket,
    Directory,
}

/// Why a file cannot be read; where it is there, for whom, and how the service's user would.
pub(super) fn unreadable(path: &Path, reason: &io::Error) -> String {
    let (uid, gid) = (geteuid(), getegid());
    let user = User::from_uid(uid).ok().flatten();
    match (user, Group::from_gid(gid).ok().flatten()) {
        (Some(user), group) if reason.kind() == io::ErrorKind::PermissionDenied => {
            let told = format!("{reason}: {} may not read it", user.name);
            // Below that number are users of services.
            match group.filter(|_| uid.as_raw() < 1000) {
                Some(group) => {
                    let (group, path) = (group.name, path.display());
                    format!("{told} (chgrp {group} {path}; chmod 640 {path})")
                }
                None => told,
            }
        }
        _ => reason.to_string(),
    }
}

/// A file's content and who may read it.
pub struct Content {
    /// Its bytes, wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its permission bits (the lower nine).
    pub mode: u32,
}

/// The real ones.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

/// No file that belongs to a configuration is longer.
const LONGEST: u64 = 1 << 20;

/// Opens a file to read it, and waits for nobody: a pipe into which nobody writes would keep whoever
/// opens it for ever.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK | O_NOCTTY)
        .open(path)
}

/// A file that may be a pipe or a device (`--config /dev/stdin`), of which the next bytes are not
/// waited for without end.
struct Watched<'f>(&'f File);

/// For so long something that is no file may say nothing.
const SILENCE: Duration = Duration::from_secs(5);

impl Read for Watched<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut asked = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(SILENCE).expect("a few seconds");
        match poll(&mut asked, patience)? {
            0 => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing comes out of it for 5 s: it is a pipe or a device, and no file",
            )),
            _ => self.0.read(to),
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Content> {
        let file = open_at_once(path)?;
        let found = file.metadata()?;
        let mode = found.permissions().mode() & 0o777;
        // Room from the start: a vector that grows leaves copies of a secret behind.
        let room = usize::try_from(found.len().min(LONGEST)).unwrap_or(0) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        Watched(&file).take(LONGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST {
            return Err(io::Error::other("it is longer than 1 MiB"));
        }
        Ok(Content { bytes, mode })
    }

    fn directory_mode(&self, path: &Path) -> Option<u32> {
        let directory = path.parent().filter(|above| !above.as_os_str().is_empty());
        let found = fs::metadata(directory.unwrap_or(Path::new("."))).ok()?;
        Some(found.permissions().mode() & 0o7777)
    }

    fn obstacle(&self, path: &Path, wanted: Wanted) -> Option<PathBuf> {
        for place in path.ancestors() {
            let Ok(found) = fs::metadata(place) else {
                continue;
            };
            let fits = match wanted {
                Wanted::Socket if place == path => found.file_type().is_socket(),
                Wanted::Socket | Wanted::Directory => found.is_dir(),
            };
            return (!fits).then(|| place.to_path_buf());
        }
        None
    }

    fn credentials(&self) -> Option<PathBuf> {
        std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
    }

    fn state_directory(&self) -> Option<PathBuf> {
        std::env::var_os("STATE_DIRECTORY").map(PathBuf::from)
    }

    fn user_id(&self, name: &str) -> Option<u32> {
        let found = User::from_name(name).ok().flatten();
        found.map(|user| user.uid.as_raw())
    }

    fn group_id(&self, name: &str) -> Option<u32> {
        let found = Group::from_name(name).ok().flatten();
        found.map(|group| group.gid.as_raw())
    }
}

/// The real ones, for a look at a configuration that is not used: systemd shows credentials to the
/// running service alone.
#[derive(Clone, Copy, Debug)]
pub struct Check;

impl Files for Check {
    fn read(&self, path: &Path) -> io::Result<Content> {
        Disk.read(path)
    }

    fn directory_mode(&self, path: &Path) -> Option<u32> {
        Disk.directory_mode(path)
    }

    fn obstacle(&self, path: &Path, wanted: Wanted) -> Option<PathBuf> {
        Disk.obstacle(path, wanted)
    }

    fn credentials(&self) -> Option<PathBuf> {
        Disk.credentials()
    }

    fn checks_only(&self) -> bool {
        true
    }

    fn user_id(&self, name: &str) -> Option<u32> {
        Disk.user_id(name)
    }

    fn group_id(&self, name: &str) -> Option<u32> {
        Disk.group_id(name)
    }

    fn state_directory(&self) -> Option<PathBuf> {
        Disk.state_directory()
    }
}

/// Where a secret stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum From {
    /// In a file, its name as typed.
    File(String),
    /// In a credential of this name.
    Credential(String),
}

/// Reads secrets, each file once.
pub(super) struct Secrets<'f> {
    files: &'f dyn Files,
    /// Where the configuration is: relative names start there.
    directory: PathBuf,
    read: BTreeMap<From, Option<Zeroizing<Vec<u8>>>>,
}

impl<'f> Secrets<'f> {
    pub(super) fn new(files: &'f dyn Files, config: &Path) -> Self {
        Secrets {
            files,
            directory: config.parent().map(Path::to_path_buf).unwrap_or_default(),
            read: BTreeMap::new(),
        }
    }

    /// A file name as typed, from the configuration's directory.
    pub(super) fn path(&self, typed: &str) -> PathBuf {
        self.directory.join(typed)
    }

    /// What the daemon is to make there finds something else in its place, or above it.
    pub(super) fn check_place(
        &self,
        path: &Path,
        wanted: Wanted,
        span: &Range<usize>,
        findings: &mut Findings<'_>,
    ) {
        let Some(place) = self.files.obstacle(path, wanted) else {
            return;
        };
        let what = match wanted {
            Wanted::Socket if place == path => "socket: move it away",
            Wanted::Socket | Wanted::Directory => "directory",
        };
        let place = place.display();
        findings.complain(span, format!("{place} is there, and is no {what}"));
    }

    /// Whether the system has a group of this name or number.
    pub(super) fn is_group(&self, name: &str) -> bool {
        name.parse::<u32>().is_ok() || self.files.group_id(name).is_some()
    }

    /// Where things are remembered, unless the configuration says.
    pub(super) fn state_directory(&self) -> Option<PathBuf> {
        self.files.state_directory()
    }

    /// The number of a user of this host.
    pub(super) fn user_id(&self, name: &str) -> Option<u32> {
        self.files.user_id(name)
    }

    /// The number of a group of this host.
    pub(super) fn group_id(&self, name: &str) -> Option<u32> {
        self.files.group_id(name)
    }

    /// A file of which others may read nothing; a complaint at the place that names it.
    pub(super) fn private(
        &self,
        path: &Path,
        span: &Range<usize>,
        findings: &mut Findings<'_>,
    ) -> Option<Content> {
        match self.files.read(path) {
            Err(reason) => {
                let why = unreadable(path, &reason);
                findings.complain(span, format!("{} cannot be read: {why}", path.display()));
                None
            }
            Ok(content) if content.mode & 0o007 != 0 => {
                let complaint = format!(
                    "{} is open to every user (mode {:04o}): chmod 0640 it, and set a new secret if others were about",
                    path.display(),
                    content.mode
                );
                findings.complain(span, complaint);
                None
            }
            Ok(content) => {
                self.warn_of_changers(path, content.mode, span, findings);
                Some(content)
            }
        }
    }

    /// Warns where others than its owner can change a file, or put another one in its place.
    pub(super) fn warn_of_changers(
        &self,
        path: &Path,
        mode: u32,
        span: &Range<usize>,
        findings: &mut Findings<'_>,
    ) {
        let who = |mode: u32| match (mode & 0o002 != 0, mode & 0o020 != 0) {
            (true, _) => Some(("every user", "go-w")),
            (false, true) => Some(("its group", "g-w")),
            (false, false) => None,
        };
        let shown = path.display();
        if let Some((who, bits)) = who(mode) {
            let warning = format!(
                "{who} may change {shown}, and with it who may do what: chmod {bits} {shown}"
            );
            findings.warn(span, warning);
        }
        // In a sticky directory nobody takes the file of another one away.
        let sticky = |mode: &u32| mode & 0o1000 != 0;
        let directory = self.files.directory_mode(path);
        if let Some((who, bits)) = directory.filter(|mode| !sticky(mode)).and_then(who) {
            let directory = path.parent().unwrap_or(Path::new(".")).display();
            let warning = format!(
                "{who} may put another file in the place of {shown}: chmod {bits} {directory}"
            );
            findings.warn(span, warning);
        }
    }

    /// A file that is no secret; a complaint at the place that names it.
    pub(super) fn read(
        &self,
        path: &Path,
        span: &Range<usize>,
        findings: &mut Findings<'_>,
    ) -> Option<Content> {
        let content = self.files.read(path);
        content
            .map_err(|reason| {
                let why = unreadable(path, &reason);
                findings.complain(span, format!("{} cannot be read: {why}", path.display()));
            })
            .ok()
    }

    /// The single line of a secret's file.
    pub(super) fn line(
        &mut self,
        from: &At<From>,
        findings: &mut Findings<'_>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        if let Some(known) = self.read.get(&from.value) {
            return known.clone();
        }
        let line = self.read_line(from, findings);
        self.read.insert(from.value.clone(), line.clone());
        line
    }

    /// Whether a credential is not to be seen by whoever only checks.
    fn is_hidden(&self, name: &str) -> bool {
        let seen = || {
            let directory = self.files.credentials()?;
            self.files.read(&directory.join(name)).ok()
        };
        self.files.checks_only() && seen().is_none()
    }

    fn read_line(
        &self,
        from: &At<From>,
        findings: &mut Findings<'_>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let path = match &from.value {
            From::File(typed) => self.path(typed),
            From::Credential(name) if name.contains('/') || name.starts_with('.') => {
                findings.complain(
                    &from.span,
                    format!("'{name}' is no credential's name: leave out any path"),
                );
                return None;
            }
            From::Credential(name) if self.is_hidden(name) => {
                let warning = format!(
                    "the credential '{name}' is for the running service: it was not looked at"
                );
                findings.warn(&from.span, warning);
                return Some(Zeroizing::new(b"unseen".to_vec()));
            }
            From::Credential(name) => match self.files.credentials() {
                Some(directory) => directory.join(name),
                None => {
                    let complaint = format!(
                        "there are no credentials ($CREDENTIALS_DIRECTORY is not set): start under systemd with \
                         LoadCredential={name}:FILE, or write password_file"
                    );
                    findings.complain(&from.span, complaint);
                    return None;
                }
            },
        };
        let content = self.private(&path, &from.span, findings)?;
        let mut line = content.bytes.as_slice();
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(encoding) = byte_order_mark(line) {
            // Nobody sees it, and a BMC counts each log-in with it as a wrong password.
            let complaint = format!(
                "{} begins with a byte order mark ({encoding}): save it without, the mark would be part of the secret",
                path.display()
            );
            findings.complain(&from.span, complaint);
            return None;
        }
        if line.contains(&b'\n') {
            let complaint = format!("{} has several lines: a secret is one line", path.display());
            findings.complain(&from.span, complaint);
            return None;
        }
        Some(Zeroizing::new(line.to_vec()))
    }

    /// A password of at most `limit` bytes.
    pub(super) fn password(
        &mut self,
        from: &At<From>,
        limit: usize,
        findings: &mut Findings<'_>,
    ) -> Option<Password> {
        let line = self.line(from, findings)?;
        if line.is_empty() {
            findings.warn(
                &from.span,
                "the password is empty: everybody may log in to these BMCs",
            );
        }
        if line.len() > limit {
            let complaint = format!(
                "the password has {} bytes: this protocol carries at most {limit}",
                line.len()
            );
            findings.complain(&from.span, complaint);
            return None;
        }
        match Password::new(line.to_vec()) {
            Ok(password) => Some(password),
            Err(why) => {
                findings.complain(&from.span, format!("the password cannot be used: {why}"));
                None
            }
        }
    }

    /// A BMC key from a file.
    pub(super) fn bmc_key(
        &mut self,
        from: &At<From>,
        findings: &mut Findings<'_>,
    ) -> Option<BmcKey> {
        let line = self.line(from, findings)?;
        bmc_key(&line, &from.span, findings)
    }
}

/// The encoding whose byte order mark the bytes begin with.
fn byte_order_mark(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xEF, 0xBB, 0xBF, ..] => Some("UTF-8"),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// A BMC key from its bytes, which were typed at `span`.
pub(super) fn bmc_key(
    bytes: &[u8],
    span: &Range<usize>,
    findings: &mut Findings<'_>,
) -> Option<BmcKey> {
    if bytes.iter().all(|byte| *byte == 0) {
        let complaint = "an empty or all-zero key is the same as none: leave it out";
        findings.complain(span, complaint);
        return None;
    }
    match BmcKey::new(bytes.to_vec()) {
        Ok(key) => Some(key),
        Err(why) => {
            findings.complain(span, format!("the key cannot be used: {why}"));
            None
        }
    }
}

/// Bytes from hexadecimal digits, with or without `0x` in front.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_digits.then(|| (0..digits.len()).step_by(2).map(pair).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_pipe_is_read_where_something_comes_out_of_it_and_keeps_nobody_where_nothing_does() {
        let place = tempfile::tempdir().expect("a directory");
        let pipe = place.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        let read = || Disk.read(&pipe).map(|content| content.bytes.to_vec());
        let silent = read().expect_err("nobody writes");
        assert!(silent.to_string().contains("it is a pipe"), "{silent}");
        let to = pipe.clone();
        // Waits for a reader.
        let writer = std::thread::spawn(move || fs::write(to, "secret"));
        let said = std::iter::repeat_with(read).find_map(Result::ok);
        assert_eq!(said.as_deref(), Some(b"secret".as_slice()));
        writer.join().expect("no panic").expect("written");
        let endless = Disk.read(Path::new("/dev/zero")).err().expect("too long");
        assert!(
            endless.to_string().contains("longer than 1 MiB"),
            "{endless}"
        );
        assert!(Disk.read(place.path()).is_err(), "a directory");
    }

    #[test]
    fn what_is_in_the_way_of_a_socket_or_a_directory_is_found() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        fs::write(at("file"), "x").expect("written");
        let _listening = UnixListener::bind(at("socket")).expect("it listens");
        let found = |name: &str, wanted| Disk.obstacle(&at(name), wanted);
        for (name, wanted) in [
            ("socket", Wanted::Socket),
            ("new", Wanted::Socket),
            ("new/new/socket", Wanted::Socket),
            (".", Wanted::Directory),
            ("new", Wanted::Directory),
        ] {
            assert_eq!(found(name, wanted), None, "{name} {wanted:?}");
        }
        for (name, wanted, obstacle) in [
            (".", Wanted::Socket, "."),
            ("file", Wanted::Socket, "file"),
            ("file/socket", Wanted::Socket, "file"),
            ("socket/new/socket", Wanted::Socket, "socket"),
            ("file", Wanted::Directory, "file"),
            ("socket/new", Wanted::Directory, "socket"),
        ] {
            assert_eq!(found(name, wanted), Some(at(obstacle)), "{name} {wanted:?}");
        }
    }
}
