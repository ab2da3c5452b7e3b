#!/usr/bin/env python3
"""Whole sessions with a simulated BMC, computed by other means than ours: Python's hashlib and hmac, openssl for AES.

Prints lines as `src/sim/tests/known_answers.rs` replays them: "> " to the BMC, "< " from it, UDP payloads as hex.
The BMC's random numbers are those of SplitMix64 from its seed, as published; the console's are plain counters.

    tests/vectors/sim_known_answers.py suite3  > tests/vectors/sim-suite3.txt
    tests/vectors/sim_known_answers.py suite17 > tests/vectors/sim-suite17.txt      (with a K_G that begins with 00)
    tests/vectors/sim_known_answers.py md5     > tests/vectors/sim-version15-md5.txt
"""
import hashlib
import hmac
import struct
import subprocess
import sys

SEED = 7
USER, PASSWORD = b"admin", b"secret-Password"
GUID = b"simulated-bmc-00"
CONSOLE_ID = 0xA4A3A2A0


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def word(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def bytes(self, count):
        out = b""
        while len(out) < count:
            out += struct.pack("<Q", self.word())[: count - len(out)]
        return out


def say(direction, packet):
    print(direction, packet.hex())


def checksum(data):
    return bytes([-sum(data) & 0xFF])


def request(net_fn, seq, cmd, data=b""):
    head = bytes([0x20, net_fn << 2])
    body = bytes([0x81, seq << 2, cmd]) + data
    return head + checksum(head) + body + checksum(body)


def response(net_fn, seq, cmd, data=b"", code=0):
    head = bytes([0x81, (net_fn + 1) << 2])
    body = bytes([0x20, seq << 2, cmd, code]) + data
    return head + checksum(head) + body + checksum(body)


RMCP = bytes([0x06, 0x00, 0xFF, 0x07])


def v15(message, kind=0, seq=0, sid=0):
    head = RMCP + bytes([kind]) + struct.pack("<II", seq, sid)
    if kind:
        field = PASSWORD.ljust(16, b"\0")
        head += hashlib.md5(field + struct.pack("<I", sid) + message + struct.pack("<I", seq) + field).digest()
    return head + bytes([len(message)]) + message


def plus(payload_type, payload, sid=0, seq=0):
    return RMCP + bytes([0x06, payload_type]) + struct.pack("<IIH", sid, seq, len(payload)) + payload


def aes(key, vector, data):
    done = subprocess.run(["openssl", "enc", "-aes-128-cbc", "-nopad", "-K", key.hex(), "-iv", vector.hex()], input=data,
                          capture_output=True, check=True)
    return done.stdout


class Suite:
    def __init__(self, auth, integrity, hash_, cut, k_g):
        self.auth, self.integrity, self.hash, self.cut, self.k_g = auth, integrity, hash_, cut, k_g

    def hmac(self, key, data):
        return hmac.new(key, data, self.hash).digest()

    def seal(self, message, sid, seq, vector):
        pad = -(len(message) + 1) % 16
        plain = message + bytes(range(1, pad + 1)) + bytes([pad])
        payload = vector + aes(self.k2[:16], vector, plain)
        packet = plus(0xC0, payload, sid, seq)
        guarded = packet[4:]
        fill = -(len(guarded) + 2) % 4
        guarded += b"\xff" * fill + bytes([fill, 0x07])
        return RMCP + guarded + self.hmac(self.k1, guarded)[: self.cut]


# A session in both formats: request, data of the reply, completion code.
TALK = [
    ((0x06, 0x3B, b"\x04"), b"\x04", 0),                    # Set Session Privilege Level: administrator
    ((0x00, 0x01, b""), b"\x21\x00\x40\x00", 0),            # Get Chassis Status: on, policy previous, light off
    ((0x00, 0x02, b"\x00"), b"", 0),                        # Chassis Control: power down
    ((0x00, 0x01, b""), b"\x20\x00\x40\x00", 0),            # Get Chassis Status: off
    ((0x00, 0x02, b"\x02"), b"", 0xD5),                     # Chassis Control: cycle, refused while off
    ((0x06, 0x99, b""), b"", 0xC1),                         # no such command
]


def rmcp_plus(suite):
    dice = SplitMix64(SEED)
    say(">", v15(request(0x06, 0, 0x38, b"\x8e\x04")))
    status = 0x04 | (0x20 if suite.k_g else 0)
    say("<", v15(response(0x06, 0, 0x38, bytes([0x01, 0x80, status, 0x02, 0, 0, 0, 0]))))

    algorithms = b"".join(bytes([kind, 0, 0, 8, number, 0, 0, 0]) for kind, number in ((0, suite.auth), (1, suite.integrity), (2, 1)))
    say(">", plus(0x10, bytes([0x11, 0x04, 0, 0]) + struct.pack("<I", CONSOLE_ID) + algorithms))
    sid = dice.word() & 0xFFFFFFFF
    say("<", plus(0x11, bytes([0x11, 0x00, 0x04, 0]) + struct.pack("<II", CONSOLE_ID, sid) + algorithms))

    rm, role = bytes(range(0x40, 0x50)), 0x14
    named = bytes([role, len(USER)]) + USER
    say(">", plus(0x12, bytes([0x12, 0, 0, 0]) + struct.pack("<I", sid) + rm + bytes([role, 0, 0, len(USER)]) + USER))
    rc = dice.bytes(16)
    code = suite.hmac(PASSWORD, struct.pack("<II", CONSOLE_ID, sid) + rm + rc + GUID + named)
    say("<", plus(0x13, bytes([0x12, 0, 0, 0]) + struct.pack("<I", CONSOLE_ID) + rc + GUID + code))

    code = suite.hmac(PASSWORD, rc + struct.pack("<I", CONSOLE_ID) + named)
    say(">", plus(0x14, bytes([0x13, 0, 0, 0]) + struct.pack("<I", sid) + code))
    sik = suite.hmac(suite.k_g or PASSWORD, rm + rc + named)
    suite.k1, suite.k2 = suite.hmac(sik, b"\x01" * 20), suite.hmac(sik, b"\x02" * 20)
    check = suite.hmac(sik, rm + struct.pack("<I", sid) + GUID)[: suite.cut]
    say("<", plus(0x15, bytes([0x13, 0, 0, 0]) + struct.pack("<I", CONSOLE_ID) + check))

    talk = TALK + [((0x06, 0x3C, struct.pack("<I", sid)), b"", 0)]
    for number, ((net_fn, cmd, data), reply, code) in enumerate(talk, start=1):
        say(">", suite.seal(request(net_fn, number, cmd, data), sid, number, bytes([number] * 16)))
        say("<", suite.seal(response(net_fn, number, cmd, reply, code), CONSOLE_ID, number, dice.bytes(16)))


def version_15():
    dice = SplitMix64(SEED)
    say(">", v15(request(0x06, 0, 0x39, b"\x02" + USER.ljust(16, b"\0"))))
    temporary = dice.word() & 0xFFFFFFFF
    challenge = dice.bytes(16)
    say("<", v15(response(0x06, 0, 0x39, struct.pack("<I", temporary) + challenge)))
    outbound = 0x01020304
    data = b"\x02\x04" + challenge + struct.pack("<I", outbound)
    say(">", v15(request(0x06, 1, 0x3A, data), 2, 0, temporary))
    sid = dice.word() & 0xFFFFFFFF
    inbound = 1 + dice.bytes(1)[0]
    data = b"\x02" + struct.pack("<II", sid, inbound) + b"\x04"
    say("<", v15(response(0x06, 1, 0x3A, data), 2, outbound, temporary))
    talk = TALK + [((0x06, 0x3C, struct.pack("<I", sid)), b"", 0)]
    for number, ((net_fn, cmd, data), reply, code) in enumerate(talk, start=2):
        say(">", v15(request(net_fn, number, cmd, data), 2, inbound + number - 2, sid))
        say("<", v15(response(net_fn, number, cmd, reply, code), 2, outbound + number - 1, sid))


def main():
    which = sys.argv[1]
    print(f"# Written by tests/vectors/sim_known_answers.py {which}: computed with hashlib, hmac and openssl, not with our code.")
    if which == "suite3":
        rmcp_plus(Suite(1, 1, hashlib.sha1, 12, None))
    elif which == "suite17":
        rmcp_plus(Suite(3, 4, hashlib.sha256, 16, bytes.fromhex("00112233445566778899aabbccddeeff00112200")))
    elif which == "md5":
        version_15()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
