#!/usr/bin/env python3
"""How long it takes until a machine that obeys at once is off, on, off and on again: our client beside ipmipower, in one run.

    cargo build --release --bins && benches/looks.py [--runs 5] [--delay 10]

One simulated BMC for both, behind a relay that keeps each datagram for DELAY ms, each way. The clock runs from the start of the
client's program to its end: `rackbmc off` and `on`, which return when the state was read back twice, over a daemon that keeps
its session with the BMC and may give a whole burst of commands; `ipmipower --off --wait-until-off` and `--on --wait-until-on`,
which log in each time and read once.
"""
import argparse
import heapq
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

from ground import BIN, Bed, Ours, Simulated

# Seconds after which the daemon may give a burst of commands again.
REST = 4


class Relay(threading.Thread):
    """A port before the BMC's; everything takes its time on the way."""

    def __init__(self, target, delay):
        super().__init__(daemon=True)
        self.target, self.delay = ("127.0.0.1", target), delay
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.port = self.front.getsockname()[1]
        self.start()

    def run(self):
        waits = selectors.DefaultSelector()
        waits.register(self.front, selectors.EVENT_READ)
        backs, due, count = {}, [], 0
        while True:
            waiting = max(0, due[0][0] - time.monotonic()) if due else None
            for key, _ in waits.select(waiting):
                data, client = key.fileobj.recvfrom(4096)
                if key.fileobj is self.front:
                    if client not in backs:
                        backs[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        backs[client].connect(self.target)
                        waits.register(backs[client], selectors.EVENT_READ, client)
                    send = backs[client].send, (data,)
                else:
                    send = self.front.sendto, (data, key.data)
                count += 1
                heapq.heappush(due, (time.monotonic() + self.delay, count, send))
            while due and due[0][0] <= time.monotonic():
                send, words = heapq.heappop(due)[2]
                try:
                    send(*words)
                except OSError:
                    pass


def run(argv):
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return time.monotonic() - began


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--delay", type=float, default=10, help="milliseconds each way")
    told = words.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    if not shutil.which("ipmipower"):
        sys.exit("ipmipower is missing")
    with Bed() as bed:
        rack = Simulated(bed, 1)
        relay = Relay(rack.ports()[0], told.delay / 1000)
        text = rack.config.read_text()
        moved = re.sub(r"^port = \d+", f"port = {relay.port}", text, flags=re.M)
        # Power-ons follow each other here as they would not on different machines.
        rack.config.write_text(moved.replace('name = "sim"\n', 'name = "sim"\npower_on_stagger = "0s"\n', 1))
        daemon = Ours(bed, rack, defaults='min_off_time = "0s"\n')
        node = re.search(r'^name = "(n[^"]*)"', text, re.M)[1]
        ours = [str(BIN / "rackbmc"), "--socket", daemon.socket]
        theirs = ["ipmipower", "-D", "LAN_2_0", "-I", "17", "-l", "OPERATOR", "-u", "admin", "-p", "admin", "-h",
                  f"127.0.0.1:{relay.port}"]
        rows = {"off": ([*ours, "off", node], [*theirs, "--off", "--wait-until-off"]),
                "on": ([*ours, "on", node], [*theirs, "--on", "--wait-until-on"])}
        took = {}
        for _ in range(told.runs):
            for who in (0, 1):
                time.sleep(REST)
                for what, argv in rows.items():
                    took.setdefault((what, who), []).append(run(argv[who]))
            time.sleep(REST)
            took.setdefault(("reboot", 0), []).append(run([*ours, "reboot", node]))
        print(f"round trip {2 * told.delay:g} ms, median of {told.runs}, seconds")
        median = {key: statistics.median(times) for key, times in took.items()}
        for what in rows:
            print(f"{what:<14} rackbmc {median[what, 0]:.2f}  ipmipower {median[what, 1]:.2f}  ratio {median[what, 0] / median[what, 1]:.2f}")
        both = [median["off", who] + median["on", who] for who in (0, 1)]
        print(f"{'off and on':<14} rackbmc {both[0]:.2f}  ipmipower {both[1]:.2f}  ratio {both[0] / both[1]:.2f}")
        print(f"{'reboot':<14} rackbmc {median['reboot', 0]:.2f}  (min_off_time = 0)")


if __name__ == "__main__":
    main()
