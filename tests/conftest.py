"""For all tests: two of them run side by side, so each process computes with one thread; and no test is timed."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess

import hypothesis
import pytest

pytest_plugins = ["tokenizer_fixtures"]

os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


class LimitedPopen(subprocess.Popen):
    """All ways to wait for a child end here, `subprocess.run` too: no test waits for ever.

    What hangs in another way is ended by pytest's faulthandler_timeout.
    """

    seconds = 180

    def wait(self, timeout=None):
        with self._limit(timeout) as seconds:
            return super().wait(seconds)

    def communicate(self, input=None, timeout=None):
        with self._limit(timeout) as seconds:
            return super().communicate(input, seconds)

    @contextlib.contextmanager
    def _limit(self, timeout):
        try:
            yield self.seconds if timeout is None else timeout
        except subprocess.TimeoutExpired:
            if timeout is None:
                self.kill()
            raise


subprocess.Popen = LimitedPopen


def pytest_runtest_setup(item):
    LimitedPopen.seconds = 1500 if any(map(item.get_closest_marker, ("slow", "slurm", "elsewhere"))) else 180


@pytest.fixture(autouse=True)
def ctrl_c():
    """Tests and their children get Ctrl-C, also where pytest was started without, as `nohup make test &` does."""
    handler = signal.getsignal(signal.SIGINT)
    if handler == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def unconfigured_logging():
    """Each test finds the logger `minlm` as an import leaves it: the programs configure it for the whole process."""
    log = logging.getLogger("minlm")
    log.handlers[:], log.propagate = [], True
    log.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def chromium():
    """A real browser, for `pytest -m browser`. `make test` leaves these tests out, because pip cannot install one."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        pytest.skip("needs a browser and its driver: apt-get install chromium; pip install -e .[browser]")
    # without these it looks for the outside world at every start
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()
