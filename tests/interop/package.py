#!/usr/bin/env python3
"""Our Debian package in a bare Debian that is booted with systemd: installed, used, upgraded, removed, with the real dpkg.

    package.py BASE OLD NEW     the bare Debian, and the packages of two versions of the same source

Root only.
"""
import pathlib
import re
import shutil
import sys
import time

from bare import SOCKET, Bare
from bed import PASSWORD, ROOT, USER, Bed, Checks, free_port, until


def first(c, bare, old):
    """The first installation, and a daemon without nodes."""
    status, said = bare.run("dpkg", "-i", f"/srv/{old.name}")
    c.check("it installs", status == 0 and "error" not in said.lower(), said)
    active = bare.show("ActiveState"), bare.show("ActiveState", "rackbmcd.socket")
    c.check("daemon and socket run and are enabled", active == ("active", "active")
            and bare.run("systemctl", "is-enabled", "rackbmcd.service", "rackbmcd.socket")[1].split() == ["enabled"] * 2, active)
    c.check("it says that there are no nodes yet, and where to write them", "rackbmcd.toml:1:1: there are no nodes yet" in bare.journal(),
            bare.journal())
    status, said = bare.run("rackbmc", "status")
    c.check("so does the command line", status == 2 and "no nodes yet" in said, said)
    stat = bare.run("stat", "-c", "%a %U:%G", "/etc/rackbmcd", "/etc/rackbmcd/rackbmcd.toml", SOCKET)[1].split("\n")
    c.check("the files belong to whom they should", stat[:3] == ["750 root:rackbmcd", "640 root:rackbmcd", "660 root:rackbmc"], stat)
    said = bare.run("systemd-analyze", "verify", "rackbmcd.service", "rackbmcd.socket", "rackbmcd@r2.service", "rackbmcd@r2.socket")
    c.check("systemd-analyze finds nothing in the units, man pages included", said == (0, ""), said)


def pages(c, bare):
    """Man pages and completions."""
    said = bare.sh("for page in /usr/share/man/man?/rackbmc*; do man --warnings -l $page >/dev/null || echo $page; done")[1]
    c.check("man has no complaint about any page", said == "", said)
    listed = bare.sh("ls /usr/share/man/man?/rackbmc* | wc -l")[1]
    verbs = bare.sh("rackbmc --help | awk '/^Options/ { exit } /^  [a-z][a-z-]*( |,)/ { sub(\",\", \"\", $1); print $1 }'")[1].split()
    missing = [verb for verb in verbs if verb != "help" and bare.run("man", "-w", f"rackbmc-{verb}")[0] != 0]
    c.check("each verb has its page", len(verbs) > 30 and not missing, (listed, missing))
    shown = bare.sh("MANWIDTH=100 man 5 rackbmcd.toml; MANWIDTH=100 man 8 rackbmcd")[1]
    c.check("the pages of file and daemon say what they should", "max_transitions = 16" in shown and "78" in shown, shown[:300])
    said = bare.sh(". /usr/share/bash-completion/bash_completion; _load_comp() { _comp_load rackbmc 2>/dev/null || __load_completion rackbmc; };"
                   "_load_comp; COMP_WORDS=(rackbmc sof); COMP_CWORD=1; COMP_LINE='rackbmc sof'; COMP_POINT=11; _rackbmc rackbmc sof rackbmc; echo ${COMPREPLY[@]}")[1]
    c.check("bash completes verbs", "soft" in said.split(), said)
    there = bare.sh("ls /usr/share/zsh/vendor-completions/_rackbmc /usr/share/fish/vendor_completions.d/rackbmc.fish")
    c.check("zsh and fish have theirs", there[0] == 0, there)


def upgrade(c, bare, bmc, old, new):
    """Tasks under way over an upgrade; then the way back is closed."""
    bare.configure({"n1": bmc})
    status, said = bare.run("systemctl", "reload", "rackbmcd")
    power = until(20, lambda: bare.get("/v1/nodes/n1/states").get("power_state"))
    c.check("the first node is taken in by a reload", status == 0 and power == "power on", (said, power))
    bmc.forget()
    status, said = bare.run("rackbmc", "reboot", "--soft", "n1", "--no-wait")
    until(10, bmc.words)
    c.check("a task is under way", status == 0 and bmc.words() == ["soft"], (said, bmc.words()))
    status, said = bare.run("dpkg", "-i", f"/srv/{new.name}")
    c.check("the upgrade goes through", status == 0 and bare.show("ActiveState") == "active", said)
    version = bare.run("rackbmcd", "--version")[1]
    done = until(40, lambda: bmc.words() == ["soft", "now-0", "power-on", "now-1"])
    c.check("the task goes on in the new daemon, nothing sent twice", done, bmc.words())
    task = until(10, lambda: [t for t in bare.get("/v1/tasks?node=n1").get("tasks", []) if t.get("state") == "succeeded"])
    c.check("and it ends well", bool(task), bare.get("/v1/tasks?node=n1"))
    text = bare.run("cat", "/etc/rackbmcd/rackbmcd.toml")[1]
    c.check("the configuration is as it was written", 'name = "n1"' in text, text)

    pid = bare.show("MainPID")
    status, said = bare.run("dpkg", "-i", f"/srv/{old.name}")
    c.check("a downgrade is refused in clear words", status != 0 and "is older than" in said and "Going back" in said, said)
    c.check("and leaves the daemon that ran", bare.show("MainPID") == pid and bare.run("rackbmcd", "--version")[1] == version
            and bare.run("dpkg-query", "-W", "-f=${Status} ${Version}", "rackbmcd")[1].startswith("install ok installed 0.2"),
            bare.run("dpkg-query", "-W", "rackbmcd"))

    # A package whose daemon refuses the configuration does not take down the one that runs.
    bare.configure({"n1": bmc}, more="[rack\n")
    status, said = bare.run("dpkg", "-i", f"/srv/{new.name}")
    c.check("where the new one refuses the configuration the old one runs on, and it is said",
            status == 0 and "rackbmcd.toml:" in said and "goes on as it is" in said and bare.show("MainPID") == pid, said)
    bare.configure({"n1": bmc})


def first_format(c, bed, base, old, new):
    """A journal of the first format (tests/journal/v1), stopped in the middle of its tasks, under the version before and over
    the upgrade: a suspended soft reboot, and a batch of two soft offs that the rack's pause had halted."""
    bmcs = {name: bed.fake(f"old{name}", suite=17) for name in ("n01", "n02", "n03", "n04")}
    bare = bed.add(Bare(base))
    for deb in (old, new):
        shutil.copy(deb, bare.share)
    shutil.copy(ROOT / "tests/journal/v1/journal.redb", bare.share)
    bare.run("dpkg", "-i", f"/srv/{old.name}")
    bare.configure(bmcs)
    bare.sh("systemctl stop rackbmcd.socket rackbmcd.service"
            " && install -m 600 -o rackbmcd -g rackbmcd /srv/journal.redb /var/lib/rackbmcd/journal.redb")
    status, said = bare.run("systemctl", "start", "rackbmcd.service")
    c.check("the version before starts with a journal of the first format", status == 0, (said, bare.journal()[-400:]))

    def tasks():
        return {task["node"]: task for task in bare.get("/v1/tasks").get("tasks", [])}

    def states():
        return {name: task["state"] for name, task in tasks().items()}

    held = {"n01": "suspended", "n02": "succeeded", "n03": "suspended", "n04": "suspended"}
    c.check("its tasks stand where they stood", states() == held, states())
    for line in ("rackbmc release", "rackbmc resume n03"):
        status, said = bare.sh(line)
        c.check(line, status == 0, said)
    running = {**held, "n01": "running", "n03": "running", "n04": "running"}
    c.check("three tasks are under way", until(20, lambda: states() == running), states())
    before = {name: (task["id"], task["requested_at"]) for name, task in tasks().items()}
    status, said = bare.run("dpkg", "-i", f"/srv/{new.name}")
    c.check("the upgrade goes through with them", status == 0 and bare.show("ActiveState") == "active", said)
    after = {name: (task["id"], task["requested_at"]) for name, task in tasks().items()}
    c.check("they are the same tasks, and under way", after == before and states() == running, (after, states()))
    time.sleep(12)
    c.check("nothing is sent again to machines that still go down", not any(bmc.words() for bmc in bmcs.values()),
            {name: bmc.words() for name, bmc in bmcs.items()})
    for name in ("n01", "n03", "n04"):
        bmcs[name].shut_down()
    done = {name: "succeeded" for name in held}
    c.check("each ends when its machine has shut down", until(60, lambda: states() == done), (states(), bare.journal()[-400:]))
    words = {name: bmc.words() for name, bmc in bmcs.items()}
    c.check("the one that reboots is switched on once, the others are left off", words == {"n01": [], "n02": [], "n03": ["power-on", "now-1"], "n04": []}, words)
    said = bare.run("rackbmc", "history", "n02")[1]
    c.check("its history is kept", "soft power off" in said, said)
    status, said = bare.run("rackbmc", "audit")
    c.check("and its audit trail, unbroken", status == 0 and "/v1/pause" in said and "/v1/tasks" in said, said)
    bare.sh("systemctl stop rackbmcd.socket rackbmcd.service")


def https(c, bare, bmc):
    """TLS out of the package, with a certificate that is renewed."""
    port = free_port()
    make = ("cd /etc/rackbmcd && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
            " -addext subjectAltName=DNS:localhost -keyout api.key -out api.crt 2>&1 && chgrp rackbmcd api.key && chmod 640 api.key")
    status, said = bare.sh(make)
    c.check("a certificate is made", status == 0, said)
    bare.sh("printf 'token' | sha256sum | cut -d' ' -f1 >/tmp/sum")
    digest = bare.run("cat", "/tmp/sum")[1].strip()
    api = (f'[api]\ntcp = "127.0.0.1:{port}"\nauth = "token"\ntls_certificate = "api.crt"\ntls_key = "api.key"\n'
           f'[[api.token]]\nname = "ops"\nsha256 = "{digest}"\nrole = "operator"\n')
    bare.configure({"n1": bmc}, api=api)
    status, said = bare.run("systemctl", "restart", "rackbmcd")
    c.check("a daemon with HTTPS starts", status == 0, (said, bare.journal()[-400:]))
    curl = f"curl -sS --max-time 10 --cacert /etc/rackbmcd/api.crt -H 'Authorization: Bearer token' -H 'X-OpenStack-Ironic-API-Version: 1.31' https://localhost:{port}"
    status, said = bare.sh(f"{curl}/v1/nodes")
    c.check("HTTPS works out of the package", status == 0 and '"n1"' in said, said)
    serial = f"openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    before = bare.sh(serial)[1]
    bare.sh(make)
    status, said = bare.run("systemctl", "reload", "rackbmcd")
    after = until(5, lambda: (now := bare.sh(serial)[1]) != before and now)
    c.check("a renewed certificate holds after a reload", status == 0 and after, (said, before, after))
    bare.configure({"n1": bmc})
    bare.run("systemctl", "restart", "rackbmcd")


def wrong(c, bare, bmc):
    """A configuration that becomes wrong under a daemon that runs, and before one that starts."""
    bare.configure({"n1": bmc}, more="[rack\n")
    status, said = bare.run("systemctl", "reload", "rackbmcd")
    c.check("a reload of a wrong file fails", status != 0, said)
    seen = until(15, lambda: bare.get("/healthz").get("configuration_refused"), every=0.5)
    c.check("/healthz says since when the file is refused, and why", seen and "rackbmcd.toml:" in seen["why"] and seen["since"], seen)
    until(5, lambda: "is refused since" in bare.show("StatusText"))
    c.check("so does the status line", "is refused since" in bare.show("StatusText") and "rackbmcd.toml:" in bare.show("StatusText"), bare.show("StatusText"))
    said = bare.sh(f"curl -s --unix-socket {SOCKET} http://localhost/metrics | grep '^rackbmc_configuration_refused'")[1]
    c.check("and the metrics", 'rackbmc_configuration_refused{rack="bare"} 1' in said and "timestamp_seconds" in said, said)
    c.check("the daemon serves on", bare.get("/v1/nodes/n1/states").get("power_state") == "power on")

    status, said = bare.run("systemctl", "restart", "rackbmcd.service")
    c.check("a start fails with 78", status != 0 and bare.show("ExecMainStatus") == "78", (said, bare.show("ExecMainStatus")))
    answers = [bare.run("rackbmc", "status") for _ in range(8)]
    c.check("each client is told file and line", all(status not in (0, 3) and "rackbmcd.toml:" in said for status, said in answers), answers[-1])
    said = bare.sh(f"for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}} ' --unix-socket {SOCKET} -X PUT -d '{{}}' http://localhost/v1/nodes/n1/states/power & done; wait")[1]
    c.check("also those that come at once, with 503", said.split() == ["503"] * 6, said)
    time.sleep(6)
    c.check("the socket still listens", bare.show("ActiveState", "rackbmcd.socket") == "active", bare.show("Result", "rackbmcd.socket"))
    # Somebody watches all the time, so that one start follows the other; who has put it right says start once.
    bare.sh("systemd-run --quiet --unit=watching bash -c 'while sleep 0.3; do rackbmc status; done'")
    time.sleep(2)
    bare.configure({"n1": bmc})
    status, said = bare.run("systemctl", "start", "rackbmcd.service")
    c.check("once it is right the first start is one, although clients had one tried before", status == 0, (said, bare.journal()[-600:]))
    bare.run("systemctl", "stop", "watching.service")
    bare.configure({"n1": bmc}, more="[rack\n")
    bare.run("systemctl", "restart", "rackbmcd.service")
    time.sleep(6)
    bare.configure({"n1": bmc})
    status, said = bare.run("rackbmc", "status")
    c.check("once it is right the next client brings the daemon up", "n1: " in said and bare.show("ActiveState") == "active", (status, said))
    status, said = bare.run("systemctl", "stop", "rackbmcd.socket", "rackbmcd.service")
    after = bare.run("rackbmc", "status")
    c.check("stopped with its socket it stays stopped", status == 0 and after[0] == 3 and bare.show("ActiveState") == "inactive", (said, after))
    status, said = bare.run("systemctl", "start", "rackbmcd.service")
    c.check("and starts again", status == 0 and bare.show("ActiveState", "rackbmcd.socket") == "active", said)

    # The last file was cut off: no reload takes all nodes away.
    bare.write("/etc/rackbmcd/rackbmcd.toml", '[rack]\nname = "bare"\n')
    bare.run("systemctl", "reload", "rackbmcd")
    time.sleep(1)
    c.check("a reload does not take away all nodes at once", "n1" in bare.run("rackbmc", "status")[1], bare.journal()[-400:])
    bare.configure({"n1": bmc})
    bare.run("systemctl", "reload", "rackbmcd")


def credential(c, bare, bmc):
    """The recipe with a systemd credential."""
    bare.run("mkdir", "-p", "/etc/systemd/system/rackbmcd.service.d")
    bare.write("/etc/systemd/system/rackbmcd.service.d/password.conf", "[Service]\nLoadCredential=bmc:/etc/rackbmcd/bmc.pw\n", group="root")
    bare.configure({"n1": bmc})
    bare.run("sed", "-i", 's/^password_file.*/password_credential = "bmc"/', "/etc/rackbmcd/rackbmcd.toml")
    bare.run("chmod", "600", "/etc/rackbmcd/bmc.pw")
    bare.run("systemctl", "daemon-reload")
    status, said = bare.run("systemctl", "restart", "rackbmcd")
    power = until(20, lambda: bare.get("/v1/nodes/n1/states").get("power_state") == "power on")
    c.check("a password comes as a systemd credential", status == 0 and power, (said, bare.journal()[-400:]))
    status, said = bare.run("systemctl", "reload", "rackbmcd")
    c.check("and a reload finds it", status == 0, (said, bare.journal()[-400:]))
    bare.run("rm", "-r", "/etc/systemd/system/rackbmcd.service.d")
    bare.run("systemctl", "daemon-reload")
    bare.configure({"n1": bmc})
    bare.run("chmod", "640", "/etc/rackbmcd/bmc.pw")
    bare.run("systemctl", "restart", "rackbmcd")


def racks(c, bare, one, two):
    """A second rack beside the first."""
    bare.configure({"m1": two}, rack="r2", file="r2.toml")
    status, said = bare.run("systemctl", "enable", "--now", "rackbmcd@r2.socket", "rackbmcd@r2.service")
    c.check("a second rack starts beside the first", status == 0 and bare.show("ActiveState", "rackbmcd@r2.service") == "active", said)
    power = until(20, lambda: bare.get("/v1/nodes/m1/states", "/run/rackbmcd/r2.sock").get("power_state"))
    c.check("it reads its node", power == "power on", (power, bare.journal("rackbmcd@r2.service")))
    there = bare.sh("ls /var/lib/rackbmcd/journal.redb /var/lib/rackbmcd/r2/journal.redb")
    c.check("each has its own journal", there[0] == 0, there)
    said = bare.run("rackbmc", "status")[1], bare.run("rackbmc", "--rack", "r2", "status")[1], bare.sh("RACKBMC_RACK=r2 rackbmc status")[1]
    c.check("rackbmc --rack and RACKBMC_RACK choose", "n1: power on" in said[0] and all("m1: power on" in text for text in said[1:]), said)
    said = bare.sh("RACKBMC_RACK=r2 rackbmc --socket /run/rackbmcd/rackbmcd.sock status; RACKBMC_SOCKET=/nowhere rackbmc --rack r2 status")[1]
    c.check("the command line wins over the environment", "n1: power on" in said and "m1: power on" in said, said)
    status, said = bare.run("rackbmc", "--rack", "r3", "status")
    c.check("a rack that is not there is named", status == 3 and "/run/rackbmcd/r3.sock" in said, said)


def operations(c, bare, old, new):
    """The lines of docs/operations.md for a backup, its restoring, and the way back to an older version."""
    history = bare.get("/v1/nodes/n1/history")
    for number, (root, line) in enumerate(typed("docs/operations.md", "## Backup")):
        status, said = bare.sh(line)
        c.check(f"backup: {line}", root and status == 0, said)
        if number == 2:
            # What comes next happens on another host, where nothing is yet and the users have other numbers.
            bare.sh("systemctl stop rackbmcd.socket rackbmcd.service; rm -rf /var/lib/rackbmcd/journal.redb /etc/rackbmcd/rackbmcd.toml")
    c.check("what was restored is what was saved", bare.show("ActiveState") == "active" and bare.get("/v1/nodes/n1/history") == history,
            bare.journal()[-400:])
    for root, line in typed("docs/operations.md", "## Going back"):
        status, said = bare.sh(line.replace("install", "install -y").replace("./rackbmcd_OLD_amd64.deb", f"/srv/{old.name}"))
        c.check(f"going back: {line}", root and status == 0, said)
    c.check("the older version runs", bare.show("ActiveState") == "active"
            and bare.run("dpkg-query", "-W", "-f=${Version}", "rackbmcd")[1].startswith("0.1.0"), bare.run("systemctl", "status", "rackbmcd"))
    bare.run("dpkg", "-i", f"/srv/{new.name}")


def gone(c, bare, new):
    """Remove, install again, purge."""
    status, said = bare.run("dpkg", "-r", "rackbmcd")
    units = bare.run("systemctl", "is-active", "rackbmcd.service", "rackbmcd.socket", "rackbmcd@r2.service", "rackbmcd@r2.socket")[1].split()
    c.check("a removal ends daemons and sockets", status == 0 and "active" not in units, (said, units))
    kept = bare.sh("ls /etc/rackbmcd/rackbmcd.toml /etc/rackbmcd/bmc.pw /var/lib/rackbmcd/journal.redb")
    c.check("and keeps configuration and journal", kept[0] == 0, kept)
    status, said = bare.run("dpkg", "-i", f"/srv/{new.name}")
    tasks = bare.get("/v1/tasks?node=n1").get("tasks")
    c.check("installed again it goes on with them", status == 0 and tasks is not None and bare.show("ActiveState") == "active", (said, tasks))
    other = bare.show("ActiveState", "rackbmcd@r2.service"), bare.show("ActiveState", "rackbmcd@r2.socket")
    c.check("and so does the second rack, which the removal had ended", other == ("active", "active"), (other, said))
    status, said = bare.run("dpkg", "-P", "rackbmcd")
    left = bare.sh("ls -d /etc/rackbmcd /var/lib/rackbmcd /run/rackbmcd/*.sock /etc/systemd/system/*/rackbmcd* /lib/systemd/system/rackbmcd* 2>/dev/null")[1]
    c.check("a purge leaves nothing", status == 0 and left == "", (said, left))

    # A file that somebody wrote before, as root alone reads it.
    bare.sh("mkdir /etc/rackbmcd; printf '[rack]\\nname = \"own\"\\n' >/etc/rackbmcd/rackbmcd.toml; chmod 600 /etc/rackbmcd/rackbmcd.toml")
    status, said = bare.run("dpkg", "-i", f"/srv/{new.name}")
    line = "chgrp rackbmcd /etc/rackbmcd/rackbmcd.toml; chmod 640 /etc/rackbmcd/rackbmcd.toml"
    c.check("over a file that its user cannot read it installs, and says what to type", status == 0 and line in said, said)
    bare.sh(line)
    status, said = bare.run("systemctl", "start", "rackbmcd")
    c.check("with that it starts, with that file", status == 0 and 'rack own' in bare.journal(), (said, bare.journal()[-300:]))
    bare.run("dpkg", "-P", "rackbmcd")
    # As where an image is built: nothing that runs, no /proc.
    bare.sh("systemctl reset-failed; rm -rf /run/rackbmcd")
    status, said = bare.sh(f"unshare -m sh -c 'mount -t tmpfs tmpfs /run && umount -l /proc && dpkg -i /srv/{new.name}'")
    c.check("it installs where an image is built", status == 0, said)
    status, said = bare.sh("systemd-tmpfiles --create && systemctl daemon-reload && systemctl start sockets.target rackbmcd.service")
    c.check("and comes up with the image", status == 0 and bare.show("ActiveState") == "active" and bare.run("rackbmc", "status")[0] == 2, (said, bare.journal()[-300:]))
    bare.run("dpkg", "-P", "rackbmcd")
    c.check("the whole system is well", bare.run("systemctl", "is-system-running")[1].strip() == "running", bare.run("systemctl", "--failed"))


def typed(document, after):
    """The lines that a document tells people to type, below a heading: (by root, command)."""
    text = (ROOT / document).read_text().split(after, 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line[:2] in ("# ", "$ ")]
    return [(line[0] == "#", re.sub(r"\s+#.*", "", line[2:]).strip()) for line in lines]


# What a person types into the files that the documents open in an editor.
EDITOR = """#!/bin/sh
case $1 in
*.pw) printf 'secret\\n' >"$1" ;;
*.toml) cat /srv/nodes >>"$1" ;;
esac
"""


def documents(c, bed, base, new, bmc):
    """README's lines and those of the first ten minutes, typed in a bare Debian of their own."""
    block = re.search(r"The smallest configuration:\n\n```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    nodes = block.split("[defaults]", 1)[1].replace('"r1n[01-16]"', '"r1n01"').replace('"10.0.1.[1-16]"', f'"127.0.0.1"\nport = {bmc.port}')
    for document, after in (("README.md", "## On a real rack"), ("docs/start.md", "# From nothing")):
        bare = bed.add(Bare(base))
        shutil.copy(new, bare.share / new.name)
        (bare.share / "nodes").write_text("\n[defaults]" + nodes)
        bare.write("/usr/local/bin/editor", EDITOR, mode="755", group="root")
        bare.run("useradd", "anna")
        text = (ROOT / document).read_text()
        lines = typed(document, after) if document == "README.md" else [line for part in text.split("\n## ")[1:] for line in typed(document, part.split("\n", 1)[0])]
        # The first two of README build what is installed here.
        lines = [(root, line) for root, line in lines if "cargo" not in line and "packaging/build" not in line]
        c.check(f"{document} has lines to type", len(lines) >= 6, lines)
        for root, line in lines:
            line = line.replace("./rackbmcd_0.2.0-1_amd64.deb", f"/srv/{new.name}").replace("USER", "anna")
            line = line.replace("discover 10.0.1.0/24", f"discover 127.0.0.1/32 --port {bmc.port}")
            if "rackbmc" in line.split()[0] and not root or "status" in line:
                until(15, lambda: "power o" in bare.run("rackbmc", "status")[1])
            if line.startswith("rackbmcd --check") and "[[node]]" not in bare.run("cat", "/etc/rackbmcd/rackbmcd.toml")[1].replace("#[[node]]", ""):
                bare.sh("editor /etc/rackbmcd/rackbmcd.toml")
            if line == "rackbmc init":
                answers = [("Name of the rack", ""), ("Names of the nodes", "r1n01"), ("Addresses", "127.0.0.1"), ("UDP port", bmc.port),
                           ("User", USER), ("Password", PASSWORD), ("again", PASSWORD)]
                status, said = bare.typed(line.split(), answers)
                c.check(f"{document}: {line}", status == 0 and "rackbmcd.toml: written" in said and PASSWORD not in said, said)
                status, said = bare.sh("systemctl restart rackbmcd")
                read = until(15, lambda: "r1n01: power on" in bare.run("rackbmc", "status")[1])
                refused = bare.run("rackbmc", "off", "r1n01")
                c.check("... its rack is read, and paused", status == 0 and read and refused[0] == 1 and "paused" in refused[1], (said, refused))
                continue
            if line.startswith("install -m 640") and bare.run("test", "-e", "/etc/rackbmcd/rackbmcd.toml.old")[0] == 0:
                # "By hand it is this": from the file that the package has brought.
                bare.run("mv", "/etc/rackbmcd/rackbmcd.toml.old", "/etc/rackbmcd/rackbmcd.toml")
            status, said = bare.sh(line) if root else bare.run("bash", "-c", line, user="anna")
            c.check(f"{document}: {line}", status == 0, said)
        # It lets go of the BMC, which the next one's daemon is to have.
        bare.sh("systemctl stop rackbmcd.socket rackbmcd.service")


def main():
    base, old, new = map(pathlib.Path, sys.argv[1:])
    c = Checks("package")
    with Bed() as bed:
        one, two = bed.sim("bmc001", soft_delay=6000), bed.sim("bmc002")
        bare = bed.add(Bare(base))
        for deb in (old, new):
            shutil.copy(deb, bare.share)
        first(c, bare, old)
        pages(c, bare)
        upgrade(c, bare, one, old, new)
        first_format(c, bed, base, old, new)
        https(c, bare, one)
        wrong(c, bare, one)
        credential(c, bare, one)
        racks(c, bare, one, two)
        operations(c, bare, old, new)
        gone(c, bare, new)
        documents(c, bed, base, new, two)
    c.end()


if __name__ == "__main__":
    main()
