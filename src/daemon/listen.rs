//! The API's sockets: those that systemd passes, else our own.

use super::thread::Executor;
use super::{Failure, kernel};
use crate::api::serve::{self, Context};
use crate::config::ApiSettings;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, chown};
use smol::Async;
use smol::net::TcpListener;
use smol::net::unix::UnixListener;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What the API listens on.
pub(super) struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<TcpListener>,
    /// The socket file that we made and take away again.
    pub(super) made: Option<PathBuf>,
}

impl Listeners {
    /// Takes over systemd's socket named `api` if one was passed, else makes the configured one.
    pub(super) fn open(settings: &ApiSettings) -> Result<Self, Failure> {
        let tcp = settings.tcp.map(|address| {
            let listener = std::net::TcpListener::bind(address)
                .map_err(|error| Failure::new(format!("api.tcp {address}: {error}")))?;
            Async::new(listener)
                .map(TcpListener::from)
                .map_err(Failure::new)
        });
        let tcp = tcp.transpose()?;
        if let Some(unix) = passed()? {
            return Ok(Self {
                unix,
                tcp,
                made: None,
            });
        }
        let path = &settings.socket;
        let context =
            |error: io::Error| Failure::new(format!("api.socket {}: {error}", path.display()));
        clear(path).map_err(context)?;
        // Nobody but us connects before the file has its group and mode.
        let before = umask(Mode::S_IRWXG | Mode::S_IRWXO);
        let listener = std::os::unix::net::UnixListener::bind(path);
        umask(before);
        let listener = listener.map_err(context)?;
        give(path, settings).map_err(context)?;
        let unix = Async::new(listener)
            .map(UnixListener::from)
            .map_err(context)?;
        Ok(Self {
            unix,
            tcp,
            made: Some(path.clone()),
        })
    }

    /// Takes our socket file away.
    pub(super) fn remove(&self) {
        if let Some(path) = &self.made
            && let Err(error) = std::fs::remove_file(path)
        {
            log::warn!("{}: {error}", path.display());
        }
    }
}

/// The socket that systemd passed under the name `api`, or the only one.
pub(super) fn passed() -> Result<Option<UnixListener>, Failure> {
    let Ok(passed) = sd_notify::listen_fds_with_names() else {
        return Ok(None);
    };
    let passed: Vec<_> = passed.collect();
    let alone = passed.len() == 1;
    let found = passed.into_iter().find(|(_, name)| alone || name == "api");
    let Some((descriptor, _)) = found else {
        return Ok(None);
    };
    let listener = std::os::unix::net::UnixListener::from(kernel::adopt(descriptor));
    let listener = Async::new(listener).map(UnixListener::from);
    listener
        .map(Some)
        .map_err(|error| Failure::new(format!("the socket that systemd passed: {error}")))
}

/// Serves the TCP port: over TLS where the context holds a certificate, which may be replaced by
/// another, but not taken away.
pub(super) fn serve_tcp(
    listener: TcpListener,
    context: Rc<Context>,
    executor: &Executor,
) -> smol::Task<()> {
    #[cfg(feature = "tls")]
    if context.identity.borrow().is_some() {
        return executor.spawn(serve::serve_tls(listener, context));
    }
    executor.spawn(serve::serve_tcp(listener, context))
}

/// The keys that a reload finds changed, but that hold from the next start on.
pub(super) fn fixed(old: &ApiSettings, new: &ApiSettings) -> Vec<&'static str> {
    let changed = [
        ("api.socket", old.socket != new.socket),
        ("api.socket_group", old.socket_group != new.socket_group),
        ("api.socket_mode", old.socket_mode != new.socket_mode),
        ("api.tcp", old.tcp != new.tcp),
        (
            "whether api.tcp speaks TLS",
            old.tls.is_some() != new.tls.is_some(),
        ),
        ("api.limits", old.limits != new.limits),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| key).collect()
}

/// Makes a place for the socket file: one that nobody listens on any more is a leftover.
fn clear(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent()
        && !directory.exists()
    {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket: move it away",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another daemon listens there: stop it, or give this one another socket",
            )),
            Err(_) => std::fs::remove_file(path),
        },
    }
}

/// Sets the socket file's group and mode.
fn give(path: &Path, settings: &ApiSettings) -> io::Result<()> {
    if let Some(name) = &settings.socket_group {
        let by_name = Group::from_name(name)?.map(|group| group.gid);
        let group = by_name.or_else(|| name.parse::<u32>().ok().map(Into::into));
        let group = group.ok_or_else(|| io::Error::other(format!("there is no group '{name}'")))?;
        chown(path, None, Some(group))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(settings.socket_mode))
}
