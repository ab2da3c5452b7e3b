"""The testbed: BMCs and machines that are not ours, on loopback, for the scripts of ../interop.

  Bed       a directory of its own, and everything started in it; ends all of it, and only that, at the end
  IpmiSim   one BMC of OpenIPMI's ipmi_sim (suites 0 to 3, 6, IPMI 1.5), its host kept in files or a QEMU guest
  FakeBmc   one BMC of pyghmi (suite 3), or with a session set-up of our own (suite 17)
  Relay     the way to a BMC through a bad network
  Checks    "ok", "FAIL" lines and their count

What a host did is in `events()`: that, not the answer of the client under test, is what a test asserts on.
Ports are the kernel's choice.  Needs the packages named in ../run.
"""
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USER, PASSWORD = "admin", "secret"

# user NUMBER enabled NAME PASSWORD privilege-limit max-sessions auths
LAN_CONF = """\
name "{name}"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid 524143420000000000000000{port:08x}
    {kg}
  endlan
  {host}
  user 1 false "" "" user 10 none md2 md5 straight
  user 2 true "admin" "secret" admin 60 none md2 md5 straight
  user 3 true "viewer" "secret" user 10 none md2 md5 straight
  user 4 true "operator" "secret" operator 60 none md2 md5 straight
loadlib "{module}" "{mode}:{dir}:{hook}"
"""
# A management controller with an event log; 0x9f: chassis, bridge, events, FRU, SEL, SDR, sensor.
EMU = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
# A controller behind it, on the same IPMB; 0xdf: also a bridge, though it refuses to pass anything on.
SATELLITE = """\
mc_add {address:#x} 0 no-device-sdrs 0x23 9 8 0xdf 0x1291 {address:#x}
mc_enable {address:#x}
"""
# A host under QEMU: the BMC's system interface (channel 15) is a TCP port that QEMU's external BMC device connects
# to; ipmi_sim starts and stops QEMU itself.
GUEST_HOST = """\
serial 15 127.0.0.1 {port} codec VM
  startcmd "{qemu}"
  startnow true
  poweroff_wait 5
  kill_wait 5"""
QEMU = (
    "qemu-system-x86_64 -name {name} -machine pc -accel tcg,tb-size=32 -cpu max -m 128M -smp 1"
    " -nodefaults -no-user-config -display none"
    " -chardev file,id=console,path={dir}/console.log,append=on -serial chardev:console"
    " -kernel {guest}/vmlinuz -initrd {guest}/initrd.gz -append '{append}'"
    " -chardev socket,id=ipmi0,host=127.0.0.1,port={port},reconnect=1"
    " -device ipmi-bmc-extern,id=bmc0,chardev=ipmi0 -device isa-ipmi-kcs,bmc=bmc0"
)


def free_port():
    """A port of 127.0.0.1 that nobody uses, neither with UDP nor with TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]
            except OSError:
                pass


def until(seconds, condition, every=0.05):
    """Waits for CONDITION() to be true; returns its last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value
        time.sleep(every)


def ipmitool(bmc, suite, *words):
    """Runs ipmitool against BMC; returns its exit status and what it said."""
    done = subprocess.run(
        ["ipmitool", "-I", "lanplus", "-C", str(suite), "-H", "127.0.0.1", "-p", str(bmc.port), "-U", USER, "-P", PASSWORD,
         "-N", "1", "-R", "3", *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout + done.stderr


def ipmitool_15(bmc, auth, *words):
    """The same with IPMI 1.5."""
    done = subprocess.run(
        ["ipmitool", "-I", "lan", "-A", auth, "-H", "127.0.0.1", "-p", str(bmc.port), "-U", USER, "-P", PASSWORD, *words],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout + done.stderr


def ipmipower(port, suite, action, *more):
    """Runs FreeIPMI's ipmipower; returns its exit status and what it said."""
    done = subprocess.run(
        ["ipmipower", "-D", "LAN_2_0", "-I", str(suite), "-l", "ADMIN", "-h", f"127.0.0.1:{port}", "-u", USER, "-p", PASSWORD,
         *more, f"--{action}"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout + done.stderr


class Checks:
    """One line a check; the last line says how many."""

    def __init__(self, title):
        self.title, self.passed, self.failed = title, 0, 0
        self.began = time.monotonic()

    def check(self, claim, good, found=""):
        """Notes one check; GOOD says whether it holds, FOUND what was seen instead."""
        if good:
            self.passed += 1
            print(f"ok   {self.title}: {claim}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {self.title}: {claim}: {str(found).strip()[:600] or 'no'}", flush=True)
        return bool(good)

    def end(self):
        """Prints the counts and ends the program: status 1 after a failure, or when nothing was checked."""
        print(f"{self.title}: {self.passed} passed, {self.failed} failed in {time.monotonic() - self.began:.0f} s", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


class Bed:
    """A directory of its own and everything that is started in it."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rackbmcd-bed."))
        self.started = []
        # Also at SIGTERM everything is ended.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for thing in reversed(self.started):
            thing.stop()
        if os.environ.get("KEEP_BED"):
            print("kept:", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def add(self, thing):
        self.started.append(thing)
        return thing

    def sim(self, name, **options):
        return self.add(IpmiSim(self.dir, name, **options))

    def fake(self, name, **options):
        return self.add(FakeBmc(self.dir, name, **options))

    def relay(self, bmc, **faults):
        return self.add(Relay(self.dir, bmc, **faults))


class Process:
    """A program that was started here, with its output in a file."""

    def __init__(self, argv, log, env=None):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                          env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self.child.pid

    def said(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def stop(self, patience=10):
        """Ends it: SIGTERM, and SIGKILL when that does not help."""
        # One that a test paused with SIGSTOP must be woken to die.
        for number in (signal.SIGTERM, signal.SIGCONT):
            self.signal(number)
        try:
            return self.child.wait(patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()


class Host:
    """The machine behind a BMC, kept in files by chassis-hook.sh."""

    def __init__(self, directory, knobs):
        self.dir = directory
        (directory / "knob").mkdir(parents=True)
        (directory / "power").write_text("1\n")
        for name, value in knobs.items():
            self.knob(name, value)

    def knob(self, name, value):
        """Changes how the host behaves while it runs; the names are in chassis-hook.sh."""
        new = self.dir / "knob" / (name + ".new")
        new.write_text(f"{value}\n")
        new.rename(self.dir / "knob" / name)

    def events(self, word=None):
        """What the host did: (milliseconds, word) pairs, all or those of one word."""
        try:
            lines = (self.dir / "events.log").read_text().split("\n")
        except FileNotFoundError:
            return []
        pairs = [(int(ms), what) for ms, what in (line.split() for line in lines if line)]
        return [p for p in pairs if word in (None, p[1])]

    def words(self):
        """The words of all events, in order."""
        return [what for _, what in self.events()]

    def forget(self):
        """Begins a new page of the event log."""
        (self.dir / "events.log").unlink(missing_ok=True)

    def shut_down(self):
        """Its operating system goes down by itself, long after it was asked to."""
        (self.dir / "power.new").write_text("0\n")
        (self.dir / "power.new").rename(self.dir / "power")

    def is_on(self):
        return (self.dir / "power").read_text().strip() == "1"


class IpmiSim(Host):
    """One BMC of ipmi_sim.  GUEST is a directory with vmlinuz and initrd.gz: its host is then a QEMU machine.
    SATELLITES are slave addresses of controllers behind it, each of which has its address as its product number."""

    def __init__(self, work, name, kg=None, guest=None, append="", satellites=(), **knobs):
        self.name, self.guest = name, guest
        super().__init__(work / name, knobs)
        (self.dir / "state").mkdir()
        # Copies in the bed, for ipmi_sim stops caring about quotes and blanks in paths.
        hook = pathlib.Path(shutil.copy(HERE / "chassis-hook.sh", work))
        if guest:
            for part in ("vmlinuz", "initrd.gz"):
                if not (work / part).exists():
                    (work / part).symlink_to(pathlib.Path(guest).resolve() / part)
        module = work / "bmc_ext.so"
        if not module.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(module), str(HERE / "bmc_ext.c")], check=True)
        (self.dir / "bmc.emu").write_text(EMU + "".join(SATELLITE.format(address=address) for address in satellites))
        # Between the choice of a port and its use somebody else may take it: then another one.
        for _ in range(5):
            self.port = free_port()
            host = f'chassis_control "{hook} {self.dir}"'
            if guest:
                words = f"console=ttyS0 quiet {append}".strip()
                qemu = QEMU.format(name=name, dir=self.dir, guest=work, append=words, port=self.port)
                host = GUEST_HOST.format(port=self.port, qemu=qemu)
            (self.dir / "lan.conf").write_text(LAN_CONF.format(
                name=name, port=self.port, kg=f'bmc_key "{kg}"' if kg else "", host=host, module=module,
                mode="vm" if guest else "hook", dir=self.dir, hook=hook))
            self.start()
            if until(10, lambda: not self.process.alive() or self.answers()) and self.process.alive():
                return
            self.process.stop()
        sys.exit(f"{name} did not come up: {self.process.said()}")

    def start(self):
        """Starts the BMC, also again after stop(): it has then lost its sessions."""
        self.process = Process(["ipmi_sim", "-c", str(self.dir / "lan.conf"), "-f", str(self.dir / "bmc.emu"),
                                "-s", str(self.dir / "state"), "-n"], self.dir / "sim.log")

    def answers(self):
        """True when an RMCP presence ping gets its pong."""
        ping = bytes.fromhex("0600ff06" "000011be" "80010000")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.sendto(ping, ("127.0.0.1", self.port))
                return s.recv(64)[8:9] == b"\x40"
            except OSError:
                return False

    def guests(self):
        """The processes of QEMU that this BMC started."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
                return [int(pid) for pid in f.read().split()]
        except OSError:
            return []

    def console(self):
        """What the guest wrote to its serial console."""
        try:
            return (self.dir / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def pause(self):
        """The BMC goes deaf."""
        self.process.signal(signal.SIGSTOP)

    def unpause(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        guests = self.guests()
        self.process.stop()
        for pid in guests:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class FakeBmc(Host):
    """One BMC of pyghmi; SUITE 3 is pyghmi's own server, 17 has a session set-up of ours."""

    def __init__(self, work, name, suite=3, kg=None, **knobs):
        self.name = name
        super().__init__(work / name, knobs)
        for _ in range(5):
            self.port = free_port()
            argv = [sys.executable, str(HERE / "fakebmc.py"), "--dir", str(self.dir), "--port", str(self.port),
                    "--suite", str(suite), "--user", USER, "--password", PASSWORD, *(["--kg", kg] if kg else [])]
            self.process = Process(argv, self.dir / "fakebmc.log")
            if until(15, lambda: not self.process.alive() or "ready" in self.process.said()) and self.process.alive():
                return
        sys.exit(f"{name} did not come up: {self.process.said()}")

    def stop(self):
        self.process.stop()


class Relay:
    """The way to a BMC through a network with faults: see relay.py."""

    def __init__(self, work, bmc, **faults):
        fd, log = tempfile.mkstemp(prefix="relay.", dir=work)
        os.close(fd)
        self.seen = pathlib.Path(log)
        argv = [sys.executable, str(HERE / "relay.py"), "--to", f"127.0.0.1:{bmc.port}", "--log", log]
        for name, value in faults.items():
            argv += [f"--{name}", str(value)]
        self.process = Process(argv, log + ".out")
        if not until(15, lambda: "ready" in self.process.said()):
            sys.exit(f"relay did not come up: {self.process.said()}")
        self.port = int(self.process.said().split()[1])

    def count(self, payload_type):
        """How many datagrams of an RMCP+ payload type (18: RAKP 1) the client sent."""
        return self.seen.read_text().split("\n").count(f"to-target seen {payload_type}")

    def stop(self):
        self.process.stop()


class Capture:
    """The packets of some UDP ports, taken down by tshark; `check` verifies them with the keys in hand."""

    def __init__(self, work, ports):
        self.file, self.ports = work / "run.pcap", ports
        what = " or ".join(f"udp port {p}" for p in ports)
        self.process = Process(["tshark", "-q", "-i", "lo", "-f", what, "-w", str(self.file)], work / "tshark.log")
        # The file is opened a moment before the first packet can be taken down.
        if not until(20, lambda: not self.process.alive() or "Capturing on" in self.process.said()) or not self.process.alive():
            sys.exit(f"tshark does not capture on lo: {self.process.said()}")
        until(10, lambda: self.file.exists() and self.file.stat().st_size > 0)
        time.sleep(1)

    def stop(self):
        if self.process.alive():
            time.sleep(1)
            self.process.signal(signal.SIGINT)
            select.select([], [], [], 0.1)
            self.process.stop()

    def check(self, *more):
        """Runs check_capture.py; returns its exit status and what it said."""
        argv = [sys.executable, str(HERE / "check_capture.py"), str(self.file), "--password", PASSWORD, *more]
        for port in self.ports:
            argv += ["--port", str(port)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def malformed(self):
        """Packets that Wireshark cannot dissect, or warns about."""
        argv = ["tshark", "-r", str(self.file), "-Y", "_ws.malformed || _ws.expert.severity >= warning"]
        for port in self.ports:
            argv += ["-d", f"udp.port=={port},rmcp"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
