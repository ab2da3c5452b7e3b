#!/usr/bin/env python3
"""Our daemon and rackbmc against pyghmi's BMC: cipher suite 3 as it is, and 17 with a K_g."""
import journeys
from daemon import BRISK, Daemon
from bed import Bed, Checks


def main():
    with Bed() as bed:
        three, seventeen = bed.fake("bmc003", suite=3), bed.fake("bmc017", suite=17, kg="rack key")
        d = Daemon(bed, {"three": (three, {"cipher_suites": [3]}), "seventeen": (seventeen, {"kg": "rack key"})}, defaults=BRISK)
        whole = Checks("pyghmi")
        for node, bmc in (("three", three), ("seventeen", seventeen)):
            c = Checks(f"pyghmi, suite {node}")
            for journey in journeys.ALL:
                journey(c, d, node, bmc)
            whole.passed, whole.failed = whole.passed + c.passed, whole.failed + c.failed
    whole.end()


if __name__ == "__main__":
    main()
