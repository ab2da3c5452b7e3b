"""An etcd that is full, put back from a copy, or another one: nothing is pressed, nothing is lost, and the words are clear. A part of
ha.py, in its namespaces."""
import pathlib
import re
import shutil

from daemon import BIN
from bed import Bed, until
from pair import CHANGING, Etcd, Host, Sim, owner_of, sh

QUOTA = ("--quota-backend-bytes", str(4 << 20))


def ended(host, task):
    return until(60, lambda: (host.get(f"/v1/tasks/{task}")[1] or {}).get("ended"), every=0.2)


def ask(host, node, operation, patience=12):
    return host.call("POST", "/v1/tasks", {"node": node, "operation": operation, "timeout": 45}, patience=patience)


def taken(host, node, operation):
    """Asks until it is taken, which may need the journal to be written again; whether it has ended."""
    task = until(20, lambda: (answer := ask(host, node, operation))[0] == 202 and answer[1])
    return task and ended(host, task["id"])


def without_a_node(c, host):
    """Its configuration lacks a node on which a task is under way."""
    status, task, _ = ask(host, "n01", "soft power off")
    host.kill()
    text = host.config.read_text()
    head, *nodes = text.split("[[node]]")
    host.config.write_text("[[node]]".join([head, *(node for node in nodes if '"n01"' not in node)]))
    host.start()
    why = "tasks are under way on nodes that are not in this host's configuration, or have another uuid there: n01"
    told = until(15, lambda: why in (host.ha().get("unfit") or ""))
    c.check("a host that lacks a node with a task does not take the rack, and says so", status == 202 and told and not host.owns(), host.ha())
    host.stop()
    host.config.write_text(text)
    host.start()
    c.check("with the node it does, and goes on", owner_of([host], 25) is host and ended(host, task["id"]), host.ha())
    c.check("and switches it on again", taken(host, "n01", "power on"), host.ha())


def alone(c, host, member):
    """A person goes on without etcd, and finds the way back, as docs/two-hosts.md has it."""
    status, task, _ = ask(host, "n01", "soft power off")
    c.check("a task stands still", status == 202 and host.rackbmc("suspend", "n01")[0] == 0, task)
    member.kill()
    c.check("etcd is away: the host stops", host.stop() == 0, host.said()[-800:])
    text = host.config.read_text()
    (host.dir / "alone").mkdir(mode=0o700)
    without = re.sub(r"(?s)\[ha\].*?(?=\[defaults\])", "", text).replace(f"{host.dir}/state", f"{host.dir}/alone")
    host.config.write_text(without)
    c.check("without [ha] and with a journal of its own it starts", host.start(), host.said()[-1500:])
    c.check("it knows of no task, and switches", host.get("/v1/tasks")[1]["tasks"] == [] and taken(host, "n02", "power off"), host.said()[-800:])
    host.stop()
    member.start()
    until(15, member.healthy)
    host.config.write_text(text)
    host.start()
    c.check("with [ha] and the old journal it owns the rack again", owner_of([host], 25) is host, host.ha())
    found = host.get(f"/v1/tasks/{task['id']}")[1]
    c.check("the task is there as it was left", found.get("state") == "suspended", found)
    c.check("and can be aborted", host.rackbmc("abort", "n01")[0] == 0 and ended(host, task["id"]), found)
    c.check("both are switched on again", taken(host, "n01", "power on") and taken(host, "n02", "power on"), host.ha())


def full(c, etcd, host, member, sim):
    """It has no space left; then somebody makes room."""
    ctl = ["env", "ETCDCTL_API=3", str(pathlib.Path(etcd).with_name("etcdctl")), "--endpoints", member.url]
    status, running, _ = ask(host, "n02", "soft power off")
    c.check("a task goes on", status == 202, (status, running))
    # An argument has 128 kB at most.
    for number in range(80):
        if sh(*ctl, "put", f"fill{number}", "x" * 100_000).returncode:
            break
    before = sim.events()
    status, body, _ = ask(host, "n01", "reset")
    message = ((body or {}).get("error") or {}).get("message", "")
    c.check("etcd is full: nothing is taken on, and why is said", status == 503 and "no space left" in message, (status, body))
    pulses = [e for e in sim.events() if e not in before and e[2] == "reset"]
    c.check("and nothing is pressed", not pulses, pulses)
    done = host.run("--check-etcd")
    c.check("--check-etcd says it, too", done.returncode == 78 and "no space left" in done.stdout, done.stdout)
    sh(*ctl, "del", "fill", "--prefix")
    revision = until(5, lambda: sh(*ctl, "endpoint", "status", "-w", "fields").stdout)
    revision = next(line.split()[-1] for line in revision.splitlines() if line.startswith('"Revision"'))
    for words in (f"compact {revision}", "defrag", "alarm disarm"):
        done = sh(*ctl, *words.split())
        c.check(f"etcdctl {words}", done.returncode == 0, done.stderr)
    c.check("there is room again: the rack has an owner", owner_of([host], 25) is host, host.ha())
    c.check("and takes tasks on", taken(host, "n01", "reset"), host.ha())
    c.check("what went on meanwhile has ended", ended(host, running["id"]), host.get(f"/v1/tasks/{running['id']}")[1])


def put_back(c, host, member, sim):
    """Yesterday's etcd, then a new one."""
    copy = member.bed.dir / "copy"
    there = member.bed.dir / "etcd1"
    member.stop()
    shutil.copytree(there, copy)
    member.start()
    c.check("etcd was away, and is back", owner_of([host], 25) is host, host.ha())
    c.check("a task is done", taken(host, "n01", "reset"), host.ha())
    for what, words in (("put back from a copy", "was put back from a copy"), ("replaced by a new one", "another cluster answers")):
        member.stop()
        shutil.rmtree(there)
        if copy.exists():
            copy.rename(there)
        else:
            member.argv += ["--initial-cluster-token", "another"]
        member.start()
        until(15, member.healthy)
        told = until(25, lambda: words in (host.ha().get("unfit") or "") and not host.owns())
        c.check(f"etcd was {what}: the host says so, and does not own the rack", told, host.ha())
        status, body, _ = ask(host, "n01", "reset")
        c.check("it takes nothing on", status == 503, (status, body))
        status, said = host.rackbmc("ha", "status")
        c.check("a person is told, exit 1", status == 1 and words in said, (status, said))
        host.stop()
        host.start()
        told = until(15, lambda: words in (host.ha().get("unfit") or ""))
        c.check("it still knows after a restart", told and not host.owns(), host.ha())
    began = [e for e in sim.events() if e[2] == "reset"]
    c.check("each reset that was taken reached the machine once", len(began) == 2, began)


def strange_etcds(c, etcd):
    with Bed() as bed:
        member = Etcd(bed, etcd, more=QUOTA)
        until(15, member.healthy)
        sim = Sim(bed, BIN, 2)
        host = Host(bed, BIN, "a", sim, [member])
        c.check("a host owns the rack", host.start() and owner_of([host], 15) is host, host.said()[-800:])
        done = host.run("--check-etcd")
        c.check("a small quota is advised against", done.returncode == 0 and "its quota is 5 MB" in done.stdout, done.stdout)
        without_a_node(c, host)
        alone(c, host, member)
        full(c, etcd, host, member, sim)
        put_back(c, host, member, sim)
        panics = [line for line in host.said().splitlines() if "panicked" in line]
        c.check("nothing panicked", not panics and not [e for e in sim.events() if e[2] not in CHANGING], panics)
