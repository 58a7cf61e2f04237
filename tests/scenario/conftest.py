"""What every scenario shares: a running stack, a limit on each test's time, and the ends of the logs when one fails.

	/usr/bin/python3 -m pytest tests/scenario --bin-dir build/dev/bin
"""

import os
import pathlib
import signal

import pytest

from tests.stack.errors import tail
from tests.stack.stack import Stack

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEST_SECONDS = 120  # for one test; @pytest.mark.seconds(N) gives another


def pytest_addoption(parser):
    parser.addoption(
        "--bin-dir",
        default=os.environ.get("WAYBILL_BIN", ROOT / "build" / "dev" / "bin"),
        help="the folder of waybill's programs",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): this test may take n seconds")


@pytest.fixture(scope="session")
def bin_dir(pytestconfig):
    return pathlib.Path(pytestconfig.getoption("--bin-dir")).absolute()


@pytest.fixture(scope="module")
def stack(bin_dir):
    """A running stack for the tests of one file; a sanitizer's report in any daemon's log is an error at its end."""
    running = Stack(bin_dir)
    try:
        with running:
            yield running
        reports = running.sanitizer_reports()
        assert not reports, "\n".join(reports)
    finally:
        running.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Ends a test that takes too long, with a traceback that shows where it waits."""
    marker = item.get_closest_marker("seconds")
    limit = marker.args[0] if marker else TEST_SECONDS

    def late(number, frame):
        raise TimeoutError(f"the test took more than {limit} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every log that the stack has."""
    report = (yield).get_result()
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and running:
        logs = sorted((running.home / "log").glob("*.log")) + [node.postfix.maillog for node in running.nodes]
        for log in logs:
            report.sections.append((str(log.relative_to(running.home)), tail(log, 25)))
