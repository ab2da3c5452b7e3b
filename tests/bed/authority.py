"""An authority for TLS and what it signs, in a folder of the bed, by openssl."""
import subprocess


class Authority:
    """Certificates and keys are files NAME.crt and NAME.key in its folder; its own is ca.crt."""

    def __init__(self, folder):
        self.folder, self.number = folder, 1
        folder.mkdir()
        self.openssl(f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /O={folder.name} -keyout ca.key -out ca.crt")

    def openssl(self, words):
        done = subprocess.run(["openssl", *words.split()], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)

    def path(self, name):
        return str(self.folder / name)

    def sign(self, name, subject="/O=rackbmcd", addresses=(), expired=False):
        """For both sides of a connection, as members of etcd need it; returns the name."""
        names = ",".join(f"IP:{address}" for address in addresses) or "DNS:nobody.example"
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
        self.number += 1
        self.openssl(f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj {subject} -keyout {name}.key -out {name}.csr")
        # One of no day is over in the next second.
        self.openssl(f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -set_serial {self.number} -days {0 if expired else 2} "
                     f"-extfile {name}.ext -out {name}.crt")
        (self.folder / f"{name}.key").chmod(0o600)
        return name

    def as_server(self, name):
        """Arguments of an etcd that shows this certificate, and wants one of its clients."""
        return ["--cert-file", self.path(f"{name}.crt"), "--key-file", self.path(f"{name}.key"), "--client-cert-auth",
                "--trusted-ca-file", self.path("ca.crt")]

    def as_client(self, name, flags):
        """The same for a client whose options for authority, certificate and key are called so."""
        return [word for flag, file in zip(flags, ("ca.crt", f"{name}.crt", f"{name}.key")) for word in (flag, self.path(file))]

    def as_keys(self, name, authority="ca.crt"):
        """The same as lines of [etcd]."""
        keys = {"ca_file": authority, "cert_file": f"{name}.crt", "key_file": f"{name}.key"}
        return "\n".join(f'{key} = "{self.path(file)}"' for key, file in keys.items())
