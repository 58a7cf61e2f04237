"""Accounting files: what is in them, their proofs, a full disk, and a customer who fetches them by SFTP from a real sshd."""

import csv
import getpass
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from datetime import datetime, timedelta, timezone

import psycopg2
import pytest

from .conftest import HARD, WAYBILL

SSHD, SFTP_SERVER = "/usr/sbin/sshd", "/usr/lib/openssh/sftp-server"


@pytest.fixture
def folder():
    made = pathlib.Path(tempfile.mkdtemp(prefix="waybill-accounting-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def hours_ago(world, customer, hours, count):
    """COUNT events of a customer that were recorded HOURS ago."""
    at = datetime.now(timezone.utc).replace(minute=30, second=0, microsecond=0) - timedelta(hours=hours)
    events = [world.event(customer, "delivered", f"u{hours}-{i}@acct.example", at, message_id=f"{hours}.{i}@m") for i in range(count)]
    world.record(*events)
    world.rows("UPDATE waybill.events SET recorded_at = %s WHERE customer = %s AND recorded_at > now() - interval '1 minute'",
               at, customer)
    return events


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_hold_every_event_once(world, folder):
    customer = world.customer("acct")
    hours_ago(world, customer, 5, 3)
    hours_ago(world, customer, 3, 1200)  # more than one page
    world.record(world.event(customer, "delivered", "now@acct.example", datetime.now(timezone.utc)))
    world.run("accounting", "write", str(folder), "--customer", customer)
    files = sorted((folder / customer).glob("*.jsonl"))
    assert [len(lines(f)) for f in files] == [3, 1200], "the running hour waits"
    written = [event["event_id"] for f in files for event in lines(f)]
    stored = [i for i, in world.rows("SELECT event_id FROM waybill.events WHERE customer = %s AND seq <= 1203 ORDER BY seq", customer)]
    assert written == stored
    assert [e["seq"] for f in files for e in lines(f)] == list(range(1, 1204))
    assert world.run("accounting", "verify", str(folder)) == ""
    before = {f: f.stat().st_mtime_ns for f in (folder / customer).iterdir()}
    world.run("accounting", "write", str(folder), "--customer", customer)
    assert before == {f: f.stat().st_mtime_ns for f in (folder / customer).iterdir()}, "a second run writes nothing"
    assert not list((folder / customer).glob(".*")), "nothing is left aside"
    # The next hour follows in seq and in the chain of manifests.
    world.run("accounting", "write", str(folder), "--customer", customer, "--until", "2100-01-01")
    assert world.run("accounting", "verify", str(folder)) == ""
    assert world.rows("SELECT events, first_seq, last_seq FROM support.accounting WHERE customer = %s ORDER BY hour", customer) == \
        [(3, 1, 3), (1200, 4, 1203), (1, 1204, 1204)]


def test_csv_has_powermtas_columns(world, folder):
    customer = world.customer("columns")
    hours_ago(world, customer, 4, 2)
    world.record(world.event(customer, "bounced", "x@acct.example", response='550 5.1.1 "x", unknown', **HARD))
    world.rows("DELETE FROM waybill.suppressions WHERE customer = %s", customer)
    world.run("accounting", "write", str(folder), "--customer", customer, "--format", "csv", "--until", "2100-01-01")
    rows = [row for f in sorted((folder / customer).glob("*.csv")) for row in csv.DictReader(f.open(newline=""))]
    assert list(rows[0])[:13] == "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta".split(",")
    assert [row["type"] for row in rows] == ["d", "d", "b", "suppression.created", "suppression.deleted"]
    assert rows[2]["dsnDiag"] == '550 5.1.1 "x", unknown' and rows[2]["bounceCat"] == "bad-mailbox"
    assert world.run("accounting", "verify", str(folder)) == ""


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_compressed(world, folder, format):
    """The same lines, by zstd's own program; plain hours before and after stand in the same chain."""
    customer = world.customer(f"zstd-{format}")
    for hours, count in ((6, 2), (4, 3000), (2, 1)):
        hours_ago(world, customer, hours, count)
    hour = lambda n: (datetime.now(timezone.utc).replace(minute=0) - timedelta(hours=n)).isoformat()
    words = ["accounting", "write", str(folder), "--customer", customer, "--format", format]
    world.run(*words, "--until", hour(5))
    world.run(*words, "--zstd", "--until", hour(3))
    world.run(*words)
    names = sorted(f.name.partition(".")[2] for f in (folder / customer).iterdir() if "manifest" not in f.name)
    assert names == [format, format, f"{format}.zst"]
    [packed] = (folder / customer).glob("*.zst")
    unpacked = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout.decode().splitlines()
    if format == "jsonl":
        assert [json.loads(line)["seq"] for line in unpacked] == list(range(3, 3003))
    else:
        assert [row["seq"] for row in csv.DictReader(unpacked)] == [str(seq) for seq in range(3, 3003)]
    assert packed.stat().st_size < sum(len(line) for line in unpacked) / 5
    assert world.run("accounting", "verify", str(folder)) == ""
    # Cut or changed, and the manifest forged to fit: the frame itself tells.
    whole = packed.read_bytes()
    manifest = next((folder / customer).glob(f"{packed.name.partition('.')[0]}.manifest.json"))
    told = manifest.read_text()
    for bad in (whole[:len(whole) // 2], whole + b"more"):
        packed.write_bytes(bad)
        assert "SHA-256 differs" in world.run("accounting", "verify", str(folder), code=65)
        manifest.write_text(told.replace(hashlib.sha256(whole).hexdigest(), hashlib.sha256(bad).hexdigest()))
        assert "cannot be read to the end" in world.run("accounting", "verify", str(folder), code=65)
        manifest.write_text(told)


@pytest.mark.parametrize("harm,fault", [
    (lambda f: f["file"].write_bytes(f["file"].read_bytes().replace(b"u4-0", b"u4-9")), "SHA-256 differs"),
    (lambda f: f["file"].unlink(), "missing"),
    (lambda f: f["manifest"].write_text(f["manifest"].read_text().replace('"events": 2', '"events": 3')), "number of events"),
    (lambda f: (f["manifest"].unlink(), f["file"].unlink()), "does not follow"),
    (lambda f: f["manifest"].write_text("{"), "not JSON"),
], ids=["changed", "missing", "count", "taken out", "cut"])
def test_verify_finds(world, folder, harm, fault):
    customer = world.customer(f"harm{abs(hash(fault)) % 100000}")
    for hours in (6, 4, 2):
        hours_ago(world, customer, hours, 2)
    world.run("accounting", "write", str(folder), "--customer", customer)
    manifests = sorted((folder / customer).glob("*.manifest.json"))
    files = sorted((folder / customer).glob("*.jsonl"))
    assert world.run("accounting", "verify", str(folder)) == ""
    harm({"manifest": manifests[1], "file": files[1]})
    assert fault in world.run("accounting", "verify", str(folder), code=65)


def test_verify_says_so_when_it_has_read_nothing(world, folder):
    """A customer's folder will do as well as the one above; not one above that, and none that cannot be read."""
    customer = world.customer("levels")
    hours_ago(world, customer, 3, 2)
    (folder / "in").mkdir()
    world.run("accounting", "write", str(folder / "in"), "--customer", customer)
    own = folder / "in" / customer
    (folder / "in" / "README").write_text("no folder")
    for good in (folder / "in", own):
        assert world.run("accounting", "verify", str(good)) == ""
    world.run("accounting", "verify", str(folder), code=66)
    world.run("accounting", "verify", str(folder / "nothing"), code=66)
    next(own.glob("*.jsonl")).write_text("forged")
    assert "SHA-256 differs" in world.run("accounting", "verify", str(own), code=65)
    (folder / "conf").write_text("")
    nobody = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.geteuid() == 0 else []
    for harmed, code in ((own, 65), (folder / "in", 66)):
        harmed.chmod(0)
        done = subprocess.run([*nobody, WAYBILL, "-c", folder / "conf", "accounting", "verify", folder / "in"], capture_output=True, text=True)
        assert done.returncode == code and "Permission denied" in done.stdout + done.stderr, done.stderr


def test_one_run_at_a_time(world, folder):
    customer = world.customer("turns")
    hours_ago(world, customer, 3, 2)
    other = psycopg2.connect("")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7225061731448512363)")
    done = subprocess.run([WAYBILL, "-c", world.conf, "accounting", "write", folder, "--customer", customer], capture_output=True, text=True)
    assert done.returncode == 75 and "another waybill accounting write is at work" in done.stderr, done.stderr
    assert list(folder.iterdir()) == []
    other.close()
    world.run("accounting", "write", str(folder), "--customer", customer)
    assert len(list((folder / customer).glob("*.jsonl"))) == 1


def test_the_chain_can_be_checked_by_anybody(world, folder):
    """With nothing but SHA-256."""
    customer = world.customer("chain")
    for hours in (6, 4, 2):
        hours_ago(world, customer, hours, 1)
    world.run("accounting", "write", str(folder), "--customer", customer)
    previous = ""
    for manifest in sorted((folder / customer).glob("*.manifest.json")):
        told = json.loads(manifest.read_text())
        assert told["previous_manifest_sha256"] == previous
        assert hashlib.sha256((folder / customer / told["file"]).read_bytes()).hexdigest() == told["sha256"]
        previous = hashlib.sha256(manifest.read_bytes()).hexdigest()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("zstd", [False, True], ids=["plain", "zstd"])
def test_a_full_disk_delays_and_loses_nothing(world, folder, zstd):
    customer = world.customer(f"full-{zstd}".lower())
    hours_ago(world, customer, 3, 2000)
    conf = world.conf
    size, cat, how = ("8k", "zstd -dcq", "--zstd") if zstd else ("64k", "cat", "")
    write = f"{WAYBILL} -c {conf} accounting write {folder} --customer {customer} {how}"
    script = (f"mount -t tmpfs -o size={size} none {folder} && {write}; code=$?; find {folder} -type f | wc -l; "
              f"mount -o remount,size=16m {folder} && {write} && {WAYBILL} -c {conf} accounting verify {folder} && "
              f"{cat} {folder}/{customer}/*.jsonl* | wc -l; exit $code")
    ran = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    if "unshare" in ran.stderr and not ran.stdout:
        pytest.skip(ran.stderr)
    out = ran.stdout.split()
    assert ran.returncode == 75 and "nothing is lost" in ran.stderr, ran.stderr
    assert out[0] == "0" and out[-1] == "2000"


@pytest.mark.skipif(not (os.path.exists(SSHD) and os.geteuid() == 0), reason="a chroot by sshd needs root and openssh-server")
def test_fetched_by_sftp(world, folder):
    """The folder as OpenSSH wants it for ChrootDirectory: the customer sees its own files and nothing else, and can change none."""
    customer, other = world.customer("fetch"), world.customer("stranger")
    for name in (customer, other):
        hours_ago(world, name, 3, 5)
    world.run("accounting", "write", str(folder))
    home = pathlib.Path(tempfile.mkdtemp(prefix="waybill-sshd-", dir="/tmp"))
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    (home / "config").write_text(f"""Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile {home}/user.pub
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
ChrootDirectory /mnt/{customer}
ForceCommand internal-sftp -R
AllowTcpForwarding no
""")
    # sshd wants every folder above a chroot to be root's alone, and /tmp is not: so it sees the folder as /mnt.
    sshd = subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount --bind {folder} /mnt && exec {SSHD} -D -e -f {home}/config"],
                            stderr=subprocess.PIPE, text=True)
    try:
        batch = home / "batch"
        batch.write_text(f"ls -1 /\nget /*.jsonl {home}\nget /*.manifest.json {home}\n-put {home}/batch /own\n-rm /*.jsonl\n-ls /../{other}\n")
        fetch = ["sftp", "-b", batch, "-P", str(port), "-i", home / "user", "-o", "StrictHostKeyChecking=no", "-o",
                 f"UserKnownHostsFile={home}/known", "-o", "IdentitiesOnly=yes", f"{getpass.getuser()}@127.0.0.1"]
        for _ in range(100):
            ran = subprocess.run(fetch, capture_output=True, text=True)
            if "Connection refused" not in ran.stderr:  # sshd is not up yet
                break
            time.sleep(0.1)
    finally:
        sshd.terminate()
        said = sshd.communicate()[1]
        fetched = {f.name: f.read_bytes() for f in home.glob("waybill-*")}
        shutil.rmtree(home)
    assert ran.returncode == 0, ran.stderr + said
    assert fetched == {f.name: f.read_bytes() for f in (folder / customer).iterdir()} and len(fetched) == 2
    stored = {i for i, in world.rows("SELECT event_id FROM waybill.events WHERE customer = %s", customer)}
    assert {json.loads(line)["event_id"] for name, text in fetched.items() if name.endswith(".jsonl")
            for line in text.splitlines()} == stored
    assert ran.stderr.count("Permission denied") >= 2, ran.stderr  # neither put nor rm
    assert "No such file" in ran.stderr or "not found" in ran.stderr, ran.stderr  # another customer's folder
