#!/usr/bin/env python3
"""The fence agent under Pacemaker's own tools, in a bare Debian: its description, its options, and Pacemaker's fencer, which
needs no cluster when it stands alone, told by `stonith_admin` to switch nodes off and on.

    fencing.py BASE PACKAGES     the bare Debian, and a directory that keeps the Debian packages between two runs

Root only. The daemon and its BMCs are those of the bed; the agent reaches them over TCP, as on a cluster's other hosts.
"""
import pathlib
import re
import shutil
import sys

import bcrypt

from bare import Bare
from bed import PASSWORD, ROOT, Bed, Checks, free_port, until
from daemon import BIN, Daemon

PACEMAKER = "pacemaker pacemaker-cli-utils pcs libxml2-utils"
FENCER = "/usr/lib/pacemaker/pacemaker-fenced"
METADATA = "/usr/share/cluster/relaxng/metadata.rng"


def prepare(bare, kept):
    """Pacemaker's programs, of which no service is started, our client and the agent where the document puts it."""
    kept.mkdir(parents=True, exist_ok=True)
    for deb in kept.glob("*.deb"):
        shutil.copy(deb, bare.share)
    bare.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode="755", group="root")
    status, said = bare.sh(f"mkdir -p /srv/partial; chown _apt /srv/partial; apt-get -q update && apt-get -q install -y --no-install-recommends"
                           f" -o Dir::Cache::archives=/srv {PACEMAKER} && cd /srv && {{ ls fence-agents_*.deb || apt-get -q download fence-agents; }}"
                           " && dpkg -x fence-agents_*.deb /opt")
    if status:
        sys.exit(f"Pacemaker cannot be installed: {said[-600:]}")
    for deb in bare.share.glob("*.deb"):
        shutil.copy(deb, kept)
    shutil.copy(BIN / "rackbmc", bare.share)
    shutil.copy(ROOT / "etc/fence_rackbmc", bare.share)
    bare.sh("install -m 755 /srv/rackbmc /usr/bin/rackbmc && install -m 755 /srv/fence_rackbmc /usr/sbin/fence_rackbmc")
    bare.write("/etc/fence-r1.auth", f"anna:{PASSWORD}\n", mode="600", group="root")


def described(c, bare, options):
    """What can be asked without a fencer."""
    said = bare.sh(f"fence_rackbmc -o metadata | xmllint --noout --relaxng /opt{METADATA} -")
    c.check("the agent's description has the form that the fence agents' own have", said[0] == 0, said)
    said = bare.run("stonith_admin", "--list-installed")
    c.check("Pacemaker finds the agent", "fence_rackbmc" in said[1].split(), said)
    said = bare.run("stonith_admin", "--metadata", "-a", "fence_rackbmc")
    c.check("and reads its description", said[0] == 0 and 'name="auth_file"' in said[1], said)
    given = [word for option in options for word in ("-o", option)]
    said = bare.run("stonith_admin", "--validate", "-a", "fence_rackbmc", *given)
    c.check("it takes the options", said[0] == 0, said)
    said = bare.run("stonith_admin", "--validate", "-a", "fence_rackbmc", "-o", "auth_file=/nowhere")
    c.check("and refuses a file that is not there", said[0] != 0, said)
    line = re.search(r"^# (pcs stonith create .*)$", (ROOT / "docs/recipes.md").read_text(), re.M)[1]
    bare.sh("cibadmin --empty >/tmp/cib.xml")
    said = bare.sh(line.replace("pcs", "pcs -f /tmp/cib.xml", 1) + " && pcs -f /tmp/cib.xml stonith config fence-r1")
    c.check("the line of the document is taken by pcs", said[0] == 0 and "r1n01 r1n02" in said[1] and "rror" not in said[1] and "arning" not in said[1], said)
    said = bare.run("pcs", "stonith", "describe", "fence_rackbmc")
    c.check("pcs describes the agent", said[0] == 0 and "The node's name in rackbmcd" in said[1], said)


def fenced(c, bare, options, bmc, d):
    """Pacemaker's fencer with our agent as its device."""
    bare.sh(f"mkdir -p /var/log/pacemaker; {FENCER} --stand-alone -l /var/log/fenced.log </dev/null >/dev/null 2>&1 &")
    given = [word for option in options for word in ("-o", option)]
    admin = ("stonith_admin", "--timeout", "60")

    def register():
        return bare.run("stonith_admin", "--register", "fence-r1", "-a", "fence_rackbmc", *given)[0] == 0

    c.check("the fencer takes the device", until(20, register, every=0.5), bare.run("tail", "-n", "20", "/var/log/fenced.log"))
    said = bare.run("stonith_admin", "--list", "n1")
    c.check("which can fence n1", "fence-r1" in said[1], said)
    said = bare.run("stonith_admin", "--query", "fence-r1")
    c.check("and is well", said[0] == 0, said)
    said = bare.run("stonith_admin", "--list-targets", "fence-r1")
    c.check("it names the nodes that it can fence", {"n1", "n2"} <= set(said[1].split()), said)
    bmc.knob("soft_delay", 600000)
    d.rackbmc("soft", "n1", "--no-wait", "--timeout", "10m")
    until(10, lambda: "soft" in bmc.words())
    said = bare.run(*admin, "--fence", "n1")
    c.check("a node is off after --fence, though a soft power off that hangs has it", said[0] == 0 and not bmc.is_on(), (said, bmc.words()))
    bmc.forget()
    said = bare.run(*admin, "--unfence", "n1")
    c.check("--unfence switches it on, once", said[0] == 0 and bmc.words() == ["power-on", "now-1"], (said, bmc.words()))
    bmc.forget()
    said = bare.run(*admin, "--reboot", "n1")
    c.check("--reboot is off, then on", said[0] == 0 and [word for word in bmc.words() if word.startswith("now")] == ["now-0", "now-1"], (said, bmc.words()))
    bmc.pause()
    said = bare.run("stonith_admin", "--timeout", "15", "--fence", "n1")
    c.check("a node whose BMC does not answer is not called fenced", said[0] != 0 and bmc.is_on(), said)
    bmc.unpause()


def main():
    base, kept = map(pathlib.Path, sys.argv[1:])
    c = Checks("fencing")
    with Bed() as bed:
        bmc, other = bed.sim("bmc001"), bed.sim("bmc002")
        port = free_port()
        htpasswd = bed.dir / "htpasswd"
        htpasswd.touch(0o600)
        htpasswd.write_text(f"anna:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
        d = Daemon(bed, {"n1": bmc, "n2": other}, api={"tcp": f"127.0.0.1:{port}", "auth": "http_basic", "htpasswd": str(htpasswd)})
        d.wait_power("n1", "power on", 20)
        bare = bed.add(Bare(base))
        prepare(bare, kept)
        options = [f"url=http://127.0.0.1:{port}", "auth_file=/etc/fence-r1.auth", "pcmk_host_list=n1 n2"]
        described(c, bare, options)
        fenced(c, bare, options, bmc, d)
    c.end()


if __name__ == "__main__":
    main()
