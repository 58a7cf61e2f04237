#!/usr/bin/python3
"""The directory at size: first build of the snapshot, a change's way into it, look-ups, opening, memory of a reader.

	tests/bench/directory.py [--bin-dir build/release/bin] [--logins 1000000] [--domains 100000]

Real PostgreSQL in a folder of its own, the real follower. Prints figures beside the goals; nothing here is a test.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--reset-env"]
GOALS = {"first_build_s": 60, "change_visible_ms": 1000, "login_us": 5, "domain_us": 5, "open_ms": 10}

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


def change_visible_ms(postgres, run, conf, bin_dir, snapshot, rounds=20):
    """The median way of one change from its commit to a reader that asks again and again."""
    follower = subprocess.Popen([bin_dir / "waybill", "-c", conf, "directory", "follow"], stderr=subprocess.PIPE, text=True)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--logins", type=int, default=1_000_000)
    parser.add_argument("--domains", type=int, default=100_000)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    folder.chmod(0o755)
    (folder / "postgres").mkdir()
    postgres = Postgres(folder / "postgres")
    try:
        snapshot, conf = folder / "directory.mdb", folder / "waybill.conf"
        conf.write_text(f"[common]\ndirectory = {snapshot}\nnode = bench\n[ctl]\npostgres = {postgres.conninfo('postgres')}\n"
                        f"[directory]\npostgres = {postgres.conninfo('waybill_follow')}\n")

        def run(*words):
            subprocess.run([options.bin_dir / "waybill", "-c", conf, *words], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

        run("db", "migrate")
        print(f"loading {options.logins} logins, {options.domains} domains …", file=sys.stderr)
        postgres.sql(LOAD.format(logins=options.logins, domains=options.domains))
        figures = {"first_build_s": timed(run, "directory", "follow", "--once")}
        figures["snapshot_mb"] = snapshot.stat().st_size / 1e6
        figures["verify_s"] = timed(run, "directory", "verify")
        reader = subprocess.run([options.bin_dir.parent / "tests" / "bench_directory", snapshot, str(options.logins),
                                 str(options.domains)], check=True, capture_output=True, text=True).stdout
        figures.update({key: float(value) for key, value in (pair.split("=") for pair in reader.split())})
        figures["change_visible_ms"], figures["change_visible_max_ms"] = change_visible_ms(
            postgres, run, conf, options.bin_dir, snapshot)
        figures["restart_s"] = timed(run, "directory", "follow", "--once")
        for name, figure in figures.items():
            goal = f"  goal < {GOALS[name]}" if name in GOALS else ""
            print(f"{name:24} {figure:12.3f}{goal}")
    finally:
        postgres.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
