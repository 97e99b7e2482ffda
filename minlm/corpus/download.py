"""Downloading one large file over a bad network: resumed where it broke off, checked, and only then named."""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from minlm import atomic as files
from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.errors import MinlmError
from minlm.progress import Progress, log

CHUNK_BYTES = 1 << 16  # a break loses at most this much of what had arrived
BREAKS_IN_A_ROW = 6  # without a single new byte
LONGEST_PAUSE = 30.0  # seconds before going on after a break


@dataclass
class Entity:
    """The version of a file that a server has. A part of it is continued only if all of this is unchanged."""

    url: str
    validator: str  # ETag or Last-Modified, for If-Range; "" if the server names neither
    size: int | None  # bytes, if the server says it
    sha256: str  # "" if the server does not say it


def download(url: str, output: str | Path, sha256: str = "") -> int:
    """Download `url` to `output`.

    What arrives goes to the hidden file `.NAME.part` beside the output. A later call, also of another process,
    continues there if the server still has the same version of the file, and starts over otherwise.

    Args:
        url: http or https; redirects are followed.
        output: takes this name only when length and checksum are right.
        sha256: 64 hex digits; if empty, the checksum in the server's `X-Linked-Etag`, if it sends one.

    Returns:
        The size in bytes.

    Raises:
        MinlmError: no answer, a status such as 404, a web page in place of the file, a wrong length or checksum,
            a disk that cannot be written.
    """
    sha256 = sha256.lower()
    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise MinlmError(f"not a SHA-256 checksum (64 hex digits): {sha256}")
    output = Path(output)
    record = output.with_name(f".{output.name}.part.json")
    with _open_part(output) as part, web.make_session() as session:
        entity = _receive(session, url, part, record)
        size = part.tell()
        expected = sha256 or entity.sha256
        problem = ""
        if entity.size not in (None, size):
            problem = f"is {size:,} bytes long instead of {entity.size:,}"
        elif expected and (actual := files.sha256(part.name)) != expected:
            problem = f"has SHA-256 {actual} instead of {expected}"
        if problem:
            Path(part.name).unlink()
            record.unlink(missing_ok=True)
            raise MinlmError(
                f"what came from {url} {problem}. It was deleted; try again, or check the address and sum."
            )
        os.fsync(part.fileno())
        os.replace(part.name, output)
        record.unlink(missing_ok=True)
    return size


def _receive(session: requests.Session, url: str, part: IO[bytes], record: Path) -> Entity:
    """Fill `part` with the whole file, asking for the rest after each break."""
    entity = _read_record(record, url)
    furthest, breaks = part.tell(), 0
    while True:
        have = part.tell() if entity is not None and entity.validator else 0
        headers = {"Accept-Encoding": "identity"}  # so that byte ranges are those of the file itself
        if have and entity is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": entity.validator}
        try:
            with web.get(session, url, stream=True, headers=headers) as response:
                answered = _entity_of(url, response)
                if have and response.status_code == 416 and answered.size == have:
                    return answered  # all of it had arrived before
                chunks = response.iter_content(CHUNK_BYTES)
                if response.status_code == 200:
                    first = next(chunks, b"")
                    _refuse_web_page(response, url, first)
                    entity = _start_over(answered, part, record)
                    part.write(first)
                elif not have:
                    raise web.FetchError(f"{url}: the server answers {response.status_code} to a plain request")
                elif answered != entity or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    entity = None  # our part is of no use here: ask for the whole
                    continue
                else:
                    log.info(f"going on at {have / 1e6:,.1f} MB")
                with Progress(entity.size or 0, f"downloading {url}", "B", initial=part.tell()) as progress:
                    for chunk in chunks:
                        part.write(chunk)
                        progress.update(len(chunk))
            part.flush()
            return entity
        except web.BROKEN_OFF as error:
            breaks = 1 if part.tell() > furthest else breaks + 1
            furthest = max(furthest, part.tell())
            if breaks > BREAKS_IN_A_ROW:
                raise web.FetchError(
                    f"{url}: {web.describe_break(error)} {breaks} times in a row, last at {part.tell():,} bytes; "
                    "run again to go on from there"
                ) from error
            log.info(f"{url}: {web.describe_break(error)} at {part.tell():,} bytes; asking for the rest")
            time.sleep(min(web.BACKOFF_SECONDS * 2 ** (breaks - 1), LONGEST_PAUSE))


def _refuse_web_page(response: requests.Response, url: str, start: bytes) -> None:
    if web.is_web_page(response, start) and not urlsplit(url).path.endswith((".html", ".htm")):
        raise MinlmError(
            f"{url}: the server sent a web page instead of the file. Does your network ask for a log-in? "
            "Open the address in a browser."
        )


def _start_over(answered: Entity, part: IO[bytes], record: Path) -> Entity:
    """Empty the part and note what it will be a part of."""
    if part.tell():
        log.info("starting over: the server has another version, or sends only whole files")
    part.truncate(0)
    part.seek(0)
    with atomic_write(record) as out:
        json.dump(asdict(answered), out)
    return answered


def _entity_of(url: str, response: requests.Response) -> Entity:
    """What the answer says about the whole file; `X-Linked-…` is on the first answer of a chain of redirects."""
    headers = response.headers
    etag = headers.get("ETag", "")
    size: str | None = headers.get("Content-Length")
    if response.status_code in (206, 416):
        size = headers.get("Content-Range", "").rpartition("/")[2]
    elif "Content-Encoding" in headers:
        size = None  # that of the encoded form
    linked = [
        answer.headers["X-Linked-Etag"] for answer in (*response.history, response) if "X-Linked-Etag" in answer.headers
    ]
    sha256 = linked[0].strip('"').lower() if linked else ""
    return Entity(
        url=url,
        validator=headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag,
        size=int(size) if size is not None and size.isdigit() else None,
        sha256=sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else "",
    )


def _read_record(record: Path, url: str) -> Entity | None:
    try:
        entity = Entity(**json.loads(record.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # nothing to go on with
    return entity if entity.url == url else None


@contextmanager
def _open_part(output: Path) -> Iterator[IO[bytes]]:
    """The part file, open at its end, for one process at a time."""
    path = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MinlmError(f"{output} is being downloaded by another process; wait for it, or end it") from None
            yield part
    except requests.RequestException:
        raise  # is an OSError too, but not the disk's
    except OSError as error:
        raise MinlmError(
            f"cannot write {output}: {error.strerror or error}. Check free space and permissions of {output.parent}/ "
            "and run again; what has arrived is kept."
        ) from error
