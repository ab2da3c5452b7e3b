#!/usr/bin/env python3
"""Who understands whom, as a table: our client with every suite and version that a BMC that is not ours speaks.

A cell is "ok" when the power state was read, and a hard off and on reached the host.
"""
import subprocess

from daemon import BIN, BRISK, Daemon
from bed import Bed, Checks

# Refused by name when the configuration is read: nobody should believe that RC4 protects anything.
XRC4 = (4, 5, 9, 10, 13, 14)


def main():
    c = Checks("matrix")
    with Bed() as bed:
        sim, keyed = bed.sim("bmc001"), bed.sim("bmc002", kg="rackkey")
        three, seventeen = bed.fake("bmc003", suite=3), bed.fake("bmc017", suite=17)
        cells = {f"ipmi_sim, suite {n}": (sim, {"cipher_suites": [n]}) for n in (0, 1, 2, 3, 6)}
        cells["ipmi_sim, K_g, suite 3"] = (keyed, {"cipher_suites": [3], "kg": "rackkey"})
        cells["ipmi_sim, 17 then 3"] = (sim, {"cipher_suites": [17, 3]})
        for auth in ("md5", "password", "none"):
            cells[f"ipmi_sim, IPMI 1.5 {auth}"] = (sim, {"protocol": "1.5", "ipmi15_auth": auth})
        cells["pyghmi, suite 3"] = (three, {"cipher_suites": [3]})
        cells["pyghmi, suite 17"] = (seventeen, {"cipher_suites": [17]})
        # One at a time: pyghmi's server and ipmi_sim's host serve them all.
        results = {}
        for what, (bmc, keys) in cells.items():
            d = Daemon(bed, {"n": (bmc, keys)}, defaults={**BRISK, "min_off_time": "0s"})
            bmc.forget()
            told = [d.rackbmc(*words, seconds=40) for words in (("status", "n", "--fresh"), ("off", "n", "--wait"), ("on", "n", "--wait"))]
            good = [status for status, _, _ in told] == [0, 0, 0] and bmc.words() == ["power-off", "now-0", "power-on", "now-1"]
            results[what] = "ok" if good else "FAIL"
            c.check(what, good, (told, bmc.words(), (d.node("n").get("rackbmcd") or {}).get("bmc")))
            d.stop()
        d = Daemon(bed, {"n": sim})
        for number in XRC4:
            text = d.config.read_text() + f"cipher_suites = [{number}]\n"
            refused = d.dir / "refused.toml"
            refused.write_text(text)
            done = subprocess.run([str(BIN / "rackbmcd"), "--config", str(refused), "--check-config"], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, check=False)
            said = done.stdout + done.stderr
            good = done.returncode == 78 and "refused.toml:" in said and "RC4" in said
            results[f"configuration, suite {number}"] = "refused" if good else "FAIL"
            c.check(f"suite {number} is refused by name", good, (done.returncode, said))
    width = max(map(len, results))
    print("\n".join(f"     {what:{width}}  {result}" for what, result in results.items()))
    c.end()


if __name__ == "__main__":
    main()
