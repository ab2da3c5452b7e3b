#!/usr/bin/env python3
"""Who may do what on the Unix socket, tried as other users of the host: the socket's mode, roles from SO_PEERCRED and
SO_PEERGROUPS, node sets, a reload that takes a role away, and what the audit trail makes of it.

The users are made here, in a mount namespace of this script's own, where /etc/passwd and /etc/group are copies: the host
keeps its own. Root only.
"""
import json
import os
import pathlib
import subprocess
import sys

from daemon import BIN, Daemon
from bed import Bed, Checks, until

INSIDE = "PERMISSIONS_INSIDE"
# user: its groups beside its own. `gate` is the group that the socket is given to.
USERS = {"rbt-anna": ("rbt-gate",), "rbt-otto": ("rbt-gate", "rbt-power"), "rbt-ada": ("rbt-gate", "rbt-chief"), "rbt-nina": ("rbt-gate",),
         "rbt-eve": ()}
FIRST_ID = 61700


def make_users(directory):
    """Copies of the two files with our users and groups in them, in the place of the real ones."""
    names = {"rbt-gate": [], "rbt-power": [], "rbt-chief": []}
    for user, groups in USERS.items():
        for group in groups:
            names[group].append(user)
    groups = [f"{name}:x:{FIRST_ID + 100 + number}:{','.join(users)}" for number, (name, users) in enumerate(names.items())]
    users = []
    for number, user in enumerate(USERS):
        users.append(f"{user}:x:{FIRST_ID + number}:{FIRST_ID + number}::/nonexistent:/usr/sbin/nologin")
        groups.append(f"{user}:x:{FIRST_ID + number}:")
    for name, lines in (("passwd", users), ("group", groups)):
        copy = directory / name
        copy.write_text(pathlib.Path("/etc", name).read_text() + "\n".join(lines) + "\n")
        copy.chmod(0o644)
        subprocess.run(["mount", "--bind", str(copy), f"/etc/{name}"], check=True)


def run_as(user, *argv):
    done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *argv], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def ask(d, user, method, path, body=None):
    """One request as USER: status (0: the socket did not let them in) and text."""
    argv = ["curl", "-sS", "--max-time", "20", "--unix-socket", str(d.socket), "-X", method, "-w", "\n%{http_code}",
            "-H", "X-OpenStack-Ironic-API-Version: 1.31", "http://localhost" + path]
    if body is not None:
        argv += ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)]
    _, out, _ = run_as(user, *argv)
    text, _, status = out.rpartition("\n")
    return int(status or 0), text


def main():
    c = Checks("permissions")
    with Bed() as bed:
        bed.dir.chmod(0o755)
        make_users(bed.dir)
        one, two = bed.sim("bmc001"), bed.sim("bmc002")
        roles = """
[[api.role]]
role = "reader"
unix_users = ["rbt-anna"]
[[api.role]]
role = "operator"
unix_groups = ["rbt-power"]
nodes = "n1"
[[api.role]]
role = "admin"
unix_groups = ["rbt-chief"]
"""
        d = Daemon(bed, {"n1": one, "n2": two}, api={"socket_group": "rbt-gate", "socket_mode": "0660"})
        plain = d.config.read_text()
        for name in ("n1", "n2"):
            d.wait_power(name, "power on", 20)
        mode = d.socket.stat()
        c.check("the socket is 0660 and the gate's", (mode.st_mode & 0o777, mode.st_gid) == (0o660, FIRST_ID + 100), oct(mode.st_mode))
        status, text = ask(d, "rbt-eve", "GET", "/v1/nodes")
        c.check("who is not in the socket's group is not let in", status == 0, (status, text))
        status, _, said = run_as("rbt-eve", str(BIN / "rackbmc"), "--socket", str(d.socket), "status")
        c.check("and rackbmc names that group", status == 4 and "rbt-gate" in said, (status, said))
        status, text = ask(d, "rbt-nina", "PUT", "/v1/nodes/n2/maintenance", {"reason": "fan"})
        c.check("without roles, who is let in operates", status == 202, (status, text))
        status, text = ask(d, "rbt-nina", "DELETE", "/v1/nodes/n2/maintenance")
        c.check("and back", status == 202, (status, text))

        d.config.write_text(plain + roles)
        d.process.signal(1)
        changed = until(10, lambda: ask(d, "rbt-nina", "GET", "/v1/nodes")[0] == 403)
        c.check("a reload brings roles: who has none may not even look", changed)
        one.forget()
        two.forget()
        off = {"target": "power off"}
        for user, method, path, body, wanted, word in (
                ("rbt-anna", "GET", "/v1/nodes", None, 200, "n1"),
                ("rbt-anna", "GET", "/v1/events?wait=0s", None, 200, "next"),
                ("rbt-anna", "PUT", "/v1/nodes/n1/states/power", off, 403, "operator"),
                ("rbt-anna", "POST", "/v1/tasks", {"node": "n1", "operation": "power off"}, 403, "operator"),
                ("rbt-otto", "PUT", "/v1/nodes/n2/states/power", off, 403, "operator"),
                ("rbt-otto", "POST", "/v1/batches", {"nodes": ["n1", "n2"], "operation": "power off"}, 403, "operator"),
                ("rbt-otto", "POST", "/v1/pause", {"reason": "x"}, 403, "operator"),
                ("rbt-nina", "POST", "/v1/tasks", {"node": "n1", "operation": "power off"}, 403, "operator"),
                ("rbt-ada", "POST", "/v1/pause", {"reason": "cable"}, 200, "cable"),
                ("rbt-ada", "POST", "/v1/release", None, 200, "")):
            status, text = ask(d, user, method, path, body)
            c.check(f"{user} {method} {path}: {wanted}", status == wanted and word in text, (status, text))
        c.check("nothing that was refused reached a machine", one.words() + two.words() == [], (one.words(), two.words()))
        status, text = ask(d, "rbt-otto", "PUT", "/v1/nodes/n1/states/power", off)
        d.wait_power("n1", "power off", 30)
        c.check("a supplementary group powers its node off", status == 202 and not one.is_on() and two.is_on(), (status, text))
        task = d.last_task("n1")
        c.check("and the task says who", task.get("requested_by", {}).get("name") == "rbt-otto", task.get("requested_by"))

        d.config.write_text(plain + roles.replace("rbt-power", "rbt-chief"))
        d.process.signal(1)
        gone = until(10, lambda: ask(d, "rbt-otto", "PUT", "/v1/nodes/n1/states/power", {"target": "power on"})[0] == 403)
        c.check("a role that was taken away is gone with the reload", gone)

        page = d.get("/v1/audit?limit=1000")[1]
        records = [json.loads(record) for record in page["records"]]
        seen = [(r["user"], r["uid"], r["method"], r["path"], r["status"]) for r in records]
        for number, wanted in enumerate((("rbt-anna", "PUT", "/v1/nodes/n1/states/power", 403),
                                         ("rbt-otto", "PUT", "/v1/nodes/n1/states/power", 202),
                                         ("rbt-ada", "POST", "/v1/pause", 200))):
            uid = FIRST_ID + list(USERS).index(wanted[0])
            c.check(f"the audit trail has {wanted}", (wanted[0], uid, *wanted[1:]) in seen, seen)
        started = [r for r in records if r.get("task") == task.get("id")]
        c.check("with the task that was started", len(started) == 1 and started[0]["status"] == 202, started)
        c.check("its node and what was asked", [(r["nodes"], r["what"]) for r in started] == [("n1", "power off")], started)
        c.check("and no reading", all(r["method"] != "GET" for r in records), seen)
        status, said, _ = d.rackbmc("audit", "verify")
        c.check("its chain is whole", status == 0, said)
        c.check("the daemon ends when told", d.stop() == 0)
    c.end()


if __name__ == "__main__":
    if os.environ.get(INSIDE):
        main()
    else:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
