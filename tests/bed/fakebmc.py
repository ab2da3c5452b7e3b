#!/usr/bin/env python3
"""A simulated BMC made with pyghmi (PyPI), loopback only.

  fakebmc.py --dir D --port PORT --user admin --password secret [--kg KEY] [--suite 17]

A second implementation to test against, after ipmi_sim.  The host is kept by
chassis-hook.sh in directory D, with the same knobs and the same events.log.
Started by bed.py.

--suite 3 is pyghmi's own server as it is: whatever algorithms the client asks
for, it answers RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.  With --suite 17 the
session set-up below replaces pyghmi's: RAKP-HMAC-SHA256, HMAC-SHA256-128,
AES-CBC-128 and nothing else, as OpenBMC has it; a request for other algorithms
is refused, as are a wrong password and an unknown user, with the status codes
of the IPMI v2.0 specification.  ipmitool -C 17 and ipmipower -I 17 agree with it.
"""
import argparse
import hashlib
import hmac
import ipaddress
import os
import pathlib
import struct
import subprocess
import sys

from pyghmi.ipmi import bmc
from pyghmi.ipmi.private import constants, serversession, session

HOOK = pathlib.Path(__file__).resolve().parent / "chassis-hook.sh"
STATUS = {"bad_session": 0x02, "bad_auth": 0x04, "bad_integrity": 0x05, "bad_role": 0x09, "bad_user": 0x0D,
          "bad_code": 0x0F, "bad_conf": 0x10}


class Hook:
    """A host kept in files by the chassis hook."""

    def __init__(self, directory):
        self.dir = directory
        (directory / "knob").mkdir(parents=True, exist_ok=True)
        if not (directory / "power").exists():
            (directory / "power").write_text("1\n")

    def run(self, *words):
        done = subprocess.run([str(HOOK), str(self.dir), *words], capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stdout)
        return done.stdout

    def power(self):
        return self.run("get", "power").strip().endswith("1")

    def set(self, what, value="1"):
        self.run("set", what, value)


class Session17(serversession.ServerSession):
    """Session set-up with cipher suite 17.  pyghmi's packet layer does the rest."""

    def __init__(self, *args, **kw):
        self.established = False
        super().__init__(*args, **kw)
        self.currhashlib, self.currhashlen = hashlib.sha256, 16

    def mac(self, key, data):
        return hmac.new(key, bytes(data), hashlib.sha256).digest()

    def refuse(self, payload_type, tag, status):
        self.send_payload(bytearray([tag, STATUS[status], 0, 0]) + bytes(self.clientsessionid),
                          constants.payload_types[payload_type], retry=False)

    def create_open_session_response(self, request):
        self.clientsessionid = bytes(request[4:8])
        self.managedsessionid = os.urandom(4)
        self.privlevel = request[1] & 15 or 4
        for offset, want, why in ((12, 3, "bad_auth"), (20, 4, "bad_integrity"), (28, 1, "bad_conf")):
            if request[offset] & 0x3F != want:
                return bytearray([request[0], STATUS[why], 0, 0]) + self.clientsessionid
        return (bytearray([request[0], 0, self.privlevel, 0]) + self.clientsessionid + self.managedsessionid
                + bytearray([0, 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 8, 1, 0, 0, 0]))

    def _got_rmcp_openrequest(self, data):
        # A new session from the address and port of an old one.  pyghmi's own
        # server answers it inside the old session, which no client understands.
        self.confalgo = self.integrityalgo = self.sequencenumber = self.sessionid = 0
        self.established, self.remseqnumber, self.k1 = False, None, None
        super()._got_rmcp_openrequest(data)

    def _got_rakp1(self, data):
        tag, self.rolem = data[0], data[24]
        self.maxpriv = self.rolem & 7
        self.username = bytes(data[28:28 + data[27]])
        if bytes(data[4:8]) != self.managedsessionid:
            return self.refuse("rakp2", tag, "bad_session")
        password = self.authdata.get(self.username.decode("latin-1"))
        if password is None:
            return self.refuse("rakp2", tag, "bad_user")
        self.Rm, self.Rc = bytes(data[8:24]), os.urandom(16)
        self.kuid = password.encode()
        self.uuiddata = self.uuid.bytes
        who = bytes([self.rolem, len(self.username)]) + self.username
        code = self.mac(self.kuid, self.clientsessionid + self.managedsessionid + self.Rm + self.Rc + self.uuiddata + who)
        # The session integrity key and what follows from it.  The constants have
        # 20 bytes whatever the hash: what ipmitool, FreeIPMI and OpenBMC do.
        self.sik = self.mac(self.kg or self.kuid, self.Rm + self.Rc + who)
        self.expect3 = self.mac(self.kuid, self.Rc + self.clientsessionid + who)
        self.send_payload(bytearray([tag, 0, 0, 0]) + self.clientsessionid + self.Rc + self.uuiddata + code,
                          constants.payload_types["rakp2"], retry=False)

    def _got_rakp3(self, data):
        tag = data[0]
        if self.established or data[1] or not hasattr(self, "expect3"):
            return None
        if not hmac.compare_digest(bytes(data[8:40]), self.expect3):
            return self.refuse("rakp4", tag, "bad_code")
        self.k1 = self.mac(self.sik, b"\x01" * 20)
        self.k2 = self.mac(self.sik, b"\x02" * 20)
        self.aeskey = self.k2[:16]
        self.localsid = struct.unpack("<I", self.managedsessionid)[0]
        self.ipmicallback = self.handle_client_request
        code = self.mac(self.sik, self.Rm + self.managedsessionid + self.uuiddata)[:16]
        self.send_payload(bytearray([tag, 0, 0, 0]) + self.clientsessionid + code,
                          constants.payload_types["rakp4"], retry=False)
        self.confalgo, self.integrityalgo = "aes", "sha256"
        self.sequencenumber = 1
        self.sessionid = struct.unpack("<I", self.clientsessionid)[0]
        self.established = True
        return None


class Fake(bmc.Bmc):
    def __init__(self, host, suite, **kw):
        super().__init__(**kw)
        self.host, self.suite, self.clientpriv = host, suite, 2

    def get_power_state(self):
        return "on" if self.host.power() else "off"

    def do(self, what, value="1"):
        try:
            self.host.set(what, value)
        except OSError as e:
            print(what, "failed:", e, file=sys.stderr, flush=True)
            return 0xFF
        return 0

    def power_off(self):
        return self.do("power", "0")

    def power_on(self):
        return self.do("power", "1")

    def power_cycle(self):
        return self.do("power", "0") or self.do("power", "1")

    def power_reset(self):
        return self.do("reset")

    def pulse_diag(self):
        return self.do("diag")

    def power_shutdown(self):
        return self.do("shutdown")

    def get_system_guid(self):
        return self.uuid

    def sessionless_data(self, data, sockaddr):
        if self.suite == 17 and len(data) >= 48 and data[4] == 6 and data[5] == 16:
            Session17(self.authdata, self.kg, sockaddr, self.serversocket, bytearray(data)[16:], self.uuid, bmc=self)
            return
        super().sessionless_data(data, sockaddr)

    def send_cipher_suites(self, myaddr, mylun, clientaddr, clientlun, clientseq, data, sockaddr):
        if self.suite != 17:
            return super().send_cipher_suites(myaddr, mylun, clientaddr, clientlun, clientseq, data, sockaddr)
        # pyghmi's answer names suite 3: change that record before it is sent.
        real = session._io_sendto

        def patched(sock, packet, addr):
            p = bytearray(packet)
            at = p.rfind(b"\xc0\x03\x01\x41\x81")
            p[at:at + 5] = b"\xc0\x11\x03\x44\x81"
            p[-1] = -sum(p[-12:-1]) & 0xFF
            real(sock, p, addr)
        session._io_sendto = patched
        try:
            super().send_cipher_suites(myaddr, mylun, clientaddr, clientlun, clientseq, data, sockaddr)
        finally:
            session._io_sendto = real


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir", type=pathlib.Path, required=True, help="state of the host (chassis-hook.sh)")
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--user", default="admin")
    p.add_argument("--password", default="secret")
    p.add_argument("--kg")
    p.add_argument("--suite", type=int, default=3, choices=[3, 17])
    a = p.parse_args()
    if not ipaddress.ip_address(a.address).is_loopback:
        sys.exit("fakebmc: loopback addresses only")
    host = Hook(a.dir.resolve())
    server = Fake(host, a.suite, authdata={a.user: a.password}, port=a.port, address=a.address)
    if a.kg:
        server.set_kg(a.kg)
        # pyghmi does not say in Get Channel Authentication Capabilities that there
        # is a K_g; FreeIPMI then refuses to use one.
        cap = bytearray(server.authcap)
        cap[3] |= 0x20
        server.authcap = bytes(cap)
    print("ready", a.address, a.port, "suite", a.suite, flush=True)
    server.listen()


if __name__ == "__main__":
    main()
