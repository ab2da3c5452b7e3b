#!/usr/bin/env python3
"""What one reading of the power of N BMCs costs: our daemon with its kept sessions, ipmipower and ipmitool, in one run.

    cargo build --release --bins && benches/wire.py [--nodes 256] [--ipmitool 32]

The same simulated rack for all three. Packets are the kernel's count of UDP datagrams (both directions), in a network
namespace of this script's own, so that nobody else's are among them. CPU is that of the asking side alone. ipmitool
takes one BMC a run: a few are asked, one after the other, and given for one node.
"""
import argparse
import os
import resource
import selectors
import shutil
import socket
import subprocess
import sys
import time

from ground import BIN, Bed, Ours, Simulated, cpu_seconds, udp_packets

INSIDE = "RACKBMCD_BENCH_INSIDE"


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def line(what, nodes, packets, cpu, wall):
    """One line of the table: for one node, and the time for all of them."""
    each = (packets / nodes, cpu / nodes * 1e6, wall)
    print(f"{what:<46}{each[0]:>12.1f}{each[1]:>14.1f}{wall * 1e3:>12.1f}", flush=True)
    return each


def fresh(path, names):
    """Asks for a fresh reading of every node, all at once over the Unix socket; how many said 200."""
    chosen = selectors.DefaultSelector()
    for name in names:
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(f"POST /v1/nodes/{name}/fresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        chosen.register(s, selectors.EVENT_READ, [])
    good = 0
    while chosen.get_map():
        for key, _ in chosen.select(10):
            data = key.fileobj.recv(1 << 16)
            key.data.append(data)
            if not data:
                good += b"".join(key.data).startswith(b"HTTP/1.1 200")
                chosen.unregister(key.fileobj)
                key.fileobj.close()
    return good


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--nodes", type=int, default=256)
    words.add_argument("--ipmitool", type=int, default=32, help="how many nodes ipmitool is asked for")
    words.add_argument("--seconds", type=int, default=20)
    told = words.parse_args()
    for program in ("ipmitool", "ipmipower", "unshare", "ip"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            sys.exit(f"{program} is missing")
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])
    with Bed() as bed:
        rack = Simulated(bed, told.nodes)
        ports = rack.ports()
        print(f"{told.nodes} simulated BMCs, cipher suite 17; one reading of the power each")
        print(f"{'':<46}{'packets/node':>12}{'CPU us/node':>14}{'wall ms':>12}")

        secret = bed.dir / "password"
        secret.touch(0o600)
        secret.write_text("admin")
        packets, cpu, began = udp_packets(), children_cpu(), time.monotonic()
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        said = subprocess.run(["ipmipower", "-D", "LAN_2_0", "-I", "17", "-l", "OPERATOR", "-u", "admin", "-p", "admin",
                               "-h", hosts, "--stat"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout
        on = said.count(": on")
        one_shot = line(f"ipmipower -h, one run, {on} answered", max(on, 1), udp_packets() - packets, children_cpu() - cpu,
                        time.monotonic() - began)

        packets, cpu, began, on = udp_packets(), children_cpu(), time.monotonic(), 0
        asked = ports[:told.ipmitool]
        for port in asked:
            said = subprocess.run(["ipmitool", "-I", "lanplus", "-C", "17", "-H", "127.0.0.1", "-p", str(port), "-L", "OPERATOR",
                                   "-U", "admin", "-f", str(secret), "power", "status"],
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout
            on += said.count("is on")
        each = line(f"ipmitool, a run each, {on} answered", max(on, 1), udp_packets() - packets, children_cpu() - cpu,
                    time.monotonic() - began)

        # Brisk, so that all of them can be read at once.
        daemon = Ours(bed, rack, sync="5s", defaults="orders_per_second = 100.0\nburst = 100\n")
        time.sleep(3)
        read = readings(daemon)
        packets, cpu = udp_packets(), cpu_seconds(daemon.pid)
        time.sleep(told.seconds)
        read, packets, cpu = readings(daemon) - read, udp_packets() - packets, cpu_seconds(daemon.pid) - cpu
        began = time.monotonic()
        good = fresh(daemon.socket, [f"n{number + 1:0{max(2, len(str(told.nodes)))}}" for number in range(told.nodes)])
        wall = time.monotonic() - began
        kept = line(f"rackbmcd, kept sessions, {read} readings", max(read, 1), packets, cpu, wall)
        print(f"(wall: {good} fresh readings asked for at once over the Unix socket)")
        for name, other in (("ipmipower", one_shot), ("ipmitool", each)):
            print(f"{name} costs {other[0] / kept[0]:.1f} times the packets and {other[1] / kept[1]:.1f} times the CPU of a kept session")


def readings(daemon):
    """Orders that were answered so far, of whatever kind: after the start they are readings."""
    lines = [text for text in daemon.metrics().split("\n") if "orders_total" in text and '"accepted"' in text]
    return int(float(lines[0].split()[-1])) if lines else 0


if __name__ == "__main__":
    main()
