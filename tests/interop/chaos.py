#!/usr/bin/env python3
"""Our daemon against ipmi_sim through a bad network: every operation ends, and what it says is what the machine did.

ipmi_sim carries out every copy that reaches it, whoever sent it. So datagrams towards it are doubled where all that is
ordered are levels, which may be repeated, and log-ins; answers are doubled always.
"""
import journeys
from daemon import Daemon
from bed import Bed, Checks

FAULTS = {"loss": 20, "dup_back": 10, "reorder": 10, "corrupt": 3, "delay": 20, "jitter": 30}
ENDS = ("succeeded", "failed", "aborted", "cancelled", "rolled back", "stuck")
LEADS_TO = {"soft power off": False, "power off": False, "power on": True, "rebooting": True, "soft rebooting": True}


def levels(c, bed):
    """Copies both ways, and a log-in for each order."""
    bmc = bed.sim("bmc009")
    d = Daemon(bed, {"n": bed.relay(bmc, seed=9, **FAULTS, dup=15)}, sync="2m", defaults={"idle_close": "1s"})
    for target in ("power off", "power on") * 3:
        status, said = d.power("n", target, 60)
        c.check(f"{target} through copies is accepted", status == 202, (status, said))
        task = journeys.settle(d, "n")
        good = task.get("state") in ENDS and (task.get("state") != "succeeded" or bmc.is_on() == LEADS_TO[target])
        c.check(f"... ends, and is told as it was ({task.get('state')})", good, (task.get("outcome"), bmc.words()))
    c.check("nothing else was done to the machine", set(bmc.words()) <= {"power-off", "power-on", "now-0", "now-1"}, bmc.words())


def main():
    c = Checks("chaos")
    with Bed() as bed:
        levels(c, bed)
        bmcs = {f"n{i}": bed.sim(f"bmc{i:03}", soft_delay=1000 * i) for i in (1, 2, 3)}
        d = Daemon(bed, {name: bed.relay(bmc, seed=i, **FAULTS) for i, (name, bmc) in enumerate(bmcs.items())})
        for name in bmcs:
            # A log-in of ten seconds may fail, and the next one comes half a minute later: that happens, and passes.
            seen = d.wait_power(name, "power on", 150)
            c.check(f"{name} is read", seen.get("power_state") == "power on", seen)
        for target in ("soft power off", "power on", "rebooting", "soft rebooting", "inject nmi", "power off"):
            for bmc in bmcs.values():
                bmc.forget()
            for name in bmcs:
                status, said = d.power(name, target, 60)
                c.check(f"{target} of {name} is accepted", status == 202, (status, said))
            for name, bmc in bmcs.items():
                task = journeys.settle(d, name)
                c.check(f"{target} of {name} ends", task.get("state") in ENDS, task)
                wanted = LEADS_TO.get(target, True)
                c.check(f"... and is told as it was ({task.get('state')})", task.get("state") != "succeeded" or bmc.is_on() == wanted,
                        (task.get("outcome"), bmc.words()))
                pulses = [word for word in bmc.words() if word in ("diag", "reset", "cycle")]
                c.check("... without a pulse too many", pulses == ["diag"][:len(pulses)] and (target == "inject nmi" or not pulses),
                        bmc.words())
        c.check("the daemon ends when told", d.stop() == 0, d.process.said()[-300:])
    c.end()


if __name__ == "__main__":
    main()
