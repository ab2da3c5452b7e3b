"""What the scripts here share: a simulated rack, our daemon over it, real Ironic, and what the kernel counts of a process.

Everything runs below a directory of its own, on ports of the kernel's choice; what was started is ended, and nothing else.
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "bed"))
from bed import Bed, Process, free_port, until  # noqa: E402,F401

ROOT = HERE.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BIN = pathlib.Path(os.environ.get("RACKBMCD_BIN", TARGET / "release"))
VERSION = {"X-OpenStack-Ironic-API-Version": "1.31"}
IRONIC_VERSION = "39.0.0"


def cpu_seconds(pid):
    """User and system time of a process, its threads included, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tree(pid):
    """A process and everything that it started, down to the last."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += tree(int(child))
        except OSError:
            pass
    return found


def memory(pid):
    """Resident memory in kB: all of it, and what is the process's own (neither program text nor files)."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"^{key}:\s+(\d+)", status, re.M)[1]) for key in ("VmRSS", "RssAnon"))


def udp_packets():
    """UDP datagrams that this host's kernel took in and gave out so far."""
    lines = [line.split() for line in pathlib.Path("/proc/net/snmp").read_text().split("\n") if line.startswith("Udp:")]
    counts = dict(zip(lines[0], lines[1]))
    return int(counts["OutDatagrams"])


def fetch(url, data=None, method=None):
    """One request over TCP; the JSON of its answer."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {**VERSION, "Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Simulated(Process):
    """`rackbmc sim`: the BMCs, and the configuration that it writes for them."""

    def __init__(self, bed, nodes):
        self.config = bed.dir / "rack.toml"
        argv = [str(BIN / "rackbmc"), "sim", "--nodes", str(nodes), "--write-config", str(self.config)]
        super().__init__(argv, bed.dir / "sim.log")
        if not until(20, lambda: not self.alive() or "the password in" in self.said()) or not self.alive():
            sys.exit(f"rackbmc sim did not come up: {self.said()}")
        bed.add(self)

    def ports(self):
        """The BMCs' UDP ports, in the order of the nodes."""
        return [int(port) for port in re.findall(r"^port = (\d+)", self.config.read_text(), re.M)]


class Ours(Process):
    """rackbmcd over a simulated rack, on a Unix socket and on TCP without passwords; ready when every node was read."""

    def __init__(self, bed, rack, sync="5s", defaults=""):
        self.port, self.socket = free_port(), str(bed.dir / "api.sock")
        text = rack.config.read_text()
        text = re.sub(r"^socket = .*$", f'socket = "{self.socket}"\ntcp = "127.0.0.1:{self.port}"\nauth = "none"', text, flags=re.M)
        text = text.replace('[rack]\nname = "sim"', f'[rack]\nname = "sim"\nsync_interval = "{sync}"')
        text = text.replace("[defaults]\n", f"[defaults]\n{defaults}")
        config = bed.dir / "rackbmcd.toml"
        config.touch(0o600)
        config.write_text(text)
        super().__init__([str(BIN / "rackbmcd"), "--config", str(config), "--log-level", "warn"], bed.dir / "rackbmcd.log")
        self.url = f"http://127.0.0.1:{self.port}"
        bed.add(self)

        def all_read():
            try:
                nodes = fetch(self.url + "/v1/nodes?fields=power_state&limit=1000")["nodes"]
            except OSError:
                return False
            return all(node["power_state"] for node in nodes)
        if not until(60, lambda: not self.alive() or all_read(), every=0.3) or not self.alive():
            sys.exit(f"rackbmcd did not come up: {self.said()[-2000:]}")

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as answer:
            return answer.read().decode()


IRONIC_CONF = """\
[DEFAULT]
auth_strategy = noauth
rpc_transport = none
host = localhost
my_ip = 127.0.0.1
state_path = {dir}
log_file = {dir}/ironic.log
enabled_hardware_types = fake-hardware
enabled_bios_interfaces = no-bios
enabled_boot_interfaces = fake
enabled_console_interfaces = no-console
enabled_deploy_interfaces = fake
enabled_inspect_interfaces = no-inspect
enabled_management_interfaces = fake
enabled_network_interfaces = noop
enabled_power_interfaces = fake
enabled_raid_interfaces = no-raid
enabled_rescue_interfaces = no-rescue
enabled_storage_interfaces = noop
enabled_vendor_interfaces = no-vendor
[api]
host_ip = 127.0.0.1
port = {port}
[conductor]
automated_clean = false
[database]
connection = sqlite:///{dir}/ironic.sqlite
"""


def ironic_installed():
    """The directory of Ironic's programs, installed from PyPI where it is not; None where that cannot be done."""
    venv = TARGET / "load-venv"
    done = venv / f"ironic-{IRONIC_VERSION}"
    if not done.exists():
        for argv in ([sys.executable, "-m", "venv", str(venv)],
                     [str(venv / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", f"ironic=={IRONIC_VERSION}"]):
            if subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode:
                return None
        done.touch()
    return venv / "bin"


class Ironic(Process):
    """Real Ironic: API and conductor in one process, SQLite, no authentication, machines that are pure fakes.

    Its nodes stay in the state `enroll`, which its power sync leaves out: it reads no machine at all meanwhile, ours does.
    """

    def __init__(self, bed, programs, nodes):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        directory = bed.dir / "ironic"
        directory.mkdir()
        config = directory / "ironic.conf"
        config.write_text(IRONIC_CONF.format(dir=directory, port=self.port))
        subprocess.run([str(programs / "ironic-dbsync"), "--config-file", str(config), "create_schema"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().__init__([str(programs / "ironic"), "--config-file", str(config)], directory / "out.log")
        bed.add(self)

        def there():
            try:
                return fetch(self.url + "/v1/drivers")["drivers"]
            except OSError:
                return False
        if not until(90, lambda: not self.alive() or there(), every=0.5) or not self.alive():
            sys.exit(f"ironic did not come up: {self.said()[-2000:]}")
        for number in range(nodes):
            fetch(self.url + "/v1/nodes", {"driver": "fake-hardware", "name": f"n{number + 1:03}"}, "POST")


class UnixClient:
    """A load generator for a Unix socket: some connections, on each a request after the other."""

    def __init__(self, path, connections):
        self.path, self.connections = path, connections

    def run(self, target, seconds):
        """Asks for TARGET; returns requests per second, the sorted latencies in seconds, and how many were not 200."""
        import selectors
        headers = "".join(f"{name}: {value}\r\n" for name, value in VERSION.items())
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()
        chosen, latencies, bad = selectors.DefaultSelector(), [], 0
        for _ in range(self.connections):
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.path)
            s.sendall(request)
            chosen.register(s, selectors.EVENT_READ, [time.perf_counter(), b"", 0])
        began = time.perf_counter()
        end = began + seconds
        while (now := time.perf_counter()) < end:
            for key, _ in chosen.select(1):
                state = key.data
                state[1] += key.fileobj.recv(1 << 18)
                if not state[2]:
                    head, blank, _ = state[1].partition(b"\r\n\r\n")
                    if not blank:
                        continue
                    bad += not head.startswith(b"HTTP/1.1 200")
                    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
                    state[2] = len(head) + 4 + length
                if len(state[1]) >= state[2]:
                    now = time.perf_counter()
                    latencies.append(now - state[0])
                    state[:] = [now, b"", 0]
                    key.fileobj.sendall(request)
        took = time.perf_counter() - began
        for key in list(chosen.get_map().values()):
            key.fileobj.close()
        return len(latencies) / took, sorted(latencies), bad
