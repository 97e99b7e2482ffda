"""The files that `corpus.urls` names. Every call of `snakemake` imports this module, so it imports nothing heavy."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from minlm.errors import MinlmError

FOLDER = "data/urls/files"


def downloads(entries: Sequence[str | dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is downloaded: the path of each file, in order, and its `url` and `sha256`.

    A path depends on nothing but the address, so a longer or reordered list downloads only what is new. It ends as the
    address does, because that says the format.

    Raises:
        MinlmError: an address is there twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        wanted = {"url": entry} if isinstance(entry, str) else entry
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", unquote(urlsplit(wanted["url"]).path).rpartition("/")[2])[-100:]
        path = f"{FOLDER}/{hashlib.sha256(wanted['url'].encode()).hexdigest()[:8]}-{name}"
        if path in found:
            raise MinlmError(f"{wanted['url']} is there twice. Remove one of them")
        found[path] = wanted
    return found
