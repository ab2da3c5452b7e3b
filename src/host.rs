//! What there is to know of this host and of this process for a report: read from the kernel's own
//! files, and left out where they cannot be read. Touches nothing else.

use std::collections::BTreeMap;
use std::fs;

/// What is known of the host, by name.
pub(crate) fn facts() -> BTreeMap<String, String> {
    let cpus = std::thread::available_parallelism().map(|cpus| cpus.to_string());
    let known = [
        ("architecture", Some(std::env::consts::ARCH.to_owned())),
        ("cpus", cpus.ok()),
        ("kernel", line("/proc/sys/kernel/osrelease")),
        ("system", system()),
        ("memory", member("/proc/meminfo", "MemTotal:")),
        ("memory available", member("/proc/meminfo", "MemAvailable:")),
        ("load", line("/proc/loadavg")),
        ("seconds since the boot", line("/proc/uptime")),
        ("clock source", line(CLOCK)),
        (
            "longest receive buffer of a socket",
            line("/proc/sys/net/core/rmem_max"),
        ),
    ];
    named(known)
}

/// What is known of this process, by name.
pub(crate) fn process_facts() -> BTreeMap<String, String> {
    named([
        ("memory of the process", member(STATUS, "VmRSS:")),
        ("most memory of the process", member(STATUS, "VmHWM:")),
        ("threads of the process", member(STATUS, "Threads:")),
        (
            "open files of the process, soft and hard limit",
            member("/proc/self/limits", "Max open files"),
        ),
    ])
}

/// How many bytes of memory this process has, 0 where the kernel does not say.
pub(crate) fn resident() -> u64 {
    let said = member(STATUS, "VmRSS:").unwrap_or_default();
    let kilobytes = said.split(' ').next().and_then(|kb| kb.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn named<const N: usize>(known: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    let known = known.into_iter();
    known
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

const STATUS: &str = "/proc/self/status";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

/// The rest of the line that begins with `name`.
fn member(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    Some(words.join(" "))
}

fn system() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_large_the_process_is() {
        let much = vec![1_u8; 32 << 20];
        assert!(resident() > 32 << 20);
        drop(much);
    }

    #[test]
    fn a_host_tells_its_kernel_and_this_process_its_memory() {
        let mut facts = facts();
        facts.extend(process_facts());
        assert!(facts["kernel"].starts_with(|first: char| first.is_ascii_digit()));
        assert!(facts["memory of the process"].ends_with(" kB"), "{facts:?}");
        assert!(
            facts.values().all(|value| !value.contains('\n')),
            "{facts:?}"
        );
    }
}
