"""Damage for files: what a bad disk, an interrupted copy, an editor or an attacker does to one."""

import io
import random
import zipfile
from collections.abc import Callable


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip_a_bit(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def zero_a_block(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    size = min(rng.randint(1, 64), len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def swap_two_blocks(content: bytes, rng: random.Random) -> bytes:
    size = rng.randint(1, max(1, min(64, len(content) // 3)))
    first, second = sorted(rng.sample(range(len(content) - size + 1), 2)) if len(content) > size else (0, 0)
    second = max(second, min(first + size, len(content) - size))
    a, b = content[first : first + size], content[second : second + size]
    return content[:first] + b + content[first + size : second] + a + content[second + size :]


def delete_a_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def repeat_a_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    line = rng.choice(lines)
    lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def replace_a_number(content: bytes, rng: random.Random) -> bytes:
    """Of a text: one digit becomes something that a lenient reader may take for a number."""
    digits = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    if not digits:
        return content
    place = rng.choice(digits)
    odd = [b"-", b"1e999", b"NaN", b"Infinity", b"9" * 30, b"9" * 5000, b"", b"null", b'"', b"[", "²".encode(), b"\xff"]
    return content[:place] + rng.choice(odd) + content[place + 1 :]


Mutation = Callable[[bytes, random.Random], bytes]
BYTES: list[Mutation] = [truncate, flip_a_bit, zero_a_block, swap_two_blocks]
TEXT: list[Mutation] = [*BYTES, delete_a_line, repeat_a_line, replace_a_number]


def inside_the_archive(mutation: Mutation) -> Mutation:
    """A mutation of one entry of a zip archive, whose checksums are then right: no accident, but an attack."""

    def mutate(content: bytes, rng: random.Random) -> bytes:
        damaged = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(damaged, "w") as new:
            entries = [(name, old.read(name)) for name in old.namelist()]
            # The first entry of a torch archive is the pickle, which has all the structure.
            chosen = 0 if rng.random() < 0.7 else rng.randrange(len(entries))
            for index, (name, data) in enumerate(entries):
                new.writestr(name, mutation(data, rng) if index == chosen and data else data)
        return damaged.getvalue()

    return mutate


SEALED = [inside_the_archive(mutation) for mutation in BYTES]
