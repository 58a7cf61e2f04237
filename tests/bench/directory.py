#!/usr/bin/python3
"""The directory at size: first build of the snapshot, a change's way into it, look-ups, opening, memory of a reader.

    tests/bench/run directory

Real PostgreSQL in a folder of its own, the real follower."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import bench

LOGINS, DOMAINS = bench.amount(1_000_000, 20_000), bench.amount(100_000, 2_000)
POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--reset-env"]
# What each figure may be at most; the others are only told.
GOALS = {"first build, s": 60, "change visible, median ms": 1000, "change visible, slowest ms": 1000, "look-up of a login, us": 5,
         "look-up of a domain, us": 5, "opening, ms": 10, "a reader's own memory, KiB": 256,
         "restart within a minute of a change, s": 1}
READER = {"open_ms": "opening, ms", "login_us": "look-up of a login, us", "domain_us": "look-up of a domain, us",
          "reader_anon_kb": "a reader's own memory, KiB"}

# Ten logins and one domain with one key a customer in the standard case; triggers would only cost time here.
LOAD = """
SET session_replication_role = replica;
INSERT INTO waybill.customers (customer, time_zone)
	SELECT 'customer-' || i, CASE WHEN i % 3 = 0 THEN 'Europe/Berlin' ELSE 'UTC' END FROM generate_series(0, {domains} - 1) AS i;
INSERT INTO waybill.domains (domain, customer)
	SELECT 'domain-' || i || '.test', 'customer-' || i FROM generate_series(0, {domains} - 1) AS i;
INSERT INTO waybill.dkim_keys (domain, selector, algorithm, state, sealed, public_key)
	SELECT 'domain-' || i || '.test', 's2026q4', 'rsa-sha256', 'active', decode(repeat('5a', 1224), 'hex'),
	       decode(repeat('a5', 294), 'hex') FROM generate_series(0, {domains} - 1) AS i;
INSERT INTO waybill.logins (login, customer, password_hash, networks)
	SELECT 'login-' || i, 'customer-' || i % {domains}, '$2b$05$' || repeat('x', 53),
	       CASE WHEN i % 4 = 0 THEN '{{192.0.2.0/24}}'::cidr[] ELSE '{{}}' END FROM generate_series(0, {logins} - 1) AS i;
INSERT INTO waybill.rights (login, allow, pattern)
	SELECT 'login-' || i, true, '*@owned' FROM generate_series(0, {logins} - 1) AS i;
INSERT INTO waybill.limits (id, scope, customer, unit, spec)
	SELECT 'c-' || i, 'customer', 'customer-' || i, 'recipients', '10000/day' FROM generate_series(0, {domains} - 1) AS i;
INSERT INTO waybill.limits (id, scope, customer, unit, spec)
	SELECT 'l-' || i, 'login', 'customer-' || i, 'messages', '100/h' FROM generate_series(0, {domains} - 1) AS i;
ANALYZE;
"""


class Postgres:
    def __init__(self, folder):
        self.folder = folder
        shutil.chown(folder, "postgres")
        self._run("initdb", "-D", folder / "data", "--locale=C.UTF-8", "-E", "UTF8", "-A", "trust")
        self._run("pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o",
                  f"-c listen_addresses='' -c unix_socket_directories={folder} -c max_wal_size=4GB", "start")
        self.sql("CREATE DATABASE waybill", database="postgres")

    def _run(self, program, *words):
        subprocess.run([*AS_POSTGRES, POSTGRES / program, *words], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def conninfo(self, user):
        return f"host={self.folder} dbname=waybill user={user}"

    def sql(self, text, database="waybill"):
        subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "postgres", database], input=text,
                       text=True, check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")


def timed(call, *words):
    start = time.monotonic()
    call(*words)
    return time.monotonic() - start


def change_visible_ms(postgres, conf, snapshot, rounds=20):
    """The median way of one change from its commit to a reader that asks again and again."""
    follower = subprocess.Popen([bench.BUILD / "bin" / "waybill", "-c", conf, "directory", "follow"], stderr=subprocess.PIPE, text=True)
    while ": ready" not in follower.stderr.readline():
        pass
    times = []
    for i in range(rounds):
        before = os.stat(snapshot).st_mtime_ns
        postgres.sql(f"UPDATE waybill.logins SET enabled = {'false' if i % 2 == 0 else 'true'} WHERE login = 'login-7'")
        start = time.monotonic()
        while os.stat(snapshot).st_mtime_ns == before:
            time.sleep(0.001)
        times.append((time.monotonic() - start) * 1000)
    follower.terminate()
    follower.communicate()
    return sorted(times)[rounds // 2], max(times)


def measure(folder, postgres):
    snapshot, conf = folder / "directory.mdb", folder / "waybill.conf"
    conf.write_text(f"[common]\ndirectory = {snapshot}\nnode = bench\n[ctl]\npostgres = {postgres.conninfo('postgres')}\n"
                    f"[directory]\npostgres = {postgres.conninfo('waybill_follow')}\n")

    def run(*words):
        subprocess.run([bench.BUILD / "bin" / "waybill", "-c", conf, *words], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    run("db", "migrate")
    postgres.sql(LOAD.format(logins=LOGINS, domains=DOMAINS))
    figures = {"first build, s": timed(run, "directory", "follow", "--once")}
    figures["snapshot, MB"] = snapshot.stat().st_size / 1e6
    figures["verify, s"] = timed(run, "directory", "verify")
    reader = subprocess.run([bench.BUILD / "tests" / "bench_directory", snapshot, str(LOGINS), str(DOMAINS)], check=True,
                            capture_output=True, text=True).stdout
    figures.update({READER[key]: float(value) for key, value in (pair.split("=") for pair in reader.split())})
    figures["change visible, median ms"], figures["change visible, slowest ms"] = change_visible_ms(postgres, conf, snapshot)
    figures["restart within a minute of a change, s"] = timed(run, "directory", "follow", "--once")
    return figures


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    folder.chmod(0o755)
    (folder / "postgres").mkdir()
    postgres = Postgres(folder / "postgres")
    try:
        figures = measure(folder, postgres)
    finally:
        postgres.stop()
        shutil.rmtree(folder)
    met = True
    for name, figure in figures.items():
        if name in GOALS:
            met &= bench.row(name, f"{figure:.3f}", f"{LOGINS} logins", figure, ("<=", GOALS[name]))
        else:
            bench.note(name, f"{figure:.3f}", f"{LOGINS} logins, {DOMAINS} domains")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
