#!/usr/bin/env python3
"""Two real daemons for one rack over a real etcd: fail-over, hand-over, hosts and members that stop, die or are cut off. What
reached the machines is believed, not what any daemon says: every pulse belongs to a request, and each request has one at most.

Needs the directory of Debian's etcd. Root only: the networks are namespaces, which go away with this program.
"""
import datetime
import json
import os
import pathlib
import sys
import time
import uuid

from daemon import BIN
from bed import ROOT, Bed, Checks, until
from ha_etcd import strange_etcds
from ha_strange import strange_members
from ha_tls import WITH_TLS, authority_of, not_trusted
from pair import CHANGING, Etcd, Host, Net, Relay, Sim, Traffic, changes_of_hands, check_record, leader, owner_of, sh


def other(host, hosts):
    return next(one for one in hosts if one is not host)


def begins(host):
    """How many tenures a host has begun, over all its lives: its log says each."""
    return host.said().count("this host owns the rack: tenure")


def judge(c, hosts, sim, traffics):
    """People stop asking; what reached the machines is held against what they had asked for."""
    for traffic in traffics:
        traffic.end()
    c.check("every task that was taken has ended", not any(traffic.left for traffic in traffics), [traffic.left for traffic in traffics])
    events = sim.events()
    faults = check_record(events, traffics)
    c.check("each pulse belongs to a request, and each request has one at most", not faults, faults)
    taken = sum(one["status"] == 202 for traffic in traffics for one in traffic.asked)
    tenures, changes = begins(hosts[0]) + begins(hosts[1]), changes_of_hands(events)
    c.check("no host goes on after the other one began", changes < tenures, (changes, tenures))
    print(f"     {taken} tasks, {len(events)} orders, {tenures} tenures")


def people(hosts, nodes):
    """Two who ask for changes of power until they are judged, each of other nodes."""
    traffics = [Traffic(hosts, nodes[place::2], place) for place in range(2)]
    for traffic in traffics:
        traffic.start()
    return traffics


def at_rest(host, node):
    """Whether no task has the node any more, at last."""
    ended = lambda: all(task["ended"] for task in (host.get(f"/v1/tasks?node={node}")[1] or {"tasks": [{"ended": False}]})["tasks"])
    return until(90, ended)


def apart(inside, *defaults):
    """The program in namespaces of its own. What follows the path of etcd are numbers, with defaults."""
    program, etcd, *numbers = sys.argv
    if numbers[-1:] == ["inside"]:
        return inside(etcd, *map(int, numbers[:-1]))
    numbers += [str(number) for number in defaults[len(numbers):]]
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", "--mount-proc", "--fork", "--pid", "--kill-child",
                          sys.executable, program, etcd, *numbers, "inside"])


def at_the_start(c, hosts, members):
    a, b = hosts
    done = a.run("--check-etcd")
    c.check("--check-etcd finds etcd good", done.returncode == 0 and "good" in done.stdout, done.stdout + done.stderr)
    c.check("the first host owns the rack", a.start() and owner_of(hosts, 15) is a, a.said()[-800:])
    c.check("the second one stands by", b.start() and until(10, lambda: b.ha().get("owner")), b.said()[-800:])
    c.check("and is not the owner", not b.owns())
    known = until(15, lambda: len(a.ha().get("hosts", [])) == 2)
    c.check("they know of one another", known, a.ha())
    status, said = a.rackbmc("ha", "status")
    c.check("rackbmc ha status says who owns it, and that all is well", status == 0 and "mgmt-a owns it" in said, (status, said))
    until(15, lambda: a.get("/v1/nodes/n01/states")[1].get("power_state"))
    status, body, headers = b.get("/v1/nodes/n01")
    c.check("a standby answers what etcd has, marked stale", status == 200 and "x-rackbmc-stale" in headers, (status, headers))
    marked = body.get("stale") is True and 1 <= body.get("stale_age", 0) <= 6 and body.get("rack_owner") == "mgmt-a"
    c.check("its body says so, with its age and who owns the rack", marked and body.get("name") == "n01", body)
    shown = lambda: b.get("/v1/nodes/n01")[1].get("power_state")
    c.check("it shows the power state that the owner has written down", until(10, lambda: shown() in ("power on", "power off")), shown())
    until(10, lambda: all(node["power_state"] for node in b.get("/v1/nodes/detail")[1]["nodes"]))
    for words in (["status"], ["tasks"], ["explain", "n01"]):
        status, said = b.rackbmc(*words)
        c.check(f"rackbmc {words[0]} says that it is stale, and who is to be asked",
                status == 0 and "this is stale: it was so " in said and "mgmt-a owns the rack (ask it at http://mgmt-a.example:6385)" in said,
                (status, said))
    status, said = a.rackbmc("status")
    c.check("at the owner nothing is stale", status == 0 and "stale" not in said, (status, said))
    for host in hosts:
        status, body, _ = host.get("/v1/conductors")
        known = sorted((one["hostname"], one["conductor_group"], one["alive"]) for one in body["conductors"])
        c.check("Ironic's clients see the hosts as conductors of one group", known == [("mgmt-a", "bed", True), ("mgmt-b", "bed", True)], body)
        status, body, _ = host.get("/v1/nodes?conductor=mgmt-a&conductor_group=bed")
        c.check("and the owner as the conductor of each node", len(body["nodes"]) == 8, body)
    status, body, headers = b.call("POST", "/v1/tasks", {"node": "n01", "operation": "power off"})
    good = status == 503 and body["error"]["kind"] == "moved" and "http://mgmt-a.example:6385" in body["error"]["message"]
    c.check("it refuses what changes something, with the owner's name and URL", good and headers.get("x-rackbmc-owner") == "mgmt-a",
            (status, body, headers))
    status, said = b.rackbmc("off", "n01", "--no-wait")
    c.check("and rackbmc says so, exit 3", status == 3 and "mgmt-a owns the rack" in said, (status, said))
    status, _, _ = b.get("/healthz")
    c.check("its healthz is good", status == 200, status)
    for host in hosts:
        figures_of(c, host, members)
    two_racks_of_one_name(c, b)


def figures_of(c, host, members):
    """What it tells Prometheus, of itself and of etcd."""
    read = lambda: sh("curl", "-sS", "--unix-socket", str(host.dir / "api.sock"), "http://localhost/metrics").stdout.splitlines()
    space = [f'rackbmc_etcd_space_ratio{{member="{member.address}:2379",rack="bed"}} ' for member in members]
    told = until(10, lambda: all(any(line.startswith(one) for line in read()) for one in space))
    lines = [line for line in read() if not line.startswith("#")]
    c.check("each member's space is among its figures", told, lines)
    without = [line for line in lines if 'rack="bed"' not in line]
    c.check("and every series has its rack", lines and not without, without)
    waiting = [float(line.split()[-1]) for line in lines if line.startswith("rackbmc_journal_waiting_seconds{")]
    c.check("nothing waits for the journal", len(waiting) == 1 and waiting[0] < 5, waiting)
    etcd = host.ha().get("etcd") or {}
    c.check("GET /v1/ha has the space and the fence, too", etcd.get("space") and (host.ha().get("owner") or {}).get("fence"), host.ha())


def two_racks_of_one_name(c, b):
    """A daemon that finds another rack under its rack's name in etcd does not start."""
    there = b.dir.with_name("stranger")
    (there / "state").mkdir(parents=True, mode=0o700)
    config = there / "rackbmcd.toml"
    config.touch(0o600)
    text = b.config.read_text().replace(f"{b.dir}/state", f"{there}/state").replace(f"{b.dir}/api.sock", f"{there}/api.sock")
    start = ("timeout", "30", "ip", "netns", "exec", b.name, str(b.bin / "rackbmcd"), "--config", str(config))
    config.write_text(text.replace('name = "n', 'name = "x').replace('"mgmt-b"', '"mgmt-x"'))
    done = sh(*start)
    good = done.returncode == 78 and "another rack is called bed in etcd, too: host mgmt-a has it, and none of its 8 nodes" in done.stderr
    c.check("a rack with none of the nodes of the one that has its name does not start", good, (done.returncode, done.stderr[-600:]))
    pins = json.loads((b.dir / "state/host.json").read_text())
    mine = json.loads((there / "state/host.json").read_text())
    c.check("and has learnt nothing of that rack", not mine.get("rack") and not mine.get("ticket"), mine)
    pins["rack"] = str(uuid.uuid4())
    (there / "state/host.json").write_text(json.dumps(pins))
    config.write_text(text)
    done = sh(*start)
    good = done.returncode == 78 and "the keys of rack bed belong to another rack of that name" in done.stderr
    c.check("nor does one that knows itself by another id", good, (done.returncode, done.stderr[-600:]))


def client_of_both(hosts, *words):
    """rackbmc with the addresses of both hosts, the standby's first."""
    owner = owner_of(hosts)
    urls = [Relay(host).url for host in (other(owner, hosts), owner)]
    done = sh(str(BIN / "rackbmc"), "--url", ",".join(urls), *words)
    return done.returncode, done.stdout, done.stderr


def asked_of_both(c, hosts):
    """What rackbmc shows that knows both hosts."""
    status, said, remarks = client_of_both(hosts, "status")
    c.check("rackbmc with both addresses shows what the owner says", status == 0 and "stale" not in said + remarks, (status, said, remarks))
    status, said, remarks = client_of_both(hosts, "history", "n01", "-n", "100", "-o", "json")
    entries = json.loads(said or "[]")
    seen = {entry["conductor"] for entry in entries}
    times = [entry["created_at"] for entry in entries]
    c.check("its history is that of both, in order of time", seen == {"mgmt-a", "mgmt-b"} and times == sorted(times, reverse=True),
            (status, seen, remarks))
    status, said, remarks = client_of_both(hosts, "audit", "-n", "1000", "-o", "json")
    records = json.loads(said or "[]")
    times = [record["at"] for record in records]
    c.check("and so is its audit", len({record["host"] for record in records}) == 2 and times == sorted(times), (status, remarks))
    status, said, remarks = client_of_both(hosts, "audit", "verify")
    c.check("each trail is whole", status == 0 and said.count("the audit trail is whole") == 2, (status, said, remarks))


def fleet_of_both(c, bed, hosts):
    """A rack of a fleet with the addresses of both hosts, the standby's first."""
    owner = owner_of(hosts)
    file = bed.dir / "both.toml"
    urls = ", ".join(Relay(host).url for host in (other(owner, hosts), owner))
    file.write_text(f'[[rack]]\nname = "bed"\nurl = "{urls}"\n')
    fleet = lambda *words: sh(str(BIN / "rackbmc"), "--fleet", "--fleet-file", str(file), *words)
    done = fleet("racks", "-o", "json")
    line = json.loads(done.stdout or "[{}]")[0]
    c.check("a fleet knows both hosts of a rack", done.returncode == 0 and line.get("owner") == f"mgmt-{owner.name}" and not done.stderr,
            (done.returncode, line, done.stderr))
    c.check("the node is at rest", at_rest(owner_of(hosts), "n08"))
    done = fleet("off", "bed/n08", "--wait")
    c.check("and presses at the one that owns it", done.returncode == 0 and "bed/n08" in done.stdout, (done.stdout, done.stderr))


def handed_over(c, hosts, sim):
    was = owner_of(hosts)
    to = other(was, hosts)
    began = time.time()
    status, said = was.rackbmc("ha", "handover", "--wait")
    c.check("rackbmc ha handover --wait ends when the other host has the rack", status == 0 and f"mgmt-{to.name} owns" in said, (status, said))
    c.check("it does so within 6 s", owner_of(hosts) is to and time.time() - began < 6, time.time() - began)
    return time.time() - began


def killed(c, hosts, sim, what):
    """The owner dies; the seconds until the other one's first datagram that changes something."""
    was = owner_of(hosts)
    then = other(was, hosts)
    time.sleep(2)
    once = {"node": sim.nodes[-1][0], "operation": "reset"}
    key = str(uuid.uuid4())
    before = time.time()
    status, task, _ = was.call("POST", "/v1/tasks", once, key=key)
    at = time.time()
    was.kill()
    first = until(30, lambda: next((e for e in sim.events(at) if e[2] in CHANGING and e[3] == then.name), None), every=0.2)
    took = first[0] - at if first else None
    c.check(f"{what}: the other host switches within 15 s", took is not None and took < 15, (took, then.ha(), then.said()[-600:]))
    again, same, _ = then.call("POST", "/v1/tasks", once, key=key)
    resets = [event for event in sim.events(before) if event[1] == once["node"] and event[2] == "reset"]
    known = (status, again) == (202, 202) and task["id"] == same["id"] and len(resets) <= 1
    c.check(f"{what}: what is asked again under its key is carried out once", known, (status, task, again, same, resets))
    done = sh(str(BIN / "rackbmc"), "--url", f"{Relay(was).url},{Relay(then).url}", "history", "n01")
    c.check(f"{what}: its history is named as missing", done.returncode == 0 and "what it has on its disk is missing here" in done.stderr,
            (done.returncode, done.stderr))
    was.start()
    c.check(f"{what}: the old one stands by when it is back", until(10, lambda: was.ha().get("role") == "standby"), was.ha())
    return took


def stopped(c, hosts, sim):
    """The owner's process stands still for 15 s, and goes on."""
    was = owner_of(hosts)
    then = other(was, hosts)
    was.freeze()
    c.check("the owner stands still: the other one takes over", until(25, then.owns, every=0.2), then.ha())
    time.sleep(4)
    awake = time.time()
    was.thaw()
    c.check("when it goes on it knows that it has the rack no more", until(10, lambda: was.ha().get("role") == "standby"), was.ha())
    late = [e for e in sim.events(awake) if e[2] in CHANGING and e[3] == was.name]
    c.check("and has sent nothing that changes a machine", not late, late)


def cut_off(c, net, hosts, sim):
    """The owner is cut off from etcd, and not from the BMCs."""
    was = owner_of(hosts)
    then = other(was, hosts)
    net.cut(was.name, "e")
    at = time.time()
    c.check("the owner is cut from etcd: the other one takes over", until(25, then.owns, every=0.2), then.ha())
    took = time.time()
    status, body, _ = was.call("POST", "/v1/tasks", {"node": "n01", "operation": "reset"}, patience=12)
    c.check("the old one takes nothing on", status == 503, (status, body))
    status, body, _ = was.get("/v1/nodes/n01")
    c.check("what it knows still is told, as old as it is", status == 200 and body.get("stale") is True and body["stale_age"] >= 9, (status, body))
    late = [e for e in sim.events(took) if e[2] in CHANGING and e[3] == was.name]
    c.check("and has changed nothing since", not late, late)
    net.mend(was.name, "e")
    net.route(was.name, "e")
    c.check("it stands by when it hears etcd again", until(20, lambda: was.ha().get("role") == "standby"), was.ha())


def etcd_away(c, hosts, member):
    """Etcd stands still for 9 s, then dies for 15 s."""
    was = owner_of(hosts)
    before = begins(hosts[0]) + begins(hosts[1])
    member.freeze()
    time.sleep(9)
    member.thaw()
    c.check("etcd stood still for 9 s: the same host owns the rack", until(10, was.owns), was.ha())
    time.sleep(3)
    c.check("and nobody else did", begins(hosts[0]) + begins(hosts[1]) == before, [h.ha() for h in hosts])
    member.kill()
    time.sleep(12)
    status, body, _ = was.call("POST", "/v1/tasks", {"node": "n01", "operation": "reset"}, patience=12)
    c.check("etcd is away: nothing is taken on", status == 503, (status, body))
    c.check("no host says that it may change machines", not any(host.owns() for host in hosts))
    member.start()
    c.check("etcd is back: somebody owns the rack again", owner_of(hosts, 25), [h.ha() for h in hosts])


def disk_hangs_under_pins(c, bed, hosts, sim):
    """A host takes the rack while what it keeps of etcd (host.json) does not reach its disk."""
    shim, knobs = bed.dir / "hang.so", bed.dir / "shim"
    knobs.mkdir()
    built = sh("cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(ROOT / "tests/shim/hang.c"), "-ldl")
    c.check("the shim is built", built.returncode == 0, built.stderr)
    was = owner_of(hosts)
    slow = other(was, hosts)
    slow.stop()
    slow.by = ["env", f"LD_PRELOAD={shim}", f"SHIM_DIR={knobs}"]
    c.check("a host starts with it", slow.start() and until(15, lambda: slow.ha().get("role") == "standby"), slow.ha())
    pins = slow.dir / "state/host.json"
    (knobs / "pins").write_text("600000")
    before = pins.read_text()
    heard = lambda: any(host["host"] == f"mgmt-{slow.name}" and host["alive"] for host in was.ha().get("hosts", []))
    c.check("the owner hears it", until(15, heard), was.ha())
    status, said = was.rackbmc("ha", "handover", "--to", f"mgmt-{slow.name}", "--wait")
    c.check("it takes the rack while its disk hangs under host.json", until(15, slow.owns), (status, said, slow.ha(), slow.said()[-600:]))
    c.check("the node is at rest", at_rest(slow, sim.nodes[-1][0]))
    since = time.time()
    status, body, _ = slow.call("POST", "/v1/tasks", {"node": sim.nodes[-1][0], "operation": "reset"})
    reached = lambda: [e for e in sim.events(since) if e[1] == sim.nodes[-1][0] and e[2] == "reset" and e[3] == slow.name]
    c.check("and switches", status == 202 and until(15, reached), (status, body, slow.said()[-600:]))
    time.sleep(11)
    c.check("it owns the rack still", slow.owns() and slow.get("/healthz")[0] == 200, slow.ha())
    c.check("although nothing of it is on the disk", pins.read_text() == before, pins.read_text())
    (knobs / "pins").unlink()
    written = lambda: json.loads(pins.read_text())["ticket"] > json.loads(before)["ticket"]
    c.check("what came last is written when the disk goes on", until(15, written), (before, pins.read_text()))
    slow.by = []


def users(c, etcd, members, authority):
    """What docs/two-hosts.md has typed, and one who may do nothing."""
    ctl = [str(pathlib.Path(etcd).with_name("etcdctl"))]
    ctl += authority.as_client("client", ("--cacert", "--cert", "--key"))
    for words in ("user add root:pw", "user grant-role root root", "role add rack-bed",
                  "role grant-permission rack-bed readwrite /rackbmc/1/racks/bed/ --prefix=true", "user add rack-bed:pw",
                  "user grant-role rack-bed rack-bed", "user add nobody:pw", "auth enable"):
        done = sh("env", "ETCDCTL_API=3", *ctl, "--endpoints", members[0].url, *words.split())
        c.check(f"etcdctl {words}", done.returncode == 0, done.stderr)
    return ["env", "ETCDCTL_API=3", *ctl, "--user", "root:pw"]


def people_read_summaries(c, bed, members, authority, secret, ctl):
    """rackbmc --fleet as a user of etcd who may read what racks publish, and nothing else."""
    for words in ("role add people", "role grant-permission people read /rackbmc/1/fleet/ --prefix=true", "user add people:pw",
                  "user grant-role people people"):
        done = sh(*ctl, *words.split())
        c.check(f"etcdctl {words}", done.returncode == 0, done.stderr)
    at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
    sh(*ctl, "put", "/rackbmc/1/fleet/summary/bed", json.dumps({"at": at, "host": "mgmt-a", "health": {"rack": "bed", "nodes": 4}, "nodes": []}))
    file = bed.dir / "fleet.toml"
    endpoints = ", ".join(f'"{member.url}"' for member in members)
    file.write_text(f'[etcd]\nendpoints = [{endpoints}]\nusername = "people"\npassword_file = "{secret}"\n{authority.as_keys("client")}\n'
                    '[[rack]]\nname = "bed"\nurl = "http://127.0.0.1:1"\n')
    done = sh(str(WITH_TLS / "rackbmc"), "--fleet", "--fleet-file", str(file), "racks", "-o", "json")
    read = json.loads(done.stdout or "[{}]")[0]
    c.check("people who may read summaries only see the racks", done.returncode == 0 and read.get("age") is not None and read.get("nodes") == 4,
            (done.returncode, done.stdout, done.stderr))


def with_users(c, etcd):
    """Three members with TLS whose users are switched on: leaders die, the history is compacted, and nobody but the owner needs to
    know."""
    with Bed() as bed:
        authority = authority_of(bed)
        members = [Etcd(bed, etcd, number, 3, authority) for number in (1, 2, 3)]
        c.check("three members are there", until(20, lambda: all(member.healthy() for member in members)))
        ctl = users(c, etcd, members, authority)
        at_first = [*ctl, "--endpoints", members[0].url]
        secret = bed.dir / "etcd.pw"
        secret.touch(0o600)
        secret.write_text("pw\n")
        sim = Sim(bed, WITH_TLS, 4)
        login = 'username = "{}"\npassword_file = "' + str(secret) + '"\n' + authority.as_keys("client")
        hosts = [Host(bed, WITH_TLS, name, sim, members, etcd=login.format("rack-bed")) for name in ("a", "b")]
        a, b = hosts
        text = a.config.read_text()
        a.config.write_text(text.replace('"rack-bed"', '"nobody"'))
        done = a.run("--check-etcd")
        told = "give the user read and write on the rack's keys" in done.stdout
        c.check("--check-etcd says that a user may not have the rack's keys", done.returncode == 78 and told, done.stdout + done.stderr)
        a.config.write_text(text.replace("client.crt", "named.crt").replace("client.key", "named.key"))
        done = a.run("--check-etcd")
        told = "the client's certificate must have no CommonName" in done.stdout
        c.check("and that its certificate has a name that etcd takes for a user", done.returncode == 78 and told, done.stdout + done.stderr)
        a.config.write_text(text)
        done = a.run("--check-etcd")
        c.check("and finds all three members good with the rack's user", done.returncode == 0 and done.stdout.count("good") == 3, done.stdout + done.stderr)
        c.check("the first host owns the rack", a.start() and owner_of(hosts, 15) is a, a.said()[-800:])
        c.check("the second one stands by", b.start() and until(15, lambda: b.ha().get("owner")), b.said()[-800:])
        people_read_summaries(c, bed, members, authority, secret, at_first)
        traffic = Traffic(hosts, [name for name, _, _ in sim.nodes], 7)
        traffic.start()
        for number in range(3):
            was = until(10, lambda: leader(members, ctl))
            how, down, up = ("stood still", was.freeze, was.thaw) if number == 1 else ("died", was.kill, was.start)
            down()
            time.sleep(4)
            up()
            c.check(f"leader {number + 1} {how}: its member is back", until(20, was.healthy))
            revision = json.loads(sh(*at_first, "endpoint", "status", "-w", "json").stdout)[0]["Status"]["header"]["revision"]
            done = sh(*at_first, "compact", str(revision))
            c.check("what was before now is compacted away", done.returncode == 0, done.stderr)
            time.sleep(2)
        b.freeze()
        time.sleep(5)
        b.thaw()
        c.check("the standby stood still, and stands by", until(10, lambda: b.ha().get("role") == "standby"), b.ha())
        c.check("the same host owns the rack all the time", a.owns() and begins(a) + begins(b) == 1, [host.ha() for host in hosts])
        a.kill()
        c.check("it dies: the other one takes over, and the journal with it", until(20, b.owns, every=0.2), b.ha())
        a.start()
        time.sleep(3)
        judge(c, hosts, sim, [traffic])


def other_versions(c, etcd, a, member):
    """The rack was another version's before: a newer one's, and an older one's."""
    ctl = ["env", "ETCDCTL_API=3", str(pathlib.Path(etcd).with_name("etcdctl")), "--endpoints", member.url]
    key = "/rackbmc/1/racks/bed/{}".format
    read = lambda name: json.loads(sh(*ctl, "get", key(name), "--print-value-only").stdout or "null")
    own = read("own")
    known = {task["id"] for task in a.get("/v1/tasks?limit=1000")[1]["tasks"]}
    a.stop()
    newer = {**own, "format": own["format"] + 1, "version": "9.0.0", "host": "mgmt-x", "url": "http://mgmt-x.example:6385"}
    sh(*ctl, "put", key("own"), json.dumps(newer))
    a.start()
    told = until(15, lambda: "upgrade this host" in (a.ha().get("unfit") or ""))
    _, said = a.rackbmc("ha", "status")
    c.check("a host that is older than the owner says what to do", told and "upgrade this host" in said, (said, a.ha()))
    status, body, _ = a.get("/v1/nodes/n01")
    c.check("it guesses at nothing that the newer one has written", status == 503 and "mgmt-x.example" in json.dumps(body), (status, body))
    c.check("and does not take the rack", not until(12, a.owns), a.ha())
    a.stop()
    sh(*ctl, "put", key("own"), json.dumps(own))
    sh(*ctl, "put", key("format"), json.dumps([{"format": own["format"] - 1}]))
    a.start()
    c.check("a host that is newer takes it", owner_of([a], 25) is a, a.ha())
    brought = until(10, lambda: read("format") == [{"format": own["format"]}])
    c.check("and brings the journal to its own format", brought, read("format"))
    now = {task["id"] for task in a.get("/v1/tasks?limit=1000")[1]["tasks"]}
    c.check("all tasks are there", known and known <= now, (len(known), len(now)))


def inside(etcd):
    c = Checks("ha")
    net = Net()
    with Bed() as bed:
        member = Etcd(bed, etcd)
        c.check("etcd is there", until(15, member.healthy), member.process.said()[-500:])
        sim = Sim(bed, BIN, 8)
        hosts = [Host(bed, BIN, name, sim, [member]) for name in ("a", "b")]
        at_the_start(c, hosts, [member])
        names = [name for name, _, _ in sim.nodes]
        # The last one is for what is asked twice.
        traffics = people(hosts, names[:-1])
        time.sleep(3)
        print(f"     handed over after {handed_over(c, hosts, sim):.2f} s")
        time.sleep(3)
        print(f"     killed: {killed(c, hosts, sim, 'killed')} s")
        stopped(c, hosts, sim)
        time.sleep(3)
        cut_off(c, net, hosts, sim)
        etcd_away(c, hosts, member)
        time.sleep(5)
        disk_hangs_under_pins(c, bed, hosts, sim)
        asked_of_both(c, hosts)
        fleet_of_both(c, bed, hosts)
        judge(c, hosts, sim, traffics)
        withheld = [line for host in hosts for line in host.said().splitlines() if "kept back at the last moment" in line]
        c.check("the last look at the permit found nothing to keep back", not withheld, withheld)
        panics = [line for host in hosts for line in host.said().splitlines() if "panicked" in line]
        c.check("nothing panicked", not panics, panics)
        owner = owner_of(hosts)
        other(owner, hosts).stop()
        other_versions(c, etcd, owner, member)
    strange_etcds(c, etcd)
    strange_members(c, etcd)
    not_trusted(c, etcd)
    with_users(c, etcd)
    c.end()


if __name__ == "__main__":
    apart(inside)
