#!/usr/bin/env python3
"""Our units under a real systemd: readiness, the passed socket, sandbox, reload, restart, watchdog, a wrong configuration.

Only the paths of binary and configuration and the length of the watchdog differ from what is installed. Root only.
"""
import json
import os
import shutil
import subprocess
import tempfile
import pathlib

from daemon import BIN, CONFIG, DEFAULTS, NODE, toml
from bed import HERE, PASSWORD, ROOT, Bed, Checks, until

BOOT, KEEP = str(HERE / "boot-systemd.sh"), "/run/keep/dir"
SOCKET = "/run/rackbmcd/rackbmcd.sock"
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart={KEEP}/rackbmcd --config {KEEP}/rackbmcd.toml
ExecReload=
ExecReload={KEEP}/rackbmcd --config {KEEP}/rackbmcd.toml --check-config
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=4
"""


class Inside:
    """The systemd that was booted, and our service in it."""

    def __init__(self, bed):
        # Where the service's user gets at it.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rackbmcd-service."))
        self.dir.chmod(0o755)
        root = bed.dir / "root"
        units = root / "etc/systemd/system"
        (units / "rackbmcd.service.d").mkdir(parents=True)
        (root / "usr/lib/sysusers.d").mkdir(parents=True)
        for unit in ("rackbmcd.service", "rackbmcd.socket"):
            shutil.copy(ROOT / "systemd" / unit, units)
        (units / "rackbmcd.service.d/bed.conf").write_text(DROP_IN)
        shutil.copy(ROOT / "systemd/rackbmcd.sysusers", root / "usr/lib/sysusers.d/rackbmcd.conf")
        shutil.copy(BIN / "rackbmcd", self.dir)
        self.root = root

    def boot(self):
        subprocess.run([BOOT, "start", str(self.dir), str(self.root)], check=True, stdin=subprocess.DEVNULL)

    def run(self, *argv):
        """Runs a command inside; returns its exit status and what it said."""
        done = subprocess.run([BOOT, "run", str(self.dir), *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=90, check=False)
        return done.returncode, done.stdout + done.stderr

    def show(self, name):
        return self.run("systemctl", "show", "-P", name, "rackbmcd.service")[1].strip()

    def journal(self):
        return self.run("journalctl", "-o", "cat", "--no-pager", "-u", "rackbmcd.service")[1]

    def get(self, path):
        status, said = self.run("curl", "-sS", "--max-time", "20", "--unix-socket", SOCKET, "-H",
                                "X-OpenStack-Ironic-API-Version: 1.31", "http://localhost" + path)
        try:
            return json.loads(said) if status == 0 else {"failed": said}
        except ValueError:
            return {"failed": said}

    def put(self, path, body):
        return self.run("curl", "-sS", "--max-time", "20", "--unix-socket", SOCKET, "-X", "PUT", "-o", "/dev/null", "-w",
                        "%{http_code}", "-H", "X-OpenStack-Ironic-API-Version: 1.31", "-d", json.dumps(body),
                        "-H", "Content-Type: application/json", "http://localhost" + path)[1]

    def configure(self, nodes, more=""):
        """A configuration that the service's user may read."""
        text = CONFIG.format(dir=KEEP, sync="10s", api="", rack="", defaults=toml(DEFAULTS))
        text = text.replace(f"{KEEP}/state", "/var/lib/rackbmcd").replace(f"{KEEP}/api.sock", SOCKET)
        for name, bmc in nodes.items():
            text += NODE.format(name=name, port=bmc.port, more="")
        (self.dir / "rackbmcd.toml").write_text(text + more)

    def stop(self):
        subprocess.run([BOOT, "stop", str(self.dir)], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    c = Checks("service")
    with Bed() as bed:
        one, two = bed.sim("bmc001", soft_delay=4000), bed.sim("bmc002")
        inside = bed.add(Inside(bed))
        inside.boot()
        password = inside.dir / "bmc.pw"
        password.touch(0o640)
        password.write_text(PASSWORD + "\n")
        gid = next(line.split(":")[2] for line in inside.run("cat", "/etc/group")[1].splitlines() if line.startswith("rackbmcd:"))
        os.chown(password, 0, int(gid))
        os.chmod(password, 0o640)

        inside.configure({"n1": one}, more="[rack\n")
        status, said = inside.run("systemctl", "start", "rackbmcd.service")
        c.check("a wrong configuration does not start", status != 0 and inside.show("ExecMainStatus") == "78", inside.journal())
        c.check("and is not tried again", inside.show("NRestarts") == "0", inside.show("NRestarts"))
        inside.run("systemctl", "reset-failed")

        inside.configure({"n1": one})
        status, said = inside.run("systemctl", "start", "rackbmcd.socket", "rackbmcd.service")
        c.check("the service says that it is ready", status == 0 and inside.show("ActiveState") == "active", (said, inside.journal()))
        mode = inside.run("stat", "-c", "%a %U %G", SOCKET)[1].strip()
        c.check("the socket belongs to root:rackbmc, 0660", mode == "660 root rackbmc", mode)
        power = until(20, lambda: inside.get("/v1/nodes/n1/states").get("power_state"))
        c.check("it answers there and reads the power state", power == "power on", (power, inside.journal()[-500:]))
        c.check("its status line counts the nodes", "1 node" in inside.show("StatusText"), inside.show("StatusText"))

        inside.configure({"n1": one, "n2": two})
        status, said = inside.run("systemctl", "reload", "rackbmcd.service")
        power = until(20, lambda: inside.get("/v1/nodes/n2/states").get("power_state"))
        c.check("a reload takes a new node in", status == 0 and power == "power on", (said, power))
        inside.configure({"n1": one}, more="[rack\n")
        status, said = inside.run("systemctl", "reload", "rackbmcd.service")
        power = inside.get("/v1/nodes/n2/states").get("power_state")
        c.check("a wrong file fails the reload and changes nothing", status != 0 and power == "power on"
                and inside.show("ActiveState") == "active", (said, power))
        c.check("and the journal says where it is wrong", "rackbmcd.toml:" in inside.journal(), inside.journal()[-500:])
        inside.configure({"n1": one, "n2": two})

        one.forget()
        status = inside.put("/v1/nodes/n1/states/power", {"target": "soft rebooting", "timeout": 60})
        c.check("soft rebooting is accepted", status == "202", status)
        until(10, lambda: one.words())
        status, said = inside.run("systemctl", "restart", "rackbmcd.service")
        c.check("a restart in the middle of a task works", status == 0, said)
        done = until(40, lambda: one.words() == ["soft", "now-0", "power-on", "now-1"])
        c.check("and the task goes on, with nothing sent twice", done, one.words())

        restarts = int(inside.show("NRestarts") or 0)
        inside.run("kill", "-STOP", inside.show("MainPID"))
        again = until(40, lambda: int(inside.show("NRestarts") or 0) > restarts and inside.show("ActiveState") == "active", every=0.5)
        c.check("the watchdog ends a daemon that hangs, and systemd starts another", again, inside.journal()[-500:])
        status, said = inside.run("systemctl", "stop", "rackbmcd.service")
        c.check("it stops in order", inside.show("Result") == "success" and inside.show("ExecMainStatus") == "0", inside.journal()[-500:])
        c.check("no password is in its journal", PASSWORD not in inside.journal())
    c.end()


if __name__ == "__main__":
    main()
