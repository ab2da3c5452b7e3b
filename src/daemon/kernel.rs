//! What the kernel and the C library give only to `unsafe` callers: a descriptor that was passed to
//! this process by its number, the groups of a Unix socket's peer, for which nix has no wrapper,
//! and two calls of the allocator. Nothing else is in here.
#![allow(
    unsafe_code,
    reason = "no safe wrapper exists for these; each says why it holds"
)]

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Takes a descriptor over that systemd passed.
///
/// Each number may be adopted once: `listen` does it, at the start, for one number of systemd's own
/// range.
pub(super) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: systemd opened it for this process (LISTEN_PID was compared), and nobody else here
    // owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Lets all threads share one heap.
///
/// The C library would give each thread one of its own, for threads that allocate at the same time.
/// Ours do so hardly ever, and what one frees another could not use: it is 0.5 MB of a rack of 256.
/// Other C libraries have one heap anyway.
pub(super) fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number, before another thread is there that could allocate meanwhile.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    #[cfg(target_env = "gnu")]
    if set == 0 {
        log::debug!("the allocator keeps several heaps");
    }
}

/// Gives what is as long as the answers of the largest racks memory of its own, which goes back to
/// the system with it.
///
/// The C library begins with that, and takes such pieces from the heap once it has seen a few: what
/// lives for long comes to lie between them, and keeps what is free from the system. It is 12 MB of
/// 60 while thousands of tasks begin.
pub(super) fn keep_answers_apart() {
    #[cfg(target_env = "gnu")]
    const LONG: i32 = 1 << 20;
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number, before another thread is there that could allocate meanwhile.
    let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LONG) };
    #[cfg(target_env = "gnu")]
    if set == 0 {
        log::debug!("the allocator takes long answers from the heap");
    }
}

/// Gives back to the system what is free in the heap. The C library does so by itself at the heap's
/// end only.
///
/// Of a rack of 4096 it is 2.7 MB after the first log-ins; it takes a millisecond or two.
pub(super) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, and touches nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// The supplementary groups that the peer had when it connected (SO_PEERGROUPS, socket(7)).
///
/// # Errors
/// What the kernel says; a peer in more groups than the kernel allows a process cannot be.
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length =
            libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: `groups` is writable for `length` bytes, and `length` is what the kernel may
        // write at most; gid_t may hold any bytes.
        let outcome = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        if outcome == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE: more groups than there was room for; the kernel says how many.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_groups_of_a_peer_are_those_of_its_process() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut found = peer_groups(ours.as_fd()).unwrap();
        let mut expected: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .into_iter()
            .map(|group| group.as_raw())
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
