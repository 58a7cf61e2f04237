"""A receiver that lets nobody in without a certificate that it knows."""

import subprocess

from .hostile import Hostile
from .test_endpoint_commands import waybill  # noqa: F401


def make_client(folder, name, *more):
    """A certificate that is its own issuer, with its key, in one file; and the certificate alone."""
    key, certificate, both = (folder / f"{name}.{end}" for end in ("key", "crt", "pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out",
                    certificate, "-days", "30", "-subj", f"/CN={name}", *(more or ["-nodes"])], check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both, certificate, key


def test_client_certificate(relay, waybill):  # noqa: F811
    known, ca, _ = make_client(relay.home, "known")
    unknown, _, _ = make_client(relay.home, "unknown")
    server = Hostile(relay.tls.chain, client_ca=ca)
    relay.servers.append(server)
    relay.run()
    [added] = waybill("endpoint", "add", "acme", server.url("ok", "shown"), "--client-certificate", str(known))
    endpoint = added["endpoint"]
    bare, _ = relay.endpoint(server.url("ok", "bare"))
    stranger = waybill("endpoint", "add", "acme", server.url("ok", "stranger"), "--client-certificate", str(unknown))[0]["endpoint"]
    waybill("endpoint", "test", endpoint)
    # The open connection of the first serves none of the others, and no handle remembers its certificate.
    for other, name in (bare, "bare"), (stranger, "stranger"):
        event_id = relay.event(endpoint, other)
        relay.until(f"{name} is not let in", lambda: relay.attempts(other, event_id))
        assert relay.attempts(other, event_id)[0]["status"] is None and not server.posts(name)
        relay.until("the known one is", lambda: relay.delivery(endpoint, event_id)["state"] == "delivered")
    assert len(server.posts("shown")) == 3
    row = relay.endpoint_row(endpoint)
    assert b"PRIVATE" not in bytes(row["sealed_certificate"]) and b"CERTIFICATE" not in bytes(row["sealed_certificate"])
    assert waybill("endpoint", "show", endpoint)[0]["client_certificate"] in (True, "t", "true")

    waybill("endpoint", "set", endpoint, "--client-certificate", "")
    assert relay.endpoint_row(endpoint)["sealed_certificate"] is None


def test_files_that_are_refused(relay, waybill):  # noqa: F811
    known, certificate, key = make_client(relay.home, "first")
    _, other, _ = make_client(relay.home, "second")
    locked, _, _ = make_client(relay.home, "locked", "-passout", "pass:x")
    mixed, long = relay.home / "mixed.pem", relay.home / "long.pem"
    mixed.write_bytes(other.read_bytes() + key.read_bytes())
    long.write_bytes(known.read_bytes() + b"x" * 70000)
    for file, reason in ((certificate, "no private key"), (key, "no certificate"), (mixed, "not that of the first"),
                         (locked, "without a passphrase"), (long, "longer than 64 KiB")):
        said = waybill("endpoint", "add", "acme", "https://localhost/hook", "--client-certificate", str(file), status=65)
        assert reason in said
    waybill("endpoint", "add", "acme", "https://localhost/hook", "--client-certificate", "/nonexistent", status=66)
