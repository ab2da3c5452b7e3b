#!/usr/bin/env python3
"""Requests per second, per CPU second of the server, and their latencies: our daemon beside real Ironic, in one run.

    cargo build --release --bins && benches/load.py [--seconds 10] [--nodes 256] [--no-ironic]

Ours polls as many simulated BMCs as it has nodes, every 5 s, meanwhile. Ironic (PyPI, below target/) has as many fake
machines and polls none. Both answer without authentication on loopback; load comes from wrk (Debian), over the Unix
socket from a small client of our own. CPU is the server's alone (utime and stime of /proc/PID/stat); for ours it holds
the polling as well. Prints a table; a measurement, not a test: the exit status says only whether it could be made.
"""
import argparse
import re
import shutil
import subprocess
import sys
import time

from ground import BIN, VERSION, Bed, Ironic, Ours, Simulated, UnixClient, cpu_seconds, fetch, ironic_installed, memory, tree

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def seconds_of(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS[unit]


def wrk(url, connections, seconds):
    """Requests per second, p50, p99 in seconds, failures."""
    headers = [word for name, value in VERSION.items() for word in ("-H", f"{name}: {value}")]
    said = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", *headers, url],
                          capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    p50, p99 = (seconds_of(re.search(rf"^\s+{share}%\s+(\S+)", said, re.M)[1]) for share in (50, 99))
    count, took = re.search(r"(\d+) requests in (\S+),", said).groups()
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    bad = int(failed[1]) if failed else 0
    return int(count) / seconds_of(took), p50, p99, bad + sum(map(int, errors.groups())) if errors else bad


def unix(path, target, connections, seconds):
    rate, latencies, bad = UnixClient(path, connections).run(target, seconds)
    share = [latencies[min(len(latencies) - 1, int(len(latencies) * part))] for part in (0.5, 0.99)]
    return rate, *share, bad


def measured(what, pids, load):
    """One line of the table; requests per CPU second."""
    before, began = sum(map(cpu_seconds, pids)), time.monotonic()
    rate, p50, p99, bad = load()
    cpu, took = sum(map(cpu_seconds, pids)) - before, time.monotonic() - began
    per_cpu = rate * took / cpu if cpu else float("inf")
    print(f"{what:<34}{rate:>10.1f}{per_cpu:>14.1f}{p50 * 1e3:>10.2f}{p99 * 1e3:>10.2f}{bad:>8}", flush=True)
    return per_cpu


def paths(url):
    nodes = fetch(url + "/v1/nodes?limit=1000")["nodes"]
    return len(nodes), {"states": f"/v1/nodes/{nodes[len(nodes) // 2]['uuid']}/states", f"list of {len(nodes)}": "/v1/nodes?limit=1000",
                        f"detail of {len(nodes)}": "/v1/nodes/detail?limit=1000"}


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--seconds", type=int, default=10)
    words.add_argument("--nodes", type=int, default=256)
    words.add_argument("--connections", type=int, default=4)
    words.add_argument("--no-ironic", action="store_true")
    told = words.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt install wrk")
    if not (BIN / "rackbmcd").exists():
        sys.exit(f"{BIN}/rackbmcd is missing: cargo build --release --bins")
    ours, theirs = {}, {}
    with Bed() as bed:
        rack = Simulated(bed, told.nodes)
        daemon = Ours(bed, rack)
        before = cpu_seconds(daemon.pid)
        time.sleep(5)
        idle = (cpu_seconds(daemon.pid) - before) / 5
        print(f"rackbmcd, {told.nodes} BMCs polled every 5 s, nobody asking: {idle * 100:.1f} % of one CPU, "
              f"{memory(daemon.pid)[0] / 1024:.1f} MB resident")
        print(f"{'':<34}{'requests/s':>10}{'per CPU s':>14}{'p50 ms':>10}{'p99 ms':>10}{'bad':>8}")
        _, targets = paths(daemon.url)
        for name, path in targets.items():
            ours[name] = measured(f"rackbmcd, TCP, {name}", [daemon.pid],
                                  lambda path=path: wrk(daemon.url + path, told.connections, told.seconds))
        for name, path in targets.items():
            measured(f"rackbmcd, Unix socket, {name}", [daemon.pid],
                     lambda path=path: unix(daemon.socket, path, told.connections, told.seconds))
        programs = None if told.no_ironic else ironic_installed()
        if programs:
            # Ours goes on polling meanwhile: both have the same company.
            ironic = Ironic(bed, programs, told.nodes)
            _, targets = paths(ironic.url)
            for name, path in targets.items():
                theirs[name] = measured(f"ironic, TCP, {name}", tree(ironic.pid),
                                        lambda path=path: wrk(ironic.url + path, told.connections, told.seconds))
            print(f"ironic: {sum(memory(pid)[0] for pid in tree(ironic.pid)) / 1024:.1f} MB resident; "
                  f"rackbmcd: {memory(daemon.pid)[0] / 1024:.1f} MB")
    for name, per_cpu in theirs.items():
        print(f"{name}: {ours[name] / per_cpu:.0f} times Ironic's requests per CPU second")
    if not theirs:
        print("no Ironic beside it" + ("" if told.no_ironic else ": it could not be installed"))


if __name__ == "__main__":
    main()
