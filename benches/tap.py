"""What went over the loopback interface, with the kernel's own times: taken while it comes, since the kernel keeps some hundred
datagrams only, and looked into when it is over."""
import ctypes
import select
import socket
import struct
import threading
import time
from collections import deque, namedtuple

Seen = namedtuple("Seen", "at source target payload")
SO_TIMESTAMPNS, SO_ATTACH_FILTER, OUTGOING, ALL = 35, 26, 4, 3
# Classic BPF (linux/filter.h): codes, and where the kernel shows the packet type.
LOAD_BYTE, LOAD_HALF, IF_EQUAL, IF_SET, RETURN, PACKET_TYPE = 0x30, 0x28, 0x15, 0x45, 0x06, 0xFFFFF004
# The network function of an IPMI 2.0 message behind headers of Ethernet, IPv4 and UDP; odd in an answer (section 5.1).
NETWORK_FUNCTION, OF_AN_ANSWER = 42 + 17, 1 << 2


def only_outgoing(answers):
    """A filter for the kernel, without which half of the machine is busy with this program: datagrams as they leave, and with
    or without the answers of BMCs to what is signed and not encrypted."""
    tests = [(LOAD_BYTE, PACKET_TYPE), (IF_EQUAL, OUTGOING), (LOAD_HALF, 12), (IF_EQUAL, 0x800), (LOAD_BYTE, 23),
             (IF_EQUAL, socket.IPPROTO_UDP)]
    if not answers:
        tests += [(LOAD_BYTE, NETWORK_FUNCTION), (IF_SET, OF_AN_ANSWER)]
    code, drop = [], len(tests) + 1
    for place, (what, value) in enumerate(tests):
        away = drop - place - 1
        jumps = {IF_EQUAL: (0, away), IF_SET: (away, 0)}.get(what, (0, 0))
        code.append(struct.pack("HBBI", what, *jumps, value))
    return b"".join([*code, struct.pack("HBBI", RETURN, 0, 0, 0xFFFF), struct.pack("HBBI", RETURN, 0, 0, 0)])


class Tap:
    """Every UDP datagram of this network namespace from now on, or all but the answers of BMCs. Needs its root."""

    def __init__(self, answers=True):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        for number in (socket.SO_RCVBUF, 33):  # SO_RCVBUFFORCE, where the host lets us
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, number, 256 << 20)
            except OSError:
                pass
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        code = only_outgoing(answers)
        kept = ctypes.create_string_buffer(code)
        program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
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
                # Some at once: each look takes from those who are measured.
                time.sleep(0.0005)

    def seen(self):
        """What was seen since the last time: the time of the calendar in seconds, both ports, and what was in it."""
        time.sleep(0.003)
        found = []
        for _ in range(len(self.taken)):
            frame, control, _, address, at = self.taken.popleft()
            # What came before the filter was there.
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
