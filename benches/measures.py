"""What benches/run measures: each function is one pair, the daemon and what it is compared with in turn, and gives {row: value}.

A value is what the row's bar is about: a ratio where there is a peer, else the figure itself. What is worth telling beside it
stands under the row's name with " told".
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import time

from ground import BIN, TARGET, Bed, Process, until
from tap import Tap, command

VERSION = "X-OpenStack-Ironic-API-Version: 1.31\r\n"
CHASSIS_CONTROL = (0, 2)


def cpu(pid):
    """Seconds of CPU that a process used, by the scheduler's own count."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def wake_ups(pid):
    """How often its threads went to sleep."""
    states = [(task / "status").read_text() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", state, re.M)[1]) for state in states)


def resident(pid):
    """MB."""
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]) / 1024


def resident_over(pid, seconds):
    """MB, the median over so long: what is mapped of the program changes from moment to moment."""
    end, found = time.time() + seconds, []
    while time.time() < end:
        found.append(resident(pid))
        time.sleep(2)
    return sorted(found)[len(found) // 2]


def ask(path, line, body=None, patience=60):
    """One request over the Unix socket: status and body."""
    status, text, _ = ask_at(path, line, body, patience)
    return status, text


def ask_at(path, line, body, patience=60):
    """The same, and when it began: with a connection of its own, and not with what this program does before that."""
    data = b"" if body is None else json.dumps(body).encode()
    asked = (f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{VERSION}Content-Length: {len(data)}\r\n"
             f"Connection: close\r\n\r\n".encode() + data)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(patience)
        began = time.time()
        s.connect(path)
        s.sendall(asked)
        answer = b"".join(iter(lambda: s.recv(1 << 16), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), text, began


def known(path):
    """How many nodes show a power state."""
    count, marker = 0, ""
    while True:
        _, text = ask(path, f"GET /v1/nodes?fields=power_state,uuid&limit=1000{marker}")
        page = json.loads(text)
        count += sum(node["power_state"] is not None for node in page["nodes"])
        if "next" not in page:
            return count
        marker = f"&marker={page['nodes'][-1]['uuid']}"


def figure(path, name, label=""):
    """One figure of /metrics."""
    _, text = ask(path, "GET /metrics")
    found = re.search(rf"^{name}{{[^}}]*{label}[^}}]*}} (\S+)$", text.decode(), re.M)
    return float(found[1]) if found else 0.0


def read_so_far(path):
    return figure(path, "rackbmc_orders_total", 'kind="accepted"')


class Sim(Process):
    """`rackbmc sim`."""

    def __init__(self, bed, nodes, *more, port=0):
        self.nodes, self.config = nodes, bed.dir / "rack.toml"
        self.config.unlink(missing_ok=True)
        argv = [str(BIN / "rackbmc"), "sim", "--nodes", str(nodes), "--port", str(port), *more, "--write-config", str(self.config)]
        super().__init__(argv, bed.dir / "sim.log")
        if not until(60, lambda: not self.alive() or self.config.exists() and "the password in" in self.said(), 0.02) or not self.alive():
            raise SystemExit(f"rackbmc sim did not come up: {self.said()[-500:]}")
        self.ports = [int(port) for port in re.findall(r"^port = (\d+)", self.config.read_text(), re.M)]


class Daemon(Process):
    """rackbmcd over a simulated rack, on a Unix socket; it says itself when it is ready."""

    def __init__(self, bed, sim, rack="", defaults="", keep=False):
        home = bed.dir / "daemon"
        if not keep:
            subprocess.run(["rm", "-rf", str(home)], check=True)
        home.mkdir(exist_ok=True)
        self.socket = str(home / "s")
        text = sim.config.read_text()
        text = re.sub(r"^state_dir = .*$", f'state_dir = "{home}"', text, flags=re.M)
        text = re.sub(r"^socket = .*$", f'socket = "{self.socket}"', text, flags=re.M)
        text = text.replace("[rack]\n", f"[rack]\n{rack}").replace("[defaults]\n", f"[defaults]\n{defaults}")
        config = home / "rackbmcd.toml"
        config.touch(0o600)
        config.write_text(text)
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.settimeout(60)
        notify = str(home / "notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(notify)
        told.bind(notify)
        self.began = time.monotonic()
        super().__init__([str(BIN / "rackbmcd"), "--config", str(config), "--log-level", "warn"], home / "log", {"NOTIFY_SOCKET": notify})
        while b"READY=1" not in told.recv(4096):
            pass
        self.start_cpu = cpu(self.pid)
        told.close()

    def until_known(self, count, patience=120, every=0.02):
        """Seconds from the start of the program until so many nodes are known; None where that never came."""
        good = until(patience, lambda: known(self.socket) >= count, every)
        return time.monotonic() - self.began if good else None


@contextlib.contextmanager
def running(*processes):
    try:
        yield processes
    finally:
        for process in reversed(processes):
            process.stop(30)


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(argv):
    """Seconds, CPU seconds and output of a program."""
    before, began = children(), time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return time.monotonic() - began, children() - before, done.stdout


def ipmipower(ports, action="--stat", suite=17):
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return run(["ipmipower", "-D", "LAN_2_0", "-I", str(suite), "-l", "OPERATOR", "-u", "admin", "-p", "admin", "-h", hosts, action])


# --- point 1: a rack that is known at once ---

def known_at_once(nodes, dead=0):
    with Bed() as bed:
        # Every third one, so that they stand in the way of those that live.
        moods = [word for name in names(nodes)[:dead * 3:3] for word in ("--node", f"{name}=dead")]
        with running(Sim(bed, nodes, *moods)) as (sim,):
            theirs = None if dead else ipmipower(sim.ports)[0]
            with running(Daemon(bed, sim)) as (daemon,):
                ours = daemon.until_known(nodes - dead, every=0.02 if nodes < 1000 else 0.25)
    row = f"known {nodes}" + (", a third dead" if dead else "")
    told = f"ipmipower {theirs:.2f} s" if theirs else f"{nodes - dead} that live"
    return {row: ours, row + " told": told}


# --- point 2: reading in kept sessions ---

def reading(nodes, interval, seconds, windows):
    """CPU and wake-ups a reading, ours and the floor's, in the same windows of one run."""
    found = []
    with Bed() as bed, running(Sim(bed, nodes)) as (sim,), \
            running(Daemon(bed, sim, f'sync_interval = "{interval}s"\n', 'idle_close = "1h"\n')) as (daemon,):
        daemon.until_known(nodes, every=0.5)
        time.sleep(interval + 2)
        floor = subprocess.Popen([str(TARGET / "floor/release/floor"), str(interval), str(seconds), str(windows)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        floor.stdin.write(" ".join(map(str, sim.ports)))
        floor.stdin.close()
        for line in floor.stdout:
            words = line.split()
            if words[0] == "begin":
                # The questions for the readings so far are no part of a reading: asked before, and after.
                read = read_so_far(daemon.socket)
                before = (cpu(daemon.pid), wake_ups(daemon.pid), read)
                continue
            spent, slept = cpu(daemon.pid) - before[0], wake_ups(daemon.pid) - before[1]
            read = read_so_far(daemon.socket) - before[2]
            theirs = int(words[2]) / 1e9 / int(words[1])
            ours = spent / max(read, 1)
            found.append({f"cpu {nodes}": ours / theirs, f"cpu {nodes} told": f"{ours * 1e6:.0f} of {theirs * 1e6:.0f} us",
                          f"wake-ups {nodes}": slept / max(read, 1),
                          f"wake-ups {nodes} told": f"the floor {int(words[3]) / int(words[1]):.2f}"})
        floor.wait()
    return found


# --- point 3: --fresh and batches in one request ---

def fresh(nodes):
    """From no session at all: daemon and client together against ipmipower."""
    with Bed() as bed, running(Sim(bed, nodes)) as (sim,), \
            running(Daemon(bed, sim, 'sync_interval = "24h"\n', 'idle_close = "1s"\nkeepalive = "5s"\n')) as (daemon,):
        daemon.until_known(nodes, every=0.5)
        before = None
        while before is None or cpu(daemon.pid) - before > 0.01:
            before = cpu(daemon.pid)
            time.sleep(1.5)
        before, accepted = cpu(daemon.pid), read_so_far(daemon.socket)
        wall, spent, said = run([str(BIN / "rackbmc"), "--socket", daemon.socket, "status", "--fresh"])
        time.sleep(2.5)
        spent += cpu(daemon.pid) - before
        good = len(re.findall(r"power o[nf]", said))
        their_wall, their_cpu, theirs = ipmipower(sim.ports)
        told = f"{wall:.2f} of {their_wall:.2f} s" + ("" if good == nodes else f", {good} of {nodes} read by {accepted:.0f}")
        told += "" if theirs.count(": on") == nodes else f", ipmipower read {theirs.count(': on')}"
    return {f"fresh {nodes} wall": wall / their_wall, f"fresh {nodes} wall told": told,
            f"fresh {nodes} CPU": spent / their_cpu, f"fresh {nodes} CPU told": f"{spent * 1e3:.0f} of {their_cpu * 1e3:.0f} ms"}


# --- point 4: from PUT to wire ---

QUIET = 'sync_interval = "24h"\npower_on_stagger = "0s"\nmax_transitions = 4096\n'
KEPT = 'cipher_suites = [16]\nidle_close = "1h"\nkeepalive = "300s"\norders_per_second = 100.0\nburst = 100\nmin_off_time = "0s"\n'


def orders(seen):
    """When the first chassis control reached each port."""
    first = {}
    for one in seen:
        if command(one.payload) == CHASSIS_CONTROL:
            first.setdefault(one.target, one.at)
    return first


def put(path, name, target):
    status, text, began = ask_at(path, f"PUT /v1/nodes/{name}/states/power", {"target": target})
    if status != 202:
        raise SystemExit(f"PUT {target}: {status} {text[:200]}")
    return began, time.time()


def put_at_once(path, nodes, target, tap):
    """One PUT for each node, on connections that are open already and stay open: what is timed is the daemon, not this program's
    threads, nor the end of hundreds of connections. When the first left, and how to get at the statuses of the answers."""
    body = json.dumps({"target": target}).encode()
    head = f"HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{VERSION}Content-Length: {len(body)}\r\n\r\n"
    sockets = [socket.socket(socket.AF_UNIX) for _ in nodes]
    asked = [f"PUT /v1/nodes/{name}/states/power {head}".encode() + body for name in nodes]
    for one in sockets:
        one.settimeout(60)
        one.connect(path)
    # All of them are accepted.
    time.sleep(0.5)
    tap.seen()
    began = time.time()
    for one, text in zip(sockets, asked):
        one.sendall(text)

    def answers():
        said = [one.recv(1 << 16) for one in sockets]
        for one in sockets:
            one.close()
        return [int(text.split()[1]) for text in said]
    return began, answers


def names(nodes):
    return [f"n{number + 1:0{max(2, len(str(nodes)))}}" for number in range(nodes)]


def put_to_wire(target="power off", row="", nodes=256, singly=24):
    """One PUT after the other, the others at once, and ipmipower's start; suite 16 signs and does not encrypt, so that orders
    are seen. The rows of another target than a hard power off end in ROW."""
    with Bed() as bed, running(Sim(bed, nodes, "--suites", "16", "--os", "obeys:60m")) as (sim,), \
            running(Daemon(bed, sim, QUIET, KEPT)) as (daemon,):
        daemon.until_known(nodes)
        time.sleep(1)
        tap = Tap(answers=False)
        ours, theirs = [], []
        for name, port in list(zip(names(nodes), sim.ports))[:singly]:
            tap.seen()
            began, _ = put(daemon.socket, name, target)
            at = until(5, lambda port=port, tap=tap: orders(tap.seen()).get(port), 0.005)
            ours.append(at - began)
            time.sleep(0.05)
        for port in sim.ports[-8:]:
            tap.seen()
            began = time.time()
            ipmipower([port], "--on", 16)
            theirs.append(until(5, lambda port=port, tap=tap: orders(tap.seen()).get(port), 0.005) - began)
        left = list(zip(names(nodes), sim.ports))[singly:]
        began, answers = put_at_once(daemon.socket, [name for name, _ in left], target, tap)
        wire = {}
        until(10, lambda: wire.update({port: min(at, wire.get(port, at)) for port, at in orders(tap.seen()).items()})
              or len(wire) >= len(left), 0.2)
        if refused := [status for status in answers() if status != 202]:
            raise SystemExit(f"{len(refused)} of {len(left)} PUTs at once: {refused[0]}")
        tap.close()
    late = sorted(wire[port] - began for _, port in left if port in wire)
    one, peer = sorted(ours)[len(ours) // 2], sorted(theirs)[len(theirs) // 2]
    return {f"put{row}": one / peer, f"put{row} told": f"{one * 1e3:.2f} of {peer * 1e3:.2f} ms",
            f"puts at once{row}": late[int(len(late) * 0.99)] / one,
            f"puts at once{row} told": f"{len(late)} orders, p99 {late[int(len(late) * 0.99)] * 1e3:.1f} ms"}


def aborts(nodes=250, rounds=4):
    """Soft power offs that are aborted soon after they began: what leaves for their BMCs after the answer."""
    late, times, seen_orders = 0, [], 0
    with Bed() as bed, running(Sim(bed, nodes, "--suites", "16", "--os", "hangs")) as (sim,), \
            running(Daemon(bed, sim, QUIET, KEPT)) as (daemon,):
        daemon.until_known(nodes)
        time.sleep(1)
        tap = Tap(answers=False)
        for number in range(rounds):
            answered = {}
            for place, (name, port) in enumerate(zip(names(nodes), sim.ports)):
                put(daemon.socket, name, "soft power off")
                # Before, while and after the order leaves.
                time.sleep((place % 10) * 0.0008)
                began, answered[port] = put(daemon.socket, name, "abort soft power off")
                times.append(answered[port] - began)
            time.sleep(1)
            for one in tap.seen():
                seen_orders += command(one.payload) == CHASSIS_CONTROL
                # What is 14 s younger is the look that follows an abort.
                late += one.target in answered and answered[one.target] < one.at < answered[one.target] + 10 \
                    and command(one.payload) is not None
            if number + 1 < rounds:
                time.sleep(20)
        tap.close()
    times.sort()
    return {"late after abort": late, "late after abort told": f"{len(times)} aborts, {seen_orders} orders had left",
            "abort": times[int(len(times) * 0.99)] * 1e3, "abort told": f"ms at p99, median {times[len(times) // 2] * 1e3:.2f}"}


# --- point 5: memory and start ---

def memory(nodes, minutes=0):
    """Resident MB with sessions kept; after MINUTES with all BMCs restarted in between as well."""
    with Bed() as bed:
        first = Sim(bed, nodes, port=20000)
        with running(Daemon(bed, first, "", 'idle_close = "1h"\n')) as (daemon,):
            daemon.until_known(nodes, every=0.5)
            # A minute is a round of regular readings.
            time.sleep(max(minutes * 30 - 60, 5))
            before = resident_over(daemon.pid, 60)
            found = {f"memory {nodes}": before, f"memory {nodes} told": f"started with {daemon.start_cpu:.2f} s of CPU"}
            if minutes:
                first.stop()
                first = Sim(bed, nodes, port=20000)
                time.sleep(minutes * 30 - 60)
                after = resident_over(daemon.pid, 60)
                found |= {"memory flat": after / before, "memory flat told": f"{before:.1f}, then {after:.1f} MB"}
        with running(first):
            # The second start finds a journal.
            with running(Daemon(bed, first, keep=True)) as (daemon,):
                found |= {f"start {nodes}": daemon.start_cpu, f"start {nodes} told": "CPU s until it says that it is ready, with a journal"}
    return found


# --- point 6: bursts ---

def bursts(nodes):
    """The most datagrams that leave within a millisecond when all are asked at once."""
    with Bed() as bed, running(Sim(bed, nodes)) as (sim,), \
            running(Daemon(bed, sim, 'sync_interval = "24h"\n', 'idle_close = "1h"\nkeepalive = "300s"\n')) as (daemon,):
        daemon.until_known(nodes, every=0.5)
        time.sleep(1)
        tap, ports, counts = Tap(), set(sim.ports), {}
        run([str(BIN / "rackbmc"), "--socket", daemon.socket, "status", "--fresh"])
        for one in tap.seen():
            if one.target in ports:
                counts[int(one.at * 1000)] = counts.get(int(one.at * 1000), 0) + 1
        missed = tap.missed()
        tap.close()
        lost = figure(daemon.socket, "rackbmc_datagrams_total", 'direction="overflowed"')
    return {"burst": max(counts.values()), "burst told": f"datagrams within 1 ms, {sum(counts.values())} in all, "
            f"{lost:.0f} lost to full buffers" + (f"; the tap missed {missed}" if missed else "")}
