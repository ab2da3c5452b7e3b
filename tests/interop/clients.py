#!/usr/bin/env python3
"""Ironic's own clients, unchanged: the `baremetal` command and openstacksdk, over TCP and over the Unix socket."""
import json
import os
import pathlib
import subprocess
import sys
import types
import urllib.parse

import bcrypt
import openstack
import requests_unixsocket
from keystoneauth1 import noauth, session

import gophercloud
import journeys
from daemon import BRISK, Daemon
from simulator import simulator
from bed import Bed, Checks, free_port, until

BAREMETAL = pathlib.Path(sys.executable).parent / "baremetal"


def baremetal(url, *words, auth=("--os-auth-type", "none")):
    """Runs the command; returns its exit status, what it printed (JSON where asked for) and what it complained about."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    done = subprocess.run([str(BAREMETAL), *auth, "--os-endpoint", url, *words], capture_output=True, text=True, env=env,
                          stdin=subprocess.DEVNULL, timeout=90, check=False)
    try:
        return done.returncode, json.loads(done.stdout), done.stderr
    except ValueError:
        return done.returncode, done.stdout, done.stderr


def command_line(c, d, url, bmc):
    """Everything about power that the `baremetal` command can ask."""
    def run(*words):
        status, out, complaint = baremetal(url, *words)
        c.check("baremetal " + " ".join(words), status == 0, complaint or out)
        return out

    out = run("node", "list", "-f", "json")
    c.check("... lists the node with its power", [(n["name"], n["power_state"]) for n in out] == [("n1", "power on"), ("n2", "power on")], out)
    out = run("node", "show", "n1", "-f", "json")
    c.check("... shows it", (out["name"], out["power_state"], out["driver"]) == ("n1", "power on", "ipmi"), out)
    c.check("... and no password", "secret" not in json.dumps(out), out)
    run("node", "list", "--long", "-f", "json")

    bmc.forget()
    run("node", "power", "off", "--soft", "--power-timeout", "60", "n1")
    d.wait_power("n1", "power off", 30)
    run("node", "power", "on", "n1")
    d.wait_power("n1", "power on", 30)
    run("node", "reboot", "--soft", "--power-timeout", "60", "n1")
    journeys.settle(d, "n1")
    run("node", "reboot", "n1")
    journeys.settle(d, "n1")
    run("node", "power", "off", "--soft", "n1")
    d.wait_power("n1", "power off", 30)
    run("node", "power", "on", "--power-timeout", "30", "n1")
    d.wait_power("n1", "power on", 30)
    run("node", "power", "off", "n1")
    d.wait_power("n1", "power off", 30)
    run("node", "power", "on", "n1")
    d.wait_power("n1", "power on", 30)
    off_on = ["now-0", "power-on", "now-1"]
    want = (["soft"] + off_on) * 2 + ["power-off"] + off_on + ["soft"] + off_on + ["power-off"] + off_on
    c.check("... and the machine did just that", bmc.words() == want, bmc.words())

    bmc.forget()
    run("node", "inject", "nmi", "n1")
    c.check("... with one NMI", bmc.words() == ["diag"], bmc.words())
    journeys.settle(d, "n1")
    bmc.forget()
    # ipmi_sim takes the flags and forgets that they are valid: what was set is read back, and this is told.
    status, _, complaint = baremetal(url, "node", "boot", "device", "set", "n1", "pxe")
    c.check("baremetal node boot device set n1 pxe is not believed", status != 0 and "the BMC shows no override" in complaint, complaint)
    c.check("... and the host's BMC was told", bmc.words() == ["boot-pxe"], bmc.words())
    run("node", "boot", "device", "set", "n2", "pxe")
    out = run("node", "boot", "device", "show", "n2", "-f", "json")
    c.check("... shows the boot device that was set", out.get("boot_device") == "pxe", out)
    out = run("node", "boot", "device", "show", "--supported", "n1", "-f", "json")
    c.check("... and those that there are", "pxe" in json.dumps(out), out)
    run("node", "maintenance", "set", "--reason", "new fan", "n1")
    out = run("node", "show", "n1", "-f", "json")
    c.check("... shows maintenance and reason", (out["maintenance"], out["maintenance_reason"]) == (True, "new fan"), out)
    run("node", "maintenance", "unset", "n1")
    out = run("node", "validate", "n1", "-f", "json")
    good = [list(row.values())[:2] for row in out]  # whatever the heads of the columns are: interface, result
    c.check("... validates power and management", ["power", True] in good and ["management", True] in good, out)
    out = run("driver", "list", "-f", "json")
    c.check("... lists the driver", "ipmi" in json.dumps(out), out)
    run("driver", "show", "ipmi", "-f", "json")
    status, out, complaint = baremetal(url, "node", "show", "n3")
    c.check("baremetal says that a node is not there", status != 0 and "Node n3 could not be found" in complaint, complaint)


def sdk(c, d, bmc, cloud, how):
    """What openstacksdk asks, over CLOUD."""
    nodes = list(cloud.nodes(details=True))
    c.check(f"openstacksdk {how}: lists", [(n.name, n.power_state) for n in nodes] == [("n1", "power on"), ("n2", "power on")], nodes)
    pages = [n.name for n in cloud.nodes(limit=1)]
    c.check(f"openstacksdk {how}: lists page by page", pages == ["n1", "n2"], pages)
    node = cloud.get_node("n1")
    c.check(f"openstacksdk {how}: shows", node.name == "n1" and node.id == nodes[0].id, node)
    bmc.forget()
    cloud.set_node_power_state(node, "soft power off", wait=True, timeout=60)
    c.check(f"openstacksdk {how}: soft power off, waited for", not bmc.is_on() and bmc.words() == ["soft", "now-0"], bmc.words())
    until(10, lambda: d.states("n1").get("target_power_state") is None)
    cloud.set_node_power_state(node, "power on", wait=True, timeout=60)
    c.check(f"openstacksdk {how}: power on, waited for", bmc.is_on(), bmc.words())
    journeys.settle(d, "n1")
    cloud.set_node_power_state(node, "rebooting")
    task = journeys.settle(d, "n1")
    c.check(f"openstacksdk {how}: rebooting", task.get("state") == "succeeded" and bmc.is_on(), task)
    cloud.set_node_boot_device("n2", "disk", persistent=False)
    found = cloud.get_node_boot_device("n2")
    c.check(f"openstacksdk {how}: boot device", found.get("boot_device") == "disk", found)
    cloud.set_node_maintenance(node, "new fan")
    c.check(f"openstacksdk {how}: maintenance", cloud.get_node("n1").is_maintenance, cloud.get_node("n1"))
    cloud.unset_node_maintenance(node)
    found = cloud.validate_node(node, required=("power", "management"))
    c.check(f"openstacksdk {how}: validates", found["power"].result and found["management"].result, found)
    names = [driver.name for driver in cloud.drivers()]
    c.check(f"openstacksdk {how}: drivers", names == ["ipmi"], names)
    bmc.forget()
    cloud.inject_nmi_to_node(node)
    c.check(f"openstacksdk {how}: injects one NMI", bmc.words() == ["diag"], bmc.words())
    journeys.settle(d, "n1")


class Counting(requests_unixsocket.Session):
    """A session that notes what is asked of it."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def request(self, method, url, *args, **kwargs):
        self.asked.append(url)
        return super().request(method, url, *args, **kwargs)


def pages(c, bed):
    """Long collections: the clients follow `next` to the end, over TCP and over the Unix socket. Nothing listens at these BMCs."""
    names = [f"n{number:04}" for number in range(1, 1101)]
    nodes = {name: types.SimpleNamespace(port=20000 + place) for place, name in enumerate(names)}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    d = Daemon(bed, nodes, api={"tcp": f"127.0.0.1:{port}", "auth": "none"})
    local = "http+unix://" + urllib.parse.quote(str(d.socket), safe="")
    for how, endpoint in (("over TCP", url), ("over the Unix socket", local)):
        counting = Counting()
        plain = session.Session(auth=noauth.NoAuth(endpoint=endpoint + "/v1"), session=counting)
        cloud = openstack.connection.Connection(session=plain).baremetal
        # Where it named a limit it asks once more than there are pages, for it does not believe the missing `next`.
        for asked, requests in (({"limit": 50}, 23), ({"limit": 400, "details": True}, 4), ({}, 2),
                                ({"limit": 500, "fields": ["name", "uuid", "power_state"]}, 4), ({"limit": 1100}, 3)):
            counting.asked.clear()
            found = [node.name for node in cloud.nodes(**asked)]
            c.check(f"openstacksdk {how}: all of {len(names)} nodes with {asked}", found == names, (len(found), found[:3], found[-3:]))
            lists = [where for where in counting.asked if "/v1/nodes" in where]
            c.check(f"... with {requests} requests", len(lists) == requests, (len(lists), lists[:3]))
        found = [node.name for node in cloud.nodes(limit=10, paginated=False)]
        c.check(f"openstacksdk {how}: one page alone", found == names[:10], found)
        last = cloud.get_node("n1090").id
        found = [node.name for node in cloud.nodes(limit=3, marker=last)]
        c.check(f"openstacksdk {how}: from a marker on", found == names[1090:], found)
    # Without a limit `baremetal` takes the first page, here as with Ironic.
    for words, want in ((("--limit", "0"), names), ((), names[:1000]), (("--limit", "30"), names[:30]), (("--limit", "2", "--marker", last), names[1090:1092])):
        status, out, complaint = baremetal(url, "node", "list", "-f", "json", *words)
        found = [node["Name" if "Name" in node else "name"] for node in out] if status == 0 else []
        c.check("baremetal node list " + " ".join(words), found == want, (status, complaint, len(found), found[:3]))
    d.stop()


def basic(c, bed, bmc):
    """TCP with http_basic."""
    port = free_port()
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(5)).decode()
    htpasswd = bed.dir / "htpasswd"
    htpasswd.touch(0o600)
    htpasswd.write_text(f"anna:{hashed}\n")
    d = Daemon(bed, {"n1": bmc}, api={"tcp": f"127.0.0.1:{port}", "auth": "http_basic", "htpasswd": str(htpasswd)})
    d.wait_power("n1", "power on", 20)
    url = f"http://127.0.0.1:{port}"
    auth = ("--os-auth-type", "http_basic", "--os-username", "anna", "--os-password")
    status, out, complaint = baremetal(url, "node", "list", "-f", "json", auth=(*auth, "open sesame"))
    c.check("baremetal with http_basic is let in", status == 0 and len(out) == 1, complaint)
    status, out, complaint = baremetal(url, "node", "list", auth=(*auth, "guess"))
    c.check("with a wrong password it is not", status != 0 and "n1" not in str(out), (out, complaint))
    status, out, complaint = baremetal(url, "node", "list")
    c.check("nor without one", status != 0 and "n1" not in str(out), (out, complaint))
    cloud = openstack.connect(auth_type="http_basic", auth={"endpoint": url, "username": "anna", "password": "open sesame"},
                              baremetal_endpoint_override=url)
    c.check("openstacksdk with http_basic is let in", [n.name for n in cloud.baremetal.nodes()] == ["n1"])
    d.stop()


def main():
    c = Checks("clients")
    with Bed() as bed:
        bmc = bed.sim("bmc001", soft_delay=500)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        _, simulated = simulator(bed)
        d = Daemon(bed, {"n1": bmc, "n2": simulated}, api={"tcp": f"127.0.0.1:{port}", "auth": "none"}, defaults=BRISK)
        for name in ("n1", "n2"):
            d.wait_power(name, "power on", 20)
        command_line(c, d, url, bmc)
        gophercloud.flow(c, url, "n1", bmc)
        gophercloud.by_the_library(c, url, "n1", bmc)
        cloud = openstack.connect(auth_type="none", endpoint=url, baremetal_endpoint_override=url)
        sdk(c, d, bmc, cloud.baremetal, "over TCP")
        local = "http+unix://" + urllib.parse.quote(str(d.socket), safe="")
        plain = session.Session(auth=noauth.NoAuth(endpoint=local + "/v1"), session=requests_unixsocket.Session())
        sdk(c, d, bmc, openstack.connection.Connection(session=plain).baremetal, "over the Unix socket")
        d.stop()
        pages(c, bed)
        basic(c, bed, bmc)
    c.end()


if __name__ == "__main__":
    main()
