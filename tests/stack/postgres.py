"""PostgreSQL on a unix socket, trusting every local role; the waybill database stands in it, empty."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psycopg2
import psycopg2.extras

from .errors import StackError
from .process import plain_environment

# Kept from run to run: initdb takes longer than all the rest of a start.
CACHE = pathlib.Path(__file__).resolve().parents[2] / "build" / "stack-cache"
# A killed server must not lose what it committed, and does not: only a crash of the machine would show these.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
}


class Postgres:
    def __init__(self, home, processes):
        self.folder, self.processes = home / "pg", processes
        self.data, self.log = self.folder / "data", home / "log" / "postgres.log"
        self.bin = _programs()

    def start(self):
        """Starts it; the first time with a fresh cluster that holds the empty database waybill."""
        fresh = not self.data.exists()
        if fresh:
            self.folder.mkdir()
            shutil.copytree(_template(self.bin), self.data, copy_function=shutil.copy)
            subprocess.run(["chown", "-R", "postgres:postgres", self.folder], check=True)
            self.data.chmod(0o700)
        settings = {**SETTINGS, "unix_socket_directories": str(self.folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.processes.start(
            "postgres", [self.bin / "postgres", "-D", self.data, *options], self.log, account="postgres"
        )
        self.processes.ready("postgres", self._answers, self.log, seconds=30)
        if fresh:
            self.execute("CREATE DATABASE waybill", database="postgres")

    def stop(self, number=signal.SIGINT):
        """Ends it at once; clients lose their connections. With SIGKILL as if the machine had."""
        self.processes.stop("postgres", number)

    def conninfo(self, user="postgres", database="waybill"):
        """A connection string for libpq."""
        return f"host={self.folder} dbname={database} user={user}"

    def connect(self, user="postgres", database="waybill"):
        """A connection that commits each statement."""
        connection = psycopg2.connect(self.conninfo(user, database))
        connection.autocommit = True
        return connection

    def execute(self, sql, parameters=(), user="postgres", database="waybill"):
        """Runs one statement on a connection of its own; returns the rows as dictionaries."""
        connection = self.connect(user, database)
        try:
            with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(sql, parameters)
                return [dict(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            connection.close()

    def _answers(self):
        try:
            self.connect(database="postgres").close()
            return True
        except psycopg2.OperationalError:
            return False


def _programs():
    """The newest PostgreSQL's folder of programs: Debian keeps them out of PATH."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parts[-3]))
    if not found:
        raise StackError("there is no /usr/lib/postgresql/*/bin/postgres: install the package postgresql")
    return found[-1].parent


def _template(programs):
    """A cluster just made by initdb, to copy; made on first use."""
    template = CACHE / f"initdb-{programs.parts[-2]}"
    if template.exists():
        return template
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="waybill-initdb-") as scratch:
        os.chmod(scratch, 0o777)
        made = pathlib.Path(scratch) / "data"
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                made,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            env=plain_environment(),
            cwd="/",
            user="postgres",
            group="postgres",
            extra_groups=[],
        )
        beside = pathlib.Path(tempfile.mkdtemp(prefix="initdb-", dir=CACHE))
        shutil.copytree(made, beside, dirs_exist_ok=True)
    try:
        beside.rename(template)
    except OSError:  # another run was first
        shutil.rmtree(beside)
    return template
