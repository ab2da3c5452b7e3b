"""TLS between a host and etcd: whom the host believes, and whom etcd does. A part of ha.py, in its namespaces."""
import signal

from daemon import BIN
from authority import Authority
from bed import Bed, until
from pair import ETCD_NET, Etcd, Host, Sim, owner_of, sh

WITH_TLS = BIN / "tls"


def authority_of(bed):
    """An authority, certificates for etcd's members, one for a host, and some that will not do."""
    authority = Authority(bed.dir / "authority")
    here = [f"{ETCD_NET}.{number}" for number in range(1, 4)]
    authority.sign("expired", addresses=here, expired=True)
    authority.sign("server", addresses=here)
    authority.sign("elsewhere", addresses=[f"{ETCD_NET}.99"])
    authority.sign("client")
    # Etcd takes it for a user once it has users.
    authority.sign("named", subject="/CN=somebody")
    return authority


def not_trusted(c, etcd):
    """Certificates that will not do are refused by --check-etcd, and by the daemon, with a clear word."""
    with Bed() as bed:
        authority, stranger = authority_of(bed), Authority(bed.dir / "stranger")
        stranger.sign("client")
        sim = Sim(bed, WITH_TLS, 2)
        keys = authority.as_keys("client")
        member = Etcd(bed, etcd, authority=authority)
        c.check("etcd is there, over TLS", until(15, member.healthy), member.process.said()[-500:])
        host = Host(bed, WITH_TLS, "a", sim, [member], etcd=keys)
        good = host.config.read_text()

        def refused(what, words, old="", new=""):
            host.config.write_text(good.replace(old, new) if old else good)
            done = host.run("--check-etcd")
            said = done.stdout + done.stderr
            c.check(f"{what}: --check-etcd refuses it and says why", done.returncode == 78 and words in said, said)
            host.start()
            told = until(10, lambda: words in host.said())
            c.check(f"{what}: so does the daemon, and does not own the rack", told and not host.owns(), host.said()[-1500:])
            host.stop()
            host.config.write_text(good)

        done = host.run("--check-etcd")
        c.check("--check-etcd finds etcd good over TLS", done.returncode == 0 and "good" in done.stdout, done.stdout + done.stderr)
        refused("an authority that etcd's certificate is not of", f"none of the authorities in {stranger.path('ca.crt')} has signed its certificate",
                authority.path("ca.crt"), stranger.path("ca.crt"))
        refused("no certificate of ours", "it wants to be shown a certificate",
                keys, f'ca_file = "{authority.path("ca.crt")}"')
        refused("a certificate of ours that another authority has signed", "it does not take our certificate",
                keys, stranger.as_keys("client", authority.path("ca.crt")))
        refused("our certificate is over", "it does not take our certificate", keys, authority.as_keys("expired"))
        refused("http:// to an etcd with TLS", "where it speaks TLS, write https:// and ca_file", "https://10", "http://10")
        for name, words in (("expired", "its certificate was valid until"), ("elsewhere", f"its certificate is not for {ETCD_NET}.1, but for")):
            member.kill()
            member = Etcd(bed, etcd, authority=authority, certificate=name)
            until(15, lambda: '"health"' in sh(*member.curl, "-k", member.url + "/health").stdout)
            refused(f"etcd's certificate is that called {name}", words)
        member.kill()
        member = Etcd(bed, etcd)
        c.check("etcd is there, without TLS", until(15, member.healthy), member.process.said()[-500:])
        refused("https:// to an etcd without TLS", "does it speak TLS?")
        member.kill()
        member = Etcd(bed, etcd, authority=authority)
        until(15, member.healthy)
        host.config.write_text(good.replace(keys, authority.as_keys("expired")))
        host.start()
        host.config.write_text(good)
        host.process.signal(signal.SIGHUP)
        c.check("the right ones hold with the reload: it owns the rack", owner_of([host], 20) is host, host.said()[-1500:])
