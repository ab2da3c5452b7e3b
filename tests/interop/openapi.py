#!/usr/bin/env python3
"""schemathesis makes requests from our own OpenAPI document, good and bad ones, and compares the answers with it."""
import pathlib
import subprocess
import sys

from daemon import BRISK, Daemon
from bed import Bed, Checks, free_port

EXAMPLES, SEED = 20, 7


def main():
    c = Checks("openapi")
    with Bed() as bed:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        nodes = {"n1": bed.sim("bmc001", soft_delay=500), "n2": bed.sim("bmc002", soft_delay="never")}
        d = Daemon(bed, nodes, api={"tcp": f"127.0.0.1:{port}", "auth": "none"}, defaults=BRISK)
        d.wait_power("n1", "power on", 20)
        argv = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", url + "/v1/openapi.json",
                "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--phases", "examples,coverage,fuzzing",
                "--request-timeout", "45", "--header", "X-OpenStack-Ironic-API-Version: 1.31", "--suppress-health-check", "all",
                "--no-shrink", "--continue-on-failure"]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=bed.dir, timeout=600, check=False)
        print("\n".join("     " + line for line in done.stdout.splitlines()[-25:]))
        c.check("schemathesis finds nothing", done.returncode == 0, done.stdout[-6000:] + done.stderr[-500:])
        c.check("the daemon still answers", d.get("/v1/nodes")[0] == 200 and d.process.alive(), d.process.said()[-500:])
        c.check("and ends when told", d.stop() == 0, d.process.said()[-500:])
    c.end()


if __name__ == "__main__":
    main()
