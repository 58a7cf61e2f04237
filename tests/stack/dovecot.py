"""Dovecot for SASL alone, made of the shipped snippets: the passdb is the view auth.passdb in Postgres."""

import pathlib
import socket

from .errors import StackError

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "postfix-conf" / "dovecot-2.3"
CACHE_SECONDS = 1  # how long a login is remembered; shipped: 30 seconds, too long for a test to wait for


class Dovecot:
    """One per node: its socket lies in that node's Postfix queue."""

    def __init__(self, name, home, log, processes, postgres, socket):
        self.name, self.home, self.folder = f"{name}/dovecot", home, home / "dovecot"
        self.processes, self.postgres, self.socket = processes, postgres, socket
        self.log = log / f"{name}-dovecot.log"

    def start(self):
        """Postfix's queue folder must be there."""
        self.folder.mkdir(exist_ok=True)
        self._configure()
        self.processes.start(self.name, ["dovecot", "-F", "-c", self.folder / "dovecot.conf"], self.log)
        self.processes.ready(self.name, self._answers, self.log)

    def stop(self):
        self.processes.stop(self.name)

    def _answers(self):
        """A socket's file alone may be a former process's."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.socket))
                return True
        except OSError:
            return False

    def _configure(self):
        places = {"/var/spool/postfix/private/auth": self.socket, "ttl = 30 s": f"ttl = {CACHE_SECONDS} s"}
        for name in ("waybill-sql.conf.ext", "waybill-sql-previous.conf.ext"):
            places[f"/etc/dovecot/{name}"] = self.folder / name
            (self.folder / name).write_text(_replace(SHIPPED / name, {"/var/run/postgresql": self.postgres.folder}))
        snippet = self.folder / "waybill.conf"
        snippet.write_text(_replace(SHIPPED / "waybill.conf", places))
        (self.folder / "dovecot.conf").write_text(
            _CONF.format(folder=self.folder, snippet=snippet, name=self.name, log=self.log)
        )


def _replace(path, places):
    """The text of a shipped file with what this stack has in their place; what is no longer in it is an error."""
    text = path.read_text()
    for old, new in places.items():
        if old not in text:
            raise StackError(f"{path} no longer names {old}")
        text = text.replace(old, str(new))
    return text


# What an existing installation has of its own, around the snippet.
_CONF = """\
base_dir = {folder}/run
state_dir = {folder}/state
instance_name = {name}
log_path = {log}
protocols =
listen = 127.0.0.1
ssl = no
mail_location = maildir:/nonexistent
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
!include {snippet}
"""
