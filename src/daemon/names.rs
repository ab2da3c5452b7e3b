//! Names: of hosts (BMCs may be configured by name), of users and groups behind a Unix socket.

use std::net::{SocketAddr, ToSocketAddrs};

/// Looks a host name up, or a link-local address with its scope; blocks, so it is called off the executor. The port
/// means nothing.
pub(super) fn resolve(host: &str) -> Result<SocketAddr, String> {
    let mut addresses = (host, 0)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    addresses
        .next()
        .ok_or_else(|| "it has no address".to_owned())
}

/// The login name of a user id, where the host knows one.
pub(super) fn user(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into())
        .ok()
        .flatten()
        .map(|user| user.name)
}
