#!/usr/bin/env python3
"""Resident memory of the daemon: idle over 256 polled nodes, with open event streams, and after they have gone.

    cargo build --release --bins && benches/memory.py [--nodes 256] [--streams 200]

The goal is less than 10 MB with 200 streams. "own" is what is neither program text nor a mapped file.
"""
import argparse
import re
import socket
import time

from ground import Bed, Ours, Simulated, memory


def stream(path):
    """An open stream of events whose head has been read."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.settimeout(10)
    s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        data = s.recv(4096)
        if not data:
            break
        head += data
    if not re.match(rb"HTTP/1.1 200 .*text/event-stream", head, re.S):
        raise SystemExit(f"no stream: {head!r}")
    return s


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--nodes", type=int, default=256)
    words.add_argument("--streams", type=int, default=200)
    words.add_argument("--settle", type=int, default=10)
    told = words.parse_args()
    with Bed() as bed:
        daemon = Ours(bed, Simulated(bed, told.nodes))

        def say(what):
            time.sleep(told.settle)
            all_of_it, own = memory(daemon.pid)
            print(f"{what:<44}{all_of_it / 1024:>8.1f} MB resident{own / 1024:>8.1f} MB own", flush=True)
            return all_of_it
        say(f"idle, {told.nodes} nodes polled every 5 s")
        streams = [stream(daemon.socket) for _ in range(told.streams)]
        with_streams = say(f"{told.streams} streams of events")
        for s in streams:
            s.close()
        say("streams closed")
        print("under 10 MB" if with_streams < 10 * 1024 else "10 MB or more")


if __name__ == "__main__":
    main()
