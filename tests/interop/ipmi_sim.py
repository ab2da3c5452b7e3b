#!/usr/bin/env python3
"""Our daemon and rackbmc against OpenIPMI's ipmi_sim (cipher suite 3)."""
import json
import re
import time

import bridging
import journeys
from daemon import BRISK, Daemon
from bed import PASSWORD, USER, Bed, Checks, ipmitool, until


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


def presence(c, bed, bmc):
    """What a silent address is told from another by: the BMC's own answer to a presence ping, or none."""
    deaf, dead = bed.relay(bmc, ipmi_loss=100), bed.relay(bmc, loss=100)
    d = Daemon(bed, {"deaf": deaf, "dead": dead})

    def text(node):
        return ((d.node(node).get("rackbmcd") or {}).get("bmc") or {}).get("trouble_text") or ""
    for node, want in (("deaf", "a presence ping is answered, IPMI is not"), ("dead", "nor is a presence ping answered")):
        until(20, lambda node=node, want=want: want in text(node))
        c.check(f"of a silent BMC it is said: {want}", want in text(node), text(node))
        said = d.rackbmc("explain", node)[1]
        c.check("explain says so, too", "presence ping" in said, said)
    sent = [relay.seen.read_text().split("\n").count("to-target seen -") for relay in (deaf, dead)]
    c.check("a ping that is answered is one, one that is not is two", sent == [1, 2], sent)


def behind(c, bed):
    """Controllers behind the BMC, with both versions."""
    bmc = bed.sim("bmc003", satellites=(0x30, 0x32))
    d = Daemon(bed, {"20": (bmc, {"cipher_suites": [3]}), "15": (bed.relay(bmc), {"protocol": "1.5"})}, defaults=BRISK)
    routes = {
        "the BMC itself": ([], 0x0F02),
        "a controller behind the BMC": ([(0, 0x30)], 0x30),
        "another one": ([(0, 0x32)], 0x32),
        "an address where nobody is": ([(0, 0x40)], "refused 83"),
        "a channel that is not there": ([(7, 0x30)], "refused cc"),
        # It reads the inner Send Message, and has no such command.
        "a controller that passes nothing on": ([(0, 0x30), (0, 0x32)], "refused c1"),
    }
    for node, version in (("20", "2.0"), ("15", "1.5")):
        bridging.check(c, d, node, bmc, version, routes)
    said = d.rackbmc("raw", "20", "6", "1", "--bridge", "0:0x40")[1]
    c.check("that nobody is there is said in words", "not acknowledged on the bus" in said, said)
    _, facts, _ = d.rackbmc("explain", "20")
    c.check("a raw command that is refused is no order that is missing", "not supported" not in facts, facts)


def small_orders(c, d, node, bmc):
    """Those that change no power, compared with what ipmitool reads.  ipmi_sim has no restart cause, ACPI state, device
    GUID, DCMI and resets; of boot flags it keeps the device alone."""
    def ours(*words):
        status, said, _ = d.rackbmc(*words, "-o", "json")
        c.check(f"rackbmc {' '.join(words)}", status == 0, said)
        return json.loads(said)[0] if status == 0 else {}
    info, theirs = ours("bmc", "info", node), ipmitool(bmc, 3, "mc", "info")[1]
    numbers = [int(re.search(rf"^{name} ID +: (\d+)", theirs, re.M)[1]) for name in ("Manufacturer", "Product")]
    c.check("the BMC's maker and product are those that ipmitool reads", [info.get("manufacturer"), info.get("product")] == numbers, info)
    slots = re.search(r"slot count +: (\d+)", ipmitool(bmc, 3, "session", "info", "active")[1])
    c.check("so are its session slots", slots and info.get("possible_sessions") == int(slots[1]), (info, slots))
    c.check("our own session is counted", (info.get("sessions") or 0) >= 1, info)
    # Add SEL Entry: a system event record of a temperature sensor, 30h, at 04030201h.
    event = "0x0a 0x44 0 0 2 1 2 3 4 0x20 0 4 1 0x30 1 0x57 0xff 0xff"
    status, said = ipmitool(bmc, 3, "raw", *event.split())
    c.check("an event is logged", status == 0, said)
    entries = ours("sel", "list", node).get("entries", [])
    theirs = re.findall(r"^ +([0-9a-f]+) \|", ipmitool(bmc, 3, "sel", "list")[1], re.M)
    c.check("the event log has the entries that ipmitool reads", [entry["id"] for entry in entries] == [int(i, 16) for i in theirs], entries)
    c.check("the sensor is called what it is", entries and "temperature" in entries[-1]["text"], entries)
    status, said, _ = d.rackbmc("sel", "clear", node, "--yes")
    c.check("the event log is cleared", status == 0 and "no entries" in ipmitool(bmc, 3, "sel", "list")[1], said)
    bmc.forget()
    status, said, _ = d.rackbmc("identify", node, "--for", "15s")
    c.check("rackbmc identify reaches the host", status == 0 and bmc.words() == ["identify"], (said, bmc.words()))
    # This BMC takes the flags and forgets that they are valid: what was set is read back, and this is told.
    bmc.forget()
    status, said, _ = d.rackbmc("bootdev", node, "--set", "pxe")
    told = status == 1 and "the BMC shows no override" in said
    c.check("rackbmc bootdev reaches the host and is not believed", told and bmc.words() == ["boot-pxe"], (status, said, bmc.words()))
    flags = ipmitool(bmc, 3, "chassis", "bootparam", "get", "5")[1]
    c.check("ipmitool reads that boot device", "Force PXE" in flags, flags)
    for words in (("power-use", node), ("bmc", "reset", node, "--cold", "--yes")):
        status, said, _ = d.rackbmc(*words)
        c.check(f"rackbmc {' '.join(words)} is refused, and said so", status == 1 and "0xc1" in said, said)


def listed(c, d, node, bmc):
    """The list of suites.  ipmitool 1.8.19 leaves out what came in a last piece of less than 16 bytes."""
    until(30, lambda: "suites listed" in d.rackbmc("explain", node)[1])
    facts = d.rackbmc("explain", node)[1]
    said = re.search(r"suites listed +([0-9, ]+), says the BMC", facts)
    ours = said[1].split(", ") if said else []
    theirs = re.findall(r"^(\d+) +N/A", ipmitool(bmc, 3, "channel", "getciphers", "ipmi")[1], re.M)
    c.check("the BMC's list of suites is read to its end", ours == [str(number) for number in range(15)], facts)
    c.check("and begins with what ipmitool reads", len(theirs) >= 12 and ours[:len(theirs)] == theirs, (ours, theirs))


def traced(c, d, node):
    """What was said last, for a report: readable, and without the user's name and the password in letters and in bytes."""
    status, said, _ = d.rackbmc("bmc", "trace", node)
    for wanted in ("Open Session Request", "RAKP 2 (status 00h, no errors)", "Get Chassis Status 00h/01h answer"):
        c.check(f"the trace shows {wanted}", status == 0 and wanted in said, said[-600:])
    secrets = [form for word in (USER, PASSWORD) for form in (word, word.encode().hex(" "), word.encode().hex())]
    c.check("and nothing secret", not [secret for secret in secrets if secret in said], said[-600:])


def trouble(d, node):
    return ((d.node(node).get("rackbmcd") or {}).get("bmc") or {}).get("trouble")


def main():
    c = Checks("ipmi_sim")
    with Bed() as bed:
        bmc, mute = bed.sim("bmc001"), bed.sim("bmc002")
        d = Daemon(bed, {"alive": (bmc, {"privilege": "administrator"}), "dead": mute})
        for journey in journeys.ALL:
            journey(c, d, "alive", bmc)
        small_orders(c, d, "alive", bmc)
        listed(c, d, "alive", bmc)
        lost_sessions(c, d, bmc)
        traced(c, d, "alive")
        dead(c, d, mute)
        c.check("the daemon ends when told", d.stop() == 0, d.process.said()[-300:])
        strangers(c, bed, bmc)
        presence(c, bed, bmc)
        behind(c, bed)
    c.end()


if __name__ == "__main__":
    main()
