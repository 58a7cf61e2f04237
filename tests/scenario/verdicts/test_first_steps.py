"""The README's steps on a cluster as Debian makes it: peer authentication, and nobody but postgres who can log in."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from .conftest import ROOT, WAYBILL

README = (ROOT / "README.md").read_text()
STEPS = re.search(r"on a fresh Debian: the database.*?```sh\n(.*?)```", README, re.S)[1]


@pytest.fixture
def cluster():
    """Debian's own tools make it; its configuration is theirs."""
    if os.geteuid() != 0 or not shutil.which("pg_createcluster"):
        pytest.skip("a cluster of Debian needs root and postgresql-common")
    version = sorted(path.name for path in pathlib.Path("/usr/lib/postgresql").iterdir())[-1]
    name = f"waybill{os.getpid()}"
    home = pathlib.Path(tempfile.mkdtemp(prefix="waybill-debian-", dir="/tmp"))
    home.chmod(0o755)
    shutil.chown(home, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    subprocess.run(["pg_createcluster", version, name, "-d", home / "data", "-s", home, "-p", str(port), "--start-conf", "manual",
                    "-o", "listen_addresses="], check=True, capture_output=True)
    try:
        subprocess.run(["pg_ctlcluster", version, name, "start"], check=True, capture_output=True)
        yield version, name, home, port
    finally:
        subprocess.run(["pg_dropcluster", "--stop", version, name], capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def test_readme_on_a_fresh_debian(cluster):
    version, name, home, port = cluster
    bin = pathlib.Path(WAYBILL).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment |= {"PGHOST": str(home), "PGPORT": str(port), "PATH": f"{bin}:{environment['PATH']}"}

    def run(script):
        return subprocess.run(["sh", "-ec", script], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run("waybill customer list").returncode == 77, "nobody is mapped yet"
    steps = STEPS.replace("/etc/postgresql/15/main", f"/etc/postgresql/{version}/{name}")
    steps = steps.replace("systemctl reload postgresql", f"pg_ctlcluster {version} {name} reload")
    assert name in steps and "pg_ctlcluster" in steps
    done = run(steps)
    assert done.returncode == 0, done.stderr
    done = run("waybill customer add acme && waybill retention apply && waybill audit list")
    assert done.returncode == 0 and "customer add" in done.stdout, done.stderr
    # The timer's own command, as the unit has it.
    unit = (ROOT / "packaging/systemd/waybill-accounting.service.in").read_text()
    command = re.search(r"^ExecStart=@SBINDIR@/(.*)$", unit, re.M)[1]
    assert "User=root" in unit
    done = run(f"ACCOUNTING_DIR={home}/accounting; ACCOUNTING_OPTIONS=; {command}")
    assert done.returncode == 0, done.stderr
    # postgres is himself; a stranger is nobody, least of all root's role.
    assert run("runuser -u postgres -- psql -d waybill -Atc 'SELECT current_user'").stdout == "postgres\n"
    assert run("runuser -u nobody -- psql -d waybill -U waybill_admin -c 'SELECT 1'").returncode == 2
    assert run("waybill db migrate --role postgres").returncode == 77, "root is waybill_admin and no more"
    assert run("waybill db migrate --role \"a' b\"").returncode == 65
