//! What the kernel and the C library give only to `unsafe` callers: a descriptor that was passed to
//! this process by its number, the groups of a Unix socket's peer, for which nix has no wrapper,
//! three calls of the allocator, and one about the pages of the program. Nothing else is in here.
#![allow(
    unsafe_code,
    reason = "no safe wrapper exists for these; each says why it holds"
)]

use nix::libc;
use std::fs;
use std::io;
use std::ops::Range;
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

/// The pages of the program's file that are mapped to be read or run.
pub(super) struct Program(Vec<Range<usize>>);

impl Program {
    /// Those of this process. Takes a millisecond for each few MB that the process has.
    pub(super) fn mapped() -> Self {
        let maps = fs::read_to_string("/proc/self/smaps");
        Self(maps.map_or_else(|_| Vec::new(), |maps| untouched_program(&maps)))
    }

    /// Lets the kernel forget which of them this process has used: those that are needed come back
    /// at their next use, out of the kernel's cache.
    ///
    /// It is 3 MB that only the start had needed (the configuration, the command line, the journal's
    /// repair).
    pub(super) fn give_back(&self) {
        for pages in &self.0 {
            let begin = std::ptr::with_exposed_provenance_mut(pages.start);
            // SAFETY: these are pages of the program's file that cannot be written, and none of
            // them differed from the file when the kernel was asked: what is read there again is
            // the same. They stay mapped for as long as this process lives, and nobody but the
            // loader, before `main`, writes there.
            let _ = unsafe { libc::madvise(begin, pages.len(), libc::MADV_DONTNEED) };
        }
    }
}

/// What of the program is mapped to be read or run and is as the file has it, by /proc/self/smaps
/// (proc_pid_smaps(5)). The program is the first file there.
fn untouched_program(maps: &str) -> Vec<Range<usize>> {
    let mut program = None;
    let mut pages = None;
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let first = fields.next().unwrap_or_default();
        if let Some((begin, end)) = first.split_once('-') {
            let rights = fields.next().unwrap_or_default();
            let name = fields.nth(3);
            program = program.or(name);
            let address = |text| usize::from_str_radix(text, 16).ok();
            pages = address(begin).zip(address(end));
            pages = pages.filter(|_| matches!(rights, "r--p" | "r-xp") && name == program);
        } else if first == "Anonymous:" && fields.next() == Some("0") {
            found.extend(pages.take().map(|(begin, end)| begin..end));
        }
    }
    found
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
    fn what_the_loader_has_written_and_what_is_no_part_of_the_program_stays() {
        let maps = "\
5591cfe18000-5591cfe1a000 r--p 00000000 fe:00 247282                     /usr/bin/rackbmcd
Rss:                   8 kB
Anonymous:             0 kB
5591cfe1a000-5591cfe20000 r-xp 00002000 fe:00 247282                     /usr/bin/rackbmcd
Anonymous:             0 kB
5591cfe20000-5591cfe23000 r-xp 00008000 fe:00 247282                     /usr/bin/rackbmcd
Anonymous:             4 kB
5591cfe23000-5591cfe24000 r--p 0000a000 fe:00 247282                     /usr/bin/rackbmcd
Anonymous:             4 kB
5591cfe24000-5591cfe25000 rw-p 0000b000 fe:00 247282                     /usr/bin/rackbmcd
Anonymous:             0 kB
5591d3efb000-5591d3f1c000 rw-p 00000000 00:00 0                          [heap]
Anonymous:             0 kB
7f18a7e62000-7f18a7eb9000 r-xp 00000000 fe:00 316534                     /usr/lib/libc.so.6
Anonymous:             0 kB
7f18a7f00000-7f18a7f01000 r--p 00000000 00:00 0
Anonymous:             0 kB
";
        let found = untouched_program(maps);
        let expected = [
            0x5591_cfe1_8000..0x5591_cfe1_a000,
            0x5591_cfe1_a000..0x5591_cfe2_0000,
        ];
        assert_eq!(found, expected);
        assert_eq!(untouched_program(""), []);
    }

    #[test]
    fn the_program_runs_on_after_its_pages_were_given_back() {
        let program = Program::mapped();
        let here = Program::mapped as *const () as usize;
        assert!(program.0.iter().any(|pages| pages.contains(&here)));
        let words = std::hint::black_box("as before").to_owned();
        program.give_back();
        assert_eq!(std::hint::black_box("as before"), words);
    }

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
