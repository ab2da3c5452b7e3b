#!/usr/bin/env python3
"""schemathesis makes requests from our own OpenAPI document, good and bad ones, and compares the answers with it."""
import pathlib
import subprocess
import sys

from daemon import BRISK, Daemon
from simulator import simulator
from bed import Bed, Checks, free_port

EXAMPLES, SEED = 20, 7


def main():
    c = Checks("openapi")
    with Bed() as bed:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        # Our simulator knows every order, and a node in maintenance may be powered: what is left to refuse is bad input.
        _, bmc = simulator(bed, "--os", "obeys:500ms")
        d = Daemon(bed, {"n1": bmc}, api={"tcp": f"127.0.0.1:{port}", "auth": "none"}, rack={"maintenance_policy": "allow"},
                   defaults={**BRISK, "nmi_min_interval": "0s"})
        d.wait_power("n1", "power on", 20)
        # A node that is there, and no request that rightly waits for minutes.
        (bed.dir / "schemathesis.toml").write_text('[parameters]\n"path.ident" = "n1"\n"query.wait" = "1s"\n')
        argv = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", url + "/v1/openapi.json",
                "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--phases", "examples,coverage,fuzzing",
                "--request-timeout", "45", "--header", "X-OpenStack-Ironic-API-Version: 1.31", "--suppress-health-check", "all",
                "--no-shrink", "--continue-on-failure"]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=bed.dir, timeout=600, check=False)
        said = done.stdout + done.stderr
        # All of it where something was found, the summary otherwise.
        print("\n".join("     " + line for line in said.splitlines()[0 if done.returncode else -25:]))
        c.check("schemathesis finds nothing", done.returncode == 0)
        c.check("the daemon still answers", d.get("/v1/nodes")[0] == 200 and d.process.alive(), d.process.said()[-500:])
        c.check("and ends when told", d.stop() == 0, d.process.said()[-500:])
    c.end()


if __name__ == "__main__":
    main()
