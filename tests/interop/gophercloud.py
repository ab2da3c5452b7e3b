"""The flow of gophercloud's baremetal client (packages baremetal/noauth and baremetal/v1/nodes), by transcript, and by the
library itself (gophercloud/main.go).

What it sends, member by member and header by header, and what it insists on: exactly these statuses, JSON that decodes into
its types. The transcript has the headers of a newer version than Debian's, which the library's own flow is built with.
"""
import datetime
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bed"))
from bed import until

# What a caller sets as `Microversion` goes out in both headers.
HEADERS = {"User-Agent": "gophercloud/v2.0.0", "Accept": "application/json", "X-OpenStack-Ironic-API-Version": "1.31",
           "OpenStack-API-Version": "baremetal 1.31"}
# Members of its type Node, as Go decodes them: a time is RFC 3339 or null, a pointer may be null, nothing else may.
TIMES = ("created_at", "updated_at", "provision_updated_at", "inspection_finished_at", "inspection_started_at")
TEXTS = ("uuid", "driver", "provision_state", "network_interface")
MAYBE = ("name", "power_state", "target_power_state", "target_provision_state", "instance_uuid", "last_error", "reservation", "maintenance_reason")
OBJECTS = ("driver_info", "extra", "instance_info", "properties", "driver_internal_info")


class Client:
    """One `gophercloud.ServiceClient`."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc

    def ask(self, method, path, body=None, ok=(200,)):
        """A request as its `Request` makes it; a status that is not in OKCODES is an error there, too."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        headers = dict(HEADERS)
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status not in ok:
            raise AssertionError(f"{method} {path}: expected {ok}, got {answer.status}: {text}")
        return json.loads(text) if text else None

    def power(self, node, target, **more):
        """`nodes.ChangePowerState`."""
        self.ask("PUT", f"nodes/{node}/states/power", {"target": target, **more}, ok=(202,))

    def node(self, node):
        """`nodes.Get`."""
        found = self.ask("GET", f"nodes/{node}")
        decode(found)
        return found

    def settled(self, node, seconds=60):
        """What its users poll for: no target any more."""
        until(seconds, lambda: self.node(node)["target_power_state"] is None)
        return self.node(node)["power_state"]


def decode(node):
    """As Go's encoding/json would, into `nodes.Node`."""
    for name in TIMES:
        if node.get(name) is not None:
            datetime.datetime.fromisoformat(node[name])
    wrong = [name for name in TEXTS if not isinstance(node.get(name, ""), str)]
    wrong += [name for name in MAYBE if not isinstance(node.get(name), (str, type(None)))]
    wrong += [name for name in OBJECTS if not isinstance(node.get(name, {}), dict)]
    if wrong or not isinstance(node["maintenance"], bool) or not isinstance(node["links"], list):
        raise AssertionError(f"does not decode: {wrong} of {node}")


def flow(c, url, name, bmc):
    """A Cluster API provider's day with one node, and the fencing of it beside a soft power off that hangs."""
    client = Client(url)
    listed = client.ask("GET", "nodes/detail")["nodes"]
    for node in listed:
        decode(node)
    uuid = next(node["uuid"] for node in listed if node["name"] == name)
    c.check("gophercloud: lists in detail and gets by name and uuid", client.node(name)["uuid"] == client.node(uuid)["uuid"] == uuid, listed)
    bmc.forget()
    for target, state, timeout in (("soft power off", "power off", 60), ("power on", "power on", None), ("soft rebooting", "power on", 60),
                                   ("rebooting", "power on", None), ("power off", "power off", None), ("power on", "power on", None)):
        client.power(uuid, target, **({"timeout": timeout} if timeout else {}))
        found = client.settled(uuid)
        c.check(f"gophercloud: {target}", found == state and bmc.is_on() == (state == "power on"), found)
        # Directly behind a target that is null the node is free.
    client.ask("PUT", f"nodes/{uuid}/management/inject_nmi", {}, ok=(204,))
    client.settled(uuid)
    client.ask("PUT", f"nodes/{uuid}/maintenance", {"reason": "new fan"}, ok=(202,))
    c.check("gophercloud: maintenance", client.node(uuid)["maintenance_reason"] == "new fan")
    client.ask("DELETE", f"nodes/{uuid}/maintenance", ok=(202,))
    valid = client.ask("GET", f"nodes/{uuid}/validate")
    c.check("gophercloud: validates", valid["power"]["result"] and valid["management"]["result"], valid)
    supported = client.ask("GET", f"nodes/{uuid}/management/boot_device/supported")
    c.check("gophercloud: boot devices", "pxe" in supported["supported_boot_devices"], supported)
    fencing(c, client, uuid, bmc)


def fencing(c, client, uuid, bmc):
    """Off, status, on and reboot of a machine whose operating system hangs in a soft power off."""
    bmc.knob("soft_delay", 600000)
    client.power(uuid, "soft power off", timeout=600)
    until(20, lambda: "soft" in bmc.words())
    client.ask("PUT", f"nodes/{uuid}/states/power", {"target": "power off"}, ok=(409,))
    client.power(uuid, "abort soft power off")
    client.power(uuid, "power off")
    c.check("gophercloud: fences beside a hanging soft power off", client.settled(uuid) == "power off" and not bmc.is_on(), bmc.words())
    client.power(uuid, "power on")
    c.check("gophercloud: and switches on again", client.settled(uuid) == "power on" and bmc.is_on(), bmc.words())
    client.power(uuid, "rebooting")
    c.check("gophercloud: and reboots", client.settled(uuid) == "power on" and bmc.is_on(), bmc.words())
    bmc.knob("soft_delay", 500)


def by_the_library(c, url, name, bmc):
    """The same day by gophercloud itself; its operating system takes a while to go down, so that an abort meets it."""
    source = pathlib.Path(__file__).resolve().parent / "gophercloud" / "main.go"
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "gophercloud"
        # Debian has the library as source, for builds without modules.
        go = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": f"{folder}/cache"}
        built = subprocess.run(["go", "build", "-o", program, source], env=go, capture_output=True, text=True)
        c.check("gophercloud: builds", built.returncode == 0, built.stderr)
        bmc.knob("soft_delay", 6000)
        said = subprocess.run([program, url, name], capture_output=True, text=True, timeout=400)
        done = said.returncode == 0 and said.stdout.endswith("gophercloud: done\n")
        c.check("gophercloud, the library itself", done, said.stdout + said.stderr)
        bmc.knob("soft_delay", 500)
