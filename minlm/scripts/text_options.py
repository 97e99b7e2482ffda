"""The flags of the programs that read texts."""

import argparse
import re
from typing import TYPE_CHECKING

from minlm.cores import usable_threads
from minlm.scripts import cli

if TYPE_CHECKING:
    from minlm.bulk.options import Options


def add_text_options(parser: argparse.ArgumentParser, shards: bool = True) -> None:
    """Add `--threads`, `--invalid_utf8`, `--backend` and, with `shards`, `--shard`."""
    cli.add_threads(parser)
    if shards:
        parser.add_argument(
            "--shard", type=_shard, metavar="I/N",
            help="Only part I of N (1/4 is the first of four) of each text, cut where documents begin",
        )  # fmt: skip
    parser.add_argument(
        "--invalid_utf8", choices=["error", "keep"], default="error",
        help="Bytes that are not UTF-8: stop and say where, or keep them as they are",
    )  # fmt: skip
    parser.add_argument(
        "--backend", choices=["auto", "numba", "python"], default="auto",
        help="Compiled, or in plain Python; auto compiles only for much text; the results are the same",
    )  # fmt: skip


def text_options(arguments: argparse.Namespace) -> "Options":
    """The values of these flags."""
    from minlm.bulk.options import Options

    return Options(
        threads=arguments.threads and usable_threads(arguments.threads),
        shard=getattr(arguments, "shard", None),
        backend=arguments.backend,
        keep_invalid=arguments.invalid_utf8 == "keep",
    )


def _shard(value: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{value!r} is not a part such as 1/4, the first of four")
    return int(found[1]), int(found[2])
