#!/usr/bin/env python3
"""Our daemon against ipmi_sim through a bad network: every operation ends, and what it says is what the machine did.

The relay doubles no datagram here: ipmi_sim carries out every copy that reaches it, whoever sent it.
"""
import journeys
from daemon import Daemon
from bed import Bed, Checks

FAULTS = {"loss": 20, "reorder": 10, "corrupt": 3, "delay": 20, "jitter": 30}
ENDS = ("succeeded", "failed", "aborted", "cancelled", "rolled back", "stuck")
LEADS_TO = {"soft power off": False, "power off": False, "power on": True, "rebooting": True, "soft rebooting": True}


def main():
    c = Checks("chaos")
    with Bed() as bed:
        bmcs = {f"n{i}": bed.sim(f"bmc{i:03}", soft_delay=1000 * i) for i in (1, 2, 3)}
        d = Daemon(bed, {name: bed.relay(bmc, seed=i, **FAULTS) for i, (name, bmc) in enumerate(bmcs.items())})
        for name in bmcs:
            seen = d.wait_power(name, "power on", 60)
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
