#!/usr/bin/env python3
"""`rackbmc sim` as others see it: ipmitool and ipmipower, which know nothing of ours, against our simulated BMCs."""
import types

from daemon import BIN
from bed import Bed, Checks, Process, free_port, ipmipower, ipmitool, until


def main():
    c = Checks("simulator")
    with Bed() as bed:
        bmc = types.SimpleNamespace(port=free_port())
        sim = bed.add(Process([str(BIN / "rackbmc"), "sim", "--nodes", "1", "--port", str(bmc.port)], bed.dir / "sim.log"))
        up = until(10, lambda: ipmitool(bmc, 17, "power", "status")[0] == 0)
        c.check("rackbmc sim comes up", up and sim.alive(), sim.said())
        for suite in (3, 17):
            for words, want in (("status", "is on"), ("off", "Down/Off"), ("status", "is off"), ("on", "Up/On"), ("cycle", "Cycle"),
                                ("reset", "Reset"), ("diag", "Diag"), ("soft", "Soft")):
                found = []

                def said(words=words, want=want, suite=suite, found=found):
                    found[:] = ipmitool(bmc, suite, "power", words)
                    return want in found[1]
                c.check(f"ipmitool -C {suite} power {words}", until(5, said), found)
            ipmitool(bmc, suite, "power", "on")
            for more in ((), ("-W", "opensesspriv")):
                status, said = ipmipower(bmc.port, suite, "stat", *more)
                c.check(f"ipmipower -I {suite} {' '.join(more)}", said.strip().endswith(("on", "off")), said)
            status, said = ipmitool(bmc, suite, "mc", "info")
            c.check(f"ipmitool -C {suite} mc info", status == 0 and "Device ID" in said, said)
            status, said = ipmitool(bmc, suite, "-P", "wrong", "power", "status")
            c.check(f"ipmitool -C {suite} with a wrong password is refused", status != 0, said)
        c.check("rackbmc sim ends when told", sim.stop() in (0, -15), sim.said())
    c.end()


if __name__ == "__main__":
    main()
