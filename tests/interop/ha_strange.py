"""Something that is no etcd to trust a rack to, at the address of a member: it answers nonsense, is too old, loses what it was
told, or is of another cluster. A part of ha.py, in its namespaces."""
import http.client
import http.server
import re
import threading
import time

from daemon import BIN
from bed import Bed, until
from ha_etcd import ask, ended, taken
from pair import ETCD_NET, Etcd, Host, Sim, owner_of


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body, kind="application/json", length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        way = self.server.way
        try:
            if way == "old" and self.path == "/version":
                self.say(200, b'{"etcdserver":"3.3.25","etcdcluster":"3.3.0"}')
            elif way == "lossy" and self.path == "/version":
                self.say(200, b'{"etcdserver":"3.5.1","etcdcluster":"3.5.0"}')
            elif way in ANSWERS:
                ANSWERS[way](self)
            else:
                self.pass_on(body)
        except OSError:
            pass
        if way != self.server.way or way in ANSWERS:
            self.close_connection = True

    do_POST = do_GET

    def pass_on(self, body):
        """To the real member, line by line; its words are changed on the way where the server is to do that."""
        upstream = http.client.HTTPConnection(*self.server.to, timeout=60)
        try:
            upstream.request(self.command, self.path, body or None, {"Content-Type": "application/json"})
            answer = upstream.getresponse()
            self.send_response(answer.status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.server.streams.append(self.connection)
            while line := answer.readline():
                for old, new in CHANGED.get(self.server.way, ()):
                    line = re.sub(old, new, line)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            upstream.close()


def drip(handler):
    handler.say(200, b"{", length=1000)
    for _ in range(100):
        time.sleep(0.3)
        handler.wfile.write(b" ")


def pour(handler):
    handler.say(200, b"{", length=1 << 40)
    while True:
        handler.wfile.write(b" " * 65536)


# What is answered to everything.
ANSWERS = {
    "html": lambda it: it.say(200, b"<html>It works!\x1b[2J</html>", "text/html"),
    "empty": lambda it: it.say(200, b"{}"),
    "list": lambda it: it.say(200, b"[1, 2]"),
    "no cluster": lambda it: it.say(200, b'{"header":{},"kvs":[],"succeeded":true,"responses":[]}'),
    "cut": lambda it: it.say(200, b'{"header":{"clus', length=1000),
    "busy": lambda it: it.say(503, b"<html>Service Unavailable</html>", "text/html"),
    "elsewhere": lambda it: it.say(307, b""),
    "old": lambda it: it.say(404, b"404 page not found\n", "text/plain"),
    "drip": drip,
    "pour": pour,
}
# What is put in place of what in the answers of the real one.
CHANGED = {
    "another cluster": [(rb'"cluster_id":"\d+"', b'"cluster_id":"4711"')],
    "nothing read": [(rb'"response_range"', b'"response_put"')],
    "less": [(rb'"kvs":\[', b'"more":true,"kvs":[')],
}
# What --check-etcd says of them.
WORDS = {
    "html": "an answer that etcd does not give",
    "empty": "an answer that etcd does not give",
    "list": "an answer that etcd does not give",
    "no cluster": "an answer that etcd does not give",
    "cut": "etcd does not answer",
    "busy": "etcd cannot answer",
    "elsewhere": "an answer that etcd does not give",
    "old": "etcd 3.3.25 is too old",
    "drip": "no answer in 1 s",
    "pour": "etcd does not answer",
}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Whoever asked is gone."""


class Strange:
    """Listens where a member would, before a real one; `way` is what it does: "true" is to pass everything on."""

    def __init__(self, bed, member, number, way="true"):
        self.server = Server((f"{ETCD_NET}.{number}", 2379), Handler)
        self.server.to, self.server.way, self.server.streams = (member.address, 2379), way, []
        self.url = f"http://{ETCD_NET}.{number}:2379"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        bed.add(self)

    def becomes(self, way):
        self.server.way = way
        for stream in self.server.streams:
            try:
                stream.shutdown(2)
            except OSError:
                pass
        self.server.streams.clear()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        return 0


def at_the_start(c, bed, sim, member):
    """A host that knows nothing but such a one: it owns nothing, and says why."""
    strange = Strange(bed, member, 2)
    host = Host(bed, BIN, "a", sim, [strange])
    for way, words in WORDS.items():
        strange.becomes(way)
        done = host.run("--check-etcd")
        said = done.stdout + done.stderr
        c.check(f"etcd {way!r}: --check-etcd says why it will not do, exit 78", done.returncode == 78 and words in said and "\x1b" not in said, said)
    for way in ("html", "no cluster", "nothing read", "less"):
        strange.becomes(way)
        host.start()
        owns = until(3, host.owns)
        status, body, _ = ask(host, "n01", "reset")
        c.check(f"etcd {way!r}: the host owns nothing and takes nothing on", not owns and status == 503, (owns, status, body))
        host.stop()
    c.check("nothing was pressed", not sim.events(), sim.events())
    strange.becomes("lossy")
    host.start()
    told = until(10, lambda: "etcd 3.5.1 may lose commits: upgrade it" in (host.ha().get("unfit") or ""))
    c.check("an etcd that loses commits is trusted with no rack, and why is said", told and not host.owns(), host.ha())
    host.stop()
    strange.becomes("true")
    c.check("a real one behind the same address is: the host owns the rack", host.start() and owner_of([host], 15) is host, host.ha())
    return host, strange


def meanwhile(c, host, strange):
    """It owns the rack, and its only member becomes strange."""
    for way in ("html", "another cluster"):
        c.check(f"before etcd {way!r}: a task is done", taken(host, "n01", "reset"), host.ha())
        strange.becomes(way)
        c.check(f"etcd becomes {way!r}: the permit ends", until(12, lambda: not host.owns()), host.ha())
        status, body, _ = ask(host, "n01", "reset")
        c.check("nothing is taken on", status == 503, (status, body))
        strange.becomes("true")
        c.check("etcd is itself again: the rack has an owner", owner_of([host], 25) is host, host.ha())
        c.check("against which nothing speaks", until(5, lambda: not host.ha().get("unfit")), host.ha())


def one_of_several(c, bed, sim, member, host):
    """One member of two goes by another cluster's name, or talks nonsense: the other one does."""
    host.stop()
    strange = Strange(bed, member, 3)
    host.config.write_text(re.sub(r"endpoints = .*", f'endpoints = ["{strange.url}", "{member.url}"]', host.config.read_text()))
    c.check("with a second member it owns the rack", host.start() and owner_of([host], 25) is host, host.ha())
    began = host.said().count("this host owns the rack")
    for way in ("another cluster", "drip"):
        strange.becomes(way)
        lost = until(9, lambda: not host.owns())
        c.check(f"one of two is {way!r}: the rack stays where it is", not lost, host.ha())
        c.check("and tasks are done", taken(host, "n02", "reset"), host.ha())
        strange.becomes("true")
    c.check("it was one tenure all the time", host.said().count("this host owns the rack") == began, host.said()[-2000:])


def strange_members(c, etcd):
    with Bed() as bed:
        member = Etcd(bed, etcd)
        until(15, member.healthy)
        sim = Sim(bed, BIN, 2)
        host, strange = at_the_start(c, bed, sim, member)
        meanwhile(c, host, strange)
        one_of_several(c, bed, sim, member, host)
        tasks = host.get("/v1/tasks?limit=1000")[1]["tasks"]
        resets = [event for event in sim.events() if event[2] == "reset"]
        c.check("each reset that was taken reached the machine once", len(resets) == len(tasks) == 4, (len(resets), len(tasks)))
        c.check("and all have ended", all(ended(host, task["id"]) for task in tasks), tasks)
        panics = [line for line in host.said().splitlines() if "panicked" in line]
        c.check("nothing panicked", not panics, panics)
