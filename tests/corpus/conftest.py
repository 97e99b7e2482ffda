from collections.abc import Iterator

import pytest
from local_server import Server

from minlm.corpus import web


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A local web server; retries do not wait."""
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0.001)
    running = Server()
    yield running
    running.close()
