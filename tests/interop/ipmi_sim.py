#!/usr/bin/env python3
"""Our daemon and rackbmc against OpenIPMI's ipmi_sim (cipher suite 3)."""
import time

import journeys
from daemon import Daemon
from bed import Bed, Checks, until


def strangers(c, bed, bmc):
    """One node with a wrong password, one with an unknown user: the relays count the log-ins (RAKP 1)."""
    wrong, nobody = bed.relay(bmc), bed.relay(bmc)
    password = bed.dir / "wrong.pw"
    password.touch(0o600)
    password.write_text("wrong\n")
    d = Daemon(bed, {"wrong": (wrong, {"password_file": str(password)}), "nobody": (nobody, {"username": "nobody"})})
    until(20, lambda: trouble(d, "wrong"))
    c.check("a wrong password is said as such", trouble(d, "wrong") == "wrong_password", d.node("wrong").get("rackbmcd"))
    until(20, lambda: trouble(d, "nobody"))
    c.check("an unknown user is said as such", "user" in (trouble(d, "nobody") or ""), d.node("nobody").get("rackbmcd"))
    for _ in range(3):
        status, said, _ = d.rackbmc("on", "wrong", "--wait", seconds=30)
        c.check("rackbmc says it, too", status == 1 and "password" in said, (status, said))
    time.sleep(12)
    for name, relay in (("wrong password", wrong), ("unknown user", nobody)):
        c.check(f"only two log-ins were tried ({name})", 1 <= relay.count(18) <= 2, f"{relay.count(18)} RAKP 1")


def dead(c, d, bmc):
    d.wait_power("dead", "power on", 20)
    bmc.pause()
    status, said, took = d.rackbmc("status", "dead", "--fresh", seconds=30)
    c.check("a dead BMC is said within 5 s", took < 5.5 and "no answer" in said, (status, took, said))
    began = time.monotonic()
    seen = d.wait_power("alive", "power on", 2)
    c.check("the others do not wait for it", seen.get("power_state") == "power on" and time.monotonic() - began < 1, seen)
    until(60, lambda: trouble(d, "dead"))
    status, said, took = d.rackbmc("status", "dead", "--fresh", seconds=30)
    c.check("later answers come sooner", took < 5.5, (status, took, said))
    c.check("its trouble is silence", trouble(d, "dead") == "silent", d.node("dead").get("rackbmcd"))
    bmc.unpause()
    recovered = until(90, lambda: not trouble(d, "dead"), every=0.5)
    c.check("it recovers by itself", recovered, d.node("dead").get("rackbmcd"))


def lost_sessions(c, d, bmc):
    """The BMC restarts while a soft power off runs: its sessions are gone."""
    bmc.knob("soft_delay", 12000)
    bmc.forget()
    d.power("alive", "soft power off", 60)
    until(10, lambda: bmc.words())
    bmc.stop()
    bmc.start()
    task = journeys.settle(d, "alive", 70)
    c.check("a BMC that restarts does not fail the task", task.get("state") == "succeeded", task)
    c.check("nor is the button pressed again", bmc.words() == ["soft", "now-0"], bmc.words())
    d.rackbmc("on", "alive", "--wait")


def trouble(d, node):
    return ((d.node(node).get("rackbmcd") or {}).get("bmc") or {}).get("trouble")


def main():
    c = Checks("ipmi_sim")
    with Bed() as bed:
        bmc, mute = bed.sim("bmc001"), bed.sim("bmc002")
        d = Daemon(bed, {"alive": bmc, "dead": mute})
        for journey in journeys.ALL:
            journey(c, d, "alive", bmc)
        lost_sessions(c, d, bmc)
        dead(c, d, mute)
        c.check("the daemon ends when told", d.stop() == 0, d.process.said()[-300:])
        strangers(c, bed, bmc)
    c.end()


if __name__ == "__main__":
    main()
