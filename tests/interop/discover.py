#!/usr/bin/env python3
"""`rackbmc discover` on a network of its own: BMCs of ipmi_sim, pyghmi and our simulator, and 250 addresses where nobody is.

Root only: the network is a namespace, which goes away with this program.
"""
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time

from daemon import BIN
from bed import PASSWORD, USER, Bed, Checks, Process, free_port, until

NETWORK = "10.99.0"
# The payload types of Open Session Request and RAKP 1 (IPMI v2.0, table 13-16).
OPEN_SESSION, RAKP_1 = 0x10, 0x12


def listener(address):
    """The usual port of an address, or of all that have no other listener."""
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    front.bind((address, 623))
    return front


class Door(threading.Thread):
    """The usual port of an address, led to a BMC on loopback; counts what begins a log-in."""

    def __init__(self, address, port):
        super().__init__(daemon=True)
        self.target, self.peers, self.seen = ("127.0.0.1", port), {}, []
        self.front = listener(address)
        self.waiting = selectors.DefaultSelector()
        self.waiting.register(self.front, selectors.EVENT_READ, None)
        self.start()

    def run(self):
        while True:
            for ready, _ in self.waiting.select():
                if ready.data is None:
                    datagram, peer = self.front.recvfrom(4096)
                    if peer not in self.peers:
                        self.peers[peer] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        self.waiting.register(self.peers[peer], selectors.EVENT_READ, peer)
                    if len(datagram) > 5 and datagram[4] == 6:
                        self.seen.append(datagram[5] & 0x3F)
                    self.peers[peer].sendto(datagram, self.target)
                else:
                    self.front.sendto(ready.fileobj.recv(4096), ready.data)

    def log_ins(self):
        """Open Session Requests and RAKP 1s since the last question."""
        seen, self.seen = self.seen, []
        return seen.count(OPEN_SESSION), seen.count(RAKP_1)


def discover(bed, *words):
    began = time.monotonic()
    done = subprocess.run([str(BIN / "rackbmc"), "discover", *words], capture_output=True, text=True, timeout=180, check=False, stdin=subprocess.DEVNULL, cwd=bed.dir)
    return done, time.monotonic() - began


def inside():
    c = Checks("discover")
    # The whole network is this host's. Who has no door there takes what comes and says nothing.
    for line in ("link set lo up", f"addr add {NETWORK}.1/24 dev lo"):
        subprocess.run(["ip", *line.split()], check=True)
    silence = listener("0.0.0.0")
    with Bed() as bed:
        password = bed.dir / "bmc.pw"
        password.write_text(PASSWORD + "\n")
        wrong = bed.dir / "wrong.pw"
        wrong.write_text("no such password\n")
        for file in (password, wrong):
            file.chmod(0o600)
        theirs, pyghmi = bed.sim("bmc001"), bed.fake("bmc003", suite=3)
        doors = [Door(f"{NETWORK}.11", theirs.port), Door(f"{NETWORK}.12", pyghmi.port)]
        for last in (13, 14):
            port = free_port()
            argv = [str(BIN / "rackbmc"), "sim", "--nodes", "1", "--port", str(port), "--user", USER, "--password-file", str(password)]
            ours = bed.add(Process(argv, bed.dir / f"sim{last}.log"))
            until(10, lambda ours=ours, port=port: str(port) in ours.said())
            doors.append(Door(f"{NETWORK}.{last}", port))

        done, took = discover(bed, f"{NETWORK}.0/24", "-o", "json")
        found = json.loads(done.stdout or "[]")
        c.check("all four BMCs are found, and nobody else", [bmc["address"] for bmc in found] == [f"{NETWORK}.{last}" for last in (11, 12, 13, 14)], (done.stdout, done.stderr))
        c.check("nobody was logged in to", {door.log_ins() for door in doors} == {(0, 0)})
        # Two datagrams to each address, 100 a second.
        c.check("the network is spared", took > 254 * 2 / 100, took)

        login = ("--username", USER, "--password-file", str(password))
        config = bed.dir / "found.toml"
        done, _ = discover(bed, f"{NETWORK}.0/24", "--rate", "1000", *login, "-o", "json", "--write-config", str(config))
        found = json.loads(done.stdout or "[]")
        c.check("each says who it is and that its machine is on", len(found) == 4 and all(bmc["power"] == "power on" and bmc["maker"] is not None for bmc in found),
                (done.stdout, done.stderr))
        c.check("one log-in each", all(proofs == 1 for _, proofs in (door.log_ins() for door in doors)), [door.seen for door in doors])
        said = subprocess.run([str(BIN / "rackbmcd"), "--config", str(config), "--check-config"], capture_output=True, text=True, check=False)
        text = config.read_text()
        c.check("the written configuration is one, and its rack starts paused", said.returncode == 0 and "start_paused = true" in text and f"{NETWORK}.12" in text, (said.stderr, text))

        login = ("--username", USER, "--password-file", str(wrong))
        done, _ = discover(bed, *(f"{NETWORK}.{last}" for last in (11, 13, 14)), *login)
        c.check("after two refusals in a row nobody is logged in to any more", done.stdout.count("log-in refused") == 2 and "2 log-ins in a row were refused" in done.stderr,
                (done.stdout, done.stderr))
        tried = [doors[place].log_ins()[1] for place in (0, 2, 3)]
        c.check("and a refused one is not tried again", tried == [1, 1, 0], tried)

        done, _ = discover(bed, f"{NETWORK}.200", f"{NETWORK}.201")
        c.check("where nobody is, that is said and a failure", done.returncode == 1 and "0 of 2 answer" in done.stderr, (done.stdout, done.stderr))
    silence.close()
    c.end()


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        inside()
    else:
        os.execvp("unshare", ["unshare", "--net", "--mount-proc", "--fork", "--pid", "--kill-child", sys.executable, __file__, "inside"])
