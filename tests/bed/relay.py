#!/usr/bin/env python3
"""A UDP relay on loopback that damages traffic on purpose, between a client and a BMC.

  relay.py --to 127.0.0.1:PORT --loss 10 --dup 5 --delay 20 --jitter 30 --reorder 5 --corrupt 1 --seed 7

Prints "ready PORT" with the port that the kernel chose for it.  Every client address gets a socket of its own
towards the target, so the target sees distinct peers.  In percent of datagrams, each direction by itself:

  --loss  dropped     --dup  sent twice     --corrupt  one random bit flipped
  --reorder  held back 50 ms, so that later ones overtake it
  --dup_back  sent twice on the way back to the client alone
  --ipmi_loss  dropped where it is IPMI: presence pings pass
  --delay MS  added to every datagram, and --jitter MS: 0 to MS more, by chance

--log FILE gets one line a datagram: "to-target seen 18" (the RMCP+ payload type, "1.5" or "-"): how a test counts
what a client sent.  It ends at SIGTERM.  It refuses targets that are not loopback addresses.
"""
import argparse
import asyncio
import ipaddress
import random
import signal
import sys


def payload_type(data):
    """The RMCP+ payload type, "1.5" for an IPMI v1.5 packet, or "-"."""
    if len(data) < 6 or data[0] != 6 or data[3] & 0x1F != 7:
        return "-"
    return str(data[5] & 0x3F) if data[4] == 6 else "1.5"


class Relay:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.log = open(args.log, "w", encoding="ascii") if args.log else None

    def note(self, way, what, data):
        if self.log:
            print(way, what, payload_type(data), file=self.log, flush=True)

    def chance(self, percent):
        return self.rng.uniform(0, 100) < percent

    def pass_on(self, way, data, send):
        """Sends DATA on its way with the faults asked for."""
        a = self.args
        self.note(way, "seen", data)
        if self.chance(a.loss) or (payload_type(data) != "-" and self.chance(a.ipmi_loss)):
            return self.note(way, "lost", data)
        if data and self.chance(a.corrupt):
            at = self.rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << self.rng.randrange(8)]) + data[at + 1:]
            self.note(way, "corrupted", data)
        wait = a.delay + self.rng.uniform(0, a.jitter) + (50 if self.chance(a.reorder) else 0)
        twice = self.chance(a.dup) or (way == "to-client" and self.chance(a.dup_back))
        copies = 2 if twice else 1
        for copy in range(copies):
            asyncio.get_running_loop().call_later((wait + copy) / 1000, send, data)
        return None


class Front(asyncio.DatagramProtocol):
    """The port that clients talk to."""

    def __init__(self, relay, target):
        self.relay, self.target, self.flows = relay, target, {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        if peer not in self.flows:
            self.flows[peer] = Flow(self, peer)
            asyncio.ensure_future(self.flows[peer].open())
        self.flows[peer].to_target(data)


class Flow(asyncio.DatagramProtocol):
    """One client: its socket towards the target."""

    def __init__(self, front, peer):
        self.front, self.peer, self.waiting, self.transport = front, peer, [], None

    async def open(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=self.front.target)
        waiting, self.waiting = self.waiting, []
        for data in waiting:
            self.to_target(data)

    def error_received(self, exc):
        """Nobody listens there: the client hears nothing, as on a real network."""

    def to_target(self, data):
        if self.transport is None:
            self.waiting.append(data)
        else:
            self.front.relay.pass_on("to-target", data, self.transport.sendto)

    def datagram_received(self, data, _peer):
        self.front.relay.pass_on("to-client", data, lambda d: self.front.transport.sendto(d, self.peer))


async def run(args):
    host, _, port = args.to.rpartition(":")
    if not ipaddress.ip_address(host).is_loopback:
        sys.exit(f"relay: {host} is not a loopback address")
    loop = asyncio.get_running_loop()
    relay = Relay(args)
    front, _ = await loop.create_datagram_endpoint(lambda: Front(relay, (host, int(port))), local_addr=("127.0.0.1", 0))
    done = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, done.set)
    print("ready", front.get_extra_info("sockname")[1], flush=True)
    await done.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--to", required=True, metavar="ADDR:PORT")
    for name in ("loss", "dup", "reorder", "corrupt", "dup_back", "ipmi_loss", "delay", "jitter"):
        p.add_argument("--" + name, type=float, default=0.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--log")
    asyncio.run(run(p.parse_args()))


if __name__ == "__main__":
    main()
