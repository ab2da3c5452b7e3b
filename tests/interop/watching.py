#!/usr/bin/env python3
"""What watches the daemon, for real: promtool over /metrics and the rules, a Prometheus that scrapes it with our configuration,
every query of the dashboard in it, and the lines for Nagios.

    watching.py BIN     the directory with prometheus and promtool
"""
import json
import pathlib
import re
import subprocess
import sys
import urllib.parse
import urllib.request

from daemon import BRISK, Daemon
from simulator import simulator
from bed import ROOT, Bed, Checks, Process, free_port, until

TOOLS = pathlib.Path(sys.argv[1])
ETC = ROOT / "etc"


def tool(*argv, stdin=None):
    done = subprocess.run([str(TOOLS / "promtool"), *map(str, argv)], input=stdin or "", capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def fetch(url, accept=None):
    """The media type and the text of an answer."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def formats(c, url):
    """Both formats, as they are asked for."""
    plain = "text/plain; version=0.0.4; charset=utf-8"
    opened = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    for accept, expected in [
        (None, plain), ("*/*", plain), ("text/plain;version=0.0.4", plain), ("application/openmetrics-text", opened),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.8", plain),
        ("application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", opened),
    ]:
        kind, text = fetch(url, accept)
        ends = text.endswith("# EOF\n")
        c.check(f"Accept: {accept}", kind == expected and ends == (expected == opened), (kind, text[-60:]))
    text = fetch(url, "text/plain")[1]
    status, said = tool("check", "metrics", stdin=text)
    c.check("promtool has nothing to say about the metrics", (status, said.strip()) == (0, ""), said)
    without = [line for line in text.splitlines() if not line.startswith("#") and 'rack="bed"' not in line]
    c.check("every series has its rack", not without, without[:5])
    return text


def busy(c, d, sims):
    """Something of everything that the dashboard shows."""
    for words in (("off", "n1"), ("on", "n1"), ("power-use", "n1", "n2"), ("raw", "n2", "0x06", "0x77"), ("off", "n4", "--timeout", "5s")):
        d.rackbmc(*words, "-y") if words[0] in ("on", "off") else d.rackbmc(*words)
    sims[1].signal(19)  # n2's BMC goes deaf
    d.rackbmc("status", "n2", "--fresh")
    sims[1].signal(18)


def queries():
    """Each query of the dashboard with its panel, for all racks, and the labels that its legend names."""
    board = json.loads((ETC / "grafana/rackbmcd.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$rack", ".*"), re.findall(r"{{(\w+)}}", target["legendFormat"])


def is_one_line_for_two_hosts(query):
    """Whether the hosts of a rack, which tell of the same nodes, are shown as one. What is counted in a life is of the host that did it."""
    gauges = re.findall(r"(max(?: by \([^)]*\))? ?\()?(rackbmc_\w+)", query)
    return all(around or re.search(r"_(total|bucket)$", name) for around, name in gauges)


def main():
    c = Checks("watching")
    for words in (("check", "rules", ETC / "prometheus/rules.yml"), ("test", "rules", ETC / "prometheus/rules_test.yml"),
                  ("check", "config", ETC / "prometheus/scrape.yml")):
        status, said = tool(*words)
        c.check(f"promtool {words[0]} {words[1]}", status == 0, said)
    tested = (ETC / "prometheus/rules_test.yml").read_text()
    alerts = re.findall(r"alert: (\w+)", (ETC / "prometheus/rules.yml").read_text())
    untested = [alert for alert in alerts if not re.search(rf"alertname: {alert}\b", tested)]
    undone = [alert for alert in alerts if f"| {alert} |" not in (ROOT / "docs/operations.md").read_text()]
    c.check("every alert is tested, and docs/operations.md says what to do", alerts and not untested and not undone, (untested, undone))

    with Bed() as bed:
        sims = [simulator(bed)[0] for _ in range(2)]
        ports = [int(re.search(r"127\.0\.0\.1\D+(\d+)", sim.said())[1]) for sim in sims]
        bmcs = [type("Bmc", (), {"port": port}) for port in ports]
        wrong = simulator(bed, secret="another")[1]
        dead = type("Bmc", (), {"port": free_port()})
        port, prometheus = free_port(), free_port()
        nodes = {"n1": bmcs[0], "n2": bmcs[1], "n3": wrong, "n4": dead}
        # Two simulators name their BMCs alike, and so give their first ones the same GUID.
        defaults = {**BRISK, "bmc_identity": "off"}
        d = Daemon(bed, nodes, api={"tcp": f"127.0.0.1:{port}", "auth": "none"}, defaults=defaults, sync="5s")
        until(30, lambda: d.states("n1").get("power_state") == "power on")

        scrape = (ETC / "prometheus/scrape.yml").read_text().replace("127.0.0.1:6385", f"127.0.0.1:{port}").replace("30s", "1s")
        (bed.dir / "prometheus.yml").write_text(f"rule_files: ['{ETC}/prometheus/rules.yml']\n" + scrape)
        server = bed.add(Process([str(TOOLS / "prometheus"), f"--config.file={bed.dir}/prometheus.yml", f"--storage.tsdb.path={bed.dir}/tsdb",
                                  f"--web.listen-address=127.0.0.1:{prometheus}"], bed.dir / "prometheus.log"))

        def ask(query):
            try:
                text = fetch(f"http://127.0.0.1:{prometheus}/api/v1/query?query={urllib.parse.quote(query)}")[1]
            except OSError as error:
                return {"status": str(error)}
            return json.loads(text)

        up = until(30, lambda: ask('up{job="rackbmcd"} == 1').get("data", {}).get("result"), every=0.5)
        c.check("Prometheus scrapes the daemon with our configuration", up, (ask("up"), server.said()[-500:]))
        busy(c, d, sims)
        formats(c, f"http://127.0.0.1:{port}/metrics")
        for title, query, legend in queries():
            found = until(15, lambda: (answer := ask(query)).get("status") != "success" or answer["data"]["result"], every=0.5)
            answer = ask(query)
            c.check(f"dashboard, {title}: {query}", found and answer.get("status") == "success", answer)
            series = answer.get("data", {}).get("result", [])
            c.check(f"dashboard, {title}: the legend", all(label in one["metric"] for one in series for label in legend), (legend, series[:2]))
            c.check(f"dashboard, {title}: two hosts of one rack", is_one_line_for_two_hosts(query), query)
        held = ask("rackbmc_bmc_log_in_held == 1").get("data", {}).get("result", [])
        c.check("the node with the wrong password is held", [r["metric"]["node"] for r in held] == ["n3"], held)

        def faults():
            return {r["metric"]["node"] for r in ask("rackbmc_node_fault == 1")["data"]["result"]}
        c.check("the nodes that cannot be read have a fault", until(60, lambda: faults() == {"n3", "n4"}, every=0.5), faults())
        table = next(query for title, query, _ in queries() if title == "What is not as it should be")
        rows = {(r["metric"]["node"], r["metric"]["what"]) for r in ask(table)["data"]["result"]}
        expected = {("n3", "it cannot be read"), ("n4", "it cannot be read"), ("n4", "the BMC does not answer")}
        c.check("the table of the dashboard says what is wrong with which node", expected <= rows and not {n for n, _ in rows} & {"n1", "n2"}, rows)
        known = set(re.findall(r"\brackbmc_\w+?(?=_bucket\b|_total\b|\b)", " ".join(q for _, q, _ in queries()) + (ETC / "prometheus/rules.yml").read_text()))
        told = (ROOT / "docs/watching.md").read_text()
        c.check("docs/watching.md knows every family", all(name in told for name in known), [n for n in known if n not in told])

        for line in re.findall(r"command_line\s+(.*)", (ETC / "nagios/rackbmcd.cfg").read_text()):
            words = line.replace("$ARG1$", "n1").split()[1:]
            status, said, _ = d.rackbmc(*words)
            c.check(f"rackbmc {' '.join(words)}", status in (0, 1, 2) and "|" in said and len(said.strip().splitlines()) == 1, (status, said))
    c.end()


if __name__ == "__main__":
    main()
