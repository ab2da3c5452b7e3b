#!/usr/bin/env python3
"""Racks that publish summaries in a real etcd, and `rackbmc --fleet` that reads them there: whole racks, racks that died since, an
etcd that is away, and a thousand racks that a script has written.

    tests/interop/fleet.py ETCD        ETCD: the program of Debian's etcd-server
"""
import base64
import datetime
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid

from daemon import BIN
from bed import Bed, Checks, Process, free_port, until

RACKS, NODES = 1000, 64
FILE = """\
[etcd]
endpoints = ["{etcd}"]
prefix = "/test"
"""
RACK = """
[[rack]]
name = "{name}"
{place}
"""


class Etcd:
    def __init__(self, bed, binary):
        self.port, peer = free_port(), free_port()
        self.url, peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        self.argv = [binary, "--data-dir", str(bed.dir / "etcd"), "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                     "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"]
        self.log = bed.dir / "etcd.log"
        self.bed, self.process = bed, None
        self.start()

    def start(self):
        self.process = Process(self.argv, self.log)
        self.bed.add(self.process)
        return until(15, lambda: self.ask("/v3/kv/range", {"key": text("x")}) is not None)

    def ask(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def put(self, rack, summary):
        value = base64.b64encode(json.dumps(summary, separators=(",", ":")).encode()).decode()
        assert self.ask("/v3/kv/put", {"key": text(key(rack)), "value": value}) is not None, self.process.said()[-500:]

    def summary(self, rack):
        found = (self.ask("/v3/kv/range", {"key": text(key(rack))}) or {}).get("kvs")
        return json.loads(base64.b64decode(found[0]["value"])) if found else None


def text(word):
    return base64.b64encode(word.encode()).decode()


def key(rack):
    return f"/test/1/fleet/summary/{rack}"


class Rack:
    """One daemon over its own simulated BMCs."""

    def __init__(self, bed, name, etcd):
        self.name, self.bed = name, bed
        self.dir = bed.dir / name
        (self.dir / "state").mkdir(parents=True, mode=0o700)
        self.socket, self.config = self.dir / "api.sock", self.dir / "rackbmcd.toml"
        sim = self.dir / "sim.toml"
        process = Process([str(BIN / "rackbmc"), "sim", "--nodes", "3", "--write-config", str(sim)], self.dir / "sim.log")
        bed.add(process)
        assert until(20, lambda: "the password in" in process.said()), process.said()
        read = re.sub(r"^socket = .*$", f'socket = "{self.socket}"', sim.read_text(), flags=re.M)
        read = re.sub(r"^state_dir = .*$", f'state_dir = "{self.dir}/state"', read, flags=re.M)
        read = re.sub(r'^\[rack\]\nname = "sim"', f'[rack]\nname = "{name}"\nsync_interval = "5s"', read, flags=re.M)
        read = re.sub(r"^\[defaults\]", f'[etcd]\nendpoints = ["{etcd.url}"]\nprefix = "/test"\n[fleet]\npublish = true\n[defaults]', read, flags=re.M)
        self.config.touch(0o600)
        self.config.write_text(read)
        self.process = None

    def start(self):
        self.process = Process([str(BIN / "rackbmcd"), "--config", str(self.config)], self.dir / "rackbmcd.log")
        self.bed.add(self.process)
        return until(20, self.socket.exists)


class Client:
    def __init__(self, file):
        self.file = file
        self.took = 0

    def run(self, *words):
        env = {"PATH": os.environ["PATH"], "RACKBMC_FLEET": "1", "RACKBMC_FLEET_FILE": str(self.file)}
        began = time.monotonic()
        child = subprocess.Popen([str(BIN / "rackbmc"), *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        said, wrong = child.communicate(timeout=120)
        self.took = time.monotonic() - began
        return child.returncode, said, wrong

    def racks(self, *words):
        status, said, wrong = self.run("racks", "-o", "json", *words)
        return status, {line["rack"]: line for line in json.loads(said)}, wrong


def small(c, bed, etcd):
    racks = [Rack(bed, name, etcd) for name in ("r1", "r2")]
    file = bed.dir / "fleet.toml"
    file.write_text(FILE.format(etcd=etcd.url) + "".join(RACK.format(name=r.name, place=f'socket = "{r.socket}"') for r in racks))
    client = Client(file)
    for rack in racks:
        c.check(f"{rack.name} starts", rack.start(), rack.process.said()[-500:] if rack.process else "")
    on = lambda rack: [node[2] if len(node) > 2 else None for node in (etcd.summary(rack) or {"nodes": []})["nodes"]]
    c.check("each rack publishes what it has read", until(20, lambda: on("r1") == on("r2") == ["power on"] * 3), (on("r1"), on("r2")))
    status, lines, wrong = client.racks()
    good = status == 0 and all(line["age"] is not None and line["on"] == 3 and not line["stale"] for line in lines.values())
    c.check("racks shows what they have published, with its age", good, (status, lines, wrong))

    # What changes is there within the 5 s that are promised and what a loaded machine adds.
    _, node, _ = client.run("status", "r1/@*", "-o", "json")
    name = json.loads(node)[0]["node"]
    status, said, wrong = client.run("off", name, "--yes", "--wait")
    c.check("a power order goes to the rack itself", status == 0, (status, said, wrong))
    c.check("a change is published", until(20, lambda: "power off" in on("r1")), on("r1"))

    racks[1].process.stop()
    status, lines, wrong = client.racks()
    c.check("a rack that stopped just now is shown as it was, with the age", status == 0 and lines["r2"]["age"] is not None, (status, lines, wrong))
    status, said, wrong = client.run("status", "r2/@*")
    c.check("so are its nodes", status == 0 and said.count("power on") == 3, (status, said, wrong))
    status, said, wrong = client.run("status", "r2/@*", "--fresh")
    c.check("but not with --fresh", status == 3 and "r2" in wrong, (status, said, wrong))
    status, said, wrong = client.run("off", "r2/@*", "--yes")
    c.check("nor is anything asked of it that changes power", status == 3, (status, said, wrong))

    old = etcd.summary("r2")
    old["at"] = stamp(-200)
    etcd.put("r2", old)
    status, lines, wrong = client.racks()
    line = lines["r2"]
    c.check("what is older than 150 s is stale: the rack is asked, and does not answer",
            status == 3 and line["stale"] and not line["answers"] and line["age"] >= 200 and line["on"] == 3, (status, lines, wrong))
    status, said, wrong = client.run("racks")
    c.check("and a person is told so", "last heard of 3 min" in said, said)
    status, said, wrong = client.run("status", "r2/@*")
    c.check("its nodes are shown with the reason", status == 3 and said.count("power on") == 3 and "published last" in wrong, (status, said, wrong))

    old["nodes"], old["at"] = [["n"]], stamp(0)
    etcd.put("r1", old)
    status, lines, wrong = client.racks("r1")
    c.check("a summary that nobody understands is none: the rack is asked", status == 0 and lines["r1"]["age"] is None, (status, lines, wrong))

    etcd.process.stop()
    status, lines, wrong = client.racks()
    good = status == 3 and lines["r1"]["answers"] and lines["r1"]["age"] is None and "no summaries" in wrong
    c.check("etcd is away: that is said, and each rack is asked", good, (status, lines, wrong))
    c.check("and the rack says once that it cannot publish", until(80, lambda: racks[0].process.said().count("summary is not published") == 1),
            racks[0].process.said()[-800:])
    status, said, wrong = client.run("off", "r1/@*", "--yes", "--wait")
    c.check("its orders are carried out all the same", status == 0, (status, said, wrong))
    c.check("etcd comes back", etcd.start(), etcd.process.said()[-500:])
    c.check("and the summary with it", until(20, lambda: on("r1") == ["power off"] * 3), on("r1"))
    c.check("which is said", "published again" in racks[0].process.said(), racks[0].process.said()[-800:])


def stamp(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat(timespec="microseconds")


def large(c, bed, etcd):
    """Nobody listens at any of these racks: what is shown comes from etcd."""
    seconds = int(time.time())
    for number in range(1, RACKS + 1):
        name = f"r{number:04}"
        nodes = [[f"n{node:02}", str(uuid.UUID(int=number * NODES + node)), "power off" if node == 7 else "power on",
                  ["off" if node == 7 else "on", seconds - node], None, None, None, f"10.{number // 250}.{number % 250}.{node}", 623,
                  "session open", None, None] for node in range(1, NODES + 1)]
        etcd.put(name, {"at": stamp(0), "host": f"mgmt{number}", "health": {"status": "ok", "rack": name, "version": "0.2.0", "nodes": NODES},
                        "groups": {"compute": "n[01-60]", "storage": "n[61-64]"}, "nodes": nodes})
    file = bed.dir / "thousand.toml"
    file.write_text(FILE.format(etcd=etcd.url) + RACK.format(name=f"r[0001-{RACKS}]", place=f'url = "http://mgmt[0001-{RACKS}].invalid:6385"'))
    client = Client(file)
    status, said, wrong = client.run("status")
    lines = said.splitlines()
    good = status == 0 and len(lines) == RACKS * NODES and lines[6] == "r0001/n07: power off"
    c.check("status of a thousand racks comes from what they have published", good, (status, len(lines), lines[:8], wrong[-300:]))
    print(f"     {RACKS} racks, {RACKS * NODES} nodes: status in {client.took:.2f} s")
    status, lines, wrong = client.racks()
    good = status == 0 and len(lines) == RACKS and lines["r0500"]["on"] == NODES - 1 and lines["r0500"]["owner"] == "mgmt500"
    c.check("so do the racks", good, (status, len(lines), wrong[-300:]))
    print(f"     racks in {client.took:.2f} s")
    status, said, _ = client.run("status", "@storage", "-x", "r0001/@*")
    c.check("and a group over all of them", status == 0 and len(said.splitlines()) == 4 * (RACKS - 1), (status, len(said.splitlines())))
    time_of = subprocess.run(["python3", "-c", "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
                              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)", str(BIN / "rackbmc"), "status"],
                             env={"PATH": os.environ["PATH"], "RACKBMC_FLEET": "1", "RACKBMC_FLEET_FILE": str(file)},
                             capture_output=True, text=True, check=True)
    megabytes = int(time_of.stdout) / 1024
    c.check("the client takes less than 100 MB", megabytes < 100, megabytes)
    print(f"     {megabytes:.0f} MB at most")


def main():
    c = Checks("fleet")
    with Bed() as bed:
        etcd = Etcd(bed, sys.argv[1])
        small(c, bed, etcd)
        large(c, bed, etcd)
    c.end()


if __name__ == "__main__":
    main()
