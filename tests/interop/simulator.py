#!/usr/bin/env python3
"""`rackbmc sim` as others see it: ipmitool, ipmipower and pyghmi's client, which know nothing of ours, as a table."""
import re
import subprocess
import sys
import time
import types

import bridging
from daemon import BIN, BRISK, Daemon
from bed import PASSWORD, USER, Bed, Checks, Process, ipmipower, ipmitool, ipmitool_15, until

SUITES = (0, 1, 2, 3, 6, 7, 8, 11, 12, 15, 16, 17)
# ipmitool 1.8.19 ends in an assertion of its own with these two.
NOT_IPMITOOL = (11, 12)
# Types of IPMI 1.5, in the words of ipmitool (which has no MD2 in Debian) and of ipmipower.
TYPES = (("MD5", "MD5"), (None, "MD2"), ("PASSWORD", "STRAIGHT_PASSWORD_KEY"), ("NONE", "NONE"))
# For ipmipower, which compares 16 bytes of a straight password with its own copy, however short that is: with "secret"
# it says "password verification timeout" to everybody, ipmi_sim included.
LONG_PASSWORD = "sixteen-bytes-in"
PYGHMI = """\
import sys
from pyghmi.ipmi import command
bmc = command.Command(bmc="127.0.0.1", port=int(sys.argv[1]), userid=sys.argv[2], password=sys.argv[3])
print(bmc.get_power()["powerstate"], bmc.set_power("off", wait=20)["powerstate"], bmc.set_power("on", wait=20)["powerstate"])
"""


def simulator(bed, *more, secret=PASSWORD):
    """Starts one simulated BMC; returns the process and where it listens."""
    password = bed.dir / f"{secret}.pw"
    password.touch(0o600)
    password.write_text(secret + "\n")
    log = bed.dir / f"sim{len(bed.started)}.log"
    argv = [str(BIN / "rackbmc"), "sim", "--nodes", "1", "--user", USER, "--password-file", str(password), *more]
    sim = bed.add(Process(argv, log))
    until(10, lambda: re.search(r"127\.0\.0\.1\D+\d+", sim.said()))
    return sim, types.SimpleNamespace(port=int(re.search(r"127\.0\.0\.1\D+(\d+)", sim.said())[1]))


def suites(c, bmc, table):
    for suite in SUITES:
        if suite not in NOT_IPMITOOL:
            status, said = ipmitool(bmc, suite, "power", "status")
            table["ipmitool", f"suite {suite}"] = c.check(f"ipmitool -C {suite}", "is on" in said, said)
        for more in ((), ("-W", "opensesspriv")):
            status, said = ipmipower(bmc.port, suite, "stat", *more)
            good = c.check(f"ipmipower -I {suite} {' '.join(more)}", said.strip().endswith(": on"), said)
            table["ipmipower", f"suite {suite}"] = good and table.get(("ipmipower", f"suite {suite}"), True)


def fifteen(c, bmc, straight, table):
    """IPMI 1.5 sessions."""
    for word, other in TYPES:
        if word:
            said = ipmitool_15(bmc, word, "power", "status")[1]
            good = c.check(f"ipmitool -A {word}", "is on" in said, said)
            table["ipmitool", f"1.5 {word}"] = good
        if not other:
            continue
        port, secret = (straight.port, LONG_PASSWORD) if word == "PASSWORD" else (bmc.port, PASSWORD)
        argv = ["ipmipower", "-D", "LAN", "-a", other, "-l", "ADMIN", "-h", f"127.0.0.1:{port}", "-u", USER, "-p", secret]
        done = subprocess.run([*argv, "--stat"], capture_output=True, text=True, timeout=60, check=False)
        good = c.check(f"ipmipower -a {other}", done.stdout.strip().endswith(": on"), done.stdout + done.stderr)
        table["ipmipower", f"1.5 {word or other}"] = good


def actions(c, bmc):
    """All that Chassis Control can do, seen in the power state."""
    for suite in (3, 17):
        for word, state in (("off", "off"), ("on", "on"), ("cycle", "on"), ("reset", "on"), ("diag", "on"), ("soft", "off"), ("on", "on")):
            time.sleep(1)  # an operating system that boots does not hear the button
            status, said = ipmitool(bmc, suite, "power", word)
            c.check(f"ipmitool -C {suite} power {word}", status == 0 and "Control" in said, said)
            found = until(15, lambda state=state, suite=suite: f"is {state}" in ipmitool(bmc, suite, "power", "status")[1])
            c.check(f"... then it is {state}", found)
        for words, want in ((("mc", "info"), "Device ID"), (("sel", "info"), "Entries"), (("mc", "guid"), "GUID"),
                            (("chassis", "restart_cause"), "restart cause")):
            status, said = ipmitool(bmc, suite, *words)
            c.check(f"ipmitool -C {suite} {' '.join(words)}", status == 0 and want.lower() in said.lower(), said)
        status, said = ipmitool(bmc, suite, "-P", "wrong", "power", "status")
        c.check(f"ipmitool -C {suite} with a wrong password is refused", status != 0 and "is on" not in said, said)


def behind(c, bed, bmc):
    """The controllers that every simulated BMC has behind itself, reached by ipmitool and by us."""
    d = Daemon(bed, {"20": (bmc, {"cipher_suites": [3]}), "15": (bed.relay(bmc), {"protocol": "1.5"})}, defaults=BRISK)
    routes = {
        "the BMC itself": ([], 1),
        "a controller behind the BMC": ([(0, 0x2C)], 2),
        "a controller behind another": ([(0, 0x82), (7, 0x72)], 4),
        "an address where nobody is": ([(0, 0x40)], "refused 83"),
        "an address where nobody is, behind another": ([(0, 0x82), (7, 0x74)], "refused 83"),
    }
    for node, version in (("20", "2.0"), ("15", "1.5")):
        bridging.check(c, d, node, bmc, version, routes)


def main():
    c = Checks("sim")
    table = {}
    with Bed() as bed:
        sim, bmc = simulator(bed, "--suites", "all", "--v15", "--os", "obeys:1s+boot:500ms+nmi-ignored")
        suites(c, bmc, table)
        _, straight = simulator(bed, "--v15", secret=LONG_PASSWORD)
        fifteen(c, bmc, straight, table)
        actions(c, bmc)
        behind(c, bed, bmc)
        for suite in ("3", "17"):
            _, only = simulator(bed, "--suites", suite)
            done = subprocess.run([sys.executable, "-c", PYGHMI, str(only.port), USER, PASSWORD], capture_output=True, text=True,
                                  timeout=90, stdin=subprocess.DEVNULL, check=False)
            good = c.check(f"pyghmi's client with suite {suite}", done.stdout.split() == ["on", "off", "on"], done.stdout + done.stderr[-400:])
            table["pyghmi", f"suite {suite}"] = good
        c.check("rackbmc sim ends when told", sim.stop() in (0, -15), sim.said())
    clients = ("ipmitool", "ipmipower", "pyghmi")
    print("     " + " " * 13 + "".join(f"{client:11}" for client in clients))
    for what in dict.fromkeys(what for _, what in table):
        cells = {True: "ok", False: "FAIL", None: "-"}
        print(f"     {what:13}" + "".join(f"{cells[table.get((client, what))]:11}" for client in clients))
    c.end()


if __name__ == "__main__":
    main()
