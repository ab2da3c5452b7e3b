#!/usr/bin/env python3
"""Computes whole RMCP+ sessions, packet by packet, from the tables of IPMI v2.0 rev 1.1, with Python's hashlib and hmac
(and PyPI's `cryptography` for AES-CBC): an implementation that shares nothing with the one under test.

    python3 make_sessions.py > sessions.txt

The console's "random" numbers are fixed so that the engine's packets can be compared byte by byte: every 8 byte draw is
0123_4567_89AB_CDEFh, the nth draw of 16 bytes is 16 times the byte n (the console's random number is the first, the
initialisation vectors follow). Lines: "= suite K_G(hex or -)", then "> hex" to the BMC and "< hex" from it.
"""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

USER, PASSWORD, LEVEL = b"admin", b"secret", 3
DRAW = 0x0123456789ABCDEF
CONSOLE, BMC = DRAW & 0xFFFFFFFF, 0x11223344
RM, RC, GUID = bytes(16), bytes(range(0x80, 0x90)), bytes(range(0x40, 0x50))
HASH = {1: hashlib.sha1, 2: hashlib.md5, 3: hashlib.sha256}
#        suite: (authentication, integrity, confidentiality)
SUITES = {0: (0, 0, 0), 1: (1, 0, 0), 2: (1, 1, 0), 3: (1, 1, 1), 6: (2, 0, 0), 7: (2, 2, 0), 8: (2, 2, 1),
          11: (2, 3, 0), 12: (2, 3, 1), 15: (3, 0, 0), 16: (3, 4, 0), 17: (3, 4, 1)}


def checksum(data):
    return bytes([-sum(data) & 0xFF])


def message(to, net_fn, source, sequence, command, data):
    head = bytes([to, net_fn << 2])
    body = bytes([source, sequence << 2, command]) + data
    return head + checksum(head) + body + checksum(body)


def rmcp(data):
    return bytes([6, 0, 0xFF, 7]) + data


def outside15(data):
    return rmcp(bytes(9) + bytes([len(data)]) + data)


def setup(kind, data):
    return rmcp(struct.pack("<BBIIH", 6, kind, 0, 0, len(data)) + data)


def session(suite, kg):
    auth, integrity, confidentiality = SUITES[suite]
    lines = [f"= {suite} {kg.hex() or '-'}"]
    out = lambda data: lines.append("> " + data.hex())
    back = lambda data: lines.append("< " + data.hex())

    def mac(key, data):
        return hmac.new(key, data, HASH[auth]).digest() if auth else b""

    sequence = DRAW % 64
    out(outside15(message(0x20, 6, 0x81, sequence, 0x38, bytes([0x8E, LEVEL]))))
    back(outside15(message(0x81, 7, 0x20, sequence, 0x38, bytes([0, 1, 0x97, 0x24 if kg else 4, 3, 0, 0, 0, 0]))))

    blocks = b"".join(bytes([n, 0, 0, 8, a, 0, 0, 0]) for n, a in enumerate(SUITES[suite]))
    tag = DRAW % 255 + 1
    out(setup(0x10, bytes([tag, LEVEL, 0, 0]) + struct.pack("<I", CONSOLE) + blocks))
    back(setup(0x11, bytes([tag, 0, LEVEL, 0]) + struct.pack("<II", CONSOLE, BMC) + blocks))

    role = bytes([LEVEL | 0x10])
    name = bytes([len(USER)]) + USER
    tag += 1
    out(setup(0x12, bytes([tag, 0, 0, 0]) + struct.pack("<I", BMC) + RM + role + b"\0\0" + name))
    ids = struct.pack("<II", CONSOLE, BMC)
    back(setup(0x13, bytes([tag, 0, 0, 0]) + struct.pack("<I", CONSOLE) + RC + GUID
               + mac(PASSWORD, ids + RM + RC + GUID + role + name)))
    tag += 1
    out(setup(0x14, bytes([tag, 0, 0, 0]) + struct.pack("<I", BMC)
              + mac(PASSWORD, RC + struct.pack("<I", CONSOLE) + role + name)))
    sik = mac(kg or PASSWORD, RM + RC + role + name)
    cut = {0: 0, 1: 12, 2: 16, 3: 16}[auth]
    back(setup(0x15, bytes([tag, 0, 0, 0]) + struct.pack("<I", CONSOLE)
               + mac(sik, RM + struct.pack("<I", BMC) + GUID)[:cut]))
    k1, k2 = mac(sik, b"\x01" * 20), mac(sik, b"\x02" * 20)

    def sealed(to, number, data, iv):
        kind = 0
        if confidentiality:
            kind |= 0x80
            pad = -(len(data) + 1) % 16
            plain = data + bytes(range(1, pad + 1)) + bytes([pad])
            cipher = Cipher(algorithms.AES(k2[:16]), modes.CBC(iv)).encryptor()
            data = iv + cipher.update(plain) + cipher.finalize()
        if integrity:
            kind |= 0x40
        packet = struct.pack("<BBIIH", 6, kind, to, number, len(data)) + data
        if integrity:
            pad = -(len(packet) + 2) % 4
            packet += b"\xFF" * pad + bytes([pad, 7])
            password = PASSWORD.ljust(20, b"\0")
            packet += {1: lambda: mac(k1, packet)[:12], 2: lambda: mac(k1, packet)[:16],
                       3: lambda: hashlib.md5(password + packet + password).digest(),
                       4: lambda: mac(k1, packet)[:16]}[integrity]()
        return rmcp(packet)

    commands = [
        (6, 0x3B, bytes([LEVEL]), bytes([0, LEVEL])),           # Set Session Privilege Level
        (0, 0x01, b"", bytes([0, 0x21, 0x10, 0x40, 0x70])),     # Get Chassis Status: on
        (0, 0x02, bytes([5]), bytes([0xD5])),                   # Chassis Control, soft: not in present state
        (6, 0x3C, struct.pack("<I", BMC), bytes([0])),          # Close Session
    ]
    for number, (net_fn, command, data, answer) in enumerate(commands, 1):
        out(sealed(BMC, number, message(0x20, net_fn, 0x81, number, command, data), bytes([number] * 16)))
        back(sealed(CONSOLE, number, message(0x81, net_fn | 1, 0x20, number, command, answer),
                    bytes([0xB0 + number] * 16)))
    return lines


if __name__ == "__main__":
    print("# Made by make_sessions.py with hashlib, hmac and PyPI's cryptography. User admin, password secret, operator.")
    for suite in SUITES:
        print("\n".join(session(suite, b"")))
    for suite in (3, 17):
        print("\n".join(session(suite, b"k\0g of 20 bytes:\x00\x01\x02\x03")))
