"""A bare Debian that is booted for a script, our package in it, and the ways to ask both."""
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bed"))
from bed import HERE, PASSWORD, USER  # noqa: E402

SCRIPT = str(HERE / "bare-root.sh")
SOCKET = "/run/rackbmcd/rackbmcd.sock"

CONFIG = """\
{api}
[rack]
name = "{rack}"
sync_interval = "5s"

[defaults]
username = "{user}"
password_file = "/etc/rackbmcd/bmc.pw"
soft_power_off_timeout = "60s"
min_off_time = "2s"
orders_per_second = 20
burst = 20
"""
NODE = """
[[node]]
name = "{name}"
address = "127.0.0.1"
port = {port}
"""


class Bare:
    """One boot of it. `share` is seen inside as /srv."""

    def __init__(self, base):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rackbmcd-bare."))
        self.share = self.dir / "share"
        self.share.mkdir()
        subprocess.run([SCRIPT, "start", str(self.dir), str(base)], check=True, stdin=subprocess.DEVNULL)

    def run(self, *argv, stdin=None, user=None):
        """Runs a command inside; returns its exit status and all that it said."""
        if user:
            argv = ("setpriv", f"--reuid={user}", "--init-groups", "--regid", user, *argv)
        done = subprocess.run([SCRIPT, "run", str(self.dir), *argv], input=stdin or "", capture_output=True, text=True,
                              timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    def sh(self, script):
        return self.run("bash", "-c", script)

    def typed(self, argv, answers, patience=60):
        """Runs a command on a terminal and answers its questions, each when it stands there; a password not before nothing
        is shown any more. Returns its exit status and all that it said."""
        child, terminal = pty.fork()
        if child == 0:
            os.execv(SCRIPT, [SCRIPT, "run", str(self.dir), *argv])
        said, from_here, deadline = "", 0, time.monotonic() + patience
        todo = list(answers)
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    said += os.read(terminal, 65536).decode(errors="replace")
                except OSError:
                    break
            if todo and todo[0][0] in said[from_here:]:
                question, answer = todo[0]
                shows = termios.tcgetattr(terminal)[3] & termios.ECHO
                if ("assword" in question or "again" in question) and shows:
                    continue
                todo.pop(0)
                from_here = len(said)
                os.write(terminal, f"{answer}\r".encode())
        else:
            os.kill(child, signal.SIGKILL)
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said

    def write(self, path, text, mode="640", group="rackbmcd"):
        """Writes a file inside, as `install` does: at once, with its owner and mode."""
        return self.run("install", "-m", mode, "-g", group, "/dev/stdin", path, stdin=text)

    def configure(self, nodes, rack="bare", api="", more="", file="rackbmcd.toml"):
        self.write("/etc/rackbmcd/bmc.pw", PASSWORD + "\n")
        text = CONFIG.format(api=api, rack=rack, user=USER)
        text += "".join(NODE.format(name=name, port=bmc.port) for name, bmc in nodes.items())
        self.write(f"/etc/rackbmcd/{file}", text + more)

    def show(self, name, unit="rackbmcd.service"):
        return self.run("systemctl", "show", "-P", name, unit)[1].strip()

    def journal(self, unit="rackbmcd.service"):
        return self.run("journalctl", "-o", "cat", "--no-pager", "-u", unit)[1]

    def get(self, path, socket=SOCKET):
        """The JSON that the daemon answers, or what curl said under `failed`."""
        status, said = self.run("curl", "-sS", "--max-time", "20", "--unix-socket", socket, "-H",
                                "X-OpenStack-Ironic-API-Version: 1.31", "http://localhost" + path)
        try:
            return json.loads(said) if status == 0 else {"failed": said}
        except ValueError:
            return {"failed": said}

    def stop(self):
        subprocess.run([SCRIPT, "stop", str(self.dir)], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
