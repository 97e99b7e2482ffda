"""Downloading 2.2 GB from a server on the same machine: MB/s and peak memory of `python -m minlm.scripts.download`.

The server is a process of its own that sends a sparse file straight from the system's memory, so the client and
the disk are what is measured. The others do what is needed to have the same: the flush to the disk, and with a
checksum `sha256sum`. All take turns; the figures are medians.

    python benchmarks/download.py --folder /tmp/download
"""

import argparse
import functools
import hashlib
import http.server
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

NAME = "text.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for one file of that size")
    parser.add_argument("--megabytes", type=int, default=2200)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    served, size = arguments.folder / "served", arguments.megabytes * 1_000_000
    served.mkdir(parents=True, exist_ok=True)
    with open(served / NAME, "wb") as file:
        file.truncate(size)  # nothing is written to the disk
    digest = hashlib.sha256()
    for start in range(0, size, 1 << 20):
        digest.update(bytes(min(1 << 20, size - start)))

    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(served, theirs), daemon=True)
    server.start()
    url, output = f"http://127.0.0.1:{ours.recv()}/{NAME}", arguments.folder / "downloaded"
    seconds: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for _ in range(arguments.turns):
        for name, command in contestants(url, output, digest.hexdigest()).items():
            output.unlink(missing_ok=True)
            taken, peak = run(command)
            assert output.stat().st_size == size, name
            seconds.setdefault(name, []).append(taken)
            memory[name] = max(peak, memory.get(name, 0))
    server.terminate()
    output.unlink()
    for name, taken in seconds.items():
        rates = sorted(size / 1e6 / value for value in taken)
        print(
            f"{name:32} {statistics.median(rates):5.0f} MB/s ({rates[0]:.0f} to {rates[-1]:.0f}), "
            f"peak memory {memory[name]:.0f} MB"
        )


def contestants(url: str, output: Path, sha256: str) -> dict[str, list[str]]:
    """Name → command line, for those that are installed."""
    minlm = [sys.executable, "-m", "minlm.scripts.download", "--url", url, "--output", str(output)]
    found = {"minlm": minlm, "minlm, SHA-256 checked": [*minlm, "--sha256", sha256]}
    for tool, command in {"curl": "curl -sSf -o", "wget": "wget -q -O"}.items():
        if shutil.which(tool):
            fetch = f"{command} {output} {url} && sync {output}"
            check = f"{fetch} && echo '{sha256}  {output}' | sha256sum -c --quiet"
            found |= {tool: ["sh", "-c", fetch], f"{tool}, SHA-256 checked": ["sh", "-c", check]}
    return found


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a command and what it starts."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1e3


def serve(folder: Path, told: Connection) -> None:
    """Serve the files of a folder until terminated; tells its port."""
    with http.server.HTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder))) as server:
        told.send(server.server_port)
        server.serve_forever()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        self.connection.sendfile(source)  # no byte passes through Python

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    main()
