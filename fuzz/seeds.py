#!/usr/bin/env python3
"""Writes the first inputs of every target below corpus/: packets and sessions of ../tests/vectors, and requests,
configurations and node sets as people write them.  What libFuzzer found worth keeping was added to them later."""
import hashlib
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "tests" / "vectors"


def write(target, data):
    """One input, named after its content as libFuzzer does."""
    data = data.encode() if isinstance(data, str) else data
    directory = HERE / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)


def lines(name):
    return [line for line in (VECTORS / name).read_text().splitlines() if line and line[0] != "#"]


def packets():
    """One packet of each kind and length, from every recording."""
    seen = set()
    for name in ("ipmitool-suite3.txt", "sessions.txt", "sim-suite17.txt", "sim-version15-md5.txt", "v15.txt"):
        for line in lines(name):
            if line[0] not in "<>":
                continue
            data = bytes.fromhex(line[2:])
            if (line[0], data[3:6], len(data)) not in seen:
                seen.add((line[0], data[3:6], len(data)))
                write("packet", data)
                # In the open: the data of the message in it.
                if data[3:6] == b"\x07\x06\x00" and len(data) > 24:
                    write("commands", data[22:-1])


def sessions():
    """The computed sessions as scripts: requests, open, and every packet in its turn."""
    script, reply = b"", b""
    for line in lines("sessions.txt") + ["="]:
        if line[0] == "=":
            if script:
                write("session", script)
            if line == "=":
                break
            _, suite, key = line.split(" ")
            key = b"" if key == "-" else bytes.fromhex(key)
            script = bytes([int(suite), 0, 0, len(key)]) + key + bytes([10, 13, 0])
        elif line[0] == ">":
            # Close Session follows when both orders are answered.
            script += (b"\x01" if script.count(reply) and reply[-12:-10] == b"\x0c\x00" else b"") + b"\xff"
        else:
            reply = bytes.fromhex(line[2:])
            script += bytes([16, len(reply)]) + reply
    moods = [(0, 0, 0), (1, 0, 0), (3, 0, 0), (0x1C, 0, 0), (0xC0, 1, 0), (0, 8, 0xD5), (0, 0x72, 0), (0, 0, 2)]
    for suite in (0, 1, 2, 3, 6, 7, 8, 11, 12, 15, 16, 17):
        for mood in moods[:8 if suite in (3, 17) else 1]:
            orders = bytes([10, 13, 10, 14, 0]) + b"\xff" * 10
            write("session_sim", bytes([suite, 0, 0, 0, *mood, 1]) + orders + bytes([48, 255] * 6) + bytes([1, 48, 255, 255]))
    for protocol in (1, 2, 3, 4, 5, 7):
        write("session_sim", bytes([3, protocol, 0, 0, 0, 0, 0, 1, 10, 13, 10, 14, 0]) + b"\xff" * 10 + bytes([1, 255, 255]))
    # A network that loses, repeats, garbles and replays.
    unkind = bytes([10, 10, 15, 0, 102, 150, 190, 102, 150, 76, 190, 190, 102, 150, 90, 20, 4, 190, 48, 102, 150, 64, 48, 102, 150, 190])
    unkind += bytes([255] * 4) + bytes([20, 3, 30, 1, 20, 5, 0, 0, 28, 0xE8, 3, 48, 255, 48, 255, 100, 48, 255, 48, 255, 48, 255])
    for suite in (3, 8, 17):
        write("session_sim", bytes([suite | 0x80, 0, 0, 0, 0, 0, 0, 5]) + unkind)


def commands():
    for data in (
        "21107060", "2110706000", "01", "05", "0f01", "0502", "01058018000000", "00058098000000", "2001010002bf00000000000000",
        "0f7c0a4a1d0c8a4ba7d04b5e6a1c1200", "00c00311", "00c00301414800c01103440381", "510000ffff0000000000000020",
        "0100", "ffff0100024e1f9a650020040713016f810000", "dc0f0009000f000f0000c0a865e803000040", "01020304c0a80001e80300000000000000",
        "dc010000", "40", "4000", "010f04060004d4", "000011436c5201aa", "434c52aa", "8e04", "0e03", "02", "1f", "00",
    ):
        write("commands", bytes.fromhex(data))


def requests():
    task = "01890a5d-ac96-774b-bcce-b302099a8057"
    uuid = "00000000-0000-0000-0000-000000000001"
    gets = ["/", "/v1", "/v1/nodes", "/v1/nodes/detail?fields=name,power_state&limit=2&marker=" + uuid, f"/v1/nodes/{uuid}", "/v1/nodes/r1n01/states",
            "/v1/nodes/r1n01/management/boot_device", "/v1/nodes/r1n01/management/boot_device/supported", "/v1/nodes/r1n01/validate",
            "/v1/nodes/r1n01/boot_override", "/v1/nodes/r1n01/tasks", "/v1/drivers", "/v1/drivers/ipmi", "/v1/tasks?node=r1n01&active=true&limit=3",
            f"/v1/tasks/{task}?wait=30s", "/v1/batches", f"/v1/batches/{task}", "/v1/events?since=0&wait=1s", "/v1/events?snapshot=true", "/metrics",
            "/healthz", "/v1/nodes/r1n01/explain", "/v1/nodes/r1n01/history", "/v1/openapi.json", "/v1/pause", "/v1/conductors", "/v1/ports"]
    for path in gets:
        write("http", f"GET {path} \n".replace(" \n", "") + "\nhost: rack.example:6385\nX-OpenStack-Ironic-API-Version: 1.31\nAccept: application/json\n\n")
    write("http", "GET /v1/nodes\nX-OpenStack-Ironic-API-Version: latest\n\n")
    write("http", "HEAD /v1/nodes/%72%31n01/\nX-OpenStack-Ironic-API-Version: 1.1\n\n")
    head = "\nhost: rack.example\nX-OpenStack-Ironic-API-Version: 1.31\ncontent-type: application/json\n\n"
    for target in ("power on", "power off", "rebooting", "soft rebooting", "soft power off", "inject nmi", "abort soft power off", "abort inject nmi"):
        write("http", f'PUT /v1/nodes/r1n01/states/power{head}{{"target": "{target}", "timeout": 5}}')
    for line, body in (
        ("PUT /v1/nodes/r1n01/management/boot_device", '{"boot_device": "pxe", "persistent": true}'),
        ("PUT /v1/nodes/r1n01/management/inject_nmi", "{}"),
        ("PUT /v1/nodes/r1n01/maintenance", '{"reason": "new fan"}'),
        ("DELETE /v1/nodes/r1n01/maintenance", ""),
        ("PATCH /v1/nodes/r1n01", '[{"op": "replace", "path": "/maintenance", "value": true}]'),
        ("POST /v1/tasks", '{"node": "r1n01", "operation": "soft power off", "timeout": "60s", "on_soft_timeout": "hard power off"}'),
        (f"POST /v1/tasks/{task}/abort", ""),
        ("POST /v1/batches", '{"operation": "power on", "nodes": ["r1n[01-02]"], "max_parallel": 1, "stagger": "1s", "on_failure": "stop"}'),
        (f"POST /v1/batches/{task}/cancel", '{"nodes": ["r1n01"]}'),
        ("POST /v1/pause", '{"reason": "storm"}'),
        ("POST /v1/nodes/r1n01/retry", "{}"),
        ("POST /v1/nodes/r1n01/identify", '{"for": 15}'),
    ):
        write("http", f"{line}{head}{body}")


def roles():
    """What changes something, of each node and task that there is, asked by everybody."""
    batch, first, second = "01a0c450-6c00-7000-bcf4-d73c4c04022a", "01a0c450-6c00-7001-be67-70eb3a95da21", "01a0c450-6c00-7002-becb-86beda3ff6d0"
    uuid = "00000000-0000-0000-0000-000000000001"
    head = "\nhost: localhost\nX-OpenStack-Ironic-API-Version: 1.31\ncontent-type: application/json\n\n"
    asked = [("GET /v1/audit", ""), ("GET /v1/nodes/detail", ""), ("GET /v1/events?snapshot=true", ""), ("GET /healthz", ""),
             ("POST /v1/pause", '{"reason": "storm"}'), ("POST /v1/release", "{}"),
             ("POST /v1/batches", '{"operation": "power off", "nodes": ["r1n02", "r1n01"]}'),
             (f"POST /v1/batches/{batch}/abort", ""), (f"POST /v1/batches/{batch}/cancel", '{"nodes": ["r1n01"]}')]
    for task in (first, second):
        asked += [(f"POST /v1/tasks/{task}/{control}", "") for control in ("abort", "cancel", "rollback", "suspend", "resume")]
    for node in ("r1n01", "r1n02", uuid, uuid.replace("-", ""), "urn:uuid:" + uuid, "%7B" + uuid + "%7D", "r1n01.json"):
        asked += [(f"PUT /v1/nodes/{node}/states/power", '{"target": "abort soft power off"}'),
                  (f"PUT /v1/nodes/{node}/maintenance", '{"reason": "fan"}'), (f"POST /v1/nodes/{node}/raw", '{"net_fn": 6, "command": 1, "data": []}'),
                  (f"POST /v1/nodes/{node}/bmc_reset", '{"kind": "cold"}'), (f"POST /v1/nodes/{node}/retry", "{}"),
                  (f"POST /v1/nodes/{node}/fresh", ""), (f"PUT /v1/nodes/{node}/management/inject_nmi", "{}")]
    who = ("none", "reader", "operator", "operator r1n02", "admin r1n02", "admin")
    for number, (line, body) in enumerate(asked):
        for role in who[number % 2::2]:
            write("roles", f"{role}\n{line}{head}{body}")


def configurations():
    for example in sorted((HERE.parent / "etc").glob("*.toml*")):
        write("config", example.read_bytes())
    hashed = "ops:$2y$05$" + "a" * 53 + "\n"
    node = '[[node]]\nname = "r1n[01-16]"\naddress = "10.0.1.[1-16]"\n'
    defaults = '[defaults]\nusername = "admin"\npassword_file = "bmc.pw"\n'
    write("config", defaults + node)
    write("config", '[api]\ntcp = "127.0.0.1:6385"\nauth = "http_basic"\nhtpasswd = "htpasswd"\n' + defaults + node + "\0pw\n\0" + hashed)
    write("config", '[daemon]\nstate_dir = "/x"\nlog_level = "debug"\n[rack]\nname = "r1"\nsync_interval = "60s"\npower_on_stagger = "500ms"\n'
          'max_transitions = 16\n' + defaults + 'privilege = "administrator"\ncipher_suites = [17, 3, 0]\nprotocol = "1.5"\nipmi15_auth = "md5"\n'
          'kg_hex = "0x00112233"\nquirks = ["supermicro20", "k_const=digest"]\nsoft_power_off_timeout = "600s"\nmin_off_time = "10s"\n'
          'on_soft_timeout = "hard power off"\nnmi = true\n' + node + 'uuid = "00000000-0000-0000-0000-000000000001"\n')
    write("config", '[[node]]\nname = "n"\naddress = "::1"\nport = 0\nusername = "u"\npassword_credential = "bmc"\nkg = "rack key"\n\0')
    write("config", '[[node]]\nname = "n"\naddress = "bmc.example"\nusername = "u"\npassword_file = "other.pw"\n\0a password of twenty\n')
    write("config", '[[node]]\nname = "n"\naddress = "h"\nusername = "u"\npassword_file = "open.pw"\nunknown = 3\n[defaults')


def node_sets():
    for text in ("r1n[01-03,10]", "n1,n2 n3", "@all!n1", "@odd&n[1-9/2]", "rack[1-2]n[01-02]", "n[8-011]", "n[5-1]", "n[", "@none", "@*",
                 "n[1-99999]", "[1-2]x[3]", "n[18446744073709551615]", "!n", "n[1-3", "ü[1-2]", "10.0.1.[1-16]", ",", ""):
        write("nodeset", text)


if __name__ == "__main__":
    packets()
    sessions()
    commands()
    requests()
    roles()
    configurations()
    node_sets()
