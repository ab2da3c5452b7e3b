#!/usr/bin/env python3
"""How fast a second host is, over an etcd of three members: steps of the journal, hand-overs, fail-overs, and what must not lead
to one. Takes a quarter of an hour and is no stage: its output belongs into docs/benchmarks.md.

    unshare is used as in ha.py:  python3 tests/interop/ha_figures.py DIR/usr/bin/etcd [HOW MANY FAIL-OVERS]
"""
import http.client
import json
import shutil
import socket
import subprocess
import time

from daemon import BIN
from bed import Bed, Checks, until
from ha import apart, at_rest, begins, judge, other, people
from pair import CHANGING, Etcd, Host, Net, Sim, leader, owner_of, sh


class Talk(http.client.HTTPConnection):
    """One connection to a host, for what is measured."""

    def __init__(self, host):
        super().__init__("localhost", timeout=10)
        self.path = str(host.dir / "api.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        head = {"X-OpenStack-Ironic-API-Version": "1.31", **({"Content-Type": "application/json"} if body is not None else {})}
        self.request(method, path, json.dumps(body) if body is not None else None, head)
        answer = self.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None, answer.headers


def spread(values):
    values = sorted(values)
    at = lambda part: values[min(len(values) - 1, int(len(values) * part))]
    return f"p50 {at(0.5):.4f}, p95 {at(0.95):.4f}, p99 {at(0.99):.4f}, most {values[-1]:.4f} s of {len(values)}", at


def steps(c, hosts):
    talk, took = Talk(owner_of(hosts)), []
    for number in range(1000):
        began = time.perf_counter()
        status = talk.ask(*(("PUT", "/v1/nodes/n01/maintenance", {"reason": "step"}) if number % 2 == 0 else ("DELETE", "/v1/nodes/n01/maintenance")))[0]
        took.append(time.perf_counter() - began)
        assert status == 202, status
    text, at = spread(took)
    print(f"     a request that is answered when its record is durable: {text}")
    c.check("a journal step through three members: p50 < 5 ms, p99 < 50 ms", at(0.5) < 0.005 and at(0.99) < 0.05, text)


def hand_overs(c, hosts, count):
    took = []
    for _ in range(count):
        was = owner_of(hosts)
        to = other(was, hosts)
        until(20, lambda: any(h["host"] == f"mgmt-{to.name}" and h["alive"] and not h["unfit"] for h in was.ha().get("hosts", [])))
        began = time.time()
        assert was.call("POST", "/v1/ha/handover", {})[0] == 202
        talk = Talk(to)

        def read():
            status, body, headers = talk.ask("GET", "/v1/nodes/n02")
            reading = status == 200 and not headers.get("x-rackbmc-stale") and body["rackbmcd"].get("reading")
            return reading and reading["age"] < time.time() - began
        until(20, read, every=0.01)
        took.append(time.time() - began)
        time.sleep(1)
    text, at = spread(took)
    print(f"     from the hand-over to the first reading by the other host: {text}")
    c.check("hand-over: p95 < 1.5 s", at(0.95) < 1.5, text)


def other_power(host, node):
    """What changes the power of this node; nothing while its state is not known."""
    shown = host.get(f"/v1/nodes/{node}/states")[1] or {}
    return {"power on": "power off", "power off": "power on"}.get(shown.get("power_state"))


def fail_overs(c, hosts, members, sim, count, with_leader):
    """Somebody asks the other host all the time to switch one node, until it takes that: of the others all may have something
    under way that only looks."""
    took, node = [], sim.nodes[-1][0]
    for _ in range(count):
        was = owner_of(hosts)
        then = other(was, hosts)
        until(20, lambda: then.ha().get("role") == "standby" and not then.ha().get("unfit"))
        time.sleep(2)
        operation = at_rest(was, node) and until(60, lambda: other_power(was, node))
        lead = leader(members) if with_leader else None
        at = time.time()
        was.kill()
        if lead:
            lead.kill()
        taken = lambda: then.call("POST", "/v1/tasks", {"node": node, "operation": operation}, patience=3)[0] == 202
        c.check("the other host takes a task", operation and until(40, taken, every=0.1), then.ha())
        first = until(40, lambda: next((e for e in sim.events(at) if e[2] in CHANGING and e[3] == then.name), None), every=0.2)
        took.append(first[0] - at if first else 99)
        if lead:
            lead.start()
        was.start()
    text, at = spread(took)
    bar, what = (25, "owner and leader") if with_leader else (15, "owner")
    print(f"     {what} killed, to the first datagram that changes a machine: {text}: {' '.join(f'{t:.1f}' for t in took)}")
    c.check(f"{what} killed: all below {bar} s", max(took) < bar, text)


def needless(c, hosts, members):
    was, before = owner_of(hosts), begins(hosts[0]) + begins(hosts[1])

    def same(what):
        good = until(15, was.owns) and begins(hosts[0]) + begins(hosts[1]) == before
        c.check(f"{what}: no fail-over", good, [host.ha() for host in hosts])
    for member in members:
        member.freeze()
    time.sleep(9)
    for member in members:
        member.thaw()
    time.sleep(5)
    same("etcd frozen for 9 s")
    if shutil.which("strace"):
        stall = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=9000000:when=1",
                                  "-p", str(leader(members).process.pid)], stderr=subprocess.DEVNULL)
        time.sleep(14)
        stall.terminate()
        stall.wait()
        same("the leader's disk stalled for 9 s")
    else:
        print("     the leader's disk is not stalled: there is no strace")
    for _ in range(10):
        lead = until(10, lambda: leader(members))
        lead.kill()
        time.sleep(5)
        lead.start()
        time.sleep(5)
    same("ten leaders killed, 10 s apart")


def inside(etcd, count):
    c = Checks("ha figures")
    Net()
    with Bed() as bed:
        members = [Etcd(bed, etcd, number, 3) for number in (1, 2, 3)]
        until(20, lambda: leader(members))
        sim = Sim(bed, BIN, 8)
        hosts = [Host(bed, BIN, name, sim, members) for name in ("a", "b")]
        for host in hosts:
            host.start()
        owner_of(hosts)
        steps(c, hosts)
        hand_overs(c, hosts, 20)
        names = [name for name, _, _ in sim.nodes]
        traffics = people(hosts, names[:-1])
        fail_overs(c, hosts, members, sim, count, False)
        fail_overs(c, hosts, members, sim, max(1, count // 4), True)
        needless(c, hosts, members)
        judge(c, hosts, sim, traffics)
    c.end()


if __name__ == "__main__":
    apart(inside, 20)
