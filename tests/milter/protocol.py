"""A mail server as a milter sees it: the milter protocol, version 6, spoken over a unix socket (libmilter's mfdef.h)."""

import socket
import struct

ALL_ACTIONS = 0x1FF
ALL_STEPS = 0x1FFFFF
NO_REPLY = {"M": 0x4000, "R": 0x8000, "L": 0x80, "N": 0x40000, "B": 0x80000, "C": 0x1000, "H": 0x2000, "T": 0x10000}
NO_STEP = {"C": 0x1, "H": 0x2, "M": 0x4, "R": 0x8, "B": 0x10, "L": 0x20, "N": 0x40, "T": 0x200}
CHUNK = 65535
FINAL = "acrtdy"


class Answer:
    """What came back at the end of a message: the final reply's letter, its text, and the changes asked for."""

    def __init__(self, letter, text, changes):
        self.letter, self.text, self.changes = letter, text, changes

    @property
    def accepted(self):
        return self.letter in "ac"

    def inserted(self, name):
        return [value for kind, index, field, value in self.changes if kind == "i" and field.lower() == name.lower()]

    def apply(self, headers, body):
        """The message as it goes on, CRLF line ends."""
        headers = list(headers)
        for kind, index, name, value in self.changes:
            if kind == "i":
                headers.insert(index, (name, " " + value))
            elif kind == "m":
                at = [i for i, (field, _) in enumerate(headers) if field.lower() == name.lower()][index - 1]
                if value:
                    headers[at] = (name, " " + value)
                else:
                    del headers[at]
            elif kind == "h":
                headers.append((name, " " + value))
        lines = [f"{name}:{value if value[:1] in ' ' else ' ' + value}".replace("\n", "\r\n") for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body


class Milter:
    def __init__(self, path, actions=ALL_ACTIONS, steps=ALL_STEPS):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.send("O", struct.pack(">III", 6, actions, steps))
        letter, data = self.receive()
        assert letter == "O", f"negotiation answered with {letter}"
        self.version, self.actions, self.steps = struct.unpack(">III", data[:12])
        self.symbols = self.parse_symbols(data[12:])

    @staticmethod
    def parse_symbols(data):
        symbols = {}
        while len(data) > 4:
            stage, = struct.unpack(">I", data[:4])
            names, data = data[4:].split(b"\0", 1)
            symbols[stage] = names.decode().split()
        return symbols

    def send(self, letter, data=b""):
        self.socket.sendall(struct.pack(">I", len(data) + 1) + letter.encode() + data)

    def receive(self):
        length, = struct.unpack(">I", self.read(4))
        data = self.read(length)
        return chr(data[0]), data[1:]

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("the milter closed the connection")
            data += more
        return data

    def macros(self, letter, **values):
        words = b"".join(self.word(name if len(name) == 1 else "{%s}" % name) + self.word(value)
                         for name, value in values.items() if value is not None)
        self.send("D", letter.encode() + words)

    @staticmethod
    def word(text):
        return text.encode("utf-8", "surrogateescape") + b"\0"

    def step(self, letter, data=b""):
        """Sends a command unless it is not wanted, and waits for its answer unless that is waived."""
        if self.steps & NO_STEP.get(letter, 0):
            return
        self.send(letter, data)
        if not self.steps & NO_REPLY.get(letter, 0):
            answer, _ = self.receive()
            assert answer in "cs", f"{letter} answered with {answer}"

    def begin(self, login, sender, recipients, parameters=()):
        self.macros("M", mail_addr=sender, auth_authen=login)
        self.step("M", b"".join(map(self.word, (f"<{sender}>", *parameters))))
        for recipient in recipients:
            self.step("R", self.word(f"<{recipient}>"))

    def content(self, headers, body, queue_id="4F1C2A"):
        self.macros("T", i=queue_id)
        self.step("T")
        for name, value in headers:
            self.step("L", self.word(name) + self.word(value))
        self.step("N")
        for at in range(0, len(body), CHUNK):
            self.step("B", body[at:at + CHUNK])

    def end(self, queue_id, login, client=None):
        self.macros("E", i=queue_id, auth_authen=login, client_addr=client)
        self.send("E")
        changes = []
        while True:
            letter, data = self.receive()
            if letter in FINAL:
                return Answer(letter, data.rstrip(b"\0").decode(), changes)
            changes.append(self.parse_change(letter, data))

    @staticmethod
    def parse_change(letter, data):
        if letter in "qe":
            return letter, 0, "", data.rstrip(b"\0").decode()
        index = 0
        if letter in "im":
            index, = struct.unpack(">I", data[:4])
            data = data[4:]
        name, value = data.split(b"\0")[:2]
        return letter, index, name.decode(), value.decode("utf-8", "surrogateescape")

    def message(self, headers, body=b"Hello\r\n", login="app", sender="a@example.com", recipients=("b@example.net",),
                queue_id="4F1C2A", end_login=None, parameters=(), client=None):
        self.begin(login, sender, recipients, parameters)
        self.content(headers, body, queue_id)
        return self.end(queue_id, end_login or login, client)

    def abort(self):
        self.send("A")

    def close(self):
        try:
            self.send("Q")
        except OSError:
            pass
        self.socket.close()
