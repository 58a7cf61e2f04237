"""A customer's webhook endpoint: takes POSTs, verifies their signatures, writes each down, and fails when told to.

Started as a program of its own. The path of the URL names the endpoint. secrets.json, {"/path": ["whsec_…", …]},
holds the secrets to verify with; control.json, {"/path": {"status": 503, "headers": {…}, "delay": seconds}}, tells it to
fail. Each POST becomes a line in deliveries.jsonl.
"""

import argparse
import http.server
import json
import pathlib
import ssl
import sys
import threading
import time

from . import verifier
from .ports import HOST, can_connect, free_port


class Receiver:
    """The receiver as the stack sees it."""

    def __init__(self, home, processes, tls, port=None):
        self.folder, self.processes, self.tls = home / "webhooks", processes, tls
        self.port, self.log = port or free_port(), home / "log" / "receiver.log"
        self.deliveries_file = self.folder / "deliveries.jsonl"

    def start(self):
        self.folder.mkdir(exist_ok=True)
        self.processes.start(
            "receiver",
            [
                sys.executable,
                "-m",
                "tests.stack.receiver",
                "--port",
                str(self.port),
                "--folder",
                self.folder,
                "--certificate",
                self.tls.chain,
            ],
            self.log,
            cwd=pathlib.Path(__file__).parents[2],
        )
        self.processes.ready("receiver", lambda: can_connect(HOST, self.port), self.log)

    def stop(self):
        self.processes.stop("receiver")

    def url(self, path):
        """The endpoint's URL; PATH begins with a slash."""
        return f"https://{HOST}:{self.port}{path}"

    def secret(self, path, *secrets):
        """PATH is signed with any of these secrets."""
        self._change("secrets.json", path, list(secrets))

    def fail(self, path, status, headers=None, delay=0):
        """From now on PATH answers so; status 200 makes it work again."""
        self._change("control.json", path, {"status": status, "headers": headers or {}, "delay": delay})

    def deliveries(self, path=None):
        """What was received, oldest first: path, id, timestamp, signature, verified, error, verifier, status, body,
        time."""
        try:
            lines = self.deliveries_file.read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines]
        return [delivery for delivery in found if path in (None, delivery["path"])]

    def _change(self, name, key, value):
        file = self.folder / name
        content = _read(file)
        content[key] = value
        aside = file.with_suffix(".new")
        aside.write_text(json.dumps(content))
        aside.rename(file)


class Endpoint(http.server.BaseHTTPRequestHandler):
    """One connection; the class's fields are set by main()."""

    protocol_version = "HTTP/1.1"
    folder = verify = name = None
    lock = threading.Lock()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        orders = _read(self.folder / "control.json").get(self.path, {})
        time.sleep(orders.get("delay", 0))
        error = self._check(body)
        status = orders.get("status", 200) if error is None else 401
        self._note(body, error, status)
        self.send_response(status)
        for name, value in orders.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def _check(self, body):
        """None, or why no secret of this path fits the signature."""
        fields = {name: self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")}
        secrets = _read(self.folder / "secrets.json").get(self.path, [])
        errors = [self.verify(body=body, secret=secret, **fields) for secret in secrets]
        return None if None in errors else (errors or ["no secret is known for this path"])[0]

    def _note(self, body, error, status):
        record = {name: self.headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature")}
        record.update(
            path=self.path,
            verified=error is None,
            error=error,
            verifier=self.name,
            status=status,
            body=body.decode(errors="replace"),
            headers=dict(self.headers),
            time=time.time(),
        )
        with self.lock, open(self.folder / "deliveries.jsonl", "a") as out:
            out.write(json.dumps(record) + "\n")

    def log_message(self, form, *values):
        print(self.log_date_time_string(), form % values, flush=True)


def _read(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", required=True, type=int)
    options.add_argument("--folder", required=True, type=pathlib.Path)
    options.add_argument("--certificate", type=pathlib.Path, help="key and certificate, PEM; without it plain HTTP")
    chosen = options.parse_args()
    checker = verifier.choose()
    Endpoint.folder, Endpoint.verify, Endpoint.name = chosen.folder, staticmethod(checker.verify), checker.name
    server = http.server.ThreadingHTTPServer((HOST, chosen.port), Endpoint)
    if chosen.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chosen.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
