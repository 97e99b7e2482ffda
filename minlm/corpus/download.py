"""Downloading a large file over an unreliable network: interrupted downloads resume, complete ones are checked."""

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

from minlm import atomic, process
from minlm.atomic import atomic_write
from minlm.corpus import web
from minlm.errors import MinlmError
from minlm.locks import open_locked
from minlm.progress import Progress, log
from minlm.reading import parse_json, reading

CHUNK_BYTES = web.READ_BYTES
MAX_UNSTATED_BYTES = 100_000_000_000  # limit for a file whose size the server does not state
MAX_BREAKS = 6  # consecutive ones without a new byte
LONGEST_PAUSE = 30.0  # seconds, after a break


@dataclass
class Entity:
    """The version of a file on a server. A partial download continues only if none of these values has changed."""

    url: str
    validator: str  # ETag or Last-Modified, for If-Range; "" if the server sends neither
    size: int | None  # bytes; None if the server does not state it
    sha256: str  # "" if the server does not state it

    def may_be(self, other: "Entity") -> bool:
        """Whether both can be the same version: no value that both know differs."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return all(mine == yours or not mine or not yours for mine, yours in pairs)


def download(url: str, output: str | Path, sha256: str = "") -> int:
    """Download `url` to `output`.

    Data goes to the hidden file `.NAME.part` beside the output. A later call, of any process, continues it if the
    server still has the same version of the file, and otherwise starts over. If the server sends no ETag or date that
    identifies the version, a known checksum decides: if it is wrong, the download starts over once.

    Args:
        url: http or https; redirects are followed.
        output: the file. It appears only when length and checksum are right.
        sha256: 64 hex digits. If empty, the checksum in the server's `X-Linked-Etag` is used, if there is one.

    Returns:
        The size in bytes.

    Raises:
        MinlmError: there is no answer, an error status such as 404, a web page instead of the file, a wrong length or
            checksum, more data than the server states (or `MAX_UNSTATED_BYTES`), or the disk cannot be written.
    """
    sha256 = sha256.lower()
    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise MinlmError(f"not a SHA-256 checksum (64 hex digits): {sha256}")
    output = Path(output)
    record = output.with_name(f".{output.name}.part.json")
    with _open_part(output) as part, web.make_session() as session:
        problem, was_continued = _receive_and_check(session, url, part, record, sha256)
        if problem and was_continued:
            log.info(f"the file from {url}, received in parts, {problem}: starting over")
            problem, _ = _receive_and_check(session, url, part, record, sha256)
        if problem:
            Path(part.name).unlink()
            raise MinlmError(
                f"the file from {url} {problem}. It was deleted; try again, or check the address and checksum."
            )
        size = part.tell()
        os.fsync(part.fileno())
        os.replace(part.name, output)
        record.unlink(missing_ok=True)
    return size


def _receive_and_check(
    session: requests.Session, url: str, part: IO[bytes], record: Path, sha256: str
) -> tuple[str, bool]:
    """Fill `part`. Returns the problem with it, if any (its record is then deleted), and whether it was continued."""
    entity, was_continued = _receive(session, url, part, record, bool(sha256))
    size, expected, problem = part.tell(), sha256 or entity.sha256, ""
    if entity.size is None and size > MAX_UNSTATED_BYTES:
        problem = f"is longer than {MAX_UNSTATED_BYTES / 1e9:,g} GB, the limit for a file of unstated size"
    elif entity.size is not None and size > entity.size:
        problem = f"is longer than the {entity.size:,} bytes that the server states"
    elif entity.size not in (None, size):
        problem = f"is {size:,} bytes long instead of {entity.size:,}"
    elif expected and (actual := atomic.sha256(part.name)) != expected:
        problem = f"has SHA-256 {actual} instead of {expected}"
    if problem:
        record.unlink(missing_ok=True)
    return problem, was_continued


def _receive(
    session: requests.Session, url: str, part: IO[bytes], record: Path, has_checksum: bool
) -> tuple[Entity, bool]:
    """Fill `part` with the whole file, and request the rest after each break. True if a part was continued."""
    entity = _read_record(record, url)
    furthest, breaks, was_continued = part.tell() if entity is not None else 0, 0, False
    while True:
        can_continue = entity is not None and (entity.validator or entity.sha256 or has_checksum)
        have = part.tell() if can_continue else 0
        headers = {"Accept-Encoding": "identity"}  # so that byte ranges refer to the file itself
        if have and entity is not None:
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": entity.validator} if entity.validator else {})
        try:
            with web.get(session, url, headers) as response:
                answered = _entity_of(url, response)
                chunks = web.read_body(response)
                if response.status_code == 200:
                    first = next(chunks, b"")
                    _refuse_web_page(response, url, first)
                    entity, was_continued = _start_over(answered, part, record), False
                    part.write(first)
                elif not have or entity is None:
                    raise web.FetchError(
                        f"{url}: the server answers {response.status_code} to a request without a range"
                    )
                elif not _continues(response, answered, entity, have):
                    entity = None  # the part cannot be used: request the whole file
                    continue
                elif response.status_code == 416:
                    return entity, True  # the part was already complete
                else:
                    was_continued = True
                    log.info(f"continuing at {have / 1e6:,.1f} MB")
                _write_body(chunks, part, entity, url)
            part.flush()
            if was_continued and part.tell() < (entity.size or 0):
                raise requests.exceptions.ConnectionError("a shorter range than requested")
            return entity, was_continued
        except web.BROKEN_OFF as error:
            breaks = 1 if part.tell() > furthest else breaks + 1
            furthest = max(furthest, part.tell())
            if breaks > MAX_BREAKS:
                raise web.FetchError(
                    f"{url}: {web.describe_break(error)} {breaks} times in a row, last at {part.tell():,} bytes; "
                    "run again to continue from there"
                ) from error
            log.info(f"{url}: {web.describe_break(error)} at {part.tell():,} bytes; requesting the rest")
            time.sleep(min(web.BACKOFF_SECONDS * 2 ** (breaks - 1), LONGEST_PAUSE))


def _write_body(chunks: Iterator[bytes], part: IO[bytes], entity: Entity, url: str) -> None:
    """Append an answer to `part`. Stop as soon as the file exceeds its limit."""
    limit = MAX_UNSTATED_BYTES if entity.size is None else entity.size
    with Progress(entity.size or 0, f"downloading {url}", "B", initial=part.tell()) as progress:
        while part.tell() <= limit and (chunk := next(chunks, None)) is not None:
            part.write(chunk)
            progress.update(len(chunk))


def _continues(response: requests.Response, answered: Entity, entity: Entity, have: int) -> bool:
    """Whether a 206 continues the first `have` bytes of `entity`, or a 416 shows that they are the whole file."""
    if not answered.may_be(entity) or _is_compressed(response):
        return False
    if response.status_code == 416:
        return have == (answered.size or entity.size)
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _refuse_web_page(response: requests.Response, url: str, start: bytes) -> None:
    if web.is_web_page(response.headers, start) and not urlsplit(url).path.endswith((".html", ".htm")):
        raise MinlmError(
            f"{url}: the server sent a web page instead of the file. Does your network require a log-in? "
            "Open the address in a browser."
        )


def _start_over(answered: Entity, part: IO[bytes], record: Path) -> Entity:
    """Empty the part and record the version that it will be a part of."""
    if part.tell():
        log.info("starting over: the server has another version, or does not support ranges")
    part.truncate(0)
    part.seek(0)
    with atomic_write(record) as out:
        json.dump(asdict(answered), out)
    return answered


def _entity_of(url: str, response: requests.Response) -> Entity:
    """Read the version of the whole file from the headers. `X-Linked-…` may come with a redirect instead."""
    headers = response.headers
    answers = (*response.history, response)
    size, sha256 = (
        next((answer.headers[name] for answer in answers if name in answer.headers), "")
        for name in ("X-Linked-Size", "X-Linked-Etag")
    )
    etag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    validator = date if not etag or etag.startswith("W/") else etag
    if _is_compressed(response):
        validator = ""  # it refers to the compressed form, as does the length
    elif response.status_code == 200:
        size = headers.get("Content-Length", size)
    elif "Content-Range" in headers:
        size = headers["Content-Range"].rpartition("/")[2]
    sha256 = sha256.strip('"').lower()
    return Entity(
        url=url,
        validator=validator,
        size=int(size) if re.fullmatch("[0-9]{1,18}", size) else None,
        sha256=sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else "",
    )


def _is_compressed(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


def _read_record(record: Path, url: str) -> Entity | None:
    try:
        with reading(record, "a record of a download", ""):
            entity = Entity(**parse_json(record.read_text(encoding="utf-8")))
            texts = (entity.url, entity.validator, entity.sha256)
            if not all(isinstance(text, str) for text in texts) or not isinstance(entity.size, int | None):
                raise TypeError
    except MinlmError:
        return None  # nothing to continue
    return entity if entity.url == url else None


@contextmanager
def _open_part(output: Path) -> Iterator[IO[bytes]]:
    """Open the part file at its end, for one process at a time."""
    path = output.with_name(f".{output.name}.part")
    try:
        busy = f"{output} is being downloaded by another process; wait for it, or end it"
        # In a workflow, the other process is a job whose snakemake was killed: it is about to end.
        with open_locked(path, "ab", busy=busy, wait=process.in_workflow()) as part:
            yield part
    except requests.RequestException:
        raise  # also an OSError, but of the network, not the disk
    except OSError as error:
        raise MinlmError(
            f"cannot write {output}: {error.strerror or error}. Check free space and permissions of {output.parent}/ "
            "and run again; the data received is kept."
        ) from error
