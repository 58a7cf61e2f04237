"""A real journal: systemd-journal-remote makes its files from entries that the test chooses, journalctl reads them."""

import pathlib
import subprocess
import time

PROGRAM = pathlib.Path("/lib/systemd/systemd-journal-remote")


class Journal:
    def __init__(self, folder):
        self.folder, self.writer, self.count, self.file = pathlib.Path(folder), None, 0, 0
        self.folder.mkdir()

    @staticmethod
    def is_possible():
        return PROGRAM.exists()

    def open(self):
        """A file of its own from now on, as after a rotation."""
        self.close()
        self.file += 1
        self.writer = subprocess.Popen([PROGRAM, "-o", self.path(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        return self

    def path(self):
        return self.folder / f"part{self.file}.journal"

    def close(self):
        if self.writer:
            self.writer.stdin.close()
            self.writer.wait(timeout=30)
        self.writer = None

    def write(self, lines, **fields):
        """LINES are a log's, "TIME HOST TAG[PID]: MESSAGE"; the journal gets what a daemon of that tag would have sent."""
        for line in lines:
            _, host, tag, message = line.split(" ", 3)
            name, _, pid = tag.rstrip(":").rstrip("]").partition("[")
            self.entry(host, {"SYSLOG_IDENTIFIER": name, "_PID": pid, "_UID": 101, "_SYSTEMD_UNIT": "postfix@-.service",
                              "_TRANSPORT": "syslog", "MESSAGE": message, **fields})

    def entry(self, host, fields):
        self.count += 1
        fields = {"__REALTIME_TIMESTAMP": int(time.time() * 1e6), "__MONOTONIC_TIMESTAMP": self.count, "_BOOT_ID": "0" * 31 + "1",
                  "_MACHINE_ID": "0" * 31 + "2", "_HOSTNAME": host, **fields}
        self.writer.stdin.write(b"".join(_field(name, value) for name, value in fields.items()) + b"\n")
        self.writer.stdin.flush()


def _field(name, value):
    if isinstance(value, bytes):
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return f"{name}={value}\n".encode()
