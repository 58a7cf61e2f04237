"""The disk of Postgres is full: the log waits, and when there is room again each event stands there once."""

import subprocess

import pytest

from tests.stack.process import wait_until

from .test_follow import COUNT, check

# The empty cluster takes some 40 MB of it; a segment of WAL has 16 MB.
SIZE_MB = 160


@pytest.fixture
def small_disk(bench):
    """A file system of its own for the database's folder."""
    bench.postgres.stop()
    folder = bench.postgres.folder
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0755", "waybill-test", folder], capture_output=True)
    if made.returncode:
        folder.rmdir()
        aside.rename(folder)
        bench.postgres.start()
        pytest.skip(f"no file system can be mounted: {made.stderr.decode().strip()}")
    try:
        subprocess.run(["chown", "postgres:postgres", folder], check=True)
        subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
        bench.postgres.start()
        yield folder
    finally:
        bench.end()
        bench.postgres.stop()
        subprocess.run(["umount", folder], check=True)


@pytest.mark.seconds(300)
def test_the_disk_is_full(bench, small_disk):
    """Filled by somebody else while events come, and again; the server may end over it, as it does when WAL finds no room."""
    ballast = small_disk / "ballast"
    bench.bouncer()
    bench.log.write(bench.log.interleaved(50))
    check(bench, 50)
    for _ in range(2):
        before = bench.output.read_text().count("mail flows on")
        fill(ballast)
        # Until it is said: what is in pages that exist may still be stored.
        assert wait_until(lambda: more_lines(bench) and bench.output.read_text().count("mail flows on") > before, seconds=120, every=0.2)
        bench.log.rotate()
        bench.log.write(bench.log.interleaved(50))
        ballast.unlink()
        if not bench.processes.pid("postgres"):
            bench.postgres.start()
        check(bench, bench.log.count)
    said = bench.output.read_text()
    assert "No space left on device" in said
    assert bench.one(COUNT)[0] == 2 * bench.log.count
    assert bench.one("SELECT count(*) FROM waybill.dead_letters") == [0]


def fill(path):
    """Takes all the room there is."""
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=64k"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def more_lines(bench):
    bench.log.write(bench.log.interleaved(50))
    return True
