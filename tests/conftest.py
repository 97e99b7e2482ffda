"""For all tests: two of them run side by side, so each process computes with one thread; and no test is timed."""

import os
import shutil

import hypothesis
import pytest

pytest_plugins = ["tokenizer_fixtures"]

os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


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
