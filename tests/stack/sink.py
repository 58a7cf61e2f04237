"""The next hop: a mail server that accepts, defers or refuses by recipient, and keeps what it accepts.

Started as a program of its own. The recipient's local part, up to a "+" or "-", chooses the answer (ANSWERS);
control.json, {"address or local part": "the answer", …}, is looked at first, so that a busy mailbox can become free.
Each accepted message becomes NUMBER.eml, its very bytes, and NUMBER.json, its envelope; every answer to RCPT is a line
in answers.jsonl.
"""

import argparse
import asyncio
import email
import email.policy
import json
import os
import pathlib
import re
import sys
import time

from .ports import can_connect

MAX_MESSAGE = 50 << 20
ACCEPT = "250 2.1.5 Recipient OK"
ANSWERS = {
    "unknown": "550 5.1.1 <{address}>: Recipient address rejected: User unknown",
    "busy": "450 4.2.1 <{address}>: Mailbox is busy, try again later",
    "full": "452 4.2.2 <{address}>: Mailbox is full",
    "blocked": "550 5.7.1 Service unavailable; client host blocked using bl.test",
    "moved": "551 5.1.6 <{address}>: Recipient has moved",
}


class Sink:
    """The sink as the stack sees it."""

    def __init__(self, home, processes, address, port):
        self.folder, self.processes, self.address, self.port = home / "sink", processes, address, port
        self.log = home / "log" / "sink.log"

    def start(self):
        self.folder.mkdir(exist_ok=True)
        self.processes.start(
            "sink",
            [
                sys.executable,
                "-m",
                "tests.stack.sink",
                "--listen",
                f"{self.address}:{self.port}",
                "--folder",
                self.folder,
            ],
            self.log,
            cwd=pathlib.Path(__file__).parents[2],
        )
        self.processes.ready("sink", lambda: can_connect(self.address, self.port), self.log)

    def stop(self):
        self.processes.stop("sink")

    def answer(self, recipient, reply):
        """From now on RECIPIENT (an address or a local part) gets REPLY; None takes the rule back."""
        path = self.folder / "control.json"
        rules = json.loads(path.read_text()) if path.exists() else {}
        rules[recipient] = reply
        _write(path, json.dumps({name: value for name, value in rules.items() if value is not None}).encode())

    def accept(self, recipient):
        self.answer(recipient, ACCEPT)

    def messages(self):
        """What was accepted, oldest first: the envelopes, with "path" of the message, its "bytes" and "message"
        parsed."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            if path.name != "control.json":
                envelope = json.loads(path.read_text())
                content = path.with_suffix(".eml").read_bytes()
                parsed = email.message_from_bytes(content, policy=email.policy.SMTP)
                found.append({**envelope, "path": path.with_suffix(".eml"), "bytes": content, "message": parsed})
        return found

    def find(self, message_id, recipient=None):
        """The messages with this Message-ID (without brackets)."""
        return [
            m
            for m in self.messages()
            if m["message"].get("Message-ID", "").strip("<> ") == message_id
            and (recipient is None or recipient in m["rcpt_to"])
        ]


class Handler:
    """aiosmtpd's callbacks."""

    def __init__(self, folder):
        self.folder, self.count = folder, len(list(folder.glob("*.eml")))

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = self._reply(address)
        with open(self.folder / "answers.jsonl", "a") as out:
            out.write(
                json.dumps({"time": time.time(), "mail_from": envelope.mail_from, "recipient": address, "reply": reply})
                + "\n"
            )
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        path = self.folder / f"{self.count:06}"
        _write(path.with_suffix(".eml"), envelope.original_content)
        _write(
            path.with_suffix(".json"),
            json.dumps(
                {
                    "mail_from": envelope.mail_from,
                    "rcpt_to": envelope.rcpt_tos,
                    "helo": session.host_name,
                    "peer": session.peer[0],
                    "time": time.time(),
                }
            ).encode(),
        )
        return f"250 2.0.0 OK: kept as {path.name}"

    def _reply(self, address):
        local = address.rpartition("@")[0]
        rules = self._rules()
        reply = rules.get(address) or rules.get(local) or ANSWERS.get(re.split("[-+]", local)[0].lower(), ACCEPT)
        return reply.format(address=address)

    def _rules(self):
        try:
            return json.loads((self.folder / "control.json").read_text())
        except FileNotFoundError:
            return {}


def _write(path, content):
    """A reader finds the whole file or none."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.rename(path)


async def serve(listen, folder):
    from aiosmtpd.smtp import SMTP  # only the program needs it

    host, _, port = listen.rpartition(":")
    loop, handler = asyncio.get_running_loop(), Handler(folder)

    def session():
        return SMTP(handler, hostname="mx.dest.test", enable_SMTPUTF8=True, data_size_limit=MAX_MESSAGE, loop=loop)

    server = await loop.create_server(session, host, int(port))
    await server.serve_forever()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    options.add_argument("--folder", required=True, type=pathlib.Path)
    chosen = options.parse_args()
    asyncio.run(serve(chosen.listen, chosen.folder))


if __name__ == "__main__":
    main()
