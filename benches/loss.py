#!/usr/bin/env python3
"""How long it takes until N BMCs were read once, from nothing, over a network that loses packets: our daemon and ipmipower.

    cargo build --release --bins && benches/loss.py [--nodes 48] [--runs 5]

The same simulated BMCs for both, behind the same relays, which lose datagrams each way and keep each for 1 to 15 ms, so that a
round trip is 2 to 30 ms. The clock runs from the start of the program that asks until the last BMC was read: ipmipower's end,
or the daemon's answer that names a power state for every node (asked for each 20 ms over its Unix socket). An "open" is an Open
Session Request that arrived at a BMC.
"""
import argparse
import http.client
import json
import multiprocessing
import os
import random
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time

from ground import BIN, Bed, Process, Simulated, VERSION

OPEN_SESSION = 0x10


class Network:
    """Relays in a process of their own: a port for each BMC."""

    def __init__(self, targets, loss, seed):
        self.fronts = [bound() for _ in targets]
        self.ports = [front.getsockname()[1] for front in self.fronts]
        self.opens = multiprocessing.Value("L", 0)
        self.process = multiprocessing.Process(target=self.run, args=(targets, loss, random.Random(seed)), daemon=True)
        self.process.start()
        for front in self.fronts:
            front.close()

    def run(self, targets, loss, rng):
        chosen, waiting, backs = selectors.DefaultSelector(), [], {}
        for front, target in zip(self.fronts, targets):
            chosen.register(front, selectors.EVENT_READ, (front, target, None))
        while True:
            now = time.monotonic()
            for entry in [entry for entry in waiting if entry[0] <= now]:
                waiting.remove(entry)
                _, send, data = entry
                send(data)
            soonest = min((entry[0] for entry in waiting), default=now + 1)
            for key, _ in chosen.select(max(0, soonest - now)):
                front, target, client = key.data
                data, peer = key.fileobj.recvfrom(2048)
                if rng.random() < loss:
                    continue
                if client is None:
                    if (front, peer) not in backs:
                        backs[front, peer] = bound()
                        chosen.register(backs[front, peer], selectors.EVENT_READ, (front, target, peer))
                    way = lambda data, back=backs[front, peer], to=target: self.deliver(back, to, data)
                else:
                    way = lambda data, front=front, to=client: front.sendto(data, to)
                waiting.append((time.monotonic() + rng.uniform(0.001, 0.015), way, data))

    def deliver(self, back, target, data):
        if data[4:6] == bytes([6, OPEN_SESSION]):
            with self.opens.get_lock():
                self.opens.value += 1
        back.sendto(data, ("127.0.0.1", target))

    def end(self):
        self.process.kill()
        self.process.join()
        return self.opens.value


def bound():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    return s


def ipmipower(bed, network, _number):
    """Seconds, and how many BMCs were read."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in network.ports)
    began = time.monotonic()
    said = subprocess.run(["ipmipower", "-D", "LAN_2_0", "-I", "17", "-l", "OPERATOR", "-u", "admin", "-p", "admin", "-h", hosts, "--stat"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout
    return time.monotonic() - began, said.count(": on")


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def states(path):
    """The power states that the daemon shows; none while it does not answer yet."""
    try:
        connection = Unix(path)
        connection.request("GET", "/v1/nodes?fields=power_state&limit=1000", headers=VERSION)
        nodes = json.loads(connection.getresponse().read())["nodes"]
        connection.close()
        return [node["power_state"] for node in nodes]
    except OSError:
        return []


def daemon(bed, network, number):
    """Seconds, and how many BMCs were read."""
    home = bed.dir / f"run{number}"
    home.mkdir()
    secret = home / "password"
    secret.touch(0o600)
    secret.write_text("admin")
    path = str(home / "s")
    nodes = "".join(f'[[node]]\nname = "n{n}"\naddress = "127.0.0.1"\nport = {port}\n' for n, port in enumerate(network.ports))
    config = home / "rackbmcd.toml"
    config.write_text(f'[daemon]\nstate_dir = "{home}"\n[api]\nsocket = "{path}"\n[rack]\nname = "r1"\n[defaults]\nusername = "admin"\n'
                      f'password_file = "{secret}"\n{nodes}')
    began = time.monotonic()
    ours = Process([str(BIN / "rackbmcd"), "--config", str(config), "--log-level", "warn"], home / "log")
    try:
        while time.monotonic() < began + 120 and ours.alive():
            shown = states(path)
            if shown and all(shown):
                break
            time.sleep(0.02)
        return time.monotonic() - began, sum(map(bool, states(path)))
    finally:
        ours.stop()


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--nodes", type=int, default=48)
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--loss", default="0,3,10,20", help="percent each way")
    told = words.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    if not shutil.which("ipmipower"):
        sys.exit("ipmipower is missing")
    with Bed() as bed:
        targets = Simulated(bed, told.nodes).ports()
        print(f"{told.nodes} BMCs, cipher suite 17, {told.runs} runs each; seconds until all were read, opens a BMC")
        number = 0
        for loss in map(float, told.loss.split(",")):
            found = {}
            for seed in range(told.runs):
                for name, client in (("ipmipower", ipmipower), ("rackbmcd", daemon)):
                    network = Network(targets, loss / 100, 1000 * loss + seed)
                    number += 1
                    took, read = client(bed, network, number)
                    found.setdefault(name, []).append((took, read, network.end() / told.nodes))
            medians = {name: statistics.median(took for took, _, _ in runs) for name, runs in found.items()}
            for name, runs in found.items():
                each = " ".join(f"{took:.2f}" + (f" ({read} read)" if read < told.nodes else "") for took, read, _ in sorted(runs))
                opens = statistics.mean(opens for _, _, opens in runs)
                print(f"{loss:g} %  {name:<10} median {medians[name]:.2f} of {each}; {opens:.2f} opens", flush=True)
            print(f"{loss:g} %  rackbmcd / ipmipower: {medians['rackbmcd'] / medians['ipmipower']:.2f}", flush=True)


if __name__ == "__main__":
    main()
