"""A certificate authority of the stack's own, and one server certificate."""

import subprocess


class Tls:
    """ca.pem for clients; server.pem (key and certificate) and server.key, server.crt for servers."""

    NAMES = "DNS:relay.test,DNS:localhost,IP:127.0.0.1"

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.key, self.certificate, self.chain = folder / "server.key", folder / "server.crt", folder / "server.pem"

    def make(self):
        """Makes both; takes some 30 ms."""
        self.folder.mkdir()
        ca_key = self.folder / "ca.key"
        _openssl(
            "req",
            "-x509",
            *_NEW_KEY,
            "-keyout",
            ca_key,
            "-out",
            self.ca,
            "-days",
            "30",
            "-subj",
            "/CN=waybill test CA",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
        _openssl(
            "req",
            "-x509",
            *_NEW_KEY,
            "-keyout",
            self.key,
            "-out",
            self.certificate,
            "-days",
            "30",
            "-subj",
            "/CN=relay.test",
            "-addext",
            f"subjectAltName={self.NAMES}",
            "-CA",
            self.ca,
            "-CAkey",
            ca_key,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "extendedKeyUsage=serverAuth",
        )
        self.chain.write_bytes(self.key.read_bytes() + self.certificate.read_bytes())
        self.chain.chmod(0o600)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, stdin=subprocess.DEVNULL)
