"""What an operator does with one node, judged by what the host behind the BMC did.

Each journey takes the Checks, our Daemon, the node's name and its BMC, and leaves the machine on.
"""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bed"))
from bed import until  # noqa: E402


def looks_on(c, d, node, bmc):
    seen = d.wait_power(node, "power on", 20)
    c.check("the power state is read", seen.get("power_state") == "power on", seen)
    status, said, _ = d.rackbmc("status", node)
    c.check("rackbmc status shows it", status == 0 and "on" in said and node in said, said)
    c.check("looking changed nothing", bmc.words() == [], bmc.words())


def soft_off_and_on(c, d, node, bmc):
    bmc.forget()
    bmc.knob("soft_delay", 3000)
    status, said = d.power(node, "soft power off", 60)
    c.check("soft power off is accepted", status == 202, (status, said))
    seen = d.states(node)
    going = (seen.get("power_state"), seen.get("target_power_state")) == ("power on", "soft power off")
    c.check("while it runs the target is soft power off", going, seen)
    until(40, lambda: d.states(node).get("power_state") != "power on")
    at = time.time() * 1000
    seen = d.wait_power(node, "power off", 10)
    c.check("it is watched until off", seen.get("power_state") == "power off" and not seen.get("last_error"), seen)
    soft = bmc.events("soft")
    c.check("off is not said before it is so", soft and at >= soft[0][0] + 3000, (at, bmc.events()))
    c.check("one press of the button went out", bmc.words() == ["soft", "now-0"], bmc.words())

    bmc.forget()
    status, said, _ = d.rackbmc("soft", node, "--wait")
    c.check("soft off of a node that is off sends nothing", status == 0 and bmc.words() == [], (status, said, bmc.words()))
    status, said, _ = d.rackbmc("on", node, "--wait")
    c.check("rackbmc on --wait brings it back", status == 0 and bmc.is_on(), (status, said))
    c.check("with one power-on", bmc.words() == ["power-on", "now-1"], bmc.words())


def reboot(c, d, node, bmc):
    bmc.forget()
    status, said, _ = d.rackbmc("reboot", node, "--wait")
    c.check("rackbmc reboot --wait succeeds", status == 0 and bmc.is_on(), (status, said))
    want = ["power-off", "now-0", "power-on", "now-1"]
    c.check("a reboot is off, then on", bmc.words() == want, bmc.words())
    events = bmc.events()
    gap = events[2][0] - events[1][0] if bmc.words() == want else 0
    c.check("with the machine off for min_off_time between", gap >= 1950, f"{gap} ms")


def soft_reboot(c, d, node, bmc):
    bmc.forget()
    bmc.knob("soft_delay", 1500)
    status, said = d.power(node, "soft rebooting", 60)
    c.check("soft rebooting is accepted", status == 202, (status, said))
    until(40, lambda: bmc.words()[-1:] == ["now-1"])
    seen = d.wait_power(node, "power on", 20)
    c.check("a soft reboot is soft, off, on", bmc.words() == ["soft", "now-0", "power-on", "now-1"], bmc.words())
    c.check("and ends on", seen.get("power_state") == "power on" and not seen.get("last_error"), seen)


def nmi(c, d, node, bmc):
    bmc.forget()
    status, said = d.power(node, "inject nmi")
    c.check("inject nmi is accepted", status == 202, (status, said))
    until(10, lambda: bmc.words())
    time.sleep(2)
    c.check("one NMI reached the machine", bmc.words() == ["diag"], bmc.words())
    settle(d, node)


def abort_hung(c, d, node, bmc):
    bmc.forget()
    bmc.knob("soft_delay", "never")
    status, said = d.power(node, "soft power off", 60)
    c.check("soft power off of a hung OS is accepted", status == 202, (status, said))
    until(10, lambda: bmc.words())
    began = time.monotonic()
    status, said = d.power(node, "power on")
    took = time.monotonic() - began
    c.check("a second request meanwhile is told 409, at once", status == 409 and took < 1, (status, took, said))
    status, said, _ = d.rackbmc("abort", node)
    seen = d.states(node)
    c.check("rackbmc abort succeeds", status == 0, (status, said))
    c.check("then the power state is error, without a target",
            (seen.get("power_state"), seen.get("target_power_state")) == ("error", None), seen)
    c.check("and last_error says so", "abort" in (seen.get("last_error") or ""), seen)
    c.check("the task is aborted", d.last_task(node).get("state") == "aborted", d.last_task(node))
    time.sleep(3)
    c.check("nothing more was sent", bmc.words() == ["soft"] and bmc.is_on(), bmc.words())
    seen = d.wait_power(node, "power on", 30)
    c.check("the next sync reads the truth", seen.get("power_state") == "power on", seen)


def roll_back(c, d, node, bmc):
    """A soft off that is taken back while the machine goes down: it is powered on again."""
    bmc.forget()
    bmc.knob("soft_delay", 4000)
    d.power(node, "soft power off", 60)
    until(10, lambda: bmc.words())
    status, said = d.control(d.last_task(node), "rollback")
    c.check("a rollback is accepted", status in (200, 202), (status, said))
    task = d.wait_task(d.last_task(node), 90)
    c.check("the task ends rolled back", task.get("state") == "rolled back", task)
    c.check("the machine went down and is on again", bmc.words() == ["soft", "now-0", "power-on", "now-1"], bmc.words())


def suspend(c, d, node, bmc):
    """A soft reboot that stands still between off and on: pull the cable now."""
    bmc.forget()
    bmc.knob("soft_delay", 2500)
    d.power(node, "soft rebooting", 60)
    until(10, lambda: bmc.words())
    status, said = d.control(d.last_task(node), "suspend")
    c.check("a suspend is accepted", status in (200, 202), (status, said))
    time.sleep(8)
    task = d.last_task(node)
    c.check("a suspended task sends nothing", "power-on" not in bmc.words(), bmc.words())
    c.check("and says that it is suspended", task.get("state") == "suspended" and task.get("may_resume"), task)
    status, said = d.control(task, "resume")
    c.check("a resume is accepted", status in (200, 202), (status, said))
    task = d.wait_task(task, 40)
    c.check("the task ends as it would have", task.get("state") == "succeeded", task)
    c.check("with one soft and one on", bmc.words() == ["soft", "now-0", "power-on", "now-1"], bmc.words())


def crash(c, d, node, bmc):
    """The daemon is killed while it waits for a machine to go down."""
    bmc.forget()
    bmc.knob("soft_delay", 5000)
    d.power(node, "soft rebooting", 60)
    until(10, lambda: bmc.words())
    before = d.last_task(node)
    d.kill()
    d.start()
    after = d.last_task(node)
    c.check("a killed daemon finds its task again", before.get("id") and after.get("id") == before["id"], (before, after))
    task = d.wait_task(before, 60)
    c.check("and ends it rightly", task.get("state") == "succeeded" and bmc.is_on(), task)
    c.check("nothing was sent twice", bmc.words() == ["soft", "now-0", "power-on", "now-1"], bmc.words())


def settle(d, node, seconds=150):
    """Waits for the end of a node's task."""
    return d.wait_task(d.last_task(node), seconds)


ALL = (looks_on, soft_off_and_on, reboot, soft_reboot, nmi, abort_hung, roll_back, suspend, crash)
