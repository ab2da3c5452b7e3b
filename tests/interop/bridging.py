"""Messages to controllers behind a BMC: `rackbmc raw --bridge` and ipmitool ask the same, and must hear the same."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bed"))
from bed import ipmitool, ipmitool_15  # noqa: E402

# Get Device ID, which says in bytes 10 and 11 who it is.
ASK = ("6", "1")


def heard(said):
    """The bytes of an answer, or the completion code of a refusal, in what either program said."""
    code = re.search(r"(?:completion code|rsp=) ?0x([0-9a-f]{2})", said)
    return f"refused {code[1]}" if code else " ".join(re.findall(r"\b[0-9a-f]{2}\b", said.partition(":")[2] or said))


def ways(route):
    """ROUTE, a list of (channel, address) towards the controller, in the words of rackbmc and of ipmitool."""
    if not route:
        return (), ()
    ours = ("--bridge", ",".join(f"{channel}:{address:#x}" for channel, address in route))
    theirs = ("-b", str(route[-1][0]), "-t", f"{route[-1][1]:#x}")
    if len(route) == 2:
        theirs = ("-B", str(route[0][0]), "-T", f"{route[0][1]:#x}", *theirs)
    return ours, theirs


def check(c, d, node, bmc, version, routes):
    """ROUTES: what is said of it -> the route, and what is heard there: a product number, or "refused XX"."""
    for what, (route, want) in routes.items():
        ours, theirs = ways(route)
        status, said, _ = d.rackbmc("raw", node, *ASK, *ours)
        here = heard(said)
        ask = (ipmitool_15, "MD5") if version == "1.5" else (ipmitool, 3)
        there = heard(ask[0](bmc, ask[1], *theirs, "raw", *ASK)[1])
        if isinstance(want, int):
            low, high = want.to_bytes(2, "little")
            good = status == 0 and here.split()[9:11] == [f"{low:02x}", f"{high:02x}"]
        else:
            good = status == 1 and here == want
        c.check(f"{version}: {what}", good, said)
        # With 1.5, ipmitool keeps the completion code of a bridged refusal to itself.
        same = here == there or (version == "1.5" and here.startswith("refused") and not there)
        c.check(f"{version}: {what}: ipmitool hears the same", same, (here, there))
