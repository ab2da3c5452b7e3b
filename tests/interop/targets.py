#!/usr/bin/env python3
"""The bed itself: do the BMCs that are not ours behave as the other scripts expect, seen with ipmitool and ipmipower?

Two programs that know nothing of ours agree here first; what our daemon is judged against is thereby known to work.
"""
import re
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/bed")
from bed import ROOT, Bed, Capture, Checks, ipmipower, ipmitool, until  # noqa: E402


def power(bmc, suite):
    return ipmitool(bmc, suite, "power", "status")[1].strip().rpartition(" ")[2]


def sim(bed, checks):
    bmc = bed.sim("sim", soft_delay=500)
    relay = bed.relay(bmc, dup=100, delay=5)
    capture = bed.add(Capture(bed.dir, [bmc.port]))
    for suite in (1, 2, 3):
        found = power(bmc, suite)
        checks.check(f"ipmi_sim answers ipmitool with suite {suite}", found == "on", found)
    capture.stop()
    status, said = capture.check()
    checks.check("the checker of captures agrees with ipmitool", "3 sessions, 0 findings" in said, said)
    status, said = capture.check("--password", "another")
    checks.check("the checker of captures sees a wrong password", status == 1 and "does not match" in said, said)
    checks.check("Wireshark finds nothing malformed", not capture.malformed(), capture.malformed())

    bmc.forget()
    for action in ("off", "on", "reset", "diag", "soft"):
        ipmitool(bmc, 3, "power", action)
    checks.check("a soft shutdown takes effect", until(5, lambda: power(bmc, 3) == "off"), bmc.words())
    want = ["power-off", "now-0", "power-on", "now-1", "reset", "diag", "soft", "now-0"]
    checks.check("the host notes what it is asked for", bmc.words() == want, bmc.words())
    ipmitool(bmc, 3, "power", "on")
    bmc.knob("soft_delay", "never")
    ipmitool(bmc, 3, "power", "soft")
    time.sleep(1)
    checks.check("a hung OS stays on", power(bmc, 3) == "on", bmc.words())
    bmc.knob("force_cc", "0 2 c0 1")
    status, said = ipmitool(bmc, 3, "power", "reset")
    checks.check("a completion code can be forced", "Node busy" in said, said)
    bmc.forget()
    ipmitool(relay, 3, "power", "reset")
    checks.check("a doubled request is carried out twice", bmc.words() == ["reset"] * 2, bmc.words())
    checks.check("the relay counts", relay.count(18) >= 1 and relay.count(20) >= 1, relay.seen.read_text())
    bmc.pause()
    checks.check("a paused BMC is deaf", not bmc.answers())
    bmc.unpause()
    checks.check("and hears again", until(5, bmc.answers))


def lines_of_the_field(bed, checks):
    """What docs/bmcs.md has for a machine's own system, typed over the LAN: a viewer becomes an operator by it."""
    bmc = bed.sim("field")
    viewer = "3"
    lines = re.findall(r"`ipmitool ([^`]+)`", (ROOT / "docs/bmcs.md").read_text())
    checks.check("docs/bmcs.md has lines of ipmitool", len(lines) >= 4, lines)
    for line in lines:
        status, said = ipmitool(bmc, 3, *line.replace("USERID", viewer).split())
        checks.check(f"ipmitool {line}", status == 0, said)
    said = ipmitool(bmc, 3, "channel", "getaccess", "1", viewer)[1]
    level = re.search(r"Privilege Level\s*: (\w+)", said)
    checks.check("the user has the level operator then", level and level[1] == "OPERATOR", said)


def pyghmi(bed, checks):
    for suite in (3, 17):
        bmc = bed.fake(f"pyghmi{suite}", suite=suite, soft_delay=500)
        for action in ("off", "on", "reset", "diag", "soft"):
            ipmitool(bmc, suite, "power", action)
        checks.check(f"pyghmi's BMC obeys ipmitool with suite {suite}", until(5, lambda: power(bmc, suite) == "off"), bmc.words())
        want = ["power-off", "now-0", "power-on", "now-1", "reset", "diag", "soft", "now-0"]
        checks.check(f"pyghmi's BMC, suite {suite}, notes it", bmc.words() == want, bmc.words())
        status, said = ipmipower(bmc.port, suite, "stat")
        checks.check(f"ipmipower agrees with suite {suite}", said.strip().endswith(": off"), said)
        bmc.stop()


def main():
    checks = Checks("targets")
    with Bed() as bed:
        sim(bed, checks)
        lines_of_the_field(bed, checks)
        pyghmi(bed, checks)
    checks.end()


if __name__ == "__main__":
    main()
