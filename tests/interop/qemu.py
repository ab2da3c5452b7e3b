#!/usr/bin/env python3
"""The real machine: Linux guests with ACPI under QEMU, each behind ipmi_sim, driven by our daemon.

What a guest did is read from its serial console.  TEST_GUEST is where bed/guest/build.sh put kernel and initramfs.
"""
import os
import pathlib
import re
import time

from daemon import BRISK, Daemon
from bed import ROOT, Bed, Checks, until

READY, DOWN, PANIC = "NODE: ready", "NODE: shutting down", "Kernel panic - not syncing: NMI"


def saw(bmc, text, count=1, seconds=90):
    """Waits until a console says a thing so many times; returns what it says last."""
    until(seconds, lambda: bmc.console().count(text) >= count, every=0.2)
    lines = [line for line in bmc.console().splitlines() if text in line]
    if len(lines) >= count:
        print(f"     {bmc.name}: {lines[-1].strip()}", flush=True)
        return True
    return False


def beats(bmc):
    """The last heartbeat on a console."""
    return int((re.findall(r"NODE: alive (\d+)", bmc.console()) or [0])[-1])


def obedient(c, d, bmc):
    status, said, took = d.rackbmc("soft", "obedient", "--wait")
    c.check("soft power off shuts the guest down", status == 0 and saw(bmc, DOWN, 1, 1), (status, said))
    c.check("and QEMU is gone", until(5, lambda: not bmc.guests()), bmc.guests())
    print(f"     soft power off took {took:.1f} s", flush=True)
    status, said, _ = d.rackbmc("on", "obedient", "--wait")
    c.check("power on boots it", status == 0 and saw(bmc, READY, 2), (status, said))
    status, said = d.power("obedient", "soft rebooting", 90)
    c.check("soft rebooting is accepted", status == 202, (status, said))
    c.check("soft reboot shuts it down and brings it back", saw(bmc, DOWN, 2) and saw(bmc, READY, 3), bmc.console()[-500:])
    seen = d.wait_power("obedient", "power on", 30)
    c.check("and it is said to be on", seen.get("power_state") == "power on" and not seen.get("last_error"), seen)
    status, said = d.power("obedient", "inject nmi")
    c.check("inject nmi is accepted", status == 202, (status, said))
    c.check("the NMI reaches its kernel, once", saw(bmc, PANIC) and bmc.console().count(PANIC) == 1, bmc.console()[-500:])
    c.check("which reboots after its panic", saw(bmc, READY, 4), bmc.console()[-500:])


def hung(c, d, bmc):
    status, said = d.power("hung", "soft power off", 60)
    c.check("soft power off of a hung guest is accepted", status == 202, (status, said))
    time.sleep(5)
    status, said = d.power("hung", "abort soft power off")
    c.check("its abort is accepted", status == 202, (status, said))
    seen = d.states("hung")
    c.check("then its power state is error", (seen.get("power_state"), seen.get("target_power_state")) == ("error", None), seen)
    before = beats(bmc)
    c.check("the guest still runs", until(10, lambda: beats(bmc) > before + 2) and DOWN not in bmc.console(), bmc.console()[-300:])
    seen = d.wait_power("hung", "power on", 30)
    c.check("the next sync says so", seen.get("power_state") == "power on", seen)


def slow(c, d, bmc):
    status, said = d.power("slow", "soft power off", 60)
    c.check("soft power off of a slow guest is accepted", status == 202, (status, said))
    c.check("its button is pressed", saw(bmc, "NODE: power button", 1, 15), bmc.console()[-300:])
    task = d.last_task("slow")
    status, said = d.control(task, "rollback")
    c.check("a rollback is accepted", status in (200, 202), (status, said))
    task = d.wait_task(task, 120)
    c.check("it goes down and is on again", saw(bmc, DOWN) and saw(bmc, READY, 2), bmc.console()[-500:])
    c.check("the task is rolled back", task.get("state") == "rolled back", task)


def main():
    guest = os.environ.get("TEST_GUEST", ROOT / "target" / "test-guest")
    c = Checks("qemu")
    with Bed() as bed:
        kinds = {"obedient": "node.button=ok node.nmi=panic panic=2", "hung": "node.button=ignore", "slow": "node.button=slow:5"}
        bmcs = {name: bed.sim(name, guest=pathlib.Path(guest), append=append) for name, append in kinds.items()}
        for bmc in bmcs.values():
            c.check(f"the {bmc.name} guest boots", saw(bmc, READY, 1, 180), bmc.console()[-500:] or bmc.process.said())
        d = Daemon(bed, bmcs, defaults=BRISK)
        for bmc in bmcs.values():
            seen = d.wait_power(bmc.name, "power on", 30)
            c.check(f"the {bmc.name} guest is read as on", seen.get("power_state") == "power on", seen)
        for journey in (obedient, hung, slow):
            journey(c, d, bmcs[journey.__name__])
    c.end()


if __name__ == "__main__":
    main()
