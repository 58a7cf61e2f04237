"""The stack itself: what the other scenarios rely on without looking."""

import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.stack import verifier
from tests.stack.paths import MAX_HOME, make_home, reachable_programs, remove_home
from tests.stack.process import Processes, started_at, wait_until
from tests.stack.stack import ROOT

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = '{"type":"message.delivered","reason":"250 2.0.0 grüß"}'.encode()


def signed(identity="evt_1", timestamp=None, body=BODY, key=KEY):
    """What a sender would put into the headers, made here by the specification's recipe."""
    timestamp = str(timestamp or int(time.time()))
    mac = hmac.digest(key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "id": identity,
        "timestamp": timestamp,
        "signature": "v1," + base64.b64encode(mac).decode(),
        "body": body,
        "secret": SECRET,
    }


CASES = {
    "right": (signed(), True),
    "right, the second of two signatures": ({**signed(), "signature": "v1,AAAA " + signed()["signature"]}, True),
    "another key": (signed(key=b"x" * 24), False),
    "another body": ({**signed(), "body": BODY + b" "}, False),
    "another id": ({**signed(), "id": "evt_2"}, False),
    "too old": (signed(timestamp=int(time.time()) - 400), False),
    "from the future": (signed(timestamp=int(time.time()) + 400), False),
    "another version": ({**signed(), "signature": signed()["signature"].replace("v1", "v2")}, False),
    "no signature": ({**signed(), "signature": ""}, False),
}


@pytest.fixture(scope="module", params=["npm", "python"])
def checker(request):
    if request.param == "python":
        return verifier.PythonVerifier()
    if not verifier.available():
        pytest.skip("no Node, or check.sh could not get the package")
    return verifier.NodeVerifier()


@pytest.mark.parametrize("case", CASES)
def test_verifiers_tell_right_from_wrong(checker, case):
    fields, right = CASES[case]
    assert (checker.verify(**fields) is None) == right


def test_home_below_a_deep_folder_is_short(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    home = make_home(deep)
    try:
        assert len(str(home)) <= MAX_HOME and (deep / "home").resolve() == home
    finally:
        remove_home(deep)
    assert not home.exists() and not (deep / "home").is_symlink()


def test_home_below_a_closed_folder_is_elsewhere(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = make_home(closed)
    try:
        assert closed not in home.parents
    finally:
        remove_home(closed)


def test_programs_in_a_closed_folder_are_copied(tmp_path):
    """pytest's own folders are root's alone, as /root is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "waybill").write_text("program")
    home = make_home()
    try:
        assert reachable_programs(tmp_path / "bin", home) == home / "bin"
        assert (home / "bin" / "waybill").read_text() == "program"
        assert reachable_programs("/usr/bin", home) == pathlib.Path("/usr/bin")
    finally:
        shutil.rmtree(home)


def test_guard_ends_what_a_killed_starter_leaves(tmp_path):
    """The starter dies without a chance to clean up; its server ends all the same."""
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import pathlib, time
from tests.stack.process import Processes
from tests.stack.stack import Guard
processes = Processes({str(tmp_path / 'ledger')!r})
guard = Guard(processes.ledger)
print(processes.start("sleeper", ["sleep", "600"], {str(tmp_path / 'log')!r}), flush=True)
time.sleep(600)
""",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(starter.stdout.readline())
    assert started_at(pid)
    os.kill(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert wait_until(lambda: started_at(pid) is None, 10)


def test_a_recycled_pid_is_never_signalled(tmp_path):
    processes = Processes(tmp_path / "ledger")
    processes.known["old"] = [os.getpid(), 1]  # our own pid, another process's start time
    processes.stop("old", signal.SIGKILL)
    assert processes.pid("old") is None
