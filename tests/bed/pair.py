"""Two hosts for one rack, each in a network namespace of its own, with etcd and a simulated rack in the one between them.

  Net       the namespaces a and b and the way from each to etcd and to the BMCs, which can be cut one by one
  Etcd      a member of etcd
  Sim       `rackbmc sim` with its record of what reached the machines, and from whom
  Host      one rackbmcd of the two
  Relay     a URL of a host
  Traffic   people who ask for things all the time, and what they were told

Root only, in namespaces (network, mounts) that the script that uses this has made for itself.
"""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time
import uuid

from bed import PASSWORD, USER, Process, until

ETCD_NET, BMC_NET = "10.77.98", "10.77.99"
HOSTS = {"a": 1, "b": 2}
CHANGING = ("off", "on", "cycle", "reset", "soft", "nmi")
PULSES = ("cycle", "reset", "nmi")
CONFIG = """\
[daemon]
state_dir = "{dir}/state"
[api]
socket = "{dir}/api.sock"
[rack]
name = "bed"
sync_interval = "5s"
power_on_stagger = "100ms"
[etcd]
endpoints = [{endpoints}]
{etcd}
[ha]
host = "{name}"
url = "http://{name}.example:6385"
{ha}
[defaults]
username = "{user}"
password_file = "{dir}/bmc.pw"
min_off_time = "1s"
soft_power_off_timeout = "60s"
nmi_watch = "2s"
nmi_min_interval = "1s"
orders_per_second = 20
burst = 20
"""
NODE = """
[[node]]
name = "{name}"
address = "{address}"
port = {port}
"""


def sh(*words):
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def must(*words):
    done = sh(*words)
    assert done.returncode == 0, (words, done.stderr)


class Net:
    def __init__(self):
        must("mkdir", "-p", "/run/netns")
        must("mount", "-t", "tmpfs", "none", "/run/netns")
        must("ip", "link", "set", "lo", "up")
        for last in range(1, 6):
            must("ip", "address", "add", f"{ETCD_NET}.{last}/32", "dev", "lo")
        must("ip", "address", "add", f"{BMC_NET}.1/32", "dev", "lo")
        for name, number in HOSTS.items():
            must("ip", "netns", "add", name)
            must("ip", "-n", name, "link", "set", "lo", "up")
            for side, net in (("e", ETCD_NET), ("m", BMC_NET)):
                here, there = f"{side}{name}", f"{side}0"
                third = number if side == "e" else 10 + number
                must("ip", "link", "add", "name", here, "type", "veth", "peer", "name", there, "netns", name)
                must("ip", "address", "add", f"10.77.{third}.1/24", "dev", here)
                must("ip", "link", "set", "dev", here, "up")
                must("ip", "-n", name, "address", "add", f"10.77.{third}.2/24", "dev", there)
                must("ip", "-n", name, "link", "set", "dev", there, "up")
                self.route(name, side)

    def route(self, name, side):
        number = HOSTS[name]
        net, third = (ETCD_NET, number) if side == "e" else (BMC_NET, 10 + number)
        must("ip", "-n", name, "route", "replace", f"{net}.0/24", "via", f"10.77.{third}.1")

    def cut(self, name, side):
        """Side "e": from etcd, "m": from the BMCs."""
        must("ip", "link", "set", "dev", f"{side}{name}", "down")

    def mend(self, name, side):
        must("ip", "link", "set", "dev", f"{side}{name}", "up")


class Frail:
    """What dies, or stands still for a while."""

    def kill(self):
        self.process.signal(signal.SIGKILL)
        self.process.child.wait()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)


class Etcd(Frail):
    """One member of so many; with an authority and the name of a certificate of it, over TLS to whoever shows another one."""

    def __init__(self, bed, binary, number=1, of=1, authority=None, certificate="server", more=()):
        self.number, self.binary, self.bed, self.authority = number, binary, bed, authority
        self.address = f"{ETCD_NET}.{number}"
        self.url = f"http{'s' if authority else ''}://{self.address}:2379"
        more = [*more, *(authority.as_server(certificate) if authority else [])]
        self.curl = ["curl", "-s", "--max-time", "1", *(authority.as_client("client", ("--cacert", "--cert", "--key")) if authority else [])]
        peers = ",".join(f"m{n}=http://{ETCD_NET}.{n}:2380" for n in range(1, of + 1))
        peer = f"http://{self.address}:2380"
        self.argv = [binary, "--name", f"m{number}", "--data-dir", str(bed.dir / f"etcd{number}"), "--listen-client-urls", self.url,
                     "--advertise-client-urls", self.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                     "--initial-cluster", peers, "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "5m", *more]
        self.process = None
        self.start()
        bed.add(self)

    def start(self):
        self.process = Process(self.argv, self.bed.dir / f"etcd{self.number}.log")

    def healthy(self):
        return '"health":"true"' in sh(*self.curl, self.url + "/health").stdout

    def stop(self):
        return self.process.stop()


def leader(members, ctl=()):
    """The member that the others follow; with an etcdctl of root where they tell that to nobody else."""
    for member in members:
        if member.process.alive():
            asked = [*ctl, "--endpoints", member.url, "endpoint", "status", "-w", "json"] if ctl else [
                *member.curl, "-X", "POST", "-d", "{}", member.url + "/v3/maintenance/status"]
            try:
                status = json.loads(sh(*asked).stdout)
            except ValueError:
                continue
            status = status[0]["Status"] if ctl else status
            if status.get("leader") and int(status["leader"]) == int(status["header"]["member_id"]):
                return member
    return None


class Sim:
    """The rack, and what reached its machines."""

    def __init__(self, bed, bin_dir, nodes):
        self.record = bed.dir / "record.jsonl"
        secret = bed.dir / "sim.pw"
        secret.touch(0o600)
        secret.write_text(PASSWORD + "\n")
        self.process = Process([str(bin_dir / "rackbmc"), "sim", "--nodes", str(nodes), "--address", f"{BMC_NET}.1", "--port", "7000",
                                "--user", USER, "--password-file", str(secret), "--os", "obeys:2s", "--record", str(self.record)],
                               bed.dir / "sim.log")
        self.nodes = [(f"n{n:02}", f"{BMC_NET}.1", 6999 + n) for n in range(1, nodes + 1)]
        until(10, self.record.exists)
        bed.add(self)

    def events(self, since=0.0):
        """What reached machines: time, node, order, host."""
        found = []
        for line in self.record.read_text().splitlines():
            event = json.loads(line)
            third = int(event["from"].split(".")[2])
            found.append((event["at"], event["node"], event["order"], {11: "a", 12: "b"}[third]))
        return sorted(event for event in found if event[0] >= since)

    def stop(self):
        return self.process.stop()


class Host(Frail):
    """One of the two."""

    def __init__(self, bed, bin_dir, name, sim, members, etcd="", ha=""):
        self.name, self.bin = name, bin_dir
        self.dir = bed.dir / f"host-{name}"
        (self.dir / "state").mkdir(parents=True, mode=0o700)
        secret = self.dir / "bmc.pw"
        secret.touch(0o600)
        secret.write_text(PASSWORD + "\n")
        endpoints = ", ".join(f'"{member.url}"' for member in members)
        text = CONFIG.format(dir=self.dir, endpoints=endpoints, name=f"mgmt-{name}", user=USER, etcd=etcd, ha=ha)
        for node, address, port in sim.nodes:
            text += NODE.format(name=node, address=address, port=port)
        self.config = self.dir / "rackbmcd.toml"
        self.config.touch(0o600)
        self.config.write_text(text)
        self.process = None
        # What it is started by, such as `env` with a shim.
        self.by = []
        bed.add(self)

    def start(self):
        self.process = Process(["ip", "netns", "exec", self.name, *self.by, str(self.bin / "rackbmcd"), "--config", str(self.config),
                                "--log-level", "debug"], self.dir / "rackbmcd.log")
        return until(20, lambda: self.get("/healthz")[0] == 200)

    def run(self, *words):
        """Another run of rackbmcd beside it."""
        return sh("ip", "netns", "exec", self.name, str(self.bin / "rackbmcd"), "--config", str(self.config), *words)

    def stop(self):
        return self.process.stop(patience=30) if self.process else 0

    def said(self):
        return self.process.said() if self.process else ""

    def call(self, method, path, body=None, patience=10, request=None, key=None):
        """One HTTP request; status (0: none came), body (None: no JSON), headers."""
        head = self.dir / f"head-{threading.get_ident()}"
        argv = ["curl", "-sS", "--max-time", str(patience), "--unix-socket", str(self.dir / "api.sock"), "-X", method, "-D", str(head),
                "-w", "\n%{http_code}", "-H", "X-OpenStack-Ironic-API-Version: 1.31", "http://localhost" + path]
        if request:
            argv += ["-H", f"X-OpenStack-Request-ID: {request}"]
        if key:
            argv += ["-H", f"Idempotency-Key: {key}"]
        if body is not None:
            argv += ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)]
        done = sh(*argv)
        text, _, status = done.stdout.rpartition("\n")
        lines = head.read_text().splitlines() if head.exists() else []
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        try:
            return int(status or 0), json.loads(text), headers
        except ValueError:
            return int(status or 0), None, headers

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def ha(self):
        return self.get("/v1/ha", patience=3)[1] or {}

    def owns(self):
        return self.get("/v1/ha/owner", patience=3)[0] == 200

    def rackbmc(self, *words):
        done = sh(str(self.bin / "rackbmc"), "--socket", str(self.dir / "api.sock"), *words)
        return done.returncode, done.stdout + done.stderr


class Relay(threading.Thread):
    """A TCP port of this namespace that leads to a host's socket, for a client that knows the hosts by URLs."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.to = str(host.dir / "api.sock")
        self.port = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.port.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            client, _ = self.port.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.to)
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    @staticmethod
    def carry(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()


def owner_of(hosts, seconds=30):
    """The host that owns the rack, once one does."""
    def look():
        return next((host for host in hosts if host.process and host.process.alive() and host.owns()), None)
    return until(seconds, look, every=0.1)


class Traffic(threading.Thread):
    """Asks for something on each of its nodes, one thing after another, at whichever host takes it; a second thread would
    be another person. What came of each request is kept: accepted, refused, or not known."""

    def __init__(self, hosts, nodes, seed, pause=0.3):
        super().__init__(daemon=True)
        self.hosts, self.nodes, self.dice, self.pause = hosts, nodes, random.Random(seed), pause
        self.asked, self.ended, self.over = [], {}, threading.Event()

    def run(self):
        busy = {}
        while not self.over.is_set():
            for node in self.nodes:
                task = busy.get(node)
                if task and not self.has_ended(task):
                    continue
                busy.pop(node, None)
                asked = self.ask(node)
                if asked["status"] == 202:
                    busy[node] = asked["task"]
            time.sleep(self.pause)
        end = time.time() + 90
        while busy and time.time() < end:
            busy = {node: task for node, task in busy.items() if not self.has_ended(task)}
            time.sleep(0.5)
        self.left = dict(busy)

    def has_ended(self, task):
        for host in self.hosts:
            status, body, headers = host.get(f"/v1/tasks/{task}", patience=3)
            if status == 200 and "x-rackbmc-stale" not in headers and body.get("ended"):
                self.ended[task] = body
                return True
        return False

    def ask(self, node):
        operation = self.dice.choice(["reset", "power cycle", "inject nmi", "power off", "power on", "soft power off"])
        asked = {"node": node, "operation": operation, "at": time.time(), "status": 0, "task": None}
        self.asked.append(asked)
        for host in self.hosts:
            status, body, _ = host.call("POST", "/v1/tasks", {"node": node, "operation": operation, "timeout": 45},
                                        request=f"req-{uuid.uuid4()}")
            if status == 202:
                asked.update(status=status, task=body["id"])
                return asked
            # Nothing of it came about: the next host may be asked. Where no answer came, nobody knows, and nobody else is asked.
            kind = ((body or {}).get("error") or {}).get("kind")
            asked["status"] = max(asked["status"], status)
            asked.setdefault("answers", []).append((host.name, status, kind))
            if status == 0 and host.process.alive():
                asked["unknown"] = True
                return asked
            if status == 0:
                asked["unknown"] = True
        return asked

    def end(self):
        self.over.set()
        self.join()


def check_record(events, traffics):
    """What speaks against it: a pulse more than was asked for, or a host that goes on after the other one began."""
    faults = []
    for traffic in traffics:
        for node in traffic.nodes:
            asked = [one for one in traffic.asked if one["node"] == node]
            for here, after in zip(asked, asked[1:] + [None]):
                until_then = after["at"] if after else float("inf")
                seen = [e for e in events if e[1] == node and e[2] in PULSES and here["at"] <= e[0] < until_then]
                may = 1 if here["status"] == 202 or here.get("unknown") else 0
                if len(seen) > may:
                    faults.append(f"{node}: {here['operation']} of {here['at']:.2f} ({here}) led to {seen}")
    return faults


def changes_of_hands(events):
    """How often the host changed from which what changes machines came: each change of owner gives one at most."""
    hands = [host for _, _, order, host in events if order in CHANGING]
    return sum(1 for one, other in zip(hands, hands[1:]) if one != other)
