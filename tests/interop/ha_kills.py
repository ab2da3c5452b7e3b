#!/usr/bin/env python3
"""Two real daemons over a real etcd, one of which dies again and again while people ask: what reached the machines is held against
what they had asked for. Takes about ten seconds a death and is no stage of its own (`tests/run long`).

    python3 tests/interop/ha_kills.py DIR/usr/bin/etcd [HOW MANY DEATHS]
"""
import collections
import random
import time

from daemon import BIN
from bed import Bed, Checks, until
from ha import apart, begins, judge, other, people
from pair import Etcd, Host, Net, Sim, owner_of


def die(dice, hosts):
    """One host dies; what it was."""
    owner = owner_of(hosts)
    standby = other(owner, hosts)
    kind = dice.choice(("the owner, back at once", "the owner, back when the other one has the rack", "the standby"))
    one = standby if kind == "the standby" else owner
    time.sleep(dice.uniform(0.2, 2.5))
    one.kill()
    if kind.endswith("has the rack"):
        assert until(40, standby.owns, every=0.1), standby.said()[-2000:]
    one.start()
    return kind


def inside(etcd, count):
    c = Checks("ha kills")
    Net()
    with Bed() as bed:
        members = [Etcd(bed, etcd)]
        until(20, members[0].healthy)
        sim = Sim(bed, BIN, 8)
        hosts = [Host(bed, BIN, name, sim, members) for name in ("a", "b")]
        for host in hosts:
            host.start()
        owner_of(hosts)
        names = [name for name, _, _ in sim.nodes]
        traffics = people(hosts, names)
        dice, died = random.Random(count), collections.Counter()
        for number in range(count):
            died[die(dice, hosts)] += 1
            if number % 10 == 9:
                print(f"     {number + 1} deaths, {begins(hosts[0]) + begins(hosts[1])} tenures")
        judge(c, hosts, sim, traffics)
        panics = [line for host in hosts for line in host.said().splitlines() if "panicked" in line]
        c.check("nothing panicked", not panics, panics)
        print(f"     {', '.join(f'{times} times {kind}' for kind, times in died.items())}")
    c.end()


if __name__ == "__main__":
    apart(inside, 100)
