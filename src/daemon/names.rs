//! Names: of hosts (BMCs may be configured by name), of users and groups behind a Unix socket.

use std::net::{SocketAddr, ToSocketAddrs};

/// Looks a host name up, or a link-local address with its scope: its addresses, each once, in the resolver's order.
/// Blocks, so it is called off the executor. The ports mean nothing.
pub(super) fn resolve(host: &str) -> Result<Vec<SocketAddr>, String> {
    let found = (host, 0)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// The login name of a user id, where the host knows one.
pub(super) fn user(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into())
        .ok()
        .flatten()
        .map(|user| user.name)
}
