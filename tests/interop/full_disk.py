#!/usr/bin/env python3
"""A state directory that is really full, a small tmpfs: new tasks are refused with the reason, none of the old is lost.

Needs root, for the mount, which is in a namespace of its own and ends with the script.
"""
import os
import pathlib
import subprocess
import sys

from daemon import BRISK, Daemon
from bed import Bed, Checks, until

SIZE = "4m"


class Small(Daemon):
    """A daemon whose state directory holds four megabytes."""

    def start(self):
        state = self.dir / "state"
        if not os.path.ismount(state):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "none", str(state)], check=True)
        super().start()

    def fill(self):
        """Takes all the room that is left."""
        with open(self.dir / "state" / "ballast", "wb", buffering=0) as ballast:
            try:
                while ballast.write(b"\0" * 4096):
                    pass
            except OSError:
                pass

    def make_room(self):
        (self.dir / "state" / "ballast").unlink()

    def start_task(self, node, operation, **wishes):
        return self.call("POST", "/v1/tasks", {"node": node, "operation": operation, **wishes})


def fill_up(d, node):
    """Starts and aborts tasks until the journal's file, too, has no room left; what was said then, and the ids."""
    taken = []
    for _ in range(1500):
        status, said = d.start_task(node, "soft power off")
        if status != 202:
            return taken, status, said
        taken.append(said["id"])
        d.control(said, "abort")
    return taken, 202, None


def main():
    c = Checks("full disk")
    with Bed() as bed:
        bmcs = {"n1": bed.sim("n1", soft_delay=4000), "n2": bed.sim("n2", soft_delay=10**6), "n3": bed.sim("n3", soft_delay=10**6)}
        d = Small(bed, bmcs, defaults=BRISK)
        for name in bmcs:
            seen = d.wait_power(name, "power on", 60)
            c.check(f"{name} is read", seen.get("power_state") == "power on", seen)
        status, standing = d.start_task("n2", "soft power off")
        c.check("a task is taken", status == 202, standing)
        status, said = d.control(standing, "suspend")
        c.check("... and suspended", status == 200, said)
        d.fill()
        taken, status, said = fill_up(d, "n3")
        c.check(f"after {len(taken)} more tasks a new one is refused with 503", status == 503, (status, said))
        c.check("... and the reason", "No space left" in str(said), said)
        c.check("what was there is there", (d.get(f"/v1/tasks/{standing['id']}")[1] or {}).get("state") == "suspended")
        status, said = d.start_task("n1", "soft rebooting")
        c.check("another node is refused likewise", status == 503, (status, said))
        d.kill()
        d.make_room()
        d.start()
        known = {task["id"]: task["state"] for task in d.get("/v1/tasks?limit=2000")[1]["tasks"]}
        c.check("after a kill every task that was taken is there", all(id in known for id in taken), len(known))
        c.check("... none that was refused", not set(known) - set(taken) - {standing["id"]}, known)
        c.check("... and what was suspended is suspended", known.get(standing["id"]) == "suspended", known.get(standing["id"]))

        # The last abort may have been refused its record: then that task goes on in the next life, as its answer said.
        for task in d.get("/v1/tasks?node=n3&active=true")[1]["tasks"]:
            d.control(task, "abort")
        status, going = d.start_task("n1", "soft rebooting")
        c.check("with room a task is taken", status == 202, going)
        until(20, lambda: "soft" in bmcs["n1"].words())
        d.fill()
        more, status, said = fill_up(d, "n3")
        c.check(f"after {len(more)} more the disk is full again", status == 503, (status, said))
        until(20, lambda: not bmcs["n1"].is_on())
        until(8, lambda: bmcs["n1"].is_on())
        c.check("nothing leaves that cannot be written down", not bmcs["n1"].is_on(), bmcs["n1"].words())
        d.make_room()
        ended = d.wait_task(going, 60)
        c.check("with room the task goes on to its end", ended.get("state") == "succeeded", ended)
        c.check("... and asked the system once", bmcs["n1"].words().count("soft") == 1, bmcs["n1"].words())
        status, said = d.start_task("n3", "power off")
        c.check("new tasks are taken again", status == 202, (status, said))
        c.check("the daemon ends when told", d.stop() == 0, d.process.said()[-300:])
    c.end()


if __name__ == "__main__":
    if "RACKBMCD_MOUNTS" not in os.environ:
        os.environ["RACKBMCD_MOUNTS"] = "own"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, str(pathlib.Path(__file__).resolve())])
    main()
