#!/usr/bin/env python3
"""The recipes of docs/recipes.md that are programs: Ansible over the socket, as it stands there, and the fence agent.

    recipes.py COLLECTIONS    where Ansible's collection openstack.cloud is

The others are tried where their programs are: Ironic's clients in clients.py, TLS and credentials in package.py.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

import bcrypt

from daemon import BIN, Daemon
from bed import PASSWORD, ROOT, Bed, Checks, free_port, until

ANSIBLE = pathlib.Path(sys.executable).parent / "ansible-playbook"
AGENT = ROOT / "etc/fence_rackbmc"


def block(mark):
    """The YAML of the document that has MARK in it, for our node."""
    text = (ROOT / "docs/recipes.md").read_text()
    return next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if mark in block).replace("r1n01", "n1")


def play(bed, host, text, **more):
    """Runs a play on this host."""
    (bed.dir / "play.yml").write_text(text)
    env = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_HOME": str(bed.dir / "ansible"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
           **more}
    return subprocess.run([str(ANSIBLE), "-i", f"{host},", str(bed.dir / "play.yml")], capture_output=True, text=True, env=env,
                          stdin=subprocess.DEVNULL, timeout=180, check=False)


def as_ironic(c, bed, d, bmc, port, collections):
    """The module that Ironic's users have: the play and the clouds.yaml of the document."""
    clouds = block("clouds:").replace("127.0.0.1:6385", f"127.0.0.1:{port}").replace('"..."', json.dumps(PASSWORD))
    (bed.dir / "clouds.yaml").write_text(clouds)
    bmc.forget()
    text = block("baremetal_node_action").replace("- hosts: localhost\n", "- hosts: localhost\n  connection: local\n")
    done = play(bed, "localhost", text, OS_CLIENT_CONFIG_FILE=str(bed.dir / "clouds.yaml"), ANSIBLE_COLLECTIONS_PATH=str(collections),
                PYTHONPATH=str(collections / "sdk"))
    c.check("openstack.cloud.baremetal_node_action switches a node off and on", done.returncode == 0 and "changed=2" in done.stdout,
            (done.stdout[-800:], done.stderr[-500:]))
    c.check("the machine went off and on, each once", until(30, lambda: [word for word in bmc.words() if word.startswith("now")] == ["now-0", "now-1"]), bmc.words())


def ansible(c, bed, d, bmc):
    """The play of the document over the socket."""
    text = block("hosts: rackhost").replace("/run/rackbmcd/rackbmcd.sock", str(d.socket))
    text = text.replace("- hosts: rackhost\n", "- hosts: rackhost\n  connection: local\n  gather_facts: false\n")
    bmc.forget()
    done = play(bed, "rackhost", text)
    c.check("Ansible shuts a node down and waits for it", done.returncode == 0 and bmc.words() == ["soft", "now-0"], (done.stdout[-800:], done.stderr[-300:], bmc.words()))


def agent(d, *lines, argv=()):
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "RACKBMC_SOCKET": str(d.socket)}
    done = subprocess.run([str(AGENT), *argv], input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, env=env, timeout=120,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def fencing(c, d, bmc):
    """What Pacemaker would ask of the agent."""
    said = agent(d, "action=metadata")
    c.check("the agent describes itself", said[0] == 0 and "<resource-agent" in said[1], said)
    c.check("monitor", agent(d, "action=monitor")[0] == 0)
    said = agent(d, "action=list")
    c.check("list names the nodes", said == (0, "n1,\nn2,\n"), said)
    c.check("on", agent(d, "action=on", "plug=n1")[0] == 0 and bmc.is_on())
    c.check("status says on", agent(d, "action=status", "plug=n1")[0] == 0)
    # The node's operating system hangs in a soft power off, which has the node.
    bmc.knob("soft_delay", 600000)
    bmc.forget()
    status, task, _ = d.rackbmc("soft", "n1", "--no-wait", "--timeout", "10m")
    c.check("a soft power off that will not end", status == 0, task)
    said = agent(d, "action=off", "plug=n1")
    c.check("off switches it off for sure, though a task has it", said[0] == 0 and not bmc.is_on() and bmc.words()[-1] == "now-0", (said, bmc.words()))
    c.check("status says off", agent(d, argv=("--action=status", "--plug=n1"))[0] == 2)
    said = agent(d, "action=reboot", "plug=n1")
    c.check("reboot ends with it on", said[0] == 0 and bmc.is_on(), said)
    c.check("a node that there is not is a failure", agent(d, "action=off", "plug=n9")[0] == 1)
    c.check("off without a node is a failure", agent(d, "action=off")[0] == 1)


def main():
    c = Checks("recipes")
    with Bed() as bed:
        bmc, other = bed.sim("bmc001", soft_delay=1000), bed.sim("bmc002")
        port = free_port()
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        htpasswd = bed.dir / "htpasswd"
        htpasswd.touch(0o600)
        htpasswd.write_text(f"anna:{hashed}\n")
        d = Daemon(bed, {"n1": bmc, "n2": other}, api={"tcp": f"127.0.0.1:{port}", "auth": "http_basic", "htpasswd": str(htpasswd)})
        d.wait_power("n1", "power on", 20)
        ansible(c, bed, d, bmc)
        fencing(c, d, bmc)
        bmc.knob("soft_delay", 1000)
        as_ironic(c, bed, d, bmc, port, pathlib.Path(sys.argv[1]))
        bmc.pause()
        status = agent(d, "action=status", "plug=n1")
        c.check("a BMC that does not answer is neither on nor off", status[0] == 1, status)
        bmc.unpause()
    c.end()


if __name__ == "__main__":
    main()
