#!/usr/bin/env python3
"""Who understands whom, as a table: our client with every suite and version that each BMC speaks. The other half, the
stock clients with our simulated BMC, is simulator.py's.

A cell is "ok" when the power state was read, and a hard off and on reached the host: seen by the host itself, or with
our simulator by ipmitool, which knows nothing of ours.
"""
import subprocess

from daemon import BIN, BRISK, Daemon
from bed import Bed, Checks, ipmitool
from simulator import SUITES, simulator

# Refused by name when the configuration is read: nobody should believe that RC4 protects anything.
XRC4 = (4, 5, 9, 10, 13, 14, 18, 19)
# What ipmi_sim does otherwise than the rest of the world: it keys HMAC-MD5-128 with the password in place of K1, and
# its constant behind K2 is as long as the digest.
IPMI_SIM = {7: ["integ_key=password"], 8: ["integ_key=password", "k_const=digest"], 11: [], 12: ["k_const=digest"]}
TYPES = ("none", "md2", "md5", "password")


def fifteen(auth):
    return {"protocol": "1.5", "ipmi15_auth": auth}


def suite(number, quirks=()):
    return {"cipher_suites": [number], **({"quirks": list(quirks)} if quirks else {})}


def cells(bed):
    """What is tried: row and column of the table, the BMC, more keys of its [[node]]."""
    sim, keyed = bed.sim("bmc001"), bed.sim("bmc002", kg="rackkey")
    # One of its own: a log-in with 11 or 12 that stops half-way would crash it after 30 s.
    odd = bed.sim("bmc003")
    for number in (0, 1, 2, 3, 6):
        yield f"suite {number}", "ipmi_sim", sim, suite(number)
    for number, quirks in IPMI_SIM.items():
        yield f"suite {number}", "ipmi_sim", odd, suite(number, quirks)
    for auth in TYPES:
        yield f"1.5 {auth}", "ipmi_sim", sim, fifteen(auth)
    yield "K_g, suite 3", "ipmi_sim", keyed, {"cipher_suites": [3], "kg": "rackkey"}
    yield "17, then 3", "ipmi_sim", sim, {"cipher_suites": [17, 3]}
    for number in (3, 17):
        yield f"suite {number}", "pyghmi", bed.fake(f"pyghmi{number}", suite=number), suite(number)
    _, ours = simulator(bed, "--suites", "all", "--v15")
    for number in SUITES:
        yield f"suite {number}", "our simulator", ours, suite(number)
    for auth in TYPES:
        yield f"1.5 {auth}", "our simulator", ours, fifteen(auth)
    _, keyed = simulator(bed, "--suites", "3,17", "--bmc-key-file", key_file(bed))
    for number in (3, 17):
        yield f"K_g, suite {number}", "our simulator", keyed, {"cipher_suites": [number], "kg": "rackkey"}
    _, late = simulator(bed, "--suites", "3")
    yield "17, then 3", "our simulator", late, {"cipher_suites": [17, 3]}


def key_file(bed):
    path = bed.dir / "kg"
    path.touch(0o600)
    path.write_text("rackkey\n")
    return str(path)


def try_cell(bed, bmc, keys):
    """Reads, switches off and on; whether all of it was so, and what was seen."""
    d = Daemon(bed, {"n": (bmc, keys)}, defaults={**BRISK, "min_off_time": "0s"})
    foreign = hasattr(bmc, "words")
    if foreign:
        bmc.forget()
    told, seen = [], []
    for words in (("status", "n", "--fresh"), ("off", "n", "--wait"), ("on", "n", "--wait")):
        told.append(d.rackbmc(*words, seconds=40))
        if not foreign:
            # With the key where there is one; any suite that the simulator has.
            key = ("-k", keys["kg"]) if "kg" in keys else ()
            seen.append(ipmitool(bmc, 3, *key, "power", "status")[1].strip().rpartition(" ")[2])
    if foreign:
        seen = bmc.words()
    want = ["power-off", "now-0", "power-on", "now-1"] if foreign else ["on", "off", "on"]
    good = [status for status, _, _ in told] == [0, 0, 0] and seen == want
    evidence = (told, seen, d.get("/v1/nodes/n/explain")[1])
    d.stop()
    return good, evidence


def main():
    c = Checks("matrix")
    table = {}
    with Bed() as bed:
        # One at a time: pyghmi's server and ipmi_sim's host serve them all.
        for row, column, bmc, keys in cells(bed):
            good, evidence = try_cell(bed, bmc, keys)
            table[row, column] = "ok" if good else "FAIL"
            c.check(f"our client, {column}, {row}", good, evidence)
        d = Daemon(bed, {"n": bmc})
        for number in XRC4:
            text = d.config.read_text() + f"cipher_suites = [{number}]\n"
            refused = d.dir / "refused.toml"
            refused.touch(0o600)
            refused.write_text(text)
            done = subprocess.run([str(BIN / "rackbmcd"), "--config", str(refused), "--check-config"], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, check=False)
            said = done.stdout + done.stderr
            good = done.returncode == 78 and "refused.toml:" in said and "RC4" in said
            table[f"suite {number}", "refused by name"] = "yes" if good else "FAIL"
            c.check(f"suite {number} is refused by name", good, (done.returncode, said))
    columns = list(dict.fromkeys(column for _, column in table))
    print("     " + f"{'our client':14}" + "".join(f"{column:17}" for column in columns))
    for row in dict.fromkeys(row for row, _ in table):
        print("     " + f"{row:14}" + "".join(f"{table.get((row, column), '-'):17}" for column in columns))
    c.end()


if __name__ == "__main__":
    main()
