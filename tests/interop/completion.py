#!/usr/bin/env python3
"""Completion in bash, zsh and fish, each on a terminal: what the Tab key makes of a line, and what rackbmc is then called with.

The `rackbmc` of these shells is a script that hands completion on to the real one and writes down its other calls.
"""
import fcntl
import json
import os
import pty
import select
import socket
import struct
import subprocess
import termios
import threading
import time
import types

from daemon import BIN, Daemon
from bed import Bed, Checks, until

WRITER = """\
#!/bin/sh
[ "$1" = __complete ] && exec {bin}/rackbmc "$@"
printf '%s\\n' "$@" >{called}.new && mv {called}.new {called}
"""
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(rackbmc-real completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit && compinit -u -D && source <(rackbmc-real completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "rackbmc-real completion fish | source"),
}


class Shell:
    """An interactive shell on a pty."""

    def __init__(self, bed, name, socket):
        argv, ready = SHELLS[name]
        self.bin = bed.dir / f"bin-{name}"
        self.bin.mkdir()
        self.called = self.bin / "called"
        (self.bin / "rackbmc").write_text(WRITER.format(bin=BIN, called=self.called))
        (self.bin / "rackbmc").chmod(0o755)
        (self.bin / "rackbmc-real").symlink_to(BIN / "rackbmc")
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "RACKBMC_SOCKET": str(socket), "TERM": "vt100", "PS1": "> ",
               "HOME": str(self.bin), "XDG_CONFIG_HOME": str(self.bin), "XDG_DATA_HOME": str(self.bin), "LC_ALL": "C.UTF-8"}
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        # The pty is its controlling terminal, as a person's is: fish goes without one.
        self.child = subprocess.Popen(["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        bed.add(self)
        self.read(1.0)
        self.type(ready + "\r")
        self.read(1.0)

    def stop(self):
        self.child.kill()
        self.child.wait()
        os.close(self.master)

    def type(self, keys):
        os.write(self.master, keys.encode())

    def read(self, quiet, patience=15):
        """What the shell writes until it has been quiet for a while."""
        text, end = b"", time.monotonic() + patience
        while time.monotonic() < end and select.select([self.master], [], [], quiet)[0]:
            try:
                text += os.read(self.master, 65536)
            except OSError:
                break
        return text.decode(errors="replace")

    def line(self, keys, quiet=0.7):
        """The words that rackbmc is called with when KEYS are typed (a Tab among them), and Enter."""
        self.called.unlink(missing_ok=True)
        for part in keys.split("\t")[:-1]:
            self.type(part + "\t")
            self.read(quiet)
        self.type(keys.split("\t")[-1] + "\r")
        until(5, self.called.exists, every=0.05)
        words = self.called.read_text().splitlines() if self.called.exists() else None
        self.read(0.2)
        return words

    def offered(self, keys, quiet=0.7):
        """What is shown when KEYS are typed and Tab is pressed twice; the line is dropped."""
        self.type(keys)
        self.read(0.3)
        self.type("\t")
        text = self.read(quiet)
        self.type("\t")
        text += self.read(quiet)
        self.type("\x03")
        self.read(0.3)
        return text


def completes(c, shell, name, d, owner):
    # Nobody answers there: it does not go on for long.
    d.rackbmc("soft", "r1n01", "--no-wait")
    task = (d.rackbmc("tasks", "r1n01", "-o", "name")[1].split() or [""])[0]
    c.check(f"{name}: a task is under way", task.startswith("t:"), task)
    # What is in brackets has to be quoted in zsh.
    quote = "'" if name == "zsh" else ""
    for keys, words in {
        f"rackbmc abort {task[:4]}\t": ["abort", task],
        f"rackbmc task {task[:3]}\t": ["task", task],
        "rackbmc expl\tx": ["explain", "x"],
        "rackbmc status --fre\tx": ["status", "--fresh", "x"],
        "rackbmc status -o js\tx": ["status", "-o", "json", "x"],
        "rackbmc status --output=ya\tx": ["status", "--output=yaml", "x"],
        "rackbmc power stat\tr2\t": ["power", "status", "r2x1"],
        "rackbmc status r2\t": ["status", "r2x1"],
        "rackbmc status -x r2\t": ["status", "-x", "r2x1"],
        "rackbmc status r1n01,r2\t": ["status", "r1n01,r2x1"],
        f"rackbmc status {quote}r1n[01,1\t": ["status", "r1n[01,11]"],
        f"rackbmc status {quote}r1n[04-\t": ["status", "r1n[04-11]"],
        "rackbmc status @sto\t": ["status", "@storage"],
        "rackbmc on @compute --order sto\tx": ["on", "@compute", "--order", "storage", "x"],
        "rackbmc off r2x1 --on-busy sk\tx": ["off", "r2x1", "--on-busy", "skip", "x"],
        "rackbmc bootdev r2x1 --set remote-c\tx": ["bootdev", "r2x1", "--set", "remote-cdrom", "x"],
        "rackbmc boot r2x1 --from px\tx": ["boot", "r2x1", "--from", "pxe", "x"],
        "rackbmc chassis policy r2x1 --set always-of\tx": ["chassis", "policy", "r2x1", "--set", "always-off", "x"],
        "rackbmc identify r2x1 --for fo\tx": ["identify", "r2x1", "--for", "forever", "x"],
        "rackbmc bmc tr\tr2\t": ["bmc", "trace", "r2x1"],
        "rackbmc chassis pol\tr2\t": ["chassis", "policy", "r2x1"],
        "rackbmc sel cl\tr2\t": ["sel", "clear", "r2x1"],
        "rackbmc audit ver\tx": ["audit", "verify", "x"],
        "rackbmc ha hand\tx": ["ha", "handover", "x"],
        f"rackbmc --socket {owner} ha handover --to mg\tx": ["--socket", str(owner), "ha", "handover", "--to", "mgmt1", "x"],
        "rackbmc completion f\tx": ["completion", "fish", "x"],
        "rackbmc man node-show-\tx": ["man", "node-show-states", "x"],
    }.items():
        found = shell.line(keys)
        c.check(f"{name}: {keys!r}", found == words, found)
    shown = shell.offered("rackbmc abort ")
    c.check(f"{name}: a control is offered nodes", "r2x1" in shown, shown)
    shown = shell.offered("rackbmc status r1n0")
    c.check(f"{name}: several nodes are offered", all(f"r1n0{n}" in shown for n in (1, 2, 3, 4)) and "r2x1" not in shown, shown)
    shown = shell.offered("rackbmc ")
    c.check(f"{name}: verbs are offered, no private ones", "explain" in shown and "__" not in shown, shown)
    for noun, words in {"bmc": "info reset trace accept", "chassis": "status policy", "sel": "list clear", "ha": "status handover"}.items():
        shown = shell.offered(f"rackbmc {noun} ")
        c.check(f"{name}: what follows {noun} is offered", all(word in shown for word in words.split()), shown)


class Owner:
    """A daemon that knows two hosts and nothing else."""

    def __init__(self, bed):
        self.path = bed.dir / "owner.sock"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.path))
        self.socket.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()
        bed.add(self)

    def serve(self):
        body = json.dumps({"hosts": [{"host": "mgmt1"}, {"host": "other"}]})
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            peer.recv(65536)
            peer.sendall(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            peer.close()

    def stop(self):
        self.socket.close()


def main():
    c = Checks("completion")
    with Bed() as bed:
        # Nothing answers there: names are known all the same, and a task stays under way.
        groups = {"r1n01": "compute", "r1n02": "compute", "r1n03": "compute", "r1n04": "compute", "r1n11": "compute", "r2x1": "storage"}
        nodes = {name: (types.SimpleNamespace(port=20001 + place), {"groups": [group]}) for place, (name, group) in enumerate(groups.items())}
        d = Daemon(bed, nodes)
        owner = Owner(bed).path
        shells = {name: Shell(bed, name, d.socket) for name in SHELLS}
        for name, shell in shells.items():
            completes(c, shell, name, d, owner)
        d.stop()
        for name, shell in shells.items():
            began = time.monotonic()
            found = shell.line("rackbmc status r2\t")
            took = time.monotonic() - began
            c.check(f"{name}: nothing and no word where the daemon is down, at once", found == ["status", "r2"] and took < 4, (found, took))
            found = shell.line("rackbmc expl\tx")
            c.check(f"{name}: verbs without a daemon", found == ["explain", "x"], found)
    c.end()


if __name__ == "__main__":
    main()
