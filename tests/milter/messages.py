"""What the tests of the milter's protocol send, and what they look at afterwards."""

import json
import socket

import dkim

from conftest import golden_records


def header(sender="Alice <alice@example.com>", *more):
    """A complete header: nothing has to be added to it."""
    return [("From", sender), ("To", "bob@example.net"), ("Subject", "hello\n\tagain"),
            ("Date", "Sat, 21 Nov 2026 10:00:00 +0000"), ("Message-ID", "<1@example.com>"), *more]


def dns(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    return golden_records()[name.split(".")[0]].encode()


def verify(answer, headers, body=b"Hello\r\n", count=1):
    message = answer.apply(headers, body)
    assert len(answer.inserted("DKIM-Signature")) == count
    for i in range(count):
        assert dkim.DKIM(message).verify(idx=i, dnsfunc=dns), message


def spooled(daemon, queue_id):
    lines = (daemon.folder / "spool" / "milter.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["queue_id"] == queue_id]


def metrics_page(daemon):
    with socket.socket(socket.AF_UNIX) as http:
        http.connect(str(daemon.folder / "metrics"))
        http.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: http.recv(65536), b"")).decode()
