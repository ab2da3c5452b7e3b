#!/usr/bin/env python3
"""Two real daemons for one rack over a real etcd: fail-over, hand-over, hosts and members that stop, die or are cut off. What
reached the machines is believed, not what any daemon says: every pulse belongs to a request, and each request has one at most.

Needs the directory of Debian's etcd. Root only: the networks are namespaces, which go away with this program.
"""
import os
import sys
import time

from daemon import BIN
from bed import Bed, Checks, until
from pair import CHANGING, Etcd, Host, Net, Sim, Traffic, changes_of_hands, check_record, owner_of


def other(host, hosts):
    return next(one for one in hosts if one is not host)


def begins(host):
    """How many tenures a host has begun, over all its lives: its log says each."""
    return host.said().count("this host owns the rack: tenure")


def judge(c, hosts, sim, traffics):
    """People stop asking; what reached the machines is held against what they had asked for."""
    for traffic in traffics:
        traffic.end()
    c.check("every task that was taken has ended", not any(traffic.left for traffic in traffics), [traffic.left for traffic in traffics])
    events = sim.events()
    faults = check_record(events, traffics)
    c.check("each pulse belongs to a request, and each request has one at most", not faults, faults)
    taken = sum(one["status"] == 202 for traffic in traffics for one in traffic.asked)
    tenures, changes = begins(hosts[0]) + begins(hosts[1]), changes_of_hands(events)
    c.check("no host goes on after the other one began", changes < tenures, (changes, tenures))
    print(f"     {taken} tasks, {len(events)} orders, {tenures} tenures")


def at_the_start(c, hosts, members):
    a, b = hosts
    done = a.run("--check-etcd")
    c.check("--check-etcd finds etcd good", done.returncode == 0 and "good" in done.stdout, done.stdout + done.stderr)
    c.check("the first host owns the rack", a.start() and owner_of(hosts, 15) is a, a.said()[-800:])
    c.check("the second one stands by", b.start() and until(10, lambda: b.ha().get("owner")), b.said()[-800:])
    c.check("and is not the owner", not b.owns())
    known = until(15, lambda: len(a.ha().get("hosts", [])) == 2)
    c.check("they know of one another", known, a.ha())
    status, said = a.rackbmc("ha", "status")
    c.check("rackbmc ha status says who owns it, and that all is well", status == 0 and "mgmt-a owns it" in said, (status, said))
    until(15, lambda: a.get("/v1/nodes/n01/states")[1].get("power_state"))
    status, body, headers = b.get("/v1/nodes/n01")
    c.check("a standby answers what etcd has, marked stale", status == 200 and "x-rackbmc-stale" in headers, (status, headers))
    status, body, headers = b.call("POST", "/v1/tasks", {"node": "n01", "operation": "power off"})
    good = status == 503 and body["error"]["kind"] == "moved" and "http://mgmt-a.example:6385" in body["error"]["message"]
    c.check("it refuses what changes something, with the owner's name and URL", good and headers.get("x-rackbmc-owner") == "mgmt-a",
            (status, body, headers))
    status, said = b.rackbmc("off", "n01", "--no-wait")
    c.check("and rackbmc says so, exit 3", status == 3 and "mgmt-a owns the rack" in said, (status, said))
    status, _, _ = b.get("/healthz")
    c.check("its healthz is good", status == 200, status)


def handed_over(c, hosts, sim):
    was = owner_of(hosts)
    to = other(was, hosts)
    began = time.time()
    status, said = was.rackbmc("ha", "handover", "--wait")
    c.check("rackbmc ha handover --wait ends when the other host has the rack", status == 0 and f"mgmt-{to.name} owns" in said, (status, said))
    c.check("it does so within 6 s", owner_of(hosts) is to and time.time() - began < 6, time.time() - began)
    return time.time() - began


def killed(c, hosts, sim, what):
    """The owner dies; the seconds until the other one's first datagram that changes something."""
    was = owner_of(hosts)
    then = other(was, hosts)
    time.sleep(2)
    at = time.time()
    was.kill()
    first = until(30, lambda: next((e for e in sim.events(at) if e[2] in CHANGING and e[3] == then.name), None), every=0.2)
    took = first[0] - at if first else None
    c.check(f"{what}: the other host switches within 15 s", took is not None and took < 15, (took, then.ha(), then.said()[-600:]))
    was.start()
    c.check(f"{what}: the old one stands by when it is back", until(10, lambda: was.ha().get("role") == "standby"), was.ha())
    return took


def stopped(c, hosts, sim):
    """The owner's process stands still for 15 s, and goes on."""
    was = owner_of(hosts)
    then = other(was, hosts)
    was.freeze()
    c.check("the owner stands still: the other one takes over", until(25, then.owns, every=0.2), then.ha())
    time.sleep(4)
    awake = time.time()
    was.thaw()
    c.check("when it goes on it knows that it has the rack no more", until(10, lambda: was.ha().get("role") == "standby"), was.ha())
    late = [e for e in sim.events(awake) if e[2] in CHANGING and e[3] == was.name]
    c.check("and has sent nothing that changes a machine", not late, late)


def cut_off(c, net, hosts, sim):
    """The owner is cut off from etcd, and not from the BMCs."""
    was = owner_of(hosts)
    then = other(was, hosts)
    net.cut(was.name, "e")
    at = time.time()
    c.check("the owner is cut from etcd: the other one takes over", until(25, then.owns, every=0.2), then.ha())
    took = time.time()
    status, body, _ = was.call("POST", "/v1/tasks", {"node": "n01", "operation": "reset"}, patience=12)
    c.check("the old one takes nothing on", status == 503, (status, body))
    late = [e for e in sim.events(took) if e[2] in CHANGING and e[3] == was.name]
    c.check("and has changed nothing since", not late, late)
    net.mend(was.name, "e")
    net.route(was.name, "e")
    c.check("it stands by when it hears etcd again", until(20, lambda: was.ha().get("role") == "standby"), was.ha())


def etcd_away(c, hosts, member):
    """Etcd stands still for 9 s, then dies for 15 s."""
    was = owner_of(hosts)
    before = begins(hosts[0]) + begins(hosts[1])
    member.freeze()
    time.sleep(9)
    member.thaw()
    c.check("etcd stood still for 9 s: the same host owns the rack", until(10, was.owns), was.ha())
    time.sleep(3)
    c.check("and nobody else did", begins(hosts[0]) + begins(hosts[1]) == before, [h.ha() for h in hosts])
    member.kill()
    time.sleep(12)
    status, body, _ = was.call("POST", "/v1/tasks", {"node": "n01", "operation": "reset"}, patience=12)
    c.check("etcd is away: nothing is taken on", status == 503, (status, body))
    c.check("no host says that it may change machines", not any(host.owns() for host in hosts))
    member.start()
    c.check("etcd is back: somebody owns the rack again", owner_of(hosts, 25), [h.ha() for h in hosts])


def inside(etcd):
    c = Checks("ha")
    net = Net()
    with Bed() as bed:
        member = Etcd(bed, etcd)
        c.check("etcd is there", until(15, member.healthy), member.process.said()[-500:])
        sim = Sim(bed, BIN, 8)
        hosts = [Host(bed, BIN, name, sim, [member]) for name in ("a", "b")]
        at_the_start(c, hosts, [member])
        names = [name for name, _, _ in sim.nodes]
        traffics = [Traffic(hosts, names[place::2], place) for place in range(2)]
        for traffic in traffics:
            traffic.start()
        time.sleep(3)
        print(f"     handed over after {handed_over(c, hosts, sim):.2f} s")
        time.sleep(3)
        print(f"     killed: {killed(c, hosts, sim, 'killed')} s")
        stopped(c, hosts, sim)
        time.sleep(3)
        cut_off(c, net, hosts, sim)
        etcd_away(c, hosts, member)
        time.sleep(5)
        judge(c, hosts, sim, traffics)
        withheld = [line for host in hosts for line in host.said().splitlines() if "kept back at the last moment" in line]
        c.check("the last look at the permit found nothing to keep back", not withheld, withheld)
        panics = [line for host in hosts for line in host.said().splitlines() if "panicked" in line]
        c.check("nothing panicked", not panics, panics)
    c.end()


if __name__ == "__main__":
    if sys.argv[2:] == ["inside"]:
        inside(sys.argv[1])
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", "--mount-proc", "--fork", "--pid", "--kill-child",
                          sys.executable, __file__, sys.argv[1], "inside"])
