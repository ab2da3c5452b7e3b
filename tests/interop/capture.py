#!/usr/bin/env python3
"""Our packets, taken down by tshark and verified with the keys in hand by a program that shares no code with ours."""
import re

from daemon import BRISK, Daemon
from bed import Bed, Capture, Checks, until


def main():
    c = Checks("capture")
    with Bed() as bed:
        bmcs = {"simulated": bed.sim("bmc003", soft_delay=1000), "seventeen": bed.fake("bmc017", suite=17, soft_delay=1000)}
        capture = bed.add(Capture(bed.dir, [bmc.port for bmc in bmcs.values()]))
        d = Daemon(bed, bmcs, defaults=BRISK)
        for node, bmc in bmcs.items():
            d.wait_power(node, "power on", 20)
            for words in (("soft", node, "--wait"), ("on", node, "--wait"), ("nmi", node, "--no-wait")):
                status, said, _ = d.rackbmc(*words)
                c.check(f"rackbmc {' '.join(words)}", status == 0, (status, said))
            until(10, lambda bmc=bmc: "diag" in bmc.words())
        c.check("the daemon ends when told", d.stop() == 0, d.process.said()[-300:])
        capture.stop()
        status, said = capture.check()
        sessions = int((re.search(r"(\d+) sessions", said) or [0, 0])[1])
        c.check("the capture holds a session with each BMC", sessions >= 2, said)
        c.check("every packet is right, every session closed", status == 0 and ", 0 findings" in said, said)
        c.check("Wireshark finds nothing malformed", not capture.malformed(), capture.malformed())
    c.end()


if __name__ == "__main__":
    main()
