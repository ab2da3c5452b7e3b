"""Our daemon and our client as the other scripts use them: the real binaries, a socket and a state of their own.

Everything goes over the Unix socket with curl, or through `rackbmc`, as an operator would do it.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bed"))
from bed import PASSWORD, ROOT, USER, Process, until  # noqa: E402

BIN = pathlib.Path(os.environ.get("RACKBMCD_BIN", ROOT / "target" / "debug"))

CONFIG = """\
[daemon]
state_dir = "{dir}/state"

[api]
socket = "{dir}/api.sock"
{api}

[rack]
name = "bed"
sync_interval = "{sync}"
{rack}

[defaults]
password_file = "{dir}/bmc.pw"
{defaults}
"""
NODE = """
[[node]]
name = "{name}"
address = "127.0.0.1"
port = {port}
{more}
"""


# What stands in [defaults] unless a script says otherwise: short times.
DEFAULTS = {"username": USER, "min_off_time": "2s", "soft_power_off_timeout": "60s", "nmi_watch": "3s", "nmi_min_interval": "1s"}
# For the foreign BMCs that are not there to be spared.
BRISK = {"orders_per_second": 20, "burst": 20}


def toml(values):
    """Keys and values as lines of TOML."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())


class Daemon:
    """One rackbmcd over NODES: name -> BMC or relay, or a pair of it and more keys of its [[node]]."""

    def __init__(self, bed, nodes, sync="10s", api=None, rack=None, defaults=None):
        self.dir = bed.dir / f"daemon{len(bed.started)}"
        (self.dir / "state").mkdir(parents=True)
        os.chmod(self.dir / "state", 0o700)
        self.secret("bmc.pw", PASSWORD)
        text = CONFIG.format(dir=self.dir, sync=sync, api=toml(api or {}), rack=toml(rack or {}), defaults=toml({**DEFAULTS, **(defaults or {})}))
        for name, where in nodes.items():
            bmc, more = where if isinstance(where, tuple) else (where, {})
            text += NODE.format(name=name, port=bmc.port, more=toml(more))
        self.config = self.dir / "rackbmcd.toml"
        self.config.touch(0o600)
        self.config.write_text(text)
        self.socket = self.dir / "api.sock"
        self.start()
        bed.add(self)

    def secret(self, name, text):
        """A file that only the daemon may read; returns its path."""
        path = self.dir / name
        path.touch(0o600)
        path.write_text(text + "\n")
        return str(path)

    def start(self):
        self.process = Process([str(BIN / "rackbmcd"), "--config", str(self.config), "--log-level", "debug"],
                               self.dir / "rackbmcd.log")
        if not until(15, lambda: not self.process.alive() or self.get("/v1")[0] == 200) or not self.process.alive():
            print(self.process.said()[-3000:])
            sys.exit("rackbmcd did not come up")

    def stop(self):
        return self.process.stop(patience=30)

    def kill(self):
        """As a power cut would end it."""
        self.process.signal(signal.SIGKILL)
        self.process.child.wait()

    def call(self, method, path, body=None, version="1.31"):
        """One HTTP request over the socket; returns status (0: none came) and body (None: no JSON)."""
        argv = ["curl", "-sS", "--max-time", "40", "--unix-socket", str(self.socket), "-X", method, "-w", "\n%{http_code}",
                "-H", f"X-OpenStack-Ironic-API-Version: {version}", "http://localhost" + path]
        if body is not None:
            argv += ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        text, _, status = done.stdout.rpartition("\n")
        try:
            return int(status or 0), json.loads(text)
        except ValueError:
            return int(status or 0), None

    def get(self, path):
        return self.call("GET", path)

    def states(self, node):
        return self.get(f"/v1/nodes/{node}/states")[1] or {}

    def node(self, node):
        return self.get(f"/v1/nodes/{node}")[1] or {}

    def power(self, node, target, timeout=None):
        """Asks for a power target; returns the HTTP status and the body."""
        body = {"target": target} if timeout is None else {"target": target, "timeout": timeout}
        return self.call("PUT", f"/v1/nodes/{node}/states/power", body)

    def last_task(self, node):
        """The newest task of a node, or an empty one."""
        tasks = (self.get(f"/v1/nodes/{node}/tasks")[1] or {}).get("tasks") or [{}]
        return tasks[0]

    def control(self, task, word):
        return self.call("POST", f"/v1/tasks/{task['id']}/{word}")

    def wait_task(self, task, seconds):
        """The task once it has ended, or as it is when the patience ends."""
        path = f"/v1/tasks/{task.get('id')}"
        until(seconds, lambda: (self.get(path)[1] or {}).get("ended"), every=0.2)
        return self.get(path)[1] or {}

    def wait_power(self, node, state, seconds):
        """Waits until a node is at rest in a power state; returns the states last read."""
        def there():
            seen = self.states(node)
            return seen.get("power_state") == state and seen.get("target_power_state") is None
        until(seconds, there, every=0.2)
        return self.states(node)

    def rackbmc(self, *words, seconds=120):
        """Runs rackbmc; returns exit status, what it said, and the seconds it took."""
        began = time.monotonic()
        try:
            done = subprocess.run([str(BIN / "rackbmc"), "--socket", str(self.socket), *words], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=seconds, check=False)
            return done.returncode, done.stdout + done.stderr, time.monotonic() - began
        except subprocess.TimeoutExpired as over:
            return -1, f"still runs after {seconds} s: {over.stdout} {over.stderr}", time.monotonic() - began
