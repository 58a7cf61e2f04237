#!/usr/bin/python3
"""webhookd at work: POSTs a second from a full outbox beside bare libcurl and wrk on the same nginx, leases and records in a
real PostgreSQL included, and beside those leases and records alone; what a POST costs webhookd and Postgres; commit to POST
when idle; log line to POST with waybill-bouncer, idle and at 1,000 messages a second; memory at 10,000 endpoints; events a
second in batches. Needs nginx and wrk: apt-get install nginx-light wrk."""

import base64
import datetime
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import bench  # noqa: E402
from tests.scenario.webhookd.conftest import Relay  # noqa: E402
from tests.scenario.webhookd.hostile import Hostile  # noqa: E402
from tests.stack.ports import can_connect, free_port  # noqa: E402

BODY_BYTES = 900  # as long as a native event
NGINX = """worker_processes 1; daemon off; pid {home}/nginx.pid; error_log {home}/nginx.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {home}/b; proxy_temp_path {home}/p;
 fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
 server {{ listen {port} backlog=4096; location / {{ return 200 "ok"; }} }} }}
"""
WRK = 'wrk.method = "POST"\nwrk.body = string.rep("x", %d)\nwrk.headers["Content-Type"] = "application/json"\n' % BODY_BYTES


class Bench:
    def __init__(self):
        self.relay = Relay(bench.BUILD / "bin")
        self.home, self.port = self.relay.home, free_port()

    def __enter__(self):
        try:
            self.relay.start()
        except BaseException:
            self.relay.stop()
            raise
        (self.home / "nginx.conf").write_text(NGINX.format(home=self.home, port=self.port))
        self.relay.processes.start("nginx", ["nginx", "-c", self.home / "nginx.conf"], self.home / "log" / "nginx.log")
        self.relay.processes.ready("nginx", lambda: can_connect("127.0.0.1", self.port), self.home / "log" / "nginx.log")
        return self

    def __exit__(self, *_):
        self.relay.stop()

    def url(self, number=0):
        """Each endpoint is a host of its own, as customers' are."""
        return f"http://127.0.{number // 250}.{number % 250 + 1}:{self.port}/{number}"

    def endpoints(self, count, batch=1):
        """Inserts them in one go, all with the same sealed secret's bytes sealed for each."""
        rows = []
        for number in range(count):
            name = "ep_" + base64.b32encode(secrets.token_bytes(10)).decode().lower()
            secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
            rows.append((name, self.url(number), self.relay.seal(secret, f"acme {name}")))
        self.relay.sql("INSERT INTO waybill.endpoints (customer, endpoint, url, sealed_secret, batch_max) SELECT 'acme', u.*, %s"
                       " FROM unnest(%s::text[], %s::text[], %s::bytea[]) u", batch, *map(list, zip(*rows)))
        return [row[0] for row in rows]

    def empty(self):
        self.relay.sql("TRUNCATE waybill.endpoints, waybill.deliveries, waybill.earlier_attempts, waybill.notices, waybill.events")

    def owe(self, endpoints, each):
        """EACH events for every endpoint."""
        self.relay.sequence += 1
        self.relay.sql(
            "WITH e AS (INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id,"
            " message_id, sender, recipient, recipient_domain, smtp_code, enhanced_code, response, remote_mx, reason)"
            " SELECT 'acme', timestamptz '2026-11-21' + n * interval '1 ms', 'evt_' || %s || '_' || n, n,"
            " 'message.delivered', 'mx1', 'postfix', '4bXyZ12mN2VXxznjll', n || '@acme.example', 'billing@acme.example',"
            " 'jane@example.net', 'example.net', 250, '2.0.0', '250 2.0.0 OK: queued as 153053D', 'mx.example.net',"
            " '250 2.0.0 OK: queued as 153053D' FROM generate_series(1, %s) n RETURNING event_id, occurred_at)"
            " INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)"
            " SELECT 'acme', p, event_id, occurred_at FROM e, unnest(%s::text[]) p",
            self.relay.sequence, each, endpoints)
        self.relay.sql("VACUUM ANALYZE waybill.deliveries")
        self.relay.sql("ANALYZE waybill.events")

    def start(self):
        self.relay.configure(postgres=self.relay.postgres.conninfo("waybill_webhookd"), allow_http="yes", ports=self.port,
                             timeout="15s", lease="60s")
        conf = self.home / "webhookd.conf"
        conf.write_text(conf.read_text().replace("log_level = debug", "log_level = info"))
        return bench.Process([self.relay.bin / "waybill-webhookd", "-c", conf], self.home / "log" / "webhookd.log")

    def due(self):
        return self.relay.sql("SELECT count(*) AS n FROM waybill.deliveries WHERE state = 'due'")[0]["n"]

    def server_cpu_s(self, name):
        root = bench.Process.__new__(bench.Process)
        root.popen = type("Pid", (), {"pid": self.relay.processes.pid(name)})
        return root.cpu_s()

    def drain(self, endpoint_count, each, batch=1):
        """Posts everything: events a second; CPU of webhookd, Postgres and nginx in microseconds an event; memory in MiB."""
        self.empty()
        self.owe(self.endpoints(endpoint_count, batch), each)
        total, before = endpoint_count * each, [self.server_cpu_s(name) for name in ("postgres", "nginx")]
        start = time.monotonic()
        process = self.start()
        while self.due():
            if time.monotonic() - start > 300:
                raise RuntimeError((self.home / "log" / "webhookd.log").read_text()[-2000:])
            time.sleep(0.2)
        # By the records, to the microsecond: neither the program's start nor our looking counts.
        seconds = self.relay.sql("SELECT extract(epoch FROM max(finished_at) - min(started_at))::float AS s FROM waybill.deliveries")[0]["s"]
        spent = [self.server_cpu_s(name) - was for name, was in zip(("postgres", "nginx"), before)]
        figures = (total / seconds, *(cpu / total * 1e6 for cpu in (process.cpu_s(), *spent)), process.rss_kib() / 1024)
        process.stop()
        return figures

    def without_posts(self, endpoint_count, each):
        """The same leases and records by a program that posts nothing: deliveries a second."""
        self.empty()
        self.owe(self.endpoints(endpoint_count), each)
        done = subprocess.run([bench.BUILD / "tests" / "outbox_loop", self.relay.postgres.conninfo("waybill_webhookd"),
                               self.home / "webhook.key"], capture_output=True, text=True, check=True)
        assert self.due() == 0
        return float(done.stdout)

    def bare(self, posts, connections):
        done = subprocess.run([bench.BUILD / "tests" / "post_multi", self.url(), str(posts), str(connections), str(BODY_BYTES)],
                              capture_output=True, text=True, check=True)
        return float(done.stdout)

    def wrk(self, connections, seconds):
        script = self.home / "post.lua"
        script.write_text(WRK)
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, self.url()],
                              capture_output=True, text=True, check=True)
        return float(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("Requests/sec")))

    def idle_latency_ms(self, events):
        """Commit to POST received, one event at a time."""
        self.empty()
        server = Hostile()
        self.relay.servers.append(server)
        endpoint, _ = self.relay.endpoint(server.url("ok", "idle", host="127.0.0.1"))
        arrived, keep = threading.Event(), server.keep

        def note(name, post):
            keep(name, post)
            arrived.set()
        server.keep = note
        port, self.port = self.port, server.port
        process = self.start()
        self.port = port
        time.sleep(1)
        taken = []
        for _ in range(events):
            arrived.clear()
            self.relay.event(endpoint, notify=False)
            start = time.time()
            self.relay.sql("NOTIFY waybill_deliveries")
            arrived.wait(10)
            taken.append((server.posts("idle")[-1].at - start) * 1000)
            time.sleep(0.02)
        process.stop()
        return sorted(taken)

    def log_to_post_ms(self, messages, a_second):
        """Log line written to POST answered, waybill-bouncer included: messages one by one at an even pace. The receiver is
        nginx; the line's own time is when it was written, and attempts are recorded to the microsecond."""
        self.empty()
        self.endpoints(1)
        self.relay.sql("UPDATE waybill.endpoints SET events = '{message.delivered}'")
        self.relay.sql("INSERT INTO waybill.logins (login, customer, password_hash) VALUES ('acme-app', 'acme', 'x')"
                       " ON CONFLICT DO NOTHING")
        maillog, conf = self.home / f"maillog-{a_second}", self.home / "bouncer.conf"
        maillog.touch()
        conf.write_text(f"[common]\nnode = mx1\nspool = {self.home}/spool\n[bouncer]\nlog = {maillog}\n"
                        f"postgres = {self.relay.postgres.conninfo('waybill_bouncer')}\n")
        poster = self.start()
        bouncer = bench.Process([self.relay.bin / "waybill-bouncer", "-c", conf], self.home / "log" / "bouncer.log")
        time.sleep(1)
        start = time.monotonic()
        with open(maillog, "ab", buffering=0) as log:
            for n in range(messages):
                left = start + n / a_second - time.monotonic()
                if left > 0:
                    time.sleep(left)
                log.write(self.delivered_lines(a_second * 1000000 + n))
        end = time.monotonic() + 120
        while self.relay.sql("SELECT count(*) AS n FROM support.attempts")[0]["n"] < messages:
            if time.monotonic() > end:
                raise RuntimeError((self.home / "log" / "bouncer.log").read_text()[-2000:])
            time.sleep(0.2)
        for process in bouncer, poster:
            process.stop()
        return [row["ms"] for row in self.relay.sql(
            "SELECT (extract(epoch FROM a.started_at - e.occurred_at) * 1000 + a.duration_ms)::float AS ms"
            " FROM support.attempts a JOIN waybill.events e USING (customer, event_id) ORDER BY 1")]

    @staticmethod
    def delivered_lines(number):
        """What Postfix writes about one message, now, in one write."""
        stamp = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds") + " mx1 postfix/"
        queue_id = f"{0xA00000000000 + number:012X}"
        lines = (f"smtpd[16]: {queue_id}: client=h[192.0.2.7], sasl_method=PLAIN, sasl_username=acme-app",
                 f"cleanup[17]: {queue_id}: message-id=<{number}@acme.example>",
                 f"qmgr[2]: {queue_id}: from=<a@acme.example>, size=100, nrcpt=1 (queue active)",
                 f"smtp[9]: {queue_id}: to=<r{number}@ex.net>, relay=mx.ex.net[203.0.113.9]:25, delay=1, delays=0/0/0/1, "
                 "dsn=2.0.0, status=sent (250 2.0.0 OK)",
                 f"qmgr[2]: {queue_id}: removed")
        return "".join(f"{stamp}{line}\n" for line in lines).encode()


def at(ordered, share):
    return ordered[int(len(ordered) * share)]


def main():
    for program in "nginx", "wrk":
        if not shutil.which(program):
            sys.exit(f"webhooks: {program} is not installed: apt-get install nginx-light wrk")
    met = True
    print(f"{'figure':<44} {'webhookd':>12} {'beside':>24} {'ratio':>9}  goal")
    with Bench() as b:
        posts = bench.amount(40000, 4000)
        bare = bench.median(b.bare(posts * 2, 50) for _ in range(bench.ROUNDS))
        wrk = bench.median(b.wrk(50, bench.amount(5, 1)) for _ in range(bench.ROUNDS))
        rounds = [b.drain(20, posts // 20) for _ in range(bench.ROUNDS)]
        rate, cpu, postgres, nginx, _ = (bench.median(values) for values in zip(*rounds))
        limit = bench.median(b.without_posts(20, posts // 20) for _ in range(bench.ROUNDS))
        # Postgres is the limit where its leases and records alone cannot keep up with the goal.
        for rival, best, goal in ("libcurl multi", bare, 0.85), ("wrk", wrk, 0.38):
            if limit > goal * best:
                met &= bench.row(f"POSTs/s, 20 endpoints, beside {rival}", f"{rate:.0f}", f"{best:.0f}", rate / best, (">=", goal))
            else:
                bench.note(f"POSTs/s, 20 endpoints, beside {rival}", f"{rate:.0f}",
                           f"{best:>24.0f} {rate / best:>9.2f}  Postgres is the limit")
        bench.note("  CPU of webhookd", f"{cpu:.0f} us", "a POST")
        bench.note("  CPU of Postgres", f"{postgres:.0f} us", "a POST")
        bench.note("  CPU of nginx", f"{nginx:.0f} us", "a POST")
        # The three share the cores: however well they run side by side, they get no more done than this.
        cores = os.cpu_count() * 1e6 / (cpu + postgres + nginx)
        bench.note("POSTs/s, beside its leases and records alone", f"{rate:.0f}", f"{limit:>24.0f} {rate / limit:>9.2f}")
        met &= bench.row(f"POSTs/s, beside what {os.cpu_count()} cores allow the three", f"{rate:.0f}", f"{cores:.0f}", rate / cores,
                         (">=", 0.85))
        rate = b.drain(20, posts // 20 * 5, batch=100)[0]
        bench.note("events/s in batches of 100, 20 endpoints", f"{rate:.0f}", "")
        rate, _, _, _, rss = b.drain(bench.amount(10000, 1000), 4)
        bench.note("POSTs/s, 10,000 endpoints", f"{rate:.0f}", "4 events each")
        met &= bench.row("memory at 10,000 endpoints, MiB", f"{rss:.1f}", "32", rss, ("<=", 32))
        taken = b.idle_latency_ms(bench.amount(200, 20))
        met &= bench.row("commit to POST, idle, p50 ms", f"{taken[len(taken) // 2]:.1f}", "10", taken[len(taken) // 2], ("<=", 10))
        met &= bench.row("commit to POST, idle, p99 ms", f"{taken[int(len(taken) * 0.99)]:.1f}", "50", taken[int(len(taken) * 0.99)],
                         ("<=", 50))
        taken = b.log_to_post_ms(bench.amount(200, 20), 10)
        for share, goal in (0.5, 10), (0.99, 50):
            met &= bench.row(f"log line to POST answered, idle, p{share * 100:.0f} ms", f"{at(taken, share):.1f}", f"{goal}",
                             at(taken, share), ("<=", goal))
        taken = b.log_to_post_ms(bench.amount(20000, 2000), 1000)
        bench.note("log line to POST answered, 1,000/s, p50 ms", f"{at(taken, 0.5):.1f}", "")
        met &= bench.row("log line to POST answered, 1,000/s, p99 ms", f"{at(taken, 0.99):.1f}", "2000", at(taken, 0.99),
                         ("<=", 2000))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
