import fcntl
import os

import pytest
from checkout import Checkout


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory):
    """Return a function that makes a checkout, new or as a copy of another."""
    return lambda **how: Checkout(tmp_path_factory.mktemp("checkout"), **how)


@pytest.fixture(scope="session")
def finished(new_checkout, tmp_path_factory):
    """A checkout with all results. It is made once for all processes of pytest; each gets a copy."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    template = common / "finished"
    with open(common / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            made = new_checkout()
            made.run("all")
            made.folder.rename(template)
    return new_checkout(like=template)
