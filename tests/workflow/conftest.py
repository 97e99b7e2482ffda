import pytest
from checkout import Checkout


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory):
    return lambda: Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def finished(new_checkout):
    """A checkout in which everything has been made."""
    checkout = new_checkout()
    checkout.run("all")
    return checkout
