#!/usr/bin/env python3
"""Whether the time of a refused log-in tells which users there are.

    cargo build --bins && RACKBMCD_BIN=target/debug benches/logins.py [--tries 60]

Users with bcrypt costs 4, 8 and 10, and names that nobody has; each try comes from an address of its own in 127.0.0.0/8, so that
no wait after a failure is in it, and they take turns, so that a busy machine is as busy for all. Medians, quartiles, and for
each pair the chance that a try of the one takes longer than one of the other: 0.5 where nothing can be told.
"""
import argparse
import base64
import itertools
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bcrypt  # in tests/bed/requirements.txt's environment, or python3-bcrypt

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("RACKBMCD_BIN", ROOT / "target/release"))
COSTS = {"cost04": 4, "cost08": 8, "cost10": 10}


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(port, user, source):
    """Seconds until a wrong password of this user is refused."""
    with socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0)) as stream:
        basic = base64.b64encode(f"{user}:wrong".encode()).decode()
        ask = f"GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n\r\n"
        began = time.perf_counter()
        stream.sendall(ask.encode())
        said = stream.recv(65536)
        took = time.perf_counter() - began
    if b" 401 " not in said.split(b"\r\n")[0]:
        sys.exit(f"{user}: {said[:200]}")
    return took


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tries", type=int, default=60)
    tries = arguments.parse_args().tries
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "state").mkdir(mode=0o700)
        hashes = (f"{user}:{bcrypt.hashpw(b'right', bcrypt.gensalt(cost)).decode()}" for user, cost in COSTS.items())
        write(folder / "htpasswd", "\n".join(hashes) + "\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        write(folder / "rackbmcd.toml", f"""[daemon]
state_dir = "{folder}/state"
[api]
socket = "{folder}/s"
tcp = "127.0.0.1:{port}"
auth = "http_basic"
htpasswd = "htpasswd"
[rack]
name = "r1"
""")
        daemon = subprocess.Popen([BIN / "rackbmcd", "--config", folder / "rackbmcd.toml"], stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            measure(port, tries)
        finally:
            daemon.terminate()
            daemon.wait()


def measure(port, tries):
    sources = (f"127.1.{number // 250}.{number % 250 + 1}" for number in itertools.count())
    took = {user: [] for user in [*COSTS, "nobody", "nobody2"]}
    for attempt in range(tries):
        for user in took:
            claimed = f"{user}-{attempt}" if user.startswith("nobody") else user
            took[user].append(refused(port, claimed, next(sources)))
    for user, times in took.items():
        low, middle, high = (1000 * at for at in statistics.quantiles(times, n=4))
        print(f"{user:8} {middle:8.2f} ms   {low:.2f} to {high:.2f}")
    for one, other in itertools.combinations(took, 2):
        pairs = itertools.product(took[one], took[other])
        longer = sum(a > b for a, b in pairs) / (tries * tries)
        print(f"{one} takes longer than {other}: {longer:.2f}")


if __name__ == "__main__":
    main()
