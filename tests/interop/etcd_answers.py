#!/usr/bin/env python3
"""Asks a real etcd what the daemon asks, and writes down what it answers: tests/vectors/etcd/VERSION.txt.

    tests/interop/etcd_answers.py [DIRECTORY WITH etcd AND etcdctl]

Starts members of its own on ports of loopback that are free, in a temporary directory, and ends them. The requests are
written here by hand, not by the daemon's code, so that both sides of its codec are judged by them.
"""
import base64, json, os, pathlib, signal, socket, subprocess, sys, tempfile, threading, time
import http.client

BIN = sys.argv[1] + "/" if len(sys.argv) > 1 else ""
VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors" / "etcd"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Member:
    def __init__(self, name, home, *flags, cluster=None, client=None, peer=None):
        self.client, self.peer = client or free_port(), peer or free_port()
        self.name, self.home = name, home
        self.flags = flags
        self.cluster = cluster or f"{name}=http://127.0.0.1:{self.peer}"

    def start(self):
        url, peer = f"http://127.0.0.1:{self.client}", f"http://127.0.0.1:{self.peer}"
        self.process = subprocess.Popen(
            [BIN + "etcd", "--name", self.name, "--data-dir", f"{self.home}/{self.name}", "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", self.cluster, "--log-level", "fatal", *self.flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def await_ready(self):
        for _ in range(200):
            try:
                if "version" in self.ask("POST", "/v3/maintenance/status", "{}")[1]:
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"{self.name} does not start")

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, method, path, body, token=None, timeout=10):
        connection = http.client.HTTPConnection("127.0.0.1", self.client, timeout=timeout)
        headers = {"Authorization": token} if token else {}
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def ctl(self, *words):
        url = f"http://127.0.0.1:{self.client}"
        subprocess.run([BIN + "etcdctl", "--endpoints", url, *words], check=True, env={**os.environ, "ETCDCTL_API": "3"},
                       stdout=subprocess.DEVNULL)

    def watch(self, body, lines, token=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.client, timeout=10)
        connection.request("POST", "/v3/watch", body, {"Authorization": token} if token else {})
        answer = connection.getresponse()
        text = "".join(answer.readline().decode() for _ in range(lines))
        connection.close()
        return answer.status, text


def b(text):
    return base64.b64encode(text.encode()).decode()


def put(key, value):
    return {"request_put": {"key": b(key), "value": b(value)}}


def get(key):
    return {"request_range": {"key": b(key)}}


def below(prefix):
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return {"key": b(prefix), "range_end": b(end)}


def unchanged(key, revision):
    return {"key": b(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def holds(key, value):
    return {"key": b(key), "target": "VALUE", "result": "EQUAL", "value": b(value)}


def txn(compare, success, failure=()):
    return json.dumps({"compare": list(compare), "success": list(success), "failure": list(failure)})


written = []


def write(name, method, path, body, answer):
    status, text = answer
    written.append(f"# {name}\n{method} {path}\n{body}\n{status}\n{text.strip()}\n")


def record(name, member, path, body, token=None, method="POST"):
    answer = member.ask(method, path, body, token)
    write(name, method, path, body, answer)
    return answer[1]


R = "/rackbmc/1/racks/r1/"
TXN, RANGE, WATCH = "/v3/kv/txn", "/v3/kv/range", "/v3/watch"


def plain(home):
    one = Member("one", home).start().await_ready()
    version = json.loads(record("version", one, "/version", "", method="GET"))["etcdserver"]
    record("status", one, "/v3/maintenance/status", "{}")
    record("nothing there", one, RANGE, json.dumps(below(R)))
    claim = txn([unchanged(R + "own", 0), unchanged(R + "beat", 0)], [put(R + "own", "A"), put(R + "beat", "1"),
                get(R + "head"), {"request_range": below(R + "j/")}], [get(R + "own"), get(R + "beat")])
    record("claimed", one, TXN, claim)
    record("claimed by another", one, TXN, claim)

    def commit(last, ticket):
        return txn([unchanged(R + "own", 2), holds(R + "own", "A"), last],
                   [put(R + "head", ticket), put(R + "beat", ticket), put(R + "j/tasks/1", "{}"),
                    {"request_delete_range": {"key": b(R + "j/tasks/2")}}], [get(R + "own"), get(R + "head")])
    record("first commit", one, TXN, commit(unchanged(R + "head", 0), "1"))
    record("the same again", one, TXN, commit(unchanged(R + "head", 0), "1"))
    record("second commit", one, TXN, commit(holds(R + "head", "1"), "2"))
    record("a value that is not there", one, TXN, txn([holds(R + "none", "x")], [], [get(R + "none")]))
    record("one key", one, RANGE, json.dumps({"key": b(R + "own")}))
    record("many steps", one, TXN, txn([], [put(R + f"j/nodes/{i}", "v") for i in range(129)]))
    status, text = one.ask("POST", TXN, txn([], [put(R + "j/nodes/1", "x" * 1_600_000)]))
    write("too large", "POST", TXN, "", (status, text))
    record("no json", one, TXN, "no json")
    record("no such path", one, "/v3/nonsense", "{}")
    record("no users here", one, "/v3/auth/authenticate", json.dumps({"name": "rack-r1", "password": "secret"}))

    def change():
        time.sleep(0.5)
        one.ask("POST", "/v3/kv/put", json.dumps({"key": b(R + "own"), "value": b("B")}))
        one.ask("POST", TXN, txn([], [put(R + "beat", "9"), {"request_delete_range": {"key": b(R + "own")}}]))
    threading.Thread(target=change).start()
    body = json.dumps({"create_request": below(R)})
    write("watch", "POST", WATCH, body, one.watch(body, 3))
    threading.Thread(target=change).start()
    body = " ".join(json.dumps({"create_request": {"key": b(R + key)}}) for key in ("own", "beat"))
    write("watch of two keys", "POST", WATCH, body, one.watch(body, 4))
    head = json.loads(one.ask("POST", RANGE, json.dumps({"key": b("x")}))[1])["header"]["revision"]
    one.ask("POST", "/v3/kv/compaction", json.dumps({"revision": head}))
    body = json.dumps({"create_request": {**below(R), "start_revision": "1"}})
    write("watch of what is compacted", "POST", WATCH, body, one.watch(body, 2))
    one.end()
    return version


def full(home):
    one = Member("full", home, "--quota-backend-bytes", str(2 << 20)).start().await_ready()
    for i in range(20):
        status, text = one.ask("POST", TXN, txn([], [put(f"fill{i}", "x" * 400_000)]))
        if status != 200:
            break
    record("no space", one, TXN, txn([], [put(R + "beat", "2")]))
    record("reading without space", one, RANGE, json.dumps({"key": b(R + "own")}))
    record("status without space", one, "/v3/maintenance/status", "{}")
    one.end()


def users(home):
    one = Member("users", home).start().await_ready()
    for words in (["role", "add", "r1"], ["role", "grant-permission", "r1", "readwrite", R, "--prefix"],
                  ["user", "add", "rack-r1:secret"], ["user", "grant-role", "rack-r1", "r1"], ["user", "add", "root:root"],
                  ["user", "grant-role", "root", "root"], ["auth", "enable"]):
        one.ctl(*words)
    record("nobody is logged in", one, RANGE, json.dumps({"key": b(R + "own")}))
    record("wrong password", one, "/v3/auth/authenticate", json.dumps({"name": "rack-r1", "password": "wrong"}))
    answer = record("log in", one, "/v3/auth/authenticate", json.dumps({"name": "rack-r1", "password": "secret"}))
    token = json.loads(answer)["token"]
    record("with a token", one, RANGE, json.dumps({"key": b(R + "own")}), token)
    record("a token that is not valid", one, RANGE, json.dumps({"key": b(R + "own")}), "nonsense.1")
    record("not permitted", one, RANGE, json.dumps({"key": b("/rackbmc/1/racks/r2/own")}), token)
    body = json.dumps({"create_request": {"key": b("/rackbmc/1/racks/r2/own")}})
    write("watch that is not permitted", "POST", WATCH, body, one.watch(body, 1, token))
    one.end()


def alone(home):
    """One member of three: nobody leads."""
    ports = [free_port() for _ in range(3)]
    cluster = ",".join(f"m{i}=http://127.0.0.1:{port}" for i, port in enumerate(ports))
    members = [Member(f"m{i}", home, cluster=cluster, peer=port).start() for i, port in enumerate(ports)]
    for member in members:
        member.await_ready()
    members[0].ask("POST", TXN, txn([], [put(R + "beat", "1")]))
    members[1].end()
    members[2].end()
    status, text = members[0].ask("POST", TXN, txn([], [put(R + "beat", "2")]), timeout=20)
    write("no leader, a change", "POST", TXN, txn([], [put(R + "beat", "2")]), (status, text))
    status, text = members[0].ask("POST", RANGE, json.dumps({"key": b(R + "own")}), timeout=20)
    write("no leader, a read", "POST", RANGE, json.dumps({"key": b(R + "own")}), (status, text))
    members[0].end()


def no_gateway(home):
    one = Member("closed", home, "--enable-grpc-gateway=false").start()
    for _ in range(100):
        try:
            one.ask("GET", "/version", "")
            break
        except OSError:
            time.sleep(0.1)
    record("the gateway is off", one, RANGE, json.dumps({"key": b(R + "own")}))
    one.end()


with tempfile.TemporaryDirectory() as home:
    version = plain(home)
    full(home)
    users(home)
    alone(home)
    no_gateway(home)
VECTORS.mkdir(parents=True, exist_ok=True)
head = f"Answers of etcd {version}, as tests/interop/etcd_answers.py got them.\nName, request, its body, HTTP status, answer.\n"
(VECTORS / f"{version}.txt").write_text(head + "\n" + "\n".join(written))
print(f"{len(written)} answers of etcd {version}")
