"""What went over the loopback interface, with the kernel's own times: taken while it comes, since the kernel keeps some hundred
datagrams only, and looked into when it is over."""
import select
import socket
import struct
import threading
import time
from collections import deque, namedtuple

Seen = namedtuple("Seen", "at source target payload")
SO_TIMESTAMPNS, OUTGOING, ALL = 35, 4, 3


class Tap:
    """Every UDP datagram of this network namespace from now on. Needs its root."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        for number in (socket.SO_RCVBUF, 33):  # SO_RCVBUFFORCE, where the host lets us
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, number, 256 << 20)
            except OSError:
                pass
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind(("lo", ALL))
        self.socket.setblocking(False)
        self.taken, self.over = deque(), False
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self):
        while not self.over:
            select.select([self.socket], [], [], 0.2)
            try:
                while True:
                    self.taken.append((*self.socket.recvmsg(2048, 64), time.time()))
            except BlockingIOError:
                pass

    def seen(self):
        """What was seen since the last time: the time of the calendar in seconds, both ports, and what was in it."""
        time.sleep(0.001)
        found = []
        for _ in range(len(self.taken)):
            frame, control, _, address, at = self.taken.popleft()
            if address[2] != OUTGOING or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_UDP:
                continue
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanos = struct.unpack("ll", data[:16])
                    at = seconds + nanos * 1e-9
            begin = 14 + (frame[14] & 15) * 4
            source, target = struct.unpack("!HH", frame[begin:begin + 4])
            found.append(Seen(at, source, target, frame[begin + 8:]))
        return found

    def missed(self):
        """How many it had no room for since this was asked last (PACKET_STATISTICS)."""
        _, dropped = struct.unpack("II", self.socket.getsockopt(263, 6, 8))
        return dropped

    def close(self):
        self.over = True
        self.thread.join()
        self.socket.close()


def command(payload):
    """Network function and command of an IPMI request that is signed, not encrypted (cipher suite 16); None for what else."""
    if len(payload) < 23 or payload[4:6] != b"\x06\x40":
        return None
    return payload[17] >> 2, payload[21]
