"""Memory of a process that reads a token file larger than its limit: in pieces as training does, and mapped.

    python benchmarks/memory.py --gigabytes 4

The file is sparse and takes no space on the disk. A child process reads batches until every part of the file has been
read, with at most `--allowed` GB of address space more than it has at the start (RLIMIT_AS).
"""

import argparse
import multiprocessing
import re
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from minlm.bulk.token_file import TokenFile
from minlm.transformer.data import evaluation_batches

CONTEXT, BATCH = 1024, 64


def status(name: str) -> int:
    """A figure of this process in bytes: VmSize, VmRSS, RssFile, …"""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def read(way: str, path: Path, allowed: float) -> None:
    """Read the whole file as batches; print the resident memory on the way."""
    limit = status("VmSize") + int(allowed * 1e9) if allowed else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        tokens = TokenFile(path) if way == "pieces" else np.load(path, mmap_mode="r")
    except OSError as error:
        print(f"{way:7} | {allowed or 'any':>7} | {error.strerror}")
        return
    started, quarter, figures = time.perf_counter(), len(tokens) // (CONTEXT * BATCH) // 4, []
    for number, _ in enumerate(evaluation_batches(tokens, BATCH, CONTEXT)):
        if number % quarter == 0:
            figures.append(f"{status('VmRSS') / 1e9:.2f}")
    speed = len(tokens) / (time.perf_counter() - started) / 1e6
    print(f"{way:7} | {allowed or 'any':>7} | {' → '.join(figures)} GB resident, {speed:.0f} M tokens/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4, help="size of the token file")
    parser.add_argument("--allowed", type=float, default=1, help="GB of address space for reading it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "tokens.npy"
        np.lib.format.open_memmap(path, "w+", np.uint16, (int(arguments.gigabytes * 1e9 / 2),))
        for allowed in (0, arguments.allowed):
            for way in ("mapped", "pieces"):
                child = multiprocessing.get_context("spawn").Process(target=read, args=(way, path, allowed))
                child.start()
                child.join()


if __name__ == "__main__":
    main()
